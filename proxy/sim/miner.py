"""A simulated miner: a real Stratum V1 client that finds real proofs of work at a scaled-down rate.

It connects, negotiates, mines what it is given and submits what it finds, as firmware does, quirks included. How fast it hashes is
somebody else's business (its device's), and so is the hashing itself (`hasher`). It never judges a pool: it obeys.
"""

import random
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from functools import partial

import msgspec
import structlog
import trio

from protocol.bitcoin.hashes import sha256d
from protocol.bitcoin.header import pack_header
from protocol.bitcoin.merkle import root_from_path
from protocol.bitcoin.target import target_from_difficulty
from protocol.errors import RemoteProtocolError
from protocol.mining.job import VERSION_MASK_BIP320
from protocol.v1 import messages
from protocol.v1.client import ClientConnection
from proxy.sim.hasher import Hasher, Work

log = structlog.get_logger()

CONNECT_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 30.0  # for the three steps of the handshake
CONFIGURE_TIMEOUT_S = 5.0  # many servers never answer it; then it goes on without
SEND_TIMEOUT_S = 20.0
OUTPUT_LIMIT_LINES = 4_096
# Nonces on one header before something else is rolled. Hardware rolls versions all the time; here often enough to be exercised.
HASHES_PER_HEADER = 2_048
HEADERS_PER_EXTRANONCE2 = 8

# The method behind each event, for `methods_seen`.
_METHODS: dict[type, str] = {
    messages.JobReceived: "mining.notify",
    messages.DifficultySet: "mining.set_difficulty",
    messages.ExtranonceSet: "mining.set_extranonce",
    messages.VersionMaskSet: "mining.set_version_mask",
    messages.ReconnectAsked: "client.reconnect",
    messages.MessageShown: "client.show_message",
    messages.VersionAsked: "client.get_version",
    messages.PingAsked: "mining.ping",
}
# What the plainest firmware understands.
PLAIN_METHODS = frozenset({"mining.notify", "mining.set_difficulty"})


class MinerSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One miner and its firmware's ways.

    name_limit: the worker name is cut there (Avalon: 63). strict: hangs up at any method but notify and set_difficulty.
    idle_timeout_s: hangs up when no job came for so long (cpuminer: 120). restarts_extranonce2: counts from 0 again with each job.
    """

    worker: str
    password: str = "x"
    user_agent: str = "cgminer/4.11.1"
    rolls_version: bool = True
    name_limit: int = 191
    strict: bool = False
    idle_timeout_s: float | None = None
    restarts_extranonce2: bool = False
    suggest_difficulty: float | None = None
    resume: bool = False
    first_back_off_s: float = 1.0
    max_back_off_s: float = 30.0

    @property
    def user(self) -> str:
        """The worker name as the firmware sends it."""
        return self.worker[: self.name_limit]


class MinerTotals(msgspec.Struct):
    """What became of its shares. lost: the connection ended before the answer."""

    submitted: int = 0
    accepted: int = 0
    accepted_difficulty: float = 0.0
    rejected: Counter[str] = msgspec.field(default_factory=Counter)
    lost: int = 0
    jobs: int = 0
    connections: int = 0
    methods_seen: Counter[str] = msgspec.field(default_factory=Counter)
    refused_messages: list[str] = msgspec.field(default_factory=list)


class SimMiner:
    """One miner. `run` keeps it connected until cancelled; it hashes while it has work and its rate is above 0."""

    def __init__(
        self,
        spec: MinerSpec,
        hashrate_hps: Callable[[], float],
        hasher: Hasher,
        rng: random.Random,
        connect: Callable[[], Awaitable[trio.abc.Stream]],
    ) -> None:
        """`hashrate_hps` is asked every tick; `connect` raises OSError when there is nobody."""
        self.spec = spec
        self.hashrate_hps = hashrate_hps
        self.totals = MinerTotals()
        self.session: MinerSession | None = None
        self.session_id: str | None = None
        self._hasher = hasher
        self._rng = rng
        self._connect = connect

    @property
    def is_mining(self) -> bool:
        """It is authorized and has a job."""
        return self.session is not None and self.session.has_work

    @property
    def unanswered(self) -> int:
        """Shares of the present connection that wait for their answer."""
        return 0 if self.session is None else self.session.unanswered

    def hash(self, count: int) -> None:
        """Try `count` hashes on the present job, if there is one; finds are submitted."""
        if self.session is not None:
            self.session.hash(count)

    async def run(self) -> None:
        """Connect, mine, and after any end connect again: back-off doubles, with jitter, until a job came."""
        back_off_s = self.spec.first_back_off_s
        self._hasher.add(self)
        try:
            while True:
                jobs_before = self.totals.jobs
                await self._run_once()
                if self.totals.jobs > jobs_before:
                    back_off_s = self.spec.first_back_off_s
                await trio.sleep(back_off_s * self._rng.uniform(0.5, 1.0))
                back_off_s = min(2.0 * back_off_s, self.spec.max_back_off_s)
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
        self.session = MinerSession(self, stream, self._rng)
        try:
            await self.session.run()
        finally:
            self.totals.lost += self.session.unanswered
            self.session = None
            await trio.aclose_forcefully(stream)


class MinerSession:
    """One connection of a miner: handshake, jobs, finds."""

    def __init__(self, miner: SimMiner, stream: trio.abc.Stream, rng: random.Random) -> None:
        self._miner = miner
        self._spec = miner.spec
        self._totals = miner.totals
        self._stream = stream
        self._conn = ClientConnection()
        self._out: deque[bytes] = deque()
        self._out_ready = trio.Event()
        self._job: messages.JobReceived | None = None
        self._work: Work | None = None
        self._extranonce1 = b""
        self._extranonce2_bytes = 0
        self._next_coordinates: tuple[bytes, int] | None = None
        self._difficulty = 1.0
        self._next_difficulty = 1.0
        self._version_mask = 0
        self._is_authorized = False
        self._extranonce2 = rng.getrandbits(64)
        self._headers = 0
        self._version_bits: int | None = None  # of the header being hashed; None: not rolled
        self._pending: dict[int, float] = {}
        self._hang_up = trio.CancelScope()
        self._renew_patience()
        self._configured = trio.Event()

    @property
    def has_work(self) -> bool:
        """Authorized, and with a job to mine."""
        return self._is_authorized and self._work is not None

    @property
    def unanswered(self) -> int:
        """Shares without an answer yet."""
        return len(self._pending)

    async def run(self) -> None:
        """Talk until the peer hangs up, breaks the protocol, or the firmware has had enough."""
        try:
            with self._hang_up:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write)
                    nursery.start_soon(self._shake_hands)
                    await self._read()
                    nursery.cancel_scope.cancel()
        except* (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError, RemoteProtocolError):
            pass  # the connection is over; `SimMiner.run` makes the next one

    def hash(self, count: int) -> None:
        """See SimMiner.hash. A header is left for the next one in time, so no work is done twice."""
        while count > 0 and self._is_authorized and self._work is not None:
            turn = min(count, HASHES_PER_HEADER - self._work.next_nonce)
            for nonce in self._work.search(turn):
                self._submit(nonce)
            count -= turn
            if self._work is not None and self._work.next_nonce >= HASHES_PER_HEADER:
                self._roll()

    # --- the tasks

    async def _shake_hands(self) -> None:
        """Configure, subscribe, authorize: each after the answer to the one before, as firmware does."""
        if self._spec.rolls_version:
            self._send(self._conn.configure(VERSION_MASK_BIP320))
            with trio.move_on_after(CONFIGURE_TIMEOUT_S):
                await self._configured.wait()
        session_id = self._miner.session_id if self._spec.resume else None
        self._send(self._conn.subscribe(self._spec.user_agent, session_id))
        await trio.sleep(ANSWER_TIMEOUT_S)
        if not self._is_authorized:
            self._hang_up.cancel()

    async def _write(self) -> None:
        while True:
            await self._out_ready.wait()
            self._out_ready = trio.Event()
            burst = b"".join(self._out)
            self._out.clear()
            with trio.fail_after(SEND_TIMEOUT_S):
                await self._stream.send_all(burst)

    async def _read(self) -> None:
        while True:
            data = await self._stream.receive_some(65_536)
            if not data:
                return
            self._conn.feed(bytes(data))
            while (event := self._conn.next_event()) is not None:
                self._note(event)
                self._handle(event)

    def _send(self, line: bytes) -> None:
        if len(self._out) >= OUTPUT_LIMIT_LINES:  # the other side reads nothing: give up, as firmware does
            self._hang_up.cancel()
            return
        self._out.append(line)
        self._out_ready.set()

    # --- events

    def _note(self, event: messages.PoolEvent) -> None:
        """Keep every method we were ever sent; a strict firmware hangs up at one it does not know."""
        match event:
            case messages.UnknownAsked(method=method) | messages.Refused(method=method):
                name: str | None = method
            case _:
                name = _METHODS.get(type(event))
        if name is None:
            return
        self._totals.methods_seen[name] += 1
        if self._spec.strict and name not in PLAIN_METHODS:
            self._hang_up.cancel()

    def _handle(self, event: messages.PoolEvent) -> None:
        match event:
            case messages.JobReceived():
                self._take_job(event)
            case messages.SubmitAnswered():
                self._take_answer(event)
            case messages.DifficultySet(difficulty=difficulty):
                self._next_difficulty = difficulty
            case messages.Configured(version_mask=mask):
                self._version_mask = mask or 0
                self._configured.set()
            case messages.Subscribed():
                self._subscribed(event)
            case messages.Authorized(accepted=accepted):
                self._authorized(accepted)
            case messages.SubscribeRefused():
                self._hang_up.cancel()
            case messages.ExtranonceSet(extranonce1=extranonce1, extranonce2_size=size):
                self._next_coordinates = (extranonce1, size)
            case messages.VersionMaskSet(version_mask=mask):
                self._version_mask = mask
            case _:
                self._handle_rare(event)

    def _handle_rare(self, event: messages.PoolEvent) -> None:
        match event:
            case messages.PingAsked(id=request_id):
                self._send(self._conn.pong(request_id))
            case messages.VersionAsked(id=request_id):
                self._send(self._conn.version(request_id, self._spec.user_agent))
            case messages.UnknownAsked(id=request_id):
                self._send(self._conn.unknown(request_id))
            case messages.ReconnectAsked():
                self._hang_up.cancel()
            case messages.Refused(method=method, reason=reason):
                self._totals.refused_messages.append(f"{method}: {reason}")
            case _:
                pass

    def _subscribed(self, event: messages.Subscribed) -> None:
        self._extranonce1, self._extranonce2_bytes = event.extranonce1, event.extranonce2_size
        self._miner.session_id = event.session_id
        if self._spec.suggest_difficulty is not None:
            self._send(self._conn.suggest_difficulty(self._spec.suggest_difficulty))
        self._send(self._conn.authorize(self._spec.user, self._spec.password))

    def _authorized(self, accepted: bool) -> None:
        self._is_authorized = accepted
        if not accepted:
            self._hang_up.cancel()

    def _take_answer(self, event: messages.SubmitAnswered) -> None:
        difficulty = self._pending.pop(event.request_id, None)
        if difficulty is None:
            return
        if event.accepted:
            self._totals.accepted += 1
            self._totals.accepted_difficulty += difficulty
        else:
            self._totals.rejected[f"{event.code}:{event.reason}"] += 1

    # --- work

    def _renew_patience(self) -> None:
        """The firmware hangs up when the next job takes too long."""
        if self._spec.idle_timeout_s is not None:
            self._hang_up.deadline = trio.current_time() + self._spec.idle_timeout_s

    def _take_job(self, job: messages.JobReceived) -> None:
        """Difficulty and extranonce that were announced before count from here."""
        self._totals.jobs += 1
        self._renew_patience()
        self._job = job
        self._difficulty = self._next_difficulty
        if self._next_coordinates is not None:
            self._extranonce1, self._extranonce2_bytes = self._next_coordinates
            self._next_coordinates = None
        if self._spec.restarts_extranonce2:
            self._extranonce2 = 0
        self._headers = 0
        self._roll()

    def _roll(self) -> None:
        """A header nobody has hashed: other version bits where they may be rolled, every now and then another extranonce2."""
        if self._job is None or not self._extranonce2_bytes:
            self._work = None
            return
        turns = min(HEADERS_PER_EXTRANONCE2, 1 << self._version_mask.bit_count())
        if self._headers % turns == 0:
            self._extranonce2 = (self._extranonce2 + 1) % (1 << 8 * self._extranonce2_bytes)
        self._version_bits = spread_bits(self._headers % turns, self._version_mask) if self._version_mask else None
        self._headers += 1
        job = self._job
        coinbase = job.coinbase1 + self._extranonce1 + self._rolled() + job.coinbase2
        root = root_from_path(sha256d(coinbase), job.merkle_path)
        version = job.version if self._version_bits is None else (job.version & ~self._version_mask) | self._version_bits
        header = pack_header(version, job.prev_hash, root, job.ntime, job.nbits, 0)
        self._work = Work(header, target_from_difficulty(self._difficulty))

    def _rolled(self) -> bytes:
        return self._extranonce2.to_bytes(self._extranonce2_bytes, "big")

    def _submit(self, nonce: int) -> None:
        if self._job is None:
            return
        request_id, line = self._conn.submit(
            self._spec.user,
            self._job.job_id,
            self._rolled(),
            self._job.ntime,
            nonce,
            self._version_bits,
        )
        self._totals.submitted += 1
        self._pending[request_id] = self._difficulty
        self._send(line)


def spread_bits(number: int, mask: int) -> int:
    """The bits of `number`, lowest first, laid into the set bits of `mask`, lowest first; what does not fit is dropped."""
    spread = 0
    while number and mask:
        low_bit = mask & -mask
        if number & 1:
            spread |= low_bit
        mask ^= low_bit
        number >>= 1
    return spread


def tcp_connector(host: str, port: int, source: str | None = None) -> Callable[[], Awaitable[trio.abc.Stream]]:
    """A `connect` for SimMiner: TCP, from the address `source` when given (so that a unit is known by its address)."""
    return partial(trio.open_tcp_stream, host, port, local_address=source)
