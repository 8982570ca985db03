"""No prefix is ever with two owners, and none is lost."""

import random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from proxy.work.extranonce import PrefixAllocator

QUARANTINE_S = 600.0


def allocator(size_bytes=1, seed=7, quarantine_s=QUARANTINE_S):
    return PrefixAllocator(size_bytes, random.Random(seed).randbytes, quarantine_s)


def test_every_prefix_goes_out_once_and_then_none():
    prefixes = allocator()
    out = [prefixes.allocate(0.0) for _ in range(256)]
    assert len(set(out)) == 256
    assert all(len(prefix) == 1 for prefix in out)
    assert prefixes.allocate(0.0) is None
    assert (prefixes.free_count, prefixes.in_use) == (0, 256)


def test_all_65536_reconnects_are_reclaimed():
    prefixes = allocator(2)
    out = [prefixes.allocate(0.0) for _ in range(65_536)]
    for prefix in out:
        prefixes.release(prefix, 1.0)
    assert prefixes.allocate(1.0 + QUARANTINE_S - 0.001) is None
    again = [prefixes.allocate(1.0 + QUARANTINE_S) for _ in range(65_536)]
    assert set(again) == set(out)


def test_one_unit_that_reconnects_65536_times_never_gets_a_resting_prefix():
    prefixes = allocator(2, quarantine_s=100.0)
    last_out: dict[bytes, float] = {}
    for second in range(65_536):
        prefix = prefixes.allocate(float(second))
        assert prefix is not None
        assert second - last_out.get(prefix, -1e9) >= 100.0
        prefixes.release(prefix, float(second))
        last_out[prefix] = second
    assert prefixes.in_use == 0
    assert prefixes.free_count + prefixes.quarantined == 65_536


def test_a_unit_that_comes_back_gets_its_prefix_out_of_quarantine():
    prefixes = allocator()
    mine = prefixes.allocate(0.0)
    prefixes.release(mine, 1.0)
    assert prefixes.allocate(2.0, wanted=mine) == mine
    assert prefixes.quarantined == 0


def test_a_wanted_prefix_that_is_in_use_is_not_shared():
    prefixes = allocator()
    mine = prefixes.allocate(0.0)
    assert prefixes.allocate(1.0, wanted=mine) not in (mine, None)


@pytest.mark.parametrize("wanted", [b"", b"\x01\x02", b"\x01\x02\x03\x04\x05"])
def test_a_wanted_prefix_of_another_length_is_ignored(wanted):
    assert len(allocator().allocate(0.0, wanted=wanted)) == 1


def test_a_prefix_wanted_before_its_turn_is_not_dealt_again_when_its_turn_comes():
    prefixes = allocator()
    wanted = [bytes([n]) for n in range(0, 256, 3)]
    assert [prefixes.allocate(0.0, wanted=w) for w in wanted] == wanted
    rest = [prefixes.allocate(0.0) for _ in range(256 - len(wanted))]
    assert set(rest) | set(wanted) == {bytes([n]) for n in range(256)}
    assert prefixes.allocate(0.0) is None


def test_a_clean_job_ends_the_quarantine_of_what_was_released_before_it():
    prefixes = allocator()
    first, second = prefixes.allocate(0.0), prefixes.allocate(0.0)
    prefixes.release(first, 1.0)
    prefixes.release(second, 5.0)
    assert prefixes.flush_quarantine(released_before_s=5.0) == 1
    assert prefixes.quarantined == 1
    assert prefixes.flush_quarantine() == 1


def test_never_used_prefixes_are_dealt_before_used_ones():
    prefixes = allocator()
    first = prefixes.allocate(0.0)
    prefixes.release(first, 0.0)
    prefixes.flush_quarantine()
    assert [prefixes.allocate(0.0) for _ in range(256)].index(first) == 255


def test_releasing_twice_is_our_own_mistake():
    prefixes = allocator()
    mine = prefixes.allocate(0.0)
    prefixes.release(mine, 0.0)
    with pytest.raises(ValueError, match="not in use"):
        prefixes.release(mine, 0.0)
    with pytest.raises(ValueError, match="not in use"):
        prefixes.release(b"\x00" + mine, 0.0)


def test_two_starts_deal_in_different_orders():
    first, second = allocator(2, seed=1), allocator(2, seed=2)
    assert [first.allocate(0.0) for _ in range(8)] != [second.allocate(0.0) for _ in range(8)]


def test_a_clock_that_steps_back_never_shortens_a_quarantine():
    prefixes = allocator()
    early, late = prefixes.allocate(0.0), prefixes.allocate(0.0)
    prefixes.release(late, 5_000.0)
    prefixes.release(early, 1_000.0)
    prefixes.allocate(1_000.0 + QUARANTINE_S)
    assert prefixes.quarantined == 2
    prefixes.allocate(5_000.0 + QUARANTINE_S)
    assert prefixes.quarantined == 0


@pytest.mark.parametrize("size_bytes", [0, 5, -1])
def test_an_impossible_size_is_refused(size_bytes):
    with pytest.raises(ValueError, match="1 to 4 bytes"):
        allocator(size_bytes)


class Allocation(RuleBasedStateMachine):
    """Connections come, go, resume, and time passes, against a model that only knows owners and release times."""

    held = Bundle("held")

    def __init__(self):
        super().__init__()
        self.prefixes = allocator(1, seed=3, quarantine_s=60.0)
        self.now_s = 0.0
        self.owned: set[bytes] = set()
        self.released: dict[bytes, float] = {}

    def took(self, prefix):
        assert len(prefix) == 1
        assert prefix not in self.owned
        self.owned.add(prefix)
        self.released.pop(prefix, None)
        return prefix

    @rule(target=held, count=st.integers(1, 90))
    def connect(self, count):
        out = []
        for _ in range(count):
            prefix = self.prefixes.allocate(self.now_s)
            resting = {p for p, at in self.released.items() if self.now_s - at < 60.0}
            if prefix is None:
                assert len(self.owned) + len(resting) == 256
                break
            assert prefix not in resting
            out.append(self.took(prefix))
        return tuple(out)

    @rule(target=held, wanted=st.binary(min_size=0, max_size=2))
    def resume(self, wanted):
        prefix = self.prefixes.allocate(self.now_s, wanted)
        if prefix is None:
            return ()
        if len(wanted) == 1 and wanted not in self.owned:
            assert prefix == wanted
        return (self.took(prefix),)

    @rule(prefixes=consumes(held))
    def disconnect(self, prefixes):
        for prefix in prefixes:
            self.prefixes.release(prefix, self.now_s)
            self.owned.remove(prefix)
            self.released[prefix] = self.now_s

    @rule(seconds=st.sampled_from([0.0, 1.0, 29.0, 61.0]))
    def time_passes(self, seconds):
        self.now_s += seconds

    @rule()
    def clean_job(self):
        self.prefixes.flush_quarantine()
        self.released.clear()

    @invariant()
    def nothing_is_lost(self):
        assert self.prefixes.in_use == len(self.owned)
        assert self.prefixes.in_use + self.prefixes.quarantined + self.prefixes.free_count == 256


Allocation.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
TestAllocation = Allocation.TestCase
