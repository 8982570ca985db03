"""One connection to the pool, one a group, or one a unit; and coordinates that are nobody else's."""

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from proxy.config import Listen, Vardiff
from proxy.sim.pool import PoolSpec
from tests.support.rig import EASY, Rig, pass_time, passing, running, until
from tests.support.swarm import Swarm, swarm
from tests.support.wire import Wire

STILL: dict[str, object] = {
    "listen": Listen(v1="127.0.0.1:0", keepalive_job_s=110.0, idle_timeout_s=86_400.0, max_connections_per_address=2_000),
    "vardiff": Vardiff(enabled=False, min_difficulty=2.0**-32, start_difficulty=EASY),
}


def still(**spec: object) -> PoolSpec:
    return PoolSpec(difficulty=EASY, refresh_s=1e6, block_interval_s=1e6, **spec)  # type: ignore[arg-type]


def mode(name: str, **keys: object) -> dict[str, object]:
    return {"mode": name, "job_timeout_s": 3_600.0, "return_after_s": 5.0, **keys}


def placed(rig: Rig) -> bool:
    """Every unit works on a connection of its own or of its group."""
    pools = {pool.name: pool for pool in rig.app.pools}
    return all(
        channel.session is not None and channel.session is pools[channel.session.pool].session_for(channel.unit)
        for channel in rig.app.router.channels
    )


async def settled(units: Swarm) -> None:
    """Every unit is on its own connection and has read its job; new units borrow the pool's first one for a moment."""
    await until(lambda: placed(units.rig) and units.are_on_newest_jobs())


async def test_aggregated_is_one_connection_for_everybody(tmp_path: Path) -> None:
    async with running(tmp_path, [still()], pool_tables=[mode("aggregated")], **STILL) as rig:
        units = await swarm(rig, 120)
        await units.all_find()
        await until(lambda: rig.pools[0].totals.accepted == 120)
        assert rig.pools[0].totals.connections == 1
        assert set(rig.pools[0].totals.work_by_user) == {"account"}


async def test_grouped_is_one_connection_for_each_fifty(tmp_path: Path) -> None:
    async with running(tmp_path, [still()], pool_tables=[mode("grouped", group_size=50)], **STILL) as rig:
        units = await swarm(rig, 120)
        await settled(units)
        for _ in range(2):
            await units.all_find()
        await until(lambda: rig.pools[0].totals.accepted == 240)
        assert rig.pools[0].totals.connections == 3
        assert sorted(session.accepted for session in rig.pools[0].sessions)[0] >= 20
        assert len({session.extranonce1 for session in rig.pools[0].sessions}) == 3
        assert not rig.pools[0].totals.rejected
        assert units.is_plain()


async def test_per_unit_is_one_connection_each_under_a_name_of_its_own(tmp_path: Path) -> None:
    async with running(tmp_path, [still()], pool_tables=[mode("per_unit", user="farm")], **STILL) as rig:
        units = await swarm(rig, 20)
        await settled(units)
        before = dict(rig.pools[0].totals.work_by_user)
        await units.all_find()
        await until(lambda: rig.pools[0].totals.accepted == 20)
        assert not before
        assert set(rig.pools[0].totals.work_by_user) == {f"farm.{unit.user}" for unit in units.units}
        # And the one that is always kept.
        assert len(rig.pools[0].sessions) == 21
        assert units.is_plain()


async def test_per_unit_without_suffix_uses_the_account_itself_for_everybody(tmp_path: Path) -> None:
    async with running(tmp_path, [still()], pool_tables=[mode("per_unit", unit_suffix=False)], **STILL) as rig:
        units = await swarm(rig, 5)
        await settled(units)
        await units.all_find()
        await until(lambda: rig.pools[0].totals.accepted == 5)
        assert set(rig.pools[0].totals.work_by_user) == {"account"}
        assert len(rig.pools[0].sessions) == 5


async def test_a_unit_that_reconnects_gets_its_old_connection_to_the_pool(tmp_path: Path, mock_clock: MockClock) -> None:
    async with running(tmp_path, [still()], pool_tables=[mode("per_unit")], **STILL) as rig:
        units = await swarm(rig, 3)
        await settled(units)
        made = rig.pools[0].totals.connections
        await units.units[0].miner.stream.aclose()
        await until(lambda: len(rig.app.router.channels) == 2)
        await pass_time(mock_clock, 60.0, 5.0)
        again = await rig.miner()
        await again.hello("account.unit-000")
        await again.expect("mining.notify")
        assert placed(rig)
        assert rig.pools[0].totals.connections == made == 4


