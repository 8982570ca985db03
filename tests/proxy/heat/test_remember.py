"""What a new process knows of the one before: locks and trips for ever, what was learned while it is young and fits."""

import math
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy import config
from proxy.heat import arbitrate, interlocks, model, remember, safety
from proxy.heat.demand import MeterReading
from proxy.heat.keeping import KEEP_EVERY_S, SNAPSHOT
from proxy.ledger.records import MemoryRecord

# The rig is in conftest.py; test modules cannot import it, so it comes as a fixture without a type.
Make = Callable[..., Any]
DEMAND_W = 300_000.0


def facts(site: Any, name: str) -> list[dict[str, Any]]:
    return [event.facts for event in site.events.since(0) if event.name == name]


def live(site: Any, seconds: float, efficiency: float = 0.91) -> None:
    """Run with a meter at the boundary that sees another efficiency than the site file says."""
    until_s = site.now_s + seconds
    while site.now_s < until_s:
        site.control.meter(MeterReading(at_unix_s=site.wall(), heat_w=site.fleet.total_w() * efficiency))
        site.run(20)


def taught(rig: Make) -> Any:
    site = rig(60)
    site.ask(DEMAND_W)
    live(site, 7_200)
    return site


def away(site: Any, seconds: float) -> int:
    """The process is gone for so long and starts again; how many commands there were until then."""
    site.now_s += seconds
    site.fleet.advance(site.now_s)
    site.restart()
    return len(site.fleet.commands)


def heat_water(site: Any, supply_c: float) -> None:
    reading = MeterReading(at_unix_s=site.wall(), heat_w=20_000.0, supply_c=supply_c, return_c=supply_c - 15.0)
    site.control.bank.take("a-meter", reading, site.wall())


def metered(rig: Make) -> Any:
    site = rig(20)
    site.meters = [config.Meter(name="a-meter", address="127.0.0.1:502", place="a")]
    site.restart()
    site.ask(100_000.0)
    site.run(1_200)
    return site


def trip(site: Any) -> None:
    """Loop a gets too hot, cools down and may come back, if it may."""
    for supply_c, seconds in ((93.0, 2), (60.0, 120)):
        for _ in range(seconds):
            site.now_s += 1.0
            heat_water(site, supply_c)
            site.control.guard(site.now_s, site.wall())


# What was learned.


def test_efficiency_and_fleet_are_known_again_after_a_restart_and_nothing_moves(rig: Make) -> None:
    site = taught(rig)
    before = site.control.view()
    assert before.efficiency == pytest.approx(0.91, rel=0.02)
    count = away(site, 60.0)
    live(site, 1_200)
    after = site.control.view()
    assert after.efficiency == pytest.approx(before.efficiency, rel=0.005)
    assert after.heat_w == pytest.approx(DEMAND_W, rel=0.02)
    # Bumpless: no more than the few moves of any quiet twenty minutes.
    assert len(site.fleet.commands) - count <= 12
    assert facts(site, "heat.memory_recalled")[0]["age_s"] <= KEEP_EVERY_S + 60.0


def test_nothing_is_commanded_before_the_first_look_at_the_fleet_and_the_efficiency_is_still_known_after_it(rig: Make) -> None:
    site = taught(rig)
    known = site.control.view().efficiency
    count = away(site, 60.0)
    site.fleet.swept_all = False
    live(site, 300)
    assert len(site.fleet.commands) == count
    site.fleet.swept_all = True
    live(site, 60)
    assert site.control.view().efficiency == pytest.approx(known, rel=0.005)


def test_a_learned_efficiency_is_not_believed_for_a_site_file_that_says_another(rig: Make) -> None:
    site = taught(rig)
    site.heat = config.Heat(thermal_efficiency=0.90)
    away(site, 60.0)
    site.run(20)
    assert site.control.view().efficiency == pytest.approx(0.90)
    assert any("site file" in fact["reason"] for fact in facts(site, "heat.memory_ignored"))


