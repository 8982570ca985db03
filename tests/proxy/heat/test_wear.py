"""How worn a unit is orders equals; how much the fleet is moved makes moves dearer, within bounds."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.heat import wear

Make = Callable[..., Any]


def test_a_unit_at_full_power_gains_an_hour_an_hour_and_a_sleeping_one_none(image: Make) -> None:
    state, full = wear.State(), image(0, level_observed=5)
    images = [full, image(1), image(2)]
    for _ in range(180):
        wear.advance(state, images, [full.levels[-1].power_w, full.levels[-1].power_w / 2, 0.0], 0, 20.0)
    assert state.hours == pytest.approx({"u0": 1.0, "u1": 0.5})
    assert state.changes_per_day == 0.0


def test_among_equals_the_rested_comes_first_then_the_one_with_fewer_starts_then_hours(image: Make) -> None:
    state = wear.State(hours={"u1": 5.0, "u3": 500.0})
    wear.started(state, "u2")
    moved = image(3, changed_at_s=0.0)
    order = sorted([moved, image(2), image(1), image(0)], key=lambda each: wear.of_unit(state, each, 600.0))
    assert [each.id for each in order] == ["u0", "u1", "u2", "u3"]
    later = wear.of_unit(state, moved, 600.0 + wear.REST_H * 3_600.0)
    assert later == 500.0


def test_starts_that_the_unit_remembers_count_after_our_restart(image: Make) -> None:
    assert wear.of_unit(wear.State(), image(0, starts_today=2), 0.0) == 2 * wear.HOURS_PER_START


def test_the_rate_of_changes_settles_at_what_is_really_done(image: Make) -> None:
    state, images = wear.State(), [image(k) for k in range(10)]
    for cycle in range(6 * 4_320):
        # One change of one of ten units each 432nd cycle of 20 s: 0.1 in 0.1 days.
        wear.advance(state, images, [0.0] * 10, 1 if cycle % 432 == 0 else 0, 20.0)
    assert state.changes_per_day == pytest.approx(1.0, abs=0.6)


def test_within_the_budget_nothing_is_dearer_and_beyond_it_both_grow_to_their_bounds() -> None:
    assert wear.budget(wear.State()) == wear.Budget(1.0, 1.0)
    assert wear.budget(wear.State(changes_per_day=wear.BUDGET_PER_DAY)) == wear.Budget(1.0, 1.0)
    assert wear.budget(wear.State(changes_per_day=1e9)) == wear.Budget(wear.MAX_DEARER, wear.MAX_WIDER)


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_more_changes_never_make_changes_cheaper(fewer, more):
    fewer, more = sorted((fewer, more))
    before, after = wear.budget(wear.State(changes_per_day=fewer)), wear.budget(wear.State(changes_per_day=more))
    assert 1.0 <= before.dearer <= after.dearer <= wear.MAX_DEARER
    assert 1.0 <= before.wider <= after.wider <= wear.MAX_WIDER


def test_no_time_and_no_units_change_nothing(image: Make) -> None:
    state = wear.State()
    wear.advance(state, [image(0)], [8_000.0], 5, 0.0)
    wear.advance(state, [], [], 5, 20.0)
    assert state == wear.State()


def test_a_unit_that_was_moved_too_often_in_a_day_rests_until_the_oldest_move_is_a_day_old() -> None:
    state = wear.State(most_per_day=3)
    for at_s in (0.0, 1_000.0, 2_000.0):
        assert wear.resting(state, at_s) == frozenset()
        wear.moved(state, "u0", at_s)
    wear.moved(state, "u1", 2_000.0)
    assert wear.resting(state, 2_000.0) == {"u0"}
    assert wear.resting(state, wear.DAY_S - 1.0) == {"u0"}
    assert wear.resting(state, wear.DAY_S) == frozenset()
    # One move, and it rests until the next one is a day old.
    wear.moved(state, "u0", wear.DAY_S)
    assert wear.resting(state, wear.DAY_S) == {"u0"}
    assert wear.resting(state, wear.DAY_S + 1_000.0) == frozenset()


@given(st.lists(st.floats(0, 3_600), max_size=80), st.integers(1, 8))
def test_no_unit_that_heeds_its_rest_is_moved_more_often_than_allowed(pauses, most):
    state, now_s, done = wear.State(most_per_day=most), 0.0, []
    for pause_s in pauses:
        now_s += pause_s
        if "u0" not in wear.resting(state, now_s):
            wear.moved(state, "u0", now_s)
            done.append(now_s)
    assert all(sum(at_s - wear.DAY_S < each <= at_s for each in done) <= most for at_s in done)


def test_people_are_told_when_a_tenth_of_the_units_rests() -> None:
    state = wear.State(most_per_day=1)
    wear.moved(state, "u0", 0.0)
    assert wear.alarm(state, 20, 0.0) is None
    wear.moved(state, "u1", 0.0)
    assert "2 of 20 units" in str(wear.alarm(state, 20, 0.0))
    assert "max_changes_per_day" in str(wear.alarm(state, 20, 0.0))
    assert wear.alarm(wear.State(), 0, 0.0) is None
