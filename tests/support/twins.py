"""A whole site of twins: pools and devices of both protocol versions around the real proxy, on loopback sockets, in virtual time.

Nothing hashes by itself: `hash` gives every device its hashes, so that a story can be told again. The checks look at what the
devices really work on and at the books of all sides; they ask the proxy for nothing but its ledger.
"""

import itertools
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
import trio.testing
from trio.testing import MockClock

from protocol.bitcoin.target import HASHES_PER_DIFFICULTY
from proxy.app import App
from proxy.config import Listen, Pool, Vardiff
from proxy.key_file import write_keys
from proxy.sim.hasher import Hasher
from proxy.sim.miner import MinerSpec, SimMiner
from proxy.sim.miner_core import MinerCore, tcp_connector
from proxy.sim.miner_v2 import MinerSpecV2, SimMinerV2
from proxy.sim.pool import PoolSpec, SimPool
from proxy.sim.pool_v2 import PoolSpecV2, SimPoolV2
from proxy.sim.search import Coinbase
from tests.support.rig import passing, site_config, until

EASY = 2.0**-28  # 16 hashes a share
START_DIFFICULTY = 2.0**-27
QUIET = {"refresh_s": 1e6, "block_interval_s": 1e6, "difficulty": EASY}
POOL_TABLE = {"job_timeout_s": 3_600.0, "return_after_s": 5.0, "answer_timeout_s": 10.0}
# What a share may be refused for when it crossed with the change that made it worthless.
CROSSED = {"stale", "unknown-job"}

SimAnyPool = SimPool | SimPoolV2


class Twins:
    """The site. `pools` in order of priority."""

    def __init__(self, app: App, pools: list[SimAnyPool], miners: list[MinerCore], clock: MockClock) -> None:
        self.app = app
        self.pools = pools
        self.miners = miners
        self.clock = clock

    # --- acts

    def hash(self, count: int) -> None:
        """Every device tries `count` hashes; what it finds is on its way when this returns."""
        for miner in self.miners:
            miner.hash(count)

    async def settle(self) -> None:
        """Until every share has its answer on all sides, and everybody has work."""
        await passing(self.clock, self._is_settled)

    def _is_settled(self) -> bool:
        are_working = all(miner.is_mining and not miner.unanswered for miner in self.miners)
        return are_working and not self.app.ledger.totals().pending

    async def fail(self, index: int) -> None:
        """A pool's process is gone, and the proxy knows."""
        self.pools[index].stop_listening()
        self.pools[index].reset_connections()
        await until(lambda: not self.app.pools[index].is_ready)

    async def come_back(self, index: int) -> None:
        """It is there again, steady enough for units to return."""
        self.pools[index].listen_again()
        await passing(self.clock, lambda: self.app.pools[index].is_ready)
        for _ in range(40):
            self.clock.jump(0.5)
            await trio.testing.wait_all_tasks_blocked(0.001)

    # --- checks

    def check_search_spaces(self) -> None:
        """No header that one device may hash can be hashed by another."""
        coinbases: dict[object, list[bytes]] = {}
        roots: Counter[tuple[bytes, bytes]] = Counter()
        for miner in self.miners:
            puzzle = miner.puzzle
            if puzzle is None:
                continue
            if isinstance(puzzle.content, Coinbase):
                content = puzzle.content
                key = (puzzle.prev_hash, content.merkle_path, content.tail, len(content.head) + content.rolled_bytes)
                coinbases.setdefault(key, []).append(content.head)
            else:
                roots[puzzle.prev_hash, puzzle.content] += 1
        for heads in coinbases.values():
            heads.sort()
            assert not any(later.startswith(head) for head, later in itertools.pairwise(heads)), heads
        assert not [root for root, count in roots.items() if count > 1]
        self._check_prefixes()

    def _check_prefixes(self) -> None:
        """Coordinates are prefix-free over all kinds of channels: a standard one has the whole extranonce as its prefix."""
        prefixes = sorted(prefix for prefix in map(prefix_of, self.miners) if prefix is not None)
        assert not any(later.startswith(earlier) for earlier, later in itertools.pairwise(prefixes)), [
            prefix.hex() for prefix in prefixes
        ]

    def check_books(self, *, may_cross: bool = False) -> None:
        """Devices, ledger and pools agree to the last share. may_cross: some work was changed under shares on their way."""
        totals = self.app.ledger.totals()
        refused_by_pools = sum((pool.totals.rejected for pool in self.pools), Counter[str]())
        allowed = CROSSED if may_cross else set()
        assert totals.conservation_delta == 0
        assert set(totals.rejected) <= allowed, totals
        assert set(refused_by_pools) <= allowed, refused_by_pools
        told_true = sum(miner.totals.accepted for miner in self.miners)
        lost = sum(miner.totals.lost for miner in self.miners)
        good = totals.received - sum(totals.rejected.values())
        assert told_true <= good <= told_true + lost
        at_pools = sum(pool.totals.accepted for pool in self.pools)
        unknown = sum(totals.unknown.values())
        assert totals.accepted <= at_pools <= totals.accepted + unknown, totals
        if not unknown:
            assert _is_close(sum(pool.totals.accepted_work for pool in self.pools), totals.accepted_work)
        if not lost:
            proven = sum(miner.totals.accepted_difficulty for miner in self.miners) * HASHES_PER_DIFFICULTY
            assert _is_close(proven, totals.valid_work)
        for entry, pool in zip(self.app.pools, self.pools, strict=True):
            if not entry.account.unknown:
                assert _is_close(entry.account.accepted_work, pool.totals.accepted_work), entry.name
            assert not entry.account.mismatched_batches
        assert not any(getattr(miner, "failures", ()) for miner in self.miners)
        assert not any(miner.totals.refused_messages for miner in self.miners)


