import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import structlog
import trio

from proxy.heat.demand import DemandAccepted, DemandRefused, MeterReading, MeterRefused
from proxy.units.unit import ProvenPower, UnitImage

# The rig is in conftest.py; test modules cannot import it, so it comes as a fixture without a type.
Make = Callable[..., Any]
ETA = 0.95


def names(rig: Any, name: str) -> list[dict[str, Any]]:
    return [event.facts for event in rig.events.since(0) if event.name == name]


def heat_errors(powers: list[float], demand_w: float) -> list[float]:
    return [abs(power_w * ETA / demand_w - 1) for power_w in powers]


# Tracking.


def test_heat_follows_the_demand_within_one_percent_although_units_draw_five_percent_more(rig: Make) -> None:
    site = rig(228)
    for demand_w in (1_400_000.0, 1_600_000.0, 1_080_000.0):
        site.ask(demand_w)
        powers = site.run(2_400)
        assert max(heat_errors(powers[90:], demand_w)) < 0.01
        assert heat_errors(powers, demand_w)[-1] < 0.008  # two dead bands
    assert sum(unit.starts for unit in site.fleet.units) == 0
    assert site.control.view().heat_quality == "estimated"
    assert abs(site.control.view().tracking_error) < 0.005


def test_in_the_dead_band_no_unit_is_moved(rig: Make) -> None:
    site = rig(60)
    site.ask(400_000.0)
    site.run(3_600)
    count = len(site.fleet.commands)
    site.run(3_600)
    assert len(site.fleet.commands) - count <= 4


def test_a_demand_above_what_is_possible_gets_the_maximum_and_names_the_limiter(rig: Make) -> None:
    site = rig(60)
    site.ask(600_000.0)
    powers = site.run(3_600)
    assert powers[-1] == pytest.approx(sum(60 * [8_064 * 1.08 * 1.05]), rel=0.01)
    assert site.control.view().limiter == "capacity"


def test_below_the_minimum_the_minimum_stable_power_is_kept(rig: Make) -> None:
    site = rig(40, min_power_w=180_000.0)
    site.ask(10_000.0)
    powers = site.run(3_600)
    assert powers[-1] == pytest.approx(180_000.0, rel=0.02)
    assert site.control.view().limiter == "minimum stable power"
    assert site.control.view().headroom_down_w < 4_000


def test_without_a_minimum_a_demand_of_nothing_puts_the_fleet_to_sleep(rig: Make) -> None:
    site = rig(40)
    site.ask(0.0)
    site.run(3_600)
    assert all(unit.level == 0 for unit in site.fleet.units)


def test_the_site_ramp_holds(rig: Make) -> None:
    site = rig(100, ramp_w_per_min=60_000.0, max_transition=1.0)
    site.ask(480_000.0)
    site.run(3_600)
    site.ask(700_000.0)
    setpoints = [site.control.view().setpoint_power_w]
    for _ in range(30):
        site.run(20)
        setpoints.append(site.control.view().setpoint_power_w)
    steps = [after - before for before, after in itertools.pairwise(setpoints)]
    assert max(steps) <= 20_000 * 1.001
    site.run(2_400)
    assert site.control.view().setpoint_power_w == pytest.approx(700_000 / ETA, rel=0.005)


def test_an_oscillating_demand_moves_no_unit_faster_than_its_dwell_time(rig: Make) -> None:
    site = rig(40, control_period_s=10.0)
    for k in range(180):
        site.ask(0.0 if k % 2 else 300_000.0)
        site.run(10)
    last: dict[str, float] = {}
    for at_s, unit, _, _ in site.fleet.commands:
        assert at_s - last.get(unit, -math.inf) >= 300.0
        last[unit] = at_s


# Losses.


def test_a_unit_taken_out_of_service_is_replaced_by_others(rig: Make) -> None:
    site = rig(100)
    site.ask(600_000.0)
    site.run(2_400)
    for unit in site.fleet.units[:5]:
        unit.in_service = True
    powers = site.run(1_200)
    assert max(heat_errors(powers[-10:], 600_000.0)) < 0.01