def test_what_is_old_is_not_believed(rig: Make) -> None:
    site = taught(rig)
    site.now_s += remember.FLEET_AGE_S
    site.restart()
    site.run(20)
    assert [fact["reason"][:23] for fact in facts(site, "heat.memory_ignored")] == ["power against nameplate"]
    assert site.control.view().efficiency == pytest.approx(0.91, rel=0.02)
    site.now_s += remember.PLANT_AGE_S + 60.0
    site.restart()
    site.run(20)
    assert site.control.view().efficiency == pytest.approx(0.95)


@pytest.mark.parametrize(("version", "body"), [(remember.VERSION, "{"), (remember.VERSION + 1, "{}"), (remember.VERSION, "{}")])
def test_a_snapshot_that_cannot_be_read_is_ignored_and_said(rig: Make, version: int, body: str) -> None:
    site = rig(4)
    site.ledger.kept[SNAPSHOT] = MemoryRecord(SNAPSHOT, site.wall(), version, body)
    site.restart()
    site.run(20)
    assert facts(site, "heat.memory_ignored")[0]["remedy"]
    assert facts(site, "heat.memory_recalled") == []


def test_a_snapshot_is_written_every_few_minutes_and_a_refusal_is_told(rig: Make) -> None:
    site = rig(4)
    site.ask(10_000.0)
    site.run(200)
    assert SNAPSHOT not in site.ledger.kept
    site.run(200)
    assert site.ledger.kept[SNAPSHOT].at_unix_s == pytest.approx(site.wall() - 100.0, abs=60.0)
    site.ledger.takes_memories = False
    site.run(400)
    assert facts(site, "heat.memory_not_kept")


def test_wear_goes_on_from_where_it_was_for_units_that_still_are(rig: Make) -> None:
    site = taught(rig)
    site.run(400)
    kept = msgspec.json.decode(site.ledger.kept[SNAPSHOT].body, type=remember.Snapshot)
    assert kept.worn.hours["u0"] > 1.0
    site.fleet.units = site.fleet.units[1:]
    away(site, 60.0)
    site.run(400)
    after = msgspec.json.decode(site.ledger.kept[SNAPSHOT].body, type=remember.Snapshot)
    assert "u0" not in after.worn.hours
    assert after.worn.hours["u1"] >= kept.worn.hours["u1"]


# What guards machines.


def test_a_loop_that_tripped_too_often_stays_asleep_over_restarts_until_somebody_acknowledges(rig: Make) -> None:
    site = metered(rig)
    for _ in range(interlocks.MAX_TRIPS):
        trip(site)
        # A crash a second later: nothing waits for the next snapshot.
        site.restart()
        site.run(20)
    count = away(site, 30 * 86_400.0)
    site.ask(150_000.0)
    for _ in range(60):
        heat_water(site, 50.0)
        site.run(20)
    assert [unit for _, unit, level, _ in site.fleet.commands[count:] if level > 0 and site.fleet.by_id[unit].loop == "a"] == []
    assert any("until acknowledged" in line for line in site.control.alarms())
    assert facts(site, "heat.memory_recalled")[-1]["locked_loops"] == "a"
    assert "loop a" in site.control.acknowledge_alarms("anna")
    site.now_s += 1.0
    site.control.guard(site.now_s, site.wall())
    site.restart()
    for _ in range(60):
        heat_water(site, 50.0)
        site.run(20)
    assert any(unit.level > 0 for unit in site.fleet.units if unit.loop == "a")


def test_an_alarm_that_nobody_acknowledged_is_there_after_a_restart(rig: Make) -> None:
    site = metered(rig)
    trip(site)
    assert any("(over; acknowledge it)" in line for line in site.control.alarms())
    site.restart()
    site.run(20)
    assert any("loop a" in line and "(over; acknowledge it)" in line for line in site.control.alarms())


def test_a_loop_that_shed_goes_on_from_there(rig: Make) -> None:
    site = metered(rig)
    for _ in range(45):
        site.now_s += 1.0
        heat_water(site, 89.0)
        site.control.guard(site.now_s, site.wall())
    before = site.control._loops.memory["a"]
    assert (before.state, before.part) == (interlocks.LoopState.SHEDDING, 0.25)
    site.restart()
    site.now_s += 1.0
    heat_water(site, 87.5)
    site.control.guard(site.now_s, site.wall())
    after = site.control._loops.memory["a"]
    assert (after.state, after.part, after.base_w) == (before.state, 0.25, before.base_w)


