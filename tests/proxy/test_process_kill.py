"""The whole proxy killed, ended and started again under load: what a unit was told is true for ever."""

import random
import signal
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from proxy.ledger.records import ShareState
from proxy.ledger.verify import verify
from proxy.sim.pool import PoolSpec, SimPool
from tests.support.hashing import KEY_BYTES, HashingUnit
from tests.support.patience import PATIENCE_S
from tests.support.process import Run, free_port, started
from tests.support.rig import EASY
from tests.support.site_file import pool, write_site

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

KILLS = 20
UNITS = 6
WINDOW = 8
SEED = 20
# No block: the pool remembers every share it ever took.
SPEC = PoolSpec(difficulty=EASY, block_interval_s=1e6, refresh_s=1e6)


class Plant:
    """A pool, a site file and units that come back for each run of the proxy."""

    def __init__(self, folder: Path, sim: SimPool, site_file: Path, address: tuple[str, int]) -> None:
        self.ledger = folder / "var" / "ledger.sqlite3"
        self.sim = sim
        self.site_file = site_file
        self.address = address
        self.acknowledged: set[bytes] = set()
        self.first_job_ids: list[str] = []

    @property
    def known_to_pool(self) -> set[bytes]:
        """Keys of all shares that the pool took."""
        return {block_hash[:KEY_BYTES] for block_hash in self.sim._seen}

    def rows(self) -> dict[bytes, tuple[ShareState, str | None]]:
        """The ledger's shares by key, read by nobody but SQLite."""
        conn = sqlite3.connect(self.ledger)
        found = conn.execute("select share_key, state, reason from share").fetchall()
        conn.close()
        assert len({key for key, _, _ in found}) == len(found)
        return {key: (ShareState(state), reason) for key, state, reason in found}

    @asynccontextmanager
    async def under_load(self) -> AsyncIterator[tuple[Run, list[HashingUnit]]]:
        """A run whose units have all had a share acknowledged. They hash on until the run or the block ends."""
        units = [HashingUnit(f"account.unit-{number}", EASY, WINDOW) for number in range(UNITS)]
        async with started(self.site_file) as run, trio.open_nursery() as nursery:
            for unit in units:
                nursery.start_soon(unit.run, self.address)
            for unit in units:
                await unit.reach(1)
            yield run, units
            # What was sent before the end is still in the sockets: the units read on until they see it.
        self.first_job_ids.append(str(units[0].first_job_id))
        for unit in units:
            assert not unit.refused
            # No share was acknowledged twice, over all runs.
            assert self.acknowledged.isdisjoint(unit.acknowledged)
            self.acknowledged |= unit.acknowledged

    def check(self, *, is_over: bool) -> None:
        """Nothing acknowledged is lost, nothing counts twice, and whatever the pool does not know has a name."""
        rows, known = self.rows(), self.known_to_pool
        assert self.acknowledged <= rows.keys()
        for key, (state, reason) in rows.items():
            if state is ShareState.ACCEPTED:
                assert key in known
            elif is_over:
                assert state is ShareState.UNKNOWN
                assert reason
        report = verify(f"sqlite:///{self.ledger}")
        assert report.problems == []
        assert report.received == len(rows)


@asynccontextmanager
async def plant(tmp_path: Path, **tables: object) -> AsyncIterator[Plant]:
    sim = SimPool(SPEC, random.Random(SEED), time.time)
    async with trio.open_nursery() as nursery:
        port = await nursery.start(sim.serve)
        nursery.start_soon(sim.run)
        address = ("127.0.0.1", free_port())
        site_file = write_site(
            tmp_path / "site.toml",
            [pool("north", port)],
            listen={"v1": f"{address[0]}:{address[1]}"},
            tables={"vardiff": {"enabled": False, "start_difficulty": EASY, "min_difficulty": 2.0**-30}, **tables},  # type: ignore[dict-item]
        )
        yield Plant(tmp_path, sim, site_file, address)
        nursery.cancel_scope.cancel()


async def test_kill_9_at_any_moment_loses_no_acknowledged_share_and_counts_none_twice(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    async with plant(tmp_path) as it:
        for _ in range(KILLS):
            async with it.under_load() as (run, units):
                await units[0].reach(rng.randrange(2, 60))
                assert await run.end(signal.SIGKILL) == -signal.SIGKILL
            it.check(is_over=False)
        # One more run closes what the last one left open.
        async with it.under_load() as (run, _):
            assert await run.end(signal.SIGTERM) == 0
        it.check(is_over=True)
        assert len(it.acknowledged) > KILLS * UNITS
        # A job id of an earlier run can not be mistaken for one of the next.
        assert len(set(it.first_job_ids)) == KILLS + 1
        reasons = {reason for state, reason in it.rows().values() if state is ShareState.UNKNOWN}
        assert reasons <= {"restart", "stopped"}
        assert verify(f"sqlite:///{it.ledger}").unclean_runs == KILLS


@pytest.mark.parametrize("is_answering", [True, False], ids=["answering pool", "silent pool"])
async def test_sigterm_ends_cleanly_with_every_share_settled_or_named(tmp_path: Path, is_answering: bool) -> None:
    async with plant(tmp_path) as it:
        async with it.under_load() as (run, units):
            it.sim.faults.answering = "now" if is_answering else "never"
            await units[0].reach(50)
            with trio.fail_after(PATIENCE_S):
                assert await run.end(signal.SIGTERM) == 0
            assert run.named("site.stopping")
            assert not [event for event in run.events if event["level"] == "error"]
        it.check(is_over=True)
        report = verify(f"sqlite:///{it.ledger}")
        assert report.unclean_runs == 0
        assert not report.states.get("sent")
        named = {reason for state, reason in it.rows().values() if state is ShareState.UNKNOWN}
        assert named <= {"stopped"}
        assert bool(named) or is_answering
