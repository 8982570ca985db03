"""Failover: at once away from the dead, slowly back to the better, and never to and fro."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from proxy.work.health import READY, Health, HealthState
from proxy.work.ladder import (
    HOUR_S,
    MAX_VOLUNTARY,
    OUTAGE_S,
    RETURN_HOLD_S,
    SICK_HOLD_S,
    START_GRACE_S,
    TRANSITIONS,
    Ladder,
    Phase,
    Rung,
    Step,
)

DOWN = Health(HealthState.DOWN, "connection lost")
SICK = Health(HealthState.SICK, "no job for 200 s")
WARMING = Health(HealthState.WARMING, "connecting")
OFF = Health(HealthState.OFF, "extranonce2 too short")
ALIVE = (HealthState.READY, HealthState.SICK)


class Site:
    """A ladder over named rungs, asked every second; the clock is ours. Remembers where everybody belonged and when it changed."""

    def __init__(self, **priorities):
        self.ladder = Ladder()
        self.priorities = priorities
        self.health = dict.fromkeys(priorities, READY)
        self.now_s = 0.0
        self.changes = []  # (when, names)
        self.decision = None
        self.decide()

    def decide(self):
        rungs = [Rung(name, priority, self.health[name]) for name, priority in self.priorities.items()]
        before = self.names()
        self.decision = self.ladder.decide(self.now_s, rungs)
        if self.names() != before:
            self.changes.append((self.now_s, self.names()))
        return self.decision

    def names(self):
        return tuple(rung.name for rung in self.decision.usable) if self.decision else None

    def put(self, **health):
        self.health.update(health)
        return self.decide()

    def wait(self, seconds, each_s=1.0):
        end_s = self.now_s + seconds
        while self.now_s < end_s:
            self.now_s = min(end_s, self.now_s + each_s)
            self.decide()
        return self.decision

    def first_seen(self, names, since_s):
        return next(at - since_s for at, seen in self.changes if at >= since_s and seen == names)


def test_every_phase_has_a_row_and_every_row_leads_to_a_phase():
    assert set(TRANSITIONS) == set(Phase)
    assert all(set(row) <= set(Step) and set(row.values()) <= set(Phase) for row in TRANSITIONS.values())


def test_the_best_tier_that_is_ready_serves():
    site = Site(a=0, b=1, c=1)
    assert (site.names(), site.decision.tier, site.decision.moved) == (("a",), 0, 1.0)
    assert site.decision.trusted == {"a", "b", "c"}


def test_equal_priorities_serve_together():
    assert Site(a=0, b=0, c=1).names() == ("a", "b")


@pytest.mark.parametrize("health", [DOWN, OFF, WARMING])
def test_a_dead_rung_is_left_at_once_by_everybody(health):
    site = Site(a=0, b=1)
    decision = site.put(a=health)
    assert site.names() == ("b",)
    assert (decision.moved, decision.previous, decision.phase) == (1.0, (), Phase.SERVING)
    assert decision.cause == f"a: {health.reason}; now b"


def test_a_dead_rung_of_a_shared_tier_takes_only_itself_away():
    site = Site(a=0, b=0, c=1)
    site.put(a=DOWN)
    assert (site.names(), site.decision.tier) == (("b",), 0)


def test_a_rung_that_is_not_configured_any_more_is_left():
    site = Site(a=0, b=1)
    del site.priorities["a"]
    site.decide()
    assert site.names() == ("b",)
    assert "not configured any more" in site.decision.cause


# -- starting


def test_at_the_start_a_better_rung_is_waited_for_shortly():
    site = Site(a=0, b=1)
    site.ladder = Ladder()
    site.put(a=WARMING)
    assert (site.names(), site.decision.phase) == ((), Phase.STARTING)
    site.wait(START_GRACE_S - 1)
    assert site.names() == ()
    site.wait(1)
    assert site.names() == ("b",)


def test_at_the_start_the_better_rung_is_taken_when_it_gets_ready():
    site = Site(a=0, b=1)
    site.ladder = Ladder()
    site.put(a=WARMING)
    site.wait(2)
    site.put(a=READY)
    assert site.names() == ("a",)


# -- coming back


def test_a_rung_comes_back_after_it_was_steady_for_its_time():
    site = Site(a=0, b=1)
    site.put(a=DOWN)
    site.wait(30)
    site.put(a=READY)
    since_s = site.now_s
    site.wait(120)
    assert site.first_seen(("a",), since_s) == 60.0


def test_a_break_starts_the_wait_again():
    site = Site(a=0, b=1)
    site.put(a=DOWN)
    site.put(a=READY)
    site.wait(59)
    site.put(a=DOWN)
    site.put(a=READY)
    site.wait(59)
    assert site.names() == ("b",)
    site.wait(1)
    assert site.names() == ("a",)


def test_the_return_is_in_quarters_and_the_rest_stays_where_it_was():
    site = Site(a=0, b=1)
    site.put(a=DOWN)
    site.put(a=READY)
    site.wait(60)
    seen = [(site.decision.moved, tuple(rung.name for rung in site.decision.previous))]
    assert site.decision.phase is Phase.RETURNING
    assert [rung.name for rung in site.decision.rungs_for(0.24)] == ["a"]
    assert [rung.name for rung in site.decision.rungs_for(0.25)] == ["b"]
    for _ in range(3):
        site.wait(15)
        seen.append((site.decision.moved, tuple(rung.name for rung in site.decision.previous)))
    assert seen == [(0.25, ("b",)), (0.5, ("b",)), (0.75, ("b",)), (1.0, ())]
    assert site.decision.phase is Phase.SERVING


def test_when_the_old_rung_dies_during_the_return_all_move_at_once():
    site = Site(a=0, b=1)
    site.put(a=DOWN)
    site.put(a=READY)
    site.wait(60)
    decision = site.put(b=DOWN)
    assert (site.names(), decision.moved, decision.previous) == (("a",), 1.0, ())


def test_when_the_better_rung_dies_during_the_return_all_go_back_at_once():
    site = Site(a=0, b=1)
    site.put(a=DOWN)
    site.put(a=READY)
    site.wait(70)
    decision = site.put(a=DOWN)
    assert (site.names(), decision.moved, decision.phase) == (("b",), 1.0, Phase.SERVING)


def waits_until_return(site):
    site.wait(1)
    site.put(a=DOWN)
    site.put(a=READY)
    since_s = site.now_s
    site.wait(2_000)
    return site.first_seen(("a",), since_s)


def test_each_failed_return_doubles_the_wait_up_to_half_an_hour():
    site = Site(a=0, b=1)
    assert [waits_until_return(site) for _ in range(7)] == [60, 120, 240, 480, 960, 1800, 1800]


def test_each_hour_ready_halves_the_wait_again():
    site = Site(a=0, b=1)
    for _ in range(4):
        waits_until_return(site)
    site.wait(2 * HOUR_S + 60, each_s=10)
    assert waits_until_return(site) == 480 / 4


def test_a_failure_after_more_than_an_hour_is_not_a_failed_return():
    site = Site(a=0, b=1)
    waits_until_return(site)
    site.wait(HOUR_S, each_s=10)
    assert waits_until_return(site) == 60


def test_a_rung_joins_its_tier_again_without_moving_the_tier():
    site = Site(a=0, b=0)
    site.put(a=DOWN)
    site.put(a=READY)
    site.wait(59)
    assert site.names() == ("b",)
    site.wait(1)
    assert site.names() == ("b", "a")
    assert (site.decision.moved, site.decision.previous) == (1.0, ())


# -- sick


def test_a_sick_rung_is_left_for_a_ready_one_after_the_hold():
    site = Site(a=0, b=1)
    site.wait(20)
    site.put(a=SICK)
    site.wait(SICK_HOLD_S - 21)
    assert site.names() == ("a",)
    site.wait(1)
    assert site.names() == ("b",)


def test_a_rung_that_came_back_is_given_five_minutes_before_it_may_be_called_sick():
    site = Site(a=0, b=1)
    site.put(a=DOWN)
    site.put(a=READY)
    site.wait(60)
    since_s = site.now_s
    site.put(a=SICK)
    site.wait(RETURN_HOLD_S + 10)
    assert site.first_seen(("b",), since_s) == RETURN_HOLD_S


def test_a_sick_rung_is_better_than_none_and_no_better_than_another_sick_one():
    site = Site(a=0, b=1)
    epoch = site.put(a=SICK, b=SICK).epoch
    site.wait(1_000)
    assert (site.names(), site.decision.epoch, site.decision.flapping) == (("a",), epoch, False)
    site.put(a=DOWN)
    assert site.names() == ("b",)
    site.put(b=DOWN, a=SICK)
    assert site.names() == ("a",)


def test_a_sick_rung_taken_in_need_is_left_at_once_for_a_ready_one():
    site = Site(a=0, b=1)
    site.put(a=SICK, b=DOWN)
    site.put(a=DOWN)
    site.put(a=SICK)
    site.wait(3)
    site.put(b=READY)
    assert site.names() == ("b",)


def test_in_a_shared_tier_only_the_sick_rung_is_left():
    site = Site(a=0, b=0, c=1)
    site.wait(SICK_HOLD_S)
    site.put(a=SICK)
    assert site.names() == ("b",)


def test_a_tier_that_is_all_sick_is_left_as_a_whole():
    site = Site(a=0, b=0, c=1)
    site.put(b=DOWN)
    site.put(b=READY)
    site.wait(60)  # b has just joined and is given its five minutes
    site.put(a=SICK, b=SICK)
    site.wait(RETURN_HOLD_S - 1)
    assert site.names() == ("a", "b")
    site.wait(1)
    assert site.names() == ("c",)


def test_nobody_waits_on_a_sick_rung_for_his_turn_to_return():
    site = Site(a=0, b=1, c=2)
    site.put(a=DOWN, b=DOWN)
    site.put(b=READY)
    site.wait(30)
    site.put(a=READY)
    site.wait(30)
    assert site.names() == ("b",)  # with five minutes before it may be left for being sick
    site.put(b=SICK)
    site.wait(60)
    assert (site.names(), site.decision.moved, site.decision.previous) == (("a",), 1.0, ())


def test_a_rung_whose_priority_was_changed_for_the_worse_is_left():
    site = Site(a=0, b=0)
    site.priorities["b"] = 1
    site.decide()
    assert (site.names(), site.decision.tier) == (("a",), 0)


# -- flapping


def test_a_primary_that_flaps_each_ten_seconds_is_left_once():
    site = Site(a=0, b=1)
    for _ in range(360):
        site.put(a=DOWN)
        site.wait(10)
        site.put(a=READY)
        site.wait(10)
    assert [names for _, names in site.changes] == [("a",), ("b",)]


def test_a_primary_that_flaps_just_slowly_enough_costs_ever_fewer_switches():
    site = Site(a=0, b=1)
    for _ in range(50):
        site.put(a=DOWN)
        site.wait(10)
        site.put(a=READY)
        site.wait(70)
    assert len(site.changes) <= 4


def test_voluntary_switches_are_at_most_six_an_hour_and_more_are_flagged():
    site = Site(a=0, b=0, c=0, d=0, e=0, f=0, g=0, h=0)
    for name in "abcdefg":
        site.put(**{name: DOWN})
    for name in "abcdefg":
        site.put(**{name: READY})
        site.wait(60)
    assert len(site.decision.usable) == 1 + MAX_VOLUNTARY
    assert site.decision.flapping
    site.wait(HOUR_S, each_s=10)
    assert len(site.decision.usable) == 8
    assert not site.decision.flapping


def test_a_spent_budget_never_keeps_anybody_on_a_dead_rung():
    site = Site(a=0, b=1, c=2)
    for _ in range(20):
        site.put(a=DOWN, b=READY)
        assert site.names() == ("b",)
        site.put(a=READY, b=DOWN)
        assert site.names() == ("a",)


# -- nothing left


@pytest.mark.parametrize("outage_s", [9, 10, 600, 36_000])
def test_all_down_is_a_shortfall_after_ten_seconds_and_the_first_one_ready_ends_it(outage_s):
    site = Site(a=0, b=1)
    site.put(a=DOWN, b=DOWN)
    assert (site.names(), site.decision.tier, site.decision.phase) == ((), None, Phase.OUTAGE)
    site.wait(outage_s, each_s=1 if outage_s < 1000 else 60)
    assert site.decision.is_shortfall == (outage_s >= OUTAGE_S)
    decision = site.put(b=READY)
    assert (site.names(), decision.moved, decision.is_shortfall) == (("b",), 1.0, False)


def test_a_rung_that_sits_and_connects_for_ever_ends_in_a_shortfall_too():
    site = Site(a=0)
    site.ladder = Ladder()
    site.put(a=WARMING)
    site.wait(OUTAGE_S)
    assert site.decision.is_shortfall


def test_a_clock_that_steps_back_stands_still():
    site = Site(a=0, b=1)
    site.wait(100)
    site.put(a=DOWN)
    site.now_s = 0.0
    site.put(a=READY)
    site.wait(100)
    assert site.names() == ("b",)
    site.wait(60)
    assert site.names() == ("a",)


# -- preferred pools


def test_a_rung_of_another_tier_is_trusted_while_ready_and_again_after_its_wait():
    site = Site(a=0, b=1)
    assert "b" in site.decision.trusted
    assert "b" not in site.put(b=SICK).trusted
    assert "b" not in site.put(b=READY).trusted
    assert "b" in site.wait(60).trusted


class Failover(RuleBasedStateMachine):
    """Rungs die, recover, fall sick and are taken out while time passes; after each second everything that must hold is checked."""

    @initialize(priorities=st.lists(st.integers(0, 2), min_size=1, max_size=4))
    def build(self, priorities):
        self.site = Site(**{f"r{n}": priority for n, priority in enumerate(priorities)})
        self.voluntary = []
        self.dead_since_s = None
        self.check(())

    def check(self, before):
        site, decision = self.site, self.site.decision
        health = {name: site.health[name].state for name in site.priorities}
        ready = [name for name, state in health.items() if state is HealthState.READY]
        names = site.names()
        used = names + tuple(rung.name for rung in decision.previous)
        assert all(health[name] in ALIVE for name in used)
        assert len(set(used)) == len(used)
        assert bool(names) == any(state in ALIVE for state in health.values())
        assert {site.priorities[name] for name in names} <= {decision.tier}
        assert 0.0 < decision.moved <= 1.0
        assert (decision.moved < 1.0) == bool(decision.previous)
        if ready:
            assert not decision.is_shortfall
        if names:
            self.dead_since_s = None
        elif self.dead_since_s is None:
            self.dead_since_s = site.now_s
        else:
            assert decision.is_shortfall == (site.now_s - self.dead_since_s >= OUTAGE_S)
        if before and names != before and all(health[name] in ALIVE for name in before):
            self.voluntary.append(site.now_s)
            assert len([at for at in self.voluntary if site.now_s - at < HOUR_S]) <= MAX_VOLUNTARY

    def pass_time(self, seconds, each_s):
        end_s = self.site.now_s + seconds
        while self.site.now_s < end_s:
            before = self.site.names()
            self.site.now_s += each_s
            self.site.decide()
            self.check(before)

    @rule(rung=st.integers(0, 3), health=st.sampled_from([READY, READY, DOWN, SICK, WARMING, OFF]))
    def turns(self, rung, health):
        name = f"r{rung % len(self.site.priorities)}"
        before = self.site.names()
        self.site.put(**{name: health})
        self.check(before)

    @rule(seconds=st.sampled_from([1, 5, 9, 20, 61, 130, 301]))
    def time_passes(self, seconds):
        self.pass_time(seconds, 1.0 if seconds < 30 else 5.0)

    @rule()
    def quiet(self):
        """With nothing happening for long enough, everybody is on the best that is ready, and on all of it."""
        self.pass_time(2 * HOUR_S + 60, 60.0)
        site = self.site
        ready = {name for name in site.priorities if site.health[name].state is HealthState.READY}
        if ready:
            best = min(site.priorities[name] for name in ready)
            assert set(site.names()) == {name for name in ready if site.priorities[name] == best}
            assert site.decision.phase is Phase.SERVING
            assert not site.decision.flapping


Failover.TestCase.settings = settings(max_examples=25, stateful_step_count=20)
TestFailover = Failover.TestCase
