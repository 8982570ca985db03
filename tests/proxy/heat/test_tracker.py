import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.heat import tracker
from proxy.heat.tracker import Policy, TrackerState
from proxy.units.unit import LevelFact, UnitImage, UnitState

Make = Callable[..., UnitImage]
POLICY = Policy(
    thermal_efficiency=0.95,
    correction_tau_s=240.0,
    max_correction=0.2,
    ramp_w_per_min=60_000.0,
    dead_band=0.004,
    min_power_w=10_000.0,
)


def look(state: TrackerState, images: list[UnitImage], now_s: float = 0.0, dt_s: float = 20.0) -> tracker.Snapshot:
    return tracker.observe(state, POLICY, images, now_s, dt_s)


def fleet(image: Make, levels: tuple[LevelFact, ...], factor: float, count: int = 10, **fields: object) -> list[UnitImage]:
    return [image(k, power_w=levels[4].power_w * factor, **fields) for k in range(count)]


def test_the_first_look_takes_the_correction_as_it_is_and_later_ones_filter(image: Make, levels: tuple[LevelFact, ...]) -> None:
    state = TrackerState()
    snapshot = look(state, fleet(image, levels, 1.05))
    assert state.correction == pytest.approx(1.05)
    assert snapshot.total_w == pytest.approx(snapshot.measured_w)
    look(state, fleet(image, levels, 1.10), dt_s=240.0)
    assert state.correction == pytest.approx(1.10 - 0.05 / math.e)


def test_the_correction_is_bounded(image: Make, levels: tuple[LevelFact, ...]) -> None:
    state = TrackerState()
    look(state, fleet(image, levels, 1.9))
    assert state.correction == pytest.approx(1.2)


def test_units_on_their_way_teach_nothing(image: Make, levels: tuple[LevelFact, ...]) -> None:
    state = TrackerState()
    look(state, fleet(image, levels, 1.0))
    moving = fleet(image, levels, 0.6, state=UnitState.RAMPING)
    for k in range(20):
        snapshot = look(state, moving, 20.0 * k)
    assert state.correction == 1.0
    assert snapshot.ratio is None
    assert snapshot.total_w == pytest.approx(10 * levels[4].power_w)  # where they will be
    assert sum(snapshot.drawn_w) == pytest.approx(6 * levels[4].power_w)  # where they are


def test_a_few_settled_units_do_not_speak_for_the_fleet(image: Make, levels: tuple[LevelFact, ...]) -> None:
    state = TrackerState()
    look(state, [*fleet(image, levels, 1.2, 2), *fleet(image, levels, 0.5, 8, state=UnitState.RAMPING)])
    assert state.correction is None


@pytest.mark.parametrize("lie", [math.nan, -5.0, 1e6])
def test_an_absurd_reading_is_no_reading(image: Make, levels: tuple[LevelFact, ...], lie: float) -> None:
    snapshot = look(TrackerState(), [image(0, power_w=lie), image(1)])
    assert snapshot.measured_w == pytest.approx(levels[4].power_w)


def test_an_unseen_unit_counts_by_its_level_and_then_not_at_all(image: Make, levels: tuple[LevelFact, ...]) -> None:
    state = TrackerState()
    images = fleet(image, levels, 1.0)
    images[0] = image(0, power_w=None, level_observed=None, state=UnitState.OFFLINE)
    assert look(state, images, 0.0).total_w == pytest.approx(10 * levels[4].power_w)
    assert look(state, images, 299.0).dark == (False,) * 10
    after = look(state, images, 300.0)
    assert after.dark[0]
    assert after.total_w == pytest.approx(9 * levels[4].power_w)


def test_when_many_vanish_at_once_the_network_did_and_they_are_not_replaced(image: Make, levels: tuple[LevelFact, ...]) -> None:
    state = TrackerState()
    silent = [image(k, power_w=None, level_observed=None, state=UnitState.OFFLINE) for k in range(5)]
    images = [*silent, *(image(5 + k) for k in range(5))]
    look(state, images, 0.0)
    after = look(state, images, 10_000.0)
    assert not any(after.dark)
    assert after.total_w == pytest.approx(10 * levels[4].power_w)
    assert after.measured_w == pytest.approx(5 * levels[4].power_w)  # only what is really measured is reported


