"""Miner and pool together: real proofs of work, in virtual time."""

from typing import Any

import pytest
import trio

from protocol.bitcoin.target import HASHES_PER_DIFFICULTY
from proxy.sim.miner import PLAIN_METHODS
from proxy.sim.search import spread_bits


async def test_every_share_is_accepted_and_both_sides_count_the_same(autojump_clock: Any, bench: Any) -> None:
    pool = bench.pool(block_interval_s=40.1, refresh_s=7.3)
    miners = [bench.miner(pool, worker=f"site.unit-{index}") for index in range(5)]
    await trio.sleep(120)
    assert pool.totals.accepted > 5 * 120 * 200 / 64 * 0.8
    assert not pool.totals.rejected
    assert sum(miner.totals.accepted for miner in miners) == pool.totals.accepted
    assert pool.totals.work_by_user.keys() == {f"site.unit-{index}" for index in range(5)}


async def test_work_proves_the_hashrate(autojump_clock: Any, bench: Any) -> None:
    """The number of shares is Poisson: four sigma is one failure in 16,000, and the seed is fixed."""
    pool = bench.pool()
    miner = bench.miner(pool)
    await trio.sleep(300)
    expected = 300 * 200 / 64
    assert abs(miner.totals.accepted - expected) < 4 * expected**0.5
    assert pool.totals.accepted_work == pytest.approx(miner.totals.accepted_difficulty * HASHES_PER_DIFFICULTY)


async def test_a_sleeping_unit_keeps_its_connection_and_makes_no_shares(autojump_clock: Any, bench: Any) -> None:
    pool = bench.pool()
    rate = [0.0]
    miner = bench.miner(pool, lambda: rate[0])
    await trio.sleep(600)
    assert miner.is_mining
    assert (miner.totals.connections, miner.totals.submitted) == (1, 0)
    rate[0] = 100.0
    await trio.sleep(60)
    assert miner.totals.accepted > 50


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("rolls", [False, True])
async def test_no_header_is_hashed_twice(autojump_clock: Any, bench: Any, restarts: bool, rolls: bool) -> None:
    pool = bench.pool(refresh_s=5.0, extranonce2_bytes=2)
    miner = bench.miner(pool, lambda: 2_000.0, rolls_version=rolls, restarts_extranonce2=restarts)
    await trio.sleep(60)
    assert miner.totals.accepted > 1_000
    assert not miner.totals.rejected


async def test_the_same_extranonce1_comes_back_with_the_session(autojump_clock: Any, bench: Any) -> None:
    pool = bench.pool()
    miner = bench.miner(pool, resume=True)
    await trio.sleep(5)
    first = pool.sessions[0].extranonce1
    pool.reset_connections()
    await trio.sleep(30)
    assert miner.totals.connections == 2
    assert pool.sessions[0].resumed
    assert pool.sessions[0].extranonce1 == first
    assert not pool.totals.rejected


async def test_a_stranger_gets_another_extranonce1(autojump_clock: Any, bench: Any) -> None:
    pool = bench.pool(extranonce1_bytes=1)
    for index in range(20):
        bench.miner(pool, worker=f"u{index}")
    await trio.sleep(5)
    assert len({session.extranonce1 for session in pool.sessions}) == 20


async def test_firmware_that_waits_too_long_for_a_job_hangs_up_and_comes_back(autojump_clock: Any, bench: Any) -> None:
    pool = bench.pool()
    miner = bench.miner(pool, idle_timeout_s=120.0)
    await trio.sleep(10)
    pool.faults.silent = True
    await trio.sleep(105)
    assert miner.totals.connections == 1
    await trio.sleep(130)
    assert miner.totals.connections >= 2


async def test_strict_firmware_hangs_up_at_a_method_it_does_not_know(autojump_clock: Any, bench: Any) -> None:
    pool = bench.pool()
    miner = bench.miner(pool, strict=True)
    await trio.sleep(5)
    assert set(miner.totals.methods_seen) == PLAIN_METHODS
    pool.show_message("hello")
    await trio.sleep(5)
    assert miner.totals.methods_seen["client.show_message"] == 1
    assert miner.totals.connections == 2


async def test_long_names_are_cut_as_the_firmware_cuts_them(autojump_clock: Any, bench: Any) -> None:
    pool = bench.pool()
    bench.miner(pool, worker="a" * 80, name_limit=63)
    await trio.sleep(20)
    assert list(pool.totals.work_by_user) == ["a" * 63]


async def test_back_off_grows_while_nobody_answers(autojump_clock: Any, bench: Any) -> None:
    pool = bench.pool()
    pool.faults.drop_after = "connect"
    miner = bench.miner(pool, first_back_off_s=1.0, max_back_off_s=30.0)
    await trio.sleep(300)
    assert 10 < miner.totals.connections < 30


def test_bits_are_spread_over_the_mask_and_never_leave_it() -> None:
    mask = 0b1010_0110
    assert [spread_bits(number, mask) for number in range(4)] == [0, 0b10, 0b100, 0b110]
    assert len({spread_bits(number, mask) for number in range(16)}) == 16
    assert all(not spread_bits(number, mask) & ~mask for number in range(64))