def prefix_of(miner: MinerCore) -> bytes | None:
    """The part of the extranonce that a device was given for good; None while it has no work."""
    session = miner.session
    if session is None or not session.has_work:
        return None
    if isinstance(miner, SimMinerV2):
        assert miner.session is not None
        return miner.session.channel.extranonce_prefix if miner.session.channel is not None else None
    assert isinstance(miner, SimMiner)
    assert miner.session is not None
    return miner.session.extranonce1


def _is_close(one: float, other: float) -> bool:
    return abs(one - other) <= 1e-9 * max(one, other, 1.0)


@asynccontextmanager
async def twins(
    folder: Path,
    clock: MockClock,
    pools: Sequence[PoolSpec | PoolSpecV2],
    devices: Sequence[MinerSpec | MinerSpecV2],
    *,
    seed: int = 1,
    pool_tables: Sequence[dict[str, Any]] = (),
    **tables: object,
) -> AsyncIterator[Twins]:
    """A running site; everybody has work when it is given."""
    rng = random.Random(seed)
    async with trio.open_nursery() as nursery:
        sims = [await _serve(nursery, spec, rng) for spec in pools]
        entries = []
        for number, sim in enumerate(sims):
            url = sim.url if isinstance(sim, SimPoolV2) else f"stratum+tcp://127.0.0.1:{sim.port}"
            table: dict[str, Any] = {"name": sim.name, "url": url, "user": "account", "priority": number, **POOL_TABLE}
            entries.append(Pool(**table | (pool_tables[number] if number < len(pool_tables) else {})))
        config = site_config(folder, entries, **{"listen": _listen(folder), "vardiff": _VARDIFF, **tables})
        app = App(config, folder / "site.toml")
        assert app.identity is not None
        app.reactor.listen()
        await nursery.start(app.ledger.run)
        app.start_work(nursery)
        await until(lambda: all(pool.is_ready for pool in app.pools))
        hasher = Hasher()
        miners = [_device(app, spec, hasher, random.Random(rng.getrandbits(64)), folder) for spec in devices]
        for miner in miners:
            nursery.start_soon(miner.run)
        site = Twins(app, sims, miners, clock)
        await site.settle()
        yield site
        nursery.cancel_scope.cancel()


_VARDIFF = Vardiff(enabled=False, min_difficulty=2.0**-32, start_difficulty=START_DIFFICULTY)


def _listen(folder: Path) -> Listen:
    write_keys(folder / "keys.toml", os.urandom)
    return Listen(
        v1="127.0.0.1:0",
        v2="127.0.0.1:0",
        v2_identity=str(folder / "keys.toml"),
        max_connections=2_000,
        max_connections_per_address=2_000,
        idle_timeout_s=86_400.0,
    )


async def _serve(nursery: trio.Nursery, spec: PoolSpec | PoolSpecV2, rng: random.Random) -> SimAnyPool:
    pool: SimAnyPool = SimPoolV2(spec, rng, time.time) if isinstance(spec, PoolSpecV2) else SimPool(spec, rng, time.time)
    await nursery.start(pool.serve)
    nursery.start_soon(pool.run)
    return pool


def _device(app: App, spec: MinerSpec | MinerSpecV2, hasher: Hasher, rng: random.Random, folder: Path) -> MinerCore:
    addresses = app.reactor.addresses()
    rate: Callable[[], float] = lambda: 0.0  # noqa: E731  # the story hashes, not the clock
    if isinstance(spec, MinerSpec):
        return SimMiner(spec, rate, hasher, rng, tcp_connector(*addresses[0]))
    assert app.identity is not None
    return SimMinerV2(
        spec, rate, hasher, rng, tcp_connector(*addresses[1]), authority_x=app.identity.authority_x, wall_clock=time.time
    )
