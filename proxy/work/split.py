"""Sharing the work between rungs of one tier by their weights: deficit round robin, with units that like to stay.

Each rung has a *need*: what its weight entitles it to of the fleet's hashrate, less what works for it, plus the work it was short
of so far, paid back over `horizon_s`. A new unit goes where the need is greatest; a unit that has a place keeps it.

Rules
1. `assign` never moves a unit whose rung is still among those it may use, and gives one that reconnects within `REMEMBER_S` the
   rung it had. So a rung that goes away moves its own units only.
2. `rebalance` moves a unit only where the needs of two rungs lie apart by `margin` times its hashrate and by `DEAD_BAND` of the
   fleet's, not sooner than `min_stay_s` after it moved it last, and at most `moves_at_once` each `PERIOD_S`: a rung that comes
   back fills up slowly, from the others evenly.
3. A unit that prefers a pool gets it and stays; its work counts for that pool's part.
4. Nothing is owed to a rung for the time it was away, and never more than `horizon_s` of the whole fleet's work.
5. A unit of unknown hashrate counts as the mean of the known ones; one that sleeps counts nothing, and is placed by what it did.

Not here: which rungs may be used (ladder.py), and carrying out a move (the caller attaches the unit to the rung's session).
"""

import bisect
import math
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from proxy.work.ladder import Rung

HORIZON_S = 3600.0
MARGIN = 1.5
MIN_STAY_S = 600.0
MOVES_AT_ONCE = 16
PERIOD_S = 10.0
REMEMBER_S = 3600.0
MAX_REMEMBERED = 65_536  # anybody may name himself
# Luck moves the work of a pool about this much in an hour; units that ran after it would never rest.
DEAD_BAND = 0.01


class Move(msgspec.Struct, frozen=True, gc=False):
    """One unit to be taken from a rung to another; the split counts it there already."""

    unit_id: str
    source: str
    target: str


class _Unit(msgspec.Struct):
    rung: str
    load_hps: int | None  # None unknown, 0 asleep
    nominal_hps: int | None  # the last above 0
    is_pinned: bool
    moved_s: float = -math.inf  # by rebalance


class _Loads:
    """Hashrate on each rung, kept in step with the units; the unknown ones are only counted, their size changes with the mean.

    Whole hashes per second: years of adding and taking off leave no rounding behind.
    """

    def __init__(self) -> None:
        self._known: dict[str, int] = {}
        self._unknown: dict[str, int] = {}
        self._total = 0
        self._count = 0  # of units with a known hashrate above 0

    def add(self, rung: str, hashrate_hps: int | None, sign: int) -> None:
        """Put a unit on `rung` (sign 1) or take it off (-1)."""
        if hashrate_hps is None:
            self._unknown[rung] = self._unknown.get(rung, 0) + sign
        elif hashrate_hps > 0:
            self._known[rung] = self._known.get(rung, 0) + sign * hashrate_hps
            self._total += sign * hashrate_hps
            self._count += sign

    def of(self, rung: str) -> float:
        """Hashrate on `rung`."""
        return self._known.get(rung, 0) + self._unknown.get(rung, 0) * self.mean()

    def mean(self) -> float:
        """Of the units with a known hashrate; 1 where there is none, so that units are counted."""
        return self._total / self._count if self._count else 1.0


