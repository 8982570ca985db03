import itertools

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from proxy.heat.dispatch import Limits, Plan, Prices, UnitChoice, dispatch
from proxy.units.unit import LevelFact

NAMES = ("a", "b", "c")


@st.composite
def menus(draw: st.DrawFn) -> tuple[LevelFact, ...]:
    steps = draw(st.lists(st.integers(100, 3_000), min_size=1, max_size=4))
    sleep_w = draw(st.integers(0, 50))
    facts = [LevelFact(float(sleep_w), 0.0)]
    for step in steps:
        facts.append(LevelFact(facts[-1].power_w + step, facts[-1].hashrate_hps + draw(st.integers(0, 5_000)) * 1e9))
    return tuple(facts)


@st.composite
def choices(draw: st.DrawFn, kinds: list[tuple[LevelFact, ...]]) -> UnitChoice:
    levels = draw(st.sampled_from(kinds))
    return UnitChoice(
        loop=draw(st.integers(0, 2)),
        levels=levels,
        current=draw(st.integers(0, len(levels) - 1)),
        ceiling=draw(st.integers(0, len(levels) - 1)),
        locked=draw(st.booleans()) and draw(st.booleans()),
        dwells=draw(st.booleans()) and draw(st.booleans()),
        rests=draw(st.booleans()) and draw(st.booleans()),
        floor=draw(st.integers(0, 1)),
        may_wake=draw(st.booleans()),
        drawn_w=draw(st.none() | st.floats(0, 8_000)),
        wear=draw(st.floats(0, 10)),
    )


@st.composite
def fleets(draw: st.DrawFn, most: int = 12) -> list[UnitChoice]:
    kinds = draw(st.lists(menus(), min_size=1, max_size=3))
    return draw(st.lists(choices(kinds), min_size=1, max_size=most))


caps = st.none() | st.floats(0, 40_000)
limits = st.builds(
    Limits,
    loop_names=st.just(NAMES),
    loop_caps_w=st.tuples(caps, caps, caps),
    loop_changes=st.tuples(st.integers(1, 12), st.integers(1, 12), st.integers(1, 12)),
    site_cap_w=caps,
)
targets = st.floats(0, 100_000)


def drawn(unit: UnitChoice, level: int) -> float:
    stays = unit.locked or (unit.dwells and unit.current <= unit.ceiling)
    if stays and unit.drawn_w is not None and level == unit.current:
        return unit.drawn_w
    return unit.levels[level].power_w


def may_wake(unit: UnitChoice) -> bool:
    return unit.may_wake and not unit.rests


def lowest_level(unit: UnitChoice) -> int:
    return min(unit.floor, unit.ceiling) if unit.current > 0 or may_wake(unit) else 0


def lowest(unit: UnitChoice) -> float:
    """The least a unit can draw in this cycle."""
    if unit.locked or (unit.dwells and unit.current <= unit.ceiling):
        return drawn(unit, unit.current)
    first = lowest_level(unit)
    return min(unit.levels[level].power_w for level in range(first, unit.ceiling + 1))


def total(units: list[UnitChoice], plan: Plan, loop: int | None = None) -> float:
    pairs = zip(units, plan.levels, strict=True)
    return sum(drawn(unit, level) for unit, level in pairs if loop is None or unit.loop == loop)


@given(fleets(), targets, limits)
def test_locked_units_never_move_those_at_rest_never_rise_and_ceilings_hold(
    units: list[UnitChoice], target_w: float, limit: Limits
) -> None:
    plan = dispatch(units, target_w, limit)
    for unit, level in zip(units, plan.levels, strict=True):
        if unit.locked or (unit.dwells and unit.current <= unit.ceiling):
            assert level == unit.current
        else:
            assert level <= unit.ceiling
            assert level >= lowest_level(unit)
            assert level == 0 or unit.current > 0 or may_wake(unit)
            assert level <= unit.current or not unit.rests
    assert plan.power_w == pytest.approx(total(units, plan))


