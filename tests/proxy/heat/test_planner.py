"""The linear program: the same optimum as trying everything, every balance and limit kept, and plain words where heat is short."""

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.heat.plan import Boiler, NoPlan, Problem
from proxy.heat.planner import END_FACTOR, MOVE_PER_KWH, _highest_price, solve
from tests.support.plans import hours, kw_segment, planned, problem, tank, winter_days

SEGMENTS = (kw_segment(2, 0.10), kw_segment(2, 0.05), kw_segment(1, 0.02))


def objective(given: Problem) -> float:
    """What the program minimises, of its own plan: money, the moving of heat, and what the tank lacks in the end."""
    plan = planned(given)
    moved_kwh = sum(abs(block.tank_charge_w) * block.length_s / 3.6e6 for block in plan.blocks)
    lacks_kwh = 0.0
    if given.tank is not None and given.tank.content_wh is not None:
        lacks_kwh = max(0.0, given.tank.content_wh - (plan.blocks[-1].tank_wh or 0.0)) / 1000
    money = plan.electricity_cost + plan.backup_cost - plan.work_revenue
    return money + MOVE_PER_KWH * moved_kwh + END_FACTOR * _highest_price(given) * lacks_kwh


def tried_all(demand_kw: list[int], prices: list[float], capacity: int, charge: int, content: int) -> float:
    """The same by trying every path of a tank in whole kWh: with whole numbers and no loss, the best path is one of them."""
    best = math.inf
    for path in itertools.product(range(capacity + 1), repeat=len(demand_kw)):
        cost, before = 0.0, content
        for level, demand, price in zip(path, demand_kw, prices, strict=True):
            moved = level - before
            units = demand + moved
            if abs(moved) > charge or not 0 <= units <= 5:
                break
            worth = 0.10 * min(units, 2) + 0.05 * min(max(units - 2, 0), 2) + 0.02 * max(units - 4, 0)
            cost += units * price - worth + MOVE_PER_KWH * abs(moved)
            before = level
        else:
            if before >= content:
                best = min(best, cost)
    return best


@settings(max_examples=40)
@given(
    demand_kw=st.lists(st.integers(0, 5), min_size=4, max_size=4),
    prices=st.lists(st.sampled_from([-0.01, 0.0, 0.03, 0.06, 0.12, 0.4]), min_size=4, max_size=4),
    capacity=st.integers(1, 4),
    charge=st.integers(1, 3),
    part=st.floats(0, 1),
)
def test_the_plan_is_the_best_of_all_paths_of_the_tank(demand_kw, prices, capacity, charge, part):
    content = round(part * capacity)
    given = problem(hours(demand_kw, prices), SEGMENTS, tank=tank(capacity, charge, content))
    assert objective(given) == pytest.approx(tried_all(demand_kw, prices, capacity, charge, content), abs=1e-6)


def test_a_tank_that_holds_almost_nothing_is_planned_as_empty():
    plan = planned(problem(hours([7, 7], [0.1, 0.1]), SEGMENTS, tank=tank(1.0, 1.0, 2.2e-311)))
    assert plan.blocks[0].tank_wh is not None


