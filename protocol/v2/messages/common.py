"""Messages of every subprotocol (specification 3.6)."""

from protocol.v2.messages.base import Message


class SetupConnection(Message, frozen=True, gc=False):
    """The first message of a client. protocol, flags: see protocol/v2/constants.py. device_id is empty without telemetry."""

    protocol: int
    min_version: int
    max_version: int
    flags: int
    endpoint_host: bytes
    endpoint_port: int
    vendor: bytes
    hardware_version: bytes
    firmware: bytes
    device_id: bytes


class SetupConnectionSuccess(Message, frozen=True, gc=False):
    """The server takes the connection; its flags have meanings of their own."""

    used_version: int
    flags: int


class SetupConnectionError(Message, frozen=True, gc=False):
    """The server refuses, then closes. flags: all bits it does not support; 0 means another reason."""

    flags: int
    error_code: bytes


class ChannelEndpointChanged(Message, frozen=True, gc=False):
    """Behind a proxy, somebody else is now at the end of this channel: extension state starts anew."""

    channel_id: int


class Reconnect(Message, frozen=True, gc=False):
    """The server asks for a connection to another address of the same authority. Empty host, port 0: as now."""

    new_host: bytes
    new_port: int
