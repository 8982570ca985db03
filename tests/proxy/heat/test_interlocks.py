import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.heat import interlocks
from proxy.heat.alarms import Alarms
from proxy.heat.interlocks import TRANSITIONS, LoopFacts, LoopMemory, LoopSeen, LoopState, LoopVerdict, Step

FACTS = {"a": LoopFacts("a", 100.0, 88.0, 92.0)}


class Loop:
    """One loop whose seconds pass."""

    def __init__(self) -> None:
        self.memory: dict[str, LoopMemory] = {}
        self.alarms = Alarms()
        self.now_s = 0.0

    def live(self, seconds: int, flow: float | None = 100.0, supply_c: float | None = 75.0) -> LoopVerdict:
        for _ in range(seconds):
            self.now_s += 1.0
            seen = {"a": LoopSeen(flow, supply_c, 400_000.0)}
            verdict = interlocks.judge(FACTS, self.memory, seen, self.alarms, self.now_s)["a"]
        return verdict


def test_every_state_has_every_step() -> None:
    assert set(TRANSITIONS) == set(LoopState)
    assert all(set(row) == set(Step) for row in TRANSITIONS.values())


def test_a_loop_without_flow_sleeps_within_five_seconds_and_wakes_after_a_minute_of_good_flow() -> None:
    loop = Loop()
    assert loop.live(70) == interlocks.FREE
    assert loop.live(5, flow=59.0).cap_w == 0.0
    assert loop.live(59).cap_w == 0.0
    assert loop.live(5) == interlocks.FREE
    assert "acknowledge" in loop.alarms.lines()[0]
    assert loop.alarms.acknowledge() == ["loop-dry:a"]
    assert loop.alarms.lines() == ()


def test_one_bubble_in_the_flow_meter_stops_nothing() -> None:
    loop = Loop()
    loop.live(70)
    assert loop.live(1, flow=0.0).cap_w is None


def test_unknown_flow_wakes_nobody_and_stops_nobody() -> None:
    verdict = Loop().live(100, flow=None)
    assert verdict.cap_w is None
    assert not verdict.may_wake


def test_hot_water_sheds_a_quarter_each_twenty_seconds_and_gives_it_back_when_cool() -> None:
    loop = Loop()
    loop.live(70)
    caps = [loop.live(20 if k else 1, supply_c=89.0).cap_w for k in range(5)]
    assert caps == [300_000.0, 200_000.0, 100_000.0, 0.0, 0.0]
    assert loop.live(400, supply_c=80.0) == interlocks.FREE


def test_too_hot_water_trips_the_loop_and_the_third_trip_in_a_day_waits_for_somebody() -> None:
    loop = Loop()
    loop.live(70)
    for _ in range(2):
        assert loop.live(1, supply_c=92.5).cap_w == 0.0
        assert loop.live(70) == interlocks.FREE
    loop.live(1, supply_c=92.5)
    assert loop.live(3_600).cap_w == 0.0
    assert interlocks.acknowledge(loop.memory) == ["a"]
    assert loop.live(2) == interlocks.FREE


def test_what_tripped_on_a_temperature_does_not_come_back_while_it_is_unknown() -> None:
    loop = Loop()
    loop.live(70)
    loop.live(1, supply_c=93.0)
    assert loop.live(600, supply_c=None).cap_w == 0.0


readings = st.none() | st.floats(allow_nan=True, allow_infinity=True)


@given(st.lists(st.tuples(readings, readings, st.floats(0, 1e6)), max_size=60))
def test_whatever_is_measured_a_verdict_only_lowers(ticks: list[tuple[float | None, float | None, float]]) -> None:
    memory: dict[str, LoopMemory] = {}
    for k, (flow, supply_c, drawn_w) in enumerate(ticks):
        verdict = interlocks.judge(FACTS, memory, {"a": LoopSeen(flow, supply_c, drawn_w)}, Alarms(), float(k))["a"]
        if verdict.cap_w is not None:
            assert 0.0 <= verdict.cap_w <= 1e6
            assert not verdict.may_wake
            assert verdict.reason
        else:
            assert not (supply_c is not None and math.isfinite(supply_c) and supply_c > 88.0)


@pytest.mark.parametrize("step", Step)
def test_a_tripped_loop_comes_back_by_clear_only(step: Step) -> None:
    assert (interlocks.advance(LoopState.TRIPPED, step) is LoopState.RUNNING) == (step is Step.CLEAR)
