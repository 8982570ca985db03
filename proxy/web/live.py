"""Live events (SSE): a snapshot, then one message a second with what changed, numbered without gaps.

One message is built a second and shared by all pages. A page that reads slowly never costs memory: its queue is bounded, and when
it is full the queue is dropped and the page gets a fresh snapshot as soon as it reads again. Not a log: nothing is replayed.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import msgspec
import trio
from litestar.types import Receive, Send

from proxy.events import Event
from proxy.telemetry.metrics import WebMetrics
from proxy.views import SiteView, UnitView
from proxy.web.problems import ProblemError
from proxy.web.site import Site

MAX_CLIENTS = 100
QUEUE_LIMIT = 8  # messages, so seconds
SNAPSHOT_EVENTS = 100
SAME_MOMENT_S = 1.5  # a time computed anew from an age wobbles by less than this
AGES = {"state_since_s": "state_at_unix_s", "reading_age_s": "reading_at_unix_s", "share_age_s": "share_at_unix_s"}

Row = dict[str, Any]


def live_row(unit: UnitView, now_unix_s: float, before: Row | None) -> Row:
    """`unit` with times instead of ages, so that a unit where nothing happened has the same row as a second ago."""
    row: Row = msgspec.structs.asdict(unit)
    for age_name, time_name in AGES.items():
        age_s = row.pop(age_name)
        at_unix_s = None if age_s is None else now_unix_s - age_s
        last = before[time_name] if before else None
        if at_unix_s is not None and last is not None and abs(at_unix_s - last) < SAME_MOMENT_S:
            at_unix_s = last
        row[time_name] = at_unix_s
    return row


class _Client:
    """One page. `queue` holds shared bytes; `is_lost` asks for a snapshot instead."""

    __slots__ = ("is_lost", "queue", "wake")

    def __init__(self) -> None:
        self.queue: deque[bytes] = deque()
        self.is_lost = True
        self.wake = trio.Event()


class LiveFeed:
    """Holds the last published state and the pages that listen to it. Plain calls but for `stream`."""

    def __init__(self, site: Site, metrics: WebMetrics) -> None:
        self._source = site
        self._metrics = metrics
        self._clients: set[_Client] = set()
        self._is_closed = False
        self._seq = 0
        self._event_seq = 0
        self._now_unix_s = 0.0
        self._site: dict[str, bytes] = {}
        self._rows: dict[str, Row] = {}
        self._encoded: dict[str, bytes] = {}
        self._snapshot: bytes | None = None

    @property
    def client_count(self) -> int:
        """Pages that listen now."""
        return len(self._clients)

    def tick(self, view: SiteView) -> None:
        """Queue what changed since the last second for every page. Costs nothing while nobody listens."""
        self._metrics.live_clients.set(len(self._clients))
        if self._clients:
            self._publish(view)

    def _publish(self, view: SiteView) -> None:
        self._seq += 1
        self._now_unix_s = view.now_unix_s
        self._snapshot = None
        site = {name: msgspec.json.encode(getattr(view, name)) for name in view.__struct_fields__}
        site["problems"] = msgspec.json.encode(self._source.health())
        changed_site = {name: raw for name, raw in site.items() if self._site.get(name) != raw}
        self._site = site
        changed_units, gone = self._take_units(self._source.units())
        fresh = self._source.events.since(self._event_seq)
        if fresh:
            self._event_seq = fresh[-1].seq
        if self._clients:
            self._send_all(self._message("delta", changed_site, changed_units, fresh, gone))

    def close(self) -> None:
        """End every stream: the server stops."""
        self._is_closed = True
        for client in self._clients:
            client.wake.set()

    async def stream(self, receive: Receive, send: Send) -> None:
        """Serve one page until it leaves, the server stops, or too many listen already (503). Cancelled: leaves no trace."""
        if len(self._clients) >= MAX_CLIENTS:
            raise ProblemError(503, f"{MAX_CLIENTS} pages listen already.", "Close some pages, or poll /api/v1/status.")
        if not self._clients:
            self._publish(self._source.view())  # nobody listened, so what is held is old
        client = _Client()
        self._clients.add(client)
        try:
            headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_watch_disconnect, receive, nursery.cancel_scope.cancel)
                await self._pump(client, send)
                nursery.cancel_scope.cancel()
            # Not inside: ending the answer makes the server report a disconnect, which would cancel the server's own clean-up.
            if self._is_closed:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._clients.discard(client)

    async def _pump(self, client: _Client, send: Send) -> None:
        while not self._is_closed:
            if client.is_lost:
                client.is_lost = False
                client.queue.clear()
                await _send_chunk(send, self._current_snapshot())
            elif client.queue:
                await _send_chunk(send, client.queue.popleft())
            else:
                client.wake = trio.Event()
                await client.wake.wait()

    def _take_units(self, units: Iterable[UnitView]) -> tuple[list[bytes], list[str]]:
        rows = {unit.id: live_row(unit, self._now_unix_s, self._rows.get(unit.id)) for unit in units}
        changed: list[bytes] = []
        for unit_id, row in rows.items():
            if row != self._rows.get(unit_id):
                self._encoded[unit_id] = msgspec.json.encode(row)
                changed.append(self._encoded[unit_id])
        gone = [unit_id for unit_id in self._rows if unit_id not in rows]
        for unit_id in gone:
            del self._encoded[unit_id]
        self._rows = rows
        return changed, gone

    def _send_all(self, message: bytes) -> None:
        for client in self._clients:
            if client.is_lost:
                self._metrics.live_dropped.inc()
            elif len(client.queue) >= QUEUE_LIMIT:
                self._metrics.live_dropped.inc(len(client.queue) + 1)
                client.queue.clear()
                client.is_lost = True
            else:
                client.queue.append(message)
            client.wake.set()

    def _current_snapshot(self) -> bytes:
        if self._snapshot is None:
            units = [self._encoded[unit_id] for unit_id in self._rows]
            events = [
                event for event in self._source.events.since(self._event_seq - SNAPSHOT_EVENTS) if event.seq <= self._event_seq
            ]
            self._snapshot = self._message("snapshot", self._site, units, events, [])
        return self._snapshot

    def _message(self, kind: str, site: dict[str, bytes], units: list[bytes], events: list[Event], gone: list[str]) -> bytes:
        content: dict[str, Any] = {
            "seq": self._seq,
            "now_unix_s": self._now_unix_s,
            "site": {name: msgspec.Raw(raw) for name, raw in site.items()},
            "units": [msgspec.Raw(raw) for raw in units],
            "events": events,
        }
        if gone:
            content["gone"] = gone
        return b"id: %d\nevent: %b\ndata: %b\n\n" % (self._seq, kind.encode(), msgspec.json.encode(content))


async def _send_chunk(send: Send, chunk: bytes) -> None:
    await send({"type": "http.response.body", "body": chunk, "more_body": True})


async def _watch_disconnect(receive: Callable[[], Awaitable[Any]], leave: Callable[[], None]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    leave()
