"""What every simulated pool is, whatever it speaks: chain, jobs for its connections, judging of shares, totals, faults, listening.

Its faults can be turned while it runs, which is how tests and the demo show what the product does about them. It is a twin of other
people's pools, so it shares nothing with the product's own sides but the protocol package. The conversation itself is not here:
`pool` speaks Stratum V1, `pool_v2` Stratum V2.
"""

import abc
import random
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from functools import partial
from typing import Generic, Protocol, TypeVar

import msgspec
import structlog
import trio

from protocol.bitcoin.target import HASHES_PER_DIFFICULTY, difficulty_from_target
from protocol.mining.job import Job
from protocol.mining.share import Judgement, Verdict, check_share
from proxy.sim.pool_jobs import Chain, Template

log = structlog.get_logger()

# A hash of a good share is remembered until the next block; beyond this the oldest go.
REMEMBERED_SHARES = 1_000_000
LISTEN_BACKLOG = 4_096
# Earlier jobs that are still judged; real pools keep minutes' worth.
KEPT_JOBS = 16
KEPT_RETIRED_IDS = 256

GOOD = frozenset({Verdict.VALID, Verdict.BLOCK})

JobIdT = TypeVar("JobIdT", str, int)


class PoolCoreSpec(msgspec.Struct, frozen=True, kw_only=True):
    """How a pool is set up. nbits 1d00ffff needs 4 G hashes a block: no simulated fleet finds one by accident."""

    name: str = "pool"
    difficulty: float = 1.0
    block_interval_s: float = 600.0
    refresh_s: float = 30.0
    merkle_branches: int = 12
    nbits: int = 0x1D00FFFF
    job_prefix: str = ""


class CoreFaults(msgspec.Struct):
    """All off at the start. `frozen` is a method of the pool (`freeze`, `thaw`), because tasks wait for it."""

    refuse_users: set[str] = msgspec.field(default_factory=set)
    silent: bool = False  # no jobs any more; everything else goes on
    answer_delay_s: float = 5.0  # where answers are late
    reject_part: float = 0.0  # of good shares, refused without a reason of their own
    reject_verdict: Verdict = Verdict.LOW_DIFFICULTY


class PoolTotals(msgspec.Struct):
    """What the pool did with all shares. Work is expected hashes."""

    accepted: int = 0
    accepted_work: float = 0.0
    rejected: Counter[str] = msgspec.field(default_factory=Counter)
    blocks: int = 0
    connections: int = 0
    work_by_user: dict[str, float] = msgspec.field(default_factory=dict)


class SentJob(msgspec.Struct, frozen=True):
    """A job as one miner was given it. The whole extranonce is `prefix` and `rolled_bytes` bytes of the miner's own."""

    job: Job
    prefix: bytes
    rolled_bytes: int

    @property
    def difficulty(self) -> float:
        """Of one share of it."""
        return difficulty_from_target(self.job.target)

    @property
    def work(self) -> float:
        """Expected hashes of one share of it."""
        return self.difficulty * HASHES_PER_DIFFICULTY


