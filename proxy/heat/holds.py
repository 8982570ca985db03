"""What keeps the site down until somebody takes it back: emergency stops, the operator's limit, import limits. Over restarts too.

Every change goes into the ledger at once; a new process has all of it before its first cycle. A stop is taken back by who set it,
or by an operator who says who he is and why. It commands no unit and judges nobody's right: the API's roles do.
"""

import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, Protocol

import msgspec

from proxy.events import EventLog
from proxy.heat.inputs import ImportLimit, Inputs, ManualLimit
from proxy.ledger.records import MemoryRecord
from proxy.views import HoldView

MEMORY: Final = "heat.holds"
VERSION: Final = 1
# The stop that stands where the earlier ones cannot be read any more.
UNREADABLE: Final = "unreadable-ledger"
# Releases by hand that are remembered, to say whose sender took no notice.
MAX_RELEASES: Final = 64
RELEASE: Final = "POST /api/v1/heat/stop/release"
STILL_SENT: Final = "a sender that still says stop (Modbus: 40007 not 0) holds it again at once"


class MemoryPort(Protocol):
    """What is needed of the ledger."""

    def record_memory(self, record: MemoryRecord) -> bool:
        """Queue what is to be known after a restart; False: not taken."""
        ...

    def memories(self) -> dict[str, MemoryRecord]:
        """The newest record of every name, over restarts."""
        ...


class Kept(msgspec.Struct, frozen=True):
    """The body of the record."""

    stops: dict[str, float]
    manual: ManualLimit | None
    import_limits: dict[str, ImportLimit]


class _Release(msgspec.Struct, frozen=True, gc=False):
    at_unix_s: float
    name: str