def test_dead_units_are_replaced_after_a_while(rig: Make) -> None:
    site = rig(100)
    site.ask(600_000.0)
    site.run(2_400)
    for unit in site.fleet.units[:5]:
        unit.dead = True
    powers = site.run(2_400)
    assert max(heat_errors(powers[-10:], 600_000.0)) < 0.01
    assert site.control.view().measured_power_w == pytest.approx(sum(u.power_w for u in site.fleet.units), rel=0.01)


def test_when_half_the_fleet_falls_silent_at_once_the_other_half_is_not_driven_up(rig: Make) -> None:
    site = rig(100)
    site.ask(500_000.0)
    site.run(2_400)
    for unit in site.fleet.units[::2]:
        unit.dead = True  # to us; on site they go on
    heard = site.fleet.units[1::2]
    before_w = sum(unit.power_w for unit in heard)
    site.run(2_400)
    assert sum(unit.power_w for unit in heard) == pytest.approx(before_w, rel=0.02)


def test_a_hot_unit_is_lowered_at_once_and_the_others_make_up_for_it(rig: Make) -> None:
    site = rig(60)
    site.ask(400_000.0)
    site.run(2_400)
    hot = max(site.fleet.units, key=lambda unit: unit.level)
    hot.outlet_c = 91.0
    powers = site.run(1_200)
    assert hot.level == 0
    urgent = [command for command in site.fleet.commands if command[3]]
    assert {command[1] for command in urgent} == {hot.id}
    assert "outlet 91" in next(r.reason for r in site.ledger.commands if r.unit == hot.id and r.level_to == 0)
    assert max(heat_errors(powers[-10:], 400_000.0)) < 0.015


def test_a_unit_that_refuses_is_left_alone_and_others_are_taken(rig: Make) -> None:
    site = rig(40)
    stubborn = site.fleet.units[0]
    real = site.fleet.command

    def command(unit_id: str, *rest: Any, **more: Any) -> str | None:
        return "no" if unit_id == stubborn.id else real(unit_id, *rest, **more)

    site.fleet.command = command
    site.ask(220_000.0)
    powers = site.run(2_400)
    assert max(heat_errors(powers[-10:], 220_000.0)) < 0.02
    refused = [record for record in site.ledger.commands if record.result == "no"]
    assert {record.unit for record in refused} <= {stubborn.id}
    assert len(refused) <= 2_400 / 60 + 1


# Limits.


def test_a_manual_limit_wins_at_once_over_ramp_pace_and_dwell(rig: Make) -> None:
    site = rig(100)
    site.ask(700_000.0)
    site.run(100)
    site.control.set_manual_limit(400_000.0, "anna")
    powers = site.run(200)
    assert powers[-1] <= 400_000.0 * 1.01
    assert site.control.view().limiter == "manual limit"
    site.control.set_manual_limit(None, "anna")
    powers = site.run(2_400)
    assert heat_errors(powers, 700_000.0)[-1] < 0.01


def test_a_manual_limit_of_zero_stops_the_site_until_it_is_taken_away(rig: Make) -> None:
    site = rig(20)
    site.ask(100_000.0)
    site.run(100)
    site.control.set_manual_limit(0.0, "anna")
    site.run(200)
    assert site.control.view().ladder == "STOP"
    assert all(unit.level == 0 for unit in site.fleet.units)
    site.control.set_manual_limit(None, "anna")
    site.run(20)
    assert site.control.view().ladder == "LIMIT"
    site.run(3_600)
    assert site.control.view().ladder == "LIVE"
    assert site.fleet.total_w() > 90_000


@pytest.mark.parametrize("nonsense", [math.nan, math.inf, -1.0])
def test_a_limit_that_is_no_power_is_refused(rig: Make, nonsense: float) -> None:
    with pytest.raises(ValueError, match="0 W or more"):
        rig(1).control.set_manual_limit(nonsense, "anna")


def test_loop_and_site_caps_hold(rig: Make) -> None:
    site = rig(100, max_power_w=600_000.0)
    site.loop_caps["b"] = 120_000.0
    site.restart()
    site.ask(800_000.0)
    powers = site.run(2_400)
    loop_b_w = sum(unit.power_w for unit in site.fleet.units if unit.loop == "b")
    assert loop_b_w <= 120_000 * 1.02
    assert powers[-1] <= 600_000 * 1.005
    assert site.control.view().limiter == "site cap"


