"""The last word on every level, and it only lowers: temperatures, unknown temperatures, starts, loop and site caps, manual limit.

Nothing goes to a unit without passing `limit`, whoever asked. Pure. It is no protective device: over-temperature, flow and pressure
belong to the machine's firmware, the PLC and the thermostat; these rules only keep us from working against them.
"""

import heapq
import math
from collections.abc import Sequence

import msgspec

from proxy.heat.demand import is_number
from proxy.units.unit import UnitImage

# From here above a limit there is no time for one level at a time.
SLEEP_ABOVE_K = 5.0
# A lower level shows in the water after about this time; lowering faster would only overshoot to sleep.
STEP_S = 60.0
# Cooler than the limit by this much for this long before a level is given back, one at a time.
RELEASE_BELOW_K = 5.0
RELEASE_S = 300.0
# Half of the places where the outlet is lost are a loose sensor; a running unit may be without it for so long.
UNKNOWN_OUTLET_S = 300.0


class UnitMemory(msgspec.Struct):
    """What safety remembers of one unit. `ceiling` None: no temperature holds it down."""

    ceiling: int | None = None
    changed_s: float = -math.inf
    outlet_seen_s: float | None = None


class Memory(msgspec.Struct):
    """What safety remembers between cycles."""

    units: dict[str, UnitMemory] = {}
    models_with_outlet: set[str] = set()


class Ceiling(msgspec.Struct, frozen=True, gc=False):
    """The highest level a unit may have now. `reason` None: nothing holds it down."""

    level: int
    reason: str | None


class Caps(msgspec.Struct, frozen=True, gc=False):
    """Electrical caps that the commanded units together must keep. `site_name` says whose the site's cap is, `loop_reasons` why a
    loop has its cap where it is not the configured one."""

    loops_w: dict[str, float]
    site_w: float | None
    site_name: str
    loop_reasons: dict[str, str] = {}


class Verdict(msgspec.Struct, frozen=True):
    """A level for every unit, never of more power than asked; for the units that were lowered, why."""

    levels: tuple[int, ...]
    reasons: dict[str, str]


def ceilings(memory: Memory, images: Sequence[UnitImage], levels: Sequence[int | None], now_s: float) -> tuple[Ceiling, ...]:
    """The highest level of every unit now, from temperatures and starts. `levels` are those the units have."""
    memory.models_with_outlet.update(image.model for image in images if is_number(image.outlet_c))
    return tuple(_ceiling(memory, image, level, now_s) for image, level in zip(images, levels, strict=True))


def limit(
    wanted: Sequence[int], images: Sequence[UnitImage], tops: Sequence[Ceiling], caps: Caps, power_w: Sequence[Sequence[float]]
) -> Verdict:
    """Lower what must be lowered. `power_w` is what each unit draws on each of its levels.

    A unit that cannot be commanded counts with what it was wanted at: lowering it on paper would not lower the plant. Where such
    units alone exceed a cap, all others end as low as they go. A level outside a unit's levels counts as the nearest one.
    """
    levels = [min(max(level, 0), len(image.levels) - 1) for level, image in zip(wanted, images, strict=True)]
    reasons: dict[str, str] = {}
    for k, (image, top) in enumerate(zip(images, tops, strict=True)):
        lower = _at_most(power_w[k], levels[k], top.level)
        if lower != levels[k]:
            levels[k] = lower
            reasons[image.id] = top.reason or "ceiling"
    loops: dict[str, list[int]] = {}
    for k, image in enumerate(images):
        loops.setdefault(image.loop, []).append(k)
    for name, members in loops.items():
        _come_under(
            levels, members, images, power_w, caps.loops_w.get(name), caps.loop_reasons.get(name, f"loop {name} cap"), reasons
        )
    _come_under(levels, range(len(images)), images, power_w, caps.site_w, caps.site_name, reasons)
    return Verdict(tuple(levels), reasons)


def _ceiling(memory: Memory, image: UnitImage, level: int | None, now_s: float) -> Ceiling:
    top = len(image.levels) - 1
    known = memory.units.setdefault(image.id, UnitMemory())
    running = level is None or level > 0
    reason = _heat_of(known, image, top if level is None else level, now_s)
    ceiling = top if known.ceiling is None else min(known.ceiling, top)
    if is_number(image.outlet_c) or not running or known.outlet_seen_s is None:
        known.outlet_seen_s = now_s
    if image.model in memory.models_with_outlet and now_s - known.outlet_seen_s >= UNKNOWN_OUTLET_S and ceiling > 1:
        return Ceiling(min(1, top), "outlet temperature unknown")
    if level == 0 and image.starts_today >= image.max_starts_per_day:
        return Ceiling(0, f"{image.starts_today} starts today")
    return Ceiling(ceiling, reason)


def _heat_of(known: UnitMemory, image: UnitImage, level: int, now_s: float) -> str | None:
    """Move the unit's ceiling by its temperatures; why it is held down, if it is."""
    margins = [
        (value - most, name, value)
        for name, value, most in (("outlet", image.outlet_c, image.max_outlet_c), ("chip", image.chip_c, image.max_chip_c))
        if value is not None and is_number(value)
    ]
    if not margins:
        # Nothing is known: what held it down before still does.
        return None if known.ceiling is None else "temperature was too high"
    over_k, name, hot_c = max(margins)
    if over_k >= SLEEP_ABOVE_K:
        known.ceiling, known.changed_s = 0, now_s
    elif over_k >= 0:
        if now_s - known.changed_s >= STEP_S:
            held = level if known.ceiling is None else min(level, known.ceiling)
            known.ceiling, known.changed_s = max(0, held - 1), now_s
    elif known.ceiling is not None:
        if over_k > -RELEASE_BELOW_K:
            known.changed_s = now_s
        elif now_s - known.changed_s >= RELEASE_S:
            above = known.ceiling + 1
            known.ceiling, known.changed_s = (None if above >= len(image.levels) - 1 else above), now_s
    return None if known.ceiling is None else f"{name} {hot_c:.0f} C"


def _at_most(power_w: Sequence[float], level: int, top: int) -> int:
    """The highest level up to `top` that draws no more than `level`; the level itself when there is none."""
    if level <= top:
        return level
    return next((lower for lower in range(top, -1, -1) if power_w[lower] <= power_w[level]), level)


def _come_under(
    levels: list[int],
    members: Sequence[int],
    images: Sequence[UnitImage],
    power_w: Sequence[Sequence[float]],
    cap_w: float | None,
    name: str,
    reasons: dict[str, str],
) -> None:
    """Take one level after another from the members, highest first, until they keep the cap or can go no lower."""
    if cap_w is None:
        return
    total_w = sum(power_w[k][levels[k]] for k in members)
    # A rounding error of a sum is no reason to lower a unit.
    if total_w <= cap_w * (1 + 1e-9):
        return
    heap = [(-levels[k], k) for k in members if levels[k] > 0 and images[k].may_command]
    heapq.heapify(heap)
    while heap and total_w > cap_w:
        _, k = heapq.heappop(heap)
        lower = _at_most(power_w[k], levels[k], levels[k] - 1)
        if lower == levels[k]:
            continue
        total_w += power_w[k][lower] - power_w[k][levels[k]]
        levels[k] = lower
        reasons[images[k].id] = name
        if lower > 0:
            heapq.heappush(heap, (-lower, k))
