"""What is believed of the time ahead: ranges, order, expiry, and never a value that nobody told."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.heat.forecast import ForecastRefused, Forecasts, ForecastTaken, Limits, Sent, Series, TankReading, TankTaken

NOW = 1_768_435_200.0
LIMITS = Limits(capacity_w=1e6, max_clock_skew_s=60.0, tank_capacity_wh=5e6, tank_stale_s=1_800.0)


def series(*values: float | None, start: float = NOW, step_s: float = 900.0) -> Series:
    return Series(start, step_s, values)


def sent(issued: float = NOW, until: float | None = None, **kinds: Series) -> Sent:
    return Sent(issued, until, **kinds)


def test_a_mean_weighs_by_time_and_is_unknown_where_any_part_is():
    hourly = series(1.0, 3.0, None, step_s=3_600)
    assert hourly.mean(NOW, NOW + 7_200) == pytest.approx(2.0)
    assert hourly.mean(NOW + 2_700, NOW + 4_500) == pytest.approx(2.0)
    assert hourly.mean(NOW + 3_600, NOW + 4_500) == pytest.approx(3.0)
    assert hourly.mean(NOW + 6_300, NOW + 7_201) is None
    assert hourly.mean(NOW - 1, NOW + 900) is None
    assert hourly.mean(NOW + 10_000, NOW + 11_000) is None


@given(
    values=st.lists(st.floats(-5, 5), min_size=1, max_size=20),
    cuts=st.lists(st.floats(0, 1), min_size=2, max_size=2).map(sorted),
)
def test_a_mean_lies_between_the_values_it_is_made_of(values, cuts):
    given_series = series(*values)
    start, end = (NOW + cut * 900 * len(values) for cut in cuts)
    mean = given_series.mean(start, end)
    if end <= start:
        assert mean is None
    elif mean is not None:
        assert min(values) - 1e-9 <= mean <= max(values) + 1e-9


def test_a_message_leaves_what_it_does_not_name_and_takes_away_what_it_names_without_values():
    forecasts = Forecasts(LIMITS)
    forecasts.take(sent(electricity_per_kwh=series(0.04, 0.05), work_per_th_day=series(0.05)), NOW)
    answer = forecasts.take(sent(electricity_per_kwh=series()), NOW)
    assert isinstance(answer, ForecastTaken)
    assert (answer.electricity_until_unix_s, answer.work_until_unix_s) == (None, NOW + 900)


def test_a_forecast_expires_when_it_says_and_when_its_values_end():
    forecasts = Forecasts(LIMITS)
    forecasts.take(sent(until=NOW + 600, demand_w=series(5e5, 5e5)), NOW)
    assert forecasts.mean("demand_w", NOW, NOW + 900, NOW + 599) == 5e5
    assert forecasts.mean("demand_w", NOW, NOW + 900, NOW + 600) is None
    assert forecasts.known(NOW + 600).demand_until_unix_s is None


@pytest.mark.parametrize(
    ("message", "code", "says"),
    [
        (sent(electricity_per_kwh=series(45.0)), 422, "electricity price: value 0 (45) cannot be"),
        (sent(electricity_per_kwh=series(0.1, math.nan)), 422, "value 1"),
        (sent(work_per_th_day=series(-0.1)), 422, "hash price"),
        (sent(demand_w=series(-1.0)), 422, "demand"),
        (sent(demand_w=series(2.1e6)), 422, "demand"),
        (sent(outdoor_c=series(251.0)), 422, "outdoor temperature"),
        (sent(outdoor_c=series(None, None)), 422, "every value is unknown"),
        (sent(outdoor_c=series(1.0, start=NOW - 900)), 422, "all in the past"),
        (sent(outdoor_c=series(1.0, start=NOW * 1000)), 422, "too far ahead"),
        (sent(outdoor_c=series(1.0, step_s=0.0)), 422, "a step of 0 s"),
        (sent(outdoor_c=series(1.0, step_s=math.inf)), 422, "no number"),
        (sent(outdoor_c=series(*[1.0] * 2_017, step_s=60)), 422, "too many"),
        (sent(issued=NOW + 61, outdoor_c=series(1.0)), 422, "in the future"),
        (sent(issued=NOW - 1, outdoor_c=series(1.0)), 409, "issued later"),
        (sent(until=NOW, outdoor_c=series(1.0)), 422, "expired already"),
        (sent(issued=math.nan, outdoor_c=series(1.0)), 422, "no number"),
    ],
)
def test_what_cannot_be_is_refused_whole_with_a_remedy(message, code, says):
    forecasts = Forecasts(LIMITS)
    forecasts.take(sent(outdoor_c=series(-5.0, -6.0), electricity_per_kwh=series(0.03)), NOW)
    before = forecasts.known(NOW)
    answer = forecasts.take(message, NOW)
    assert isinstance(answer, ForecastRefused)
    assert answer.code == code
    assert says in answer.reason
    assert answer.remedy
    assert forecasts.known(NOW) == before
    assert forecasts.mean("outdoor_c", NOW, NOW + 900, NOW) == -5.0


def test_one_wrong_series_keeps_the_others_of_its_message_out():
    forecasts = Forecasts(LIMITS)
    assert isinstance(forecasts.take(sent(demand_w=series(5e5), outdoor_c=series(99.0)), NOW), ForecastRefused)
    assert forecasts.known(NOW).demand_until_unix_s is None


def test_negative_prices_are_prices():
    assert isinstance(Forecasts(LIMITS).take(sent(electricity_per_kwh=series(-0.5)), NOW), ForecastTaken)


def test_the_content_of_the_tank_is_known_until_it_is_stale():
    forecasts = Forecasts(LIMITS)
    assert forecasts.tank_wh(NOW) is None
    assert forecasts.take_tank(TankReading(NOW, 2e6), NOW) == TankTaken(2e6, NOW + 1_800)
    assert forecasts.tank_wh(NOW + 1_799) == 2e6
    assert forecasts.tank_wh(NOW + 1_800) is None


def test_a_full_tank_may_read_a_little_more():
    forecasts = Forecasts(LIMITS)
    assert forecasts.take_tank(TankReading(NOW, 5.1e6), NOW) == TankTaken(5e6, NOW + 1_800)


@pytest.mark.parametrize(
    ("reading", "code", "says"),
    [
        (TankReading(NOW, -1.0), 422, "no content"),
        (TankReading(NOW, 6e6), 422, "no content"),
        (TankReading(NOW, math.nan), 422, "no content"),
        (TankReading(NOW + 61, 1e6), 422, "future"),
        (TankReading(NOW - 1_800, 1e6), 422, "1,800 s old"),
        (TankReading(NOW - 11, 1e6), 409, "newer"),
    ],
)
def test_a_reading_of_the_tank_that_cannot_be_is_refused(reading, code, says):
    forecasts = Forecasts(LIMITS)
    forecasts.take_tank(TankReading(NOW - 10, 2e6), NOW)
    answer = forecasts.take_tank(reading, NOW)
    assert isinstance(answer, ForecastRefused)
    assert (answer.code, forecasts.tank_wh(NOW)) == (code, 2e6)
    assert says in answer.reason


def test_a_site_without_a_tank_takes_no_reading():
    answer = Forecasts(Limits(1e6, 60.0, 0.0, 1_800.0)).take_tank(TankReading(NOW, 0.0), NOW)
    assert isinstance(answer, ForecastRefused)
    assert "tank_capacity_wh" in answer.remedy
