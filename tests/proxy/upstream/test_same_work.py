"""Firmware that begins its search anew with each job: nothing it finds may ever be found twice."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from trio.testing import MockClock

from proxy.config import Listen, Vardiff
from proxy.sim.hasher import Hasher
from proxy.sim.miner import MinerSpec, SimMiner, tcp_connector
from proxy.sim.pool import PoolSpec
from tests.support.rig import EASY, Rig, passing, running, until

HASHRATE_HPS = 40.0


def restarting_miners(rig: Rig, count: int, **ways: object) -> list[SimMiner]:
    """Real miners without version rolling that start at extranonce2 zero with each notify, hashing from now on."""
    hasher = Hasher()
    miners = [
        SimMiner(
            MinerSpec(worker=f"account.unit-{n}", rolls_version=False, restarts_extranonce2=True, strict=True, **ways),  # type: ignore[arg-type]
            lambda: HASHRATE_HPS,
            hasher,
            random.Random(n),
            tcp_connector(*rig.address),
        )
        for n in range(count)
    ]
    rig.nursery.start_soon(hasher.run)
    for miner in miners:
        rig.nursery.start_soon(miner.run)
    return miners


def same_template_again(rig: Rig, *, clean: bool) -> Callable[[], None]:
    """The pool changes its difficulty and sends the work that everybody has."""

    def act() -> None:
        pool = rig.pools[0]
        pool.set_difficulty(EASY / 2 if pool.difficulty == EASY else EASY)
        for session in pool.sessions:
            session.send_job(pool.template, clean)

    return act


@pytest.mark.parametrize("clean", [False, True])
async def test_case_42_the_same_template_with_another_difficulty_makes_no_duplicates(
    tmp_path: Path, mock_clock: MockClock, clean: bool
) -> None:
    spec = PoolSpec(difficulty=EASY, refresh_s=1e6, block_interval_s=1e6)
    async with running(tmp_path, [spec], pool_tables=[{"job_timeout_s": 3_600.0}]) as rig:
        await until(lambda: rig.app.pools[0].is_ready)
        miners = restarting_miners(rig, 4)
        again = same_template_again(rig, clean=clean)
        for _ in range(6):
            await passing(mock_clock, lambda wanted=rig.pools[0].totals.accepted + 40: rig.pools[0].totals.accepted >= wanted)
            again()
        await until(lambda: rig.app.ledger.totals().pending == 0)
        assert not rig.pools[0].totals.rejected.get("duplicate")
        assert not rig.app.ledger.totals().rejected.get("duplicate")
        assert rig.app.ledger.totals().conservation_delta == 0
        assert {miner.totals.connections for miner in miners} == {1}


async def test_case_42_keepalive_and_new_difficulties_of_ours_make_no_duplicates(tmp_path: Path, mock_clock: MockClock) -> None:
    spec = PoolSpec(difficulty=1.0, refresh_s=1e6, block_interval_s=1e6)
    tables: dict[str, object] = {
        "listen": Listen(v1="127.0.0.1:0", keepalive_job_s=20.0),
        "vardiff": Vardiff(min_difficulty=2.0**-32, start_difficulty=2.0**-31, shares_per_minute=20.0),
    }
    async with running(tmp_path, [spec], pool_tables=[{"job_timeout_s": 3_600.0}], **tables) as rig:
        await until(lambda: rig.app.pools[0].is_ready)
        (miner,) = restarting_miners(rig, 1)
        await passing(mock_clock, lambda: miner.totals.jobs >= 12, step_s=0.75)
        for hashrate_hps in (HASHRATE_HPS * 8, 0.0, HASHRATE_HPS):
            rig.app.router.expect_hashrate("account.unit-0", hashrate_hps)
            await passing(mock_clock, lambda wanted=miner.totals.jobs + 2: miner.totals.jobs >= wanted, step_s=0.75)
        assert miner.totals.accepted >= 30
        assert not rig.app.ledger.totals().rejected.get("duplicate")
        assert miner.totals.methods_seen["mining.set_difficulty"] >= 3


async def test_a_resumed_session_with_the_same_template_goes_on_where_the_search_ended(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    spec = PoolSpec(difficulty=EASY, refresh_s=1e6, block_interval_s=1e6)
    async with running(tmp_path, [spec], pool_tables=[{"job_timeout_s": 3_600.0}]) as rig:
        pool, totals = rig.app.pools[0], rig.pools[0].totals
        await until(lambda: pool.is_ready)
        miners = restarting_miners(rig, 2)
        for _ in range(4):
            await passing(mock_clock, lambda wanted=totals.accepted + 40: totals.accepted >= wanted)
            rig.pools[0].reset_connections()
            await until(lambda: not pool.is_ready)
            await passing(mock_clock, lambda: pool.is_ready, limit_s=40)
        await passing(mock_clock, lambda wanted=totals.accepted + 40: totals.accepted >= wanted)
        await until(lambda: rig.app.ledger.totals().pending == 0)
        assert totals.accepted == rig.app.ledger.totals().accepted
        assert not totals.rejected.get("duplicate")
        assert not rig.app.ledger.totals().rejected.get("duplicate")
        ntimes = {sent.wire.job.ntime for channel in rig.app.router.channels for sent in channel.jobs.values()}
        assert len(ntimes) >= 5
        assert {miner.totals.connections for miner in miners} == {1}
