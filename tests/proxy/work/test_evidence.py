"""What counting shares proves: the interval is Poisson's, a change begins anew, and a silence is an end."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.bitcoin.target import HASHES_PER_DIFFICULTY
from proxy.work import evidence
from proxy.work.evidence import LEAST_S, LONGEST_S, Counted, Window

DIFFICULTY = 1_000.0
SHARE = DIFFICULTY * HASHES_PER_DIFFICULTY
INTERVAL_S = 10.0
HPS = SHARE / INTERVAL_S
KEY = (0.0, DIFFICULTY, HPS)


class Unit:
    """Finds shares as they come, and is looked at every ten seconds."""

    def __init__(self, seed: int = 1) -> None:
        self.rng = random.Random(seed)
        self.now_s = self.work = 0.0
        self.window: Window = evidence.begin(KEY, 0.0, 0.0)

    def live(self, seconds: float, rate: float = 1.0, every_s: float = 10.0) -> Counted | None:
        """`rate`: of what its level promises; 0 finds nothing."""
        found = None
        until_s = self.now_s + seconds
        while self.now_s < until_s:
            self.now_s += every_s
            chance_s = self.rng.expovariate(rate / INTERVAL_S) if rate else every_s
            left_s = every_s
            while rate and chance_s < left_s:
                self.work += SHARE
                left_s -= chance_s
                chance_s = self.rng.expovariate(rate / INTERVAL_S)
            found = evidence.look(self.window, self.work, self.now_s)
        return found


# Two-sided 95 % of Garwood, from tables of chi squared.
@pytest.mark.parametrize(
    ("count", "low", "high"), [(0, 0.0, 3.689), (1, 0.0253, 5.572), (5, 1.623, 11.668), (30, 20.24, 42.83), (100, 81.36, 121.63)]
)
def test_the_interval_is_that_of_a_poisson_count(count: int, low: float, high: float) -> None:
    found = evidence.interval(count)
    assert found[1] == pytest.approx(high, rel=0.01)
    assert found[0] == pytest.approx(low, rel=0.01, abs=0.03)


@given(st.floats(min_value=0.0, max_value=1e6))
def test_the_interval_holds_the_count_and_grows_narrower(count: float) -> None:
    low, high = evidence.interval(count)
    assert 0.0 <= low <= count < high
    more = evidence.interval(4.0 * count + 4.0)
    assert (more[1] - more[0]) / (4.0 * count + 4.0) < (high - low) / max(count, 1e-9)


def test_nineteen_in_twenty_intervals_hold_the_truth() -> None:
    hits = 0
    for seed in range(400):
        found = Unit(seed).live(600)
        assert found is not None
        hits += found.low_hps <= HPS <= found.high_hps
    assert hits / 400 == pytest.approx(0.95, abs=0.025)


def test_a_short_time_proves_nothing_and_a_long_one_forgets_its_older_half() -> None:
    unit = Unit()
    assert unit.live(LEAST_S - 10) is None
    found = unit.live(10 * LONGEST_S)
    assert found is not None
    assert LONGEST_S / 2 <= found.seconds <= LONGEST_S
    assert found.shares == pytest.approx(found.seconds / INTERVAL_S, rel=0.4)


def test_a_machine_that_stops_is_known_by_its_silence_at_once_and_not_by_a_mean_of_before() -> None:
    unit = Unit()
    unit.live(1_000)
    found = unit.live(240, rate=0.0)
    assert found is not None
    assert found.shares == 0.0
    assert found.high_hps < 0.2 * HPS
    assert 200 <= found.seconds <= 280
    assert unit.live(3 * LONGEST_S, rate=0.0).shares == 0.0  # type: ignore[union-attr]


def test_one_that_begins_again_is_not_averaged_with_the_silence_before() -> None:
    unit = Unit()
    unit.live(600, rate=0.0)
    found = unit.live(300)
    assert found is not None
    assert found.seconds <= 300
    assert found.low_hps <= HPS <= found.high_hps


def test_rare_shares_are_counted_like_frequent_ones() -> None:
    unit = Unit(seed=4)
    unit.window = evidence.begin((0.0, DIFFICULTY, HPS / 20), 0.0, 0.0)
    found = unit.live(1_150, rate=1 / 20)
    assert found is not None
    assert found.shares >= 2
    assert found.low_hps <= HPS / 20 <= found.high_hps


def test_on_the_way_to_a_level_nothing_is_counted() -> None:
    window = evidence.begin(KEY, 300.0, 0.0)
    assert evidence.look(window, 50 * SHARE, 290.0) is None
    counted = evidence.look(window, 60 * SHARE, 400.0)
    assert counted is not None
    assert (counted.shares, counted.seconds) == (10.0, 100.0)


@pytest.mark.parametrize(
    "key", [(1.0, DIFFICULTY, HPS), (0.0, 2 * DIFFICULTY, HPS), (0.0, DIFFICULTY, 2 * HPS), (0.0, DIFFICULTY, 0.0)]
)
def test_another_connection_difficulty_or_level_begins_anew(key: evidence.Key) -> None:
    unit = Unit()
    unit.live(600)
    after = evidence.follow(unit.window, key, 700.0, unit.work, unit.now_s)
    assert (after.key, after.start_s, after.start_work) == (key, 700.0, unit.work)
    assert evidence.follow(after, key, 900.0, unit.work, 650.0) is after


def test_a_unit_that_finds_nothing_does_not_escape_by_changing_its_level() -> None:
    unit = Unit()
    unit.live(150, rate=0.0)
    after = evidence.follow(unit.window, (0.0, DIFFICULTY / 2, 2 * HPS), 900.0, 0.0, unit.now_s)
    assert after is unit.window
    assert after.key == (0.0, DIFFICULTY, 2 * HPS)  # the harder one of the two: fewer shares were to be expected
    # But asleep it should find nothing, and a new connection is a new machine.
    assert evidence.follow(after, (0.0, DIFFICULTY, 0.0), 900.0, 0.0, unit.now_s) is not after
    assert evidence.follow(after, (5.0, DIFFICULTY, HPS), 900.0, 0.0, unit.now_s) is not after
