"""A pool and miners joined by memory streams, in virtual time."""

import random
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

from proxy.sim.hasher import Hasher
from proxy.sim.miner import MinerSpec, SimMiner
from proxy.sim.miner_v2 import MinerSpecV2, SimMinerV2
from proxy.sim.pool import PoolSpec, SimPool
from proxy.sim.pool_core import PoolCore
from proxy.sim.pool_v2 import PoolSpecV2, SimPoolV2

# 2**-26: a share every 64 hashes on average, so that a test of seconds sees hundreds.
EASY = 2.0**-26
START_UNIX_S = 1_700_000_000.0


class Bench:
    """Starts pools and miners in the test's nursery; everything ends with it."""

    def __init__(self, nursery: trio.Nursery, seed: int = 11) -> None:
        self.nursery = nursery
        self.rng = random.Random(seed)
        self.hasher = Hasher()
        nursery.start_soon(self.hasher.run)

    def pool(self, **facts: object) -> SimPool:
        spec = PoolSpec(**{"difficulty": EASY, **facts})
        pool = SimPool(spec, self.rng, wall_clock)
        self.nursery.start_soon(pool.run)
        return pool

    def pool_v2(self, **facts: object) -> SimPoolV2:
        pool = SimPoolV2(PoolSpecV2(**{"difficulty": EASY, **facts}), self.rng, wall_clock)
        self.nursery.start_soon(pool.run)
        return pool

    def miner(self, pool: SimPool, hashrate_hps: Callable[[], float] = lambda: 200.0, **facts: object) -> SimMiner:
        spec = MinerSpec(**{"worker": "site.unit", **facts})
        miner = SimMiner(spec, hashrate_hps, self.hasher, self.rng, self.connector(pool))
        self.nursery.start_soon(miner.run)
        return miner

    def miner_v2(self, pool: SimPoolV2, hashrate_hps: Callable[[], float] = lambda: 200.0, **facts: object) -> SimMinerV2:
        spec = MinerSpecV2(**{"worker": "site.unit", **facts})
        key = pool.authority.public_x
        connect = self.connector(pool)
        miner = SimMinerV2(spec, hashrate_hps, self.hasher, self.rng, connect, authority_x=key, wall_clock=wall_clock)
        self.nursery.start_soon(miner.run)
        return miner

    def connector(self, pool: PoolCore[Any]) -> Callable[[], Any]:
        async def connect() -> trio.abc.Stream:
            ours, theirs = trio.testing.memory_stream_pair()
            self.nursery.start_soon(pool.serve_stream, theirs)
            return ours

        return connect


def wall_clock() -> float:
    return START_UNIX_S + trio.current_time()


@pytest.fixture
def bench(nursery: trio.Nursery) -> Bench:
    """A bench. The test itself has to ask for `autojump_clock`: pytest-trio looks for a clock in its arguments only."""
    return Bench(nursery)
