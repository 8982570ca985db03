"""The water side: energy is never made or lost, and it settles where the equations say."""

import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.sim.plant import Plant, PlantSpec

LOOPS = ("loop-1", "loop-2", "loop-3", "loop-4")
SPEC = PlantSpec(loops=LOOPS, units_per_loop=57, unit_power_w=8_064.0)
NOMINAL_W = 57 * 8_064.0


def run(plant: Plant, seconds: float, each_w: float) -> None:
    for _ in range(int(seconds)):
        plant.advance(1.0, dict.fromkeys(LOOPS, each_w))


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.floats(0.0, 120.0), st.lists(st.floats(0.0, 1.2), min_size=4, max_size=4)), max_size=20),
    st.sampled_from([1.0, 60.0, 120.0]),
)
def test_heat_in_is_heat_out_plus_heat_stored(steps: list[tuple[float, list[float]]], time_scale: float) -> None:
    plant = Plant(SPEC, time_scale, power_w=0.7 * 4 * NOMINAL_W)
    stored_before_j = plant.stored_j + plant.in_pipe_j
    for dt_s, parts in steps:
        plant.advance(dt_s, {name: part * NOMINAL_W for name, part in zip(LOOPS, parts, strict=True)})
    change_j = plant.stored_j + plant.in_pipe_j - stored_before_j
    assert plant.input_j - plant.delivered_j == pytest.approx(change_j, abs=1e-6 * (plant.input_j + abs(plant.stored_j)))


@given(st.floats(0.0, 1.08))
@settings(max_examples=25)
def test_a_settled_plant_stays_where_it_is(part: float) -> None:
    plant = Plant(SPEC, 60.0, power_w=part * 4 * NOMINAL_W)
    before_c = plant.loops["loop-1"].hot_c
    run(plant, 20.0, part * NOMINAL_W)
    assert plant.loops["loop-1"].hot_c == pytest.approx(before_c, abs=0.01)
    assert plant.delivered_w == pytest.approx(part * 4 * NOMINAL_W * SPEC.efficiency, rel=1e-3, abs=1.0)


def test_full_power_gives_the_temperatures_of_the_design() -> None:
    plant = Plant(SPEC, power_w=4 * NOMINAL_W)
    inlet_c, outlet_c = plant.unit_temperatures_c("loop-1", 8_064.0)
    assert outlet_c == pytest.approx(plant.loops["loop-1"].hot_c, abs=0.1)
    assert 13.0 < outlet_c - inlet_c < 15.5
    assert 73.0 < plant.read_meter(random.Random(1)).supply_c < 78.0


def test_a_step_down_reaches_nine_tenths_within_ten_minutes() -> None:
    plant = Plant(SPEC, power_w=4 * NOMINAL_W)
    before_w = plant.delivered_w
    run(plant, 600.0, 0.55 * NOMINAL_W)
    assert (before_w - plant.delivered_w) / (0.45 * before_w) > 0.9


def test_a_scaled_plant_lives_the_same_life_faster() -> None:
    slow, fast = Plant(SPEC, 1.0, power_w=4 * NOMINAL_W), Plant(SPEC, 60.0, power_w=4 * NOMINAL_W)
    slow.advance(300.0, dict.fromkeys(LOOPS, 0.55 * NOMINAL_W))
    fast.advance(5.0, dict.fromkeys(LOOPS, 0.55 * NOMINAL_W))
    assert fast.delivered_w == pytest.approx(slow.delivered_w, rel=0.02)


def test_the_meter_is_noisy_but_its_register_is_not() -> None:
    plant = Plant(SPEC, 60.0, power_w=4 * NOMINAL_W)
    rng = random.Random(7)
    samples = [plant.read_meter(rng) for _ in range(2_000)]
    mean_w = sum(sample.heat_w for sample in samples) / len(samples)
    assert mean_w == pytest.approx(plant.delivered_w, rel=0.001)
    assert len({sample.heat_w for sample in samples}) > 1_900
    assert {sample.energy_wh for sample in samples} == {0.0}
    run(plant, 3_600.0 / 60.0, NOMINAL_W)
    assert plant.read_meter(rng).energy_wh == pytest.approx(plant.delivered_w / 60.0, rel=0.01)


def test_time_does_not_go_back() -> None:
    with pytest.raises(ValueError, match="go back"):
        Plant(SPEC).advance(-1.0, {})


def test_a_loop_without_units_running_cools_to_the_return_and_no_further() -> None:
    plant = Plant(SPEC, 60.0, power_w=4 * NOMINAL_W)
    run(plant, 3_600.0, 0.0)
    assert SPEC.return_c <= plant.loops["loop-3"].cold_c <= plant.loops["loop-3"].hot_c < SPEC.return_c + 10.0


