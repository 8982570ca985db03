"""Base58Check: how keys are written where people copy them. It does NOT know what the bytes mean."""

from typing import Final

from protocol.bitcoin.hashes import sha256d

_ALPHABET: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_DIGITS: Final = {character: value for value, character in enumerate(_ALPHABET)}
_CHECKSUM_SIZE: Final = 4

# The work grows with the square of the length; the longest text this program has reason to read has 52 characters.
MAX_TEXT: Final = 128


def encode_check(payload: bytes) -> str:
    """`payload` and its checksum as text. Leading zero bytes become leading ones."""
    data = payload + _checksum(payload)
    number = int.from_bytes(data, "big")
    digits = []
    while number:
        number, digit = divmod(number, 58)
        digits.append(_ALPHABET[digit])
    zeros = len(data) - len(data.lstrip(b"\x00"))
    return "1" * zeros + "".join(reversed(digits))


def decode_check(text: str) -> bytes:
    """The payload of `text`, checksum verified and removed.

    Raises ValueError, which never quotes the text (it may be a secret), for a text that is too long, a character outside the
    alphabet, or a wrong checksum.
    """
    if len(text) > MAX_TEXT:
        raise ValueError(f"longer than {MAX_TEXT} characters")
    number = 0
    for place, character in enumerate(text, 1):
        digit = _DIGITS.get(character)
        if digit is None:
            raise ValueError(f"character {place} ({character!r}) is not in the base58 alphabet")
        number = number * 58 + digit
    zeros = len(text) - len(text.lstrip("1"))
    data = bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")
    payload, checksum = data[:-_CHECKSUM_SIZE], data[-_CHECKSUM_SIZE:]
    if checksum != _checksum(payload):  # also when fewer than four bytes are there
        raise ValueError("the checksum does not match: a character is wrong or missing")
    return payload


def _checksum(payload: bytes) -> bytes:
    return sha256d(payload)[:_CHECKSUM_SIZE]
