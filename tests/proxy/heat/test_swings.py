"""A demand that goes to and fro is told with cause and remedy; one that rises, falls, or follows the weather is not."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.heat import swings

Make = Callable[..., Any]
POLICY = swings.Policy(size=0.05, most_per_h=6, capacity_w=1e6)


def follow(values: list[float], every_s: float = 30.0) -> swings.State:
    state = swings.State()
    for k, value in enumerate(values):
        swings.note(state, POLICY, value, None, "plc", k * every_s)
    return state


def test_each_turn_counts_once_and_the_first_way_is_no_turn() -> None:
    state = follow([5e5, 6e5, 6e5, 4e5, 4.2e5, 4e5, 6e5, 6e5])
    assert list(state.turns_unix_s) == [90.0, 180.0]


def test_small_steps_make_a_turn_where_they_come_back_by_its_size() -> None:
    rise = [5e5 + 1e4 * k for k in range(20)]
    assert len(follow(rise + rise[::-1]).turns_unix_s) == 1


def test_what_is_below_the_size_is_no_turn() -> None:
    assert follow([5e5, 5.49e5] * 50).turns_unix_s == follow([]).turns_unix_s


@given(st.lists(st.floats(0, 1e6), max_size=60).map(sorted), st.booleans())
def test_a_demand_that_only_rises_or_only_falls_never_turns(values, falls):
    assert not follow(values[::-1] if falls else values).turns_unix_s


@given(st.lists(st.floats(0, 1e6), max_size=60))
def test_seeing_the_same_demand_more_often_changes_nothing(values):
    twice = [value for value in values for _ in range(2)]
    assert len(follow(twice).turns_unix_s) == len(follow(values).turns_unix_s)


def test_more_turns_an_hour_than_allowed_are_told_with_sender_cause_and_remedy_until_it_is_calm() -> None:
    state = swings.State()
    texts = []
    for k in range(20):
        swings.note(state, POLICY, 5e5 + (-1) ** k * 1e5, None, "plc", 60.0 * k)
        texts.append(swings.alarm(state, POLICY, 60.0 * k))
    # Two to begin with are one way; the seventh turn after it is too many.
    assert [text is None for text in texts] == [True] * 8 + [False] * 12
    assert "plc swings: 18 turns by more than 5% of capacity in an hour (6 are allowed)" in str(texts[-1])
    assert "slow it down" in str(texts[-1])
    ends = [at_s for at_s in range(1_140, 6_000, 60) if swings.alarm(state, POLICY, float(at_s)) is None]
    # Half of what is allowed may be left: the fourth last turn was at 960 s.
    assert ends[0] == 3_600 + 960
    assert swings.per_hour(state, 6_000.0) == 0


def test_quarter_hours_that_alternate_are_within_what_is_allowed() -> None:
    state = follow([5e5, 6e5] * 20, every_s=900.0)
    assert swings.alarm(state, POLICY, 39 * 900.0) is None


def test_a_supply_temperature_that_swings_counts_as_well() -> None:
    state = swings.State()
    for k in range(20):
        swings.note(state, POLICY, None, 75.0 + (-1) ** k * 2.0, "plc", 60.0 * k)
    assert swings.per_hour(state, 1_140.0) == 18
    calm = swings.State()
    for k in range(20):
        swings.note(calm, POLICY, None, 75.0 + (-1) ** k * 1.0, "plc", 60.0 * k)
    assert swings.per_hour(calm, 1_140.0) == 0


def test_turns_are_bounded_and_a_clock_that_went_back_forgets_them() -> None:
    state = follow([5e5, 6e5] * 4_000, every_s=0.1)
    assert len(state.turns_unix_s) == swings.MAX_TURNS
    assert swings.per_hour(state, -1.0) == 0


# In control.


def alarm_of(site: Any) -> list[str]:
    return [line for line in site.control.alarms() if "swings" in line]


def test_control_tells_of_a_sender_that_turns_faster_than_its_cycles(rig: Make) -> None:
    site = rig(20)
    for k in range(60):
        # Twice a second by the same values: each cycle sees the same one.
        for power_w in (90_000.0, 70_000.0):
            site.now_s += 0.5
            site.ask(power_w)
        if k % 20 == 0:
            site.control.tick(site.now_s, site.wall())
    site.control.tick(site.now_s, site.wall())
    assert alarm_of(site)
    assert site.control.view().swings_per_h > 100


def test_control_tells_of_a_schedule_that_swings_as_its_blocks_come_to_rule(rig: Make) -> None:
    site = rig(20)
    blocks = [
        site.demand(power_w, validity_s=300.0, starts_in_s=300.0 * k, sequence=1)
        for k, power_w in enumerate([90_000.0, 70_000.0] * 10)
    ]
    site.control.submit_schedule(blocks, site.wall())
    assert site.control.view().swings_per_h == 0
    site.run(5_900)
    assert alarm_of(site)


def test_a_day_of_steps_that_the_weather_makes_is_calm(rig: Make) -> None:
    site = rig(20)
    for k in range(96):
        site.ask(80_000.0 + 40_000.0 * abs(48 - k) / 48, validity_s=1_800.0)
        site.run(900)
        assert alarm_of(site) == []


@pytest.mark.parametrize("size", [0.05, 0.2])
def test_what_counts_as_a_swing_is_the_sites_own(rig: Make, size: float) -> None:
    site = rig(20, swing_size=size)
    for k in range(20):
        site.ask(80_000.0 + (-1) ** k * 6_000.0)
        site.run(60)
    assert bool(alarm_of(site)) is (size == 0.05)
