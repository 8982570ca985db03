"""SHA-256 twice, the only hash of mining. Hashes are bytes in internal (little-endian) order; `*_hex` names mean display order."""

import hashlib

# A copied empty hash is about 5 % cheaper than a new one, and this is the innermost call of the product.
_EMPTY_COPY = hashlib.sha256().copy


def sha256d(data: bytes) -> bytes:
    """SHA-256 of the SHA-256 of `data`: 32 bytes, internal order."""
    inner = _EMPTY_COPY()
    inner.update(data)
    outer = _EMPTY_COPY()
    outer.update(inner.digest())
    return outer.digest()


def display_hex(digest: bytes) -> str:
    """The hash as block explorers and nodes print it (bytes reversed)."""
    return digest[::-1].hex()
