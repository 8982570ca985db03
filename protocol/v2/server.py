"""What we are to a mining client (a device, or another proxy): frames in, events out; answers are plaintext frames to send.

It owns the negotiations and the requests that wait for an answer, and checks every number a client sends; who may be sent what, and
when, is known by the channels (server_channels.py). It does NOT encrypt, judge shares, choose targets, batch acknowledgements
(acknowledge.py) or time anything out.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeVar

from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.states import advance
from protocol.v2 import codec, constants, error_codes
from protocol.v2.acknowledge import Batch
from protocol.v2.codec import decode_payload, encode_frame
from protocol.v2.layouts import LAYOUT_BY_CLASS
from protocol.v2.messages import common, extensions, mining
from protocol.v2.messages.base import Message
from protocol.v2.offer import Offer
from protocol.v2.refusals import (
    first_id,
    is_wrong_rate_in_update,
    refused_channel,
    refused_share,
    refused_update,
    wrong_rate_in_open,
)
from protocol.v2.server_channels import ServerChannels
from protocol.v2.server_events import (
    ChannelsClosed,
    ChannelUpdated,
    ChannelWanted,
    ConnectionSetUp,
    ExtensionsAgreed,
    Refused,
    ServerEvent,
    ShareSubmitted,
)
from protocol.v2.shared import SharedFrame
from protocol.v2.state import CONNECTION, ChannelStep, State, Step
from protocol.v2.tlv import decode_tlvs, find_user_identity
from protocol.v2.transport import Frame

# The longest message that a mining client has reason to send us is SetupConnection with its 1.3 KiB of names. So a connection
# never makes us hold more than this, whatever length it announces.
MAX_CLIENT_PAYLOAD: Final = 4096
# Requests for channels that the caller has not answered yet.
MAX_OPENING: Final = 16

# A code of ours: the reference implementation has none for this.
TOO_MANY_CHANNELS: Final = b"too-many-channels"

# Looked up once: in Python 3.11 a member of an Enum costs 0.1 us each time, and a share meets several.
_READY: Final = State.READY
_CLOSED: Final = State.CLOSED


def max_payload(extension_type: int, message_type: int) -> int:
    """For the frame transport: the longest payload to take from a client, in bytes."""
    return min(codec.max_payload(extension_type, message_type), MAX_CLIENT_PAYLOAD)


class ServerConnection:
    """One client's connection.

    `receive` may raise RemoteProtocolError: send its reply, then close. Nothing is taken after that. Methods that make frames raise
    LocalProtocolError, and change nothing, for a channel that is not open and for what the specification forbids to send.
    """

    __slots__ = ("_channels", "_offer", "_opening", "_standard_jobs", "_state", "extensions")

    def __init__(self, offer: Offer) -> None:
        self._offer = offer
        self._state = State.NEW
        self._standard_jobs = False
        self._channels = ServerChannels()
        self._opening: dict[int, ChannelWanted] = {}
        self.extensions: frozenset[int] = frozenset()

    @property
    def state(self) -> State:
        """How far the connection is."""
        return self._state

    @property
    def channel_ids(self) -> Iterable[int]:
        """The open channels, oldest first."""
        return self._channels.by_id.keys()

    def group_of(self, channel_id: int) -> int:
        """The id that stands for this channel and all others of its kind."""
        return self._channels.open(channel_id).group_id

    @property
    def uses_groups(self) -> bool:
        """Whether the client understands messages to a group: one that asks for standard jobs need not."""
        return not self._standard_jobs

    def max_target(self, channel_id: int) -> int:
        """The easiest target that the client takes on this channel."""
        return self._channels.open(channel_id).max_target

    # -- from the client

    def receive(self, frame: Frame) -> ServerEvent | None:
        """What the client asked; None for what is to be ignored. Raises RemoteProtocolError for what ends the connection."""
        if self._state is _CLOSED:
            return None
        handle = _HANDLERS.get((frame.extension_type, frame.message_type))
        try:
            self._check_turn(frame)
            # Specification 3.4: what is not known is discarded by the endpoint, whatever its channel bit says.
            return None if handle is None else handle(self, frame)
        except RemoteProtocolError:
            self._step(Step.CLOSE)
            raise

    def _check_turn(self, frame: Frame) -> None:
        if self._state is _READY:
            return
        asked = (frame.extension_type, frame.message_type)
        if self._state is State.NEW and asked != _SETUP_CONNECTION:
            raise RemoteProtocolError(f"{codec.name_of(*asked)} before SetupConnection")
        if self._state is State.EXTENSIONS_DUE and asked != _REQUEST_EXTENSIONS:
            raise RemoteProtocolError("a required extension was not asked for again")

    def _on_setup(self, frame: Frame) -> ServerEvent:
        message = _read(frame, common.SetupConnection)
        if self._state is not State.NEW:
            raise RemoteProtocolError("a second SetupConnection")
        self._offer.check(message)
        self._step(Step.ACCEPT)
        self._standard_jobs = message.flags & constants.REQUIRES_STANDARD_JOBS != 0
        return ConnectionSetUp(
            reply=encode_frame(common.SetupConnectionSuccess(used_version=constants.VERSION, flags=self._offer.flags)),
            requires_standard_jobs=self._standard_jobs,
            requires_version_rolling=message.flags & constants.REQUIRES_VERSION_ROLLING != 0,
            vendor=message.vendor,
            hardware_version=message.hardware_version,
            firmware=message.firmware,
            device_id=message.device_id,
        )

    def _on_request_extensions(self, frame: Frame) -> ServerEvent:
        message = _read(frame, extensions.RequestExtensions)
        wanted = tuple(dict.fromkeys(message.requested_extensions))
        granted = self._offer.granted(wanted)
        missing = self._offer.missing(self.extensions | frozenset(granted))
        if missing or (wanted and not granted):
            if missing:
                self._step(Step.DEMAND_EXTENSIONS)
            refused = tuple(each for each in wanted if each not in granted)
            answer = extensions.RequestExtensionsError(
                request_id=message.request_id, unsupported_extensions=refused, required_extensions=missing
            )
            return Refused(encode_frame(answer), b"")
        self._step(Step.AGREE)
        self.extensions |= frozenset(granted)
        success = extensions.RequestExtensionsSuccess(request_id=message.request_id, supported_extensions=granted)
        return ExtensionsAgreed(encode_frame(success), granted)

    def _on_open_standard(self, frame: Frame) -> ServerEvent:
        if (refused := wrong_rate_in_open(frame.payload)) is not None:
            return refused
        message = _read(frame, mining.OpenStandardMiningChannel)
        if self._offer.extended_only:
            code = error_codes.STANDARD_CHANNELS_NOT_SUPPORTED_FOR_CUSTOM_WORK
            return refused_channel(message.request_id, code)
        return self._want(message, 0, is_extended=False)

    def _on_open_extended(self, frame: Frame) -> ServerEvent:
        if (refused := wrong_rate_in_open(frame.payload)) is not None:
            return refused
        message = _read(frame, mining.OpenExtendedMiningChannel)
        if self._standard_jobs:
            code = error_codes.EXTENDED_CHANNELS_NOT_SUPPORTED_FOR_STANDARD_JOBS
            return refused_channel(message.request_id, code)
        return self._want(message, message.min_extranonce_size, is_extended=True)

    def _want(
        self,
        message: mining.OpenStandardMiningChannel | mining.OpenExtendedMiningChannel,
        min_extranonce_size: int,
        *,
        is_extended: bool,
    ) -> ServerEvent:
        request_id = message.request_id
        if request_id in self._opening:
            raise RemoteProtocolError(f"request id {request_id} is used twice")
        if message.max_target == 0:
            return refused_channel(request_id, error_codes.MAX_TARGET_OUT_OF_RANGE)
        if len(self._opening) >= MAX_OPENING or len(self._channels) + len(self._opening) >= self._offer.max_channels:
            return refused_channel(request_id, TOO_MANY_CHANNELS)
        wanted = ChannelWanted(
            request_id=request_id,
            is_extended=is_extended,
            user_identity=message.user_identity,
            nominal_hash_rate=message.nominal_hash_rate,
            max_target=message.max_target,
            min_extranonce_size=min_extranonce_size,
        )
        self._opening[request_id] = wanted
        return wanted

    def _on_update(self, frame: Frame) -> ServerEvent:
        channel_id = first_id(frame.payload)
        channel = self._channels.by_id.get(channel_id)
        if channel is None:
            return refused_update(channel_id, error_codes.INVALID_CHANNEL_ID, is_open=False)
        if is_wrong_rate_in_update(frame.payload):
            return refused_update(channel_id, error_codes.INVALID_NOMINAL_HASHRATE)
        message = _read(frame, mining.UpdateChannel)
        if message.maximum_target == 0:
            return refused_update(channel_id, error_codes.MAX_TARGET_OUT_OF_RANGE)
        channel.max_target = message.maximum_target
        return ChannelUpdated(channel_id, message.nominal_hash_rate, message.maximum_target)

    def _on_close(self, frame: Frame) -> ServerEvent | None:
        message = _read(frame, mining.CloseChannel)
        closed = self._channels.remove(message.channel_id)
        # Never echoed, and never answered: it may have crossed a close of ours.
        return ChannelsClosed(closed, message.reason_code) if closed else None

    def _on_share_standard(self, frame: Frame) -> ServerEvent:
        return self._share(_read(frame, mining.SubmitSharesStandard), b"", is_extended=False)

    def _on_share_extended(self, frame: Frame) -> ServerEvent:
        message = _read(frame, mining.SubmitSharesExtended)
        return self._share(message, message.extranonce, is_extended=True)

    def _share(
        self, share: mining.SubmitSharesStandard | mining.SubmitSharesExtended, extranonce: bytes, *, is_extended: bool
    ) -> ServerEvent:
        # Sequence numbers are the client's: they wrap, and an old bridge always sends 0. They are echoed, never judged.
        channel_id = share.channel_id
        channel = self._channels.by_id.get(channel_id)
        if channel is None:
            # Closed or never open: every share that is not taken is answered.
            return refused_share(share, error_codes.INVALID_CHANNEL_ID, is_open=False)
        if channel.is_extended is not is_extended:
            return refused_share(share, error_codes.INVALID_SHARE)
        user_identity = None
        if share.rest and constants.EXTENSION_WORKER_TRACKING in self.extensions:
            try:
                user_identity = find_user_identity(decode_tlvs(share.rest))
            except RemoteProtocolError:
                return refused_share(share, error_codes.INVALID_SHARE)
        return ShareSubmitted(
            channel_id, share.sequence_number, share.job_id, share.nonce, share.ntime, share.version, extranonce, user_identity
        )

    def _on_custom_job(self, frame: Frame) -> ServerEvent:
        message = _read(frame, mining.SetCustomMiningJob)
        code = error_codes.JD_NOT_SUPPORTED if message.channel_id in self._channels.by_id else error_codes.INVALID_CHANNEL_ID
        answer = mining.SetCustomMiningJobError(channel_id=message.channel_id, request_id=message.request_id, error_code=code)
        return Refused(encode_frame(answer), code)

    # -- to the client: channels

    def open_standard(self, wanted: ChannelWanted, target: int, extranonce_prefix: bytes) -> tuple[int, bytes]:
        """The id of the new channel, and the answer to its request. `target` must not be above what the client takes."""
        channel_id, group_id = self._admit(wanted, target, is_extended=False)
        return channel_id, encode_frame(
            mining.OpenStandardMiningChannelSuccess(
                request_id=wanted.request_id,
                channel_id=channel_id,
                target=target,
                extranonce_prefix=extranonce_prefix,
                group_channel_id=group_id,
            )
        )

    def open_extended(
        self, wanted: ChannelWanted, target: int, extranonce_prefix: bytes, extranonce_size: int
    ) -> tuple[int, bytes]:
        """The same for an extended channel. All extended channels of a connection must have one length of prefix and size."""
        if extranonce_size < wanted.min_extranonce_size:
            raise LocalProtocolError("the client needs a longer extranonce")
        channel_id, group_id = self._admit(wanted, target, is_extended=True)
        return channel_id, encode_frame(
            mining.OpenExtendedMiningChannelSuccess(
                request_id=wanted.request_id,
                channel_id=channel_id,
                target=target,
                extranonce_size=extranonce_size,
                extranonce_prefix=extranonce_prefix,
                group_channel_id=group_id,
            )
        )

    def refuse_channel(self, wanted: ChannelWanted, error_code: bytes) -> bytes:
        """The channel is not opened."""
        if self._opening.pop(wanted.request_id, None) is None:
            raise LocalProtocolError("nobody waits for this channel")
        return refused_channel(wanted.request_id, error_code).reply

    def refuse_update(self, channel_id: int, error_code: bytes) -> bytes:
        """The last UpdateChannel cannot be followed."""
        self._channels.open(channel_id)
        return refused_update(channel_id, error_code).reply

    def close_channel(self, channel_id: int, reason_code: bytes) -> bytes:
        """Close one channel, or all of the group. Nothing may be sent to them after this."""
        if not self._channels.remove(channel_id):
            raise LocalProtocolError(f"channel {channel_id} is not open")
        return encode_frame(mining.CloseChannel(channel_id=channel_id, reason_code=reason_code))

    # -- to the client: work

    def send(self, channel_id: int, frame: SharedFrame) -> bytes:
        """A job or a chain tip for one channel, or for all of the group.

        A chain tip must name a future job that every receiver was sent since the last one.
        """
        self._channels.take(channel_id, frame)
        return frame.to(channel_id)

    def send_activated(self, channel_id: int, job: SharedFrame, tip: SharedFrame) -> bytes:
        """A future job for one channel and the chain tip that names it, as `send` for each; the other futures are void."""
        self._channels.open(channel_id).take_activated(job, tip)
        return job.to(channel_id) + tip.to(channel_id)

    def set_target(self, channel_id: int, target: int) -> bytes:
        """A target for the jobs that come later and for those stored; for one channel or all of the group."""
        for channel in self._channels.receivers(channel_id):
            if target > channel.max_target:
                raise LocalProtocolError("the client does not take so easy a target")
            channel.check(ChannelStep.SET_TARGET)
        return encode_frame(mining.SetTarget(channel_id=channel_id, maximum_target=target))

    def set_extranonce_prefix(self, channel_id: int, extranonce_prefix: bytes) -> bytes:
        """Another prefix for jobs that come later. Never for a group."""
        self._channels.open(channel_id).check(ChannelStep.SET_PREFIX)
        return encode_frame(mining.SetExtranoncePrefix(channel_id=channel_id, extranonce_prefix=extranonce_prefix))

    def accept_shares(self, channel_id: int, batch: Batch) -> bytes:
        """Shares up to `batch.last_sequence_number` that were not refused are accepted."""
        self._channels.open(channel_id).check(ChannelStep.ANSWER_SHARE)
        return encode_frame(
            mining.SubmitSharesSuccess(
                channel_id=channel_id,
                last_sequence_number=batch.last_sequence_number,
                new_submits_accepted_count=batch.count,
                new_shares_sum=batch.shares_sum,
            )
        )

    def refuse_share(self, channel_id: int, sequence_number: int, error_code: bytes) -> bytes:
        """One share is refused."""
        self._channels.open(channel_id).check(ChannelStep.ANSWER_SHARE)
        return encode_frame(mining.SubmitSharesError(channel_id=channel_id, sequence_number=sequence_number, error_code=error_code))

    def reconnect(self, host: bytes, port: int) -> bytes:
        """Ask the client to go to another address of the same authority; b"" and 0: to the same."""
        return encode_frame(common.Reconnect(new_host=host, new_port=port))

    # -- inside

    def _step(self, step: Step) -> None:
        self._state = advance(CONNECTION, self._state, step)

    def _admit(self, wanted: ChannelWanted, target: int, *, is_extended: bool) -> tuple[int, int]:
        if self._opening.get(wanted.request_id) is not wanted or wanted.is_extended is not is_extended:
            raise LocalProtocolError("nobody waits for this channel")
        if target > wanted.max_target:
            raise LocalProtocolError("the client does not take so easy a target")
        self._step(Step.OPEN_CHANNEL)
        del self._opening[wanted.request_id]
        return self._channels.add(is_extended=is_extended, max_target=wanted.max_target)


M = TypeVar("M", bound=Message)


def _read(frame: Frame, message_class: type[M]) -> M:
    message = decode_payload(frame.extension_type, frame.message_type, frame.payload)
    assert isinstance(message, message_class), "handlers are listed under the type they read"
    return message


def _type_of(message_class: type[Message]) -> tuple[int, int]:
    layout = LAYOUT_BY_CLASS[message_class]
    return layout.extension_type, layout.message_type


_SETUP_CONNECTION: Final = _type_of(common.SetupConnection)
_REQUEST_EXTENSIONS: Final = _type_of(extensions.RequestExtensions)

_HANDLERS: Final[Mapping[tuple[int, int], Callable[[ServerConnection, Frame], ServerEvent | None]]] = {
    _type_of(common.SetupConnection): ServerConnection._on_setup,
    _type_of(extensions.RequestExtensions): ServerConnection._on_request_extensions,
    _type_of(mining.OpenStandardMiningChannel): ServerConnection._on_open_standard,
    _type_of(mining.OpenExtendedMiningChannel): ServerConnection._on_open_extended,
    _type_of(mining.UpdateChannel): ServerConnection._on_update,
    _type_of(mining.CloseChannel): ServerConnection._on_close,
    _type_of(mining.SubmitSharesStandard): ServerConnection._on_share_standard,
    _type_of(mining.SubmitSharesExtended): ServerConnection._on_share_extended,
    _type_of(mining.SetCustomMiningJob): ServerConnection._on_custom_job,
}
