"""The figures a heat contract is judged by: known answers, and what must not count."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.sim import score


def constant(value: float, steps: int) -> np.ndarray:
    return np.full(steps, value)


def test_perfect_delivery_has_no_error():
    found = score.tracking(5.0, constant(1e6, 1_440), constant(1e6, 1_440), 0.0)
    assert (found.rms, found.worst, found.within_1, found.energy_error_mean) == (0.0, 0.0, 1.0, 0.0)
    assert found.demand_wh == pytest.approx(2e6)


def test_a_plant_that_is_one_and_a_half_per_cent_low_is_never_within_one_per_cent_and_always_within_two():
    found = score.tracking(5.0, constant(1e6, 720), constant(0.985e6, 720), 0.0)
    assert found.rms == pytest.approx(0.015)
    assert (found.within_1, found.within_2) == (0.0, 1.0)
    assert found.energy_error_p95 == pytest.approx(0.015)


def test_errors_of_both_signs_cancel_in_the_energy_of_a_quarter_hour_but_not_in_the_rms():
    heat = np.where(np.arange(360) % 2 == 0, 1.02e6, 0.98e6)
    found = score.tracking(5.0, constant(1e6, 360), heat, 0.0)
    assert found.rms == pytest.approx(0.02)
    assert found.energy_error_mean == pytest.approx(0.0, abs=1e-9)


def test_the_warm_up_and_times_without_demand_do_not_count():
    demand = np.concatenate([constant(1e6, 720), constant(0.0, 720), constant(1e6, 720)])
    heat = np.concatenate([constant(5e6, 720), constant(3e5, 720), constant(1e6, 720)])
    assert score.tracking(5.0, demand, heat, 3_600.0).rms == 0.0


def test_a_run_without_any_demand_has_no_figures():
    assert score.tracking(5.0, constant(0.0, 100), constant(1.0, 100), 0.0).rms is None


def test_a_first_order_answer_to_a_step_reaches_nine_tenths_after_2_3_time_constants_and_does_not_overshoot():
    times = np.arange(1, 1_000) * 5.0
    demand = np.concatenate([constant(1.0, 100), constant(1.1, 999)])
    heat = np.concatenate([constant(1.0, 100), 1.1 - 0.1 * np.exp(-times / 200.0)])
    step = score.step_response(5.0, demand, heat, 500.0)
    assert step.reached_90_s == pytest.approx(460.0 + 30.0, abs=15.0)
    assert step.within_2_s == pytest.approx(200.0 * np.log(0.1 / 0.022) + 30.0, abs=15.0)
    assert step.overshoot == 0.0


def test_overshoot_is_a_part_of_the_new_demand():
    demand = np.concatenate([constant(1.0, 100), constant(1.1, 300)])
    heat = np.concatenate([constant(1.0, 100), constant(1.133, 100), constant(1.1, 200)])
    assert score.step_response(5.0, demand, heat, 500.0).overshoot == pytest.approx(0.03)


def test_what_never_settles_says_so():
    demand = np.concatenate([constant(1.0, 100), constant(1.1, 300)])
    assert score.step_response(5.0, demand, constant(1.0, 400), 500.0).within_2_s is None
    assert score.recovery_s(5.0, constant(1.0, 200), constant(0.9, 200), 100.0, 0.02) is None


def test_recovery_is_counted_from_the_event():
    heat = np.concatenate([constant(1.0, 100), constant(0.8, 24), constant(1.0, 300)])
    took_s = score.recovery_s(5.0, constant(1.0, 424), heat, 500.0, 0.02)
    assert took_s == pytest.approx(120.0 + 60.0, abs=10.0)


@given(st.lists(st.floats(0.5, 1.5), min_size=200, max_size=400))
def test_within_two_per_cent_is_never_less_than_within_one(parts: list[float]):
    heat = 1e6 * np.array(parts)
    found = score.tracking(5.0, constant(1e6, len(parts)), heat, 0.0)
    assert found.within_2 >= found.within_1
    assert found.worst >= found.rms - 1e-12


def test_percentiles_are_values_that_occurred():
    assert score.percentile([], 0.5) is None
    assert score.percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert score.percentile([1.0, 2.0, 3.0, 4.0], 1.0) == 4.0
