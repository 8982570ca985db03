"""TLV fields: what extensions append to messages of others (specification 3.4.3), and the one we use.

We write little-endian, as the reference implementation does; the specification's own example is big-endian, so that form of the
user identity is read too. It does NOT know what was negotiated: TLVs that were not are to be ignored, unread.
"""

import struct
from collections.abc import Iterable

import msgspec

from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.v2.constants import EXTENSION_WORKER_TRACKING

FIELD_USER_IDENTITY = 0x01
MAX_USER_IDENTITY_BYTES = 32

_HEAD = struct.Struct("<HBH")
# The example of extension 0x0002, up to the length's low byte.
_BIG_ENDIAN_USER_IDENTITY = b"\x00\x02\x01\x00"
_MAX_LENGTHS = {(EXTENSION_WORKER_TRACKING, FIELD_USER_IDENTITY): MAX_USER_IDENTITY_BYTES}


class Tlv(msgspec.Struct, frozen=True, gc=False):
    """One field of an extension."""

    extension_type: int
    field_type: int
    value: bytes


def encode_tlvs(tlvs: Iterable[Tlv]) -> bytes:
    """The fields, ordered by extension; those of one extension stay in the order given.

    Raises LocalProtocolError for numbers or values that do not fit, and for a value longer than its extension allows.
    """
    parts = []
    for tlv in sorted(tlvs, key=lambda tlv: tlv.extension_type):
        if len(tlv.value) > _limit(tlv.extension_type, tlv.field_type):
            raise LocalProtocolError(f"TLV {tlv.extension_type:#06x}/{tlv.field_type}: value of {len(tlv.value)} bytes")
        try:
            parts.append(_HEAD.pack(tlv.extension_type, tlv.field_type, len(tlv.value)) + tlv.value)
        except struct.error as error:
            raise LocalProtocolError(f"TLV: {error}") from error
    return b"".join(parts)


def decode_tlvs(rest: bytes) -> tuple[Tlv, ...]:
    """The fields in the bytes after a message (`Message.rest`), in the order found.

    Raises RemoteProtocolError when they are cut short or one is longer than its extension allows: the message is to be refused
    then, which need not be the end of the connection.
    """
    tlvs = []
    at = 0
    while at < len(rest):
        if len(rest) - at < _HEAD.size:
            raise RemoteProtocolError("TLV: truncated")
        extension_type, field_type, length = _HEAD.unpack_from(rest, at)
        if at + _HEAD.size + length > len(rest) and rest.startswith(_BIG_ENDIAN_USER_IDENTITY, at):
            # Read little-endian, the field would need more bytes than there are: no valid message is read otherwise here.
            extension_type, length = EXTENSION_WORKER_TRACKING, length >> 8
        at += _HEAD.size
        if at + length > len(rest):
            raise RemoteProtocolError("TLV: truncated")
        if length > _limit(extension_type, field_type):
            raise RemoteProtocolError(f"TLV {extension_type:#06x}/{field_type}: value of {length} bytes")
        tlvs.append(Tlv(extension_type, field_type, rest[at : at + length]))
        at += length
    return tuple(tlvs)


def user_identity_tlv(name: str) -> Tlv:
    """The name of the worker that found a share, cut to 32 bytes of UTF-8 between characters.

    Surrogates, which have no UTF-8, become question marks.
    """
    value = name.encode("utf-8", "replace")[:MAX_USER_IDENTITY_BYTES]
    return Tlv(EXTENSION_WORKER_TRACKING, FIELD_USER_IDENTITY, value.decode("utf-8", "ignore").encode())


def find_user_identity(tlvs: Iterable[Tlv]) -> bytes | None:
    """The worker's name as it was sent (any bytes, at most 32); the first one counts, None when there is none."""
    for tlv in tlvs:
        if tlv.extension_type == EXTENSION_WORKER_TRACKING and tlv.field_type == FIELD_USER_IDENTITY:
            return tlv.value
    return None


def _limit(extension_type: int, field_type: int) -> int:
    return _MAX_LENGTHS.get((extension_type, field_type), 0xFFFF)