def test_a_unit_that_was_too_hot_is_not_given_back_its_levels_by_a_restart(rig: Make) -> None:
    site = rig(4)
    site.ask(30_000.0)
    site.fleet.units[0].outlet_c = 86.0
    site.run(400)
    site.fleet.units[0].outlet_c = 82.0
    site.run(20)
    held = site.control._memory.limits.units["u0"].ceiling
    assert held is not None
    away(site, 10.0)
    site.run(20)
    assert site.control._memory.limits.units["u0"].ceiling == held


def test_the_rung_below_live_must_be_left_by_proof_in_the_next_process_too(rig: Make) -> None:
    site = rig(20)
    site.ask(100_000.0, validity_s=600.0)
    site.run(600 + site.heat.limit_after_s + 400)
    assert site.control.view().ladder == "LIMIT"
    away(site, 20.0)
    site.ask(100_000.0)
    site.run(40)
    assert site.control.view().ladder == "LIMIT"
    site.run(40)
    assert site.control.view().ladder == "LIVE"


def test_a_loop_that_is_no_more_is_told_and_dropped(rig: Make) -> None:
    site = metered(rig)
    trip(site)
    record = site.ledger.kept[SNAPSHOT]
    site.ledger.kept[SNAPSHOT] = msgspec.structs.replace(record, body=record.body.replace('"a":{"state"', '"gone":{"state"'))
    site.restart()
    site.run(20)
    assert "gone" not in site.control._loops.memory
    assert any("gone" in fact["reason"] for fact in facts(site, "heat.memory_ignored"))


def test_trips_lie_in_the_past_although_the_clock_went_back(rig: Make) -> None:
    site = metered(rig)
    trip(site)
    record = site.ledger.kept[SNAPSHOT]
    site.ledger.kept[SNAPSHOT] = msgspec.structs.replace(record, at_unix_s=record.at_unix_s + 86_400.0)
    site.now_s -= 400.0
    site.restart()
    site.control.guard(site.now_s, site.wall())
    assert max(site.control._loops.memory["a"].trips_s) <= site.now_s


# By itself.


@given(st.floats(allow_nan=False), st.floats(allow_nan=False), st.none() | st.floats(allow_nan=False), st.booleans())
def test_a_plant_starts_within_what_could_be_learned_whatever_was_kept(factor, learned_s, tau_s, fits_tau):
    policy = model.Policy(0.95, 430.0, 240.0, 0.2, 1e6, fits_tau)
    state = model.start(policy, model.Learned(factor, learned_s, tau_s))
    assert 1 - model.EFFICIENCY_SPAN <= state.factor <= 1 + model.EFFICIENCY_SPAN
    assert 0.5 * 430.0 <= state.tau_s <= 1.7 * 430.0
    assert fits_tau or state.tau_s == 430.0
    assert state.learned_s >= 0.0


def test_a_snapshot_says_the_same_after_it_was_put_back(rig: Make) -> None:
    site = metered(rig)
    trip(site)
    parts = site.control._keeping._parts
    parts.memory.limits.units["u1"] = safety.UnitMemory(ceiling=2)
    parts.observed.unseen.ratio["a"] = 1.1
    before = remember.take(parts, site.now_s, site.wall())
    body = msgspec.json.encode(before)
    site.restart()
    fresh = site.control._keeping._parts
    assert remember.recall(fresh, msgspec.json.decode(body, type=remember.Snapshot), 0.0, site.now_s, site.wall()) == []
    after = remember.take(fresh, site.now_s, site.wall())
    assert after.guarding == before.guarding
    assert after.worn == before.worn
    assert after.fleet == msgspec.structs.replace(before.fleet, rung=arbitrate.Rung.HOLD)
    assert math.isclose(after.plant.factor, before.plant.factor)
