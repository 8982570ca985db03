"""One cycle's plan: what each unit may do now, the levels dispatch chose for the set-point, and what safety left of them.

Pure: it turns the image of the fleet into dispatch's and safety's terms and back. It commands nothing, and what the set-point is
was decided before (tracker).
"""

import math
from collections.abc import Mapping, Sequence

import msgspec

from proxy.heat import dispatch, observe, safety, staging, tracker, wear
from proxy.heat.inputs import Cap
from proxy.heat.interlocks import FREE, LoopVerdict
from proxy.units.unit import UnitImage

# From this far off what is needed, wear does not count.
FAR = 0.05
# The more is missing the more of a loop may change at once: so many times as much where a loop is lost.
LOST = 0.2
MAX_HURRY = 10.0


class Plant(msgspec.Struct, frozen=True):
    """What is fixed: cap (None: none) and level changes a cycle of each loop, by name, in one order; wakes a minute and loop."""

    loop_caps_w: dict[str, float | None]
    loop_changes: tuple[int, ...]
    wakes_per_min: float
    dead_band: float
    reserve: float


class Memory(msgspec.Struct):
    """What planning remembers between cycles. `blocked_until_s`: units that refused a command, and how long they are left alone."""

    limits: safety.Memory = msgspec.field(default_factory=safety.Memory)
    worn: wear.State = msgspec.field(default_factory=wear.State)
    tokens: staging.Tokens = msgspec.field(default_factory=staging.Tokens)
    blocked_until_s: dict[str, float] = {}


class Scene(msgspec.Struct, frozen=True):
    """One moment: the fleet, and everything that limits it. `scale` is real to nameplate power."""

    plant: Plant
    site_cap: Cap
    loops: Mapping[str, LoopVerdict]
    images: Sequence[UnitImage]
    snapshot: observe.Snapshot
    scale: float
    now_s: float

    def loop_caps_w(self) -> dict[str, float | None]:
        """As the function of that name."""
        return loop_caps_w(self.plant, self.loops)

    def caps(self) -> safety.Caps:
        """The same for safety, with the reasons."""
        caps_w = {loop: cap_w for loop, cap_w in self.loop_caps_w().items() if cap_w is not None}
        reasons = {
            name: verdict.reason
            for name, verdict in self.loops.items()
            if verdict.cap_w is not None and verdict.reason is not None and caps_w.get(name) == verdict.cap_w
        }
        return safety.Caps(caps_w, self.site_cap.power_w, self.site_cap.name, reasons)


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


def loop_caps_w(plant: Plant, verdicts: Mapping[str, LoopVerdict]) -> dict[str, float | None]:
    """The cap of each loop: the configured one, or its interlock's where that is lower."""
    return {name: _lower(cap_w, verdicts.get(name, FREE).cap_w) for name, cap_w in plant.loop_caps_w.items()}


def plan(scene: Scene, memory: Memory, setpoint: tracker.Setpoint | None, prices: dispatch.Prices) -> Planned:
    """Levels for the set-point (None: keep all as they are), through safety.

    Within the dead band no unit moves, unless one must come down: then others replace it in the same cycle.
    """
    snapshot, images = scene.snapshot, scene.images
    tops = safety.ceilings(memory.limits, images, snapshot.level, scene.now_s)
    target_w = snapshot.total_w if setpoint is None else setpoint.power_w
    steady_w = target_w if setpoint is None else setpoint.steady_w
    # Where the heat that is needed is far off, wear does not count; a lead is no need.
    rests = frozenset[str]() if _gap(scene, steady_w) >= FAR else wear.resting(memory.worn, scene.now_s)
    choices = _choices(scene, memory, tops, steady_w, rests)
    budget = wear.budget(memory.worn)
    dear = msgspec.structs.replace(prices, change=prices.change * budget.dearer)
    chosen = dispatch.dispatch(choices, target_w, _limits(scene, steady_w), dear, scale=scene.scale)
    must_move = any(_must_move(choice) for choice in choices)
    dead_band = scene.plant.dead_band * budget.wider
    is_close = tracker.is_within_dead_band(dead_band, target_w, snapshot.total_w, smallest_step_w(choices, scene.scale))
    is_moving = setpoint is not None and (must_move or not is_close)
    wanted = chosen.levels if is_moving else [choice.current for choice in choices]
    rows = power_rows(images, snapshot, scene.scale)
    verdict = safety.limit(wanted, images, tops, scene.caps(), rows)
    return Planned(
        levels=verdict.levels,
        lowered=_pressed(scene, tops, choices, verdict.levels, rows) | verdict.reasons | _blind(scene),
        # A dark unit draws nothing on any level, whatever it is told in case it runs after all.
        power_w=sum(
            snapshot.expected_w[k] if level == choices[k].current or snapshot.dark[k] else rows[k][level]
            for k, level in enumerate(verdict.levels)
        ),
        headroom_up_w=chosen.headroom_up_w,
        headroom_down_w=chosen.headroom_down_w,
        marginal_price_per_kwh=chosen.marginal_price_per_kwh,
        limiter=chosen.limiter,
        is_moving=is_moving,
    )


