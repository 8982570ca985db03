"""The town's load: within bounds at every hour and weather, smooth, and the same for the same seed."""

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.sim.utility import LoadCurve, Weather

CURVE = LoadCurve(capacity_w=1_730_000.0)


@given(st.floats(0.0, 48.0), st.floats(-30.0, 60.0))
def test_demand_stays_between_the_summer_part_and_capacity(hour: float, weather_k: float) -> None:
    assert 0.92 * CURVE.least_part * CURVE.capacity_w <= CURVE.demand_w(hour, weather_k) <= CURVE.capacity_w


@given(st.floats(0.0, 24.0), st.floats(-5.0, 5.0))
def test_warmer_weather_never_asks_for_more_heat(hour: float, weather_k: float) -> None:
    assert CURVE.demand_w(hour, weather_k + 1.0) <= CURVE.demand_w(hour, weather_k)


def test_a_winter_day_swings_over_the_range_of_the_fleet() -> None:
    parts = [CURVE.demand_w(quarter / 4.0) / CURVE.capacity_w for quarter in range(96)]
    assert 0.30 < min(parts) < 0.40
    assert max(parts) > 0.85
    assert max(abs(b - a) for a, b in itertools.pairwise(parts)) < 0.05


def test_the_day_closes_without_a_jump() -> None:
    assert CURVE.demand_w(0.0) == pytest.approx(CURVE.demand_w(24.0))
    assert CURVE.demand_w(23.999) == pytest.approx(CURVE.demand_w(0.001), rel=1e-3)


def test_weather_is_repeatable_and_bounded() -> None:
    first, second = Weather(random.Random(3)), Weather(random.Random(3))
    values = [first.step() for _ in range(500)]
    assert values == [second.step() for _ in range(500)]
    assert max(map(abs, values)) <= 1.5
