"""Wakes are bounded by breakers, water and need together, and go to the loop with the least room and the least worn unit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.heat.staging import Stage, Tokens, UnitStage, stage

LOW_W, HIGH_W = 4_000.0, 8_000.0


def unit(loop: str = "a", *, is_awake: bool = False, can_wake: bool = True, wear: float = 0.0) -> UnitStage:
    return UnitStage(loop, is_awake, can_wake, LOW_W, HIGH_W, wear)


def staged(units: list[UnitStage], steady_w: float, **facts: object) -> Stage:
    given_facts: dict[str, object] = {"tokens": Tokens({"a": 20.0, "b": 20.0}), "may_wake": {}, "caps": {"a": None, "b": None}}
    given_facts |= facts
    return stage(
        units,
        given_facts["tokens"],  # type: ignore[arg-type]  # the table is built of objects
        given_facts["may_wake"],  # type: ignore[arg-type]  # ditto
        given_facts["caps"],  # type: ignore[arg-type]  # ditto
        steady_w,
        float(given_facts.get("reserve", 0.0)),  # type: ignore[arg-type]  # ditto
    )


def test_no_more_units_are_woken_than_the_heat_needs():
    assert sum(staged([unit()] * 10, 17_000.0).may_wake) == 4
    assert len(staged([unit()] * 10, 17_000.0).must_wake) == 3  # two make 16 kW
    assert staged([unit(is_awake=True)] * 2 + [unit()] * 4, 16_000.0).must_wake == frozenset()


def test_a_reserve_keeps_more_units_running_than_the_heat_needs():
    units = [unit(is_awake=True)] * 10 + [unit()] * 4
    assert staged(units, 80_000.0, reserve=0.0).must_wake == frozenset()
    assert staged(units, 80_000.0, reserve=0.02).must_wake == frozenset({10})


def test_a_loop_whose_water_forbids_it_wakes_nobody():
    answer = staged([unit("a"), unit("b")], 8_000.0, may_wake={"a": False, "b": True})
    assert answer.may_wake == (False, True)


def test_a_loop_is_not_woken_beyond_its_cap():
    assert sum(staged([unit()] * 5, 40_000.0, caps={"a": 9_000.0}).may_wake) == 2


def test_a_unit_whose_own_limits_forbid_it_is_not_woken():
    assert staged([unit(can_wake=False), unit()], 40_000.0).may_wake == (False, True)


def test_the_reserve_is_put_where_there_is_least_room_and_among_equals_to_the_rested():
    units = [unit("a", is_awake=True), unit("a"), unit("b"), unit("b", wear=5.0)]
    assert staged(units, 12_000.0).must_wake == frozenset({2})
    assert staged([unit(wear=5.0), unit(wear=1.0)], 4_000.0).may_wake == (False, True)


def test_running_units_stay_awake_while_their_least_power_fits():
    units = [unit("a", is_awake=True), unit("b", is_awake=True)]
    assert staged(units, 8_000.0).stays_awake == frozenset("ab")
    assert staged(units, 7_000.0).stays_awake == frozenset()
    assert staged(units, 8_000.0, caps={"a": 3_000.0, "b": None}).stays_awake == frozenset("b")


@given(
    st.lists(st.builds(unit, st.sampled_from("ab"), is_awake=st.booleans(), wear=st.floats(0, 100)), max_size=30),
    st.floats(0, 3e5),
    st.fixed_dictionaries({"a": st.floats(-1, 10), "b": st.floats(-1, 10)}),
    st.fixed_dictionaries({"a": st.none() | st.floats(0, 1e5), "b": st.none() | st.floats(0, 1e5)}),
)
def test_whatever_is_needed_the_wakes_keep_within_tokens_caps_and_need(units, steady_w, tokens, caps):
    answer = staged(units, steady_w, tokens=Tokens(dict(tokens)), caps=caps, reserve=0.02)
    woken = [k for k, may in enumerate(answer.may_wake) if may]
    assert answer.must_wake <= set(woken)
    assert not any(units[k].is_awake for k in woken)
    for loop, cap_w in caps.items():
        mine = [k for k in woken if units[k].loop == loop]
        assert len(mine) <= max(0.0, tokens[loop])
        running_w = sum(LOW_W for each in units if each.is_awake and each.loop == loop)
        assert not mine or cap_w is None or running_w + LOW_W * len(mine) <= cap_w
    running_w = sum(LOW_W for each in units if each.is_awake)
    assert not woken or running_w + LOW_W * len(woken) <= steady_w


@given(st.lists(st.one_of(st.floats(0, 60), st.just(-1.0)), max_size=50))
def test_never_more_wakes_than_the_rate_and_a_minute_saved_up(steps):
    tokens, woken, elapsed_s = Tokens(), 0, 0.0
    tokens.refill(["a"], 12.0, 0.0)
    for step in steps:
        if step < 0 and tokens.left["a"] >= 1.0:
            tokens.spend("a")
            woken += 1
        tokens.refill(["a"], 12.0, step)
        elapsed_s += max(0.0, step)
        assert woken <= 12 + 12.0 * elapsed_s / 60.0 + 1e-6
        assert tokens.left["a"] <= 12.0


@pytest.mark.parametrize("per_min", [0.1, 0.5])
def test_even_a_slow_loop_may_wake_one(per_min):
    tokens = Tokens()
    tokens.refill(["a"], per_min, 20.0)
    assert tokens.left["a"] == 1.0
