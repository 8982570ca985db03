"""A Stratum V1 pool that is real in everything but its chain: own jobs, full judging of every share, sums of accepted work.

Its faults can be turned while it runs, which is how tests and the demo show what the product does about them. It is a twin of other
people's pools, so it shares nothing with the product's own downstream side but the protocol package. It does not speak TLS or SV2.
"""

import random
from collections import Counter, OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Literal

import msgspec
import structlog
import trio

from protocol.mining.job import VERSION_MASK_BIP320
from protocol.mining.share import Verdict
from protocol.v1 import messages
from proxy.sim.pool_faults import Faults
from proxy.sim.pool_jobs import Chain, Template
from proxy.sim.pool_session import PoolSession

log = structlog.get_logger()

RESUMABLE_SESSIONS = 4_096
# A hash of a good share is remembered until the next block; beyond this the oldest go.
REMEMBERED_SHARES = 1_000_000
KEPT_PROTOCOL_ERRORS = 100
LISTEN_BACKLOG = 4_096


class PoolSpec(msgspec.Struct, frozen=True, kw_only=True):
    """How a pool is set up. nbits 1d00ffff needs 4 G hashes a block: no simulated fleet finds one by accident."""

    name: str = "pool"
    extranonce1_bytes: int = 4
    extranonce2_bytes: int = 8
    version_mask: int = VERSION_MASK_BIP320  # 0: no version rolling
    first_job: Literal["subscribe", "authorize"] = "subscribe"
    one_burst: bool = True  # False: each line in a segment of its own
    difficulty: float = 1.0
    follow_suggestion: bool = False
    block_interval_s: float = 600.0
    refresh_s: float = 30.0
    merkle_branches: int = 12
    nbits: int = 0x1D00FFFF
    resume_sessions: bool = True
    job_prefix: str = ""


class PoolTotals(msgspec.Struct):
    """What the pool did with all shares. Work is expected hashes."""

    accepted: int = 0
    accepted_work: float = 0.0
    rejected: Counter[str] = msgspec.field(default_factory=Counter)
    blocks: int = 0
    connections: int = 0
    work_by_user: dict[str, float] = msgspec.field(default_factory=dict)