@settings(max_examples=60)
@given(data=st.data())
def test_every_plan_balances_and_keeps_every_limit(data):
    count = data.draw(st.integers(1, 8))
    numbers = st.lists(st.floats(0, 30), min_size=count, max_size=count)
    blocks = hours(data.draw(numbers), data.draw(st.lists(st.floats(-0.5, 0.5), min_size=count, max_size=count)))
    capacity = data.draw(st.floats(0.1, 50))
    store = tank(capacity, data.draw(st.floats(0, 20)), data.draw(st.floats(0, 1)) * capacity, data.draw(st.floats(0, 0.5)))
    boiler = data.draw(st.none() | st.builds(Boiler, st.floats(0, 20_000), st.floats(0, 1), st.booleans()))
    given = problem(
        blocks,
        SEGMENTS,
        asleep_w=100.0,
        efficiency=data.draw(st.floats(0.5, 1)),
        tank=store,
        boiler=boiler,
        min_power_w=data.draw(st.floats(0, 6_000)),
        max_power_w=data.draw(st.none() | st.floats(200, 6_000)),
        ramp_w_per_min=data.draw(st.floats(1, 1_000)),
        power_now_w=data.draw(st.none() | st.floats(0, 6_000)),
    )
    plan = planned(given)
    most_w = min(5_100.0, math.inf if given.max_power_w is None else given.max_power_w)
    before_wh, before = store.content_wh or 0.0, None
    near = 1e-2  # watts and watt hours of megawatts
    for block in plan.blocks:
        made_w = block.units_heat_w + block.backup_w + block.short_w
        assert made_w == pytest.approx(block.demand_w + block.tank_charge_w + block.surplus_w, abs=near)
        assert block.units_heat_w == pytest.approx(block.power_w * given.thermal_efficiency, abs=near)
        assert min(max(100.0, given.min_power_w), most_w) - near <= block.power_w <= most_w + near
        assert abs(block.tank_charge_w) <= store.max_charge_w + near
        kept = (1 - store.loss_per_day) ** (block.length_s / 86_400)
        assert block.tank_wh == pytest.approx(before_wh * kept + block.tank_charge_w * block.length_s / 3600, abs=near)
        assert -near <= block.tank_wh <= store.capacity_wh + near
        assert -near <= block.backup_w <= (0.0 if boiler is None else boiler.max_w) + near
        assert min(block.short_w, block.surplus_w) >= -near
        if before is not None:
            assert abs(block.power_w - before) <= given.ramp_w_per_min * 60 + near
        before_wh, before = block.tank_wh, block.power_w


def test_the_tank_is_filled_in_cheap_hours_and_emptied_in_dear_ones():
    given = problem(
        hours([4.0] * 6, [0.02, 0.02, 0.05, 0.30, 0.30, 0.05]),
        (kw_segment(8, 0.01),),
        tank=tank(6, 3, 0.0),
    )
    plan = planned(given)
    charges_kw = [round(block.tank_charge_w / 1000, 6) for block in plan.blocks]
    assert charges_kw == [3, 3, 0, -3, -3, 0]
    without = planned(problem(given.blocks, given.fleet.segments))
    assert plan.electricity_cost - plan.work_revenue < without.electricity_cost - without.work_revenue - 1.5
    assert [block.units_heat_w for block in without.blocks] == pytest.approx([4_000] * 6)


def test_nothing_is_moved_for_nothing():
    plan = planned(problem(hours([4.0] * 6, [0.05] * 6), (kw_segment(8, 0.01),), tank=tank(6, 3, 3.0)))
    assert [block.tank_charge_w for block in plan.blocks] == pytest.approx([0.0] * 6, abs=1e-6)


# Two hours that are dearer by 0.04 give 0.08 for a kW that goes up by one and down by two.
@pytest.mark.parametrize(("change_per_kw", "charges_kw"), [(0.0, [1, 1, -1, -1]), (0.025, [1, 1, -1, -1]), (0.028, [0, 0, 0, 0])])
def test_power_is_moved_only_where_it_is_worth_its_wear(change_per_kw, charges_kw):
    blocks = hours([4.0] * 4, [0.03, 0.03, 0.07, 0.07])
    given = problem(blocks, (kw_segment(8, 0.01),), tank=tank(9, 1, 4.0), change_per_kw=change_per_kw, power_now_w=4_000.0)
    assert [round(block.tank_charge_w / 1000, 2) for block in planned(given).blocks] == charges_kw


