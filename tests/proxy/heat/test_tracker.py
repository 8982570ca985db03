import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.heat import model, tracker
from proxy.heat.tracker import Aim, Policy, State

POLICY = Policy(reference_tau_s=150.0, max_lead_w=120_000.0, ramp_w_per_min=60_000.0, dead_band=0.004, min_power_w=10_000.0)
PLANT = model.Policy(
    thermal_efficiency=0.95, plant_tau_s=430.0, disturbance_tau_s=240.0, max_disturbance=0.2, capacity_w=1_000_000.0
)


def follow(true_tau_s: float, true_efficiency: float, demand_w: float, hours: float = 3.0) -> list[float]:
    """The metered heat of a first-order plant under the tracker, from half its capacity on."""
    plant, state = model.start(PLANT), State()
    power_w, heat_w, seen = 500_000.0 / true_efficiency, 500_000.0, []
    for k in range(int(hours * 180)):
        model.advance(plant, PLANT, power_w, heat_w, 20.0 if k else 0.0)
        power_w = tracker.aim_at_heat(state, POLICY, plant, PLANT, demand_w, None, 20.0 if k else 0.0).power_w
        heat_w += (power_w * true_efficiency - heat_w) * (1 - math.exp(-20 / true_tau_s))
        seen.append(heat_w)
    return seen


@pytest.mark.parametrize("true_tau_s", [260.0, 430.0, 600.0])
@pytest.mark.parametrize("true_efficiency", [0.88, 0.95])
def test_heat_follows_a_step_although_lag_and_efficiency_are_others_than_believed(
    true_tau_s: float, true_efficiency: float
) -> None:
    seen = follow(true_tau_s, true_efficiency, 550_000.0)
    assert all(heat_w == pytest.approx(550_000.0, rel=0.02) for heat_w in seen[30:])
    assert seen[-1] == pytest.approx(550_000.0, rel=0.002)


def test_the_first_aim_is_the_power_the_plant_already_has() -> None:
    plant = model.start(PLANT)
    model.advance(plant, PLANT, 600_000.0, 500_000.0, 0.0)
    aim = tracker.aim_at_heat(State(), POLICY, plant, PLANT, 500_000.0, None, 0.0)
    assert aim.power_w == pytest.approx(600_000.0)


def test_a_large_step_is_followed_faster_than_a_small_one() -> None:
    def left_after(step: float) -> float:
        """Which part of a step the reference still has to go after 150 s."""
        plant, state = model.start(PLANT), State(reference_w=500_000.0)
        model.advance(plant, PLANT, 500_000.0 / 0.95, 500_000.0, 0.0)
        demand_w = 500_000.0 * (1 + step)
        for _ in range(15):
            tracker.aim_at_heat(state, POLICY, plant, PLANT, demand_w, None, 10.0)
        assert state.reference_w is not None
        return (demand_w - state.reference_w) / (demand_w - 500_000.0)

    assert left_after(0.01) == pytest.approx(math.exp(-1))
    assert left_after(0.5) == pytest.approx(math.exp(-tracker.FAR_SPEED), rel=0.05)
    assert left_after(0.01) > left_after(0.025) > left_after(0.05)


def test_a_plant_far_behind_is_led_and_one_nearly_there_is_not() -> None:
    def lead_w(behind: float) -> float:
        plant, state = model.start(PLANT), State(reference_w=500_000.0)
        model.advance(plant, PLANT, 500_000.0 * (1 - behind) / 0.95, None, 0.0)
        policy = msgspec.structs.replace(POLICY, reference_tau_s=270.0)
        tracker.aim_at_heat(state, policy, plant, PLANT, 500_000.0, None, 20.0)
        return state.lead_w

    assert lead_w(0.01) == 0.0
    assert lead_w(0.1) == pytest.approx(tracker.FAR_FEEDBACK * 50_000.0)
    assert 0.0 < lead_w(0.018) < tracker.FAR_FEEDBACK * 9_000.0
    assert lead_w(-0.1) == pytest.approx(-lead_w(0.1))


