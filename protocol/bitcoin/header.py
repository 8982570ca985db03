"""The 80 bytes that are hashed."""

import struct

_HEADER = struct.Struct("<I32s32sIII")
HEADER_SIZE = _HEADER.size


def pack_header(version: int, prev_hash: bytes, merkle_root: bytes, ntime: int, nbits: int, nonce: int) -> bytes:
    """The serialised header. Hashes are 32 bytes in internal order; ints are 0 <= x < 2**32 (else struct.error)."""
    return _HEADER.pack(version, prev_hash, merkle_root, ntime, nbits, nonce)


def unpack_header(header: bytes) -> tuple[int, bytes, bytes, int, int, int]:
    """(version, prev_hash, merkle_root, ntime, nbits, nonce) of 80 bytes."""
    version, prev_hash, merkle_root, ntime, nbits, nonce = _HEADER.unpack(header)
    return version, prev_hash, merkle_root, ntime, nbits, nonce