class SentJobs(Generic[JobIdT]):
    """The jobs one miner may send shares of, and the ids of those that it may not any more."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[JobIdT, SentJob] = OrderedDict()
        self._retired: deque[JobIdT] = deque(maxlen=KEPT_RETIRED_IDS)

    def add(self, job_id: JobIdT, sent: SentJob, clean: bool) -> None:
        """Take a job; a clean one retires all others."""
        if clean:
            self._retired.extend(self._jobs)
            self._jobs.clear()
        self._jobs[job_id] = sent
        while len(self._jobs) > KEPT_JOBS:
            self._retired.append(self._jobs.popitem(last=False)[0])

    def get(self, job_id: JobIdT) -> SentJob | None:
        """The job, while shares of it count."""
        return self._jobs.get(job_id)

    def why_missing(self, job_id: JobIdT) -> Verdict:
        """For a share of a job that `get` does not know."""
        return Verdict.STALE if job_id in self._retired else Verdict.UNKNOWN_JOB


class PoolSession(Protocol):
    """What a pool needs of one of its connections."""

    @property
    def may_notify(self) -> bool:
        """It is so far that it may be sent jobs."""

    async def run(self) -> None:
        """Serve until either side ends."""

    def reset(self) -> None:
        """End at once, like a process that died."""

    def send_job(self, template: Template, clean: bool | None = None) -> None:
        """Give this template to the miner; `clean` None: as the template says."""


SessionT = TypeVar("SessionT", bound=PoolSession)


class PoolCore(abc.ABC, Generic[SessionT]):
    """One pool. `run` makes jobs, `serve` listens; `serve_stream` takes any stream, for tests without sockets."""

    def __init__(self, spec: PoolCoreSpec, faults: CoreFaults, rng: random.Random, wall_clock: Callable[[], float]) -> None:
        self.totals = PoolTotals()
        self.first_share = trio.Event()  # a share was accepted
        self.difficulty = spec.difficulty
        self.protocol_errors: list[str] = []
        self.answers_withheld = 0
        self.sessions: list[SessionT] = []
        self.port: int | None = None
        self.wall_clock = wall_clock
        self.rng = rng
        self._core_spec = spec
        self._core_faults = faults
        self._chain = Chain(rng, spec.nbits, spec.merkle_branches, spec.job_prefix)
        self.template = self.new_template(clean=True)
        self._seen: OrderedDict[bytes, None] = OrderedDict()
        self._thawed = trio.Event()
        self._thawed.set()
        self._pause = trio.Event()
        self._resume = trio.Event()

    @property
    def name(self) -> str:
        """What the demo calls it."""
        return self._core_spec.name

    @abc.abstractmethod
    def open_session(self, stream: trio.abc.Stream) -> SessionT:
        """The conversation for a new connection."""

    # --- running

    async def run(self) -> None:
        """Make jobs until cancelled: a refresh each refresh_s, a new block each block_interval_s."""
        spec = self._core_spec
        next_block_s = trio.current_time() + spec.block_interval_s
        while True:
            await trio.sleep(min(spec.refresh_s, max(0.0, next_block_s - trio.current_time())))
            await self.thawed()
            if trio.current_time() >= next_block_s:
                next_block_s = trio.current_time() + spec.block_interval_s
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
        session = self.open_session(stream)
        self.sessions.append(session)
        self.totals.connections += 1
        try:
            await session.run()
        except* Exception:
            log.exception("sim.pool.session_failed", pool=self.name)
        finally:
            self.sessions.remove(session)

    async def thawed(self) -> None:
        """Wait while the pool is frozen. Not a checkpoint when it is not."""
        if not self._thawed.is_set():
            await self._thawed.wait()

    # --- jobs

    def refresh(self) -> None:
        """A new template on the same block: everybody gets a job that is not clean."""
        self.template = self.new_template(clean=False)
        self.publish()

    def new_block(self) -> None:
        """The chain moved: earlier jobs are stale, everybody gets a clean one."""
        self._chain.advance()
        self._seen.clear()
        self.template = self.new_template(clean=True)
        self.publish()

    def found_block(self) -> None:
        """One of our own shares met the network's target."""
        self.totals.blocks += 1
        self.new_block()

    def flood(self, jobs: int) -> None:
        """So many clean jobs at once, each on a block of its own."""
        for _ in range(jobs):
            self.new_block()

    def publish(self) -> None:
        """Send the present template to everybody."""
        if self._core_faults.silent:
            return
        self.each(lambda session: session.send_job(self.template))

    def new_template(self, clean: bool) -> Template:
        """A template on the present tip, for nobody yet."""
        return self._chain.template(int(self.wall_clock()), clean)

    def each(self, act: Callable[[SessionT], None]) -> None:
        """Do it for everybody who has come so far that jobs may be sent."""
        for session in self.sessions:
            if session.may_notify:
                act(session)

    # --- shares

    def judge(self, sent: SentJob, rolled: bytes, ntime: int, nonce: int, version_bits: int | None) -> Judgement:
        """The one share check, and whether this share was here before."""
        judgement = check_share(
            sent.job,
            sent.job.target,
            sent.job.version_mask,
            sent.prefix + rolled,
            len(sent.prefix) + sent.rolled_bytes,
            ntime,
            nonce,
            version_bits,
        )
        # Only good shares are remembered: one refused for its difficulty may come again and is refused for the same reason.
        if judgement.verdict in GOOD and not self._is_new(judgement.block_hash):
            return Judgement(Verdict.DUPLICATE)
        return judgement

    def book(self, user: str, sent: SentJob | None, verdict: Verdict) -> Verdict:
        """Count one share. What comes back is to be answered: with the fault `reject_part` a good one may be refused after all."""
        faults = self._core_faults
        if verdict is Verdict.VALID and faults.reject_part > 0 and self.rng.random() < faults.reject_part:
            verdict = faults.reject_verdict
        if sent is None or verdict not in GOOD:
            self.totals.rejected[verdict.value] += 1
            return verdict
        self.first_share.set()
        self.totals.accepted += 1
        self.totals.accepted_work += sent.work
        self.totals.work_by_user[user] = self.totals.work_by_user.get(user, 0.0) + sent.work
        return verdict

    def _is_new(self, block_hash: bytes) -> bool:
        """Remember a good share; False when it was here before."""
        if block_hash in self._seen:
            return False
        self._seen[block_hash] = None
        if len(self._seen) > REMEMBERED_SHARES:
            self._seen.popitem(last=False)
        return True

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