def test_no_unit_is_woken_more_often_than_it_may(rig: Make) -> None:
    site = rig(8, max_transition=1.0)
    site.fleet.min_dwell_s = 0.0
    for _ in range(10):
        site.ask(0.0)
        site.run(400)
        site.ask(50_000.0)
        site.run(400)
    assert max(unit.starts for unit in site.fleet.units) == 4


def test_a_hand_command_passes_safety(rig: Make) -> None:
    site = rig(4, fleet={"spread": 0.0})  # all draw 1.05 of nameplate
    site.control.set_manual_limit(8_064.0 * 4.22, "anna")
    site.run(20)
    assert "manual limit" in site.control.command_unit("u0", 5, "anna", site.now_s)
    assert site.control.command_unit("u0", 2, "anna", site.now_s) is None
    assert site.fleet.by_id["u0"].commanded == 2
    assert site.ledger.commands[-1].reason == "by hand: anna"
    assert "no unit" in site.control.command_unit("u9", 1, "anna", site.now_s)
    assert "levels" in site.control.command_unit("u0", 9, "anna", site.now_s)


# The ladder.


def test_without_a_demand_ever_no_unit_is_touched(rig: Make) -> None:
    site = rig(20)
    site.run(7_200)
    assert site.fleet.commands == []
    assert site.control.view().ladder == "HOLD"
    assert site.control.view().demand_w is None


def test_a_demand_that_is_not_renewed_ends_in_hold_fallback_and_limit(rig: Make) -> None:
    site = rig(100, fallback_power_w=500_000.0, limit_power_w=460_000.0)
    site.ask(700_000.0, validity_s=600.0)
    seen = {}
    for _ in range(60):
        site.run(60)
        seen.setdefault(site.control.view().ladder, site.now_s)
    assert list(seen) == ["LIVE", "HOLD", "FALLBACK", "LIMIT"]
    assert seen["HOLD"] == pytest.approx(720, abs=60)
    assert seen["FALLBACK"] == pytest.approx(900, abs=60)
    assert seen["LIMIT"] == pytest.approx(2_400, abs=60)
    assert site.fleet.total_w() == pytest.approx(460_000.0, rel=0.01)
    ladder = [record.ladder for record in site.ledger.setpoints]
    assert ladder.index("HOLD") < ladder.index("FALLBACK") < ladder.index("LIMIT")


def test_a_scheduled_demand_takes_over_at_its_time_and_is_led_up_to_a_little_before(rig: Make) -> None:
    site = rig(60)
    site.ask(400_000.0)
    assert site.ask(300_000.0, starts_in_s=1_800.0).state == "pending"
    powers = site.run(1_600)
    assert heat_errors(powers, 400_000.0)[-1] < 0.01
    powers = site.run(200)
    assert all(370_000.0 < power_w * ETA < 396_000.0 for power_w in powers[5:])
    assert site.control.view().demand_w == 400_000.0
    powers = site.run(1_200)
    assert heat_errors(powers, 300_000.0)[-1] < 0.01


# Restart.


def test_a_restart_takes_the_plant_over_without_a_bump(rig: Make) -> None:
    site = rig(228)
    site.ask(1_400_000.0)
    site.run(3_600)
    before = site.fleet.total_w()
    count = len(site.fleet.commands)
    site.restart()
    powers = site.run(600)
    assert site.control.view().ladder == "LIVE"
    assert site.control.view().demand_w == 1_400_000.0
    assert len(site.fleet.commands) - count <= 4
    assert all(power_w == pytest.approx(before, rel=0.004) for power_w in powers)


def test_nothing_is_commanded_before_the_fleet_was_seen_once(rig: Make) -> None:
    site = rig(60)
    site.fleet.swept_all = False
    site.ask(300_000.0)
    site.run(600)
    assert site.fleet.commands == []
    assert site.control.view().limiter == "the first look at the fleet is not done"
    site.fleet.swept_all = True
    site.run(20)
    assert site.fleet.commands != []