def test_a_dry_loop_gets_hot_and_hands_over_next_to_nothing() -> None:
    plant = Plant(SPEC, power_w=4 * NOMINAL_W)
    plant.loops["loop-1"].pump = 0.0
    before_w = plant.loops["loop-1"].heat_w
    run(plant, 120.0, NOMINAL_W)
    assert plant.loops["loop-1"].hot_c > plant.loops["loop-2"].hot_c + 5.0
    assert plant.loops["loop-1"].heat_w < 0.5 * before_w
    assert plant.loop_flow_l_per_min("loop-1") < 0.05 * plant.loop_flow_l_per_min("loop-2")


def test_a_fouled_exchanger_needs_hotter_water_for_the_same_heat() -> None:
    plant = Plant(msgspec.structs.replace(SPEC, network="constant"), power_w=4 * NOMINAL_W)
    plant.loops["loop-1"].exchanger = 0.2
    run(plant, 3_600.0, NOMINAL_W)
    assert plant.loops["loop-1"].hot_c > plant.loops["loop-2"].hot_c + 1.0
    assert plant.delivered_w == pytest.approx(4 * NOMINAL_W * SPEC.efficiency, rel=0.01)


@pytest.mark.parametrize("part", [0.3, 0.7, 1.0])
def test_a_pumped_network_holds_its_supply_temperature(part: float) -> None:
    spec = msgspec.structs.replace(SPEC, network="supply")
    plant = Plant(spec, power_w=0.6 * 4 * NOMINAL_W)
    run(plant, 7_200.0, part * NOMINAL_W)
    assert plant.supply_c == pytest.approx(spec.nominal_supply_c, abs=1.0)
    assert plant.delivered_w == pytest.approx(part * 4 * NOMINAL_W * spec.efficiency, rel=0.01)


def test_a_pumped_network_does_not_ring_after_a_step() -> None:
    spec = msgspec.structs.replace(SPEC, network="supply")
    plant = Plant(spec, power_w=0.8 * NOMINAL_W * len(LOOPS))
    delivered_w = []
    for _ in range(3_600):
        plant.advance(1.0, dict.fromkeys(LOOPS, 0.6 * NOMINAL_W))
        delivered_w.append(plant.delivered_w)
    wanted_w = 0.6 * NOMINAL_W * len(LOOPS) * spec.efficiency
    assert delivered_w[-1] == pytest.approx(wanted_w, rel=0.01)
    assert min(delivered_w) > 0.93 * wanted_w


def test_customers_draw_their_load_and_cool_the_water_when_too_little_heat_is_made() -> None:
    spec = msgspec.structs.replace(SPEC, network="load")
    plant = Plant(spec, power_w=0.6 * 4 * NOMINAL_W)
    warm_c = plant.supply_c
    run(plant, 3_600.0, 0.6 * NOMINAL_W)
    assert plant.supply_c == pytest.approx(warm_c, abs=0.5)
    run(plant, 1_800.0, 0.5 * NOMINAL_W)
    assert plant.supply_c < warm_c - 2.0


def test_loops_of_one_network_do_not_drift_apart_and_one_without_flow_cools_nobody() -> None:
    """The loop that makes more gets warmer and gives more, where customers draw; with its pump off its exchanger is shut."""
    spec = msgspec.structs.replace(SPEC, network="load")
    plant = Plant(spec, power_w=0.6 * 4 * NOMINAL_W)
    uneven = {name: (0.55 + 0.1 * (k % 2)) * NOMINAL_W for k, name in enumerate(LOOPS)}
    for _ in range(8 * 3_600):
        plant.advance(1.0, uneven)
    hot_c = [loop.hot_c for loop in plant.loops.values()]
    assert max(hot_c) - min(hot_c) < 8.0
    before_c = plant.supply_c
    plant.loops[LOOPS[0]].pump = 0.0
    plant.load_w *= 0.75
    for _ in range(60):
        plant.advance(1.0, uneven | {LOOPS[0]: 0.0})
    assert plant.supply_c == pytest.approx(before_c, abs=3.0)


def test_loops_of_different_size_share_the_heat_by_their_units() -> None:
    spec = msgspec.structs.replace(SPEC, loops=("a", "b"), sizes=(10, 30))
    plant = Plant(spec, power_w=40 * 8_064.0)
    assert plant.loops["b"].heat_w == pytest.approx(3 * plant.loops["a"].heat_w)
    assert plant.loops["b"].hot_c == pytest.approx(plant.loops["a"].hot_c)
