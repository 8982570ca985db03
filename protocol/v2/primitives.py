"""What the generated codecs call for values that no struct format describes.

Readers give (value, offset after it) and raise ValueError or struct.error when bytes are missing or wrong; writers raise those,
TypeError or OverflowError for values that the type cannot hold. They do NOT name the message: protocol.v2.codec does.
"""

import struct
from collections.abc import Callable, Sequence
from typing import TypeVar, cast

import msgspec

from protocol.v2.messages.base import Message
from protocol.v2.types import MAX_U24, is_hash_rate, is_printable_ascii

TRUNCATED = "truncated"

_U32 = struct.Struct("<I")
_U24 = struct.Struct("<HB")
_SIZES = {"H": 2, "I": 4}

M = TypeVar("M", bound=Message)


class Codec(msgspec.Struct, frozen=True):
    """The two functions of one message class. decode gives the message and the offset of what follows it."""

    message_class: type[Message]
    encode: Callable[[Message], bytes]
    decode: Callable[[bytes], tuple[Message, int]]


def codec(message_class: type[M], encode: Callable[[M], bytes], decode: Callable[[bytes], tuple[M, int]]) -> Codec:
    """Tie the functions of one class together, checked by their types."""
    # Codecs are looked up by the exact class of a message, so `encode` only ever sees its own.
    return Codec(message_class, cast("Callable[[Message], bytes]", encode), decode)


def check_f32(field: str, value: float) -> float:
    """The value, if it is a hash rate: finite, and neither negative nor -0.0."""
    if not is_hash_rate(value):
        raise ValueError(f"{field}: must be finite and not negative")
    return value


def check_code(field: str, code: bytes) -> bytes:
    """The code, if it is printable ASCII."""
    if not is_printable_ascii(code):
        raise ValueError(f"{field}: must be printable ASCII")
    return code


def read_option(data: bytes, at: int, count: int) -> tuple[int | None, int]:
    """OPTION[U32] after its count."""
    if count == 0:
        return None, at
    if count > 1:
        raise ValueError("an OPTION with more than one element")
    return _U32.unpack_from(data, at)[0], at + 4


def write_option(value: int | None) -> bytes:
    """OPTION[U32] after its count."""
    return b"" if value is None else _U32.pack(value)


def read_ints(data: bytes, at: int, count: int, code: str) -> tuple[tuple[int, ...], int]:
    """`count` ints of struct code `code`."""
    return struct.unpack_from(f"<{count}{code}", data, at), at + count * _SIZES[code]


def write_ints(values: Sequence[int], code: str) -> bytes:
    """The ints, one after the other."""
    return struct.pack(f"<{len(values)}{code}", *values)


def read_hashes(data: bytes, at: int, count: int) -> tuple[tuple[bytes, ...], int]:
    """`count` hashes of 32 bytes."""
    end = at + 32 * count
    if end > len(data):
        raise ValueError(TRUNCATED)
    return tuple([data[i : i + 32] for i in range(at, end, 32)]), end


def write_hashes(field: str, hashes: Sequence[bytes]) -> bytes:
    """The hashes, one after the other."""
    for item in hashes:
        if len(item) != 32:
            raise ValueError(f"{field}: a hash that is not 32 bytes")
    return b"".join(hashes)


def read_blobs(data: bytes, at: int, count: int) -> tuple[tuple[bytes, ...], int]:
    """`count` byte strings, each after a 24-bit length."""
    blobs = []
    for _ in range(count):
        low, high = _U24.unpack_from(data, at)
        start = at + 3
        at = start + (high << 16 | low)
        blobs.append(data[start:at])
    if at > len(data):
        raise ValueError(TRUNCATED)
    return tuple(blobs), at


def write_blobs(field: str, blobs: Sequence[bytes]) -> bytes:
    """The byte strings, each after its 24-bit length."""
    parts = []
    for blob in blobs:
        if len(blob) > MAX_U24:
            raise ValueError(f"{field}: an element of more than {MAX_U24} bytes")
        parts += [len(blob).to_bytes(3, "little"), blob]
    return b"".join(parts)