class Split:
    """See the module."""

    def __init__(
        self,
        *,
        horizon_s: float = HORIZON_S,
        margin: float = MARGIN,
        min_stay_s: float = MIN_STAY_S,
        moves_at_once: int = MOVES_AT_ONCE,
    ) -> None:
        self._horizon_s = horizon_s
        self._margin = margin
        self._min_stay_s = min_stay_s
        self._moves_at_once = moves_at_once
        self._units: dict[str, _Unit] = {}
        self._left: OrderedDict[str, tuple[str, float]] = OrderedDict()  # rung and time of units that left, oldest first
        self._now_s = -math.inf
        self._balanced_s = -math.inf
        self._loads = _Loads()
        self._nominals = _Loads()
        self._work: dict[str, float] = {}  # since the last rebalance
        self._owed: dict[str, float] = {}  # work, above 0: the rung was short

    def assign(
        self, unit_id: str, hashrate_hps: float | None, usable: Sequence[Rung], preferred: str | None, now_s: float
    ) -> str | None:
        """The name of the rung this unit works for from now on; None where `usable` is empty and nothing is preferred.

        Call it when the unit connects, when its hashrate or commanded level changes, and for every unit when the ladder decided
        anew (`usable` = `Decision.rungs_for` its place). hashrate_hps: measured, else of the commanded level, 0 asleep, None
        unknown. preferred: the rung it should have, None while that is not usable (see `Decision.trusted`).
        """
        self._now_s = now_s
        unit = self._units.get(unit_id)
        load = _whole(hashrate_hps)
        nominal = load or (unit.nominal_hps if unit is not None else None)
        moved_s = unit.moved_s if unit is not None else -math.inf
        last = unit.rung if unit is not None else self._remembered(unit_id)
        if preferred is not None:
            target = preferred
        elif last is not None and any(rung.name == last for rung in usable):
            target = last
        elif usable:
            self._take_out(unit_id)
            target = self._neediest(load, nominal, usable)
        else:
            return None  # what is known of it stays, for when there is a rung again
        self._put(unit_id, _Unit(target, load, nominal, preferred is not None, moved_s))
        return target

    def forget(self, unit_id: str) -> None:
        """The unit has left. Unknown ids are fine."""
        unit = self._take_out(unit_id)
        if unit is not None:
            self._left[unit_id] = (unit.rung, self._now_s)
            if len(self._left) > MAX_REMEMBERED:
                self._left.popitem(last=False)

    def rung_of(self, unit_id: str) -> str | None:
        """Where the unit works; None for one that is not known."""
        unit = self._units.get(unit_id)
        return unit.rung if unit is not None else None

    def account(self, rung: str, work: float) -> None:
        """A share worth `work` expected hashes was done for `rung`. Cheap: called for every share."""
        self._work[rung] = self._work.get(rung, 0.0) + work

    def rebalance(self, now_s: float, usable: Sequence[Rung]) -> list[Move]:
        """Moves that bring the rungs nearer to their weights, most useful first; none before `PERIOD_S` is over. Call it at will.

        Units on rungs outside `usable` are left alone: they are `assign`'s, or still waiting for their turn to come back.
        """
        self._now_s = now_s
        if 0 <= now_s - self._balanced_s < PERIOD_S:
            return []
        self._balanced_s = now_s
        parts = _parts(usable)
        self._settle(parts)
        needs = self._needs(self._loads, parts, self._owed)
        least_gap = DEAD_BAND * sum(self._loads.of(name) for name in parts)
        givers = set(parts)  # less those that have no unit to give in this call
        movable: dict[str, list[tuple[float, str]]] = {}
        moves: list[Move] = []
        while givers and len(moves) < self._moves_at_once:
            source = min(sorted(givers), key=needs.__getitem__)
            target = max(needs, key=needs.__getitem__)
            if source not in movable:
                movable[source] = self._movable(source, now_s)
            gap = needs[target] - needs[source]
            found = _take_nearest(movable[source], gap, self._margin) if gap > least_gap else None
            if found is None:
                givers.remove(source)
                continue
            load, unit_id = found
            needs[source] += load
            needs[target] -= load
            unit = self._units[unit_id]
            self._put(unit_id, _Unit(target, unit.load_hps, unit.nominal_hps, is_pinned=False, moved_s=now_s))
            moves.append(Move(unit_id, source, target))
        return moves

    def _neediest(self, hashrate_hps: int | None, nominal_hps: int | None, usable: Sequence[Rung]) -> str:
        parts = _parts(usable)
        if hashrate_hps == 0:
            # Sleeping units would all go to the same rung and wake there together.
            needs = self._needs(self._nominals, parts, {}, nominal_hps or self._nominals.mean())
        else:
            needs = self._needs(self._loads, parts, self._owed, hashrate_hps or self._loads.mean())
        return max(needs, key=needs.__getitem__)

    def _needs(
        self, loads: _Loads, parts: Mapping[str, float], owed: Mapping[str, float], extra_hps: float = 0.0
    ) -> dict[str, float]:
        now = {name: loads.of(name) for name in parts}
        total = sum(now.values()) + extra_hps
        return {name: part * total - now[name] + owed.get(name, 0.0) / self._horizon_s for name, part in parts.items()}

    def _settle(self, parts: Mapping[str, float]) -> None:
        """Book the work done since the last call against the parts."""
        done = {name: self._work.get(name, 0.0) for name in parts}
        self._work.clear()
        total = sum(done.values())
        most = self._horizon_s * sum(self._loads.of(name) for name in parts)
        # Whoever is not in `parts` is forgotten: rule 4.
        self._owed = {
            name: min(max(self._owed.get(name, 0.0) + part * total - done[name], -most), most) for name, part in parts.items()
        }

    def _movable(self, rung: str, now_s: float) -> list[tuple[float, str]]:
        mean = self._loads.mean()
        return sorted(
            (mean if unit.load_hps is None else unit.load_hps, unit_id)
            for unit_id, unit in self._units.items()
            if unit.rung == rung and not unit.is_pinned and unit.load_hps != 0 and now_s - unit.moved_s >= self._min_stay_s
        )

    def _remembered(self, unit_id: str) -> str | None:
        rung, left_s = self._left.pop(unit_id, (None, 0.0))
        return rung if self._now_s - left_s <= REMEMBER_S else None

    def _put(self, unit_id: str, unit: _Unit) -> None:
        self._take_out(unit_id)
        self._units[unit_id] = unit
        self._count(unit, 1)

    def _take_out(self, unit_id: str) -> _Unit | None:
        unit = self._units.pop(unit_id, None)
        if unit is not None:
            self._count(unit, -1)
        return unit

    def _count(self, unit: _Unit, sign: int) -> None:
        self._loads.add(unit.rung, unit.load_hps, sign)
        self._nominals.add(unit.rung, unit.nominal_hps, sign)


def _parts(usable: Iterable[Rung]) -> dict[str, float]:
    """Each rung's part of the whole, by weight; the parts sum to 1."""
    weights = {rung.name: rung.weight for rung in usable}
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()}


def _take_nearest(units: list[tuple[float, str]], gap: float, margin: float) -> tuple[float, str] | None:
    """Take out the unit whose move closes the gap best: half of it, and no more than the margin allows."""
    middle = bisect.bisect_right(units, (gap / 2, chr(0x10FFFF)))
    near = [index for index in (middle - 1, middle) if 0 <= index < len(units) and units[index][0] * margin <= gap]
    return units.pop(min(near, key=lambda index: abs(units[index][0] - gap / 2))) if near else None


def _whole(hashrate_hps: float | None) -> int | None:
    """Whole hashes per second; what is no sensible hashrate is unknown."""
    return round(hashrate_hps) if hashrate_hps is not None and math.isfinite(hashrate_hps) and hashrate_hps >= 0 else None
