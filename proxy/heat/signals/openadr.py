"""A virtual end node of OpenADR 3.1: registers, follows the events of its programs, and reports what was delivered.

Events are asked for (polled), not pushed: a site is a client only and needs no open port. Between two polls, and while the server
is away, the site follows what it knows (see openadr_follow). Meaning of events: openadr_events; requests: openadr_client.
"""

import random
from collections.abc import Callable

import msgspec
import trio

from proxy.config import OpenAdrSignal, SiteConfig
from proxy.heat.signals.openadr_client import VtnClient, VtnError
from proxy.heat.signals.openadr_events import Window, windows
from proxy.heat.signals.openadr_follow import Follower
from proxy.heat.signals.openadr_reports import Reporter
from proxy.heat.signals.openadr_wire import Event, Program, Unusable
from proxy.heat.signals.port import SignalPort
from proxy.heat.signals.status import SignalStatus

# The plant is looked at this often, for the energy of an interval.
LOOK_S = 15.0
# Pauses between tries grow to this, or to the poll's period where that is longer.
LONGEST_PAUSE_S = 120.0


async def serve(
    config: SiteConfig,
    port: SignalPort,
    status: SignalStatus,
    wall_clock: Callable[[], float],
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Follow the server's events until cancelled; `task_status` is told at once, for a site does not wait for a server."""
    task_status.started()
    async with VtnClient(config.signals.openadr) as client:
        node = EndNode(config, port, status, wall_clock, client)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(node.poll)
            nursery.start_soon(node.follow)
            nursery.start_soon(node.report)


class EndNode:
    """One site as a virtual end node. Its three tasks share what is known of the events."""

    def __init__(
        self,
        config: SiteConfig,
        port: SignalPort,
        status: SignalStatus,
        wall_clock: Callable[[], float],
        client: VtnClient,
    ) -> None:
        self._config: OpenAdrSignal = config.signals.openadr
        self._name = self._config.ven_name or config.site.name
        self._port = port
        self._status = status
        self._wall_clock = wall_clock
        self._client = client
        self._is_registered = False
        self._programs: dict[str, Program] = {}
        self._events: list[Event] = []
        self._windows: list[Window] = []
        self._unusable: dict[str, str] = {}
        self._follower = Follower(port, status)
        self._reporter = Reporter(self._name)
        self._news = trio.Event()

    async def poll(self) -> None:
        """Ask for events for ever; after a failure with growing pauses."""
        pause_s = self._config.poll_period_s
        while True:
            try:
                await self.fetch()
            except VtnError as error:
                self._status.lost(str(error))
                self._is_registered = False
                self._news.set()
                await trio.sleep(pause_s * random.uniform(0.5, 1.0))
                pause_s = min(2 * pause_s, max(LONGEST_PAUSE_S, self._config.poll_period_s))
            else:
                pause_s = self._config.poll_period_s
                await trio.sleep(pause_s)

    async def fetch(self) -> None:
        """One poll: register if need be, then programs and events. Raises VtnError, and then nothing changed."""
        if not self._is_registered:
            await self._client.register(self._name)
            self._is_registered = True
        programs = {each.id: each for each in await self._client.pages("/programs", Program)}
        if self._config.program is not None:
            programs = {key: each for key, each in programs.items() if each.program_name == self._config.program}
            if not programs:
                raise VtnError(f'the server shows us no program "{self._config.program}"; is this end node enrolled?')
        events: list[Event] = []
        if len(programs) == 1 and self._config.program is not None:
            raw = await self._client.pages("/events", msgspec.Raw, programID=next(iter(programs)))
        else:
            raw = await self._client.pages("/events", msgspec.Raw)
        broken = [text for each in raw if (text := self._read(each, events)) is not None]
        self._programs = programs
        self._events = [event for event in events if event.program_id in programs]
        self._status.connected()
        if self._events or broken:
            self._status.heard()
        for text in broken:
            self._status.refused(text)
        self._learn()
        self._news.set()

    async def follow(self) -> None:
        """Keep the plant at what the events ask, at each poll and each moment at which that changes."""
        while True:
            now_unix_s = self._wall_clock()
            self._place(now_unix_s)
            self._follower.follow(self._windows, now_unix_s)
            self._reporter.look(self._port.report(now_unix_s), self._windows, now_unix_s, self._config.report_period_s)
            until_s = min(LOOK_S, max(0.0, self._follower.next_change(self._windows, now_unix_s) - now_unix_s))
            self._news = trio.Event()
            with trio.move_on_after(until_s):
                await self._news.wait()

    async def report(self) -> None:
        """Send what the events want to know, each period."""
        while True:
            await trio.sleep(self._config.report_period_s)
            for key in self._reporter.due():
                try:
                    is_sent = await self._report(key)
                except VtnError as error:
                    self._status.refused(f"report: {error}")
                else:
                    if is_sent:
                        self._status.reported()

    async def _report(self, key: str) -> bool:
        """Send the report on one event; False when the event was cancelled meanwhile."""
        request = self._reporter.request(key)
        if request is not None:
            earlier = await self._client.earlier(request)
            if earlier:
                self._reporter.resume(key, earlier)
            request = self._reporter.request(key)
        if request is not None:
            is_last = self._reporter.is_over(key)  # it may end while we wait for the server
            await self._client.report(request)
            if is_last:
                self._reporter.finish(key)
        return request is not None

    @staticmethod
    def _read(raw: msgspec.Raw, events: list[Event]) -> str | None:
        """Add one event; else why it is none. One that is broken must not hide the others."""
        try:
            events.append(msgspec.json.decode(raw, type=Event))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return f"an event is not as OpenADR 3.1 has it: {error}"
        return None

    def _learn(self) -> None:
        self._follower.heard(self._wall_clock())
        self._reporter.learn(self._events)
        self._client.forget_reports([event.id for event in self._events])

    def _place(self, now_unix_s: float) -> None:
        """All windows that are not over. An event that cannot be used is told once, until it is modified."""
        found: list[Window] = []
        unusable: dict[str, str] = {}
        for event in self._events:
            try:
                found.extend(windows(event, self._programs.get(event.program_id), self._name, now_unix_s))
            except Unusable as error:
                unusable[f"{event.id} {event.modification_date_time}"] = text = f"event {event.event_name or event.id}: {error}"
                if f"{event.id} {event.modification_date_time}" not in self._unusable:
                    self._status.refused(text)
        self._windows, self._unusable = found, unusable