@given(fleets(), targets, limits)
def test_caps_hold_for_any_input_or_everything_is_as_low_as_it_can_be(
    units: list[UnitChoice], target_w: float, limit: Limits
) -> None:
    plan = dispatch(units, target_w, limit)
    for loop, cap_w in enumerate(limit.loop_caps_w):
        if cap_w is not None:
            floor_w = sum(lowest(unit) for unit in units if unit.loop == loop)
            assert total(units, plan, loop) <= max(cap_w, floor_w) + 1e-6
    if limit.site_cap_w is not None:
        floor_w = sum(lowest(unit) for unit in units)
        assert plan.power_w <= max(limit.site_cap_w, floor_w) + 1e-6


@given(fleets(), targets, limits)
def test_the_pace_of_level_changes_holds(units: list[UnitChoice], target_w: float, limit: Limits) -> None:
    plan = dispatch(units, target_w, limit)
    now_w = sum(drawn(unit, unit.current) for unit in units)
    for loop, most in enumerate(limit.loop_changes):
        cap_w = limit.loop_caps_w[loop]
        loop_now_w = sum(drawn(unit, unit.current) for unit in units if unit.loop == loop)
        if (cap_w is not None and loop_now_w > cap_w) or (limit.site_cap_w is not None and now_w > limit.site_cap_w):
            continue
        changed = sum(
            level != unit.current and lowest_level(unit) <= unit.current <= unit.ceiling
            for unit, level in zip(units, plan.levels, strict=True)
            if unit.loop == loop
        )
        assert changed <= most


@settings(max_examples=300)
@given(fleets(), targets, targets, limits)
def test_more_demand_never_means_less_power(units: list[UnitChoice], one_w: float, other_w: float, limit: Limits) -> None:
    low_w, high_w = sorted((one_w, other_w))
    assert dispatch(units, low_w, limit).power_w <= dispatch(units, high_w, limit).power_w + 1e-6


@given(fleets(), targets, limits)
def test_the_same_input_gives_the_same_plan(units: list[UnitChoice], target_w: float, limit: Limits) -> None:
    assert dispatch(units, target_w, limit) == dispatch(list(units), target_w, limit)


OPEN = Limits(NAMES, (None, None, None), (99, 99, 99))


@settings(max_examples=150)
@given(fleets(most=4), st.floats(0, 1))
def test_no_other_plan_as_near_to_the_target_is_much_cheaper(units: list[UnitChoice], part: float) -> None:
    """Against every possible plan: nothing at least as near is cheaper by more than what one unit's step is worth."""
    top_w = sum(max(drawn(u, level) for level in range(len(u.levels))) for u in units)
    plan = dispatch(units, part * top_w, OPEN, Prices(change=0.001, start=0.003))
    prices = Prices(change=0.001, start=0.003)
    earned_per_hps = _earned_per_hps(units, prices)

    def value(levels: tuple[int, ...]) -> float:
        return sum(_value(unit, level, prices, earned_per_hps) for unit, level in zip(units, levels, strict=True))

    error_w = abs(plan.power_w - part * top_w)
    every = [_open_levels(unit) for unit in units]
    best = max(
        value(levels)
        for levels in itertools.product(*every)
        if abs(sum(drawn(u, level) for u, level in zip(units, levels, strict=True)) - part * top_w) <= error_w + 1e-6
    )
    spread = max(
        max(_value(u, level, prices, earned_per_hps) for level in options)
        - min(_value(u, level, prices, earned_per_hps) for level in options)
        for u, options in zip(units, every, strict=True)
    )
    assert value(plan.levels) >= best - 2 * spread - 1e-6
    step_w = max(abs(drawn(u, a) - drawn(u, b)) for u, options in zip(units, every, strict=True) for a in options for b in options)
    reach = [sum(f(drawn(u, level) for level in options) for u, options in zip(units, every, strict=True)) for f in (min, max)]
    assert abs(plan.power_w - min(max(part * top_w, reach[0]), reach[1])) <= step_w + 1e-6


