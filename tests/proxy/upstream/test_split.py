"""The work is shared by weight, a unit may prefer a pool, and pools come and go: nobody moves without need, and nobody notices."""

from collections import Counter
from pathlib import Path

import pytest
from trio.testing import MockClock

from proxy import config
from proxy.config import Listen, Vardiff
from proxy.sim.pool import PoolSpec
from tests.support.rig import EASY, Rig, pass_time, passing, running, until
from tests.support.swarm import Swarm, swarm

PEERS = [{"priority": 0, "weight": 70.0, "job_timeout_s": 3_600.0}, {"priority": 0, "weight": 30.0, "job_timeout_s": 3_600.0}]
STILL: dict[str, object] = {
    "listen": Listen(v1="127.0.0.1:0", keepalive_job_s=110.0, idle_timeout_s=86_400.0, max_connections_per_address=2_000),
    "vardiff": Vardiff(enabled=False, min_difficulty=2.0**-32, start_difficulty=EASY),
}
MODEL = config.Model(levels=[config.Level(name="full", power_w=8_000, hashrate_hps=1e3, setting=0)])


def still() -> PoolSpec:
    return PoolSpec(difficulty=EASY, refresh_s=1e6, block_interval_s=1e6)


def places(rig: Rig) -> dict[str, str | None]:
    """The pool of every unit."""
    return {channel.unit: channel.session.pool if channel.session else None for channel in rig.app.router.channels}


async def mines(units: Swarm, clock: MockClock, minutes: int) -> None:
    """Every third unit finds one share a minute, every other third two, the rest three."""
    for _ in range(minutes):
        for turn in range(3):
            for number, unit in enumerate(units.units):
                if turn <= number % 3:
                    await unit.find()
            await pass_time(clock, 20.0, 10.0)


async def test_sixty_units_share_the_work_70_to_30_and_hardly_anybody_moves(tmp_path: Path, mock_clock: MockClock) -> None:
    async with running(tmp_path, [still(), still()], pool_tables=PEERS, **STILL) as rig:
        units = await swarm(rig, 60)
        before = places(rig)
        assert Counter(before.values()) == {"pool-0": 42, "pool-1": 18}
        await mines(units, mock_clock, 15)
        first, second = (pool.totals.accepted_work for pool in rig.pools)
        assert first / (first + second) == pytest.approx(0.7, abs=0.03)
        moved = sum(before[unit] != pool for unit, pool in places(rig).items())
        assert moved <= 6
        assert units.is_plain()
        assert not rig.pools[0].totals.rejected
        assert not rig.pools[1].totals.rejected


async def test_a_peer_that_goes_leaves_its_units_to_the_other_and_each_moves_once(tmp_path: Path, mock_clock: MockClock) -> None:
    tables = [{**table, "return_after_s": 5.0} for table in PEERS]
    async with running(tmp_path, [still(), still()], pool_tables=tables, **STILL) as rig:
        units = await swarm(rig, 60)
        before = places(rig)
        rig.pools[1].stop_listening()
        rig.pools[1].reset_connections()
        await until(lambda: set(places(rig).values()) == {"pool-0"})
        await until(lambda: sum(len(unit.jobs) for unit in units.units) == 60 + 18)
        stayed = [unit for unit in units.units if before[unit.user] == "pool-0"]
        assert {len(unit.jobs) for unit in stayed} == {1}
        await units.all_find()
        await until(lambda: rig.pools[0].totals.accepted == 60)
        rig.pools[1].listen_again()
        await passing(mock_clock, lambda: Counter(places(rig).values())["pool-1"] == 18, limit_s=100)
        await pass_time(mock_clock, 1.0)
        assert max(units.job_counts()) <= 3
        await units.all_find()
        await until(lambda: sum(pool.totals.accepted for pool in rig.pools) == 120)
        assert rig.pools[1].totals.accepted == 18
        assert units.is_plain()


async def test_a_unit_works_for_the_pool_it_prefers_and_comes_back_to_it(tmp_path: Path, mock_clock: MockClock) -> None:
    site: dict[str, object] = {
        "models": {"m": MODEL},
        "loops": [config.Loop(name="north")],
        "units": [config.Unit(id="fan", address="192.0.2.7", model="m", loop="north", worker="account.unit-001", pool="pool-1")],
    }
    tables = [{"job_timeout_s": 3_600.0, "return_after_s": 30.0}] * 2
    async with running(tmp_path, [still(), still()], pool_tables=tables, **site, **STILL) as rig:
        units = await swarm(rig, 3)
        fan = units.units[1]
        assert places(rig) == {"account.unit-000": "pool-0", "fan": "pool-1", "account.unit-002": "pool-0"}
        rig.pools[1].reset_connections()
        await until(lambda: places(rig)["fan"] == "pool-0")
        await units.all_find()
        await until(lambda: rig.pools[0].totals.accepted == 3)
        assert await passing(mock_clock, lambda: places(rig)["fan"] == "pool-1", limit_s=100) >= 30.0
        await until(lambda: len(fan.jobs) == 3)
        await units.all_find()
        await until(lambda: rig.pools[1].totals.accepted == 1)
        assert [len(unit.jobs) for unit in units.units] == [1, 3, 1]
        assert units.is_plain()


async def test_a_pool_that_is_taken_out_gives_up_what_it_never_answered_by_name(tmp_path: Path) -> None:
    async with running(tmp_path, [still(), still()], **STILL) as rig:
        units = await swarm(rig, 6)
        rig.pools[0].faults.answering = "never"
        await units.all_find()
        await until(lambda: rig.pools[0].totals.accepted == 6)
        gone = rig.app.pools.pop(0)
        gone.stop()
        rig.app.assigner.poke()
        await units.have_jobs(2)
        await units.all_find()
        totals = rig.app.ledger.totals
        await until(lambda: totals().pending == 0)
        assert (totals().unknown, totals().accepted, totals().conservation_delta) == ({"stopped": 6}, 6, 0)
        assert not rig.pools[0].sessions
        assert units.is_plain()
