"""Pools fail in every way they know: units keep their coordinates, their connection and their work, and the books balance."""

import itertools
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from trio.testing import MockClock

from proxy.config import Listen, Vardiff
from proxy.sim.pool import PoolSpec, SimPool
from tests.support.rig import EASY, Rig, pass_time, passing, running, until
from tests.support.swarm import Swarm, swarm

FLEET = 228
# Nothing but the test makes jobs: no refresh, no block, no keepalive, no change of difficulty.
STILL: dict[str, object] = {
    "listen": Listen(
        v1="127.0.0.1:0", keepalive_job_s=110.0, idle_timeout_s=86_400.0, max_connections=2_000, max_connections_per_address=2_000
    ),
    "vardiff": Vardiff(enabled=False, min_difficulty=2.0**-32, start_difficulty=EASY),
}
PATIENT = {"job_timeout_s": 3_600.0, "return_after_s": 5.0}


def still(extranonce1_bytes: int = 4, extranonce2_bytes: int = 8, **spec: object) -> PoolSpec:
    """A pool that sends a job only when told."""
    return PoolSpec(
        difficulty=EASY,
        extranonce1_bytes=extranonce1_bytes,
        extranonce2_bytes=extranonce2_bytes,
        refresh_s=1e6,
        block_interval_s=1e6,
        **spec,  # type: ignore[arg-type]
    )


def kill(rig: Rig, pool: int) -> None:
    """Its process is gone: no connection, no listener."""
    rig.pools[pool].stop_listening()
    rig.pools[pool].reset_connections()


async def shares_at(rig: Rig, units: Swarm, pool: int) -> None:
    """One share of every unit, which this pool judges good."""
    wanted = rig.pools[pool].totals.accepted + len(units.units)
    await units.all_find()
    await until(lambda: rig.pools[pool].totals.accepted == wanted)


@pytest.mark.parametrize(
    ("first", "second"),
    [((4, 8), (8, 4)), ((0, 4), (8, 8)), ((8, 4), (0, 8)), ((1, 4), (5, 4))],
    ids=lambda sizes: f"e1-{sizes[0]}-e2-{sizes[1]}",
)
async def test_228_units_keep_their_coordinates_and_get_one_job_for_each_change_of_the_pool(
    tmp_path: Path, mock_clock: MockClock, first: tuple[int, int], second: tuple[int, int]
) -> None:
    specs = [still(*first), still(*second)]
    async with running(tmp_path, specs, pool_tables=[PATIENT, PATIENT], **STILL) as rig:
        units = await swarm(rig, FLEET)
        await shares_at(rig, units, 0)
        kill(rig, 0)
        await units.have_jobs(2)
        await shares_at(rig, units, 1)
        rig.pools[0].listen_again()
        await passing(mock_clock, lambda: min(units.job_counts()) == 3, limit_s=100)
        assert units.job_counts() == {3}
        await shares_at(rig, units, 0)
        rig.pools[0].set_extranonce()
        await units.have_jobs(4)
        await shares_at(rig, units, 0)
        assert units.is_plain()
        assert not rig.pools[0].totals.rejected
        assert not rig.pools[1].totals.rejected
        await until(lambda: rig.app.ledger.totals().pending == 0)
        totals = rig.app.ledger.totals()
        assert (totals.accepted, totals.received, totals.conservation_delta) == (4 * FLEET, 4 * FLEET, 0)
        assert rig.app.reactor.connection_count == FLEET


async def test_a_standby_is_subscribed_before_it_is_needed_and_the_switch_takes_no_time_at_all(tmp_path: Path) -> None:
    async with running(tmp_path, [still(), still()], **STILL) as rig:
        units = await swarm(rig, 8)
        assert [pool.totals.connections for pool in rig.pools] == [1, 1]
        assert rig.app.pools[1].is_ready
        kill(rig, 0)
        await units.have_jobs(2)
        await shares_at(rig, units, 1)
        assert rig.pools[1].totals.connections == 1


