"""Our role towards a Stratum V2 pool (and the simulated miner's towards us): requests are frames to send, frames are events.

Frames are in the clear; a transport seals and opens them. It remembers what was asked, which channels are open, and freezes in each
job what was in force when it became workable. It does NOT judge shares, decide about reconnects, or time anything out.
"""

from collections.abc import Callable, Sequence
from typing import Final, TypeVar, cast

from protocol.bitcoin.target import MAX_TARGET
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.states import advance
from protocol.v2 import client_events as events
from protocol.v2.client_channel import ClientChannel
from protocol.v2.client_channels import ClientChannels, Opening
from protocol.v2.client_events import ClientEvent
from protocol.v2.client_state import CLIENT, ClientState, ClientStep
from protocol.v2.codec import decode_payload, encode_frame, name_of
from protocol.v2.constants import (
    EXTENSION_WORKER_TRACKING,
    PROTOCOL_MINING,
    REQUIRES_EXTENDED_CHANNELS,
    REQUIRES_FIXED_VERSION,
    VERSION,
)
from protocol.v2.messages import common, extensions, mining
from protocol.v2.messages.base import Message, Unknown
from protocol.v2.tlv import Tlv, user_identity_tlv
from protocol.v2.transport import Frame

VENDOR: Final = "thermostratum"
# The largest finite F32; a sum of hashrates above it is a mistake, but not one to die of.
MAX_HASH_RATE: Final = 3.4028234663852886e38


