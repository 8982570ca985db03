"""From what is known to the problem to plan: who says what the demand will be, where knowledge ends, and what the fleet can do."""

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy import config
from proxy.config_heat import Heat, HeatCosts, HeatCurve, Planner
from proxy.heat.forecast import Forecasts, Limits, Sent, Series, TankReading
from proxy.heat.horizon import MAX_SEGMENTS, Horizon, Now, fleet_of, horizon
from proxy.heat.plan import Learned
from proxy.units.unit import LevelFact, UnitState
from tests.support.plans import LEVELS, START_UNIX_S, UNSEEN, make_image

NOW = START_UNIX_S + 300.0  # five minutes into a block
PLANNER = Planner(enabled=True, horizon_h=2, tank_capacity_wh=5e6, tank_max_charge_w=1e6)


def ahead(
    heat: Heat | None = None,
    sent: Sent | None = None,
    tank_wh: float | None = 2e6,
    demand_w: float | None = 1e5,
    taken: dict[float, float] | None = None,
    now_unix_s: float = NOW,
    learned: Learned = UNSEEN,
) -> Horizon:
    """The horizon of three units; `taken`: demands taken already, by the time they begin (until the next begins)."""
    forecasts = Forecasts(Limits(capacity_w=1e7, max_clock_skew_s=60.0, tank_capacity_wh=5e6, tank_stale_s=1_800.0))
    if sent is not None:
        forecasts.take(sent, now_unix_s)
    if tank_wh is not None:
        forecasts.take_tank(TankReading(now_unix_s, tank_wh), now_unix_s)

    def demand_at(unix_s: float) -> float | None:
        begun = [start for start in (taken or {}) if start <= unix_s]
        return (taken or {})[max(begun)] if begun else None

    now = Now(now_unix_s, demand_w, learned, None, demand_at)
    return horizon(heat or Heat(planner=PLANNER), forecasts, fleet_of([make_image(k) for k in range(3)], learned), now)


def series(*values: float | None, step_s: float = 900.0) -> Series:
    return Series(START_UNIX_S, step_s, values)


def capped_at(loop_caps_w: dict[str, float | None]) -> Learned:
    return msgspec.structs.replace(UNSEEN, loop_caps_w=loop_caps_w)


def demands(found: Horizon) -> list[float]:
    return [block.demand_w for block in found.problem.blocks]


def test_blocks_begin_now_and_follow_the_clock():
    blocks = ahead(taken={0: 2e5}).problem.blocks
    assert (blocks[0].start_unix_s, blocks[0].length_s) == (NOW, 600.0)
    assert all(block.start_unix_s % 900 == 0 and block.length_s == 900 for block in blocks[1:])
    assert len(blocks) == 9


def test_a_rest_of_a_block_that_is_too_short_is_joined_with_the_next():
    blocks = ahead(taken={0: 2e5}, now_unix_s=START_UNIX_S + 870.0).problem.blocks
    assert (blocks[0].length_s, blocks[1].start_unix_s) == (930.0, START_UNIX_S + 1_800.0)


def test_the_schedule_says_what_comes_and_the_demand_what_is():
    found = ahead(sent=Sent(NOW, None, demand_w=series(9e5, 2e5, 3e5)), taken={0: 7e5})
    assert demands(found)[:4] == [1e5, 2e5, 3e5, 7e5]


def test_the_plan_ends_where_nobody_says_what_is_wanted():
    found = ahead(sent=Sent(NOW, None, demand_w=series(9e5, 2e5, 3e5, None, 4e5)))
    assert demands(found) == [1e5, 2e5, 3e5]
    assert "the demand is known for 0.7 of 2 h" in found.notes[0]


def test_without_any_demand_there_are_no_blocks():
    assert ahead(demand_w=None).problem.blocks == ()


def test_the_heat_curve_fills_in_where_the_outdoor_temperature_is_forecast():
    heat = Heat(planner=PLANNER, curve=HeatCurve(points=[(-20.0, 4e5), (20.0, 0.0)]))
    found = ahead(heat, Sent(NOW, None, outdoor_c=series(-20, -10, 0, 30)))
    assert demands(found) == [1e5, 3e5, 2e5, 0.0]
    assert demands(ahead(sent=Sent(NOW, None, outdoor_c=series(-20, -10)))) == [1e5]


def test_prices_are_the_forecasts_and_else_those_of_the_site_file():
    sent = Sent(NOW, None, electricity_per_kwh=series(0.2, None), work_per_th_day=series(0.1, 0.2))
    found = ahead(sent=sent, taken={0: 1e5})
    costs = config.HeatCosts()
    assert [block.electricity_per_kwh for block in found.problem.blocks[:3]] == [
        0.2,
        costs.electricity_per_kwh,
        costs.electricity_per_kwh,
    ]
    assert [block.work_per_th_day for block in found.problem.blocks[:3]] == [0.1, 0.2, costs.work_per_th_day]
    assert any("no electricity price is known from 00:15 UTC on" in note for note in found.notes)