async def test_case_31_two_pools_with_the_same_job_ids_each_get_their_own_shares(tmp_path: Path, mock_clock: MockClock) -> None:
    specs = [still(job_prefix="7"), still(job_prefix="7")]
    async with running(tmp_path, specs, pool_tables=[PATIENT, PATIENT], **STILL) as rig:
        units = await swarm(rig, 8)
        kill(rig, 0)
        await units.have_jobs(2)
        rig.pools[0].listen_again()
        await passing(mock_clock, lambda: units.job_counts() == {3}, limit_s=100)
        assert rig.pools[0].template.job_id == rig.pools[1].template.job_id
        await units.all_find(job=-2)
        await until(lambda: rig.pools[1].totals.accepted == 8)
        await shares_at(rig, units, 0)
        assert not rig.pools[0].totals.rejected
        assert not rig.pools[1].totals.rejected
        assert len({job["params"][0] for job in units.units[0].jobs}) == 3  # type: ignore[index]


@pytest.mark.parametrize("resumes", [True, False])
async def test_case_67_each_of_100_shares_in_flight_at_a_switch_is_its_own_pools_or_named(
    tmp_path: Path, mock_clock: MockClock, resumes: bool
) -> None:
    specs = [still(resume_sessions=resumes), still()]
    async with running(tmp_path, specs, pool_tables=[PATIENT, PATIENT], **STILL) as rig:
        units = await swarm(rig, 50)
        first, second = (pool.totals for pool in rig.pools)
        rig.pools[0].faults.answering = "never"
        for _ in range(2):
            await units.all_find()
        await until(lambda: first.accepted == 100)
        kill(rig, 0)
        await units.have_jobs(2)
        for unit in units.units:
            await unit.find(job=-2)
        await units.all_find()
        totals = rig.app.ledger.totals
        await until(lambda: totals().rejected == {"pool-gone": 50} and totals().accepted == second.accepted == 50)
        assert totals().pending == 100
        rig.pools[0].faults.answering = "now"
        rig.pools[0].listen_again()
        await passing(mock_clock, lambda: totals().pending == 0, limit_s=40)
        in_doubt = 0 if resumes else 100
        assert totals().accepted == first.accepted + second.accepted - in_doubt == 150 - in_doubt
        assert totals().unknown == ({} if resumes else {"session-lost": 100})
        assert (totals().conservation_delta, totals().received) == (0, 200)
        assert units.is_plain()


@pytest.mark.parametrize(("up_s", "down_s", "most"), [(10.0, 10.0, 1), (75.0, 10.0, 8)])
async def test_case_68_a_primary_that_flaps_for_an_hour_moves_the_fleet_a_few_times_at_most(
    tmp_path: Path, mock_clock: MockClock, up_s: float, down_s: float, most: int
) -> None:
    specs = [PoolSpec(difficulty=EASY), PoolSpec(difficulty=EASY)]
    async with running(tmp_path, specs, **STILL) as rig:
        units = await swarm(rig, 4)
        for _ in range(int(3_600 / (up_s + down_s))):
            kill(rig, 0)
            await pass_time(mock_clock, down_s, 5.0)
            rig.pools[0].listen_again()
            await pass_time(mock_clock, up_s, 5.0)
        used = [event.facts["pools"] for event in rig.app.events.since(0) if event.name == "ladder.decided"]
        switches = sum(now != before for before, now in itertools.pairwise(each for each in used if each))
        assert 1 <= switches <= most
        await units.all_find()
        assert units.is_plain()


@pytest.mark.parametrize("outage_s", [11.0, 600.0, 36_000.0])
async def test_case_69_with_all_pools_down_units_stay_shares_are_refused_and_work_flows_again(
    tmp_path: Path, mock_clock: MockClock, outage_s: float
) -> None:
    async with running(tmp_path, [still(), still()], pool_tables=[PATIENT, PATIENT], **STILL) as rig:
        units = await swarm(rig, 6)
        kill(rig, 0)
        kill(rig, 1)
        await until(lambda: not any(pool.is_ready for pool in rig.app.pools))
        refused = 0
        for _ in range(4):
            await pass_time(mock_clock, outage_s / 4, max(0.5, outage_s / 80))
            asked = [(unit, await unit.find()) for unit in units.units]
            await until(lambda asked=asked: all(units.answer(unit, request) for unit, request in asked))
            assert not any(units.answer(unit, request)["result"] for unit, request in asked)  # type: ignore[index]
            refused += len(asked)
        await until(lambda: rig.app.ledger.totals().rejected == {"pool-gone": refused})
        phases = [event.facts["phase"] for event in rig.app.events.since(0) if event.name == "ladder.decided"]
        assert phases[-1] == "shortfall"
        for pool in rig.pools:
            pool.listen_again()
        await passing(mock_clock, lambda: all(channel.session for channel in rig.app.router.channels), limit_s=60)
        await units.all_find()
        await until(lambda: sum(pool.totals.accepted for pool in rig.pools) == 6)
        assert units.is_plain()
        assert rig.app.reactor.connection_count == 6


