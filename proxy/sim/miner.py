"""A simulated Stratum V1 miner: a real client that finds real proofs of work at a scaled-down rate.

It negotiates, mines what it is given and submits what it finds, as firmware does, quirks included. It judges no pool: it obeys.
Connecting again and again is in `miner_core`, walking through a job's headers in `search`.
"""

import random
from collections import deque
from collections.abc import Awaitable, Callable

import trio

from protocol.bitcoin.target import target_from_difficulty
from protocol.errors import RemoteProtocolError
from protocol.mining.job import VERSION_MASK_BIP320
from protocol.v1 import messages
from protocol.v1.client import ClientConnection
from proxy.sim.hasher import Hasher
from proxy.sim.miner_core import MinerCore, MinerCoreSpec
from proxy.sim.miner_core import tcp_connector as tcp_connector
from proxy.sim.search import Coinbase, Find, Puzzle, Search

ANSWER_TIMEOUT_S = 30.0  # for the three steps of the handshake
CONFIGURE_TIMEOUT_S = 5.0  # many servers never answer it; then it goes on without
SEND_TIMEOUT_S = 20.0
OUTPUT_LIMIT_LINES = 4_096

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


class MinerSpec(MinerCoreSpec, frozen=True, kw_only=True):
    """A miner that speaks Stratum V1. strict: it knows notify and set_difficulty alone."""

    password: str = "x"
    user_agent: str = "cgminer/4.11.1"
    suggest_difficulty: float | None = None
    resume: bool = False


class SimMiner(MinerCore):
    """One Stratum V1 miner."""

    session: "MinerSession | None"

    def __init__(
        self,
        spec: MinerSpec,
        hashrate_hps: Callable[[], float],
        hasher: Hasher,
        rng: random.Random,
        connect: Callable[[], Awaitable[trio.abc.Stream]],
    ) -> None:
        """See MinerCore."""
        super().__init__(spec, hashrate_hps, hasher, rng, connect)
        self.spec = spec
        self.session_id: str | None = None

    def open_session(self, stream: trio.abc.Stream) -> "MinerSession":
        """See MinerCore."""
        return MinerSession(self, stream)


class MinerSession:
    """One connection of a Stratum V1 miner: handshake, jobs, finds."""

    def __init__(self, miner: SimMiner, stream: trio.abc.Stream) -> None:
        self._miner = miner
        self._spec = miner.spec
        self._totals = miner.totals
        self._stream = stream
        self._conn = ClientConnection()
        self._out: deque[bytes] = deque()
        self._out_ready = trio.Event()
        self._job: messages.JobReceived | None = None
        self.extranonce1 = b""
        self._extranonce2_bytes = 0
        self._next_coordinates: tuple[bytes, int] | None = None
        self._difficulty = 1.0
        self._next_difficulty = 1.0
        self._version_mask = 0
        self._is_authorized = False
        self._search = Search(miner.rng.getrandbits(64))
        self._pending: dict[int, float] = {}
        self._hang_up = trio.CancelScope()
        self._renew_patience()
        self._configured = trio.Event()

    @property
    def has_work(self) -> bool:
        """Authorized, and with a job to mine."""
        return self._is_authorized and self._search.has_work

    @property
    def puzzle(self) -> Puzzle | None:
        """What it works on now."""
        return self._search.puzzle if self._is_authorized else None

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
        """See SimMiner.hash."""
        if self._is_authorized:
            for find in self._search.hash(count):
                self._submit(find)

    def hang_up(self) -> None:
        """See SimMiner.restart."""
        self._search.stop()
        self._hang_up.cancel()

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
        self.extranonce1, self._extranonce2_bytes = event.extranonce1, event.extranonce2_size
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
            self.extranonce1, self._extranonce2_bytes = self._next_coordinates
            self._next_coordinates = None
        if not self._extranonce2_bytes:
            self._search.stop()
            return
        content = Coinbase(job.coinbase1 + self.extranonce1, job.coinbase2, job.merkle_path, self._extranonce2_bytes)
        target = target_from_difficulty(self._difficulty)
        mask = self._version_mask or None
        puzzle = Puzzle(content, job.prev_hash, job.version, job.nbits, job.ntime, target, mask)
        self._search.begin(puzzle, restart=self._spec.restarts_extranonce2)

    def _submit(self, find: Find) -> None:
        if self._job is None:
            return
        request_id, line = self._conn.submit(
            self._spec.user, self._job.job_id, find.extranonce2, find.ntime, find.nonce, find.version_bits
        )
        self._totals.submitted += 1
        self._pending[request_id] = self._difficulty
        self._send(line)
