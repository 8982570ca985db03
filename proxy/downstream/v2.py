"""Devices that speak Stratum V2: their events become calls to the router, the router's wishes become messages.

A connection may hold many channels; each is a channel of the router's like any unit's. It does NOT encrypt (noise.py), judge
shares, choose pools or difficulties, and it never waits.
"""

from collections.abc import Callable, Iterable
from typing import Any

import structlog

from protocol.bitcoin.target import target_from_difficulty
from protocol.mining.share import Verdict
from protocol.v2 import error_codes
from protocol.v2.constants import VERSION_MASK_BIP323
from protocol.v2.server import Offer, ServerConnection, max_payload
from protocol.v2.server_events import (
    ChannelsClosed,
    ChannelUpdated,
    ChannelWanted,
    ConnectionSetUp,
    ExtensionsAgreed,
    Refused,
    ShareSubmitted,
)
from protocol.v2.text import printable
from protocol.v2.transport import PlainTransport
from proxy.config import Listen
from proxy.downstream.connection import Connection
from proxy.downstream.guard import COST_CONNECTION, COST_REFUSED_SHARE, Guard
from proxy.downstream.quirks import quirks_of
from proxy.downstream.v1 import CHEAP_LIES, Identify, Identity
from proxy.downstream.v2_channel import DeviceChannel, Ticket, code_of, floor_difficulty
from proxy.downstream.v2_jobs import JobFrames, ToldJob, may_roll, standard
from proxy.work.channel import Channel, ShareCoordinates
from proxy.work.extranonce import PrefixAllocator
from proxy.work.jobs import SentJob
from proxy.work.router import Router

log = structlog.get_logger()

# A code of ours: the site has no room for another channel.
NO_FREE_PREFIX = b"no-free-extranonce-prefix"


class DeviceServer:
    """What all V2 sessions share, and their factory."""

    def __init__(
        self,
        *,
        config: Listen,
        router: Router,
        allocator: PrefixAllocator,
        guard: Guard,
        identify: Identify,
        offered_mask: Callable[[], int],
        clock: Callable[[], float],
    ) -> None:
        """offered_mask: the version bits that every pool allows now."""
        self.config = config
        self.router = router
        self.allocator = allocator
        self.guard = guard
        self.identify = identify
        self.clock = clock
        self.frames = JobFrames()
        self.on_work: Callable[[], None] = lambda: None  # somebody has to call `flush`
        self._offered_mask = offered_mask
        self._unflushed: dict[DeviceSession, None] = {}

    def session(self, connection: Connection) -> "DeviceSession":
        """A session for a new connection."""
        return DeviceSession(self, connection)

    def rollable(self) -> int:
        """The version bits that a new channel may roll: none unless all that hardware rolls are free."""
        mask = self._offered_mask() & VERSION_MASK_BIP323
        return mask if may_roll(mask) else 0

    @property
    def is_flush_pending(self) -> bool:
        """A connection with many channels has jobs that wait for being sent together."""
        return bool(self._unflushed)

    def flush_later(self, session: "DeviceSession") -> None:
        """`session` has such jobs."""
        self._unflushed[session] = None
        self.on_work()

    def flush(self) -> None:
        """Send what waits; while a fan-out runs, only on connections of whose channels none still waits for it."""
        is_running = self.router.is_fan_out_pending
        for session in list(self._unflushed):
            if not is_running or session.is_complete:
                del self._unflushed[session]
                session.flush_jobs()

    def forget(self, session: "DeviceSession") -> None:
        """The session has ended."""
        self._unflushed.pop(session, None)


