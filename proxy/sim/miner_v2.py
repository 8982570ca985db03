"""A simulated Stratum V2 device: Noise, one standard or extended channel, real proofs of work at a scaled-down rate.

It opens its channel, mines the jobs it is given with the target each came with, and submits what it finds. It judges no pool: it
obeys. Connecting again and again is in `miner_core`, walking through a job's headers in `search`, frames in `frames`.
"""

import random
from collections import OrderedDict
from collections.abc import Awaitable, Callable

import trio

from protocol.bitcoin.target import MAX_TARGET, difficulty_from_target
from protocol.errors import RemoteProtocolError
from protocol.v2 import client_events as events
from protocol.v2.client import ClientConnection
from protocol.v2.codec import name_of
from protocol.v2.constants import (
    REQUIRES_STANDARD_JOBS,
    REQUIRES_VERSION_ROLLING,
    VERSION_MASK_BIP323,
)
from proxy.sim.frames import FrameStream, shake_hands_as_client
from proxy.sim.hasher import Hasher
from proxy.sim.miner_core import MinerCore, MinerCoreSpec
from proxy.sim.search import Coinbase, Find, Puzzle, Search

ANSWER_TIMEOUT_S = 30.0  # from the handshake to the first job
EXTENSIONS_TIMEOUT_S = 5.0  # servers without extension 0x0001 never answer; the device comes back without asking
# Shares whose answer is awaited; what is older was forgotten by the server.
PENDING_LIMIT = 4_096

# What a device cannot do without. A strict one hangs up at anything else, as the plainest firmware would stumble over it.
PLAIN_MESSAGES = frozenset(
    {
        "SetupConnection.Success",
        "OpenStandardMiningChannel.Success",
        "OpenExtendedMiningChannel.Success",
        "NewMiningJob",
        "NewExtendedMiningJob",
        "SetNewPrevHash",
        "SetTarget",
        "SubmitShares.Success",
        "SubmitShares.Error",
    }
)


class MinerSpecV2(MinerCoreSpec, frozen=True, kw_only=True):
    """A device that speaks Stratum V2.

    is_standard: a standard channel, whose coinbase it never sees; requires_standard_jobs: it says so at set-up. extensions: asked
    for at set-up. max_target: the easiest one it takes. version_bits: those that its chips roll, where rolling is allowed.
    """

    is_standard: bool = False
    requires_standard_jobs: bool = False
    min_extranonce_size: int = 2
    nominal_hash_rate: float = 0.0
    max_target: int = MAX_TARGET
    vendor: str = "twin"
    firmware: str = "1.0"
    extensions: tuple[int, ...] = ()
    first_sequence: int = 1
    version_bits: int = VERSION_MASK_BIP323

    @property
    def flags(self) -> int:
        """Of SetupConnection."""
        return (REQUIRES_STANDARD_JOBS if self.requires_standard_jobs else 0) | (
            REQUIRES_VERSION_ROLLING if self.rolls_version else 0
        )


class SimMinerV2(MinerCore):
    """One Stratum V2 device. `authority_x` is the key it pins, None: any server will do."""

    session: "MinerSessionV2 | None"

    def __init__(
        self,
        spec: MinerSpecV2,
        hashrate_hps: Callable[[], float],
        hasher: Hasher,
        rng: random.Random,
        connect: Callable[[], Awaitable[trio.abc.Stream]],
        *,
        authority_x: bytes | None,
        wall_clock: Callable[[], float],
    ) -> None:
        """See MinerCore; `wall_clock` dates the server's certificate."""
        super().__init__(spec, hashrate_hps, hasher, rng, connect)
        self.spec = spec
        self.authority_x = authority_x
        self.wall_clock = wall_clock
        self.failures: list[str] = []  # why connections ended, the reason of a broken protocol
        self.asks_extensions = bool(spec.extensions)

    def open_session(self, stream: trio.abc.Stream) -> "MinerSessionV2":
        """See MinerCore."""
        return MinerSessionV2(self, stream)