async def test_a_connection_without_units_is_closed_after_two_minutes(tmp_path: Path, mock_clock: MockClock) -> None:
    async with running(tmp_path, [still()], pool_tables=[mode("per_unit")], **STILL) as rig:
        units = await swarm(rig, 3)
        await settled(units)
        for unit in units.units[:2]:
            await unit.miner.stream.aclose()
        await until(lambda: len(rig.app.router.channels) == 1)
        await pass_time(mock_clock, 115.0, 5.0)
        assert len(rig.pools[0].sessions) == 4
        await passing(mock_clock, lambda: len(rig.pools[0].sessions) == 2, limit_s=20)
        assert placed(rig)


async def test_case_66_a_unit_whose_name_the_pool_refuses_works_under_the_account(tmp_path: Path, mock_clock: MockClock) -> None:
    refuse = lambda pools: pools[0].faults.refuse_users.add("account.account.unit-001")  # noqa: E731
    async with running(tmp_path, [still()], pool_tables=[mode("per_unit")], before=refuse, **STILL) as rig:
        units = await swarm(rig, 3)
        await until(lambda: len(rig.pools[0].sessions) >= 3)
        await units.all_find()
        await until(lambda: rig.pools[0].totals.accepted == 3)
        await passing(mock_clock, lambda: "account.unit-001 refused" in str(rig.app.pools[0].failure), limit_s=20)
        await units.all_find()
        await until(lambda: rig.pools[0].totals.accepted == 6)
        assert rig.pools[0].totals.work_by_user.get("account", 0) > 0
        assert units.is_plain()


@pytest.mark.parametrize("name", ["per_unit", "grouped"])
async def test_a_switch_to_a_pool_of_many_connections_and_back_is_one_job_each(
    tmp_path: Path, mock_clock: MockClock, name: str
) -> None:
    """Units stay where they are until their own connection has work."""
    tables = [mode("aggregated"), mode(name, group_size=10)]
    async with running(tmp_path, [still(), still()], pool_tables=tables, **STILL) as rig:
        units = await swarm(rig, 40)
        rig.pools[0].faults.reject_part = 1.0
        on_second = lambda: all(channel.session.pool == "pool-1" for channel in rig.app.router.channels)  # noqa: E731
        await units.all_find()
        await passing(mock_clock, lambda: on_second() and placed(rig), limit_s=100)
        await units.have_jobs(2)
        rig.pools[0].faults.reject_part = 0.0
        await units.all_find()
        await until(lambda: rig.pools[1].totals.accepted == 40)
        assert units.is_plain()
        assert not rig.pools[1].totals.rejected


# -- coordinates


def test_case_20_21_prefixes_are_nobody_elses_over_2000_connections_and_rest_after_use() -> None:
    """A prefix is free of its earlier owner's work: it rests ten minutes before another unit gets it."""
    wire = Wire()
    held: dict[str, object] = {}
    freed_s: dict[str, float] = {}
    for turn in range(2_000):
        wire.now_s = turn * 0.5
        unit = wire.connect()
        unit.says("mining.subscribe", "test/1.0")
        prefix = str(unit.lines()[0]["result"][1])  # type: ignore[index]
        assert len(prefix) == 4
        assert prefix not in held
        assert wire.now_s - freed_s.get(prefix, -600.0) >= 600.0
        held[prefix] = unit.session
        if turn % 8:
            prefix = next(iter(held))
            held.pop(prefix).closed("left")  # type: ignore[attr-defined]
            freed_s[prefix] = wire.now_s
    assert wire.server.reception.allocator.in_use == len(held) == 250
    wire.close()


async def test_case_21_a_unit_that_drops_and_comes_back_never_meets_another_on_its_prefix(tmp_path: Path) -> None:
    async with running(tmp_path, [still()], **STILL) as rig:
        await until(lambda: rig.app.pools[0].is_ready)
        seen: set[str] = set()

        async def come_and_go(number: int) -> None:
            for _ in range(5):
                miner = await rig.miner()
                hello = await miner.hello(f"account.unit-{number}")
                prefix = str(hello["result"][1])  # type: ignore[index]
                assert prefix not in seen
                seen.add(prefix)
                await miner.expect("mining.notify")
                await miner.stream.aclose()

        async with trio.open_nursery() as nursery:
            for number in range(40):
                nursery.start_soon(come_and_go, number)
        assert len(seen) == 200
        await until(lambda: rig.app.allocator.in_use == 0)
