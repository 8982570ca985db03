"""One connection of a simulated Stratum V2 pool: the conversation, its channels, the jobs each was given, and their shares.

protocol.v2 reads every frame and says what may be sent, so the twin is as strict as the product. Chain, listeners, judging and the
totals of the whole pool belong to `pool_core`.
"""

from typing import TYPE_CHECKING

import msgspec
import trio

from protocol.bitcoin.hashes import sha256d
from protocol.bitcoin.merkle import root_from_path
from protocol.bitcoin.target import target_from_difficulty
from protocol.errors import RemoteProtocolError
from protocol.mining.job import Job
from protocol.mining.share import Verdict
from protocol.v2 import error_codes, server_events
from protocol.v2.acknowledge import MAX_WAIT_S, Acknowledgements, Batch
from protocol.v2.constants import EXTENSION_NEGOTIATION, VERSION_MASK_BIP323
from protocol.v2.messages.mining import NewExtendedMiningJob, NewMiningJob, SetNewPrevHash
from protocol.v2.offer import Offer
from protocol.v2.server import ServerConnection
from protocol.v2.shared import SharedFrame, share
from proxy.sim.frames import FrameStream, shake_hands_as_server
from proxy.sim.pool_core import GOOD, SentJob, SentJobs
from proxy.sim.pool_jobs import Template
from proxy.sim.pool_v2_faults import share_code, with_witness

if TYPE_CHECKING:
    from proxy.sim.pool_v2 import SimPoolV2

# For the last words to a peer that is hung up on.
CLOSE_TIMEOUT_S = 5.0


class PoolChannel(msgspec.Struct):
    """One channel. target and prefix are what the next job gets; each job keeps those it was sent with."""

    channel_id: int
    is_extended: bool
    user: str
    prefix: bytes
    rolled_bytes: int
    target: int
    nominal_hash_rate: float
    jobs: SentJobs[int] = msgspec.field(default_factory=SentJobs)
    acknowledgements: Acknowledgements = msgspec.field(default_factory=Acknowledgements)
    has_tip: bool = False
    accepted: int = 0


