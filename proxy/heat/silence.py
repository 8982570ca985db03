"""Units that do not answer: which of them are dark, so that others must make their heat, and which go on behind a dead network.

A silent machine may run or not. What tells is the heat of its loop: a loop whose meter falls has lost its machines and they are
replaced at once; one whose heat goes on has lost its switch, and replacing them would double the heat. Where no meter tells, few
that are silent for long are dark, so are those of one loop, and many over all loops at once are the network's. Pure; it commands
nothing.
"""

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
    is_at_work: bool = False  # it does not answer, but its shares go on


class State(msgspec.Struct):
    """When each unit was seen last, which are dark by their loop's meter, and that meter against the units, by loop."""

    seen_s: dict[str, float] = {}
    gone: set[str] = set()
    ratio: dict[str, float] = {}


class _Loop(msgspec.Struct):
    """One loop in one cycle. `long`: silent beyond UNSEEN_S. Powers electrical."""

    units: int = 0
    moving: int = 0
    silent: int = 0
    long: int = 0
    seen_w: float = 0.0
    silent_w: float = 0.0


def dark(state: State, units: Sequence[UnitSeen], metered_w: Mapping[str, float], now_s: float, dt_s: float) -> tuple[bool, ...]:
    """Whether each unit is to be replaced. `metered_w`: electrical power that each loop's heat meter stands for, where known.

    A unit in service without a reading is dark at once.
    """
    loops = _look(state, units, now_s)
    parts = {name: _part_left(state, name, loop, metered_w.get(name), dt_s) for name, loop in loops.items()}
    total = sum(loop.long for loop in loops.values())
    is_common = total > max(1.0, COMMON_CAUSE * len(units))
    by_network = {name: is_common and (len(loops) == 1 or loop.long < ONE_LOOP * total) for name, loop in loops.items()}
    found = []
    for unit in units:
        if unit.power_w is not None or unit.is_at_work:
            found.append(False)
            continue
        if unit.in_service:
            found.append(True)
            continue
        found.append(_is_dark(state, unit, loops[unit.loop], parts[unit.loop], by_network[unit.loop], now_s))
    return tuple(found)


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
            state.gone.discard(unit.id)
            continue
        seen_s = state.seen_s.setdefault(unit.id, now_s)
        if unit.is_at_work:
            loop.seen_w += unit.told_w
        elif not unit.in_service:
            loop.silent += 1
            loop.silent_w += unit.told_w
            loop.long += now_s - seen_s >= UNSEEN_S
    return loops


def _part_left(state: State, name: str, loop: _Loop, metered_w: float | None, dt_s: float) -> float | None:
    """Which part of the silent units' heat the loop's meter still sees; None where it cannot tell. A loop that answers teaches."""
    if metered_w is None:
        return None
    if loop.silent == 0:
        if loop.seen_w > 0 and loop.moving <= _MOST_MOVING * loop.units:
            known = state.ratio.get(name)
            now = metered_w / loop.seen_w
            state.ratio[name] = now if known is None else known + (now - known) * gain(dt_s, _RATIO_TAU_S)
        return None
    if loop.silent_w < TELLING * (loop.seen_w + loop.silent_w) or loop.silent_w <= 0:
        return None
    return (metered_w / max(state.ratio.get(name, 1.0), 0.1) - loop.seen_w) / loop.silent_w


def _is_dark(state: State, unit: UnitSeen, loop: _Loop, part: float | None, by_network: bool, now_s: float) -> bool:
    """One silent unit. What the meter said last stands until the unit is seen, or the meter says otherwise."""
    if part is not None:
        is_many = loop.silent_w >= TELLING_AT_ONCE * (loop.seen_w + loop.silent_w)
        is_long = now_s - state.seen_s[unit.id] >= UNSEEN_S
        if (is_many and part < GOING and not is_long) or (part < GONE and (is_many or is_long)):
            state.gone.add(unit.id)
        elif part >= GOING:
            state.gone.discard(unit.id)
        return unit.id in state.gone
    if unit.id in state.gone:
        return True
    return now_s - state.seen_s[unit.id] >= UNSEEN_S and not by_network
