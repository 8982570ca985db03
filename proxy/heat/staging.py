"""Who may be woken and who may be put to sleep in one cycle, so that starts are few, spread out, and never made only to lead.

Three things bound a wake together: the breakers' inrush (wakes a minute and loop), the water (the loop's interlock must permit it,
its flow proven) and the need (a unit that would be put to sleep again is not woken). A reserve of running units is kept for losses,
spread over the loops. Pure.
"""

import math
from collections.abc import Mapping, Sequence

import msgspec


class Tokens(msgspec.Struct):
    """Wakes that a loop may still make now; they come back with time."""

    left: dict[str, float] = {}

    def refill(self, loops: Sequence[str], per_min: float, dt_s: float) -> None:
        """Let `dt_s` pass. A loop never saves up more than a minute's worth."""
        most = max(1.0, per_min)
        for loop in loops:
            self.left[loop] = min(most, self.left.get(loop, most) + per_min * max(0.0, dt_s) / 60.0)

    def spend(self, loop: str) -> None:
        """A unit of the loop was woken."""
        self.left[loop] = self.left.get(loop, 0.0) - 1.0


class UnitStage(msgspec.Struct, frozen=True, gc=False):
    """What staging must know of one unit. `lowest_w`, `highest_w`: awake, within its ceiling; a unit that cannot move has both at
    what it draws. `can_wake`: asleep, and its own limits let it start. `can_sleep`: awake, and they let it stop."""

    loop: str
    is_awake: bool
    can_wake: bool
    lowest_w: float
    highest_w: float
    wear: float


class Stage(msgspec.Struct, frozen=True):
    """For each unit whether it may be woken; those that must be; and the loops whose running units stay awake."""

    may_wake: tuple[bool, ...]
    must_wake: frozenset[int]
    stays_awake: frozenset[str]


def stage(
    units: Sequence[UnitStage],
    tokens: Tokens,
    may_wake: Mapping[str, bool],
    loop_caps_w: Mapping[str, float | None],
    steady_w: float,
    reserve: float,
) -> Stage:
    """Decide for one cycle. `steady_w` is the power that is needed once all has settled, caps of the site included."""
    lowest_w = sum(unit.lowest_w for unit in units if unit.is_awake)
    by_loop = {loop: sum(u.lowest_w for u in units if u.is_awake and u.loop == loop) for loop in loop_caps_w}
    keeps = lowest_w <= steady_w
    stays = frozenset(loop for loop, cap_w in loop_caps_w.items() if keeps and by_loop[loop] <= _or_inf(cap_w))
    allowed, required = [False] * len(units), set()
    headroom_w = {loop: sum(u.highest_w - u.lowest_w for u in units if u.is_awake and u.loop == loop) for loop in loop_caps_w}
    short_w = steady_w * (1.0 + reserve) - sum(unit.highest_w for unit in units if unit.is_awake)
    # Least room first: the reserve is to lie on other loops than the one that fails. Among units the least worn comes first.
    order = sorted(
        (k for k, unit in enumerate(units) if unit.can_wake and not unit.is_awake and may_wake.get(units[k].loop, True)),
        key=lambda k: (headroom_w.get(units[k].loop, 0.0), units[k].wear),
    )
    left = dict(tokens.left)
    for k in order:
        unit = units[k]
        if left.get(unit.loop, 0.0) < 1.0 or by_loop.get(unit.loop, 0.0) + unit.lowest_w > _or_inf(loop_caps_w.get(unit.loop)):
            continue
        if lowest_w + unit.lowest_w > steady_w:
            break
        left[unit.loop] -= 1.0
        allowed[k] = True
        lowest_w += unit.lowest_w
        by_loop[unit.loop] += unit.lowest_w
        if short_w > 0:
            required.add(k)
            short_w -= unit.highest_w
    return Stage(tuple(allowed), frozenset(required), stays)


def _or_inf(value: float | None) -> float:
    return math.inf if value is None else value