class PoolSessionV2:
    """Serves one stream until either side ends. All state changes are plain calls on the trio thread."""

    def __init__(self, pool: "SimPoolV2", stream: trio.abc.Stream) -> None:
        spec = pool.spec
        self._pool = pool
        self._stream = stream
        self._conn = ServerConnection(
            Offer(
                extensions=spec.extensions,
                required_extensions=spec.required_extensions,
                fixed_version=not spec.rolls_version,
                extended_only=spec.extended_only,
            )
        )
        self._frames: FrameStream | None = None
        self._nursery: trio.Nursery | None = None
        self._closing = False
        self._next_job_id = 1
        self.channels: dict[int, PoolChannel] = {}
        self.vendor = b""

    async def run(self) -> None:
        """Serve until the peer hangs up, breaks the protocol, or the pool resets the connection."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                if self._pool.faults.drop_after != "connect":
                    await self._talk(nursery)
                nursery.cancel_scope.cancel()
        except* (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            pass  # the other side is gone, or `reset` was called: a normal end of a connection
        except* RemoteProtocolError as group:
            self._pool.protocol_errors.extend(str(error) for error in group.exceptions)
        finally:
            self._closing = True
            await trio.aclose_forcefully(self._stream)

    def reset(self) -> None:
        """End the connection at once, like a process that died."""
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()

    @property
    def may_notify(self) -> bool:
        """There are channels to send jobs to."""
        return not self._closing and bool(self.channels)

    @property
    def extensions(self) -> frozenset[int]:
        """Agreed on."""
        return self._conn.extensions

    def send_frame(self, frame: bytes) -> None:
        """Queue any plaintext frame. A peer that lets a megabyte pile up is cut off."""
        if not self._closing and self._frames is not None and not self._frames.queue(frame):
            self.reset()

    def break_mac(self) -> None:
        """What is sent next cannot be opened."""
        if self._frames is not None:
            self._frames.break_next()

    # --- the conversation

    async def _talk(self, nursery: trio.Nursery) -> None:
        pool = self._pool
        await pool.thawed()
        self._frames = frames = await shake_hands_as_server(self._stream, pool.identity, pool.rng.randbytes)
        if pool.faults.drop_after == "handshake":
            return
        nursery.start_soon(frames.write, pool.thawed)
        nursery.start_soon(self._acknowledge_often)
        try:
            while (frame := await frames.receive()) is not None:
                await pool.thawed()
                if pool.faults.ignore_extensions and frame.extension_type == EXTENSION_NEGOTIATION:
                    continue
                event = self._conn.receive(frame)
                if event is not None and not self._handle(event):
                    await self._close_soon()
                    return
        except RemoteProtocolError as error:
            self.send_frame(error.reply)
            await self._close_soon()
            raise

    async def _close_soon(self) -> None:
        """Once what was queued is out, or after CLOSE_TIMEOUT_S."""
        frames = self._frames
        with trio.move_on_after(CLOSE_TIMEOUT_S):
            while frames is not None and not frames.is_idle:
                await trio.lowlevel.checkpoint()

    def _handle(self, event: server_events.ServerEvent) -> bool:
        """False: hang up."""
        drop_after = self._pool.faults.drop_after
        match event:
            case server_events.ShareSubmitted():
                self._submit(event)
            case server_events.ChannelWanted():
                self._open(event)
                return drop_after != "open"
            case server_events.ChannelUpdated():
                self._update(event)
            case server_events.ChannelsClosed(channel_ids=channel_ids):
                for channel_id in channel_ids:
                    del self.channels[channel_id]
            case server_events.ConnectionSetUp(vendor=vendor, reply=reply):
                self.vendor = vendor
                if self._pool.faults.refuse_setup:
                    return False
                self.send_frame(reply)
                return drop_after != "setup"
            case server_events.ExtensionsAgreed(reply=reply) | server_events.Refused(reply=reply):
                self.send_frame(reply)
            case _:
                pass
        return True

    def _open(self, wanted: server_events.ChannelWanted) -> None:
        pool = self._pool
        spec = pool.spec
        user = wanted.user_identity.decode("utf-8", "replace")
        if pool.faults.refuse_channels or user in pool.faults.refuse_users:
            self.send_frame(self._conn.refuse_channel(wanted, error_codes.UNKNOWN_USER))
            return
        if wanted.min_extranonce_size > spec.extranonce_bytes:
            self.send_frame(self._conn.refuse_channel(wanted, error_codes.MIN_EXTRANONCE_SIZE_TOO_LARGE))
            return
        prefix, size = pool.fresh_prefix(), spec.extranonce_bytes
        target = min(target_from_difficulty(pool.difficulty), wanted.max_target)
        if wanted.is_extended:
            channel_id, frame = self._conn.open_extended(wanted, target, prefix, size)
        else:
            # One length of extranonce for all jobs; nobody else has this prefix, so the rest may be zeros.
            prefix, size = prefix + bytes(size), 0
            channel_id, frame = self._conn.open_standard(wanted, target, prefix)
        self.send_frame(frame)
        channel = PoolChannel(channel_id, wanted.is_extended, user, prefix, size, target, wanted.nominal_hash_rate)
        self.channels[channel_id] = channel
        if not pool.faults.silent:
            self._send_to([channel], pool.template, clean=True)

    def _update(self, event: server_events.ChannelUpdated) -> None:
        channel = self.channels[event.channel_id]
        channel.nominal_hash_rate = event.nominal_hash_rate
        self._pool.updates += 1
        target = min(target_from_difficulty(self._pool.difficulty), event.max_target)
        if target != channel.target:
            self._set_target(channel, target)

    # --- jobs

    def send_job(self, template: Template, clean: bool | None = None) -> None:
        """Give the template to every channel: extended ones as a group where the pool uses groups, each with its own target."""
        is_clean = template.clean if clean is None else clean
        extended = [channel for channel in self.channels.values() if channel.is_extended]
        if self._pool.spec.uses_groups and self._conn.uses_groups and len(extended) > 1:
            self._send_to(extended, template, is_clean, self._conn.group_of(extended[0].channel_id))
        else:
            for channel in extended:
                self._send_to([channel], template, is_clean)
        for channel in self.channels.values():
            if not channel.is_extended:
                self._send_to([channel], template, is_clean)

    def send_futures(self, count: int) -> None:
        """Future jobs that no chain tip will ever name."""
        for channel in list(self.channels.values()):
            for _ in range(count):
                job = self._job(channel, self._pool.new_template(clean=True))
                self.send_frame(self._conn.send(channel.channel_id, self._job_frame(channel, job, self._fresh_job_id(), True)))

    def set_difficulty(self, difficulty: float) -> None:
        """SetTarget to every channel; counts for the jobs that come later."""
        for channel in self.channels.values():
            self._set_target(channel, min(target_from_difficulty(difficulty), self._conn.max_target(channel.channel_id)))

    def set_prefix(self) -> None:
        """Another extranonce prefix for every channel; counts for the jobs that come later."""
        for channel in self.channels.values():
            channel.prefix = self._pool.fresh_prefix() + channel.prefix[self._pool.spec.prefix_bytes :]
            self.send_frame(self._conn.set_extranonce_prefix(channel.channel_id, channel.prefix))

    def close_channels(self, reason: bytes) -> tuple[int, ...]:
        """Close every channel; the connection stays. The ids."""
        closed = tuple(self.channels)
        for channel_id in closed:
            self.send_frame(self._conn.close_channel(channel_id, reason))
        self.channels.clear()
        return closed

    def ask_reconnect(self, host: str, port: int) -> None:
        """Reconnect."""
        self.send_frame(self._conn.reconnect(host.encode(), port))

    def _set_target(self, channel: PoolChannel, target: int) -> None:
        channel.target = target
        self.send_frame(self._conn.set_target(channel.channel_id, target))

    def _send_to(self, channels: list[PoolChannel], template: Template, clean: bool, group_id: int | None = None) -> None:
        """One job to one channel, or to all of a group, which are of one kind and size."""
        first = channels[0]
        job_id = self._fresh_job_id()
        is_clean = clean or not all(channel.has_tip for channel in channels)
        receiver = first.channel_id if group_id is None else group_id
        job = self._job(first, template)
        frames = [self._job_frame(first, job, job_id, is_clean)]
        if is_clean:
            tip = SetNewPrevHash(channel_id=0, job_id=job_id, prev_hash=job.prev_hash, min_ntime=job.min_ntime, nbits=job.nbits)
            frames.append(share(tip))
        plain = [self._conn.send(receiver, frame) for frame in frames]
        for frame in reversed(plain) if self._pool.faults.tip_before_job else plain:
            self.send_frame(frame)
        for channel in channels:
            channel.has_tip = True
            sent = SentJob(self._job(channel, template), channel.prefix, channel.rolled_bytes)
            channel.jobs.add(job_id, sent, is_clean)

    def _job(self, channel: PoolChannel, template: Template) -> Job:
        mask = VERSION_MASK_BIP323 if self._pool.spec.rolls_version else 0
        return template.job(len(channel.prefix) + channel.rolled_bytes, channel.target, mask)

    def _job_frame(self, channel: PoolChannel, job: Job, job_id: int, is_future: bool) -> SharedFrame:
        min_ntime = None if is_future else job.min_ntime
        prefix, suffix = job.coinbase_prefix, job.coinbase_suffix
        if not channel.is_extended:
            root = root_from_path(sha256d(prefix + channel.prefix + suffix), job.merkle_path)
            return share(NewMiningJob(channel_id=0, job_id=job_id, min_ntime=min_ntime, version=job.version, merkle_root=root))
        if self._pool.faults.keeps_witness:
            prefix, suffix = with_witness(prefix, suffix)
        return share(
            NewExtendedMiningJob(
                channel_id=0,
                job_id=job_id,
                min_ntime=min_ntime,
                version=job.version,
                version_rolling_allowed=self._pool.spec.rolls_version,
                merkle_path=job.merkle_path,
                coinbase_tx_prefix=prefix,
                coinbase_tx_suffix=suffix,
            )
        )

    def _fresh_job_id(self) -> int:
        self._next_job_id += 1
        return self._next_job_id - 1

    # --- shares

    def _submit(self, event: server_events.ShareSubmitted) -> None:
        pool = self._pool
        channel = self.channels[event.channel_id]
        sent = channel.jobs.get(event.job_id)
        worker = channel.user if event.user_identity is None else event.user_identity.decode("utf-8", "replace")
        verdict = pool.book(worker, sent, self._judge(channel, event, sent))
        if sent is not None and verdict in GOOD:
            channel.accepted += 1
            channel.acknowledgements.add(event.sequence_number, sent.difficulty, is_block=verdict is Verdict.BLOCK)
            self._acknowledge(channel)
        else:
            code = share_code(verdict, pool.faults)
            self.send_frame(self._conn.refuse_share(channel.channel_id, event.sequence_number, code))
        if verdict is Verdict.BLOCK:
            pool.found_block()

    def _judge(self, channel: PoolChannel, event: server_events.ShareSubmitted, sent: SentJob | None) -> Verdict:
        if sent is None:
            return channel.jobs.why_missing(event.job_id)
        mask = sent.job.version_mask
        if (event.version ^ sent.job.version) & ~mask:
            return Verdict.BAD_VERSION
        return self._pool.judge(sent, event.extranonce, event.ntime, event.nonce, event.version & mask).verdict

    async def _acknowledge_often(self) -> None:
        while True:
            await trio.sleep(MAX_WAIT_S)
            for channel in list(self.channels.values()):
                self._acknowledge(channel)

    def _acknowledge(self, channel: PoolChannel) -> None:
        """Tell of the accepted shares that are due to be told of."""
        now_s = trio.current_time()
        if not channel.acknowledgements.is_due(now_s, self._pool.spec.share_batch):
            return
        batch = channel.acknowledgements.take(now_s)
        if batch is None:
            return
        faults = self._pool.faults
        replacements = {
            "wrong-count": Batch(batch.last_sequence_number, batch.count + 1, batch.shares_sum),
            "wrong-sum": Batch(batch.last_sequence_number, batch.count, batch.shares_sum + 1_000),
            "unknown-sequence": Batch((batch.last_sequence_number + 1_000_000) % (1 << 32), batch.count, batch.shares_sum),
        }
        frame = self._conn.accept_shares(channel.channel_id, replacements.get(faults.answering, batch))
        if faults.answering == "never":
            self._pool.answers_withheld += batch.count
        elif faults.answering == "late" and self._nursery is not None:
            self._nursery.start_soon(self._send_later, frame, faults.answer_delay_s)
        else:
            self.send_frame(frame)
            if faults.answering == "twice":
                self.send_frame(frame)

    async def _send_later(self, frame: bytes, delay_s: float) -> None:
        await trio.sleep(delay_s)
        self.send_frame(frame)