def _open_levels(unit: UnitChoice) -> list[int]:
    if unit.locked or (unit.dwells and unit.current <= unit.ceiling):
        return [unit.current]
    if unit.current == 0 and not may_wake(unit):
        return [0]
    first = lowest_level(unit)
    return list(range(first, (min(unit.ceiling, unit.current) if unit.rests else unit.ceiling) + 1))


def _nameplate_w(unit: UnitChoice) -> float:
    return max(drawn(unit, level) for level in range(len(unit.levels)))


def _earned_per_hps(units: list[UnitChoice], prices: Prices) -> float:
    total_hps = sum(max(f.hashrate_hps for f in u.levels) for u in units)
    return prices.revenue_per_kwh / 1000 * sum(_nameplate_w(u) for u in units) / total_hps if total_hps else 0.0


def _value(unit: UnitChoice, level: int, prices: Prices, earned_per_hps: float) -> float:
    cost = prices.change * (level != unit.current) + prices.start * ((level == 0) != (unit.current == 0))
    return unit.levels[level].hashrate_hps * earned_per_hps - drawn(unit, level) / 1000 * prices.power_per_kwh - cost


@pytest.mark.parametrize("kinds", [1, 3, 150])
@settings(max_examples=25)
@given(part=st.floats(0.56, 1.07), seed=st.integers(0, 2))
@example(part=0.62, seed=0)
def test_a_fleet_of_100_units_and_more_is_within_half_a_thousandth(
    kinds: int, part: float, seed: int, levels: tuple[LevelFact, ...]
) -> None:
    scales = [1.0 + 0.03 * ((k * 37 + seed) % 11 - 5) / 5 for k in range(kinds)]
    made = [tuple(LevelFact(f.power_w * s, f.hashrate_hps * s) for f in levels) for s in scales]
    units = [UnitChoice(k % 3, made[k % kinds], current=1 + (k + seed) % 5, ceiling=5) for k in range(150)]
    target_w = part * sum(u.levels[4].power_w for u in units)
    plan = dispatch(units, target_w, OPEN)
    assert plan.power_w == pytest.approx(target_w, rel=0.0005)
    assert plan.limiter is None


def fleet(levels: tuple[LevelFact, ...], count: int = 60, current: int = 4, **fields: object) -> list[UnitChoice]:
    return [UnitChoice(loop=k % 3, levels=levels, current=current, ceiling=5, **fields) for k in range(count)]  # type: ignore[arg-type]


def test_a_demand_above_what_is_possible_gets_the_maximum_and_the_reason(levels: tuple[LevelFact, ...]) -> None:
    plan = dispatch(fleet(levels), 1e9, OPEN)
    assert set(plan.levels) == {5}
    assert plan.limiter == "capacity"
    assert plan.headroom_up_w == 0


def test_each_limit_is_named(levels: tuple[LevelFact, ...]) -> None:
    units = fleet(levels)
    capped = dispatch(units, 1e9, Limits(NAMES, (None, 100_000, None), (99, 99, 99)))
    assert capped.limiter == "loop b cap"
    assert dispatch(units, 1e9, Limits(NAMES, (None,) * 3, (99,) * 3, 300_000.0)).limiter == "site cap"
    assert dispatch(units, 1e5, Limits(NAMES, (None,) * 3, (1,) * 3)).limiter == "level changes per cycle"
    assert dispatch(fleet(levels, dwells=True), 1e5, OPEN).limiter == "dwell times"
    assert dispatch(fleet(levels, locked=True), 1e5, OPEN).limiter == "units that cannot move"
    assert dispatch(fleet(levels, locked=True), 1e9, OPEN).limiter == "capacity"
    assert "over its cap" in str(dispatch(fleet(levels, locked=True), 1e9, Limits(NAMES, (1.0, None, None), (99,) * 3)).limiter)


