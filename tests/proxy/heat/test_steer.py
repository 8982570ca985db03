"""What a block of the plan means for the units: the demand of the moment, and what tank and boiler add to it or take off it."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config_heat import Planner
from proxy.heat.steer import guidance_of
from tests.support.plans import hours, planned, problem, tank

PLANNER = Planner(tank_capacity_wh=5_000, tank_max_charge_w=2_000)
BLOCK = msgspec.structs.replace(planned(problem(hours([4.0], [0.05]), tank=tank(5, 2, 2.5))).blocks[0], tank_charge_w=1_500.0)


def heat_now_w(
    charge_w: float, tank_wh: float | None, demand_w: float | None = 4_000.0, planner: Planner = PLANNER
) -> float | None:
    block = msgspec.structs.replace(BLOCK, tank_charge_w=charge_w, backup_w=500.0)
    return guidance_of(planner, block, demand_w, tank_wh, 0.0).heat_now_w


@pytest.mark.parametrize(
    ("charge_w", "tank_wh", "expected_w"),
    [
        (1_500.0, 2_500.0, 5_500.0),
        (-1_500.0, 2_500.0, 2_500.0),
        (1_500.0, 5_000.0, None),
        (-1_500.0, 0.0, None),
        (1_500.0, 0.0, 5_500.0),
        (-1_500.0, 5_000.0, 2_500.0),
        (1_500.0, None, None),
        (0.0, 2_500.0, None),
    ],
)
def test_units_make_the_demand_and_what_the_tank_takes(charge_w: float, tank_wh: float | None, expected_w: float | None) -> None:
    assert heat_now_w(charge_w, tank_wh) == expected_w


@pytest.mark.parametrize(
    ("off_w", "expected_w"),
    # A tenth of what can be moved in and out of the tank is 200 W: that much of a demand that is off the plan is the tank's.
    [(0.0, 5_000.0), (150.0, 5_000.0), (-150.0, 5_000.0), (300.0, 5_100.0), (-300.0, 4_900.0)],
)
def test_the_tank_takes_what_the_demand_is_a_little_off_the_plan(off_w: float, expected_w: float) -> None:
    assert heat_now_w(1_000.0, 2_500.0, 4_000.0 + off_w) == pytest.approx(expected_w)


def test_units_never_make_less_than_nothing() -> None:
    assert heat_now_w(-1_500.0, 2_500.0, 1_000.0) == 0.0


def test_a_tank_without_room_takes_nothing_of_it() -> None:
    assert heat_now_w(0.0, 5_000.0, 3_900.0) is None
    assert heat_now_w(0.0, 0.0, 4_100.0) is None


def test_a_boiler_that_follows_the_plan_is_left_its_share() -> None:
    follows = msgspec.structs.replace(PLANNER, backup_follows_plan=True)
    assert heat_now_w(0.0, 2_500.0, planner=follows) == 3_500.0


def test_without_a_demand_the_plan_has_no_word_on_heat_but_on_prices() -> None:
    guidance = guidance_of(PLANNER, BLOCK, None, 2_500.0, 7.0)
    assert (guidance.heat_now_w, guidance.electricity_per_kwh, guidance.valid_until_unix_s) == (None, 0.05, 7.0)


@given(st.floats(-2_000, 2_000), st.floats(0, 6_000), st.floats(0, 10_000), st.floats(0, 10_000))
def test_more_demand_never_means_less_heat(charge_w: float, tank_wh: float, demand_w: float, more_w: float) -> None:
    def made_w(asked_w: float) -> float:
        heat_w = heat_now_w(charge_w, tank_wh, asked_w)
        return asked_w if heat_w is None else heat_w

    assert made_w(demand_w + more_w) >= made_w(demand_w)
    assert made_w(demand_w) >= 0
