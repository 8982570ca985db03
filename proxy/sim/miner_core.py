"""What every simulated miner is, whatever it speaks: it connects, mines, and after any end comes back; and its shares, counted.

How fast it hashes is somebody else's business (its device's), and so is the hashing itself (`hasher`). No conversation is here:
`miner` speaks Stratum V1, `miner_v2` Stratum V2.
"""

import abc
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

import msgspec
import trio

from proxy.sim.hasher import Hasher
from proxy.sim.search import Puzzle

CONNECT_TIMEOUT_S = 10.0


class MinerCoreSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One miner and its firmware's ways.

    name_limit: the worker name is cut there (Avalon: 63). strict: hangs up at any message but those that work cannot do without.
    idle_timeout_s: hangs up when no job came for so long (cpuminer: 120). restarts_extranonce2: counts from 0 again with each job.
    """

    worker: str
    rolls_version: bool = True
    name_limit: int = 191
    strict: bool = False
    idle_timeout_s: float | None = None
    restarts_extranonce2: bool = False
    first_back_off_s: float = 1.0
    max_back_off_s: float = 30.0

    @property
    def user(self) -> str:
        """The worker name as the firmware sends it."""
        return self.worker[: self.name_limit]


class MinerTotals(msgspec.Struct):
    """What became of its shares. lost: the connection ended before the answer. methods_seen: every message it was ever sent."""

    submitted: int = 0
    accepted: int = 0
    accepted_difficulty: float = 0.0
    rejected: Counter[str] = msgspec.field(default_factory=Counter)
    lost: int = 0
    jobs: int = 0
    connections: int = 0
    methods_seen: Counter[str] = msgspec.field(default_factory=Counter)
    refused_messages: list[str] = msgspec.field(default_factory=list)


class MinerSession(Protocol):
    """One connection of a miner."""

    @property
    def has_work(self) -> bool:
        """It is admitted, and has a job to mine."""

    @property
    def puzzle(self) -> Puzzle | None:
        """What it works on now."""

    @property
    def unanswered(self) -> int:
        """Shares without an answer yet."""

    async def run(self) -> None:
        """Talk until the peer hangs up, breaks the protocol, or the firmware has had enough."""

    def hash(self, count: int) -> None:
        """Try `count` hashes; finds are submitted."""

    def hang_up(self) -> None:
        """End the connection at once, as firmware that restarts does."""


class MinerCore(abc.ABC):
    """One miner. `run` keeps it connected until cancelled; it hashes while it has work and its rate is above 0."""

    def __init__(
        self,
        spec: MinerCoreSpec,
        hashrate_hps: Callable[[], float],
        hasher: Hasher,
        rng: random.Random,
        connect: Callable[[], Awaitable[trio.abc.Stream]],
    ) -> None:
        """`hashrate_hps` is asked every tick; `connect` raises OSError when there is nobody."""
        self.hashrate_hps = hashrate_hps
        self.totals = MinerTotals()
        self.session: MinerSession | None = None
        self.rng = rng
        self._core_spec = spec
        self._hasher = hasher
        self._connect = connect

    @abc.abstractmethod
    def open_session(self, stream: trio.abc.Stream) -> MinerSession:
        """The conversation over a new connection."""

    @property
    def is_mining(self) -> bool:
        """It is admitted and has a job."""
        return self.session is not None and self.session.has_work

    @property
    def puzzle(self) -> Puzzle | None:
        """What it works on now; None without work."""
        return self.session.puzzle if self.session is not None else None

    @property
    def unanswered(self) -> int:
        """Shares of the present connection that wait for their answer."""
        return 0 if self.session is None else self.session.unanswered

    def hash(self, count: int) -> None:
        """Try `count` hashes on the present job, if there is one; finds are submitted."""
        if self.session is not None:
            self.session.hash(count)

    def restart(self) -> None:
        """Its firmware starts anew: the connection ends, another one follows."""
        if self.session is not None:
            self.session.hang_up()

    async def run(self) -> None:
        """Connect, mine, and after any end connect again: back-off doubles, with jitter, until a job came."""
        back_off_s = self._core_spec.first_back_off_s
        self._hasher.add(self)
        try:
            while True:
                jobs_before = self.totals.jobs
                await self._run_once()
                if self.totals.jobs > jobs_before:
                    back_off_s = self._core_spec.first_back_off_s
                await trio.sleep(back_off_s * self.rng.uniform(0.5, 1.0))
                back_off_s = min(2.0 * back_off_s, self._core_spec.max_back_off_s)
        finally:
            self._hasher.remove(self)

    async def _run_once(self) -> None:
        """One connection, to its end. Whatever ends it is normal life for a miner."""
        try:
            with trio.fail_after(CONNECT_TIMEOUT_S):
                stream = await self._connect()
        except (OSError, trio.TooSlowError):
            return
        self.totals.connections += 1
        self.session = self.open_session(stream)
        try:
            await self.session.run()
        finally:
            self.totals.lost += self.session.unanswered
            self.session = None
            await trio.aclose_forcefully(stream)


def tcp_connector(host: str, port: int, source: str | None = None) -> Callable[[], Awaitable[trio.abc.Stream]]:
    """A `connect` for a miner: TCP, from the address `source` when given (so that a unit is known by its address)."""
    return partial(trio.open_tcp_stream, host, port, local_address=source)