def enforce(scene: Scene, memory: Memory) -> Planned:
    """Only what must come down now, by interlocks, caps and temperatures; nothing is dispatched, nothing rises."""
    snapshot = scene.snapshot
    tops = safety.ceilings(memory.limits, scene.images, snapshot.level, scene.now_s)
    rows = power_rows(scene.images, snapshot, scene.scale)
    present = [0 if level is None else level for level in snapshot.level]
    verdict = safety.limit(present, scene.images, tops, scene.caps(), rows)
    return Planned(
        levels=verdict.levels,
        lowered=verdict.reasons | _blind(scene),
        power_w=sum(rows[k][level] for k, level in enumerate(verdict.levels)),
        headroom_up_w=0.0,
        headroom_down_w=0.0,
        marginal_price_per_kwh=None,
        limiter=None,
        is_moving=False,
    )


def refusal_by_hand(scene: Scene, memory: Memory, position: int, level: int) -> str | None:
    """What safety has against one unit going to `level` while all others stay; None when nothing."""
    images, snapshot = scene.images, scene.snapshot
    verdict = scene.loops.get(images[position].loop, FREE)
    if level > 0 and snapshot.level[position] == 0 and not verdict.may_wake:
        return verdict.reason or "its loop may not wake units"
    tops = safety.ceilings(memory.limits, images, snapshot.level, scene.now_s)
    rows = power_rows(images, snapshot, scene.scale)
    present = [0 if known is None else known for known in snapshot.level]
    wanted = [level if k == position else known for k, known in enumerate(present)]
    before = safety.limit(present, images, tops, scene.caps(), rows)
    after = safety.limit(wanted, images, tops, scene.caps(), rows)
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


def power_rows(images: Sequence[UnitImage], snapshot: observe.Snapshot, scale: float) -> list[Sequence[float]]:
    """What each unit draws on each level. One that cannot follow draws what it draws now, and no more on a lower level."""
    shared: dict[int, list[float]] = {}
    rows: list[Sequence[float]] = []
    for k, image in enumerate(images):
        row = shared.get(id(image.levels))
        if row is None:
            row = shared[id(image.levels)] = [fact.power_w * scale for fact in image.levels]
        if not snapshot.dark[k] and not observe.is_available(image):
            level, drawn_w = snapshot.level[k] or 0, snapshot.expected_w[k]
            row = [drawn_w if j == level else min(power_w, drawn_w) if j < level else power_w for j, power_w in enumerate(row)]
        rows.append(row)
    return rows


def _blind(scene: Scene) -> dict[str, str]:
    """Units of which nothing is known, where nothing may run: they are told to sleep too, as they may well be awake."""
    caps = scene.caps()
    if caps.site_w != 0 and 0 not in caps.loops_w.values():
        return {}
    return {
        image.id: caps.site_name if caps.site_w == 0 else caps.loop_reasons.get(image.loop, "cap of 0 W")
        for image, level in zip(scene.images, scene.snapshot.level, strict=True)
        if level is None and (caps.site_w == 0 or caps.loops_w.get(image.loop) == 0)
    }


def _pressed(
    scene: Scene,
    tops: Sequence[safety.Ceiling],
    choices: Sequence[dispatch.UnitChoice],
    levels: Sequence[int],
    rows: Sequence[Sequence[float]],
) -> dict[str, str]:
    """Units that dispatch brought down where safety would have: it is safety's doing all the same, and waits for nothing.

    A unit above its ceiling, or one of those that together draw more than a cap allows; a stop is a cap of nothing.
    """
    caps = scene.caps()
    drawn_w = dict.fromkeys(scene.plant.loop_caps_w, 0.0)
    for image, choice, row in zip(scene.images, choices, rows, strict=True):
        drawn_w[image.loop] += row[choice.current]
    over = {name: caps.loop_reasons.get(name, f"loop {name} cap") for name, cap_w in caps.loops_w.items() if drawn_w[name] > cap_w}
    if caps.site_w is not None and sum(drawn_w.values()) > caps.site_w:
        over = dict.fromkeys(drawn_w, caps.site_name) | over
    return {
        image.id: over[image.loop] if top.level >= choice.current else top.reason or "ceiling"
        for image, top, choice, level in zip(scene.images, tops, choices, levels, strict=True)
        if level < choice.current and (top.level < choice.current or image.loop in over)
    }


