"""The fleet in one cycle: what each unit was told, what it draws, what it will draw, and which are dark (by silence.py).

What the levels' nameplate promises is corrected by a filtered *ratio* of measured to nameplate power over settled units, not by an
integral of error: it cannot wind up, and a plant that cannot follow does not move it. Pure. What power the fleet should have is the
tracker's business, which units move is dispatch's.
"""

from collections.abc import Mapping, Sequence

import msgspec

from proxy.heat import doubt, silence
from proxy.heat.model import gain
from proxy.units.unit import UnitImage, UnitState

# The correction learns only while this part of the running power is settled and measured.
MIN_SETTLED = 0.3
# A reading of more than this many times the highest level is no reading.
ABSURD_POWER = 2.0

_UNAVAILABLE = frozenset({UnitState.FAULT, UnitState.SERVICE, UnitState.LOCKED_OUT, UnitState.CALIBRATING, UnitState.IDLE})
_MOVING = frozenset({UnitState.RAMPING, UnitState.WAKING})


class Policy(msgspec.Struct, frozen=True, gc=False):
    """From [heat]: filter and bound of the correction."""

    correction_tau_s: float
    max_correction: float


class State(msgspec.Struct):
    """What is learned of the fleet. `correction` is None until the first look at it."""

    correction: float | None = None
    levels: dict[str, int] = {}
    unseen: silence.State = msgspec.field(default_factory=silence.State)
    doubts: doubt.State = msgspec.field(default_factory=doubt.State)

    @property
    def scale(self) -> float:
        """Real to nameplate power."""
        return 1.0 if self.correction is None else self.correction


class Snapshot(msgspec.Struct, frozen=True):
    """The fleet's power in one cycle, real watts, one entry a unit in the order of the images.

    `level`: what the unit was told, else what it does or did when it was last seen; None unknown. `expected_w`: what it will draw
    when it has settled there. `drawn_w`: what it draws now, measured or else expected. `dark`: nothing is known of it and others
    replace it. `measured_w`: all fresh readings together, None without any. `ratio`: see `correct`. `missing_w`: by position, what
    a unit was told to draw and its shares prove that it does not. `lost_j`: what units that went dark in this cycle were taken to
    have drawn since they were seen last.
    """

    level: tuple[int | None, ...]
    expected_w: tuple[float, ...]
    drawn_w: tuple[float, ...]
    dark: tuple[bool, ...]
    measured_w: float | None
    moving: int
    ratio: float | None
    missing_w: dict[int, float] = {}
    lost_j: float = 0.0

    @property
    def total_w(self) -> float:
        """What the whole fleet will draw when all has settled."""
        return sum(self.expected_w)


def _level(state: State, image: UnitImage) -> int | None:
    """What the unit was told, else what it does, else what it did last, kept within its levels. Service forgets it."""
    level = image.level_observed if image.level_commanded is None else image.level_commanded
    if image.state is UnitState.SERVICE:
        state.levels.pop(image.id, None)
    elif level is None:
        level = state.levels.get(image.id)
    else:
        state.levels[image.id] = level
    return None if level is None else min(max(level, 0), len(image.levels) - 1)


