"""The configured signal adapters of a site, each with its state: what app.py starts and the page shows.

An adapter's module is imported when it is wanted: a site without OPC UA needs neither its libraries nor their start-up time.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from importlib import import_module

from proxy.config import SiteConfig
from proxy.events import EventLog
from proxy.heat.signals.port import SignalPort
from proxy.heat.signals.status import SignalStatus
from proxy.views import SignalView

Task = Callable[[], Awaitable[None]]


class SignalBoard:
    """One site's adapters. `clock` is monotonic, `wall_clock` unix time."""

    def __init__(
        self,
        config: SiteConfig,
        port: SignalPort,
        events: EventLog,
        *,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
    ) -> None:
        self._config = config
        self._port = port
        self._events = events
        self._wall_clock = wall_clock
        peers = {
            "modbus": config.signals.modbus.listen,
            "mqtt": config.signals.mqtt.broker,
            "openadr": config.signals.openadr.url,
            "opcua": config.signals.opcua.listen,
        }
        self._statuses = {name: SignalStatus(name, peer, events, clock) for name, peer in peers.items() if peer is not None}

    def tasks(self) -> list[tuple[str, Task]]:
        """Name and task of each adapter, to be run under supervision."""
        return [(f"signal {name}", self._task(name, status)) for name, status in self._statuses.items()]

    def _task(self, name: str, status: SignalStatus) -> Task:
        serve = import_module(f"proxy.heat.signals.{name}").serve
        if name == "modbus":
            return partial(serve, self._config.signals.modbus, self._port, status, self._events, self._wall_clock)
        return partial(serve, self._config, self._port, status, self._wall_clock)

    def views(self) -> list[SignalView]:
        """The adapters as they are now."""
        return [status.view() for status in self._statuses.values()]