def test_a_unit_in_service_without_a_reading_is_dark_at_once(image: Make) -> None:
    assert look(TrackerState(), [image(0, state=UnitState.SERVICE, power_w=None), image(1)]).dark == (True, False)


def test_a_unit_that_cannot_follow_counts_with_what_it_draws(image: Make) -> None:
    states = (UnitState.FAULT, UnitState.IDLE, UnitState.CALIBRATING, UnitState.SERVICE)
    images = [image(k, state=state, power_w=300.0) for k, state in enumerate(states)]
    assert look(TrackerState(), images).expected_w == (300.0,) * 4


def test_the_ramp_starts_from_the_plant_and_moves_at_its_pace() -> None:
    state = TrackerState()
    first = tracker.setpoint(state, POLICY, 200_000.0, None, "", 100_000.0, 20.0)
    assert (first.power_w, first.limiter) == (120_000.0, "ramp")
    assert tracker.setpoint(state, POLICY, 200_000.0, None, "", 110_000.0, 60.0).power_w == 180_000.0
    assert tracker.setpoint(state, POLICY, 200_000.0, None, "", 180_000.0, 60.0) == tracker.Setpoint(200_000.0, None)


def test_a_plant_that_is_where_it_should_be_is_not_ramped() -> None:
    state = TrackerState()
    assert tracker.setpoint(state, POLICY, 100_300.0, None, "", 100_000.0, 0.0) == tracker.Setpoint(100_300.0, None)


def test_a_cap_wins_over_minimum_and_ramp() -> None:
    state = TrackerState(reference_w=200_000.0)
    assert tracker.setpoint(state, POLICY, 200_000.0, 5_000.0, "manual limit", 200_000.0, 20.0) == tracker.Setpoint(
        5_000.0, "manual limit"
    )


def test_below_the_minimum_stable_power_the_minimum_is_delivered() -> None:
    state = TrackerState(reference_w=12_000.0)
    assert tracker.setpoint(state, POLICY, 0.0, None, "", 12_000.0, 20.0) == tracker.Setpoint(10_000.0, "minimum stable power")


def test_the_ramp_does_not_run_ahead_of_a_plant_that_cannot_follow() -> None:
    state = TrackerState(reference_w=200_000.0)
    tracker.yield_to(state, POLICY, 100_000.0)
    assert tracker.setpoint(state, POLICY, 90_000.0, None, "", 100_000.0, 20.0).power_w == 90_000.0


@given(st.floats(0, 1e7), st.floats(0, 1e7), st.floats(0, 1e7), st.none() | st.floats(0, 1e7), st.floats(0, 600))
def test_the_set_point_keeps_cap_and_ramp(
    start_w: float, target_w: float, expected_w: float, cap_w: float | None, dt_s: float
) -> None:
    state = TrackerState(reference_w=start_w)
    out = tracker.setpoint(state, POLICY, target_w, cap_w, "cap", expected_w, dt_s)
    if cap_w is not None:
        assert out.power_w <= cap_w
    if cap_w is None:
        assert abs(out.power_w - start_w) <= 1_000.0 * dt_s + POLICY.dead_band * max(target_w, POLICY.min_power_w) + 1e-6


def test_the_dead_band_is_never_finer_than_half_a_step() -> None:
    assert tracker.is_within_dead_band(POLICY, 100_000.0, 100_399.0, 0.0)
    assert not tracker.is_within_dead_band(POLICY, 100_000.0, 100_500.0, 0.0)
    assert tracker.is_within_dead_band(POLICY, 100_000.0, 100_500.0, 1_200.0)


def test_a_plausible_meter_teaches_the_efficiency_slowly_and_a_liar_nothing() -> None:
    state = TrackerState()
    for _ in range(65):  # the pipes have to fill first
        assert tracker.learn_efficiency(state, POLICY, 100_000.0, 91_000.0, 20.0)
    assert state.efficiency_factor == pytest.approx(1.0, abs=0.002)
    for _ in range(1_000):
        assert tracker.learn_efficiency(state, POLICY, 100_000.0, 91_000.0, 20.0)
    assert tracker.efficiency(state, POLICY) == pytest.approx(0.91, abs=0.001)
    before = state.efficiency_factor
    assert not tracker.learn_efficiency(state, POLICY, 100_000.0, 50_000.0, 20.0)
    assert state.efficiency_factor == before