class ClientConnection:
    """One connection to a server. After a RemoteProtocolError it is broken: it yields no events and refuses every request.

    All requests raise LocalProtocolError out of turn, for a channel that is not open, and for values that no field can hold.
    """

    __slots__ = (
        "_channels",
        "_is_fixed",
        "_next_request",
        "_requested",
        "_state",
        "agreed",
    )

    def __init__(self, first_sequence: int = 1) -> None:
        """first_sequence: of the shares of each channel."""
        self.agreed: frozenset[int] = frozenset()
        self._state = ClientState.NEW
        self._is_fixed = False
        self._next_request = 1
        self._requested: tuple[int, frozenset[int]] | None = None
        self._channels = ClientChannels(first_sequence)

    @property
    def state(self) -> ClientState:
        """How far the connection is."""
        return self._state

    @property
    def is_version_fixed(self) -> bool:
        """The server allows no version rolling at all."""
        return self._is_fixed

    @property
    def channels(self) -> frozenset[int]:
        """The ids of the open channels."""
        return frozenset(self._channels.by_id)

    # ---- out

    def setup(
        self,
        endpoint_host: str,
        endpoint_port: int,
        *,
        flags: int = 0,
        vendor: str = VENDOR,
        hardware_version: str = "",
        firmware: str = "",
        device_id: str = "",
    ) -> bytes:
        """The first message; answered by SetUp or SetupRefused. flags: see protocol/v2/constants.py."""
        self._state = advance(CLIENT, self._state, ClientStep.ASK_SETUP)
        return encode_frame(
            common.SetupConnection(
                PROTOCOL_MINING,
                VERSION,
                VERSION,
                flags,
                _text(endpoint_host),
                endpoint_port,
                _text(vendor),
                _text(hardware_version),
                _text(firmware),
                _text(device_id),
            )
        )

    def request_extensions(self, wanted: Sequence[int]) -> bytes:
        """Ask for extensions; answered by ExtensionsAgreed or ExtensionsRefused, by a server without extension 0x0001 not at all.

        Until then nothing else may be sent.
        """
        after = advance(CLIENT, self._state, ClientStep.ASK_EXTENSIONS)
        request_id = self._request_id() & 0xFFFF
        frame = encode_frame(extensions.RequestExtensions(request_id, tuple(sorted(set(wanted)))))
        self._requested = (request_id, frozenset(wanted))
        self._state = after
        return frame

    def open_extended(
        self, user_identity: str, nominal_hash_rate: float, max_target: int, min_extranonce_size: int
    ) -> tuple[int, bytes]:
        """Ask for an extended channel: the request id that ChannelOpened or ChannelRefused will carry, and the frame.

        nominal_hash_rate in hashes/s, 0 while nobody hashes; max_target: the easiest target we take.
        """
        request_id = self._request_id()
        message = mining.OpenExtendedMiningChannel(
            request_id, _text(user_identity), _rate(nominal_hash_rate), min(max_target, MAX_TARGET), min_extranonce_size
        )
        return request_id, self._open(request_id, message, Opening(True, min_extranonce_size))

    def open_standard(self, user_identity: str, nominal_hash_rate: float, max_target: int) -> tuple[int, bytes]:
        """Ask for a standard channel; as `open_extended`."""
        request_id = self._request_id()
        message = mining.OpenStandardMiningChannel(
            request_id, _text(user_identity), _rate(nominal_hash_rate), min(max_target, MAX_TARGET)
        )
        return request_id, self._open(request_id, message, Opening(False, 0))

    def update_channel(self, channel_id: int, nominal_hash_rate: float, max_target: int) -> bytes:
        """Tell that the hashrate has changed, or that another target is wanted. Answered only when it is refused."""
        self._open_channel(channel_id)
        return encode_frame(mining.UpdateChannel(channel_id, _rate(nominal_hash_rate), min(max_target, MAX_TARGET)))

    def submit_extended(
        self,
        channel_id: int,
        job_id: int,
        *,
        nonce: int,
        ntime: int,
        version: int,
        extranonce: bytes,
        user_identity: str | None = None,
    ) -> tuple[int, bytes]:
        """Send a share: its sequence number, and the frame.

        extranonce: our part alone, of exactly the channel's size. version: the whole header field. user_identity: who found it;
        sent where extension 0x0002 was agreed on.
        """
        channel = self._open_channel(channel_id)
        if not channel.is_extended or len(extranonce) != channel.extranonce_size:
            raise LocalProtocolError(
                f"channel {channel_id} takes {channel.extranonce_size} bytes of extranonce, not {len(extranonce)}"
            )
        tlvs: tuple[Tlv, ...] = ()
        if user_identity is not None and EXTENSION_WORKER_TRACKING in self.agreed:
            tlvs = (user_identity_tlv(user_identity),)
        sequence = channel.take_sequence()
        message = mining.SubmitSharesExtended(channel_id, sequence, job_id, nonce, ntime, version, extranonce)
        return sequence, encode_frame(message, tlvs)

    def submit_standard(self, channel_id: int, job_id: int, *, nonce: int, ntime: int, version: int) -> tuple[int, bytes]:
        """Send a share of a standard channel: its sequence number, and the frame."""
        channel = self._open_channel(channel_id)
        if channel.is_extended:
            raise LocalProtocolError(f"channel {channel_id} is extended")
        sequence = channel.take_sequence()
        return sequence, encode_frame(mining.SubmitSharesStandard(channel_id, sequence, job_id, nonce, ntime, version))

    def close_channel(self, channel_id: int, reason: str = "") -> bytes:
        """Close one of our channels. What the server had sent for it before it knew is dropped without an event."""
        self._open_channel(channel_id)
        frame = encode_frame(mining.CloseChannel(channel_id, reason.encode("ascii", "replace")))
        self._channels.remove(channel_id)
        return frame

    def _open(self, request_id: int, message: Message, opening: Opening) -> bytes:
        self._state = advance(CLIENT, self._state, ClientStep.USE)
        frame = encode_frame(message)
        self._channels.ask(request_id, opening)
        return frame

    def _open_channel(self, channel_id: int) -> ClientChannel:
        self._state = advance(CLIENT, self._state, ClientStep.USE)
        return self._channels.open(channel_id)

    def _request_id(self) -> int:
        request_id = self._next_request
        self._next_request = (request_id + 1) & 0xFFFF_FFFF
        return request_id

    # ---- in

    def receive(self, frame: Frame) -> list[ClientEvent]:
        """What one frame means. Raises RemoteProtocolError when the server sends what no server may: close, and count it."""
        if self._state is ClientState.BROKEN:
            return []
        try:
            message = decode_payload(frame.extension_type, frame.message_type, frame.payload)
            return self._dispatch(message)
        except RemoteProtocolError:
            self._state = ClientState.BROKEN
            raise

    def _dispatch(self, message: Message | Unknown) -> list[ClientEvent]:
        if isinstance(message, Unknown):
            return [events.Ignored(name_of(message.extension_type, message.message_type))]
        name = type(message).__name__
        if self._state in (ClientState.NEW, ClientState.SETTING_UP) and type(message) not in _ANSWERS_TO_SETUP:
            raise RemoteProtocolError(f"{name} before the connection was set up")
        handle = _HANDLERS.get(type(message))
        return [events.Ignored(name)] if handle is None else handle(self, message)

    def _on_setup_success(self, message: common.SetupConnectionSuccess) -> list[ClientEvent]:
        self._answered_in(ClientState.SETTING_UP, message)
        if message.used_version != VERSION:
            raise RemoteProtocolError(f"SetupConnection.Success: version {message.used_version} was not offered")
        self._state = advance(CLIENT, self._state, ClientStep.SETUP_ACCEPTED)
        self._is_fixed = bool(message.flags & REQUIRES_FIXED_VERSION)
        return [events.SetUp(self._is_fixed, bool(message.flags & REQUIRES_EXTENDED_CHANNELS))]

    def _on_setup_error(self, message: common.SetupConnectionError) -> list[ClientEvent]:
        self._answered_in(ClientState.SETTING_UP, message)
        self._state = advance(CLIENT, self._state, ClientStep.SETUP_REFUSED)
        return [events.SetupRefused(message.flags, message.error_code)]

    def _on_extensions(self, message: extensions.RequestExtensionsSuccess) -> list[ClientEvent]:
        wanted = self._asked(message.request_id)
        if wanted is None:
            return [events.Refused(None, type(message).__name__, "answers no request that waits")]
        # A server that grants more than was asked for gets no more.
        self.agreed = wanted & frozenset(message.supported_extensions)
        return [events.ExtensionsAgreed(self.agreed)]

    def _on_extensions_error(self, message: extensions.RequestExtensionsError) -> list[ClientEvent]:
        if self._asked(message.request_id) is None:
            return [events.Refused(None, type(message).__name__, "answers no request that waits")]
        return [events.ExtensionsRefused(message.unsupported_extensions, message.required_extensions)]

    def _asked(self, request_id: int) -> frozenset[int] | None:
        if self._state is not ClientState.NEGOTIATING or self._requested is None or self._requested[0] != request_id:
            return None
        self._state = advance(CLIENT, self._state, ClientStep.EXTENSIONS_ANSWERED)
        wanted, self._requested = self._requested[1], None
        return wanted

    def _on_opened(
        self, message: mining.OpenExtendedMiningChannelSuccess | mining.OpenStandardMiningChannelSuccess
    ) -> list[ClientEvent]:
        channel = self._channels.add(message)
        if channel is None:
            return [events.Refused(None, type(message).__name__, "answers no request that waits")]
        return [
            events.ChannelOpened(
                message.request_id,
                channel.channel_id,
                channel.is_extended,
                channel.target,
                channel.prefix,
                channel.extranonce_size,
                channel.group_id,
            )
        ]

    def _on_open_error(self, message: mining.OpenMiningChannelError) -> list[ClientEvent]:
        if not self._channels.refuse(message.request_id):
            return [events.Refused(None, type(message).__name__, "answers no request that waits")]
        return [events.ChannelRefused(message.request_id, message.error_code)]

    def _on_job(self, message: mining.NewMiningJob | mining.NewExtendedMiningJob) -> list[ClientEvent]:
        def take(channel: ClientChannel) -> ClientEvent | None:
            return channel.on_job(message, is_version_rolling_allowed=not self._is_fixed)

        return self._each(message, message.channel_id, take)

    def _on_tip(self, message: mining.SetNewPrevHash) -> list[ClientEvent]:
        return self._each(message, message.channel_id, lambda channel: channel.on_tip(message))

    def _on_target(self, message: mining.SetTarget) -> list[ClientEvent]:
        return self._each(message, message.channel_id, lambda channel: channel.on_target(message))

    def _on_prefix(self, message: mining.SetExtranoncePrefix) -> list[ClientEvent]:
        if message.channel_id not in self._channels.by_id and self._channels.members(message.channel_id):
            return [events.Refused(None, type(message).__name__, "is sent to a group, whose members cannot share a prefix")]
        return self._each(message, message.channel_id, lambda channel: channel.on_prefix(message))

    def _on_group(self, message: mining.SetGroupChannel) -> list[ClientEvent]:
        self._channels.regroup(message.channel_ids, message.group_channel_id)
        return []

    def _on_accepted(self, message: mining.SubmitSharesSuccess) -> list[ClientEvent]:
        def take(channel: ClientChannel) -> ClientEvent:
            return events.SharesAccepted(
                channel.channel_id,
                message.last_sequence_number,
                message.new_submits_accepted_count,
                message.new_shares_sum,
            )

        return self._each(message, message.channel_id, take)

    def _on_share_error(self, message: mining.SubmitSharesError) -> list[ClientEvent]:
        def take(channel: ClientChannel) -> ClientEvent:
            return events.ShareRefused(channel.channel_id, message.sequence_number, message.error_code)

        return self._each(message, message.channel_id, take)

    def _on_update_error(self, message: mining.UpdateChannelError) -> list[ClientEvent]:
        return self._each(message, message.channel_id, lambda channel: events.UpdateRefused(channel.channel_id, message.error_code))

    def _on_close(self, message: mining.CloseChannel) -> list[ClientEvent]:
        def take(channel: ClientChannel) -> ClientEvent:
            self._channels.remove(channel.channel_id)
            return events.ChannelClosed(channel.channel_id, message.reason_code)

        return self._each(message, message.channel_id, take)

    def _on_reconnect(self, message: common.Reconnect) -> list[ClientEvent]:
        try:
            host = message.new_host.decode("ascii")
        except UnicodeDecodeError:
            return [events.Refused(None, "Reconnect", "the host is no ASCII")]
        return [events.ReconnectAsked(host or None, message.new_port or None)]

    def _each(self, message: Message, channel_id: int, take: Callable[[ClientChannel], ClientEvent | None]) -> list[ClientEvent]:
        return self._channels.each(type(message).__name__, channel_id, take)

    def _answered_in(self, state: ClientState, message: Message) -> None:
        if self._state is not state:
            raise RemoteProtocolError(f"{type(message).__name__} was not asked for")


