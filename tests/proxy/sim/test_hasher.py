"""The hashing itself: exact, fair between rigs, and bounded after a stall."""

import random
from typing import Any

import pytest
import trio

from protocol.bitcoin.hashes import sha256d
from protocol.bitcoin.target import MAX_TARGET
from proxy.sim.hasher import MAX_CATCH_UP_S, Hasher, Work


def test_a_search_finds_exactly_the_nonces_that_meet_the_target() -> None:
    header = random.Random(5).randbytes(80)
    target = MAX_TARGET // 50
    expected = [
        nonce for nonce in range(5_000) if int.from_bytes(sha256d(header[:76] + nonce.to_bytes(4, "little")), "little") <= target
    ]
    work = Work(header, target)
    found = [nonce for count in (1, 999, 3_000, 1_000) for nonce in work.search(count)]
    assert found == expected
    assert len(found) > 60
    assert work.next_nonce == 5_000


def test_the_last_nonce_ends_the_search() -> None:
    work = Work(bytes(80), 0)
    work.next_nonce = (1 << 32) - 3
    assert work.search(10) == []
    assert work.next_nonce == 1 << 32
    assert work.search(10) == []


class Rig:
    def __init__(self, rate_hps: float) -> None:
        self.rate_hps = rate_hps
        self.hashed = 0

    def hashrate_hps(self) -> float:
        return self.rate_hps

    def hash(self, count: int) -> None:
        self.hashed += count


async def test_every_rig_gets_its_rate_fractions_included(autojump_clock: Any, nursery: trio.Nursery) -> None:
    hasher, rigs = Hasher(), [Rig(rate) for rate in (0.0, 0.3, 100.0, 333.3)]
    for rig in rigs:
        hasher.add(rig)
    nursery.start_soon(hasher.run)
    await trio.sleep(100.1)
    assert [rig.hashed for rig in rigs] == pytest.approx([0, 30, 10_000, 33_330], abs=1)
    assert hasher.hashes == sum(rig.hashed for rig in rigs)


async def test_paused_and_removed_rigs_hash_nothing(autojump_clock: Any, nursery: trio.Nursery) -> None:
    hasher, rig = Hasher(), Rig(100.0)
    hasher.add(rig)
    nursery.start_soon(hasher.run)
    await trio.sleep(1.1)
    hasher.is_paused = True
    await trio.sleep(50)
    assert rig.hashed == 100
    hasher.is_paused = False
    hasher.remove(rig)
    hasher.remove(rig)
    await trio.sleep(5)
    assert rig.hashed == 100


async def test_a_stall_is_not_made_up_for(mock_clock: Any, nursery: trio.Nursery) -> None:
    hasher, rig = Hasher(), Rig(100.0)
    hasher.add(rig)
    nursery.start_soon(hasher.run)
    await trio.testing.wait_all_tasks_blocked()
    mock_clock.jump(3_600.0)
    await trio.testing.wait_all_tasks_blocked()
    assert rig.hashed == 100 * MAX_CATCH_UP_S
