"""The heat to make: the demand's, the plan's, or what holds a supply temperature."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.heat import aim
from proxy.heat.arbitrate import Ruling, Rung
from proxy.heat.guidance import Guidance

POLICY = aim.Policy(rules_supply=True, capacity_w=2e6)
UNKNOWN = aim.Water(None, None, None)
PLAN = Guidance(
    heat_now_w=1.4e6, valid_until_unix_s=1e12, price_of_heat_per_kwh=None, electricity_per_kwh=0.05, work_per_th_day=0.05
)


def ruling(heat_w: float | None = 1e6, supply_c: float | None = None, rung: Rung = Rung.LIVE) -> Ruling:
    return Ruling(rung, heat_w, None, None, None, 0.0, "demand valid", supply_c)


def wanted(state: aim.State, asked: Ruling, water: aim.Water = UNKNOWN, **facts: Any) -> aim.Wanted:
    policy, guidance = facts.get("policy", POLICY), facts.get("guidance")
    return aim.wanted(
        state, policy, asked, water, guidance, facts.get("can_follow", True), facts.get("dt_s", 20.0), facts.get("soon_w")
    )


def test_a_heat_demand_is_the_heat_to_make():
    assert wanted(aim.State(), ruling()) == aim.Wanted(1e6)
    assert wanted(aim.State(), ruling(None)) == aim.Wanted(None)


def test_a_demand_that_follows_soon_is_met_half_way_and_no_further():
    assert wanted(aim.State(), ruling(), soon_w=1.01e6).heat_w == pytest.approx(1.01e6)
    assert wanted(aim.State(), ruling(), soon_w=2e6).heat_w == pytest.approx(1.015e6)
    assert wanted(aim.State(), ruling(), soon_w=0.0).heat_w == pytest.approx(0.985e6)
    assert wanted(aim.State(), ruling(rung=Rung.HOLD), soon_w=2e6).heat_w == 1e6
    assert wanted(aim.State(), ruling(None), soon_w=2e6).heat_w is None
    assert wanted(aim.State(), ruling(), soon_w=2e6, guidance=PLAN).heat_w == 1.4e6


def test_the_plan_replaces_a_live_demand_only():
    assert wanted(aim.State(), ruling(), guidance=PLAN) == aim.Wanted(1.4e6, "plan")
    assert wanted(aim.State(), ruling(rung=Rung.HOLD), guidance=PLAN).heat_w == 1e6
    assert wanted(aim.State(), ruling(None), guidance=PLAN).heat_w is None
    small = aim.Policy(rules_supply=True, capacity_w=1.2e6)
    assert wanted(aim.State(), ruling(), guidance=PLAN, policy=small).heat_w == 1.2e6


def test_with_both_in_a_demand_the_mode_says_which_one_rules():
    power = aim.Policy(rules_supply=False, capacity_w=2e6)
    water = aim.Water(1e6, 70.0, 50.0)
    assert wanted(aim.State(), ruling(1e6, 75.0), water, policy=power) == aim.Wanted(1e6)
    assert wanted(aim.State(), ruling(1e6, 75.0), water).supply_c == 75.0
    assert wanted(aim.State(), ruling(None, 75.0), water, policy=power).supply_c == 75.0


def test_while_the_water_is_unknown_what_was_found_last_goes_on():
    state = aim.State()
    assert wanted(state, ruling(9e5, 75.0)).heat_w == 9e5
    found = wanted(state, ruling(9e5, 75.0), aim.Water(1e6, 70.0, 50.0))
    again = wanted(state, ruling(9e5, 75.0))
    assert (again.heat_w, again.cause) == (found.heat_w, "supply temperature unknown")


def test_without_a_rise_the_flow_is_not_guessed():
    answer = wanted(aim.State(), ruling(None, 75.0), aim.Water(3e5, 51.0, 50.0))
    assert (answer.heat_w, answer.cause) == (3e5, "network flow unknown")


@pytest.mark.parametrize(("flow_w_per_k", "offset_k"), [(40_000.0, 0.0), (60_000.0, 1.0), (30_000.0, -1.5)])
def test_the_supply_temperature_comes_to_what_is_asked_although_the_sensor_of_heat_is_off(flow_w_per_k, offset_k):
    state, heat_w, return_c = aim.State(), 8e5, 50.0
    for _ in range(3_000):
        supply_c = return_c + heat_w / flow_w_per_k + offset_k
        want = wanted(state, ruling(None, 75.0), aim.Water(heat_w, supply_c, return_c)).heat_w
        heat_w += (want - heat_w) * 20.0 / 430.0
    assert supply_c == pytest.approx(75.0, abs=0.2)


def test_the_trim_waits_while_the_plant_cannot_follow_and_starts_anew_with_a_new_temperature():
    state, water = aim.State(), aim.Water(1e6, 70.0, 50.0)
    for _ in range(100):
        wanted(state, ruling(None, 75.0), water, can_follow=False)
    assert state.trim_k == 0.0
    for _ in range(100):
        wanted(state, ruling(None, 75.0), water)
    assert state.trim_k > 0.5
    wanted(state, ruling(None, 60.0), water, can_follow=False)
    assert state.trim_k == 0.0


@given(
    st.lists(st.tuples(st.none() | st.floats(), st.none() | st.floats(), st.none() | st.floats()), max_size=20), st.floats(20, 120)
)
def test_whatever_the_water_seems_the_heat_is_within_the_plant(waters, supply_c):
    state = aim.State()
    for heat_w, supply, back in waters:
        answer = wanted(state, ruling(1e6, supply_c), aim.Water(heat_w, supply, back))
        assert answer.heat_w is not None
        assert 0.0 <= answer.heat_w <= POLICY.capacity_w
        assert abs(state.trim_k) < 1e308