def test_a_restart_leads_to_nothing_when_the_whole_fleet_is_seen_at_last(rig: Make) -> None:
    site = rig(200)
    site.ask(1_400_000.0)
    site.run(3_600)
    count = len(site.fleet.commands)
    site.restart()
    site.fleet.swept_all = False
    site.run(60)
    site.fleet.swept_all = True
    powers = site.run(600)
    assert len(site.fleet.commands) - count <= 4
    assert all(power_w == pytest.approx(powers[0], rel=0.008) for power_w in powers)


def test_after_a_restart_an_old_demand_cannot_be_replayed(rig: Make) -> None:
    site = rig(4)
    first = site.demand(10_000.0)
    site.control.submit_demand(first, site.wall())
    site.ask(12_000.0)
    site.restart()
    answer = site.control.submit_demand(first, site.wall())
    assert isinstance(answer, DemandRefused)
    assert (answer.code, answer.last_sequence) == (409, 2)


def test_heat_control_that_is_off_observes_only(rig: Make) -> None:
    site = rig(20, enabled=False)
    assert isinstance(site.ask(50_000.0), DemandAccepted)
    site.run(600)
    assert site.fleet.commands == []
    view = site.control.view()
    assert view.limiter == "heat control is off"
    assert view.ladder == "LIVE"
    assert view.heat_w == pytest.approx(site.fleet.total_w() * ETA)
    assert "off" in site.control.command_unit("u0", 1, "anna", site.now_s)


# Records.


def test_a_refused_demand_changes_nothing_and_is_recorded_with_its_reason(rig: Make) -> None:
    site = rig(20)
    site.ask(100_000.0)
    for fields in ({"power_w": -5.0}, {"sequence": 0}, {"power_w": math.nan}, {"source": "other"}):
        demand = site.demand(**({"power_w": 90_000.0} | fields))
        answer = site.control.submit_demand(demand, site.wall())
        assert isinstance(answer, DemandRefused)
    site.run(40)
    assert site.control.view().demand_w == 100_000.0
    assert [record.accepted for record in site.ledger.demands] == [True, False, False, False]  # NaN fits no table
    assert all(record.reason for record in site.ledger.demands[1:])
    assert len(names(site, "heat.demand_refused")) == 4


def test_a_repeated_demand_is_answered_again_and_recorded_once(rig: Make) -> None:
    site = rig(2)
    demand = site.demand(10_000.0)
    answers = [site.control.submit_demand(demand, site.wall() + after_s) for after_s in (0, 5, 90_000)]
    assert answers[0] == answers[1] == answers[2]
    assert len(site.ledger.demands) == 1


def test_too_many_planned_demands_are_refused(rig: Make) -> None:
    site = rig(2)
    answers = [site.ask(5_000.0, starts_in_s=60.0 * k) for k in range(193)]
    assert isinstance(answers[191], DemandAccepted)
    assert answers[192].code == 429


def test_one_record_for_each_change_of_the_set_point(rig: Make) -> None:
    site = rig(60)
    site.ask(400_000.0)
    site.run(3_600)
    changes = names(site, "heat.setpoint_changed")
    assert 0 < len(changes) <= 12
    assert len(changes) == len(site.ledger.setpoints) == site.control.view().setpoint_changes
    assert changes[-1]["ladder"] == "LIVE"
    assert changes[-1]["demand_w"] == 400_000.0


def test_energies_are_kept_by_quarter_hour_and_loop(rig: Make) -> None:
    site = rig(60)
    site.ask(400_000.0)
    site.run(3_640)
    quarters = [record for record in site.ledger.energies if record.scope == "site"]
    assert len(quarters) == 4
    last = quarters[-1]
    assert last.period_start_unix_s % 900 == 0
    assert last.heat_demand_wh == pytest.approx(100_000.0)
    assert last.heat_wh == pytest.approx(100_000.0, rel=0.01)
    assert last.electric_wh == pytest.approx(100_000.0 / ETA, rel=0.01)
    assert last.quality == "estimated"
    loops = [r for r in site.ledger.energies if r.scope != "site" and r.period_start_unix_s == last.period_start_unix_s]
    assert sum(record.electric_wh for record in loops) == pytest.approx(last.electric_wh)
    assert site.control.view().demand_energy_wh == pytest.approx(400_000 * 3_620 / 3_600)


