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
from protocol.v2.offer import Offer
from protocol.v2.server import ServerConnection, max_payload
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
from proxy.downstream.connection import Connection
from proxy.downstream.guard import COST_CONNECTION, COST_REFUSED_SHARE
from proxy.downstream.quirks import quirks_of
from proxy.downstream.reception import CHEAP_LIES, Identity, Reception
from proxy.downstream.v2_channel import DeviceChannel, Ticket, code_of, floor_difficulty
from proxy.downstream.v2_jobs import JobFrames, may_roll
from proxy.downstream.v2_waiting import WaitingJobs
from proxy.work.channel import Channel, ShareCoordinates
from proxy.work.jobs import SentJob

log = structlog.get_logger()

# A code of ours: the site has no room for another channel.
NO_FREE_PREFIX = b"no-free-extranonce-prefix"


class DeviceServer:
    """What all V2 sessions share, and their factory."""

    def __init__(self, reception: Reception, *, offered_mask: Callable[[], int]) -> None:
        """offered_mask: the version bits that every pool allows now."""
        self.reception = reception
        self.frames = JobFrames()
        self.standard_extranonce = bytes(reception.config.extranonce2_bytes)  # what nobody rolls on a standard channel
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
        is_running = self.reception.router.is_fan_out_pending
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
        "_links",
        "_protocol",
        "_reception",
        "_requires_rolling",
        "_rolling",
        "_server",
        "_waiting",
        "connection",
    )

    def __init__(self, server: DeviceServer, connection: Connection) -> None:
        self.connection = connection
        self._server = server
        self._reception = server.reception
        self._rolling = server.rollable()
        self._protocol = ServerConnection(Offer(fixed_version=not self._rolling))
        self._frames = PlainTransport(max_payload)
        self._links: dict[int, DeviceChannel] = {}
        self._waiting = WaitingJobs(connection, self._protocol, server.frames, self._links, server.standard_extranonce)
        self._empty_since_s = connection.opened_s
        self._agent: str | None = None
        self._requires_rolling = False

    @property
    def is_ready(self) -> bool:
        """It has a channel, or had one a short time ago."""
        if self._links:
            return True
        return self._reception.clock() - self._empty_since_s <= self._reception.config.handshake_timeout_s

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
        return self._waiting.is_complete

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
        reception = self._reception
        if self._links:
            self._reception.charge(self.connection, COST_CONNECTION)
        worker = printable(event.user_identity)
        quirks = quirks_of(self._agent)
        identity = reception.identify(worker, self.connection.address, quirks) if worker else None
        if identity is None:
            self._refuse_open(event, worker, error_codes.UNKNOWN_USER, "add the unit to the site file")
            return
        if event.min_extranonce_size > reception.config.extranonce2_bytes:
            remedy = "raise listen.extranonce2_bytes if every pool allows it"
            self._refuse_open(event, worker, error_codes.MIN_EXTRANONCE_SIZE_TOO_LARGE, remedy)
            return
        prefix = reception.allocator.allocate(reception.clock())
        if prefix is None:
            self._refuse_open(event, worker, NO_FREE_PREFIX, "raise listen.unit_id_bytes if every pool allows it")
            return
        self._open(event, worker, identity, prefix)

    def _refuse_open(self, event: ChannelWanted, worker: str, code: bytes, remedy: str) -> None:
        self.connection.send(self._protocol.refuse_channel(event, code))
        self._reception.charge(self.connection, COST_REFUSED_SHARE)
        log.warning("device.refused", worker=worker, address=self.connection.address, code=code.decode(), remedy=remedy)

    def _open(self, event: ChannelWanted, worker: str, identity: Identity, prefix: bytes) -> None:
        reception = self._reception
        link = DeviceChannel(self, event)
        channel = Channel(link, identity.unit, worker, self.connection.address, prefix, reception.config.extranonce2_bytes)
        channel.user_agent = self._agent
        channel.stratum_version = 2
        channel.negotiated_mask = channel.told_mask = self._rolling
        channel.floor_difficulty = floor_difficulty(event.max_target)
        link.channel = channel
        reception.router.open_channel(channel, None, identity.typical_hps or event.nominal_hash_rate or None)
        if link.channel_id is None:
            # No pool has work yet: the channel opens all the same, and its first job brings the target that is right then.
            self.answer_open(link, own_target(channel))

    def answer_open(self, link: DeviceChannel, target: int) -> None:
        """Tell the device that its channel is open; jobs may follow."""
        size = self._reception.config.extranonce2_bytes
        prefix = link.channel.prefix
        if link.wanted.is_extended:
            channel_id, reply = self._protocol.open_extended(link.wanted, target, prefix, size)
        else:
            channel_id, reply = self._protocol.open_standard(link.wanted, target, prefix + self._server.standard_extranonce)
        link.channel_id = channel_id
        link.told_target = target
        self._links[channel_id] = link
        self.connection.send(reply)

    def _on_updated(self, event: ChannelUpdated) -> None:
        link = self._links[event.channel_id]
        link.channel.floor_difficulty = floor_difficulty(event.max_target)
        self._reception.router.hint_hashrate(link.channel, event.nominal_hash_rate)
        if link.told_target > event.max_target:
            self._reception.router.renew(link.channel)
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
        shares = self._reception.shares
        job_id = f"{event.job_id:x}"
        sent = channel.jobs.get(job_id) or channel.stale.get(job_id)
        rolled: int | None = None
        if sent is not None:
            mask = sent.version_mask if may_roll(sent.version_mask) else 0
            wrong = (event.version ^ sent.wire.job.version) & ~mask
            if wrong:
                shares.refuse(channel, Verdict.BAD_VERSION)
                self._refuse(link, event.sequence_number, _version_code(mask))
                if mask and wrong & VERSION_MASK_BIP323:
                    self._forbid_rolling(link)
                return
            rolled = event.version & mask if mask else None
        extranonce = event.extranonce if link.wanted.is_extended else self._server.standard_extranonce
        worker = printable(event.user_identity) if event.user_identity else None
        ticket = Ticket(event.sequence_number, sent.difficulty if sent is not None else 0.0)
        blocks = channel.blocks
        share = ShareCoordinates(job_id, extranonce, event.ntime, event.nonce, rolled, worker)
        verdict = shares.submit(channel, share, ticket)
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
        self._reception.router.renew(link.channel)

    def _refuse(self, link: DeviceChannel, sequence_number: int, code: bytes, *, is_cheap: bool = True) -> None:
        self.refuse_share(link, sequence_number, code)
        if is_cheap:
            self._reception.charge(self.connection, COST_REFUSED_SHARE)

    def _on_refused(self, event: Refused) -> None:
        if event.is_share:
            link = self._links.get(event.channel_id) if event.channel_id is not None else None
            channel = link.channel if link is not None else None
            self._reception.shares.refuse(channel, Verdict.MALFORMED)
        self.connection.send(event.reply)
        self._reception.charge(self.connection, COST_REFUSED_SHARE)

    def _release(self, channel_id: int) -> None:
        link = self._links.pop(channel_id)
        self._waiting.drop(link)
        now_s = self._reception.clock()
        self._empty_since_s = now_s
        self._reception.router.close_channel(link.channel)
        self._reception.allocator.release(link.channel.prefix, now_s)

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
        self._waiting.put(link, sent, clean=clean, new_target=new_target)
        if len(self._links) > 1:
            self._server.flush_later(self)
        else:
            self.flush_jobs()

    def flush_jobs(self) -> None:
        """Hand what waits to the connection."""
        self._waiting.hand_over()

    def acknowledge(self, link: DeviceChannel) -> None:
        """Tell of the accepted shares of a channel if it is time."""
        now_s = self._reception.clock()
        if link.channel_id is None or not link.acknowledgements.is_due(now_s, self._reception.config.v2_share_batch):
            return
        batch = link.acknowledgements.take(now_s)
        if batch is not None:
            self.connection.send(self._protocol.accept_shares(link.channel_id, batch))

    def refuse_share(self, link: DeviceChannel, sequence_number: int, code: bytes) -> None:
        """Tell of one refused share."""
        if link.channel_id is not None:
            self.connection.send(self._protocol.refuse_share(link.channel_id, sequence_number, code))


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
