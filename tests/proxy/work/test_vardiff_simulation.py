"""A unit in virtual time: exponential gaps between shares, a ramp after each command, a delay before a new difficulty works."""

import random

import pytest

from protocol.bitcoin.target import HASHES_PER_DIFFICULTY
from proxy import config
from proxy.work import vardiff

RATED_HPS = 250e12
HOUR_S = 3600.0
TICK_S = 15.0
POLICY = vardiff.policy_from(config.Vardiff())


class Unit:
    """One machine and its vardiff. Its hashrate follows a command in a straight line over `ramp_s`; at most 200 shares/s."""

    def __init__(self, seed, policy=POLICY, rated_hps=RATED_HPS, ramp_s=0.0, feed_forward=True, **known):
        self.rng = random.Random(seed)
        self.policy, self.rated_hps, self.ramp_s, self.feed_forward = policy, rated_hps, ramp_s, feed_forward
        self.now_s = 0.0
        self.vardiff = vardiff.start(policy, 0.0, **({"expected_hps": None, "remembered_hps": None, "suggested": None} | known))
        self.told = [(0.0, self.vardiff.difficulty)]
        self.shares, self.changes = [], []
        self.ramp = (0.0, rated_hps, rated_hps)  # since, from, to
        self.next_tick_s = TICK_S

    def hashrate_hps(self):
        since, old, new = self.ramp
        done = min(1.0, (self.now_s - since) / self.ramp_s) if self.ramp_s else 1.0
        return old + (new - old) * done

    def command(self, fraction):
        self.ramp = (self.now_s, self.hashrate_hps(), fraction * self.rated_hps)
        if self.feed_forward:
            self.note(vardiff.expect(self.vardiff, self.policy, fraction * self.rated_hps, self.now_s))

    def note(self, difficulty):
        if difficulty is not None:
            self.changes.append((self.now_s, difficulty))
            self.told.append((self.now_s + 0.3, difficulty))

    def difficulty(self):
        while len(self.told) > 1 and self.told[1][0] <= self.now_s:
            self.told.pop(0)
        return self.told[0][1]

    def run(self, seconds):
        """Thinned Poisson process: candidates at the highest rate of the next slice, each kept with its true rate's part."""
        end_s = self.now_s + seconds
        while self.now_s < end_s:
            slice_end_s = min(end_s, self.next_tick_s, *([self.told[1][0]] if len(self.told) > 1 else []))
            top = max(self.ramp[1], self.ramp[2]) if self.now_s < self.ramp[0] + self.ramp_s else self.ramp[2]
            rate = min(top / (self.difficulty() * HASHES_PER_DIFFICULTY), 200.0)
            gap_s = self.rng.expovariate(rate) if rate > 0 else float("inf")
            if self.now_s + gap_s < slice_end_s:
                self.now_s += gap_s
                if self.rng.random() * top <= self.hashrate_hps():
                    self.shares.append(self.now_s)
                    self.note(vardiff.on_share(self.vardiff, self.policy, self.difficulty(), self.now_s))
                continue
            self.now_s = slice_end_s
            if self.now_s >= self.next_tick_s:
                self.next_tick_s += TICK_S
                self.note(vardiff.on_tick(self.vardiff, self.policy, self.now_s))

    def ideal(self):
        return self.policy.ideal(self.hashrate_hps())

    def changed_since(self, since_s):
        return [difficulty for at, difficulty in self.changes if at >= since_s]

    def shares_since(self, since_s):
        return sum(1 for at in self.shares if at >= since_s)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("ramp_s", [0.0, 240.0])
def test_heat_steps_cost_one_change_each_and_waking_makes_no_storm(seed, ramp_s):
    unit = Unit(seed, ramp_s=ramp_s, expected_hps=RATED_HPS)
    unit.run(2 * HOUR_S)
    assert unit.changes == []
    at_full = unit.vardiff.difficulty

    for fraction in (0.4, 1.0):
        since_s = unit.now_s
        unit.command(fraction)
        unit.run(HOUR_S)
        assert len(unit.changed_since(since_s)) == 1
        assert unit.changes[-1][0] == since_s  # with the command, not after the shares
        assert 0.35 <= unit.ideal() / unit.vardiff.difficulty <= 2.5

    since_s = unit.now_s
    unit.command(0.0)
    unit.run(1200.0)
    assert unit.changed_since(since_s) == []

    since_s = unit.now_s
    unit.command(1.0)
    unit.run(300.0)
    ideal_shares = 300.0 / POLICY.interval_s
    assert unit.shares_since(since_s) <= 2.5 * ideal_shares
    unit.run(HOUR_S)
    assert unit.changed_since(since_s) == []
    assert 0.5 <= at_full / unit.vardiff.difficulty <= 2.0


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("fraction", [0.05, 0.25, 0.4])
def test_without_feed_forward_a_step_settles_within_the_hour(seed, fraction):
    unit = Unit(seed, feed_forward=False, remembered_hps=RATED_HPS)
    unit.run(HOUR_S)
    for target in (fraction, 1.0):
        since_s = unit.now_s
        unit.command(target)
        unit.run(HOUR_S)
        assert 1 / 3.2 <= unit.ideal() / unit.vardiff.difficulty <= 3.2
        assert len(unit.changed_since(since_s)) <= 4
        since_s = unit.now_s
        unit.run(300.0)
        assert unit.shares_since(since_s) <= 3.5 * 300.0 / POLICY.interval_s


