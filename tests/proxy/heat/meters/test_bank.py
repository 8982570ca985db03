import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config import Meter
from proxy.heat.demand import MeterAccepted, MeterReading, MeterRefused
from proxy.heat.meters.bank import BOUNDARY, MeterBank, MeterSample

NOW = 1_768_435_200.0
CAPACITY_W = 1_000_000.0


def meter(name: str, place: str = BOUNDARY, **fields: object) -> Meter:
    return Meter(name=name, place=place, address="10.0.0.9:502", **fields)  # type: ignore[arg-type]  # keywords of the table


def make(*meters: Meter, loops: tuple[str, ...] = ("a", "b")) -> MeterBank:
    return MeterBank(meters, loops, CAPACITY_W, 60.0)


def feed(bank: MeterBank, name: str, heat_w: float, after_s: float = 0.0, **fields: float | None) -> MeterAccepted | MeterRefused:
    return bank.take(name, MeterReading(NOW + after_s, heat_w, **fields), NOW + after_s)


def test_the_boundary_meter_says_what_the_site_delivers() -> None:
    bank = make()
    feed(bank, BOUNDARY, 400_000.0, supply_c=75.0, return_c=45.0, flow_kg_s=3.2, energy_wh=5.0)
    heat = bank.site_heat(NOW + 1)
    assert (heat.value, heat.quality) == (400_000.0, "measured")
    assert bank.temperatures(BOUNDARY, NOW + 1) == (75.0, 45.0)
    assert bank.flow_l_per_min(BOUNDARY, NOW + 1) == pytest.approx(3.2 * 60 / 0.99, rel=0.01)
    assert bank.energy_wh(BOUNDARY, NOW + 1) == 5.0
    assert bank.alarms(NOW + 1) == ()


def test_what_is_stale_or_was_never_heard_is_unknown_and_not_zero() -> None:
    bank = make()
    assert bank.site_heat(NOW).value is None
    assert bank.site_heat(NOW).quality == "unknown"
    feed(bank, BOUNDARY, 400_000.0)
    assert bank.site_heat(NOW + 60).value is None
    assert bank.temperatures(BOUNDARY, NOW) == (None, None)
    assert bank.flow_l_per_min(BOUNDARY, NOW) is None
    assert bank.electric_w(NOW) is None
    assert bank.energy_wh("a", NOW) is None
    assert bank.loop_heat("nowhere", NOW).value is None


def test_all_loops_together_stand_in_for_a_lost_boundary_meter() -> None:
    bank = make(meter("m-a", "a"), meter("m-b", "b"))
    feed(bank, "m-a", 100_000.0)
    assert bank.site_heat(NOW).quality == "unknown"
    feed(bank, "m-b", 200_000.0)
    assert bank.site_heat(NOW) == bank.site_heat(NOW)
    assert (bank.site_heat(NOW).value, bank.site_heat(NOW).quality) == (300_000.0, "summed")
    assert bank.loop_heat("b", NOW).value == 200_000.0


def test_the_only_loop_is_what_the_boundary_measures() -> None:
    bank = make(loops=("only",))
    feed(bank, BOUNDARY, 400_000.0)
    assert bank.loop_heat("only", NOW).value == 400_000.0


def test_a_meter_that_never_answers_is_lost_with_its_reason_but_not_at_once() -> None:
    bank = make(meter("m-a", "a"))
    bank.fail("m-a", "connection refused", NOW)
    assert bank.alarms(NOW + 1) == ()
    assert bank.views(NOW + 1)[0].state == "waiting"
    bank.fail("m-a", "connection refused", NOW + 61)
    (alarm,) = bank.alarms(NOW + 61)
    assert "meter m-a lost" in alarm
    assert "connection refused" in alarm
    feed(bank, "m-a", 10_000.0, 62)
    assert bank.alarms(NOW + 62) == ()


def test_a_site_that_sends_no_readings_by_rest_has_no_lost_meter() -> None:
    bank = make()
    bank.alarms(NOW)
    assert bank.alarms(NOW + 3_600) == ()
    assert bank.views(NOW + 3_600) == []


