"""The rules of vardiff one by one, at their corners."""

import math
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.bitcoin.target import HASHES_PER_DIFFICULTY
from proxy import config
from proxy.work import vardiff
from proxy.work.vardiff import expect, on_share, on_tick, policy_from, proven_hps, start, suggest

POLICY = policy_from(config.Vardiff())
INTERVAL_S = POLICY.interval_s


def hps_of(difficulty, policy=POLICY):
    return difficulty * HASHES_PER_DIFFICULTY / policy.interval_s


def running(difficulty=1024.0, now_s=0.0, policy=POLICY):
    """A unit that hashes so that `difficulty` is exactly right, with ten minutes of regular shares behind it."""
    state = start(policy, now_s, None, hps_of(difficulty, policy), None)
    for n in range(1, 61):
        assert on_share(state, policy, state.difficulty, now_s + n * policy.interval_s) is None
    assert state.difficulty == difficulty
    return state


# -- limits and start


@pytest.mark.parametrize(("low", "high"), [(1.0, 1e12), (2.0**-30, 1e15), (0.3, 0.3), (1000.0, 10.0)])
def test_limits_are_rounded_down_to_powers_of_two(low, high):
    policy = policy_from(config.Vardiff(min_difficulty=low, max_difficulty=high))
    assert policy.min_difficulty <= low < 2 * policy.min_difficulty
    assert policy.min_difficulty <= policy.start_difficulty <= policy.max_difficulty
    assert all(math.frexp(d)[0] == 0.5 for d in (policy.min_difficulty, policy.max_difficulty, policy.start_difficulty))


@pytest.mark.parametrize(
    ("expected_hps", "remembered_hps", "suggested", "difficulty"),
    [
        (None, None, None, POLICY.start_difficulty),
        (None, None, 1000.0, 512.0),
        (None, None, -1.0, POLICY.start_difficulty),
        (None, None, math.nan, POLICY.start_difficulty),
        (None, None, 1e-9, 1.0),
        (None, None, 1e300, 2.0**39),
        (hps_of(4096.0), None, 1.0, 4096.0),
        (None, hps_of(4096.0), 1.0, 4096.0),
        (hps_of(4096.0), hps_of(8192.0), None, 8192.0),  # measured goes before modelled
        (hps_of(4096.0), hps_of(65536.0), None, 4096.0),  # that was another level
        (0.0, hps_of(4096.0), None, 4096.0),
        (0.0, None, None, POLICY.start_difficulty),
    ],
)
def test_start_uses_the_best_that_is_known(expected_hps, remembered_hps, suggested, difficulty):
    assert start(POLICY, 0.0, expected_hps, remembered_hps, suggested).difficulty == difficulty


def test_a_unit_with_nothing_known_has_no_hashrate_until_its_second_share():
    state = start(POLICY, 0.0, None, None, None)
    assert state.hashrate_hps is None
    on_share(state, POLICY, state.difficulty, 10.0)
    assert state.hashrate_hps is None
    on_share(state, POLICY, state.difficulty, 20.0)
    assert state.hashrate_hps == pytest.approx(hps_of(state.difficulty) / 2, rel=0.02)


# -- silence


def test_silence_eases_twice_and_never_again():
    state = running()
    eased = [d for t in range(600, 100_000, 5) if (d := on_tick(state, POLICY, float(t))) is not None]
    assert eased == [256.0, 64.0]


def test_each_share_allows_two_more_eases():
    state = running()
    for t in range(600, 2_000, 5):
        on_tick(state, POLICY, float(t))
    assert state.difficulty == 64.0
    on_share(state, POLICY, 64.0, 2_000.0)
    eased = [d for t in range(2_000, 4_000, 5) if (d := on_tick(state, POLICY, float(t))) is not None]
    assert eased == [16.0, 4.0]


def test_easing_stops_at_the_floor():
    policy = policy_from(config.Vardiff(min_difficulty=512.0))
    state = running(policy=policy)
    eased = [d for t in range(600, 100_000, 5) if (d := on_tick(state, policy, float(t))) is not None]
    assert eased == [512.0]


def test_the_first_share_after_an_hour_changes_nothing():
    state = running()
    assert on_share(state, POLICY, 1024.0, 600.0 + 3600.0) is None
    assert state.hashrate_hps == pytest.approx(hps_of(1024.0), rel=0.2)


