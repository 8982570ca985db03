"""Keeps snapshots of heat control in the ledger, every few minutes, at the end, and at once when what guards machines changed.

It says what of the last process was believed and what was not, as events. What is in a snapshot, and what may be believed, is
`remember`'s business.
"""

from collections.abc import Callable, Mapping
from typing import Final, TypeVar

import msgspec

from proxy.events import EventLog
from proxy.heat import remember
from proxy.heat.holds import MemoryPort
from proxy.heat.proof import LEAST_FACTOR, MOST_FACTOR, Curve, Learned
from proxy.ledger.records import MemoryRecord

SNAPSHOT: Final = "heat.snapshot"
FACTORS: Final = "heat.factors"
KEEP_EVERY_S: Final = 300.0
# J/TH of a machine changes with dust and paste, over months.
FACTORS_AGE_S: Final = 30 * 86_400.0

T = TypeVar("T")


class Keeping:
    """Of one HeatControl. All calls are plain."""

    def __init__(self, parts: remember.Parts, ledger: MemoryPort, events: EventLog) -> None:
        """Reads what the last process left; `recall` puts it to use."""
        self._parts = parts
        self._ledger = ledger
        self._events = events
        self._found = ledger.memories().get(SNAPSHOT)
        self._is_recalled = False
        self._due_s = 0.0
        self._guarding: tuple[object, ...] = ()

    def recall(self, now_s: float, now_unix_s: float) -> None:
        """Once, before the first cycle: take up what may be believed of the last process."""
        if self._is_recalled:
            return
        self._is_recalled = True
        record = self._found
        if record is not None:
            self._recall(record, now_s, now_unix_s)
        self._guarding = remember.what_guards(self._parts)
        self._due_s = now_s + KEEP_EVERY_S

    def keep_if_due(self, now_s: float, now_unix_s: float) -> None:
        """A snapshot to the ledger, if it is time, or if what guards machines changed."""
        guarding = remember.what_guards(self._parts)
        if now_s >= self._due_s or guarding != self._guarding:
            self._guarding = guarding
            self.keep(now_s, now_unix_s)

    def keep(self, now_s: float, now_unix_s: float) -> None:
        """A snapshot to the ledger. Before `recall` there is nothing to keep."""
        if not self._is_recalled:
            return
        self._due_s = now_s + KEEP_EVERY_S
        body = msgspec.json.encode(remember.take(self._parts, now_s, now_unix_s)).decode()
        if not self._ledger.record_memory(MemoryRecord(SNAPSHOT, now_unix_s, remember.VERSION, body)):
            self._events.publish(
                "heat.memory_not_kept", "warning", remedy="a restart would begin with an older one: look at the ledger"
            )

    def _recall(self, record: MemoryRecord, now_s: float, now_unix_s: float) -> None:
        kept = _decoded(record, remember.VERSION, remember.Snapshot)
        if kept is None:
            self._events.publish(
                "heat.memory_ignored",
                "error",
                reason=f"the snapshot (version {record.version}) cannot be read",
                remedy="trips of the day and locked loops are forgotten: look at the loops before you rely on them",
            )
            return
        age_s = max(0.0, now_unix_s - record.at_unix_s)
        for reason in remember.recall(self._parts, kept, age_s, now_s, now_unix_s):
            self._events.publish("heat.memory_ignored", "warning", reason=reason)
        locked = [name for name, known in self._parts.loops.items() if known.is_locked]
        self._events.publish("heat.memory_recalled", age_s=round(age_s), locked_loops=", ".join(locked))


class Factor(msgspec.Struct, frozen=True, gc=False):
    """One unit's J/TH against its model's: `fit` is the model's curve."""

    fit: str
    factor: float
    watched_s: float


def keep_factors(ledger: MemoryPort, curves: Mapping[str, Curve], learned: Mapping[str, Learned], now_unix_s: float) -> None:
    """What was learned of the units' J/TH, for `recall_factors` of the next process."""
    fits = {id(curve): remember.digest(curve.points) for curve in curves.values()}
    factors = {
        unit: Factor(fits[id(curves[unit])], known.factor, known.watched_s) for unit, known in learned.items() if unit in curves
    }
    ledger.record_memory(MemoryRecord(FACTORS, now_unix_s, remember.VERSION, msgspec.json.encode(factors).decode()))


def recall_factors(
    ledger: MemoryPort, curves: Mapping[str, Curve], events: EventLog, wall_clock: Callable[[], float]
) -> dict[str, Learned]:
    """The units' J/TH as an earlier process learned them: of units that still are, of the same model, and not for ever."""
    record = ledger.memories().get(FACTORS)
    if record is None:
        return {}
    kept = _decoded(record, remember.VERSION, dict[str, Factor])
    age_s = max(0.0, wall_clock() - record.at_unix_s)
    if kept is None or age_s > FACTORS_AGE_S:
        why = "cannot be read" if kept is None else f"are {age_s / 86_400:.0f} days old"
        events.publish("heat.memory_ignored", "warning", reason=f"the units' J/TH {why}")
        return {}
    fits = {id(curve): remember.digest(curve.points) for curve in curves.values()}
    fitting = {unit: known for unit, known in kept.items() if unit in curves and fits[id(curves[unit])] == known.fit}
    if len(fitting) < len(kept):
        events.publish("heat.memory_ignored", "warning", reason=f"J/TH of {len(kept) - len(fitting)} units: gone, or another model")
    return {
        unit: Learned(min(max(known.factor, LEAST_FACTOR), MOST_FACTOR), max(0.0, known.watched_s))
        for unit, known in fitting.items()
    }


def _decoded(record: MemoryRecord, version: int, kind: type[T]) -> T | None:
    """The body of a record; None for another version, or what does not decode."""
    if record.version != version:
        return None
    try:
        return msgspec.json.decode(record.body, type=kind)
    except msgspec.MsgspecError:
        return None