def test_a_plant_that_the_meter_shows_at_its_demand_is_not_led_whatever_the_model_says() -> None:
    plant, state = model.start(PLANT), State(reference_w=500_000.0)
    model.advance(plant, PLANT, 450_000.0 / 0.95, None, 0.0)
    policy = msgspec.structs.replace(POLICY, reference_tau_s=270.0)
    for metered_w, lead_w in ((510_000.0, 0.0), (500_000.0, 0.0), (400_000.0, 50_000.0), (None, 50_000.0)):
        plant.metered_w = metered_w
        tracker.aim_at_heat(state, policy, plant, PLANT, 500_000.0, None, 20.0)
        assert state.lead_w == pytest.approx(lead_w)


def test_heat_that_was_never_made_is_taken_back() -> None:
    plant = model.start(PLANT)
    model.forget(plant, 1e6)
    model.advance(plant, PLANT, 500_000.0, None, 0.0)
    model.forget(plant, 100_000.0 * 43.0)
    assert plant.lagged_w == pytest.approx(490_000.0)
    model.forget(plant, 1e15)
    assert plant.lagged_w == 0.0


def test_nothing_is_learned_from_a_meter_that_is_under_suspicion() -> None:
    plant = model.start(PLANT)
    for k in range(200):
        model.advance(plant, PLANT, 600_000.0, 560_000.0, 20.0 if k else 0.0)
    before = plant.disturbance_w, plant.factor
    model.advance(plant, PLANT, 600_000.0, 400_000.0, 20.0)
    assert plant.apart_s == 20.0
    assert not plant.is_apart
    assert (plant.disturbance_w, plant.factor) == before
    model.advance(plant, PLANT, 600_000.0, 561_000.0, 20.0)
    assert plant.apart_s == 0.0
    assert (plant.disturbance_w, plant.factor) != before


def test_a_lag_that_is_a_bad_guess_makes_no_liar_of_the_meter() -> None:
    """A heater that goes on and off: between the two heat is on its way, and the model only guesses how far it is."""
    plant, heat_w = model.start(PLANT), 0.0
    for k in range(1_000):
        power_w = 600_000.0 if k // 100 % 2 else 6_000.0
        heat_w += (0.95 * power_w - heat_w) * model.gain(20.0, 250.0)
        model.advance(plant, PLANT, power_w, heat_w, 20.0)
        assert not plant.is_apart
    for _ in range(200):
        model.advance(plant, PLANT, 600_000.0, 400_000.0, 20.0)
    assert plant.is_apart, "but one that stays off is found"