@settings(max_examples=20)
@given(power_now_w=st.floats(3_000, 5_000), noise=st.lists(st.floats(-0.004, 0.004), min_size=12, max_size=12))
def test_prices_that_hardly_differ_move_nobody(power_now_w, noise):
    """Many plans cost the same in hours of one price: the one that stays where the units are is the plan."""
    blocks = hours([4.0] * 12, [0.05 + each for each in noise])
    given = problem(
        blocks, (kw_segment(8, 0.03),), tank=tank(60, 3, 30.0), change_per_kw=0.05, power_now_w=power_now_w, reserve=0.02
    )
    powers_w = [block.power_w for block in planned(given).blocks]
    travelled_w = sum(abs(after - before) for before, after in itertools.pairwise([power_now_w, *powers_w]))
    assert travelled_w <= 2 * abs(power_now_w - 4_000) + 1


def test_wear_moves_no_price_of_heat_where_the_demand_alone_decides():
    blocks = hours([4.0, 6.0, 4.0], [0.05] * 3)
    prices = [
        [block.price_of_heat_per_kwh for block in planned(problem(blocks, SEGMENTS, change_per_kw=wear, reserve=0.3)).blocks]
        for wear in (0.0, 1.0)
    ]
    assert prices[0] == pytest.approx(prices[1])


def test_the_reserve_is_left_to_lost_units_as_long_as_the_tank_can_give():
    blocks = hours([9.0, 10.0, 9.0], [0.1] * 3)
    segments = (kw_segment(10, 0.1),)
    with_tank = planned(problem(blocks, segments, tank=tank(5, 5, 4.0), reserve=0.05))
    assert max(block.power_w for block in with_tank.blocks) == pytest.approx(10_000 / 1.05)
    without = planned(problem(blocks, segments, reserve=0.05))
    assert without.shortfalls == ()
    assert without.blocks[1].power_w == pytest.approx(10_000)
    behind_a_boiler = planned(problem(blocks, segments, boiler=Boiler(5_000, 0.09), reserve=0.05))
    assert behind_a_boiler.blocks[1].backup_w == pytest.approx(0, abs=1e-3)


def test_a_tank_of_unknown_content_is_left_alone():
    plan = planned(problem(hours([4.0] * 4, [0.02, 0.02, 0.3, 0.3]), tank=tank(6, 3, None)))
    assert all(block.tank_charge_w == 0 and block.tank_wh is None for block in plan.blocks)


def test_the_tank_ends_as_full_as_it_began_however_dear_the_last_hour():
    plan = planned(problem(hours([4.0] * 4, [0.05, 0.05, 0.05, 0.5]), tank=tank(6, 3, 3.0)))
    assert plan.blocks[-1].tank_wh == pytest.approx(3_000)


def test_the_tank_may_end_emptier_where_heat_would_be_missing():
    plan = planned(problem(hours([12.0], [0.05]), tank=tank(6, 3, 3.0)))
    assert (plan.shortfalls, plan.blocks[0].tank_charge_w) == ((), pytest.approx(-2_000))


@pytest.mark.parametrize("k", [0, 3])
def test_the_price_of_heat_is_what_one_more_kwh_costs(k):
    demand_kw = [2.5, 4.5, 3.5, 1.5]
    prices = [0.04, 0.09, 0.12, 0.03]

    def cost(more_kw: float) -> float:
        asked = [kw + (more_kw if position == k else 0) for position, kw in enumerate(demand_kw)]
        return objective(problem(hours(asked, prices), SEGMENTS, efficiency=0.95, tank=tank(1, 0.5, 0.5, 0.02)))

    price = planned(problem(hours(demand_kw, prices), SEGMENTS, efficiency=0.95, tank=tank(1, 0.5, 0.5, 0.02))).blocks[k]
    assert price.price_of_heat_per_kwh == pytest.approx(cost(0.01) * 100 - cost(0.0) * 100, rel=1e-4)


