"""Strict reading of the values inside SV1 messages, shared by both roles.

Each reader gives the canonical value or raises FieldError with a reason fit for the peer. It does NOT know methods or parameters.
"""

import math
from binascii import unhexlify

import msgspec

# Longer ids are nobody's; ids of shares wait in queues, so they must be bounded.
MAX_ID_BYTES = 128
MAX_USER_CHARS = 256
MAX_JOB_ID_CHARS = 64
MAX_EXTRANONCE_BYTES = 32


class FieldError(ValueError):
    """A value is not what its field must be. The text says which field and why, without quoting the value."""


def echo_id(raw: msgspec.Raw) -> bytes | None:
    """The request id as the bytes to echo: a string, a number or null; None when it is an object, an array, a bool or too long.

    Bytes, because 2**53 + 1, 1.0 and "\\u0041" must come back as they were sent.
    """
    data = bytes(raw)
    if len(data) > MAX_ID_BYTES:
        return None
    if data.isdigit() or data[0] in b"-0123456789n":
        return data
    if data[0] != 34:  # not a string either
        return None
    try:
        data.decode()  # the decoder skips an id without looking at its UTF-8, and we are about to send it
    except UnicodeDecodeError:
        return None
    return data


def hex_bytes(text: str, field: str) -> bytes:
    """Pairs of hex digits, any case, nothing else (no 0x, no blanks)."""
    try:
        return unhexlify(text)
    except ValueError:
        raise FieldError(f"{field} must be hex digits in pairs") from None


def hex_u32(text: str, field: str) -> int:
    """Exactly 8 hex digits."""
    if len(text) != 8:
        raise FieldError(f"{field} must be 8 hex digits")
    return int.from_bytes(hex_bytes(text, field), "big")


def hash_bytes(text: str, field: str) -> bytes:
    """Exactly 64 hex digits: 32 bytes in the order written."""
    if len(text) != 64:
        raise FieldError(f"{field} must be 64 hex digits")
    return hex_bytes(text, field)


def mask_u32(value: str | int, field: str) -> int:
    """A version mask: 1 to 8 hex digits, or an int below 2**32 (both are seen)."""
    if isinstance(value, int):
        if not 0 <= value <= 0xFFFFFFFF:
            raise FieldError(f"{field} must be below 2**32")
        return value
    if not 1 <= len(value) <= 8:
        raise FieldError(f"{field} must be 1 to 8 hex digits")
    return int.from_bytes(hex_bytes(value.rjust(8, "0"), field), "big")


def job_id(text: str) -> str:
    """1 to 64 printable ASCII characters."""
    if not 1 <= len(text) <= MAX_JOB_ID_CHARS or not text.isascii() or not text.isprintable():
        raise FieldError(f"job id must be 1 to {MAX_JOB_ID_CHARS} printable characters")
    return text


def worker_name(text: str) -> str:
    """1 to 256 printable characters: what goes to logs and pools must not be able to forge a line."""
    if not 1 <= len(text) <= MAX_USER_CHARS or not text.isprintable():
        raise FieldError(f"user must be 1 to {MAX_USER_CHARS} printable characters")
    return text


def difficulty(value: int | float, field: str = "difficulty") -> float:
    """A finite difficulty above 0."""
    try:
        number = float(value)
    except OverflowError:
        raise FieldError(f"{field} is out of range") from None
    if not math.isfinite(number) or number <= 0:
        raise FieldError(f"{field} must be above 0")
    return number


def printable(text: str, limit: int) -> str:
    """Free text made safe to log and show: control characters become "?", the rest is cut at `limit` characters."""
    text = text[:limit]
    return text if text.isprintable() else "".join(char if char.isprintable() else "?" for char in text)