def test_silence_shows_in_what_is_proven():
    state = running()
    assert proven_hps(state, POLICY, 600.0) == pytest.approx(hps_of(1024.0), rel=0.05)
    assert proven_hps(state, POLICY, 600.0 + 6_000.0) < 0.001 * hps_of(1024.0)
    assert proven_hps(start(POLICY, 0.0, None, None, None), POLICY, 1.0) is None


# -- bursts


def test_500_shares_in_one_second_raise_once_by_what_they_prove():
    state = running()
    changes = [d for n in range(500) if (d := on_share(state, POLICY, 1024.0, 610.0 + n / 500)) is not None]
    assert len(changes) == 1
    assert changes[0] <= 16 * 1024.0


def test_shares_held_up_by_a_stalled_network_are_no_burst():
    state = running()
    on_share(state, POLICY, 1024.0, 605.0)
    changes = [d for n in range(30) if (d := on_share(state, POLICY, 1024.0, 905.0 + n * 0.01)) is not None]
    assert changes == []


def test_a_much_faster_unit_is_followed_within_half_a_minute():
    state = running()
    now_s, shares = 600.0, 0
    while now_s < 630.0:
        now_s += INTERVAL_S * state.difficulty / (100 * 1024.0)
        shares += 1
        on_share(state, POLICY, state.difficulty, now_s)
    assert state.difficulty >= 100 * 1024.0 / 4
    assert shares < 100


# -- feed-forward


@pytest.mark.parametrize(("fraction", "difficulty"), [(0.4, 256.0), (0.25, 256.0), (0.01, 8.0), (4.0, 4096.0), (1.1, None)])
def test_a_commanded_step_changes_the_difficulty_at_once(fraction, difficulty):
    state = start(POLICY, 0.0, hps_of(1024.0), None, None)
    assert expect(state, POLICY, fraction * hps_of(1024.0), 0.0) == difficulty


def test_the_same_command_again_changes_nothing():
    state = start(POLICY, 0.0, hps_of(1024.0), None, None)
    assert expect(state, POLICY, 0.4 * hps_of(1024.0), 0.0) is not None
    assert expect(state, POLICY, 0.4 * hps_of(1024.0), 1.0) is None


def test_the_estimate_is_rescaled_by_the_ratio_of_the_levels():
    state = start(POLICY, 0.0, hps_of(2048.0), hps_of(1024.0), None)
    expect(state, POLICY, hps_of(512.0), 0.0)
    assert state.hashrate_hps == pytest.approx(hps_of(256.0))


def test_a_sleeping_unit_holds_everything_whatever_comes():
    state = running()
    assert expect(state, POLICY, 0.0, 600.0) is None
    for t in range(600, 20_000, 50):
        assert on_tick(state, POLICY, float(t)) is None
        assert on_share(state, POLICY, 1024.0, float(t)) is None
    assert state.difficulty == 1024.0


def test_waking_on_another_level_scales_from_the_level_before_sleep():
    state = start(POLICY, 0.0, hps_of(1024.0), hps_of(1024.0), None)
    expect(state, POLICY, 0.0, 0.0)
    assert expect(state, POLICY, 0.25 * hps_of(1024.0), 1_000.0) == 256.0
    assert state.hashrate_hps == pytest.approx(hps_of(256.0))


def test_nothing_is_eased_while_a_unit_ramps():
    state = running()
    expect(state, POLICY, 2 * hps_of(1024.0), 600.0)
    quiet = [t for t in range(600, 2_000, 5) if on_tick(state, POLICY, float(t)) is not None]
    assert quiet[0] >= 600 + POLICY.settle_s + vardiff.SILENCE_INTERVALS * INTERVAL_S


def test_a_lowered_unit_that_still_runs_fast_is_not_taken_for_a_burst():
    state = start(POLICY, 0.0, hps_of(1024.0), hps_of(1024.0), None)
    expect(state, POLICY, 0.1 * hps_of(1024.0), 0.0)
    assert state.difficulty == 64.0
    for n in range(1, 320):  # two minutes at the old hashrate
        assert on_share(state, POLICY, 64.0, n * INTERVAL_S / 16) is None


@pytest.mark.parametrize("nonsense", [math.nan, math.inf, -math.inf, -1.0])
def test_a_nonsense_hashrate_is_ignored(nonsense):
    state = running()
    assert expect(state, POLICY, nonsense, 600.0) is None
    assert state.expected_hps is None


# -- suggestions