def test_missing_heat_has_no_price_and_is_told_in_words():
    plan = planned(problem(hours([8.0, 15.0, 8.0, 8.0], [0.05] * 4), tank=tank(4, 2, 0.0), boiler=Boiler(1_000, 0.09)))
    assert [round(block.short_w) for block in plan.blocks] == [0, 2_000, 0, 0]
    assert plan.blocks[1].price_of_heat_per_kwh is None
    (short,) = plan.shortfalls
    assert (short.is_surplus, round(short.most_w), round(short.energy_wh)) == (False, 2_000, 2_000)
    assert short.text.startswith("heat is short by up to 2.0 kW from 01:00 UTC for 1.0 h (2.0 kWh): the units give at most 10.0 kW")
    assert "the boiler gives 1.0 kW" in short.text
    assert "the tank moves 2.0 kW at most" in short.text


def test_a_ramp_that_is_too_slow_is_named():
    plan = planned(problem(hours([2.0, 9.0], [0.05] * 2), ramp_w_per_min=50.0, power_now_w=2_000.0))
    assert any("the ramp of 0.1 kW a minute" in short.text for short in plan.shortfalls)
    assert "there is no back-up boiler, and there is no tank" in plan.shortfalls[-1].text


def test_heat_that_nobody_wants_is_told():
    plan = planned(problem(hours([1.0, 5.0], [0.05] * 2), min_power_w=3_000.0, tank=tank(4, 2, None)))
    (surplus,) = plan.shortfalls
    assert surplus.is_surplus
    assert "more heat than is wanted, by up to 2.0 kW" in surplus.text
    assert "heat.min_power_w" in surplus.text
    assert "unknown (PUT /api/v1/heat/tank)" in surplus.text


def test_a_boiler_nobody_runs_by_plan_is_the_last_resort_and_one_that_follows_the_plan_is_used_when_cheaper():
    blocks = hours([4.0, 4.0], [0.05, 0.5])
    last = planned(problem(blocks, boiler=Boiler(10_000, 0.09, is_last=True)))
    assert [block.backup_w for block in last.blocks] == pytest.approx([0, 0], abs=1e-6)
    follows = planned(problem(blocks, boiler=Boiler(10_000, 0.09, is_last=False)))
    assert [block.backup_w for block in follows.blocks] == pytest.approx([0, 4_000], abs=1e-3)
    assert follows.backup_cost == pytest.approx(0.36)


def test_the_boiler_of_last_resort_has_its_own_price():
    plan = planned(problem(hours([12.0, 4.0], [0.05, 0.05]), boiler=Boiler(10_000, 0.09)))
    assert [block.price_of_heat_per_kwh for block in plan.blocks] == pytest.approx([0.09, -0.05])


def test_a_cap_wins_over_the_minimum():
    plan = planned(problem(hours([4.0], [0.05]), min_power_w=6_000.0, max_power_w=3_000.0))
    assert plan.blocks[0].power_w == pytest.approx(3_000)


def test_without_blocks_there_is_no_plan_and_a_reason():
    answer = solve(problem(()))
    assert isinstance(answer, NoPlan)
    assert "send a demand" in answer.reasons[0]


def test_a_cap_below_sleep_is_no_plan():
    answer = solve(problem(hours([4.0], [0.05]), asleep_w=500.0, max_power_w=100.0))
    assert isinstance(answer, NoPlan)
    assert "raise the cap" in answer.reasons[0]


def test_a_site_without_units_plans_with_what_it_has():
    plan = planned(problem(hours([2.0], [0.05]), (), boiler=Boiler(5_000, 0.09)))
    assert plan.blocks[0].backup_w == pytest.approx(2_000)


def test_the_same_problem_gives_the_same_plan():
    given = problem(winter_days(2), (kw_segment(5_000, 0.16), kw_segment(2_000, 0.12)), tank=tank(20_000, 4_000, 5_000, 0.02))
    assert planned(given) == planned(given)


def test_the_solver_prints_nothing(capfd):
    planned(problem(hours([4.0], [0.05])))
    assert capfd.readouterr() == ("", "")
