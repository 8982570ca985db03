"""A unit that has no reason to speak is not hung up on for its silence, and not at the moment when it has one again."""

from pathlib import Path

from trio.testing import MockClock

from proxy.config import Listen
from proxy.sim.pool import PoolSpec
from tests.support.rig import EASY, pass_time, passing, running, until

LISTEN = Listen(v1="127.0.0.1:0", idle_timeout_s=60.0)
STILL = PoolSpec(difficulty=EASY, refresh_s=1e6, block_interval_s=1e6)
PATIENT = {"job_timeout_s": 3_600.0}


async def test_a_unit_that_wakes_after_a_long_sleep_has_the_whole_time_to_find_its_first_share(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with running(tmp_path, [STILL], pool_tables=[PATIENT], listen=LISTEN) as rig:
        miner = await rig.miner()
        await miner.hello()
        rig.app.router.expect_hashrate("account.unit", 0.0)
        await pass_time(mock_clock, 600, 20)
        rig.app.router.expect_hashrate("account.unit", 1.0)
        await pass_time(mock_clock, 55, 5)
        assert rig.app.reactor.connection_count == 1
        await pass_time(mock_clock, 10, 5)
        await until(lambda: rig.app.reactor.connection_count == 0)


async def test_a_unit_that_no_pool_has_work_for_is_kept(tmp_path: Path, mock_clock: MockClock) -> None:
    async with running(tmp_path, [STILL], pool_tables=[PATIENT], listen=LISTEN) as rig:
        await until(lambda: rig.app.pools[0].is_ready)
        rig.pools[0].stop_listening()
        rig.pools[0].reset_connections()
        await until(lambda: not rig.app.pools[0].is_ready)
        miner = await rig.miner()
        await miner.hello()
        await pass_time(mock_clock, 600, 20)
        assert rig.app.reactor.connection_count == 1
        rig.pools[0].listen_again()
        await passing(mock_clock, lambda: rig.app.router.by_unit["account.unit"].session is not None, limit_s=50)
        await miner.expect("mining.notify")
