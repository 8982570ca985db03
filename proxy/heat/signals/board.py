"""The configured signal adapters of a site, each with its state: what app.py starts and the page shows.

An adapter's module is imported when it is wanted: a site without OPC UA needs neither its libraries nor their start-up time.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from importlib import import_module

import msgspec

from proxy.config import SiteConfig
from proxy.events import EventLog
from proxy.heat.demand import DemandAccepted, DemandRefused
from proxy.heat.signals.port import SignalPort
from proxy.heat.signals.status import SignalStatus
from proxy.views import SignalView

Task = Callable[[], Awaitable[None]]
REST_PEER = "PUT /api/v1/heat/demand"


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
        self._rest = SignalStatus("rest", REST_PEER, events, clock)

    def tasks(self) -> list[tuple[str, Task]]:
        """Name and task of each adapter, to be run under supervision."""
        return [(f"signal {name}", self._task(name, status)) for name, status in self._statuses.items()]

    def _task(self, name: str, status: SignalStatus) -> Task:
        serve = import_module(f"proxy.heat.signals.{name}").serve
        if name == "modbus":
            return partial(serve, self._config.signals.modbus, self._port, status, self._events, self._wall_clock)
        return partial(serve, self._config, self._port, status, self._wall_clock)

    def note_rest(self, answer: DemandAccepted | DemandRefused) -> None:
        """A demand came by REST, which the HTTP side serves, and was answered so."""
        self._rest.heard()
        self._rest.asked(answer)
        if isinstance(answer, DemandAccepted):
            self._rest.accepted()
        else:
            self._rest.refused(answer.reason, is_told=True)

    def views(self) -> list[SignalView]:
        """The adapters as they are now. REST is among them once it was used, and where a plant has nothing else to be asked by."""
        views = [status.view() for status in self._statuses.values()]
        rest = self._rest.view()
        is_only = not views and self._config.signals.rest.enabled and bool(self._config.units)
        return [self._without_connection(rest), *views] if is_only or rest.message_age_s is not None else views

    def _without_connection(self, rest: SignalView) -> SignalView:
        """HTTP keeps no connection: whoever asks is there for as long as his demand is valid."""
        until_unix_s = rest.asked_until_unix_s
        is_there = until_unix_s is not None and self._wall_clock() < until_unix_s
        reason = None if is_there else "nobody has asked yet" if until_unix_s is None else "the last demand is over"
        since_s = rest.since_s if rest.message_age_s is None else rest.message_age_s
        return msgspec.structs.replace(rest, connected=is_there, reason=reason, since_s=since_s)