def test_three_impossible_readings_exclude_a_meter_at_once_and_one_does_not() -> None:
    bank = make()
    feed(bank, BOUNDARY, 400_000.0)
    feed(bank, BOUNDARY, math.nan, 1)
    assert bank.site_heat(NOW + 1).value == 400_000.0
    feed(bank, BOUNDARY, -5.0, 2)
    feed(bank, BOUNDARY, 9e9, 3)
    assert bank.site_heat(NOW + 3).value is None
    assert "meter boundary lying" in bank.alarms(NOW + 3)[0]
    feed(bank, BOUNDARY, 401_000.0, 4)
    assert bank.site_heat(NOW + 4).value == 401_000.0


def test_one_reading_sent_twice_does_no_harm_to_its_meter() -> None:
    bank = make()
    feed(bank, BOUNDARY, 400_000.0)
    for _ in range(5):
        assert isinstance(feed(bank, BOUNDARY, 400_000.0), MeterRefused)
    assert bank.site_heat(NOW + 1).value == 400_000.0
    assert bank.alarms(NOW + 1) == ()


def test_a_clock_that_is_set_back_costs_no_meter() -> None:
    bank = make(meter("m-a", "a"))
    feed(bank, "m-a", 100_000.0, 3_600)
    assert isinstance(feed(bank, "m-a", 100_001.0, 0), MeterAccepted)
    assert bank.loop_heat("a", NOW).value == 100_001.0


def test_a_stuck_meter_is_named_and_left_out() -> None:
    bank = make(meter("m-a", "a"))
    for k in range(100):
        feed(bank, "m-a", 123_456.0, 10.0 * k)
    assert "meter m-a stuck" in bank.alarms(NOW + 990)[0]
    assert bank.loop_heat("a", NOW + 990).value is None
    assert bank.views(NOW + 990)[0].state == "stuck"
    feed(bank, "m-a", 123_457.0, 1_000)
    assert bank.loop_heat("a", NOW + 1_000).value == 123_457.0


def test_a_meter_that_keeps_jumping_is_left_out_until_it_was_calm() -> None:
    bank = make(meter("m-a", "a"))
    feed(bank, "m-a", 500_000.0)
    for k in range(1, 60):
        feed(bank, "m-a", 500_000.0 + k if k % 2 else 50_000.0 + k, 10.0 * k)
    assert "meter m-a jumping" in bank.alarms(NOW + 590)[0]
    assert bank.loop_heat("a", NOW + 590).value is None
    for k in range(60, 130):
        feed(bank, "m-a", 500_000.0 + k, 10.0 * k)
    assert bank.loop_heat("a", NOW + 1_290).value == 500_129.0
    assert bank.alarms(NOW + 1_290) == ()


def test_power_that_the_energy_counter_contradicts_is_a_lie() -> None:
    bank = make(meter("m-a", "a"))
    for k in range(200):
        # The counter runs as 400 kW, the power says 500 kW.
        feed(bank, "m-a", 500_000.0 + k, 10.0 * k, energy_wh=1_000.0 * math.floor(400.0 * 10 * k / 3_600))
    (alarm,) = bank.alarms(NOW + 1_990)
    assert "meter m-a lying" in alarm
    assert "counter" in alarm
    assert bank.loop_heat("a", NOW + 1_990).value is None


def test_a_counter_with_coarse_steps_that_agrees_is_believed() -> None:
    bank = make(meter("m-a", "a"))
    for k in range(1_000):
        feed(bank, "m-a", 500_000.0 + k % 7, 10.0 * k, energy_wh=10_000.0 * math.floor(50.0 * 10 * k / 3_600))
    assert bank.alarms(NOW + 9_990) == ()


def test_a_counter_that_stands_still_while_power_is_shown_is_found() -> None:
    bank = make(meter("m-a", "a"))
    for k in range(2_000):
        feed(bank, "m-a", 500_000.0 + k % 7, 10.0 * k, energy_wh=77.0)
    assert "stands still" in bank.alarms(NOW + 19_990)[0]