def test_an_unknown_tank_is_named_and_a_site_without_one_has_none():
    found = ahead(tank_wh=None)
    assert found.problem.tank is not None
    assert found.problem.tank.content_wh is None
    assert any("PUT /api/v1/heat/tank" in note for note in found.notes)
    assert ahead(Heat(planner=Planner(enabled=True))).problem.tank is None


def test_the_boiler_is_the_last_resort_unless_somebody_runs_it_by_plan():
    boilers = [
        ahead(Heat(planner=Planner(enabled=True, backup_max_w=1e6, backup_follows_plan=follows))).problem.boiler
        for follows in (False, True)
    ]
    assert [boiler is not None and boiler.is_last for boiler in boilers] == [True, False]


def test_units_out_of_reach_count_for_nothing():
    out = [make_image(k, state=state) for k, state in enumerate((UnitState.FAULT, UnitState.SERVICE, UnitState.OFFLINE))]
    fleet = fleet_of([*out, make_image(4, may_command=False), make_image(5), make_image(6, state=UnitState.SLEEPING)], UNSEEN)
    assert fleet.most_w == pytest.approx(2 * LEVELS[-1].power_w)
    assert fleet.asleep_w == pytest.approx(2 * LEVELS[0].power_w)


def test_the_plan_counts_with_what_was_found_out():
    learned = Learned(efficiency=0.9, power_scale=1.1, heat_w=18_000.0, loop_caps_w={})
    seen = ahead(learned=learned, heat=Heat(planner=PLANNER, thermal_efficiency=0.97, reserve=0.04)).problem
    assert (seen.thermal_efficiency, seen.reserve) == (0.9, 0.04)
    assert seen.power_now_w == pytest.approx(20_000.0)
    nameplate = fleet_of([make_image(k) for k in range(3)], UNSEEN)
    assert seen.fleet.most_w == pytest.approx(1.1 * nameplate.most_w)
    assert sum(segment.hashrate_hps for segment in seen.fleet.segments) == pytest.approx(3 * LEVELS[-1].hashrate_hps)


def test_a_plant_that_was_not_looked_at_yet_may_begin_anywhere():
    assert ahead().problem.power_now_w is None


def test_moving_a_kilowatt_costs_a_level_change_of_the_average_step():
    found = ahead(heat=Heat(planner=PLANNER, costs=HeatCosts(switch=0.03))).problem
    steps_kw = (LEVELS[-1].power_w - LEVELS[1].power_w) / 4 / 1000
    assert found.change_per_kw == pytest.approx(0.03 / steps_kw)
    one_level = fleet_of([make_image(levels=LEVELS[:2])], UNSEEN)
    assert one_level.step_w == pytest.approx(LEVELS[1].power_w - LEVELS[0].power_w)
    assert fleet_of([], UNSEEN).step_w is None


def test_segments_fall_in_worth_and_add_up_to_the_fleet():
    fleet = fleet_of([make_image(k) for k in range(7)], UNSEEN)
    worth = [segment.hashrate_hps / segment.power_w for segment in fleet.segments]
    assert worth == sorted(worth, reverse=True)
    assert sum(segment.hashrate_hps for segment in fleet.segments) == pytest.approx(7 * LEVELS[-1].hashrate_hps)


def test_a_level_that_no_mix_would_use_is_no_segment():
    levels = (LevelFact(10.0, 0.0), LevelFact(2_010.0, 50e12), LevelFact(4_010.0, 200e12))
    (segment,) = fleet_of([make_image(levels=levels)], UNSEEN).segments
    assert (segment.power_w, segment.hashrate_hps) == (4_000.0, 200e12)


def test_the_cap_of_a_loop_takes_its_worst_segments():
    images = [make_image(k, loop="a" if k < 5 else "b") for k in range(10)]
    capped = fleet_of(images, capped_at({"a": 25_000.0, "b": None}))
    assert capped.most_w == pytest.approx(25_000.0 + 5 * LEVELS[-1].power_w)
    assert fleet_of(images, capped_at({"a": 10.0})).most_w == pytest.approx(5 * LEVELS[0].power_w + 5 * LEVELS[-1].power_w)


@given(st.lists(st.lists(st.tuples(st.floats(1, 9_000), st.floats(0, 500e12)), min_size=1, max_size=6), min_size=1, max_size=12))
def test_any_fleet_becomes_few_falling_segments_that_keep_its_power(kinds):
    images = [make_image(k, levels=(LevelFact(1.0, 0.0), *(LevelFact(*fact) for fact in kind))) for k, kind in enumerate(kinds)]
    fleet = fleet_of(images, UNSEEN)
    assert len(fleet.segments) <= MAX_SEGMENTS
    worth = [segment.hashrate_hps / segment.power_w for segment in fleet.segments]
    assert all(later <= earlier + 1e-6 * abs(earlier) + 1e-6 for earlier, later in itertools.pairwise(worth))
    assert fleet.most_w <= sum(max(fact.power_w for fact in image.levels) for image in images) + 1e-6
