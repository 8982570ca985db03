"""From a target to the electrical set-point: feed-forward by the levels' nameplate power, corrected by what is really measured.

First form of the tracker. The correction is a filtered *ratio* of measured to nameplate power over settled units, not an integral
of error: it cannot wind up, and a plant that cannot follow does not move it. Pure; which units do it is dispatch's business.
"""

import math
from collections.abc import Sequence

import msgspec

from proxy.units.unit import UnitImage, UnitState

# A unit unseen for so long is taken for dark and replaced by others: a switch restart is shorter, a dead unit is longer.
UNSEEN_S = 300.0
# More of the fleet than this does not die at once: the network did, the machines go on, and replacing them would double the heat.
COMMON_CAUSE = 0.2
# The correction learns only while this part of the running power is settled and measured.
MIN_SETTLED = 0.3
# A reading of more than this many times the highest level is no reading.
ABSURD_POWER = 2.0
# Water between the units and the meter: the heat seen now was made over the last minutes.
HEAT_LAG_S = 430.0
# The meter moves the belief in the thermal efficiency this slowly, this far, and only within this band of disagreement.
EFFICIENCY_TAU_S = 1_800.0
EFFICIENCY_SPAN = 0.1
MAX_DISAGREEMENT = 0.15

_UNAVAILABLE = frozenset({UnitState.FAULT, UnitState.SERVICE, UnitState.LOCKED_OUT, UnitState.CALIBRATING, UnitState.IDLE})
_MOVING = frozenset({UnitState.RAMPING, UnitState.WAKING})


class Policy(msgspec.Struct, frozen=True, gc=False):
    """The parameters, from [heat]. Powers are electrical."""

    thermal_efficiency: float
    correction_tau_s: float
    max_correction: float
    ramp_w_per_min: float
    dead_band: float
    min_power_w: float


class TrackerState(msgspec.Struct):
    """What is learned and where the ramp is. `correction` and `reference_w` are None until the first look at the fleet."""

    correction: float | None = None
    reference_w: float | None = None
    efficiency_factor: float = 1.0
    lagged_heat_w: float | None = None
    lag_known_s: float = 0.0
    seen_s: dict[str, float] = {}
    levels: dict[str, int] = {}


class Snapshot(msgspec.Struct, frozen=True):
    """The fleet's power in one cycle, real watts, one entry a unit in the order of the images.

    `level`: what the unit was told, else what it does or did when it was last seen; None unknown. `expected_w`: what it will draw
    when it has settled there. `drawn_w`: what it draws now, measured or else expected. `dark`: nothing is known of it and others
    replace it. `measured_w`: all fresh readings together, None without any. `ratio`: see `correct`.
    """

    level: tuple[int | None, ...]
    expected_w: tuple[float, ...]
    drawn_w: tuple[float, ...]
    dark: tuple[bool, ...]
    measured_w: float | None
    moving: int
    ratio: float | None

    @property
    def total_w(self) -> float:
        """What the whole fleet will draw when all has settled."""
        return sum(self.expected_w)


class Setpoint(msgspec.Struct, frozen=True, gc=False):
    """The electrical power to dispatch now, and what keeps it from the target (None: nothing)."""

    power_w: float
    limiter: str | None


def _level(state: TrackerState, image: UnitImage) -> int | None:
    """What the unit was told, else what it does, else what it did last, kept within its levels. Service forgets it."""
    level = image.level_observed if image.level_commanded is None else image.level_commanded
    if image.state is UnitState.SERVICE:
        state.levels.pop(image.id, None)
    elif level is None:
        level = state.levels.get(image.id)
    else:
        state.levels[image.id] = level
    return None if level is None else min(max(level, 0), len(image.levels) - 1)


def observe(state: TrackerState, policy: Policy, images: Sequence[UnitImage], now_s: float, dt_s: float) -> Snapshot:
    """Add up what is measured and what is to be expected, after moving the correction by what is measured (see `correct`)."""
    fresh = [_believable(image) for image in images]
    for image, power_w in zip(images, fresh, strict=True):
        if power_w is not None or image.id not in state.seen_s:
            state.seen_s[image.id] = now_s
    dark = _dark(state, images, fresh, now_s)
    levels = tuple(_level(state, image) for image in images)
    ratio = _ratio(images, levels, fresh)
    correct(state, policy, ratio, dt_s)
    scale = 1.0 if state.correction is None else state.correction
    expected = tuple(
        _expected_w(image, level, power_w, is_dark, scale)
        for image, level, power_w, is_dark in zip(images, levels, fresh, dark, strict=True)
    )
    known = [power_w for power_w in fresh if power_w is not None]
    return Snapshot(
        level=levels,
        expected_w=expected,
        drawn_w=tuple(e if power_w is None else power_w for e, power_w in zip(expected, fresh, strict=True)),
        dark=dark,
        measured_w=sum(known) if known else None,
        moving=sum(image.state in _MOVING for image in images),
        ratio=ratio,
    )


