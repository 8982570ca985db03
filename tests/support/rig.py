"""The product's own parts on loopback sockets: simulated pools above, raw or simulated miners below, a real ledger beside.

Time: with pytest's `mock_clock` nothing expires until the test jumps; sockets and the ledger's thread run in real time anyway, so a
test waits for what it expects with `until`, never for a while.
"""

import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import orjson
import trio
import trio.testing
from trio.testing import MockClock

from proxy import config
from proxy.app import App
from proxy.config import Listen, Pool, SiteConfig, Vardiff
from proxy.sim.pool import PoolSpec, SimPool
from proxy.sim.pool_v2 import PoolSpecV2, SimPoolV2
from tests.support.patience import PATIENCE_S

EASY = 2.0**-28


class Miner:
    """A miner spoken for line by line by the test."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.lines: list[dict[str, object]] = []
        self._buffer = b""
        self._next_id = 0
        self.closed = False

    async def send(self, method: str, *params: object) -> int:
        """Send a request; its id."""
        self._next_id += 1
        await self.raw(orjson.dumps({"id": self._next_id, "method": method, "params": params}) + b"\n")
        return self._next_id

    async def raw(self, data: bytes) -> None:
        """Send bytes as they are."""
        await self.stream.send_all(data)

    async def read(self) -> dict[str, object]:
        """The next line; raises EndOfChannel when the proxy hung up."""
        while b"\n" not in self._buffer:
            try:
                data = await self.stream.receive_some(65_536)
            except trio.BrokenResourceError:
                data = b""
            if not data:
                self.closed = True
                raise trio.EndOfChannel
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\n", 1)
        message: dict[str, object] = orjson.loads(line)
        self.lines.append(message)
        return message

    async def answer(self, request_id: int) -> dict[str, object]:
        """The answer to a request, whatever else comes before it."""
        while True:
            for line in self.lines:
                if line.get("id") == request_id and "method" not in line:
                    return line
            await self.read()

    async def expect(self, method: str, count: int = 1) -> dict[str, object]:
        """Read until `count` lines of this method have come in all; the last of them."""
        while len(self.of(method)) < count:
            await self.read()
        return self.of(method)[count - 1]

    async def hung_up(self) -> None:
        """Read until the proxy has closed the connection."""
        with suppress(trio.BrokenResourceError):
            while await self.stream.receive_some(65_536):
                pass

    def of(self, method: str) -> list[dict[str, object]]:
        """What came of this method so far."""
        return [line for line in self.lines if line.get("method") == method]

    @property
    def methods(self) -> set[str]:
        """Every method the proxy ever sent."""
        return {str(line["method"]) for line in self.lines if "method" in line}

    async def hello(
        self, user: str = "account.unit", *, session_id: str | None = None, agent: str = "test/1.0"
    ) -> dict[str, object]:
        """Subscribe and authorize; the answer to subscribe."""
        subscribe = await self.send("mining.subscribe", agent, *([session_id] if session_id else []))
        authorize = await self.send("mining.authorize", user, "x")
        answer = await self.answer(subscribe)
        await self.answer(authorize)
        return answer


class Rig:
    """A running site."""

    def __init__(self, app: App, pools: list[Any], nursery: trio.Nursery) -> None:
        self.app = app
        self.pools = pools
        self.nursery = nursery
        self.address: tuple[str, int] = app.reactor.addresses()[0]

    async def miner(self) -> Miner:
        """A new connection to the proxy."""
        return Miner(await trio.open_tcp_stream(*self.address))

    def view(self, pool: int = 0) -> object:
        """The pool's view."""
        return self.app.pools[pool].view(active=True, units=0)


async def until(condition: Callable[[], object], patience_s: float = PATIENCE_S) -> None:
    """Let everything run until `condition` holds. Fails after `patience_s` of real time."""
    deadline_s = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not happen"
        await trio.lowlevel.checkpoint()


async def passing(
    clock: MockClock, condition: Callable[[], object], step_s: float = 0.5, limit_s: float = 3_600.0, calm_s: float = 0.001
) -> float:
    """Let virtual time pass in steps until `condition` holds; the seconds that passed. Fails after `limit_s` of them.

    Between two steps nothing happens for `calm_s` of real time: more, where threads work that the clock does not know.
    """
    passed_s = 0.0
    while not condition():
        assert passed_s < limit_s, f"it did not happen within {limit_s:g} s"
        clock.jump(step_s)
        passed_s += step_s
        await trio.testing.wait_all_tasks_blocked(calm_s)
    return passed_s


async def pass_time(clock: MockClock, seconds: float, step_s: float = 0.5) -> None:
    """Let so much virtual time pass, in steps."""
    while seconds > 0:
        clock.jump(min(step_s, seconds))
        seconds -= step_s
        await trio.testing.wait_all_tasks_blocked(0.001)


def site_config(tmp_path: Path, pools: Sequence[Pool], **tables: object) -> SiteConfig:
    """A site on loopback with easy shares. `tables` replaces whole tables."""
    base = SiteConfig(
        site=config.Site(name="rig", data_dir=str(tmp_path)),
        listen=Listen(v1="127.0.0.1:0", max_connections=2_000, max_connections_per_address=2_000),
        vardiff=Vardiff(min_difficulty=2.0**-30, start_difficulty=EASY, enabled=True),
        pools=list(pools),
        # The disk of a machine that runs many tests at once may hold a commit up for seconds.
        ledger=config.Ledger(stall_timeout_s=30.0),
        api=config.Api(listen="127.0.0.1:0"),
    )
    return msgspec.structs.replace(base, **tables)


@asynccontextmanager
async def running(
    tmp_path: Path,
    specs: Sequence[PoolSpec | PoolSpecV2] = (PoolSpec(difficulty=EASY),),
    *,
    pool_tables: Sequence[dict[str, object]] = (),
    before: Callable[[list[Any]], None] = lambda pools: None,
    **tables: object,
) -> AsyncIterator[Rig]:
    """A site with one simulated pool for each spec. `pool_tables`: keys of [[pools]] to change, by position.

    `before`: called with the pools before the site knows them.
    """
    rng = random.Random(7)
    async with trio.open_nursery() as nursery:
        pools: list[Any] = [
            SimPoolV2(spec, rng, time.time) if isinstance(spec, PoolSpecV2) else SimPool(spec, rng, time.time) for spec in specs
        ]
        entries = []
        for number, pool in enumerate(pools):
            port = await nursery.start(pool.serve)
            nursery.start_soon(pool.run)
            extra = pool_tables[number] if number < len(pool_tables) else {}
            url = pool.url if isinstance(pool, SimPoolV2) else f"stratum+tcp://127.0.0.1:{port}"
            entry = {"name": f"pool-{number}", "url": url, "user": "account", "priority": number}
            entries.append(Pool(**{**entry, **extra}))  # type: ignore[arg-type]  # the test names the keys
        before(pools)
        app = App(site_config(tmp_path, entries, **tables), tmp_path / "site.toml")
        app.reactor.listen()
        await nursery.start(app.ledger.run)
        app.start_work(nursery)
        yield Rig(app, pools, nursery)
        nursery.cancel_scope.cancel()