class SimPool:
    """One pool. `run` makes jobs, `serve` listens; `serve_stream` takes any stream, for tests without sockets."""

    def __init__(self, spec: PoolSpec, rng: random.Random, wall_clock: Callable[[], float]) -> None:
        self.spec = spec
        self.faults = Faults()
        self.totals = PoolTotals()
        self.first_share = trio.Event()  # a share was accepted
        self.difficulty = spec.difficulty
        self.version_mask = spec.version_mask
        self.protocol_errors: list[str] = []
        self.unknown_methods: Counter[str] = Counter()
        self.answers_withheld = 0
        self.sessions: list[PoolSession] = []
        self.port: int | None = None
        self._rng = rng
        self._wall_clock = wall_clock
        self._chain = Chain(rng, spec.nbits, spec.merkle_branches, spec.job_prefix)
        self.template = self._new_template(clean=True)
        self._seen: OrderedDict[bytes, None] = OrderedDict()
        self._resumable: OrderedDict[str, bytes] = OrderedDict()
        self._next_extranonce1 = rng.getrandbits(8 * spec.extranonce1_bytes) if spec.extranonce1_bytes else 0
        self._thawed = trio.Event()
        self._thawed.set()
        self._pause = trio.Event()
        self._resume = trio.Event()

    # --- running

    async def run(self) -> None:
        """Make jobs until cancelled: a refresh each refresh_s, a new block each block_interval_s."""
        next_block_s = trio.current_time() + self.spec.block_interval_s
        while True:
            await trio.sleep(min(self.spec.refresh_s, max(0.0, next_block_s - trio.current_time())))
            await self.thawed()
            if trio.current_time() >= next_block_s:
                next_block_s = trio.current_time() + self.spec.block_interval_s
                self.new_block()
            else:
                self.refresh()

    async def serve(
        self, host: str = "127.0.0.1", port: int = 0, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Listen and serve until cancelled; starts with the port. Raises OSError when the port is taken."""
        listeners = await trio.open_tcp_listeners(port, host=host, backlog=LISTEN_BACKLOG)
        self.port = port = listeners[0].socket.getsockname()[1]
        task_status.started(port)
        async with trio.open_nursery() as connections:
            while True:
                async with trio.open_nursery() as nursery:
                    accept = partial(trio.serve_listeners, self.serve_stream, listeners, handler_nursery=connections)
                    nursery.start_soon(accept)
                    await self._pause.wait()
                    nursery.cancel_scope.cancel()  # serve_listeners closes its listeners when it ends
                await self._resume.wait()
                listeners = await trio.open_tcp_listeners(port, host=host, backlog=LISTEN_BACKLOG)

    async def serve_stream(self, stream: trio.abc.Stream) -> None:
        """Serve one connection to its end; a bug in it is logged and ends only this connection."""
        session = PoolSession(self, stream)
        self.sessions.append(session)
        self.totals.connections += 1
        try:
            await session.run()
        except* Exception:
            log.exception("sim.pool.session_failed", pool=self.spec.name)
        finally:
            self.sessions.remove(session)

    async def thawed(self) -> None:
        """Wait while the pool is frozen. Not a checkpoint when it is not."""
        if not self._thawed.is_set():
            await self._thawed.wait()

    # --- jobs

    def refresh(self) -> None:
        """A new template on the same block: everybody gets a job that is not clean."""
        self.template = self._new_template(clean=False)
        self._publish()

    def new_block(self) -> None:
        """The chain moved: earlier jobs are stale, everybody gets a clean one."""
        self._chain.advance()
        self._seen.clear()
        self.template = self._new_template(clean=True)
        self._publish()

    def found_block(self) -> None:
        """One of our own shares met the network's target."""
        self.totals.blocks += 1
        self.new_block()

    def _publish(self) -> None:
        if self.faults.silent:
            return
        for session in self.sessions:
            if session.may_notify:
                session.send_job(self.template)

    def _new_template(self, clean: bool) -> Template:
        return self._chain.template(int(self._wall_clock()), clean)

    # --- what sessions ask

    def coordinates(self, session: PoolSession, wanted: str | None) -> tuple[str, bytes, bool]:
        """(session id, extranonce1, resumed) of a subscribing session.

        An asked-for session id is honoured when it is known and nobody is on it now.
        """
        old = self._resumable.get(wanted) if wanted is not None and self.spec.resume_sessions else None
        in_use = {other.extranonce1 for other in self.sessions if other is not session}
        if wanted is not None and old is not None and (old not in in_use or not old):
            return wanted, old, True
        extranonce1 = self._fresh_extranonce1()
        session_id = self._rng.randbytes(8).hex()
        self._resumable[session_id] = extranonce1
        while len(self._resumable) > RESUMABLE_SESSIONS:
            self._resumable.popitem(last=False)
        return session_id, extranonce1, False

    def _fresh_extranonce1(self) -> bytes:
        size = self.spec.extranonce1_bytes
        self._next_extranonce1 = (self._next_extranonce1 + 1) % (1 << 8 * size)
        return self._next_extranonce1.to_bytes(size, "big")

    def is_new(self, block_hash: bytes) -> bool:
        """Remember a good share; False when it was here before."""
        if block_hash in self._seen:
            return False
        self._seen[block_hash] = None
        if len(self._seen) > REMEMBERED_SHARES:
            self._seen.popitem(last=False)
        return True

    def refuses_by_chance(self) -> bool:
        """The fault `reject_part`."""
        return self.faults.reject_part > 0 and self._rng.random() < self.faults.reject_part

    def count_accepted(self, user: str, work: float) -> None:
        """Book one share."""
        self.first_share.set()
        self.totals.accepted += 1
        self.totals.accepted_work += work
        self.totals.work_by_user[user] = self.totals.work_by_user.get(user, 0.0) + work

    def count_rejected(self, verdict: Verdict) -> None:
        """Book one refusal."""
        self.totals.rejected[verdict.value] += 1

    # --- faults that are acts

    def stop_listening(self) -> None:
        """New connections are refused; those that exist go on."""
        self._resume = trio.Event()
        self._pause.set()

    def listen_again(self) -> None:
        """Undo `stop_listening`, on the same port."""
        self._pause = trio.Event()
        self._resume.set()

    def reset_connections(self) -> None:
        """Every connection ends at once."""
        for session in list(self.sessions):
            session.reset()

    def freeze(self) -> None:
        """Accept TCP and do nothing at all: no reading, no answers, no jobs."""
        self._thawed = trio.Event()

    def thaw(self) -> None:
        """Go on; what was sent meanwhile is read and judged now."""
        self._thawed.set()

    def send_broken_job(self, fault: str) -> None:
        """To everybody: the last job with one thing broken (a name of BAD_JOBS)."""
        self._each(lambda session: session.send_broken_job(fault))

    def send_raw(self, line: bytes) -> None:
        """To everybody: any bytes."""
        self._each(lambda session: session.send_line(line))

    def set_difficulty(self, difficulty: float) -> None:
        """For everybody and all to come; counts from each one's next job."""
        self.difficulty = difficulty
        self._each(lambda session: session.set_difficulty(difficulty))

    def set_extranonce(self, extranonce2_bytes: int | None = None) -> None:
        """Everybody gets a new extranonce1, with `extranonce2_bytes` also another size; then a job that uses it."""
        for session in self.sessions:
            if session.may_notify:
                size = session.extranonce2_bytes if extranonce2_bytes is None else extranonce2_bytes
                session.set_extranonce(self._fresh_extranonce1(), size)
        self.refresh()

    def shrink_version_mask(self, mask: int) -> None:
        """Everybody who rolls versions may roll fewer bits, from the job that follows."""
        self.version_mask &= mask
        self._each(lambda session: session.shrink_version_mask(mask))
        self.refresh()

    def ask_reconnect(self, host: str | None = None, port: int | None = None, wait_s: float = 0.0) -> None:
        """client.reconnect to everybody; both None: empty parameters, which means here again."""
        self.send_raw(messages.encode_reconnect(host, port, wait_s))

    def show_message(self, text: str) -> None:
        """client.show_message to everybody."""
        self.send_raw(messages.encode_show_message(text))

    def reuse_job_id(self) -> None:
        """A job with the id of the last one and other content, not clean."""
        self.template = msgspec.structs.replace(self._new_template(clean=False), job_id=self.template.job_id)
        self._publish()

    def flood(self, jobs: int) -> None:
        """So many clean jobs at once, each on a block of its own."""
        for _ in range(jobs):
            self.new_block()

    def _each(self, act: Callable[[PoolSession], None]) -> None:
        for session in self.sessions:
            if session.may_notify:
                act(session)
