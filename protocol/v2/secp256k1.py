"""The curve, in the six functions that Noise and certificates need: the one place that knows which library computes them.

Another library goes in here and nowhere else. All randomness is an argument; none of these functions draws any. It does NOT keep
keys (keys.py does) and nothing here wipes a secret from memory, which Python cannot promise.
"""

import enum
from typing import Final

from btclib_secp256k1 import ellswift, ssa, xonly

SECRET_SIZE: Final = 32
ELLSWIFT_SIZE: Final = 64
X_ONLY_SIZE: Final = 32
SIGNATURE_SIZE: Final = 64


class Party(enum.IntEnum):
    """Whose secret enters the shared one. It is the role in the handshake that counts, not who computes."""

    INITIATOR = 0
    RESPONDER = 1


def public_x(secret: bytes) -> bytes:
    """The x-only public key (32 bytes). Raises ValueError when `secret` is not a valid scalar of 32 bytes."""
    return xonly.from_prvkey(secret)[0]


def encode_ellswift(secret: bytes, randomness: bytes) -> bytes:
    """One of the many 64-byte ElligatorSwift encodings of the secret's public key; `randomness` (32 bytes) chooses which.

    Raises ValueError when `secret` is not a valid scalar of 32 bytes.
    """
    return ellswift.create(secret, randomness)


def decode_ellswift(encoding: bytes) -> bytes:
    """The x-only public key that 64 bytes encode. All of them encode one: there is no invalid encoding of the right size."""
    return ellswift.decode(encoding)[1:]


def shared_secret(initiator: bytes, responder: bytes, secret: bytes, party: Party) -> bytes:
    """BIP324's x-only ECDH: 32 bytes, alike for both parties.

    It hashes the 64-byte encodings exactly as they were on the wire, initiator's first, so a key must never be encoded anew.
    """
    return ellswift.xdh(initiator, responder, secret, party.value)


def sign(secret: bytes, message32: bytes, randomness: bytes) -> bytes:
    """BIP340 signature (64 bytes), verified before it is returned. `randomness`: 32 bytes.

    Raises ValueError when `secret` is not a valid scalar of 32 bytes.
    """
    return ssa.sign(message32, secret, randomness)


def is_public_x(x: bytes) -> bool:
    """Whether 32 bytes are the x of a point at all: about half of all values are not."""
    try:
        xonly.from_pubkey(x)
    except ValueError:
        return False
    return True


def verify(key_x: bytes, message32: bytes, signature: bytes) -> bool:
    """Whether the BIP340 signature is good. A key that is not on the curve verifies nothing."""
    try:
        return ssa.verify(message32, key_x, signature)
    except ValueError:
        return False