def correct(state: TrackerState, policy: Policy, ratio: float | None, dt_s: float) -> None:
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
        state.correction += (bounded - state.correction) * _gain(dt_s, policy.correction_tau_s)


def learn_efficiency(state: TrackerState, policy: Policy, present_w: float, metered_w: float | None, dt_s: float) -> bool:
    """Compare metered heat with what the fleet's power should give, seen through the plant's lag; correct slowly.

    False when the two disagree so much that one of them lies: then nothing is learned and somebody should look.
    """
    made_w = present_w * policy.thermal_efficiency
    if state.lagged_heat_w is None:
        state.lagged_heat_w = made_w
    state.lagged_heat_w += (made_w - state.lagged_heat_w) * _gain(dt_s, HEAT_LAG_S)
    state.lag_known_s += dt_s
    # Before three lags have passed, what the units did before we looked is still in the pipes.
    if metered_w is None or state.lagged_heat_w <= 0 or state.lag_known_s < 3 * HEAT_LAG_S:
        return True
    ratio = metered_w / state.lagged_heat_w
    if abs(ratio - 1.0) > MAX_DISAGREEMENT:
        return False
    bounded = min(max(ratio, 1.0 - EFFICIENCY_SPAN), 1.0 + EFFICIENCY_SPAN)
    state.efficiency_factor += (bounded - state.efficiency_factor) * _gain(dt_s, EFFICIENCY_TAU_S)
    return True


def efficiency(state: TrackerState, policy: Policy) -> float:
    """Heat into the water per wall power, as believed now. At most 1."""
    return min(1.0, policy.thermal_efficiency * state.efficiency_factor)


def setpoint(
    state: TrackerState, policy: Policy, target_w: float, cap_w: float | None, cap_name: str, expected_w: float, dt_s: float
) -> Setpoint:
    """The next electrical set-point: target, raised to the minimum stable power, cut by the cap (which wins), reached by the ramp.

    The ramp starts from what the fleet draws (`expected_w`) at the first call. Coming under the cap does not wait for the ramp.
    """
    aim_w, limiter = target_w, None
    if aim_w < policy.min_power_w:
        aim_w, limiter = policy.min_power_w, "minimum stable power"
    if cap_w is not None and aim_w > cap_w:
        aim_w, limiter = cap_w, cap_name
    start_w = expected_w if state.reference_w is None else state.reference_w
    if cap_w is not None:
        start_w = min(start_w, cap_w)
    step_w = policy.ramp_w_per_min / 60.0 * max(0.0, dt_s)
    reference_w = min(max(aim_w, start_w - step_w), start_w + step_w)
    # Inside the dead band there is nothing to ramp: a restart finds the plant where it should be.
    if abs(aim_w - start_w) <= policy.dead_band * aim_w:
        reference_w = aim_w
    if reference_w != aim_w:
        limiter = "ramp"
    state.reference_w = reference_w
    return Setpoint(reference_w, limiter)


def yield_to(state: TrackerState, policy: Policy, planned_w: float) -> None:
    """Pull the ramp back to what could be planned, so that it does not run ahead of a plant that cannot follow."""
    if state.reference_w is not None and abs(planned_w - state.reference_w) > policy.dead_band * state.reference_w:
        state.reference_w = planned_w


def is_within_dead_band(policy: Policy, setpoint_w: float, expected_w: float, smallest_step_w: float) -> bool:
    """Whether moving units is not worth it: the error is below the dead band, or below what one step could improve."""
    return abs(setpoint_w - expected_w) <= max(policy.dead_band * setpoint_w, smallest_step_w / 2)


def is_available(image: UnitImage) -> bool:
    """Whether a level that is commanded would show: not for a unit at fault, in service, calibrating, or awake without work."""
    return image.may_command and image.state not in _UNAVAILABLE


def _gain(dt_s: float, tau_s: float) -> float:
    return 1.0 - math.exp(-max(0.0, dt_s) / tau_s)


def _believable(image: UnitImage) -> float | None:
    """The fresh measured power, if it is one."""
    power_w = image.power_w
    if power_w is None or not 0.0 <= power_w <= ABSURD_POWER * max(fact.power_w for fact in image.levels):
        return None
    return power_w


def _dark(state: TrackerState, images: Sequence[UnitImage], fresh: Sequence[float | None], now_s: float) -> tuple[bool, ...]:
    """Units that have been silent so long that others replace them. A unit in service without a reading is dark at once."""
    silent = [
        power_w is None and (image.state is UnitState.SERVICE or now_s - state.seen_s[image.id] >= UNSEEN_S)
        for image, power_w in zip(images, fresh, strict=True)
    ]
    unexplained = sum(is_silent and image.state is not UnitState.SERVICE for image, is_silent in zip(images, silent, strict=True))
    if unexplained <= max(1.0, COMMON_CAUSE * len(images)):
        return tuple(silent)
    return tuple(is_silent and image.state is UnitState.SERVICE for image, is_silent in zip(images, silent, strict=True))


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
