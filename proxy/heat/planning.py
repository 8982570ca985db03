"""One cycle's plan: what each unit may do now, the levels dispatch chose for the set-point, and what safety left of them.

Pure: it turns the image of the fleet into dispatch's and safety's terms and back. It commands nothing, and what the set-point is
was decided before (tracker).
"""

import math
from collections.abc import Mapping, Sequence

import msgspec

from proxy.heat import dispatch, safety, tracker
from proxy.units.unit import UnitImage


class Plant(msgspec.Struct, frozen=True):
    """What is fixed: cap (None: none) and level changes a cycle of each loop, by name, in one order."""

    loop_caps_w: dict[str, float | None]
    loop_changes: tuple[int, ...]


class SiteCap(msgspec.Struct, frozen=True, gc=False):
    """The lowest of the caps on the whole site, electrical, and whose it is."""

    power_w: float | None
    name: str


class Planned(msgspec.Struct, frozen=True):
    """The outcome for one cycle. `power_w` is what the fleet will draw once all has settled on `levels`.

    `levels` has one entry a unit; a unit that is not to move has its present level. `lowered` says why, where safety had the last
    word. `is_moving`: the set-point was worth moving units for.
    """

    levels: tuple[int, ...]
    lowered: dict[str, str]
    power_w: float
    headroom_up_w: float
    headroom_down_w: float
    marginal_price_per_kwh: float | None
    limiter: str | None
    is_moving: bool


def plan(
    plant: Plant,
    site_cap: SiteCap,
    images: Sequence[UnitImage],
    snapshot: tracker.Snapshot,
    setpoint_w: float | None,
    policy: tracker.Policy,
    memory: safety.Memory,
    scale: float,
    blocked_until_s: Mapping[str, float],
    now_s: float,
) -> Planned:
    """Levels for the set-point (None: keep all as they are), through safety. `scale` is real to nameplate power.

    Within the dead band no unit moves, unless one must come down: then others replace it in the same cycle.
    """
    tops = safety.ceilings(memory, images, snapshot.level, now_s)
    choices = _choices(list(plant.loop_caps_w), images, snapshot, tops, blocked_until_s, now_s)
    target_w = snapshot.total_w if setpoint_w is None else setpoint_w
    chosen = dispatch.dispatch(choices, target_w, _limits(plant, site_cap, images, snapshot, scale), scale=scale)
    must_move = any(choice.current > choice.ceiling and not choice.locked for choice in choices)
    is_close = tracker.is_within_dead_band(policy, target_w, snapshot.total_w, smallest_step_w(choices, scale))
    is_moving = setpoint_w is not None and (must_move or not is_close)
    wanted = chosen.levels if is_moving else [choice.current for choice in choices]
    rows = power_rows(images, snapshot, scale)
    verdict = safety.limit(wanted, images, tops, _caps(plant, site_cap), rows)
    # Dispatch already brought these down; it is safety's doing all the same, and does not wait for dwell times.
    held = {
        image.id: top.reason or "ceiling"
        for image, top, choice, level in zip(images, tops, choices, verdict.levels, strict=True)
        if top.level < choice.current and level < choice.current
    }
    return Planned(
        levels=verdict.levels,
        lowered=held | verdict.reasons,
        power_w=sum(
            snapshot.expected_w[k] if level == choices[k].current else rows[k][level] for k, level in enumerate(verdict.levels)
        ),
        headroom_up_w=chosen.headroom_up_w,
        headroom_down_w=chosen.headroom_down_w,
        marginal_price_per_kwh=chosen.marginal_price_per_kwh,
        limiter=chosen.limiter,
        is_moving=is_moving,
    )


def refusal_by_hand(
    plant: Plant,
    site_cap: SiteCap,
    images: Sequence[UnitImage],
    snapshot: tracker.Snapshot,
    position: int,
    level: int,
    memory: safety.Memory,
    scale: float,
    now_s: float,
) -> str | None:
    """What safety has against one unit going to `level` while all others stay; None when nothing."""
    tops = safety.ceilings(memory, images, snapshot.level, now_s)
    rows = power_rows(images, snapshot, scale)
    present = [0 if known is None else known for known in snapshot.level]
    wanted = [level if k == position else known for k, known in enumerate(present)]
    before = safety.limit(present, images, tops, _caps(plant, site_cap), rows)
    after = safety.limit(wanted, images, tops, _caps(plant, site_cap), rows)
    if after.levels[position] < level:
        return after.reasons[images[position].id]
    # It must not be paid for by another unit that a cap then brings down.
    return next((why for unit, why in after.reasons.items() if unit not in before.reasons), None)


