import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.heat.energy import Meter, Powers

START = 1_768_435_200.0  # a quarter hour begins
STEADY = Powers(1_000.0, 900.0, "measured", 950.0)


def test_periods_end_at_utc_quarters() -> None:
    meter = Meter("site")
    records = [record for k in range(0, 2_000, 20) for record in meter.add(STEADY, START + 300 + k)]
    assert [(r.period_start_unix_s - START, r.period_s) for r in records] == [(300, 600), (900, 900)]
    assert records[1].heat_demand_wh == pytest.approx(250.0)
    assert records[1].heat_wh == pytest.approx(225.0)
    assert records[1].electric_wh == pytest.approx(237.5)
    assert records[1].quality == "measured"


def test_one_estimated_part_makes_the_period_estimated_and_nothing_known_is_unknown() -> None:
    meter = Meter("site")
    meter.add(STEADY, START)
    meter.add(STEADY, START + 100)
    meter.add(Powers(None, 800.0, "estimated", 950.0), START + 200)
    assert meter.add(STEADY, START + 450) == []
    (record,) = meter.close()
    assert record.quality == "estimated"
    blind = Meter("site")
    blind.add(STEADY, START)
    blind.add(Powers(1.0, None, "unknown", None), START + 100)
    (record,) = blind.close()
    assert (record.quality, record.heat_wh, record.electric_wh) == ("unknown", None, None)


@pytest.mark.parametrize("jump_s", [4_000.0, -4_000.0])
def test_over_a_gap_or_a_clock_step_nothing_is_made_up(jump_s: float) -> None:
    meter = Meter("site")
    meter.add(STEADY, START)
    meter.add(STEADY, START + 60)
    (record,) = meter.add(STEADY, START + 60 + jump_s)
    assert (record.period_start_unix_s, record.period_s) == (START, 60)
    assert meter.close() == []


def test_a_restart_in_the_middle_of_a_quarter_does_not_overwrite_its_first_part() -> None:
    first, second = Meter("site"), Meter("site")
    first.add(STEADY, START)
    first.add(STEADY, START + 200)
    second.add(STEADY, START + 250)
    second.add(STEADY, START + 400)
    assert first.close()[0].period_start_unix_s != second.close()[0].period_start_unix_s


@given(st.lists(st.floats(0.5, 290), min_size=2, max_size=60))
def test_no_energy_is_lost_or_doubled_at_the_borders(steps: list[float]) -> None:
    meter, at = Meter("site"), START + 17.0
    records = meter.add(STEADY, at)
    for step in steps:
        at += step
        records += meter.add(STEADY, at)
    records += meter.close()
    assert sum(r.heat_wh or 0.0 for r in records) == pytest.approx(900.0 * (at - START - 17.0) / 3_600.0)
    assert all(r.period_s <= 900.0 for r in records)
