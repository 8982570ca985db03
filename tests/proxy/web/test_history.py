"""The last two hours in memory: bounded, ordered, and honest about what it does not know."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from proxy.web.history import RECENT_S, SPAN_S, STEP_S, History, Sample, columns, sample_of
from tests.proxy.web.fake_site import FakeSite
from tests.proxy.web.serving import Clock

SAMPLE = sample_of(FakeSite(Clock()).view())


def at(unix_s: float) -> Sample:
    return msgspec.structs.replace(SAMPLE, at_unix_s=unix_s)


def test_a_sample_keeps_what_the_view_says_and_unknown_stays_unknown() -> None:
    site = FakeSite(Clock())
    site.has_meter = False
    sample = sample_of(site.view())
    assert sample.heat_w is None
    assert sample.demand_w == site.view().heat.demand_w
    assert sample.rejected == site.view().shares.rejected


def test_three_hours_of_seconds_stay_within_the_bound_and_cover_two_hours() -> None:
    history = History()
    for second in range(3 * 3_600):
        history.add(at(float(second)))
    kept = history.since(0)
    assert len(kept) <= RECENT_S + SPAN_S / STEP_S
    assert kept[-1].at_unix_s == 3 * 3_600 - 1
    assert kept[-1].at_unix_s - kept[0].at_unix_s >= SPAN_S - 2 * STEP_S


@given(st.lists(st.floats(-20, 40), max_size=80), st.floats(0, 400))
def test_whatever_the_clock_does_times_rise_and_since_is_respected(steps: list[float], since: float) -> None:
    history, now = History(), 200.0
    for step in steps:
        now += step
        history.add(at(now))
    kept = [sample.at_unix_s for sample in history.since(since)]
    assert kept == sorted(set(kept))
    assert all(unix_s > since for unix_s in kept)


def test_a_clock_set_back_starts_the_history_anew() -> None:
    history = History()
    for second in range(100):
        history.add(at(10_000.0 + second))
    history.add(at(500.0))
    assert [sample.at_unix_s for sample in history.since(0)] == [500.0]


def test_a_verdict_seen_late_was_zero_before() -> None:
    early = msgspec.structs.replace(at(1.0), rejected={"stale": 1})
    late = msgspec.structs.replace(at(2.0), rejected={"stale": 2, "duplicate": 5})
    assert columns([early, late]).rejected == {"duplicate": [0, 5], "stale": [1, 2]}


def test_no_samples_give_empty_columns() -> None:
    empty = columns([])
    assert empty.at_unix_s == []
    assert empty.rejected == {}