def test_no_units_is_no_capacity() -> None:
    assert dispatch([], 1.0, OPEN).limiter == "capacity"
    assert dispatch([], 0.0, OPEN).limiter is None
    assert dispatch([], float("nan"), OPEN).power_w == 0.0


def test_lower_levels_come_before_sleep(levels: tuple[LevelFact, ...]) -> None:
    plan = dispatch(fleet(levels), 60 * levels[1].power_w, OPEN)
    assert 0 not in plan.levels


def test_a_far_target_at_a_slow_pace_sends_no_unit_to_sleep_that_the_final_plan_keeps_awake(levels: tuple[LevelFact, ...]) -> None:
    plan = dispatch(fleet(levels), 0.7 * 60 * levels[4].power_w, Limits(NAMES, (None,) * 3, (2,) * 3))
    assert plan.changes == 6
    assert 0 not in plan.levels


def test_efficient_units_carry_the_load(levels: tuple[LevelFact, ...]) -> None:
    poor = tuple(LevelFact(f.power_w, f.hashrate_hps * 0.8) for f in levels)
    units = [UnitChoice(0, poor if k % 2 else levels, current=3, ceiling=5) for k in range(20)]
    plan = dispatch(units, 20 * levels[2].power_w, OPEN)
    assert sum(plan.levels[0::2]) > sum(plan.levels[1::2])


def test_among_equals_the_rested_unit_is_taken(levels: tuple[LevelFact, ...]) -> None:
    units = [UnitChoice(0, levels, current=3, ceiling=5, wear=w) for w in (5.0, 0.0, 3.0)]
    plan = dispatch(units, levels[3].power_w * 2 + levels[5].power_w, OPEN)
    assert plan.levels == (3, 5, 3)


def test_the_price_of_heat_rises_with_the_load(levels: tuple[LevelFact, ...]) -> None:
    prices = [
        dispatch(fleet(levels), p * 60 * levels[4].power_w, OPEN).marginal_price_per_kwh for p in (0.5, 0.65, 0.8, 0.95, 1.05)
    ]
    known = [price for price in prices if price is not None]
    assert len(known) == 5
    assert known == sorted(known)


def test_the_scale_corrects_the_nameplate(levels: tuple[LevelFact, ...]) -> None:
    plan = dispatch(fleet(levels), 300_000.0, OPEN, scale=1.05)
    assert sum(levels[k].power_w for k in plan.levels) * 1.05 == pytest.approx(300_000, rel=0.002)


def test_a_unit_at_rest_comes_down_and_is_no_less_headroom(levels: tuple[LevelFact, ...]) -> None:
    free = fleet(levels)
    rest = [msgspec.structs.replace(unit, rests=True) for unit in free]
    limit = Limits(NAMES, (None,) * 3, (60,) * 3)
    now_w = 60 * levels[4].power_w
    down, up = dispatch(rest, 0.9 * now_w, limit), dispatch(rest, 1.05 * now_w, limit)
    assert down.power_w == pytest.approx(0.9 * now_w, rel=0.001)
    assert (up.changes, up.limiter) == (0, "units that rest")
    assert up.headroom_up_w == dispatch(free, now_w, limit).headroom_up_w


def test_headroom_is_what_the_units_could_do_within_their_caps(levels: tuple[LevelFact, ...]) -> None:
    plan = dispatch(fleet(levels, dwells=True), 60 * levels[4].power_w, Limits(NAMES, (161_280.0, None, None), (99,) * 3))
    assert plan.headroom_up_w == pytest.approx(40 * (levels[5].power_w - levels[4].power_w))
    assert plan.headroom_down_w == pytest.approx(60 * (levels[4].power_w - levels[0].power_w))
