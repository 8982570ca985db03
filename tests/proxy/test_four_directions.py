"""Pools and devices of both protocol versions on one proxy: whatever happens, work is never shared out twice and all books agree.

A story is a list of acts drawn by hypothesis. After each act, what every device works on is compared; at the end all shares are
settled and devices, ledger and pools must have counted the same.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from protocol.mining.job import VERSION_MASK_BIP320
from proxy.sim.miner import MinerSpec
from proxy.sim.miner_v2 import MinerSpecV2
from proxy.sim.pool import PoolSpec
from proxy.sim.pool_v2 import PoolSpecV2
from tests.support.twins import EASY, QUIET, Twins, twins

V1_POOLS = (
    PoolSpec(name="north", extranonce1_bytes=4, extranonce2_bytes=8, job_prefix="n", **QUIET),
    PoolSpec(name="south", extranonce1_bytes=8, extranonce2_bytes=4, job_prefix="s", **QUIET),
)
V2_POOLS = (
    PoolSpecV2(name="north", prefix_bytes=4, extranonce_bytes=8, job_prefix="n", **QUIET),
    PoolSpecV2(name="south", prefix_bytes=11, extranonce_bytes=5, job_prefix="s", **QUIET),
)
# Which version the first and the second pool speak.
POOLS = {
    "V1 and V1": V1_POOLS,
    "V2 and V1": (V2_POOLS[0], V1_POOLS[1]),
    "V1 and V2": (V1_POOLS[0], V2_POOLS[1]),
    "V2 and V2": V2_POOLS,
}
TODAYS_CHIPS = {"strict": True, "version_bits": VERSION_MASK_BIP320}
DEVICES = (
    MinerSpec(worker="a", strict=True),
    MinerSpec(worker="b", strict=True, rolls_version=False, restarts_extranonce2=True),
    MinerSpec(worker="c", strict=True, resume=True),
    MinerSpecV2(worker="d", **TODAYS_CHIPS),
    MinerSpecV2(worker="e", is_standard=True, requires_standard_jobs=True, **TODAYS_CHIPS),
    MinerSpecV2(worker="f", rolls_version=False, restarts_extranonce2=True, strict=True, extensions=()),
)
# Acts that make earlier work worthless: shares on their way may cross with them.
ACTS = {
    "hash": st.tuples(st.just("hash"), st.integers(20, 200)),
    "settle": st.tuples(st.just("settle"), st.just(0)),
    "refresh": st.tuples(st.just("refresh"), st.integers(0, 1)),
    "block": st.tuples(st.just("block"), st.integers(0, 1)),
    "difficulty": st.tuples(st.just("difficulty"), st.integers(0, 1)),
    "coordinates": st.tuples(st.just("coordinates"), st.integers(0, 1)),
    "switch": st.tuples(st.just("switch"), st.integers(0, 1)),
    "restart": st.tuples(st.just("restart"), st.integers(0, len(DEVICES) - 1)),
    "command": st.tuples(st.just("command"), st.integers(0, len(DEVICES) - 1)),
}
Act = tuple[str, int]


async def perform(site: Twins, act: Act) -> None:
    """One act of a story."""
    name, number = act
    pool = site.pools[number % 2]
    match name:
        case "hash":
            site.hash(number)
        case "settle":
            await site.settle()
        case "refresh":
            pool.refresh()
        case "block":
            pool.new_block()
        case "difficulty":
            pool.set_difficulty(EASY / 2 if pool.difficulty == EASY else EASY)
            pool.refresh()
        case "coordinates":
            if isinstance(pool.spec, PoolSpecV2):
                pool.set_prefix()
            else:
                pool.set_extranonce()
        case "switch":
            await switch(site)
        case "restart":
            site.miners[number].restart()
        case "command":
            site.app.router.expect_hashrate(f"unit-{number}", 40.0 * (1 + number))


async def switch(site: Twins) -> None:
    """The first pool fails; or, when it is away, it comes back."""
    if site.app.pools[0].is_ready:
        await site.fail(0)
    else:
        await site.come_back(0)


async def tell(folder: Path, story: list[Act], pools: Sequence[PoolSpec | PoolSpecV2], clock: MockClock) -> None:
    async with twins(folder, clock, pools, DEVICES) as site:
        for act in story:
            await perform(site, act)
            await trio.testing.wait_all_tasks_blocked(0.001)
            site.check_search_spaces()
            site.hash(40)
        await site.settle()
        site.check_books(may_cross=True)


@pytest.mark.parametrize("versions", POOLS)
@settings(max_examples=3, derandomize=True)
@given(story=st.lists(st.one_of(*ACTS.values()), min_size=5, max_size=20))
def test_no_story_shares_out_work_twice_or_loses_a_share(versions: str, story: list[Act]) -> None:
    clock = MockClock()
    with tempfile.TemporaryDirectory() as folder:
        trio.run(tell, Path(folder), story, POOLS[versions], clock, clock=clock)
