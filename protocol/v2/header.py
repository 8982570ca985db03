"""The six bytes before every payload: extension type, message type, payload length.

The channel bit is the most significant bit (0x8000) of the little-endian extension type: `00 80` on the wire. It does NOT judge: a
received bit is taken as it is, since peers of different age set it differently, and lengths are limited by whoever reads a stream
(`protocol.v2.codec.max_payload`).
"""

import struct

import msgspec

HEADER_SIZE = 6
CHANNEL_BIT = 0x8000
EXTENSION_MASK = 0x7FFF
MAX_PAYLOAD = 0xFFFFFF

_HEADER = struct.Struct("<HBHB")


class FrameHeader(msgspec.Struct, frozen=True, gc=False):
    """extension_type is as on the wire, channel bit included. length is that of the plaintext payload."""

    extension_type: int
    message_type: int
    length: int

    @property
    def is_channel(self) -> bool:
        """Whether the payload's first four bytes are said to be a channel id."""
        return self.extension_type & CHANNEL_BIT != 0


def pack_header(extension_type: int, message_type: int, length: int) -> bytes:
    """The six bytes. Raises struct.error for values that do not fit (length: 24 bits)."""
    return _HEADER.pack(extension_type, message_type, length & 0xFFFF, length >> 16)


def unpack_header(header: bytes) -> FrameHeader:
    """The header in the first six bytes of `header`. Raises struct.error when there are fewer."""
    extension_type, message_type, low, high = _HEADER.unpack_from(header)
    return FrameHeader(extension_type, message_type, high << 16 | low)
