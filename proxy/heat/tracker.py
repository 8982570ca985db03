"""From the heat asked for to the electrical set-point: feed-forward through a model of the plant, corrected by its errors.

Two degrees of freedom. How fast heat follows a new demand is set by the reference filter; how errors of the plant are taken out is
set by the disturbance (model.py). Between them the power leads: the plant's lag is made up for, within a clamp. Pure. Units, levels
and caps of loops are not known here.
"""

import msgspec

from proxy.heat import model
from proxy.heat.model import gain

# How much faster than the plant by itself the model is brought onto the reference, at most. More only moves more units.
MAX_FEEDBACK = 0.5
# That is for the small errors of every day. From BEHIND of the demand on the plant is brought back this much faster, in full at
# twice that: a lost loop has to be made up for, not only replaced. Model and meter must agree that it is so far behind: a plant
# quicker than believed would be driven beyond its demand.
BEHIND = 0.012
FAR_FEEDBACK = 1.0
# A step of more than FAR_STEP of the demand is followed so much faster than one below NEAR_STEP, and in between by degrees: the
# small ones of every quarter of an hour are what wears the units, the large ones are what the utility waits for.
NEAR_STEP = 0.01
FAR_STEP = 0.04
FAR_SPEED = 2.0
# A plant that gives the demand within this part when control begins is where it should be.
NEAR = 0.01


class Policy(msgspec.Struct, frozen=True, gc=False):
    """From [heat]. Heat and `max_lead_w` are thermal, all other powers electrical."""

    reference_tau_s: float
    max_lead_w: float
    ramp_w_per_min: float
    dead_band: float
    min_power_w: float


class State(msgspec.Struct):
    """Where the reference (thermal) and the ramp (electrical) are; None before the first cycle that acts. `step`: how far the
    reference had to go when `heat_w` was first asked for, as a part of it."""

    reference_w: float | None = None
    heat_w: float | None = None
    step: float = 0.0
    setpoint_w: float | None = None
    lead_w: float = 0.0


class Aim(msgspec.Struct, frozen=True, gc=False):
    """Electrical power that would give the heat asked for. `steady_w` is without lead: what must be had when all has settled."""

    power_w: float
    steady_w: float


class Setpoint(msgspec.Struct, frozen=True, gc=False):
    """The electrical power to dispatch now, what it will be without lead, and what keeps it from the aim (None: nothing)."""

    power_w: float
    limiter: str | None
    steady_w: float


def aim_at_heat(
    state: State,
    policy: Policy,
    plant: model.State,
    plant_policy: model.Policy,
    heat_w: float,
    ramp_w_per_min: float | None,
    dt_s: float,
) -> Aim:
    """The power for a heat demand. The first call starts from the heat that the plant gives now, so nothing jumps."""
    modelled_w = model.modelled_w(plant, plant_policy) or 0.0
    missed_w = model.disturbance_w(plant)
    start_w = state.reference_w
    if start_w is None:
        start_w = modelled_w + missed_w
        # A restart that finds the heat where it should be has nothing to lead to.
        if abs(heat_w - start_w) <= NEAR * heat_w:
            start_w = heat_w
    if heat_w != state.heat_w:
        state.heat_w, state.step = heat_w, abs(heat_w - start_w) / max(heat_w, start_w, 1.0)
    step_w = (heat_w - start_w) * gain(dt_s, policy.reference_tau_s / _speed(state.step))
    if ramp_w_per_min is not None:
        most_w = ramp_w_per_min / 60.0 * max(0.0, dt_s)
        step_w = min(max(step_w, -most_w), most_w)
    state.reference_w = start_w + step_w
    slope = step_w / dt_s if dt_s > 0 else 0.0
    behind_w = state.reference_w - missed_w - modelled_w
    feedback = min(MAX_FEEDBACK, max(0.0, plant.tau_s / (2 * policy.reference_tau_s) - 1.0))
    far_w = behind_w if plant.metered_w is None else _lesser(behind_w, state.reference_w - plant.metered_w)
    far = min(max(abs(far_w) / (BEHIND * max(state.reference_w, 1.0)) - 1.0, 0.0), 1.0) * _arrived(heat_w, state.reference_w)
    lead_w = plant.tau_s * slope + feedback * behind_w + max(0.0, FAR_FEEDBACK - feedback) * far * far_w
    state.lead_w = min(max(lead_w, -policy.max_lead_w), policy.max_lead_w)
    believed = model.efficiency(plant, plant_policy)
    return Aim(
        power_w=max(0.0, state.reference_w - missed_w + state.lead_w) / believed,
        steady_w=max(0.0, heat_w - missed_w) / believed,
    )


