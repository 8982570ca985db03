"""Codecs of the common messages, made by protocol/v2/codegen.py from protocol/v2/layouts.py. Not to be edited.

Call them through protocol/v2/codec.py, which knows what their exceptions mean.
"""

from struct import Struct

from protocol.v2.messages.common import (
    ChannelEndpointChanged,
    Reconnect,
    SetupConnection,
    SetupConnectionError,
    SetupConnectionSuccess,
)
from protocol.v2.primitives import TRUNCATED, check_code, codec

_SETUP_CONNECTION_0 = Struct("<B2HIB")
_SETUP_CONNECTION_1 = Struct("<HB")
_SETUP_CONNECTION_2 = Struct("<B")
_SETUP_CONNECTION_3 = Struct("<B")
_SETUP_CONNECTION_4 = Struct("<B")
_SETUP_CONNECTION_SUCCESS_0 = Struct("<HI")
_SETUP_CONNECTION_ERROR_0 = Struct("<IB")
_CHANNEL_ENDPOINT_CHANGED_0 = Struct("<I")
_RECONNECT_0 = Struct("<B")
_RECONNECT_1 = Struct("<H")


def encode_setup_connection(message: SetupConnection) -> bytes:
    """The payload of SetupConnection."""
    return b"".join(
        (
            _SETUP_CONNECTION_0.pack(
                message.protocol, message.min_version, message.max_version, message.flags, len(message.endpoint_host)
            ),
            message.endpoint_host,
            _SETUP_CONNECTION_1.pack(message.endpoint_port, len(message.vendor)),
            message.vendor,
            _SETUP_CONNECTION_2.pack(len(message.hardware_version)),
            message.hardware_version,
            _SETUP_CONNECTION_3.pack(len(message.firmware)),
            message.firmware,
            _SETUP_CONNECTION_4.pack(len(message.device_id)),
            message.device_id,
        )
    )


def decode_setup_connection(data: bytes) -> tuple[SetupConnection, int]:
    """SetupConnection, and the offset of what follows it."""
    protocol, min_version, max_version, flags, n_endpoint_host = _SETUP_CONNECTION_0.unpack_from(data)
    at = 10 + n_endpoint_host
    endpoint_host = data[10:at]
    endpoint_port, n_vendor = _SETUP_CONNECTION_1.unpack_from(data, at)
    start = at + 3
    at = start + n_vendor
    vendor = data[start:at]
    (n_hardware_version,) = _SETUP_CONNECTION_2.unpack_from(data, at)
    start = at + 1
    at = start + n_hardware_version
    hardware_version = data[start:at]
    (n_firmware,) = _SETUP_CONNECTION_3.unpack_from(data, at)
    start = at + 1
    at = start + n_firmware
    firmware = data[start:at]
    (n_device_id,) = _SETUP_CONNECTION_4.unpack_from(data, at)
    start = at + 1
    at = start + n_device_id
    device_id = data[start:at]
    if at > len(data):
        raise ValueError(TRUNCATED)
    return SetupConnection(
        protocol, min_version, max_version, flags, endpoint_host, endpoint_port, vendor, hardware_version, firmware, device_id
    ), at


def encode_setup_connection_success(message: SetupConnectionSuccess) -> bytes:
    """The payload of SetupConnection.Success."""
    return _SETUP_CONNECTION_SUCCESS_0.pack(message.used_version, message.flags)


def decode_setup_connection_success(data: bytes) -> tuple[SetupConnectionSuccess, int]:
    """SetupConnection.Success, and the offset of what follows it."""
    return SetupConnectionSuccess(*_SETUP_CONNECTION_SUCCESS_0.unpack_from(data)), 6


def encode_setup_connection_error(message: SetupConnectionError) -> bytes:
    """The payload of SetupConnection.Error."""
    return _SETUP_CONNECTION_ERROR_0.pack(message.flags, len(message.error_code)) + check_code("error_code", message.error_code)


def decode_setup_connection_error(data: bytes) -> tuple[SetupConnectionError, int]:
    """SetupConnection.Error, and the offset of what follows it."""
    flags, n_error_code = _SETUP_CONNECTION_ERROR_0.unpack_from(data)
    at = 5 + n_error_code
    error_code = data[5:at]
    if at > len(data):
        raise ValueError(TRUNCATED)
    return SetupConnectionError(flags, error_code), at


def encode_channel_endpoint_changed(message: ChannelEndpointChanged) -> bytes:
    """The payload of ChannelEndpointChanged."""
    return _CHANNEL_ENDPOINT_CHANGED_0.pack(message.channel_id)


def decode_channel_endpoint_changed(data: bytes) -> tuple[ChannelEndpointChanged, int]:
    """ChannelEndpointChanged, and the offset of what follows it."""
    return ChannelEndpointChanged(*_CHANNEL_ENDPOINT_CHANGED_0.unpack_from(data)), 4


def encode_reconnect(message: Reconnect) -> bytes:
    """The payload of Reconnect."""
    return b"".join(
        (
            _RECONNECT_0.pack(len(message.new_host)),
            message.new_host,
            _RECONNECT_1.pack(message.new_port),
        )
    )


def decode_reconnect(data: bytes) -> tuple[Reconnect, int]:
    """Reconnect, and the offset of what follows it."""
    (n_new_host,) = _RECONNECT_0.unpack_from(data)
    at = 1 + n_new_host
    new_host = data[1:at]
    (new_port,) = _RECONNECT_1.unpack_from(data, at)
    return Reconnect(new_host, new_port), at + 2


CODECS = (
    codec(SetupConnection, encode_setup_connection, decode_setup_connection),
    codec(SetupConnectionSuccess, encode_setup_connection_success, decode_setup_connection_success),
    codec(SetupConnectionError, encode_setup_connection_error, decode_setup_connection_error),
    codec(ChannelEndpointChanged, encode_channel_endpoint_changed, decode_channel_endpoint_changed),
    codec(Reconnect, encode_reconnect, decode_reconnect),
)