class DeviceSession:
    """One connection and its channels."""

    __slots__ = (
        "_agent",
        "_empty_since_s",
        "_frames",
        "_handed",
        "_links",
        "_protocol",
        "_requires_rolling",
        "_rolling",
        "_server",
        "_waiting",
        "connection",
    )

    def __init__(self, server: DeviceServer, connection: Connection) -> None:
        self.connection = connection
        self._server = server
        self._rolling = server.rollable()
        self._protocol = ServerConnection(Offer(fixed_version=not self._rolling))
        self._frames = PlainTransport(max_payload)
        self._links: dict[int, DeviceChannel] = {}
        self._waiting: dict[DeviceChannel, ToldJob] = {}
        self._handed = False  # what waits is in the hands of the connection
        self._empty_since_s = connection.opened_s
        self._agent: str | None = None
        self._requires_rolling = False

    @property
    def is_ready(self) -> bool:
        """It has a channel, or had one a short time ago."""
        if self._links:
            return True
        return self._server.clock() - self._empty_since_s <= self._server.config.handshake_timeout_s

    @property
    def may_be_silent(self) -> bool:
        """Every unit behind it was commanded to sleep."""
        return bool(self._links) and all(link.channel.vardiff.expected_hps == 0 for link in self._links.values())

    @property
    def channels(self) -> Iterable[Channel]:
        """The router's channels of this connection."""
        return tuple(link.channel for link in self._links.values())

    @property
    def is_complete(self) -> bool:
        """Every channel has a job waiting."""
        return len(self._waiting) >= len(self._links)

    # -- from the device

    def receive(self, data: bytes) -> None:
        """Work on what came in. Raises RemoteProtocolError when the device breaks the protocol."""
        frames = self._frames
        frames.feed(data)
        while (frame := frames.next_frame()) is not None:
            event = self._protocol.receive(frame)
            if event is not None:
                HANDLERS[type(event)](self, event)
            if self.connection.close_reason is not None:
                return

    def closed(self, reason: str) -> None:
        """The connection is gone: give back what it held."""
        accepted = sum(link.channel.accepted for link in self._links.values())
        rejected = sum(link.channel.rejected for link in self._links.values())
        units = [link.channel.unit for link in self._links.values()]
        for channel_id in list(self._links):
            self._release(channel_id)
        self._server.forget(self)
        log.info(
            "device.left",
            unit=units[0] if units else None,
            channels=len(units),
            address=self.connection.address,
            reason=reason,
            accepted=accepted,
            rejected=rejected,
        )

    def tick(self) -> None:
        """Acknowledge what has waited long enough; to be called about once a second."""
        for link in self._links.values():
            self.acknowledge(link)

    def _on_setup(self, event: ConnectionSetUp) -> None:
        self._agent = " ".join(filter(None, (printable(event.vendor), printable(event.firmware)))) or None
        self._requires_rolling = event.requires_version_rolling
        self.connection.send(event.reply)

    def _on_extensions(self, event: ExtensionsAgreed) -> None:
        self.connection.send(event.reply)

    def _on_channel_wanted(self, event: ChannelWanted) -> None:
        server = self._server
        if self._links:
            self._charge(COST_CONNECTION)
        worker = printable(event.user_identity)
        quirks = quirks_of(self._agent)
        identity = server.identify(worker, self.connection.address, quirks) if worker else None
        if identity is None:
            self._refuse_open(event, worker, error_codes.UNKNOWN_USER, "add the unit to the site file")
            return
        if event.min_extranonce_size > server.config.extranonce2_bytes:
            remedy = "raise listen.extranonce2_bytes if every pool allows it"
            self._refuse_open(event, worker, error_codes.MIN_EXTRANONCE_SIZE_TOO_LARGE, remedy)
            return
        prefix = server.allocator.allocate(server.clock())
        if prefix is None:
            self._refuse_open(event, worker, NO_FREE_PREFIX, "raise listen.unit_id_bytes if every pool allows it")
            return
        self._open(event, worker, identity, prefix)

    def _refuse_open(self, event: ChannelWanted, worker: str, code: bytes, remedy: str) -> None:
        self.connection.send(self._protocol.refuse_channel(event, code))
        self._charge(COST_REFUSED_SHARE)
        log.warning("device.refused", worker=worker, address=self.connection.address, code=code.decode(), remedy=remedy)

    def _open(self, event: ChannelWanted, worker: str, identity: Identity, prefix: bytes) -> None:
        server = self._server
        link = DeviceChannel(self, event)
        channel = Channel(link, identity.unit, worker, self.connection.address, prefix, server.config.extranonce2_bytes)
        channel.user_agent = self._agent
        channel.stratum_version = 2
        channel.negotiated_mask = channel.told_mask = self._rolling
        channel.floor_difficulty = floor_difficulty(event.max_target)
        link.channel = channel
        server.router.open_channel(channel, None, identity.typical_hps or event.nominal_hash_rate or None)
        if link.channel_id is None:
            # No pool has work yet: the channel opens all the same, and its first job brings the target that is right then.
            self.answer_open(link, own_target(channel))

    def answer_open(self, link: DeviceChannel, target: int) -> None:
        """Tell the device that its channel is open; jobs may follow."""
        size = self._server.config.extranonce2_bytes
        prefix = link.channel.prefix
        if link.wanted.is_extended:
            channel_id, reply = self._protocol.open_extended(link.wanted, target, prefix, size)
        else:
            channel_id, reply = self._protocol.open_standard(link.wanted, target, prefix + bytes(size))
        link.channel_id = channel_id
        link.told_target = target
        self._links[channel_id] = link
        self.connection.send(reply)

    def _on_updated(self, event: ChannelUpdated) -> None:
        link = self._links[event.channel_id]
        link.channel.floor_difficulty = floor_difficulty(event.max_target)
        self._server.router.hint_hashrate(link.channel, event.nominal_hash_rate)
        if link.told_target > event.max_target:
            self._server.router.renew(link.channel)
        if link.told_target > event.max_target and link.has_work:
            # There is no fresh job to send it with. It is for the next one then; a channel without any is told with its first.
            link.told_target = own_target(link.channel)
            self.connection.send(self._protocol.set_target(event.channel_id, link.told_target))

    def _on_channels_closed(self, event: ChannelsClosed) -> None:
        for channel_id in event.channel_ids:
            self._release(channel_id)

    def _on_share(self, event: ShareSubmitted) -> None:
        link = self._links[event.channel_id]
        channel = link.channel
        router = self._server.router
        job_id = f"{event.job_id:x}"
        sent = channel.jobs.get(job_id) or channel.stale.get(job_id)
        rolled: int | None = None
        if sent is not None:
            mask = sent.version_mask if may_roll(sent.version_mask) else 0
            wrong = (event.version ^ sent.wire.job.version) & ~mask
            if wrong:
                router.refuse(channel, channel.unit, Verdict.BAD_VERSION)
                self._refuse(link, event.sequence_number, _version_code(mask))
                if mask and wrong & VERSION_MASK_BIP323:
                    self._forbid_rolling(link)
                return
            rolled = event.version & mask if mask else None
        extranonce = event.extranonce if link.wanted.is_extended else bytes(self._server.config.extranonce2_bytes)
        worker = printable(event.user_identity) if event.user_identity else None
        ticket = Ticket(event.sequence_number, sent.difficulty if sent is not None else 0.0)
        blocks = channel.blocks
        share = ShareCoordinates(job_id, extranonce, event.ntime, event.nonce, rolled, worker)
        verdict = router.submit(channel, share, ticket)
        if verdict is None:
            ticket.is_block = channel.blocks != blocks
            return
        self._refuse(link, event.sequence_number, code_of(verdict), is_cheap=verdict in CHEAP_LIES)

    def _forbid_rolling(self, link: DeviceChannel) -> None:
        """The device did what its jobs allowed, but its pool takes less than BIP 323: from now on its jobs allow nothing there."""
        if link.rolls_all or self._requires_rolling or not link.wanted.is_extended:
            return
        link.rolls_all = True
        log.info("device.rolls_all", unit=link.channel.unit, address=self.connection.address)
        self._server.router.renew(link.channel)

    def _refuse(self, link: DeviceChannel, sequence_number: int, code: bytes, *, is_cheap: bool = True) -> None:
        self.refuse_share(link, sequence_number, code)
        if is_cheap:
            self._charge(COST_REFUSED_SHARE)

    def _on_refused(self, event: Refused) -> None:
        if event.is_share:
            link = self._links.get(event.channel_id) if event.channel_id is not None else None
            channel = link.channel if link is not None else None
            self._server.router.refuse(channel, channel.unit if channel else "", Verdict.MALFORMED)
        self.connection.send(event.reply)
        self._charge(COST_REFUSED_SHARE)

    def _charge(self, cost: float) -> None:
        if not self._server.guard.charge(self.connection.address, cost, self._server.clock()):
            self.connection.hang_up("too much nonsense from this address")

    def _release(self, channel_id: int) -> None:
        link = self._links.pop(channel_id)
        self._waiting.pop(link, None)
        now_s = self._server.clock()
        self._empty_since_s = now_s
        self._server.router.close_channel(link.channel)
        self._server.allocator.release(link.channel.prefix, now_s)

    # -- from the channels

    def queue_job(self, link: DeviceChannel, sent: SentJob, *, clean: bool, new_target: bool) -> None:
        """Send a job, together with those for other channels where there are any.

        A job that still waits is replaced, and what it would have told comes with this one.
        """
        if self._requires_rolling and not may_roll(sent.version_mask):
            # Specification 5.3.1: such a job must not be sent to a device that cannot do without.
            log.warning(
                "device.refused",
                worker=link.channel.worker,
                address=self.connection.address,
                remedy="the device requires version rolling: give its unit a pool that allows it",
            )
            self.connection.hang_up("requires version rolling, which the pool of its unit does not allow")
            return
        if self._handed and not self.connection.is_job_waiting:
            self._have_left()
        earlier = self._waiting.pop(link, None)
        if earlier is not None:
            clean, new_target = clean or earlier.clean, new_target or earlier.new_target
        self._waiting[link] = ToldJob(sent, clean, new_target)
        if len(self._links) > 1:
            self._server.flush_later(self)
        else:
            self.flush_jobs()

    def flush_jobs(self) -> None:
        """Hand what waits to the connection."""
        if not self._waiting or self.connection.close_reason is not None:
            return
        self.connection.send_job(self._waiting_frames)
        self._handed = True
        if not self.connection.is_job_waiting:
            self._have_left()

    def _have_left(self) -> None:
        """What was handed to the connection is on its way."""
        for link in self._waiting:
            link.has_work = True
        self._waiting.clear()
        self._handed = False

    def acknowledge(self, link: DeviceChannel) -> None:
        """Tell of the accepted shares of a channel if it is time."""
        now_s = self._server.clock()
        if link.channel_id is None or not link.acknowledgements.is_due(now_s, self._server.config.v2_share_batch):
            return
        batch = link.acknowledgements.take(now_s)
        if batch is not None:
            self.connection.send(self._protocol.accept_shares(link.channel_id, batch))

    def refuse_share(self, link: DeviceChannel, sequence_number: int, code: bytes) -> None:
        """Tell of one refused share."""
        if link.channel_id is not None:
            self.connection.send(self._protocol.refuse_share(link.channel_id, sequence_number, code))

    def _waiting_frames(self) -> bytes:
        """The frames of what waits now: called when they can leave, and again when not a byte of them has left."""
        waiting = self._waiting
        if len(waiting) == 1:
            ((link, told),) = waiting.items()
            return b"".join(self._job_frames(link, told))
        group = self._common_group()
        if group is not None:
            told = next(iter(waiting.values()))
            frames = self._server.frames
            parts = [self._target_frame(link) for link, each in waiting.items() if each.new_target and link.has_work]
            rolls_all = next(iter(waiting)).rolls_all
            parts.append(self._protocol.send(group, frames.extended(told.sent, clean=told.clean, rolls_all=rolls_all)))
            parts += [self._target_frame(link) for link, each in waiting.items() if each.new_target and not link.has_work]
            if told.clean:
                parts.append(self._protocol.send(group, frames.tip(told.sent)))
            return b"".join(parts)
        return b"".join(part for link, told in waiting.items() for part in self._job_frames(link, told))

    def _common_group(self) -> int | None:
        """The group, where one message does for all of its channels."""
        waiting = self._waiting
        if len(waiting) < 2 or len(waiting) != len(self._links) or not self._protocol.uses_groups:
            return None
        one, first = next(iter(waiting.items()))
        for link, told in waiting.items():
            same = told.clean is first.clean and told.sent.wire is first.sent.wire and link.rolls_all is one.rolls_all
            if not same or not link.wanted.is_extended or told.sent.version_mask != first.sent.version_mask:
                return None
        return self._protocol.group_of(next(iter(self._links)))

    def _job_frames(self, link: DeviceChannel, told: ToldJob) -> list[bytes]:
        channel_id = link.channel_id
        assert channel_id is not None, "jobs follow the answer to the request"
        server = self._server
        # SV2 5.3.15: a job is the first that a new channel hears of; while it is a future one, a target still counts for it.
        frames = []
        if told.new_target and link.has_work:
            frames.append(self._target_frame(link))
        if link.wanted.is_extended:
            job = server.frames.extended(told.sent, clean=told.clean, rolls_all=link.rolls_all)
        else:
            job = standard(told.sent, link.channel.prefix + bytes(server.config.extranonce2_bytes), clean=told.clean)
        if told.clean and link.has_work:
            frames.append(self._protocol.send_activated(channel_id, job, server.frames.tip(told.sent)))
            return frames
        frames.append(self._protocol.send(channel_id, job))
        if told.new_target and not link.has_work:
            frames.append(self._target_frame(link))
        if told.clean:
            frames.append(self._protocol.send(channel_id, server.frames.tip(told.sent)))
        return frames

    def _target_frame(self, link: DeviceChannel) -> bytes:
        channel_id = link.channel_id
        assert channel_id is not None, "jobs follow the answer to the request"
        # The device may have asked for a harder one while the job waited.
        return self._protocol.set_target(channel_id, min(link.told_target, self._protocol.max_target(channel_id)))


def device_mask(version_mask: int) -> int:
    """The bits that devices may be granted where units get `version_mask`.

    V2 knows the wider set of BIP 323; an operator who grants all of BIP 320 has no reason to keep its additional bits back.
    """
    return VERSION_MASK_BIP323 if may_roll(version_mask) else version_mask


def own_target(channel: Channel) -> int:
    """The target of what the channel is worth by itself, where there is no job that could cap it."""
    return target_from_difficulty(max(channel.vardiff.difficulty, channel.floor_difficulty))


def _version_code(mask: int) -> bytes:
    return error_codes.INVALID_NON_ROLLABLE_VERSION_BIT if mask else error_codes.VERSION_ROLLING_NOT_ALLOWED


# Any: each handler takes exactly the event type it is listed under.
HANDLERS: dict[type, Callable[[DeviceSession, Any], None]] = {
    ConnectionSetUp: DeviceSession._on_setup,
    ExtensionsAgreed: DeviceSession._on_extensions,
    ChannelWanted: DeviceSession._on_channel_wanted,
    ChannelUpdated: DeviceSession._on_updated,
    ChannelsClosed: DeviceSession._on_channels_closed,
    ShareSubmitted: DeviceSession._on_share,
    Refused: DeviceSession._on_refused,
}
