"""The storage tank: no heat is made or lost but by its walls, hot stays on top, and nobody is served with cold water."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.sim.tank import LAYERS, Tank, TankSpec

FLOW_W_PER_K = 60_000.0


@settings(max_examples=50)
@given(st.lists(st.tuples(st.floats(0.0, 2e6), st.floats(50.0, 80.0), st.floats(0.0, 120_000.0)), min_size=1, max_size=40))
def test_what_goes_in_comes_out_stays_or_is_lost(steps: list[tuple[float, float, float]]) -> None:
    tank = Tank(TankSpec(volume_m3=50.0), 70.0, 45.0)
    before_wh, put_in_wh = tank.stored_wh(45.0), 0.0
    for load_w, supply_c, flow_w_per_k in steps:
        flow = tank.step(60.0, flow_w_per_k, supply_c, load_w, 45.0)
        from_plant_w = flow_w_per_k * (supply_c - flow.plant_return_c)
        put_in_wh += (from_plant_w - flow.delivered_w) * 60.0 / 3_600.0
        assert flow.short_w >= 0.0
        assert flow.delivered_w <= load_w + 1e-6
    assert tank.stored_wh(45.0) == pytest.approx(before_wh + put_in_wh - tank.lost_j / 3_600.0, rel=1e-6, abs=50.0)


def test_surplus_charges_from_the_top_and_the_cold_bottom_goes_back_to_the_plant() -> None:
    tank = Tank(TankSpec(volume_m3=50.0, start_part=0.0), 70.0, 45.0)
    flow = tank.step(600.0, FLOW_W_PER_K, 70.0, 500_000.0, 45.0)
    assert flow.delivered_w == pytest.approx(500_000.0)
    assert flow.plant_return_c == pytest.approx(45.0)
    assert tank.layers_c[0] > tank.layers_c[-1]


def test_the_tank_makes_up_for_a_plant_that_gives_less() -> None:
    tank = Tank(TankSpec(volume_m3=50.0, start_part=1.0), 70.0, 45.0)
    flow = tank.step(60.0, FLOW_W_PER_K / 2, 65.0, 1_000_000.0, 45.0)
    assert flow.delivered_w == pytest.approx(1_000_000.0, rel=1e-3)


def test_an_empty_tank_serves_nothing_and_says_what_is_missing() -> None:
    tank = Tank(TankSpec(volume_m3=50.0, start_part=0.0), 70.0, 45.0)
    flow = tank.step(60.0, FLOW_W_PER_K / 2, 65.0, 1_000_000.0, 45.0)
    assert flow.short_w == pytest.approx(400_000.0, rel=1e-6)


def test_hot_water_stays_on_top() -> None:
    tank = Tank(TankSpec(volume_m3=50.0, start_part=0.5), 70.0, 45.0)
    for k in range(50):
        tank.step(60.0, FLOW_W_PER_K, 70.0, 1e6 if k % 2 else 2e6, 45.0)
        assert all(tank.layers_c[j] >= tank.layers_c[j + 1] - 1e-9 for j in range(LAYERS - 1))


def test_the_tank_serves_while_the_plant_stands_still_as_much_as_its_pipes_carry() -> None:
    tank = Tank(TankSpec(volume_m3=50.0, start_part=1.0, max_discharge_w=300_000.0), 70.0, 45.0)
    flow = tank.step(60.0, 0.0, 45.0, 1_000_000.0, 45.0)
    assert flow.delivered_w == pytest.approx(300_000.0, rel=1e-3)
    assert flow.short_w == pytest.approx(700_000.0, rel=1e-3)
