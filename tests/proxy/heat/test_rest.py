"""Units that were moved too often in a day: they come down as always, and go up only where the heat is far off."""

from collections import deque
from collections.abc import Callable
from typing import Any

from proxy import config
from proxy.heat.demand import MeterReading

Make = Callable[..., Any]
STEADY_W = 250_000.0
MOST = 2


def all_at_rest(rig: Make) -> Any:
    """Forty settled units that have just been moved as often as they may be."""
    site = rig(40, fleet={"lost": 0.0}, max_changes_per_day=MOST)
    site.ask(STEADY_W)
    site.run(3_000)
    worn = site.control._memory.worn
    for unit in site.fleet.units:
        worn.moves_s[unit.id] = deque([site.now_s] * MOST, maxlen=MOST)
        worn.full.add(unit.id)
    return site


def levels(site: Any) -> dict[str, int]:
    return {unit.id: unit.level if unit.commanded is None else unit.commanded for unit in site.fleet.units}


def rose(site: Any, before: dict[str, int]) -> int:
    return sum(level > before[unit] for unit, level in levels(site).items())


def test_a_demand_a_little_higher_is_not_followed_by_units_at_rest_and_people_are_told(rig: Make) -> None:
    site = all_at_rest(rig)
    before = levels(site)
    site.ask(STEADY_W * 1.03)
    site.run(1_800)
    assert rose(site, before) == 0
    view = site.control.view()
    assert view.units_resting == 40
    assert view.limiter == "units that rest"
    assert any("40 of 40 units were moved 2 times" in line for line in site.control.alarms())


def test_a_demand_a_little_lower_is_followed_by_units_at_rest(rig: Make) -> None:
    site = all_at_rest(rig)
    before_w = site.fleet.total_w()
    site.ask(STEADY_W * 0.97)
    site.run(1_800)
    assert site.fleet.total_w() < 0.98 * before_w


def test_real_need_does_not_wait_for_rest(rig: Make) -> None:
    site = all_at_rest(rig)
    site.ask(STEADY_W * 1.2)
    site.run(3_000)
    assert abs(site.control.view().heat_w / (STEADY_W * 1.2) - 1.0) <= 0.06


def test_safety_and_limits_do_not_wait_for_rest(rig: Make) -> None:
    site = all_at_rest(rig)
    site.fleet.units[0].outlet_c = 95.0
    site.control.set_manual_limit(200_000.0, "anna")
    site.run(60)
    assert site.fleet.units[0].commanded == 0
    site.run(300)
    assert site.fleet.total_w() <= 200_000.0 * 1.01
    site.control.set_emergency_stop(True, "plc")
    site.run(40)
    assert set(levels(site).values()) == {0}


def test_a_person_may_raise_a_unit_at_rest(rig: Make) -> None:
    site = all_at_rest(rig)
    site.now_s += 600.0
    unit = min(site.fleet.units, key=lambda each: each.level)
    assert site.control.command_unit(unit.id, unit.level + 1, "anna", site.now_s) is None


def test_rest_ends_after_a_day_and_outlives_a_restart_until_then(rig: Make) -> None:
    site = all_at_rest(rig)
    site.run(400)
    site.restart()
    site.run(20)
    assert site.control.view().units_resting == 40
    before = levels(site)
    site.ask(STEADY_W * 1.03)
    site.run(1_800)
    assert rose(site, before) == 0
    site.now_s += 86_400.0
    site.ask(STEADY_W * 1.03)
    site.run(3_600)
    assert rose(site, before) > 0
    assert not any("rest" in line for line in site.control.alarms())


def test_a_sleeping_unit_at_rest_is_not_woken_for_a_little_more(rig: Make) -> None:
    site = rig(4, fleet={"lost": 0.0, "level": 5}, max_changes_per_day=MOST)
    site.meters = [config.Meter(name="m", address="127.0.0.1:502")]
    site.restart()
    site.ask(24_000.0)
    site.run(3_000)
    for unit in site.fleet.units:
        site.control._memory.worn.moves_s[unit.id] = deque([site.now_s] * MOST, maxlen=MOST)
        site.control._memory.worn.full.add(unit.id)
    site.control.meter(MeterReading(at_unix_s=site.wall(), heat_w=24_000.0))
    before = levels(site)
    site.ask(24_500.0)
    site.run(600)
    assert rose(site, before) == 0