def _must_move(choice: dispatch.UnitChoice) -> bool:
    if choice.locked:
        return False
    return choice.current > choice.ceiling or (choice.current == 0 and choice.floor > 0 and choice.may_wake and not choice.dwells)


def _choices(
    scene: Scene, memory: Memory, tops: Sequence[safety.Ceiling], steady_w: float, rests: frozenset[str]
) -> list[dispatch.UnitChoice]:
    index = {name: k for k, name in enumerate(scene.plant.loop_caps_w)}
    snapshot, now_s = scene.snapshot, scene.now_s
    locked = [
        snapshot.level[k] is None
        or memory.blocked_until_s.get(image.id, -math.inf) > now_s
        or snapshot.dark[k]
        or k in snapshot.missing_w
        or not observe.is_available(image)
        for k, image in enumerate(scene.images)
    ]
    worn = [wear.of_unit(memory.worn, image, now_s) for image in scene.images]
    staged = _stage(scene, memory, tops, locked, worn, steady_w, rests)
    choices = []
    for k, image in enumerate(scene.images):
        level = snapshot.level[k]
        stays_awake = level != 0 and (image.loop in staged.stays_awake or now_s < image.earliest_sleep_s)
        choices.append(
            dispatch.UnitChoice(
                loop=index[image.loop],
                levels=image.levels,
                current=level or 0,
                ceiling=tops[k].level,
                locked=locked[k],
                dwells=now_s < image.earliest_change_s,
                rests=image.id in rests,
                floor=1 if stays_awake or k in staged.must_wake else 0,
                may_wake=staged.may_wake[k],
                drawn_w=snapshot.expected_w[k] if locked[k] else None,
                wear=worn[k],
            )
        )
    return choices


def _stage(
    scene: Scene,
    memory: Memory,
    tops: Sequence[safety.Ceiling],
    locked: Sequence[bool],
    worn: Sequence[float],
    steady_w: float,
    rests: frozenset[str],
) -> staging.Stage:
    """Who may wake, must wake, and stays awake."""
    units = []
    for k, image in enumerate(scene.images):
        level = scene.snapshot.level[k]
        fixed_w = scene.snapshot.expected_w[k]
        lowest_w = fixed_w if locked[k] else image.levels[min(1, tops[k].level)].power_w * scene.scale
        highest_w = fixed_w if locked[k] else image.levels[max(0, tops[k].level)].power_w * scene.scale
        may_change = scene.now_s >= image.earliest_change_s and image.id not in rests
        can_wake = level == 0 and not locked[k] and tops[k].level > 0 and may_change
        units.append(staging.UnitStage(image.loop, level != 0, can_wake, lowest_w, highest_w, worn[k]))
    may_wake = {name: verdict.may_wake for name, verdict in scene.loops.items()}
    cap_w = scene.site_cap.power_w
    need_w = steady_w if cap_w is None else min(steady_w, cap_w)
    return staging.stage(units, memory.tokens, may_wake, scene.loop_caps_w(), need_w, scene.plant.reserve)


def _limits(scene: Scene, steady_w: float) -> dispatch.Limits:
    """Caps and pace for the plan. What is dark may well draw what it was told: it keeps its place under every cap.

    How many may move at once follows from what has to be had when all has settled. A lead is no reason: the units that were moved
    for it all dwell there, longer than it is wanted.
    """
    caps_w = scene.loop_caps_w()
    hidden_w = dict.fromkeys(caps_w, 0.0)
    for image, level, is_dark in zip(scene.images, scene.snapshot.level, scene.snapshot.dark, strict=True):
        if is_dark and level is not None:
            hidden_w[image.loop] += image.levels[level].power_w * scene.scale
    for k, missing_w in scene.snapshot.missing_w.items():
        # Their telemetry may be true after all: power without work is power.
        hidden_w[scene.images[k].loop] += missing_w
    cap_w = scene.site_cap.power_w
    hurry = 1.0 + (MAX_HURRY - 1.0) * min(1.0, _gap(scene, steady_w) / LOST)
    return dispatch.Limits(
        loop_names=tuple(caps_w),
        loop_caps_w=tuple(None if cap is None else max(0.0, cap - hidden_w[name]) for name, cap in caps_w.items()),
        loop_changes=tuple(math.ceil(changes * hurry) for changes in scene.plant.loop_changes),
        site_cap_w=None if cap_w is None else max(0.0, cap_w - sum(hidden_w.values())),
    )


def _gap(scene: Scene, steady_w: float) -> float:
    """How far the fleet is from what is needed, as a part of it."""
    return abs(steady_w - scene.snapshot.total_w) / max(steady_w, 1.0)


def _lower(one_w: float | None, other_w: float | None) -> float | None:
    known_w = [power_w for power_w in (one_w, other_w) if power_w is not None]
    return min(known_w) if known_w else None