def observe(
    state: State,
    policy: Policy,
    images: Sequence[UnitImage],
    now_s: float,
    dt_s: float,
    loop_power_w: Mapping[str, float] | None = None,
) -> Snapshot:
    """Add up what is measured and what is to be expected, after moving the correction by what is measured (see `correct`).

    `loop_power_w`: what each loop's own heat meter says its units draw, where there is one.
    """
    fresh = [_believable(image) for image in images]
    levels = tuple(_level(state, image) for image in images)
    before = state.scale
    told_w = [0.0 if level is None else image.levels[level].power_w * before for image, level in zip(images, levels, strict=True)]
    doubts = doubt.judge(state.doubts, images, fresh, told_w, now_s)
    believed = [None if k in doubts else power_w for k, power_w in enumerate(fresh)] if doubts else fresh
    units = [
        silence.UnitSeen(
            image.id,
            image.loop,
            power_w if image.answers else None,
            unit_w,
            image.state is UnitState.SERVICE,
            image.state in _MOVING,
        )
        for image, unit_w, power_w in zip(images, told_w, fresh, strict=True)
    ]
    seen_s = state.unseen.seen_s
    at_work = [
        k
        for k, image in enumerate(images)
        if fresh[k] is None and doubt.is_at_work(image, told_w[k], now_s - seen_s.get(image.id, now_s))
    ]
    for k in at_work:
        proven = images[k].proven
        units[k] = msgspec.structs.replace(units[k], worked_s=None if proven is None else now_s - proven.quiet_s)
    dark, lost_j = silence.dark(state.unseen, units, loop_power_w or {}, now_s, dt_s)
    fresh = [None if is_dark else power_w for power_w, is_dark in zip(fresh, dark, strict=True)]
    ratio = _ratio(images, levels, [None if is_dark else power_w for power_w, is_dark in zip(believed, dark, strict=True)])
    correct(state, policy, ratio, dt_s)
    scale = state.scale
    expected = [
        _expected_w(image, level, power_w, is_dark, scale)
        for image, level, power_w, is_dark in zip(images, levels, fresh, dark, strict=True)
    ]
    drawn = [e if power_w is None else power_w for e, power_w in zip(expected, fresh, strict=True)]
    for k in at_work:
        if dark[k]:
            continue
        expected[k] = drawn[k] = doubt.at_work_w(images[k], expected[k])
    missing_w = {}
    for k, found in doubts.items():
        drawn[k] = found.believed_w
        if found.is_short:
            missing_w[k] = max(0.0, expected[k] - found.believed_w)
            expected[k] = found.believed_w
    known = [power_w for power_w in fresh if power_w is not None]
    return Snapshot(
        level=levels,
        expected_w=tuple(expected),
        drawn_w=tuple(drawn),
        dark=dark,
        measured_w=sum(known) if known else None,
        moving=sum(image.state in _MOVING for image in images),
        ratio=ratio,
        missing_w=missing_w,
        lost_j=lost_j,
    )


def correct(state: State, policy: Policy, ratio: float | None, dt_s: float) -> None:
    """Move the correction towards the ratio just seen. None (too little of the fleet is settled) freezes it.

    The first ratio counts at once: after a restart nothing has been commanded yet, so it is the average over many settled units,
    and starting from 1 would make the fleet jump by the error of the nameplate.
    """
    if ratio is None:
        return
    bounded = min(max(ratio, 1.0 - policy.max_correction), 1.0 + policy.max_correction)
    if state.correction is None:
        state.correction = bounded
    else:
        state.correction += (bounded - state.correction) * gain(dt_s, policy.correction_tau_s)


def is_available(image: UnitImage) -> bool:
    """Whether a level that is commanded would show: not for a unit at fault, in service, calibrating, or awake without work."""
    return image.may_command and image.state not in _UNAVAILABLE


def _believable(image: UnitImage) -> float | None:
    """The fresh measured power, if it is one."""
    power_w = image.power_w
    if power_w is None or not 0.0 <= power_w <= ABSURD_POWER * max(fact.power_w for fact in image.levels):
        return None
    return power_w


def _expected_w(image: UnitImage, level: int | None, power_w: float | None, is_dark: bool, scale: float) -> float:
    if is_dark:
        return 0.0
    if power_w is not None and (image.state in _UNAVAILABLE or level is None):
        return power_w
    return 0.0 if level is None else image.levels[level].power_w * scale


def _ratio(images: Sequence[UnitImage], levels: Sequence[int | None], fresh: Sequence[float | None]) -> float | None:
    """Measured to nameplate power over the settled, running, measured units; None when they are too few to speak for all."""
    measured_w = nameplate_w = running_w = 0.0
    for image, level, power_w in zip(images, levels, fresh, strict=True):
        if level is None or level == 0:
            continue
        running_w += image.levels[level].power_w
        if power_w is not None and image.state is UnitState.RUN and image.level_observed == level:
            measured_w += power_w
            nameplate_w += image.levels[level].power_w
    if nameplate_w <= 0 or nameplate_w < MIN_SETTLED * running_w:
        return None
    return measured_w / nameplate_w