def _text(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _rate(hashrate_hps: float) -> float:
    return min(hashrate_hps, MAX_HASH_RATE)


_ANSWERS_TO_SETUP: Final = (common.SetupConnectionSuccess, common.SetupConnectionError)

M = TypeVar("M", bound=Message)


def _handler(
    message_class: type[M], handle: Callable[[ClientConnection, M], list[ClientEvent]]
) -> tuple[type[Message], Callable[[ClientConnection, Message], list[ClientEvent]]]:
    # Handlers are looked up by the exact class of a message, so each only ever sees its own.
    return message_class, cast("Callable[[ClientConnection, Message], list[ClientEvent]]", handle)


_HANDLERS: Final = dict(
    (
        _handler(common.SetupConnectionSuccess, ClientConnection._on_setup_success),
        _handler(common.SetupConnectionError, ClientConnection._on_setup_error),
        _handler(common.Reconnect, ClientConnection._on_reconnect),
        _handler(extensions.RequestExtensionsSuccess, ClientConnection._on_extensions),
        _handler(extensions.RequestExtensionsError, ClientConnection._on_extensions_error),
        _handler(mining.OpenExtendedMiningChannelSuccess, ClientConnection._on_opened),
        _handler(mining.OpenStandardMiningChannelSuccess, ClientConnection._on_opened),
        _handler(mining.OpenMiningChannelError, ClientConnection._on_open_error),
        _handler(mining.NewMiningJob, ClientConnection._on_job),
        _handler(mining.NewExtendedMiningJob, ClientConnection._on_job),
        _handler(mining.SetNewPrevHash, ClientConnection._on_tip),
        _handler(mining.SetTarget, ClientConnection._on_target),
        _handler(mining.SetExtranoncePrefix, ClientConnection._on_prefix),
        _handler(mining.SetGroupChannel, ClientConnection._on_group),
        _handler(mining.SubmitSharesSuccess, ClientConnection._on_accepted),
        _handler(mining.SubmitSharesError, ClientConnection._on_share_error),
        _handler(mining.UpdateChannelError, ClientConnection._on_update_error),
        _handler(mining.CloseChannel, ClientConnection._on_close),
    )
)