class MinerSessionV2:
    """One connection of a device: handshake, set-up, its channel, jobs, finds."""

    def __init__(self, miner: SimMinerV2, stream: trio.abc.Stream) -> None:
        self._miner = miner
        self._spec = miner.spec
        self._totals = miner.totals
        self._stream = stream
        self._frames: FrameStream | None = None
        self._conn = ClientConnection(miner.spec.first_sequence)
        self._search = Search(miner.rng.getrandbits(64))
        self._job: events.JobReceived | None = None
        self._pending: OrderedDict[int, float] = OrderedDict()
        self._hang_up = trio.CancelScope(deadline=trio.current_time() + ANSWER_TIMEOUT_S)
        self.channel: events.ChannelOpened | None = None
        self.accepted_sum = 0  # as the server says: of truncated difficulties

    @property
    def has_work(self) -> bool:
        """Its channel is open, and it has a job to mine."""
        return self._search.has_work

    @property
    def puzzle(self) -> Puzzle | None:
        """What it works on now."""
        return self._search.puzzle

    @property
    def unanswered(self) -> int:
        """Shares without an answer yet."""
        return len(self._pending)

    async def run(self) -> None:
        """Talk until the peer hangs up, breaks the protocol, or the firmware has had enough."""
        try:
            with self._hang_up:
                await self._talk()
        except* (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            pass  # the connection is over; `MinerCore.run` makes the next one
        except* RemoteProtocolError as group:
            self._miner.failures.extend(str(error) for error in group.exceptions)

    def hash(self, count: int) -> None:
        """See MinerCore.hash."""
        for find in self._search.hash(count):
            self._submit(find)

    def hang_up(self) -> None:
        """See SimMinerV2.restart."""
        self._search.stop()
        self._hang_up.cancel()

    # --- the tasks

    async def _talk(self) -> None:
        miner = self._miner
        self._frames = frames = await shake_hands_as_client(self._stream, miner.authority_x, miner.rng.randbytes, miner.wall_clock)
        self._send(self._conn.setup("pool", 3336, flags=self._spec.flags, vendor=self._spec.vendor, firmware=self._spec.firmware))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(frames.write)
            try:
                await self._read(frames)
            finally:
                self._search.stop()  # at once: the hasher may come before this connection is quite gone
            nursery.cancel_scope.cancel()

    async def _read(self, frames: FrameStream) -> None:
        while (frame := await frames.receive()) is not None:
            self._note(name_of(frame.extension_type, frame.message_type))
            for event in self._conn.receive(frame):
                self._handle(event)

    def _send(self, frame: bytes) -> None:
        if self._frames is not None and not self._frames.queue(frame):
            self._hang_up.cancel()  # the other side reads nothing: give up, as firmware does

    def _note(self, name: str) -> None:
        """Keep every message we were ever sent; a strict firmware hangs up at one it can do without."""
        self._totals.methods_seen[name] += 1
        if self._spec.strict and name not in PLAIN_MESSAGES:
            self._hang_up.cancel()

    # --- events

    def _handle(self, event: events.ClientEvent) -> None:
        match event:
            case events.JobReceived():
                self._take_job(event)
            case events.SharesAccepted():
                self._accepted(event)
            case events.ShareRefused(sequence=sequence, code=code):
                self._pending.pop(sequence, None)
                self._totals.rejected[code.decode("ascii", "replace")] += 1
            case events.TipWithoutJob():
                self._search.stop()
            case events.ChannelOpened():
                self.channel = event
            case events.Refused(message=message, reason=reason):
                self._totals.refused_messages.append(f"{message}: {reason}")
            case _:
                self._handle_rare(event)

    def _handle_rare(self, event: events.ClientEvent) -> None:
        match event:
            case events.SetUp():
                self._set_up()
            case events.ExtensionsAgreed() | events.ExtensionsRefused():
                self._open_channel()
            case events.SetupRefused(code=code) | events.ChannelRefused(code=code):
                self._miner.failures.append(code.decode("ascii", "replace"))
                self._hang_up.cancel()
            case events.ChannelClosed() | events.ReconnectAsked():
                self.hang_up()
            case _:
                pass

    def _set_up(self) -> None:
        if self._miner.asks_extensions:
            self._send(self._conn.request_extensions(self._spec.extensions))
            self._hang_up.deadline = trio.current_time() + EXTENSIONS_TIMEOUT_S
            self._miner.asks_extensions = False  # until there is an answer: a silent server is asked once
        else:
            self._open_channel()

    def _open_channel(self) -> None:
        spec = self._spec
        if self._conn.agreed:
            self._miner.asks_extensions = True
        self._hang_up.deadline = trio.current_time() + ANSWER_TIMEOUT_S
        if spec.is_standard:
            _, frame = self._conn.open_standard(spec.user, spec.nominal_hash_rate, spec.max_target)
        else:
            _, frame = self._conn.open_extended(spec.user, spec.nominal_hash_rate, spec.max_target, spec.min_extranonce_size)
        self._send(frame)

    def _accepted(self, event: events.SharesAccepted) -> None:
        """Everything up to the last sequence number that had no error was taken."""
        self.accepted_sum += event.work_sum
        if event.last_sequence not in self._pending:
            self._totals.refused_messages.append(f"SubmitShares.Success: {event.last_sequence} is not awaited")
            return
        count = 0
        while self._pending:
            sequence, difficulty = self._pending.popitem(last=False)
            self._totals.accepted += 1
            self._totals.accepted_difficulty += difficulty
            count += 1
            if sequence == event.last_sequence:
                break
        if count != event.count:
            self._totals.refused_messages.append(f"SubmitShares.Success: {event.count} accepted, {count} were sent")

    # --- work

    def _take_job(self, job: events.JobReceived) -> None:
        self._totals.jobs += 1
        # The firmware hangs up when the next job takes too long.
        idle_timeout_s = self._spec.idle_timeout_s
        self._hang_up.deadline = float("inf") if idle_timeout_s is None else trio.current_time() + idle_timeout_s
        self._job = job
        channel = self.channel
        size = 0 if channel is None else channel.extranonce_size
        content: Coinbase | bytes
        if job.merkle_root is not None:
            content = job.merkle_root
        else:
            content = Coinbase(job.coinbase_prefix + job.extranonce_prefix, job.coinbase_suffix, job.merkle_path, size)
        mask = self._spec.version_bits if self._spec.rolls_version and job.is_version_rolling_allowed else None
        puzzle = Puzzle(content, job.prev_hash, job.version, job.nbits, job.min_ntime, job.target, mask)
        self._search.begin(puzzle, restart=self._spec.restarts_extranonce2)

    def _submit(self, find: Find) -> None:
        job = self._job
        if job is None:
            return
        if job.merkle_root is not None:
            sequence, frame = self._conn.submit_standard(
                job.channel_id, job.job_id, nonce=find.nonce, ntime=find.ntime, version=find.version
            )
        else:
            sequence, frame = self._conn.submit_extended(
                job.channel_id,
                job.job_id,
                nonce=find.nonce,
                ntime=find.ntime,
                version=find.version,
                extranonce=find.extranonce2,
                user_identity=self._spec.user,
            )
        self._totals.submitted += 1
        self._pending[sequence] = difficulty_from_target(job.target)
        while len(self._pending) > PENDING_LIMIT:
            self._pending.popitem(last=False)
            self._totals.lost += 1
        self._send(frame)
