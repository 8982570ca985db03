"""SIGHUP to the running product under load: nobody is disconnected, and a broken file changes nothing."""

import random
import signal
import time
from pathlib import Path

import pytest
import trio

from proxy.sim.pool import PoolSpec, SimPool
from tests.support.hashing import HashingUnit
from tests.support.process import free_port, started
from tests.support.rig import EASY
from tests.support.site_file import pool, write_site

pytestmark = pytest.mark.slow

RELOADS = 20
UNITS = 4


async def test_twenty_hangups_under_load_drop_nobody(tmp_path: Path) -> None:
    sim = SimPool(PoolSpec(difficulty=EASY), random.Random(5), time.time)
    address = ("127.0.0.1", free_port())
    async with trio.open_nursery() as nursery:
        port = await nursery.start(sim.serve)
        nursery.start_soon(sim.run)

        def write(level: str = "info", **keys: object) -> Path:
            tables = {
                "vardiff": {"enabled": False, "start_difficulty": EASY, "min_difficulty": 2.0**-30},
                "log": {"level": level},
            }
            listen = {"v1": f"{address[0]}:{address[1]}"}
            return write_site(tmp_path / "site.toml", [pool("north", port, **keys)], listen=listen, tables=tables)

        units = [HashingUnit(f"account.unit-{number}", EASY, 4) for number in range(UNITS)]
        async with started(write()) as run:
            for unit in units:
                nursery.start_soon(unit.run, address)
            for number in range(RELOADS):
                write(weight=1.0 + number)
                run.send(signal.SIGHUP)
                await run.says("site.reloaded", number + 1)
                for unit in units:
                    await unit.reach(len(unit.acknowledged) + 1)
            write(weight=-1.0, userr="x")
            run.send(signal.SIGHUP)
            await run.says("reload.refused", 2)
            problems = " ".join(str(event["problem"]) for event in run.named("reload.refused"))
            assert "pools[0].weight" in problems
            assert "userr" in problems
            assert len(run.named("site.reloaded")) == RELOADS
            write(level="error")
            run.send(signal.SIGHUP)
            for unit in units:
                await unit.reach(len(unit.acknowledged) + 50)
            assert not run.named("miner.left")
            assert not any(unit.refused for unit in units)
            assert sim.totals.connections == 1
            assert await run.end(signal.SIGTERM) == 0
            # Units left at the end, at level info: nobody said so any more.
            assert not run.named("miner.left")
        nursery.cancel_scope.cancel()