def _silent(pool: SimPool) -> None:
    pool.faults.silent = True


def _never_answers(pool: SimPool) -> None:
    pool.faults.answering = "never"


def _answers_late(pool: SimPool) -> None:
    pool.faults.answering, pool.faults.answer_delay_s = "late", 45.0


def _refuses_half(pool: SimPool) -> None:
    pool.faults.reject_part = 0.5


@pytest.mark.parametrize(
    ("trouble", "cause"),
    [
        (SimPool.freeze, "unanswered|no job"),
        (_silent, "no job for"),
        (_never_answers, "unanswered"),
        (_answers_late, "unanswered"),
        (_refuses_half, r"refused \d+%"),
    ],
    ids=["frozen", "silent", "never-answers", "answers-late", "refuses-half"],
)
async def test_a_pool_that_is_connected_but_worthless_is_left_for_its_health(
    tmp_path: Path, mock_clock: MockClock, trouble: Callable[[SimPool], None], cause: str
) -> None:
    specs = [PoolSpec(difficulty=EASY), PoolSpec(difficulty=EASY)]
    async with running(tmp_path, specs, **STILL) as rig:
        units = await swarm(rig, 6)
        trouble(rig.pools[0])
        on_second = lambda: all(channel.session.pool == "pool-1" for channel in rig.app.router.channels)  # noqa: E731
        waited_s = 0.0
        while not on_second():
            assert waited_s < 200, "nobody left"
            for unit in units.units:
                await unit.find()
            await pass_time(mock_clock, 5.0, 2.5)
            waited_s += 5.0
        assert rig.app.pools[0].is_ready
        assert rig.pools[0].totals.connections == 1
        causes = [str(event.facts["cause"]) for event in rig.app.events.since(0) if event.name == "ladder.decided"]
        assert re.search(cause, causes[-1]), causes
        await shares_at(rig, units, 1)
        assert units.is_plain()


@pytest.mark.parametrize("trouble", [SimPool.freeze, _silent], ids=["frozen", "silent"])
async def test_a_pool_that_gives_no_work_at_the_start_is_not_waited_for(
    tmp_path: Path, mock_clock: MockClock, trouble: Callable[[SimPool], None]
) -> None:
    async with running(tmp_path, [still(), still()], before=lambda pools: trouble(pools[0]), **STILL) as rig:
        await until(lambda: rig.app.pools[1].is_ready)
        miner = await rig.miner()
        await miner.hello()
        assert await passing(mock_clock, lambda: rig.app.router.by_unit["account.unit"].session is not None, limit_s=30) <= 6
        await miner.expect("mining.notify")
        assert rig.app.router.by_unit["account.unit"].session.pool == "pool-1"  # type: ignore[union-attr]


async def test_units_come_back_in_quarters_after_the_pool_was_steady(tmp_path: Path, mock_clock: MockClock) -> None:
    tables = [{**PATIENT, "return_after_s": 20.0}, PATIENT]
    async with running(tmp_path, [still(), still()], pool_tables=tables, **STILL) as rig:
        units = await swarm(rig, 160)
        kill(rig, 0)
        await units.have_jobs(2)
        rig.pools[0].listen_again()
        back = lambda: sum(channel.session.pool == "pool-0" for channel in rig.app.router.channels) / 160  # noqa: E731
        await passing(mock_clock, lambda: rig.app.pools[0].is_ready, limit_s=5)
        assert await passing(mock_clock, back, limit_s=40) >= 20.0
        for part in (0.25, 0.5, 0.75):
            assert back() == pytest.approx(part, abs=0.12)
            await pass_time(mock_clock, 15.0)
        assert back() == 1.0
        await units.have_jobs(3)
        await shares_at(rig, units, 0)
        assert rig.pools[1].totals.accepted == 0