def test_a_suggestion_is_floored_clamped_and_followed_once_a_minute():
    policy = policy_from(config.Vardiff(max_difficulty=4096.0, min_difficulty=4.0, start_difficulty=64.0))
    state = start(policy, 0.0, None, None, None)
    assert suggest(state, policy, 1000.0, 1.0) == 512.0
    assert [suggest(state, policy, float(2**n), 1.0 + n) for n in range(1, 60)] == [None] * 59
    assert suggest(state, policy, 1e18, 62.0) == 4096.0
    assert suggest(state, policy, 1e-9, 123.0) == 4.0
    assert [suggest(state, policy, bad, 500.0) for bad in (math.nan, math.inf, 0.0, -3.0)] == [None] * 4


def test_a_suggestion_against_what_shares_prove_is_ignored():
    state = running()
    assert suggest(state, POLICY, 1.0, 700.0) is None


# -- clocks and switches


@pytest.mark.parametrize("step_s", [-3600.0, -1e6, -0.001])
def test_a_clock_that_steps_back_is_no_time_and_no_storm(step_s):
    state, twin = running(), running()
    for n in range(1, 200):
        on_share(twin, POLICY, 1024.0, 600.0 + n * INTERVAL_S)
        assert on_share(state, POLICY, 1024.0, 600.0 + step_s + (n - 1) * INTERVAL_S) is None
    assert state.hashrate_hps == pytest.approx(twin.hashrate_hps, rel=0.02)
    assert state.settled_s <= state.updated_s


def test_a_clock_that_steps_back_within_a_burst_hides_nothing():
    state = running()
    on_share(state, POLICY, 1024.0, 610.0)
    changes = [d for n in range(60) if (d := on_share(state, POLICY, 1024.0, 10.0 + n / 10)) is not None]
    assert changes
    assert changes[0] > 1024.0


def test_switched_off_it_keeps_the_start_difficulty_and_still_measures():
    policy = policy_from(config.Vardiff(enabled=False, start_difficulty=64.0))
    state = start(policy, 0.0, hps_of(1.0), hps_of(1.0), 3.0)
    answers = [on_share(state, policy, 64.0, float(n)) for n in range(300)]
    answers += [on_tick(state, policy, 90_000.0), expect(state, policy, 1.0, 1.0), suggest(state, policy, 2.0, 9.0)]
    assert set(answers) == {None}
    assert state.difficulty == 64.0


def test_a_unit_costs_less_than_a_kibibyte():
    state = running()
    size = sys.getsizeof(state) + sum(sys.getsizeof(getattr(state, name)) for name in state.__struct_fields__)
    assert size < 1024


# -- whatever happens


@st.composite
def histories(draw):
    kinds = st.sampled_from(["share", "share", "share", "burst", "tick", "expect", "suggest"])
    return draw(st.lists(st.tuples(kinds, st.floats(-100.0, 4_000.0), st.floats(0, 1e16)), max_size=60))


@given(histories(), st.sampled_from([2.0**-30, 1.0, 1024.0]), st.floats(0.1, 600.0))
@settings(max_examples=150)
def test_every_history_ends_on_a_power_of_two_inside_the_limits(history, low, shares_per_minute):
    policy = policy_from(config.Vardiff(min_difficulty=low, max_difficulty=2.0**30, shares_per_minute=shares_per_minute))
    state, now_s = start(policy, 0.0, None, None, None), 0.0
    silent = 0
    for kind, step_s, number in history:
        now_s += step_s
        before = state.difficulty
        if kind == "tick":
            new = on_tick(state, policy, now_s)
            silent += new is not None
        elif kind == "expect":
            new = expect(state, policy, number, now_s)
        elif kind == "suggest":
            new = suggest(state, policy, number, now_s)
        else:
            for n in range(40 if kind == "burst" else 1):
                new = on_share(state, policy, state.difficulty, now_s + n * 0.001)
                before = before if new is None else state.difficulty
        if kind != "tick":
            silent = 0
        assert silent <= vardiff.MAX_EASES
        if new is not None and kind not in ("share", "burst"):
            assert new != before
        assert new is None or new == state.difficulty
        assert math.frexp(state.difficulty)[0] == 0.5
        assert policy.min_difficulty <= state.difficulty <= policy.max_difficulty
        assert state.hashrate_hps is None or (math.isfinite(state.hashrate_hps) and state.hashrate_hps >= 0)
