"""What a storage tank holds, from its sensors: believed, made up for, or refused with a reason."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config import Meter, Planner, Register
from proxy.heat.demand import MeterAccepted, MeterRefused
from proxy.heat.forecast import TankReading
from proxy.heat.meters.bank import MeterBank, MeterSample
from proxy.heat.meters.tank import OUTVOTE, REFUSALS_TO_TELL, TankGauge

NOW = 1_768_435_200.0
METER = Meter(
    name="tank",
    measures="tank",
    address="10.20.0.50:502",
    profile="custom",
    registers=[Register(quantity="tank_c", address=k, kind="int16", scale=0.1) for k in range(4)],
)
# 300 m3 between 45 and 70 C hold 8.6 MWh, of which 8 count.
PLANNER = Planner(
    enabled=True, tank_capacity_wh=8e6, tank_max_charge_w=400_000, tank_volume_m3=300, tank_empty_c=45, tank_stale_s=1_800
)
HALF = (70.0, 70.0, 45.0, 45.0)


def gauge() -> TankGauge:
    return TankGauge(METER, PLANNER, 60.0)


def content_wh(found: MeterAccepted | MeterRefused) -> float:
    assert isinstance(found, MeterAccepted), found
    return found.heat_w


def test_content_is_the_heat_above_the_empty_tank() -> None:
    # 150 m3 of 977.7 kg/m3 by 25 K.
    assert content_wh(gauge().take(NOW, HALF, NOW)) == pytest.approx(150 * 977.7 * 4186 * 25 / 3600, rel=2e-3)
    assert content_wh(gauge().take(NOW, (45.0, 40.0, 40.0, 30.0), NOW)) == 0.0, "colder than empty is empty"
    assert content_wh(gauge().take(NOW, (80.0,) * 4, NOW)) == 8e6, "warmer than usual is full"


def test_every_believed_reading_is_told() -> None:
    heard: list[TankReading] = []
    tank = gauge()
    tank.listen(lambda reading, now_unix_s: heard.append(reading))
    tank.take(NOW, HALF, NOW)
    tank.take(NOW + 10, (None, None, None, None), NOW + 10)
    assert [reading.at_unix_s for reading in heard] == [NOW]


@pytest.mark.parametrize("bad", [None, -300.0, 999.0, math.nan])
def test_one_sensor_that_fails_is_made_up_for_and_told(bad: float | None) -> None:
    tank = gauge()
    whole = content_wh(gauge().take(NOW, (70.0, 60.0, 50.0, 45.0), NOW))
    assert content_wh(tank.take(NOW, (70.0, bad, 50.0, 45.0), NOW)) == pytest.approx(whole, rel=1e-3)
    assert content_wh(gauge().take(NOW, (bad, 70.0, 45.0, 45.0), NOW)) > 0
    ((subject, kind, reason),) = tank.troubles(NOW)
    assert (subject, kind) == ("meter tank, sensor 2", "lost")
    assert "neighbours" in reason
    tank.take(NOW + 10, (70.0, 60.0, 50.0, 45.0), NOW + 10)
    assert tank.troubles(NOW + 10) == []


def test_more_sensors_that_fail_are_no_reading() -> None:
    refused = gauge().take(NOW, (70.0, None, None, 45.0), NOW)
    assert isinstance(refused, MeterRefused)
    assert "sensors 2, 3 of 4 give no temperature" in refused.reason


def test_water_does_not_stand_upside_down() -> None:
    refused = gauge().take(NOW, (45.0, 45.0, 70.0, 70.0), NOW)
    assert isinstance(refused, MeterRefused)
    assert "sensor 3 is 25 K warmer than sensor 2 above it" in refused.reason
    assert "from the top" in refused.remedy


def test_a_jump_is_believed_when_it_repeats() -> None:
    tank = gauge()
    tank.take(NOW, HALF, NOW)
    found = [tank.take(NOW + 10 * k, (70.0, 45.0, 45.0, 45.0), NOW + 10 * k) for k in range(1, OUTVOTE + 1)]
    assert [isinstance(each, MeterAccepted) for each in found] == [False] * (OUTVOTE - 1) + [True]


def test_a_reading_counts_once_and_in_its_order() -> None:
    tank = gauge()
    tank.take(NOW, HALF, NOW)
    assert isinstance(tank.take(NOW, HALF, NOW + 1), MeterRefused)
    assert isinstance(tank.take(NOW + 1, HALF, NOW + 1), MeterAccepted)


def test_what_is_wrong_is_named_and_over_with_the_next_good_reading() -> None:
    tank = gauge()
    assert tank.view(NOW).state == "waiting"
    tank.fail("no answer", NOW)
    assert tank.troubles(NOW) == []
    ((_, kind, reason),) = tank.troubles(NOW + 60)
    assert (kind, reason) == ("lost", "no good reading for 60 s (no answer)")
    for k in range(REFUSALS_TO_TELL):
        tank.take(NOW + 70 + k, (None,) * 4, NOW + 70 + k)
    assert tank.view(NOW + 73).state == "lying"
    tank.take(NOW + 80, HALF, NOW + 80)
    view = tank.view(NOW + 81)
    assert (view.state, view.is_used, view.supply_c, view.return_c) == ("ok", True, 70.0, 45.0)
    assert view.energy_wh == pytest.approx(4.3e6, rel=0.02)
    assert tank.view(NOW + 200).energy_wh is None


def test_the_bank_hands_its_tank_what_was_read_and_keeps_it_out_of_the_heat() -> None:
    bank = MeterBank([METER], ["a"], 1e6, 60.0, PLANNER)
    bank.take_sample("tank", MeterSample(NOW, tank_c=HALF), NOW)
    assert [view.measures for view in bank.views(NOW)] == ["tank"]
    assert bank.site_heat(NOW).value is None
    bank.fail("tank", "no answer", NOW + 100)
    assert [str(trouble) for trouble in bank.troubles(NOW + 100)] == ["meter tank lost: no good reading for 100 s (no answer)"]
    assert MeterBank([], ["a"], 1e6, 60.0).tank is None


@given(
    st.lists(st.lists(st.none() | st.floats(allow_nan=True, allow_infinity=True), min_size=0, max_size=8), max_size=6),
    st.floats(0, 1e4),
)
def test_no_number_breaks_it_and_what_is_believed_fits_the_tank(readings: list[list[float | None]], step_s: float) -> None:
    tank = gauge()
    for k, sensors_c in enumerate(readings):
        now = NOW + k * step_s
        found = tank.take(now, sensors_c, now)
        assert isinstance(found, MeterRefused) or 0.0 <= found.heat_w <= PLANNER.tank_capacity_wh
        tank.troubles(now)
        tank.view(now)