@pytest.mark.parametrize("seed", range(6))
def test_a_steady_unit_keeps_its_difficulty_all_day(seed):
    unit = Unit(seed, remembered_hps=RATED_HPS)
    unit.run(24 * HOUR_S)
    assert unit.changes == []
    assert vardiff.proven_hps(unit.vardiff, POLICY, unit.now_s) == pytest.approx(RATED_HPS, rel=0.4)


@pytest.mark.parametrize("seed", range(6))
def test_the_estimate_has_no_bias(seed):
    unit = Unit(seed, remembered_hps=RATED_HPS)
    estimates = []
    for _ in range(150):
        unit.run(HOUR_S / 2)
        estimates.append(unit.vardiff.hashrate_hps / RATED_HPS)
    assert sum(estimates) / len(estimates) == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("start", [2.0**-10, 1.0, 2.0**10])
def test_a_far_too_easy_start_is_over_in_seconds(seed, start):
    unit = Unit(seed, policy=vardiff.policy_from(config.Vardiff(start_difficulty=start, min_difficulty=2.0**-30)))
    unit.run(60.0)
    assert unit.vardiff.difficulty >= unit.ideal() / 8
    assert len(unit.shares) < 1200
    unit.run(600.0)
    assert 0.25 <= unit.ideal() / unit.vardiff.difficulty <= 4


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("wrong_by", [0.02, 0.1, 8.0])
def test_a_wrong_model_is_corrected_by_shares(seed, wrong_by):
    unit = Unit(seed, expected_hps=RATED_HPS * wrong_by)
    unit.run(HOUR_S)
    assert 1 / 3.2 <= unit.ideal() / unit.vardiff.difficulty <= 3.2
    assert len(unit.shares) < 2.5 * HOUR_S / POLICY.interval_s + 200


@pytest.mark.parametrize("seed", range(6))
def test_a_bitaxe_that_starts_as_an_asic_still_gets_work_it_can_do(seed):
    unit = Unit(seed, rated_hps=1e12)
    unit.run(HOUR_S)
    assert 1 / 4 <= unit.ideal() / unit.vardiff.difficulty <= 4


@pytest.mark.parametrize("seed", range(6))
def test_a_demo_unit_of_hundreds_of_hashes_per_second_is_followed_too(seed):
    policy = vardiff.policy_from(config.Vardiff(min_difficulty=2.0**-30, shares_per_minute=20.0))
    unit = Unit(seed, policy=policy, rated_hps=400.0, ramp_s=10.0, expected_hps=400.0)
    unit.run(HOUR_S)
    unit.command(0.4)
    unit.run(HOUR_S)
    assert len(unit.changes) == 1
    assert 2.0**-30 <= unit.vardiff.difficulty < 2.0**-20
    assert 0.35 <= unit.ideal() / unit.vardiff.difficulty <= 2.5


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("hours", [0.35, 6.0])
def test_a_unit_that_stopped_by_itself_comes_back_without_a_storm(seed, hours):
    unit = Unit(seed, remembered_hps=RATED_HPS, feed_forward=False)
    unit.run(HOUR_S)
    before = unit.vardiff.difficulty
    unit.command(0.0)
    unit.run(hours * HOUR_S)
    assert unit.vardiff.difficulty >= before / 16
    since_s = unit.now_s
    unit.command(1.0)
    unit.run(300.0)
    assert unit.shares_since(since_s) <= 2.5 * 300.0 / POLICY.interval_s + 20
    assert 0.25 <= unit.ideal() / unit.vardiff.difficulty <= 4


def test_luck_at_the_start_of_an_unknown_unit_is_hardly_ever_taken_for_a_wrong_difficulty():
    policy = vardiff.policy_from(config.Vardiff(start_difficulty=2.0**18))  # half of what it will be
    units = [Unit(seed, policy=policy) for seed in range(60)]
    for unit in units:
        unit.run(1800.0)
    assert sum(len(unit.changes) for unit in units) <= 12


def test_920_units_that_wake_together_stay_below_three_times_their_usual_rate():
    since_s, units = 2400.0, []
    for seed in range(92):  # one in ten is enough to see it
        unit = Unit(seed, expected_hps=RATED_HPS, ramp_s=120.0)
        unit.run(1200.0)
        unit.command(0.0)
        unit.run(1200.0)
        unit.command(1.0)
        unit.run(300.0)
        units.append(unit)
    shares = sum(unit.shares_since(since_s) for unit in units)
    assert shares <= 92 * 2.0 * 300.0 / POLICY.interval_s