def smallest_step_w(choices: Sequence[dispatch.UnitChoice], scale: float) -> float:
    """The smallest change of power that one unit that is not locked offers (sleep counts only where there is nothing else)."""
    menus = {id(choice.levels): choice.levels for choice in choices if not choice.locked}
    steps = [
        abs(upper.power_w - lower.power_w)
        for levels in menus.values()
        for lower, upper in zip(levels[1:-1] or levels[:1], levels[2:] or levels[1:], strict=True)
    ]
    return min(steps, default=0.0) * scale


def power_rows(images: Sequence[UnitImage], snapshot: tracker.Snapshot, scale: float) -> list[Sequence[float]]:
    """What each unit draws on each level. One that cannot follow draws what it draws now, and no more on a lower level."""
    shared: dict[int, list[float]] = {}
    rows: list[Sequence[float]] = []
    for k, image in enumerate(images):
        row = shared.get(id(image.levels))
        if row is None:
            row = shared[id(image.levels)] = [fact.power_w * scale for fact in image.levels]
        if not snapshot.dark[k] and not tracker.is_available(image):
            level, drawn_w = snapshot.level[k] or 0, snapshot.expected_w[k]
            row = [drawn_w if j == level else min(power_w, drawn_w) if j < level else power_w for j, power_w in enumerate(row)]
        rows.append(row)
    return rows


def _choices(
    loops: list[str],
    images: Sequence[UnitImage],
    snapshot: tracker.Snapshot,
    tops: Sequence[safety.Ceiling],
    blocked_until_s: Mapping[str, float],
    now_s: float,
) -> list[dispatch.UnitChoice]:
    index = {name: k for k, name in enumerate(loops)}
    choices = []
    for k, image in enumerate(images):
        level = snapshot.level[k]
        is_blocked = blocked_until_s.get(image.id, -math.inf) > now_s
        locked = level is None or is_blocked or snapshot.dark[k] or not tracker.is_available(image)
        choices.append(
            dispatch.UnitChoice(
                loop=index[image.loop],
                levels=image.levels,
                current=level or 0,
                ceiling=tops[k].level,
                locked=locked,
                dwells=now_s < image.earliest_change_s,
                may_sleep=now_s >= image.earliest_sleep_s,
                drawn_w=snapshot.expected_w[k] if locked else None,
                wear=_wear(image, now_s),
            )
        )
    return choices


def _limits(
    plant: Plant, site_cap: SiteCap, images: Sequence[UnitImage], snapshot: tracker.Snapshot, scale: float
) -> dispatch.Limits:
    """Caps for the plan. What is dark may well draw what it was told: it keeps its place under every cap."""
    hidden_w = dict.fromkeys(plant.loop_caps_w, 0.0)
    for image, level, is_dark in zip(images, snapshot.level, snapshot.dark, strict=True):
        if is_dark and level is not None:
            hidden_w[image.loop] += image.levels[level].power_w * scale
    cap_w = site_cap.power_w
    return dispatch.Limits(
        loop_names=tuple(plant.loop_caps_w),
        loop_caps_w=tuple(None if cap is None else max(0.0, cap - hidden_w[name]) for name, cap in plant.loop_caps_w.items()),
        loop_changes=plant.loop_changes,
        site_cap_w=None if cap_w is None else max(0.0, cap_w - sum(hidden_w.values())),
    )


def _caps(plant: Plant, site_cap: SiteCap) -> safety.Caps:
    loops_w = {loop: cap for loop, cap in plant.loop_caps_w.items() if cap is not None}
    return safety.Caps(loops_w, site_cap.power_w, site_cap.name)


def _wear(image: UnitImage, now_s: float) -> float:
    """Starts of the day, and how recently the unit was moved: among equals the rested one is taken."""
    rest_s = math.inf if image.changed_at_s is None else max(0.0, now_s - image.changed_at_s)
    return image.starts_today + 1.0 / (1.0 + rest_s / 3_600.0)