def test_of_three_meters_the_one_that_is_off_is_outvoted() -> None:
    bank = make(meter("one"), meter("two"))
    feed(bank, "one", 400_000.0)
    feed(bank, "two", 700_000.0)
    feed(bank, BOUNDARY, 405_000.0)
    assert bank.site_heat(NOW).value == 400_000.0
    assert "meter two lying" in bank.alarms(NOW)[0]
    assert [view.is_used for view in bank.views(NOW)] == [True, False, True]


def test_two_meters_that_differ_for_minutes_are_named_and_the_first_counts() -> None:
    bank = make(meter("one"), meter("two"))
    for k in range(40):
        feed(bank, "one", 400_000.0 + k, 10.0 * k)
        feed(bank, "two", 700_000.0 + k, 10.0 * k)
        if k < 30:
            assert bank.alarms(NOW + 10.0 * k) == ()
    (alarm,) = bank.alarms(NOW + 390)
    assert "disagree" in alarm
    assert "one says" in alarm
    assert bank.site_heat(NOW + 390).value == 400_039.0


def test_loops_and_boundary_that_differ_for_minutes_are_named() -> None:
    bank = make(meter("m-a", "a"), meter("m-b", "b"))
    for k in range(40):
        for name, heat_w in (("m-a", 200_000.0), ("m-b", 200_000.0), (BOUNDARY, 600_000.0)):
            feed(bank, name, heat_w + k, 10.0 * k)
        bank.alarms(NOW + 10.0 * k)
    assert "boundary and loops" in bank.alarms(NOW + 390)[0]
    assert bank.site_heat(NOW + 390).quality == "measured"


def test_electricity_is_kept_apart_from_heat_and_added_up_over_loops() -> None:
    bank = make(meter("e-a", "a", measures="electricity"), meter("e-b", "b", measures="electricity"))
    bank.take_sample("e-a", MeterSample(NOW, power_w=100_000.0, energy_wh=7.0), NOW)
    assert bank.electric_w(NOW) is None
    bank.take_sample("e-b", MeterSample(NOW, power_w=110_000.0), NOW)
    assert bank.electric_w(NOW) == 210_000.0
    assert bank.electric_w(NOW, "a") == 100_000.0
    assert bank.site_heat(NOW).value is None
    assert bank.energy_wh("a", NOW) is None
    assert bank.energy_wh("a", NOW, "electricity") == 7.0


def test_heat_comes_from_flow_and_temperatures_where_the_meter_gives_no_power() -> None:
    bank = make(meter("m-a", "a"))
    answer = bank.take_sample("m-a", MeterSample(NOW, flow_l_per_h=10_000.0, supply_c=75.0, return_c=45.0), NOW)
    assert isinstance(answer, MeterAccepted)
    heat_w = bank.loop_heat("a", NOW).value
    assert heat_w == pytest.approx(10_000 / 3_600 * 0.99 * 4_186 * 30, rel=0.005)
    assert isinstance(bank.take_sample("m-a", MeterSample(NOW + 1, supply_c=75.0), NOW + 1), MeterRefused)
    assert bank.views(NOW + 1)[0].failures == 1


def test_a_reading_of_an_unknown_meter_is_refused_by_name() -> None:
    answer = feed(make(meter("m-a", "a")), "m-b", 1.0)
    assert isinstance(answer, MeterRefused)
    assert answer.code == 404
    assert "m-a" in answer.remedy


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["m-a", "m-b", BOUNDARY]),
            st.floats(allow_nan=True, allow_infinity=True),
            st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True)),
            st.floats(min_value=-100, max_value=1_000),
        ),
        max_size=30,
    )
)
def test_nothing_a_meter_says_raises_or_comes_out_unbelievable(said: list[tuple[str, float, float | None, float]]) -> None:
    bank = make(meter("m-a", "a"), meter("m-b", "b"))
    now = NOW
    for name, heat_w, energy_wh, later_s in said:
        now += max(0.0, later_s)
        bank.take(name, MeterReading(now, heat_w, energy_wh=energy_wh), now)
        heat = bank.site_heat(now)
        assert heat.value is None or 0 <= heat.value <= 2 * 1.3 * CAPACITY_W
        assert (heat.value is None) == (heat.quality == "unknown")
        bank.alarms(now)
        bank.views(now)