class Holds:
    """Of one site, over `inputs`. Setters act at once, whether the ledger can write or not; a ledger that cannot is told of."""

    def __init__(self, inputs: Inputs, ledger: MemoryPort, events: EventLog, wall_clock: Callable[[], float]) -> None:
        """Takes up what stood when the last process ended. What cannot be read counts as a stop."""
        self._inputs = inputs
        self._ledger = ledger
        self._events = events
        self._wall_clock = wall_clock
        self._released: dict[str, _Release] = {}
        self._again: dict[str, str] = {}
        self._restore()

    def set_manual_limit(self, power_w: float | None, who: str) -> None:
        """Cap the site's electrical power; 0 stops it, None takes the cap away. ValueError for a number that is no limit."""
        if power_w is not None and not 0.0 <= power_w < math.inf:
            raise ValueError("a limit is 0 W or more")
        self._inputs.manual = None if power_w is None else ManualLimit(power_w, who, self._wall_clock())
        self._events.publish("heat.limit_set", "warning" if power_w is not None else "info", power_w=power_w, who=who)
        self._keep()

    def set_import_limit(self, power_w: float | None, until_unix_s: float, source: str) -> str | None:
        """Cap the site's electrical power until a time (None takes this source's cap away); None when taken, else why not."""
        before = self._inputs.import_limits.get(source)
        refusal = self._inputs.set_import_limit(power_w, until_unix_s, source)
        if refusal is None and self._inputs.import_limits.get(source) != before:
            level = "warning" if power_w is not None else "info"
            before_w = None if before is None else before.power_w
            self._events.publish(
                "heat.import_limit_set", level, power_w=power_w, until_unix_s=until_unix_s, source=source, before_w=before_w
            )
            self._keep()
        return refusal

    def set_stop(self, stop: bool, source: str) -> bool:
        """Hold this source's stop, or take it back; True when that changed anything."""
        now_unix_s = self._wall_clock()
        if not self._inputs.set_stop(stop, source, now_unix_s):
            return False
        facts: dict[str, str | float | None] = {"source": source}
        released = self._released.pop(source, None)
        self._again.pop(source, None)
        if stop and released is not None:
            after_s = now_unix_s - released.at_unix_s
            facts |= {"released_by": released.name, "again_after_s": round(after_s, 1)}
            self._again[source] = f"{source} held it again {after_s:,.0f} s after {released.name} released it: clear it there first"
        self._events.publish("heat.stop_held" if stop else "heat.stop_released", "error" if stop else "warning", **facts)
        self._keep()
        return True

    def release_stop(self, source: str, name: str, reason: str) -> str | None:
        """A person takes back a stop that is not his; None when done, else why not. The caller has judged his right, and audits."""
        if source not in self._inputs.stops:
            held = ", ".join(self._inputs.stops) or "nobody"
            return f"{source} holds no stop; held by: {held}"
        self._inputs.set_stop(False, source, self._wall_clock())
        self._again.pop(source, None)
        self._released.pop(source, None)
        while len(self._released) >= MAX_RELEASES:
            del self._released[next(iter(self._released))]
        self._released[source] = _Release(self._wall_clock(), name)
        self._events.publish("heat.stop_released", "warning", source=source, released_by=name, reason=reason)
        self._keep()
        return None

    def stop_sources(self) -> tuple[str, ...]:
        """Whose stops are held, oldest first."""
        return tuple(self._inputs.stops)

    def alarm(self) -> str | None:
        """The stop in words, with the way out; None without any."""
        reason = self._inputs.stop_reason()
        if reason is None:
            return None
        if not self._inputs.stops:
            return f"{reason}: all units sleep; an operator takes the limit away (PUT /api/v1/heat/limit)"
        since = ", ".join(f"{source} since {_clock(at_unix_s)}" for source, at_unix_s in self._inputs.stops.items())
        again = "".join(f"; {words}" for words in self._again.values())
        return (
            f"emergency stop held by {since}: all units sleep; who set it takes it back, or an operator releases it with name and "
            f"reason ({RELEASE}); {STILL_SENT}{again}"
        )

    def views(self, now_unix_s: float) -> tuple[HoldView, ...]:
        """Everything that holds the site down now, stops first."""
        inputs = self._inputs
        views = [HoldView("stop", source, 0.0, since_s, None) for source, since_s in inputs.stops.items()]
        if inputs.manual is not None:
            views.append(HoldView("manual limit", inputs.manual.who, inputs.manual.power_w, inputs.manual.since_unix_s, None))
        views += [
            HoldView("import limit", source, limit.power_w, None, limit.until_unix_s)
            for source, limit in inputs.import_limits.items()
            if now_unix_s < limit.until_unix_s
        ]
        return tuple(views)

    # Inside.

    def _keep(self) -> None:
        inputs = self._inputs
        body = msgspec.json.encode(Kept(inputs.stops, inputs.manual, inputs.import_limits)).decode()
        if not self._ledger.record_memory(MemoryRecord(MEMORY, self._wall_clock(), VERSION, body)):
            self._events.publish(
                "heat.holds_not_kept", "error", remedy="stops and limits act, but a restart would forget them: look at the ledger"
            )

    def _restore(self) -> None:
        record = self._ledger.memories().get(MEMORY)
        if record is None:
            return
        kept = _decoded(record)
        if kept is None:
            self._inputs.stops[UNREADABLE] = self._wall_clock()
            self._events.publish("heat.holds_unreadable", "error", version=record.version, remedy=f"the site is stopped: {RELEASE}")
            return
        now_unix_s = self._wall_clock()
        self._inputs.stops = dict(kept.stops)
        self._inputs.manual = kept.manual
        self._inputs.import_limits = {
            source: limit for source, limit in kept.import_limits.items() if now_unix_s < limit.until_unix_s
        }
        for view in self.views(now_unix_s):
            self._events.publish(
                "heat.hold_restored",
                "error" if view.kind == "stop" else "warning",
                kind=view.kind,
                source=view.source,
                power_w=view.power_w,
                since_unix_s=view.since_unix_s,
            )


def _decoded(record: MemoryRecord) -> Kept | None:
    """What was kept; None when this version cannot read it, or it holds a number that is no limit."""
    if record.version != VERSION:
        return None
    try:
        kept = msgspec.json.decode(record.body, type=Kept)
    except msgspec.MsgspecError:
        return None
    powers = [limit.power_w for limit in kept.import_limits.values()] + ([] if kept.manual is None else [kept.manual.power_w])
    return kept if all(power_w >= 0.0 for power_w in powers) else None


def _clock(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%d %H:%M UTC")
