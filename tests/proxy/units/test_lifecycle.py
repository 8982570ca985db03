"""The life of one unit against any story: whatever is told, seen and answered in whatever order, the rules hold."""

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from proxy import config
from proxy.units.drivers.base import Answer, Outcome, Reading
from proxy.units.lifecycle import MAX_TRIES, UnitLife
from proxy.units.unit import UNTOUCHABLE, UnitState

LEVELS = [
    config.Level(name="low", power_w=4_000, hashrate_hps=270e12, setting=0),
    config.Level(name="mid", power_w=6_000, hashrate_hps=380e12, setting=1),
    config.Level(name="high", power_w=8_000, hashrate_hps=480e12, setting=2),
]
POWERS = [15.0, 4_000.0, 6_000.0, 8_000.0]
UNIT = config.Unit(id="u1", address="10.0.0.1", model="m", loop="north")


class AnyStory(RuleBasedStateMachine):
    """Drives a UnitLife as an actor would, with a machine that says anything."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 1_000.0
        self.elapsed_s = 500.0
        self.told: list[tuple[str, str]] = []
        self.announced: list[float] = []
        self.life = UnitLife(
            UNIT,
            config.Model(levels=LEVELS, min_dwell_s=20, min_off_s=30, min_on_s=40),
            config.Heat(),
            lambda name, level, **_facts: self.told.append((name, level)),
            lambda _unit, hashrate_hps: self.announced.append(hashrate_hps),
        )

    @rule(seconds=st.sampled_from([0.5, 5.0, 20.0, 61.0, 400.0, 1_000.0]))
    def time_passes(self, seconds):
        self.now_s += seconds
        self.elapsed_s += seconds
        self.life.expire(self.now_s)

    @rule(level=st.integers(0, 3))
    def is_told(self, level):
        before = self.life.level_commanded
        self.life.expire(self.now_s)
        refusal = self.life.command(level, "test", self.now_s, is_urgent=False)
        if refusal is None:
            assert self.life.level_commanded == level
            assert self.life.is_fresh(self.now_s)
        else:
            assert self.life.level_commanded == before

    @rule(level=st.integers(0, 3))
    def is_told_urgently(self, level):
        before = self.life.level_commanded
        refusal = self.life.command(level, "test", self.now_s, is_urgent=True)
        if refusal is None:
            assert before is None or level <= before
        else:
            assert self.life.state in UNTOUCHABLE or level > before

    @rule(
        level=st.sampled_from([None, 0, 1, 2, 3]),
        hashing=st.sampled_from([True, False]),
        stopping=st.booleans(),
        calibrating=st.booleans(),
        power=st.sampled_from([None, 0, 1, 2, 3]),
        moves=st.sampled_from([True, True, True, False]),
        restarted=st.booleans(),
    )
    def is_seen(self, level, hashing, stopping, calibrating, power, moves, restarted):
        if restarted:
            self.elapsed_s = 1.0
        asleep = True if level == 0 else False if level else None
        reading = Reading(
            at_s=self.now_s,
            level_observed=level,
            asleep=asleep,
            stopping=stopping and asleep is None,
            calibrating=calibrating and asleep is False,
            hashing=hashing and asleep is not True,
            power_w=None if power is None else POWERS[power],
            hashrate_hps=None if level is None else [0.0, 270e12, 380e12, 480e12][level],
            elapsed_s=self.elapsed_s if moves else None,
        )
        self.life.check_identity(None, True, self.now_s)
        self.life.saw(reading, self.now_s)

    @rule()
    def is_silent(self):
        self.life.lost("silent", self.now_s)

    @precondition(lambda self: self.life.due_level(self.now_s) is not None)
    @rule(answer=st.sampled_from(Answer), raced=st.sampled_from([None, 0]))
    def is_sent(self, answer, raced):
        wanted = msgspec.structs.replace(self.life.wanted)
        self.life.sent(self.now_s)
        assert self.announced[-1] == self.life.levels[wanted.level].hashrate_hps
        if raced is not None:
            self.life.command(raced, "newer", self.now_s, is_urgent=True)
        self.now_s += 1.0
        self.life.answered(wanted, Outcome(answer, "text"), self.now_s)

    @rule()
    def is_taken_out(self):
        self.life.take_out("test", self.now_s)
        assert self.life.state is UnitState.SERVICE

    @rule()
    def is_put_back(self):
        self.life.put_back(self.now_s)

    @rule()
    def is_swapped(self):
        self.life.check_identity("another machine", True, self.now_s)

    @rule()
    def is_cleared(self):
        self.life.clear_fault(self.now_s)

    @invariant()
    def nothing_is_due_for_a_unit_we_must_not_touch(self):
        if self.life.state in UNTOUCHABLE:
            assert self.life.due_level(self.now_s) is None
            assert self.life.command(0, "test", self.now_s, is_urgent=True) is not None

    @invariant()
    def nothing_is_tried_more_than_twice(self):
        assert 0 <= self.life.tries <= MAX_TRIES

    @invariant()
    def a_fault_has_words(self):
        if self.life.state in (UnitState.FAULT, UnitState.LOCKED_OUT):
            assert self.life.fault

    @invariant()
    def what_is_not_fresh_is_not_commanded_ordinarily(self):
        if not self.life.is_fresh(self.now_s):
            assert not self.life.may_command(self.now_s)

    @invariant()
    def running_means_doing_as_told(self):
        if self.life.state is UnitState.RUN and self.life.level_commanded is not None and self.life.is_fresh(self.now_s):
            assert self.life.reading.hashing


AnyStory.TestCase.settings = settings(max_examples=120, stateful_step_count=40)
TestAnyStory = AnyStory.TestCase