def test_a_fresh_meter_is_reported_and_a_stale_one_is_not(rig: Make) -> None:
    site = rig(60)
    site.ask(400_000.0)
    site.run(3_600)
    site.control.meter(MeterReading(at_unix_s=site.wall(), heat_w=395_000.0, supply_c=75.0, return_c=45.0))
    site.run(20)
    view = site.control.view()
    assert (view.heat_w, view.heat_quality, view.supply_c, view.return_c) == (395_000.0, "measured", 75.0, 45.0)
    site.run(60)
    assert site.control.view().heat_quality == "estimated"
    assert site.control.view().supply_c is None
    refused = site.control.meter(MeterReading(at_unix_s=site.wall(), heat_w=math.nan))
    assert isinstance(refused, MeterRefused)


def test_a_meter_that_disagrees_with_the_power_is_told_once(rig: Make) -> None:
    site = rig(60)
    site.ask(400_000.0)
    for k in range(120):
        site.control.meter(MeterReading(at_unix_s=site.wall(), heat_w=250_000.0 + k))
        site.run(20)
    assert len(names(site, "heat.meter_disagrees")) == 1


# The task.


async def test_a_bug_in_a_cycle_is_counted_and_the_next_cycle_runs(rig: Make, autojump_clock: object) -> None:
    site = rig(10)
    real = site.fleet.image
    calls = 0

    def image(now_s: float) -> tuple[UnitImage, ...]:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise ZeroDivisionError("a bug")
        return real(now_s)

    site.fleet.image = image
    with trio.move_on_after(100), structlog.testing.capture_logs() as logs:
        await site.control.run()
    assert calls == 5 or calls == 6
    assert site.control.failed_cycles == 1
    assert [entry["log_level"] for entry in logs if entry["event"] == "heat.cycle_failed"] == ["error"]


async def test_a_manual_limit_does_not_wait_for_the_next_cycle(rig: Make, autojump_clock: object, nursery: trio.Nursery) -> None:
    site = rig(10, control_period_s=300.0)
    await nursery.start(site.control.run)
    await trio.sleep(1.0)
    site.control.set_manual_limit(10_000.0, "anna")
    await trio.sleep(1.0)
    assert {command[1] for command in site.fleet.commands} == {unit.id for unit in site.fleet.units}
    nursery.cancel_scope.cancel()


async def test_the_open_periods_are_handed_over_when_the_task_ends(rig: Make, autojump_clock: object) -> None:
    site = rig(4)
    base_s = trio.current_time()
    site.control._wall_clock = lambda: 1_768_435_200.0 + trio.current_time() - base_s
    with trio.move_on_after(100):
        await site.control.run()
    assert {record.scope for record in site.ledger.energies} == {"site", "a", "b", "c", "d"}
    assert site.ledger.energies[0].period_s == pytest.approx(80.0)  # to the last cycle


# Units that are not believed.


FOUND_NOTHING = ProvenPower(15.0, 0.0, 400.0, 0.0, 600.0, 600.0, None)


def test_what_a_unit_only_says_is_made_by_others_and_told(rig: Make) -> None:
    site = rig(40)
    site.ask(270_000.0)
    before_w = site.run(2_400)[-1]
    liar = site.fleet.units[3]
    liar.proven = FOUND_NOTHING
    after_w = site.run(1_500)[-1]
    # It really draws what it says, but nobody believes that here.
    assert after_w - before_w == pytest.approx(liar.power_w, rel=0.25)
    assert [facts["unit"] for facts in names(site, "unit.not_believed")] == ["u3"]
    assert any("u3 says" in line for line in site.control.alarms())
    assert list(site.control.doubts()) == ["u3"]
    liar.proven = None
    site.run(600)
    assert names(site, "unit.believed_again") == [{"unit": "u3"}]
    assert not any("u3 says" in line for line in site.control.alarms())


def test_under_a_cap_a_unit_that_is_not_believed_counts_in_full(rig: Make) -> None:
    site = rig(40)
    site.ask(270_000.0)
    cap_w = 1.01 * site.run(2_400)[-1]
    site.control.set_manual_limit(cap_w, "operator")
    site.fleet.units[3].proven = FOUND_NOTHING
    assert max(site.run(2_400)) <= 1.005 * cap_w
    assert names(site, "unit.not_believed")