@pytest.mark.parametrize("true_tau_s", [60.0, 430.0, 4_000.0])
@pytest.mark.parametrize("fits_tau", [False, True])
def test_the_lag_is_fitted_only_where_that_is_asked_for_and_within_bounds(true_tau_s: float, fits_tau: bool) -> None:
    policy = msgspec.structs.replace(PLANT, fits_tau=fits_tau)
    plant, heat_w = model.start(policy), 570_000.0
    for k in range(2_000):
        power_w = 600_000.0 + (60_000.0 if k // 90 % 2 else 0.0)
        heat_w += (0.95 * power_w - heat_w) * model.gain(20.0, true_tau_s)
        model.advance(plant, policy, power_w, heat_w, 20.0)
        assert 0.59 * 430.0 <= plant.tau_s <= 1.69 * 430.0
    assert (plant.tau_s == 430.0) is (not fits_tau or true_tau_s == 430.0)


def test_the_lead_keeps_its_clamp() -> None:
    plant, state = model.start(PLANT), State()
    model.advance(plant, PLANT, 100_000.0, 95_000.0, 0.0)
    tracker.aim_at_heat(state, POLICY, plant, PLANT, 900_000.0, None, 20.0)
    assert state.lead_w == POLICY.max_lead_w


@given(st.floats(allow_nan=True), st.none() | st.floats(allow_nan=True), st.floats(0, 1_000))
def test_no_number_breaks_the_model(drawn_w: float, metered_w: float | None, dt_s: float) -> None:
    plant = model.start(PLANT)
    model.advance(plant, PLANT, 100_000.0, 95_000.0, 20.0)
    before = plant.disturbance_w
    model.advance(plant, PLANT, drawn_w, metered_w, dt_s)
    assert math.isfinite(plant.tau_s)
    assert 0 < model.efficiency(plant, PLANT) <= 1
    if metered_w is None or not abs(metered_w) <= model.ABSURD_W:
        assert plant.disturbance_w == before
    assert abs(model.disturbance_w(plant)) <= 0.2 * PLANT.capacity_w


def test_the_ramp_starts_from_the_plant_and_moves_at_its_pace() -> None:
    state = State()
    first = tracker.setpoint(state, POLICY, Aim(200_000.0, 200_000.0), None, "", 100_000.0, 20.0)
    assert (first.power_w, first.limiter) == (120_000.0, "ramp")
    assert tracker.setpoint(state, POLICY, Aim(200_000.0, 200_000.0), None, "", 110_000.0, 60.0).power_w == 180_000.0
    assert tracker.setpoint(state, POLICY, Aim(200_000.0, 200_000.0), None, "", 180_000.0, 60.0) == tracker.Setpoint(
        200_000.0, None, 200_000.0
    )


def test_a_plant_that_is_where_it_should_be_is_not_ramped() -> None:
    state = State()
    assert tracker.setpoint(state, POLICY, Aim(100_300.0, 100_300.0), None, "", 100_000.0, 0.0) == tracker.Setpoint(
        100_300.0, None, 100_300.0
    )


def test_a_cap_wins_over_minimum_and_ramp() -> None:
    state = State(setpoint_w=200_000.0)
    assert tracker.setpoint(state, POLICY, Aim(200_000.0, 200_000.0), 5_000.0, "manual limit", 200_000.0, 20.0) == tracker.Setpoint(
        5_000.0, "manual limit", 200_000.0
    )


def test_below_the_minimum_stable_power_the_minimum_is_delivered() -> None:
    state = State(setpoint_w=12_000.0)
    assert tracker.setpoint(state, POLICY, Aim(0.0, 0.0), None, "", 12_000.0, 20.0) == tracker.Setpoint(
        10_000.0, "minimum stable power", 10_000.0
    )


def test_the_ramp_does_not_run_ahead_of_a_plant_that_cannot_follow() -> None:
    state = State(setpoint_w=200_000.0)
    tracker.yield_to(state, POLICY, 100_000.0)
    assert tracker.setpoint(state, POLICY, Aim(90_000.0, 90_000.0), None, "", 100_000.0, 20.0).power_w == 90_000.0


@given(st.floats(0, 1e7), st.floats(0, 1e7), st.floats(0, 1e7), st.none() | st.floats(0, 1e7), st.floats(0, 600))
def test_the_set_point_keeps_cap_and_ramp(
    start_w: float, target_w: float, expected_w: float, cap_w: float | None, dt_s: float
) -> None:
    state = State(setpoint_w=start_w)
    out = tracker.setpoint(state, POLICY, Aim(target_w, target_w), cap_w, "cap", expected_w, dt_s)
    if cap_w is not None:
        assert out.power_w <= cap_w
    if cap_w is None:
        assert abs(out.power_w - start_w) <= 1_000.0 * dt_s + POLICY.dead_band * max(target_w, POLICY.min_power_w) + 1e-6


def test_the_dead_band_is_never_finer_than_half_a_step() -> None:
    assert tracker.is_within_dead_band(0.004, 100_000.0, 100_399.0, 0.0)
    assert not tracker.is_within_dead_band(0.004, 100_000.0, 100_500.0, 0.0)
    assert tracker.is_within_dead_band(0.004, 100_000.0, 100_500.0, 1_200.0)
