"""What simulated pools and miners do alike, whichever version of Stratum they speak."""

from typing import Any

import pytest
import trio

STEPS = {"v1": ("connect", "subscribe", "authorize"), "v2": ("connect", "handshake", "setup", "open")}


class Side:
    """Pools and miners of one version on a bench."""

    def __init__(self, bench: Any, version: str) -> None:
        suffix = "_v2" if version == "v2" else ""
        self.pool = getattr(bench, f"pool{suffix}")
        self.miner = getattr(bench, f"miner{suffix}")


@pytest.fixture(params=["v1", "v2"])
def side(request: pytest.FixtureRequest, bench: Any) -> Side:
    """Either version."""
    return Side(bench, request.param)


async def test_difficulty_counts_from_the_next_job(autojump_clock: Any, side: Side) -> None:
    pool = side.pool(refresh_s=60.0)
    miner = side.miner(pool)
    await trio.sleep(30)
    before = miner.totals.accepted
    pool.set_difficulty(1.0)
    await trio.sleep(20)
    during = miner.totals.accepted - before
    await trio.sleep(20)
    settled = miner.totals.accepted
    await trio.sleep(60)
    assert during > 40
    assert miner.totals.accepted == settled


async def test_a_block_moves_the_chain(autojump_clock: Any, side: Side) -> None:
    """A network target that one hash in 8,192 meets."""
    pool = side.pool(nbits=0x1F07FFFF, difficulty=2.0**-24, refresh_s=500.0)
    miner = side.miner(pool, lambda: 2_000.0)
    await trio.sleep(20)
    assert pool.totals.blocks >= 1
    assert miner.totals.jobs == 1 + pool.totals.blocks
    assert set(pool.totals.rejected) <= {"stale"}


async def test_a_silent_pool_still_answers(autojump_clock: Any, side: Side) -> None:
    pool = side.pool(refresh_s=5.0)
    miner = side.miner(pool)
    await trio.sleep(11)
    pool.faults.silent = True
    jobs, accepted = miner.totals.jobs, miner.totals.accepted
    await trio.sleep(60)
    assert miner.totals.jobs == jobs
    assert miner.totals.accepted > accepted + 100


@pytest.mark.parametrize(("version", "step"), [(version, step) for version, steps in STEPS.items() for step in steps])
async def test_a_pool_can_drop_everybody_at_a_step(autojump_clock: Any, bench: Any, version: str, step: str) -> None:
    side = Side(bench, version)
    pool = side.pool(**({"first_job": "authorize"} if version == "v1" else {}))
    pool.faults.drop_after = step
    miner = side.miner(pool)
    await trio.sleep(30)
    assert miner.totals.accepted == 0
    # A V2 pool that drops a connection once its channel is open has sent the job with it.
    assert (miner.totals.jobs == 0) is (step != "open")
    assert miner.totals.connections > 2
    pool.faults.drop_after = "nothing"
    await trio.sleep(60)
    assert miner.totals.accepted > 0
