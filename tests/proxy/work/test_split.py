"""Weights are met by work done, and nobody moves without need."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.work.health import READY
from proxy.work.ladder import Rung
from proxy.work.split import MOVES_AT_ONCE, PERIOD_S, REMEMBER_S, Split

HOUR_S = 3600.0


def tier(**weights):
    return [Rung(name, 0, READY, weight) for name, weight in weights.items()]


def mixed_hashrates(count, seed):
    """Two ASIC generations at several levels, and one hobby machine in forty."""
    rng = random.Random(seed)
    return {
        f"u{n}": 1e12 if n % 40 == 7 else rng.choice([100e12, 250e12, 480e12]) * rng.choice([0.4, 0.7, 1.0]) for n in range(count)
    }


class Fleet:
    """Units that hash in virtual time for the rung the split gave them; the work comes in shares, six a minute on average."""

    def __init__(self, hashrates, rungs, seed=0, believed=None, **options):
        self.rng = random.Random(seed)
        self.hashrates, self.rungs, self.split = hashrates, rungs, Split(**options)
        self.believed = believed or hashrates
        self.now_s = 0.0
        self.work: dict[str, float] = {}
        self.moves = []
        self.place_all()

    def place_all(self):
        for unit, hashrate in self.believed.items():
            self.split.assign(unit, hashrate, self.rungs, None, self.now_s)

    def where(self):
        return {unit: self.split.rung_of(unit) for unit in self.hashrates}

    def run(self, seconds, each_s=60.0):
        end_s = self.now_s + seconds
        while self.now_s < end_s:
            self.now_s += each_s
            shares = each_s / 10.0
            for unit, hashrate in self.hashrates.items():
                # Poisson by its normal approximation: mean and spread are what matters here.
                done = hashrate * each_s * max(0.0, 1.0 + self.rng.gauss(0.0, 1.0) / math.sqrt(shares))
                rung = self.split.rung_of(unit)
                self.split.account(rung, done)
                self.work[rung] = self.work.get(rung, 0.0) + done
            moves = self.split.rebalance(self.now_s, self.rungs)
            assert len(moves) <= MOVES_AT_ONCE
            self.moves += [(self.now_s, move) for move in moves]

    def parts(self):
        total = sum(self.work.values())
        return {rung.name: self.work.get(rung.name, 0.0) / total for rung in self.rungs}

    def moves_since(self, since_s):
        return [move for at, move in self.moves if at > since_s]


@pytest.mark.parametrize("count", [228, 920])
@pytest.mark.parametrize("weights", [{"a": 70, "b": 30}, {"a": 5, "b": 3, "c": 1, "d": 1}, {"a": 0.98, "b": 0.02}])
def test_work_follows_the_weights_within_two_percent(count, weights):
    fleet = Fleet(mixed_hashrates(count, seed=count), tier(**weights))
    fleet.run(4 * HOUR_S, each_s=120.0)
    for name, part in fleet.parts().items():
        assert part == pytest.approx(weights[name] / sum(weights.values()), abs=0.02)
    assert len(fleet.moves_since(HOUR_S)) <= 0.02 * count * 3  # an hour: two units of a hundred


def test_work_follows_the_weights_though_every_hashrate_was_believed_wrong():
    hashrates = mixed_hashrates(228, seed=5)
    rng = random.Random(6)
    believed = {unit: hashrate * rng.uniform(0.5, 1.5) for unit, hashrate in hashrates.items()}
    fleet = Fleet(hashrates, tier(a=60, b=40), believed=believed)
    fleet.run(10 * HOUR_S, each_s=120.0)
    assert fleet.parts()["a"] == pytest.approx(0.6, abs=0.02)


def test_units_of_unknown_hashrate_are_counted_as_the_mean_of_the_known():
    rungs = tier(a=1, b=1)
    split = Split()
    for n in range(4):
        split.assign(f"k{n}", 100.0, rungs, None, 0.0)
    for n in range(40):
        split.assign(f"u{n}", None, rungs, None, 0.0)
    assert sum(split.rung_of(f"u{n}") == "a" for n in range(40)) == 20


def test_a_fleet_of_nothing_but_unknown_units_is_split_by_number():
    split, rungs = Split(), tier(a=3, b=1)
    names = [split.assign(f"u{n}", None, rungs, None, 0.0) for n in range(40)]
    assert names.count("a") == 30


@pytest.mark.parametrize("nonsense", [math.nan, math.inf, -1.0])
def test_a_nonsense_hashrate_is_an_unknown_one(nonsense):
    split, rungs = Split(), tier(a=1, b=1)
    names = [split.assign(f"u{n}", nonsense, rungs, None, 0.0) for n in range(10)]
    assert names.count("a") == 5
    assert split.rebalance(1.0, rungs) == []


def test_two_units_on_three_rungs_take_turns():
    fleet = Fleet({"u0": 100e12, "u1": 100e12}, tier(a=1, b=1, c=1))
    fleet.run(72 * HOUR_S)
    for part in fleet.parts().values():
        assert part == pytest.approx(1 / 3, abs=0.03)
    assert len(fleet.moves) <= 72 * 2


# -- who moves


def test_a_unit_keeps_its_rung_when_its_hashrate_changes():
    split, rungs = Split(), tier(a=1, b=1)
    first = split.assign("u", 100e12, rungs, None, 0.0)
    assert {split.assign("u", hps, rungs, None, 1.0) for hps in (40e12, 0.0, None, 500e12)} == {first}


def test_a_rung_that_vanishes_moves_only_its_own_units():
    fleet = Fleet(mixed_hashrates(228, seed=1), tier(a=5, b=3, c=2))
    fleet.run(HOUR_S)
    before = fleet.where()
    fleet.rungs = tier(a=5, c=2)
    fleet.place_all()
    after = fleet.where()
    assert all(after[unit] == rung for unit, rung in before.items() if rung != "b")
    assert "b" not in after.values()
    since_s = fleet.now_s
    fleet.run(HOUR_S)
    assert len(fleet.moves_since(since_s)) <= 10


def test_a_rung_that_comes_back_fills_slowly_and_nobody_else_moves():
    fleet = Fleet(mixed_hashrates(228, seed=2), tier(a=5, b=3, c=2))
    fleet.run(HOUR_S)
    fleet.rungs = tier(a=5, c=2)
    fleet.place_all()
    fleet.run(2 * HOUR_S)
    fleet.rungs = tier(a=5, b=3, c=2)
    since_s, load = fleet.now_s, sum(fleet.hashrates.values())
    fleet.place_all()
    fleet.run(1200.0)
    moves = fleet.moves_since(since_s)
    assert {move.target for move in moves} == {"b"}
    on_b = sum(fleet.hashrates[unit] for unit, rung in fleet.where().items() if rung == "b")
    assert on_b / load == pytest.approx(0.3, abs=0.02)  # and no more, to make up for what it missed


def test_moves_come_in_handfuls():
    rungs = tier(a=1, b=1)
    split = Split()
    for n in range(920):
        split.assign(f"u{n}", 100e12, rungs[:1], None, 0.0)
    counts = [len(split.rebalance(second, rungs)) for second in range(60)]
    assert sum(counts) == 6 * MOVES_AT_ONCE
    assert all((count > 0) == (second % PERIOD_S == 0) for second, count in enumerate(counts))


def test_a_moved_unit_stays_for_its_time():
    # Debts to be paid back within a minute would move it at every call.
    fleet = Fleet({"u0": 100e12, "u1": 30e12, "u2": 20e12}, tier(a=1, b=1), horizon_s=60.0)
    fleet.run(24 * HOUR_S)
    assert len(fleet.moves) > 50
    last: dict[str, float] = {}
    for at, move in fleet.moves:
        assert at - last.get(move.unit_id, -math.inf) >= 600.0
        last[move.unit_id] = at


# -- reconnects, sleep, nothing usable


def test_a_unit_that_reconnects_gets_its_rung_back():
    split, rungs = Split(), tier(a=1, b=1)
    before = {f"u{n}": split.assign(f"u{n}", 100e12, rungs, None, 0.0) for n in range(100)}
    for unit in before:
        split.forget(unit)
    assert split.rung_of("u0") is None
    order = list(before)
    random.Random(3).shuffle(order)
    assert {unit: split.assign(unit, 100e12, rungs, None, 60.0) for unit in order} == before


def test_after_long_enough_a_unit_is_a_new_one():
    split, rungs = Split(), tier(a=1, b=1)
    split.assign("u", 100e12, rungs, None, 0.0)
    split.forget("u")
    split.assign("other", 100e12, rungs, None, 1.0)
    assert split.assign("u", 100e12, rungs, None, REMEMBER_S + 2) != split.rung_of("other")


def test_forgetting_a_stranger_is_fine():
    split = Split()
    split.forget("nobody")
    assert split.rung_of("nobody") is None


def test_units_that_sleep_are_spread_too_and_wake_balanced():
    split, rungs = Split(), tier(a=1, b=1)
    names = [split.assign(f"u{n}", 0.0, rungs, None, 0.0) for n in range(50)]
    assert names.count("a") == 25
    for n in range(50):
        split.assign(f"u{n}", 100e12, rungs, None, 10.0)
    assert split.rebalance(20.0, rungs) == []


def test_with_nothing_usable_there_is_no_rung_and_the_old_one_is_remembered():
    split, rungs = Split(), tier(a=1, b=1)
    before = {f"u{n}": split.assign(f"u{n}", 100e12, rungs, None, 0.0) for n in range(10)}
    assert [split.assign(unit, 100e12, [], None, 5.0) for unit in before] == [None] * 10
    assert split.assign("new", 100e12, [], None, 5.0) is None
    assert split.rebalance(6.0, []) == []
    assert {unit: split.assign(unit, 100e12, rungs, None, 9.0) for unit in before} == before


# -- preferred pools


def test_a_preferred_pool_is_honoured_and_never_balanced_away():
    rungs = tier(a=1, b=99)
    hashrates = {f"u{n}": 100e12 for n in range(40)}
    fleet = Fleet(hashrates, rungs)
    for n in range(10):
        assert fleet.split.assign(f"u{n}", 100e12, rungs, "a", 0.0) == "a"
    fleet.run(12 * HOUR_S)
    assert {fleet.split.rung_of(f"u{n}") for n in range(10)} == {"a"}
    assert {fleet.split.rung_of(f"u{n}") for n in range(10, 40)} == {"b"}


def test_a_preferred_pool_counts_for_its_part():
    rungs = tier(a=1, b=1)
    fleet = Fleet({f"u{n}": 100e12 for n in range(40)}, rungs)
    for n in range(12):
        fleet.split.assign(f"u{n}", 100e12, rungs, "a", 0.0)
    fleet.run(6 * HOUR_S)
    assert fleet.parts()["a"] == pytest.approx(0.5, abs=0.03)


def test_what_a_pool_got_too_much_is_made_up_for_by_no_more_than_an_hour_of_the_fleet():
    rungs = tier(a=1, b=1)
    fleet = Fleet({f"u{n}": 100e12 for n in range(20)}, rungs)
    for unit in fleet.hashrates:
        fleet.split.assign(unit, 100e12, rungs, "a", 0.0)
    fleet.run(24 * HOUR_S)
    fleet.place_all()
    since = dict(fleet.work)
    fleet.run(6 * HOUR_S)
    assert fleet.work["b"] - since.get("b", 0.0) < 4.2 * HOUR_S * 20 * 100e12
    assert fleet.work["a"] - since["a"] > 0.0


def test_a_pool_outside_the_tier_may_be_preferred_and_the_unit_comes_home_without_it():
    split, rungs = Split(), tier(a=1, b=1)
    assert split.assign("u", 100e12, rungs, "elsewhere", 0.0) == "elsewhere"
    assert split.rebalance(1.0, rungs) == []
    assert split.assign("u", 100e12, rungs, None, 2.0) in ("a", "b")


# -- whatever happens

names = st.sampled_from(["a", "b", "c"])
steps = st.one_of(
    st.tuples(st.just("assign"), st.integers(0, 30), st.one_of(st.none(), st.sampled_from([0.0, 1e12, 90e12, 480e12]))),
    st.tuples(st.just("forget"), st.integers(0, 30), st.none()),
    st.tuples(st.just("usable"), st.sets(names), st.none()),
    st.tuples(st.just("work"), names, st.floats(0, 1e20)),
    st.tuples(st.just("rebalance"), st.integers(0, 900), st.none()),
)


@given(st.lists(steps, max_size=80))
@settings(max_examples=150)
def test_every_unit_is_always_on_exactly_one_usable_rung(history):
    split, now_s = Split(), 0.0
    usable = tier(a=1, b=2, c=3)
    known: dict[str, float | None] = {}
    for kind, subject, value in history:
        if kind == "assign":
            known[f"u{subject}"] = value
            split.assign(f"u{subject}", value, usable, None, now_s)
        elif kind == "forget":
            known.pop(f"u{subject}", None)
            split.forget(f"u{subject}")
        elif kind == "usable":
            usable = [rung for rung in tier(a=1, b=2, c=3) if rung.name in subject]
            for unit, hashrate in known.items():
                split.assign(unit, hashrate, usable, None, now_s)
        elif kind == "work":
            split.account(subject, value)
        else:
            now_s += subject
            for move in split.rebalance(now_s, usable):
                assert move.source != move.target
                assert split.rung_of(move.unit_id) == move.target
        if usable:
            allowed = {rung.name for rung in usable}
            assert all(split.rung_of(unit) in allowed for unit in known)