def _lesser(one_w: float, other_w: float) -> float:
    """The smaller of two errors of one sign; 0 where they have not."""
    return 0.0 if one_w * other_w <= 0 else min(one_w, other_w, key=abs)


def _arrived(heat_w: float, reference_w: float) -> float:
    """1 where the reference is at the demand, 0 while it is under way: then the lead moves the plant, and twice is too much."""
    return max(0.0, 1.0 - abs(heat_w - reference_w) / (NEAR_STEP * max(heat_w, 1.0)))


def _speed(step: float) -> float:
    """How much faster than `reference_tau_s` the reference goes, by how far it had to go."""
    far = min(max((step - NEAR_STEP) / (FAR_STEP - NEAR_STEP), 0.0), 1.0)
    return 1.0 + (FAR_SPEED - 1.0) * far


def aim_at_power(state: State, plant: model.State, plant_policy: model.Policy, power_w: float) -> Aim:
    """An electrical power that was agreed (the lower rungs). The reference goes along, so that coming back from there is smooth."""
    modelled_w = model.modelled_w(plant, plant_policy)
    state.reference_w = None if modelled_w is None else modelled_w + model.disturbance_w(plant)
    state.lead_w = 0.0
    return Aim(power_w, power_w)


def setpoint(
    state: State, policy: Policy, aim: Aim, cap_w: float | None, cap_name: str, expected_w: float, dt_s: float
) -> Setpoint:
    """The next electrical set-point: aim, raised to the minimum stable power, cut by the cap (which wins), reached by the ramp.

    The ramp starts from what the fleet draws (`expected_w`) at the first call. Coming under the cap does not wait for the ramp.
    """
    aim_w, limiter = aim.power_w, None
    if aim_w < policy.min_power_w:
        aim_w, limiter = policy.min_power_w, "minimum stable power"
    if cap_w is not None and aim_w > cap_w:
        aim_w, limiter = cap_w, cap_name
    start_w = expected_w if state.setpoint_w is None else state.setpoint_w
    if cap_w is not None:
        start_w = min(start_w, cap_w)
    step_w = policy.ramp_w_per_min / 60.0 * max(0.0, dt_s)
    setpoint_w = min(max(aim_w, start_w - step_w), start_w + step_w)
    # Inside the dead band there is nothing to ramp: a restart finds the plant where it should be.
    if abs(aim_w - start_w) <= policy.dead_band * aim_w:
        setpoint_w = aim_w
    if setpoint_w != aim_w:
        limiter = "ramp"
    state.setpoint_w = setpoint_w
    return Setpoint(setpoint_w, limiter, max(aim.steady_w, policy.min_power_w))


def yield_to(state: State, policy: Policy, planned_w: float) -> None:
    """Pull the ramp back to what could be planned, so that it does not run ahead of a plant that cannot follow."""
    if state.setpoint_w is not None and abs(planned_w - state.setpoint_w) > policy.dead_band * state.setpoint_w:
        state.setpoint_w = planned_w


def release(state: State) -> None:
    """Nothing may be commanded: the ramp starts from the plant as it is when that changes."""
    state.setpoint_w = None


def is_within_dead_band(dead_band: float, setpoint_w: float, expected_w: float, smallest_step_w: float) -> bool:
    """Whether moving units is not worth it: the error is below the dead band, or below what one step could improve."""
    return abs(setpoint_w - expected_w) <= max(dead_band * setpoint_w, smallest_step_w / 2)
