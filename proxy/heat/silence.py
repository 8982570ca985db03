"""Units that do not answer: which of them are dark, so that others must make their heat, and which go on behind a dead network.

A silent machine may run or not. What tells is the heat of its loop: a loop whose meter falls has lost its machines and they are
replaced at once; one whose heat goes on has lost its switch, and replacing them would double the heat. Where no meter tells, few
that are silent for long are dark, so are those of one loop, and many over all loops at once are the network's. Pure; it commands
nothing.
"""

import math
from collections.abc import Mapping, Sequence

import msgspec

from proxy.heat.model import gain

# A unit unseen for so long is dark unless something says otherwise: a switch restart is shorter, a dead unit is longer.
UNSEEN_S = 300.0
# More of the fleet than this does not die at once, but for a common cause.
COMMON_CAUSE = 0.2
# So much of all silent units in one loop: it is that loop's cause.
ONE_LOOP = 0.8
# A loop's meter tells of silent units that make at least this part of its power; at once only of many, as water remembers minutes.
TELLING = 0.1
TELLING_AT_ONCE = COMMON_CAUSE
# The part of their heat that is still there: below this they are dead, judged late, or while the water still cools down.
GONE = 0.5
GOING = 0.75
# Before that: many are silent, and their loop's heat is less by this part than when they answered. Counts for so long only, as by
# then what is left of their heat tells better.
FALLING = 0.06
FALLING_S = 90.0
# A unit that went dark is taken to have stood still since it was seen last, but no longer than a reading is believed.
LOST_S = 60.0
# A loop's meter against its units' readings is learned over so long, while at most this part of its units is under way.
_RATIO_TAU_S = 900.0
_MOST_MOVING = 0.05


class UnitSeen(msgspec.Struct, frozen=True, gc=False):
    """One unit: its fresh power (None: silent), and what it draws when it does what it was told."""

    id: str
    loop: str
    power_w: float | None
    told_w: float
    in_service: bool
    is_moving: bool
    worked_s: float | None = None  # its last share, where it does not answer but its shares go on


class Before(msgspec.Struct, frozen=True, gc=False):
    """What a loop's meter said (electrical), and when, while nearly all of it answered."""

    metered_w: float
    at_s: float


class State(msgspec.Struct):
    """When each unit was seen last, which are dark, and which of these by their loop's meter and since when; by loop, that meter
    against the units, and before they fell silent."""

    seen_s: dict[str, float] = {}
    dark: set[str] = set()
    gone: dict[str, float] = {}
    ratio: dict[str, float] = {}
    before: dict[str, Before] = {}


class _Loop(msgspec.Struct):
    """One loop in one cycle. `long`: silent beyond UNSEEN_S. Powers electrical. `part_left`: of the silent units' heat, by the
    loop's meter; None where it cannot tell. `is_network`: nobody's units die like that."""

    units: int = 0
    moving: int = 0
    silent: int = 0
    long: int = 0
    seen_w: float = 0.0
    silent_w: float = 0.0
    part_left: float | None = None
    is_many: bool = False
    is_falling: bool = False
    is_network: bool = False


def dark(
    state: State, units: Sequence[UnitSeen], metered_w: Mapping[str, float], now_s: float, dt_s: float
) -> tuple[tuple[bool, ...], float]:
    """Whether each unit is to be replaced, and what those that are newly dark were wrongly taken to have drawn (J, electrical).

    `metered_w`: electrical power that each loop's heat meter stands for, where known. A unit in service without a reading is dark
    at once.
    """
    loops = _look(state, units, now_s)
    for name, loop in loops.items():
        _measure(state, name, loop, metered_w.get(name), now_s, dt_s)
    total = sum(loop.long for loop in loops.values())
    is_common = total > max(1.0, COMMON_CAUSE * len(units))
    for loop in loops.values():
        loop.is_network = is_common and (len(loops) == 1 or loop.long < ONE_LOOP * total)
    found = tuple(
        [
            unit.power_w is None
            and not _is_at_work(state, unit)
            and (unit.in_service or _is_dark(state, unit, loops[unit.loop], now_s))
            for unit in units
        ]
    )
    before, state.dark = state.dark, {unit.id for unit, is_dark in zip(units, found, strict=True) if is_dark}
    lost_j = sum(
        unit.told_w * min(now_s - state.seen_s[unit.id], LOST_S)
        for unit, is_dark in zip(units, found, strict=True)
        if is_dark and unit.id not in before and not unit.in_service
    )
    return found, lost_j


def _look(state: State, units: Sequence[UnitSeen], now_s: float) -> dict[str, _Loop]:
    loops: dict[str, _Loop] = {}
    for unit in units:
        loop = loops.get(unit.loop)
        if loop is None:
            loop = loops[unit.loop] = _Loop()
        loop.units += 1
        loop.moving += unit.is_moving
        if unit.power_w is not None:
            loop.seen_w += unit.power_w
            state.seen_s[unit.id] = now_s
            state.gone.pop(unit.id, None)
            continue
        seen_s = state.seen_s.setdefault(unit.id, now_s)
        if _is_at_work(state, unit):
            loop.seen_w += unit.told_w
        elif not unit.in_service:
            loop.silent += 1
            loop.silent_w += unit.told_w
            loop.long += now_s - seen_s >= UNSEEN_S
    return loops


def _is_at_work(state: State, unit: UnitSeen) -> bool:
    """Whether shares speak for it. Those from before its loop cooled down do not."""
    return unit.worked_s is not None and unit.worked_s > state.gone.get(unit.id, -math.inf)


def _measure(state: State, name: str, loop: _Loop, metered_w: float | None, now_s: float, dt_s: float) -> None:
    """What the loop's meter says of its silent units, where it can tell. A loop that answers teaches."""
    if metered_w is None:
        return
    if loop.silent == 0 and loop.seen_w > 0 and loop.moving <= _MOST_MOVING * loop.units:
        known = state.ratio.get(name)
        now = metered_w / loop.seen_w
        state.ratio[name] = now if known is None else known + (now - known) * gain(dt_s, _RATIO_TAU_S)
    if loop.silent_w < TELLING * (loop.seen_w + loop.silent_w) or loop.silent_w <= 0:
        state.before[name] = Before(metered_w, now_s)
        return
    loop.part_left = (metered_w / max(state.ratio.get(name, 1.0), 0.1) - loop.seen_w) / loop.silent_w
    loop.is_many = loop.silent_w >= TELLING_AT_ONCE * (loop.seen_w + loop.silent_w)
    before = state.before.get(name)
    loop.is_falling = before is not None and now_s - before.at_s <= FALLING_S and metered_w <= (1.0 - FALLING) * before.metered_w


def _is_dark(state: State, unit: UnitSeen, loop: _Loop, now_s: float) -> bool:
    """One silent unit. What the meter said last stands until the unit is seen, or the meter says otherwise."""
    part, is_long = loop.part_left, now_s - state.seen_s[unit.id] >= UNSEEN_S
    if part is None:
        return unit.id in state.gone or (is_long and not loop.is_network)
    is_going = loop.is_many and not is_long and (part < GOING or loop.is_falling)
    if is_going or (part < GONE and (loop.is_many or is_long)):
        state.gone.setdefault(unit.id, now_s)
    elif part >= GOING:
        state.gone.pop(unit.id, None)
    return unit.id in state.gone
