"""What reaches control beside demands: hot water between two cycles, a stop, a limit on the import, the weather."""

from collections.abc import Callable
from typing import Any

import pytest

from proxy import config
from proxy.heat.demand import MeterReading
from proxy.heat.guidance import Guidance

# The rig is in conftest.py; test modules cannot import it, so it comes as a fixture without a type.
Make = Callable[..., Any]
CURVE = config.HeatCurve(points=[(-20.0, 400_000.0), (20.0, 200_000.0)], outdoor_stale_s=600.0)
RULES = config.HeatCurve(points=CURVE.points, outdoor_stale_s=600.0, is_mode=True)


def of_loop(site: Any, name: str) -> list[Any]:
    return [unit for unit in site.fleet.units if unit.loop == name]


# The interlocks' second.


def water(site: Any, supply_c: float) -> None:
    reading = MeterReading(at_unix_s=site.wall(), heat_w=90_000.0, supply_c=supply_c, return_c=supply_c - 15.0)
    site.control.bank.take("a-meter", reading, site.wall())


def metered(rig: Make) -> Any:
    site = rig(60)
    site.meters = [config.Meter(name="a-meter", address="127.0.0.1:502", place="a")]
    site.restart()
    site.ask(400_000.0)
    site.run(2_400)
    return site


def test_water_too_hot_puts_its_loop_to_sleep_before_the_next_cycle(rig: Make) -> None:
    site = metered(rig)
    water(site, 80.0)
    count = len(site.fleet.commands)
    site.control.guard(site.now_s, site.wall())
    assert len(site.fleet.commands) == count
    site.now_s += 1.0
    water(site, 93.0)
    site.control.guard(site.now_s, site.wall())
    told = site.fleet.commands[count:]
    assert {unit for _, unit, _, _ in told} == {unit.id for unit in of_loop(site, "a")}
    assert all(level == 0 and urgent for _, _, level, urgent in told)
    assert any("loop a is asleep" in line for line in site.control.alarms())


def test_the_guard_says_a_thing_once_and_never_raises_anything(rig: Make) -> None:
    site = metered(rig)
    before = {unit.id: unit.level for unit in site.fleet.units}
    count = len(site.fleet.commands)
    for _ in range(5):
        site.now_s += 1.0
        water(site, 89.0)
        site.control.guard(site.now_s, site.wall())
    told = site.fleet.commands[count:]
    assert told
    assert len({unit for _, unit, _, _ in told}) == len(told)
    assert all(level < before[unit] for _, unit, level, _ in told)


def test_the_guard_commands_nothing_before_the_fleet_was_seen_or_while_control_is_off(rig: Make) -> None:
    site = metered(rig)
    site.fleet.swept_all = False
    water(site, 95.0)
    count = len(site.fleet.commands)
    site.control.guard(site.now_s, site.wall())
    assert len(site.fleet.commands) == count


# Stop.


def test_a_stop_puts_everything_to_sleep_at_once_and_only_its_sender_takes_it_back(rig: Make) -> None:
    site = rig(40)
    site.ask(250_000.0)
    site.run(1_200)
    count = len(site.fleet.commands)
    site.control.set_emergency_stop(True, "plc")
    site.run(20)
    assert all(unit.commanded == 0 for unit in site.fleet.units)
    assert all(urgent for *_, urgent in site.fleet.commands[count:])
    site.control.set_emergency_stop(False, "rest")
    site.run(300)
    assert (site.control.view().ladder, site.control.report(site.wall()).ladder) == ("STOP", "STOP")
    assert any("plc" in line for line in site.control.alarms())
    site.control.set_emergency_stop(False, "plc")
    site.run(3_600)
    assert site.control.view().ladder == "LIVE"
    assert site.control.view().heat_w == pytest.approx(250_000.0, rel=0.02)


def test_a_stop_held_twice_is_told_once(rig: Make) -> None:
    site = rig(4)
    for _ in range(3):
        site.control.set_emergency_stop(True, "plc")
    assert [event.level for event in site.events.since(0) if event.name == "heat.stop_held"] == ["error"]


# Import limit.


def test_an_import_limit_caps_the_power_until_it_ends(rig: Make) -> None:
    site = rig(60)
    site.ask(400_000.0)
    site.run(2_400)
    assert site.control.set_import_limit(300_000.0, site.wall() + 1_800.0, "grid") is None
    powers = site.run(1_700)
    assert max(powers[10:]) <= 300_000.0 * 1.01
    assert site.control.view().limiter == "import limit (grid)"
    site.run(3_600)
    assert site.control.view().limiter is None
    assert site.fleet.total_w() * 0.95 == pytest.approx(400_000.0, rel=0.01)


def test_what_a_limit_takes_does_not_wait_its_turn_and_what_a_demand_takes_does(rig: Make) -> None:
    site = rig(60)
    site.ask(400_000.0)
    site.run(2_400)
    count = len(site.fleet.commands)
    site.ask(330_000.0)
    site.run(300)
    assert site.fleet.commands[count:]
    assert not any(urgent for *_, urgent in site.fleet.commands[count:])
    count = len(site.fleet.commands)
    before = {unit.id: unit.commanded for unit in site.fleet.units}
    site.control.set_import_limit(250_000.0, site.wall() + 1_800.0, "grid")
    site.run(20)
    lowered = [command for command in site.fleet.commands[count:] if command[2] < before[command[1]]]
    assert len(lowered) > 5
    assert all(urgent for *_, urgent in lowered)
    reasons = [record.reason for record in site.ledger.commands[count:]]
    assert reasons.count("import limit (grid)") == len(lowered)


