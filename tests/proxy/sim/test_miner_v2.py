"""Simulated Stratum V2 devices against a simulated V2 pool: real Noise, real proofs of work, and books that agree."""

from typing import Any

import pytest
import trio

from protocol.bitcoin.target import HASHES_PER_DIFFICULTY, target_from_difficulty
from protocol.v2.constants import EXTENSION_WORKER_TRACKING
from protocol.v2.keys import new_authority_key
from proxy.sim.miner_v2 import PLAIN_MESSAGES

WAYS: dict[str, dict[str, Any]] = {
    "extended": {},
    "extended, names its worker": {"extensions": (EXTENSION_WORKER_TRACKING,)},
    "extended, plain headers": {"rolls_version": False},
    "extended, counts anew": {"restarts_extranonce2": True},
    "standard": {"is_standard": True},
    "standard, and nothing else": {"is_standard": True, "requires_standard_jobs": True},
    "standard, plain headers": {"is_standard": True, "rolls_version": False},
}


@pytest.mark.parametrize("ways", WAYS.values(), ids=WAYS.keys())
async def test_every_kind_of_device_mines_and_both_sides_count_the_same(
    autojump_clock: Any, bench: Any, ways: dict[str, Any]
) -> None:
    pool = bench.pool_v2(refresh_s=7.0, block_interval_s=40.0)
    miner = bench.miner_v2(pool, strict="extensions" not in ways, **ways)
    await trio.sleep(120)
    bench.hasher.is_paused = True
    await trio.sleep(5)
    assert pool.totals.accepted > 120 * 200 / 64 * 0.8
    assert set(pool.totals.rejected) <= {"stale"}
    assert miner.totals.connections == 1
    assert not miner.totals.refused_messages
    assert miner.totals.accepted == pool.totals.accepted
    assert miner.totals.submitted == miner.totals.accepted + sum(miner.totals.rejected.values())
    assert pool.totals.accepted_work == pytest.approx(miner.totals.accepted_difficulty * HASHES_PER_DIFFICULTY)
    assert pool.totals.work_by_user == {"site.unit": pytest.approx(pool.totals.accepted_work)}


async def test_the_messages_of_a_plain_device_are_all_it_needs(autojump_clock: Any, bench: Any) -> None:
    pool = bench.pool_v2(refresh_s=5.0)
    miners = [bench.miner_v2(pool, strict=True, is_standard=standard, worker=f"w{standard}") for standard in (False, True)]
    await trio.sleep(30)
    pool.set_difficulty(pool.difficulty / 2)
    await trio.sleep(30)
    assert {miner.totals.connections for miner in miners} == {1}
    assert set.union(*(set(miner.totals.methods_seen) for miner in miners)) == PLAIN_MESSAGES - {"SubmitShares.Error"}


@pytest.mark.parametrize("standard", [False, True])
@pytest.mark.parametrize("rolls", [False, True])
async def test_no_header_is_hashed_twice(autojump_clock: Any, bench: Any, standard: bool, rolls: bool) -> None:
    pool = bench.pool_v2(refresh_s=1e6, block_interval_s=1e6)
    miner = bench.miner_v2(pool, lambda: 2_000.0, rolls_version=rolls, is_standard=standard)
    await trio.sleep(60)
    assert miner.totals.accepted > 1_000
    assert not pool.totals.rejected


async def test_a_device_that_wants_more_than_the_pool_has_is_refused_and_says_why(autojump_clock: Any, bench: Any) -> None:
    pool = bench.pool_v2(extranonce_bytes=4)
    miner = bench.miner_v2(pool, min_extranonce_size=6)
    await trio.sleep(10)
    assert miner.failures[0] == "min-extranonce-size-too-large"
    assert (miner.totals.jobs, miner.is_mining) == (0, False)


async def test_a_pool_without_the_pinned_key_gets_no_work_done(autojump_clock: Any, bench: Any) -> None:
    pool = bench.pool_v2()
    miner = bench.miner_v2(pool)
    await trio.sleep(10)
    assert miner.is_mining
    miner.authority_x = new_authority_key(bench.rng.randbytes).public_x
    pool.reset_connections()
    await trio.sleep(20)
    assert not miner.is_mining
    assert "not signed by the authority key" in miner.failures[0]
    miner.authority_x = None
    await trio.sleep(40)
    assert miner.is_mining


async def test_a_server_that_ignores_extensions_is_served_without_them(autojump_clock: Any, bench: Any) -> None:
    pool = bench.pool_v2()
    pool.faults.ignore_extensions = True
    miner = bench.miner_v2(pool, extensions=(EXTENSION_WORKER_TRACKING,))
    await trio.sleep(30)
    assert miner.totals.connections == 2
    assert miner.totals.accepted > 20
    assert pool.sessions[0].extensions == frozenset()


async def test_sequence_numbers_wrap(autojump_clock: Any, bench: Any) -> None:
    pool = bench.pool_v2()
    miner = bench.miner_v2(pool, first_sequence=2**32 - 10)
    await trio.sleep(30)
    bench.hasher.is_paused = True
    await trio.sleep(3)
    assert miner.totals.accepted == pool.totals.accepted > 50
    assert not miner.totals.refused_messages


async def test_a_sleeping_unit_keeps_its_channel_and_one_that_wants_jobs_hangs_up(autojump_clock: Any, bench: Any) -> None:
    pool = bench.pool_v2()
    asleep, impatient = bench.miner_v2(pool, lambda: 0.0), bench.miner_v2(pool, lambda: 0.0, idle_timeout_s=60.0)
    await trio.sleep(100)
    pool.faults.silent = True
    await trio.sleep(80)
    assert (asleep.totals.connections, asleep.totals.submitted, asleep.is_mining) == (1, 0, True)
    assert impatient.totals.connections > 1


async def test_the_easiest_target_of_the_device_is_honoured(autojump_clock: Any, bench: Any) -> None:
    hardest_wanted = target_from_difficulty(2.0**-24)
    pool = bench.pool_v2()
    miner = bench.miner_v2(pool, max_target=hardest_wanted)
    await trio.sleep(60)
    assert miner.session.channel.target == hardest_wanted
    assert miner.totals.accepted < 60 * 200 / 256 * 1.6
    assert not pool.totals.rejected