def test_a_limit_is_taken_back_by_its_sender_and_nonsense_is_refused(rig: Make) -> None:
    site = rig(10)
    assert site.control.set_import_limit(float("nan"), site.wall() + 60.0, "grid") is not None
    assert site.control.cap_w() is None
    site.control.set_import_limit(1_000.0, site.wall() + 60.0, "grid")
    assert site.control.cap_w() == 1_000.0
    site.control.set_import_limit(None, site.wall(), "grid")
    assert site.control.cap_w() is None


# The weather.


def weather(site: Any, outdoor_c: float, seconds: float) -> None:
    for _ in range(int(seconds / 300)):
        assert site.control.set_outdoor(outdoor_c, "roof", site.wall()) is None
        site.run(300)


def test_the_curve_as_a_mode_rules_without_any_demand(rig: Make) -> None:
    site = rig(60, curve=RULES)
    weather(site, -10.0, 3_000)
    view = site.control.view()
    assert (view.ladder, view.source, view.demand_w, view.outdoor_c) == ("LIVE", "curve", 350_000.0, -10.0)
    assert site.fleet.total_w() * 0.95 == pytest.approx(350_000.0, rel=0.01)
    weather(site, 0.0, 3_000)
    assert site.fleet.total_w() * 0.95 == pytest.approx(300_000.0, rel=0.01)


def test_a_demand_rules_over_the_curve_and_the_curve_again_when_it_is_long_over(rig: Make) -> None:
    site = rig(60, curve=RULES)
    weather(site, 0.0, 900)
    site.ask(250_000.0, validity_s=600.0)
    weather(site, 0.0, 600)
    assert site.control.view().demand_w == 250_000.0
    weather(site, 0.0, 900)
    assert (site.control.view().source, site.control.view().demand_w) == ("curve", 300_000.0)


def test_when_the_weather_falls_silent_the_curve_ages_like_any_demand(rig: Make) -> None:
    site = rig(60, curve=RULES)
    weather(site, 0.0, 900)
    rungs = []
    for _ in range(40):
        site.run(60)
        rungs.append(site.control.view().ladder)
    assert list(dict.fromkeys(rungs)) == ["LIVE", "HOLD", "FALLBACK", "LIMIT"]


def test_a_curve_that_is_no_mode_speaks_on_fallback_only(rig: Make) -> None:
    site = rig(60, curve=CURVE)
    weather(site, -10.0, 900)
    assert site.control.view().demand_w is None
    site.ask(250_000.0, validity_s=600.0)
    weather(site, -10.0, 600)
    assert site.control.view().demand_w == 250_000.0
    weather(site, -10.0, 900)
    assert (site.control.view().ladder, site.control.view().demand_w) == ("FALLBACK", 350_000.0)


# A supply temperature.


def test_heat_that_customers_draw_is_not_corrected_for_where_the_temperature_is_held(rig: Make) -> None:
    """They draw 300 kW whatever is made: the rest is in the water, and the temperature tells."""
    site = rig(60, mode="supply_temperature")
    site.submit = site.control.submit_demand(site.demand(None, supply_c=75.0), site.wall())
    made_w = []
    for _ in range(90):
        site.control.meter(MeterReading(at_unix_s=site.wall(), heat_w=300_000.0, supply_c=75.0, return_c=45.0))
        made_w.append(site.run(20)[-1] * 0.95)
    assert max(abs(power_w - 300_000.0) for power_w in made_w[45:]) < 12_000.0


# The planner.


def test_a_planner_is_told_what_control_found_out(rig: Make) -> None:
    site = metered(rig)
    learned = site.control.learned()
    assert learned.power_scale == pytest.approx(1.05, abs=0.02), "these units draw 5 % more than their nameplate says"
    assert learned.heat_w == pytest.approx(400_000.0, rel=0.01)
    assert learned.loop_caps_w["a"] is None
    water(site, 93.0)
    site.control.guard(site.now_s, site.wall())
    assert site.control.learned().loop_caps_w["a"] == 0.0, "its interlock let it sleep"


def test_before_the_first_cycle_the_planner_is_told_no_heat(rig: Make) -> None:
    assert rig(10).control.learned().heat_w is None


@pytest.mark.parametrize(("has_plan", "leads"), [(False, True), (True, False)])
def test_where_a_tank_takes_the_difference_nothing_leads(rig: Make, has_plan: bool, leads: bool) -> None:
    site = rig(60, plant_tau_s=600.0, reference_tau_s=150.0)
    site.ask(350_000.0)
    site.run(2_400)
    site.ask(430_000.0)
    if has_plan:
        site.control.set_guidance(Guidance(valid_until_unix_s=site.wall() + 600.0, heat_now_w=430_000.0))
    site.run(60)
    assert (site.control.view().lead_w > 1_000.0) is leads
