"""The certificate by which a server proves that its static Noise key is the pool's: SIGNATURE_NOISE_MESSAGE, 74 bytes.

Layout, little-endian: version U16, valid_from U32, not_valid_after U32 (unix seconds), BIP340 signature. Signed are the first ten
bytes and the x of the server's static key, hashed once. It does NOT hold clocks or keys: who calls brings the time, `identity.py`
holds what a server of ours is.
"""

import enum
import hashlib
import struct
from collections.abc import Set as AbstractSet
from typing import Final

import msgspec

from protocol.errors import LocalProtocolError
from protocol.v2 import secp256k1
from protocol.v2.keys import AuthorityKey, Rng

_FIELDS: Final = struct.Struct("<HII")
SIZE: Final = _FIELDS.size + secp256k1.SIGNATURE_SIZE

# The specification knows version 0. One pool was seen signing with 1: allowing that is a choice for each upstream.
DEFAULT_VERSIONS: Final[AbstractSet[int]] = frozenset({0})
# The reference implementation's tolerance, which it took on after real clocks were 6 s off.
LEEWAY_S: Final = 10
# Miners start without a battery-backed clock and some are minutes behind; the past costs us nothing.
BACKDATED_S: Final = 3600
_LATEST_UNIX_S: Final = 0xFFFF_FFFF


class Certificate(msgspec.Struct, frozen=True, gc=False):
    """What the 74 bytes say. Nothing in it is to be believed before `check` found no fault."""

    version: int
    valid_from_unix_s: int
    not_valid_after_unix_s: int
    signature: bytes

    @property
    def life_s(self) -> int:
        """From first to last second; below zero when the two are the wrong way round."""
        return self.not_valid_after_unix_s - self.valid_from_unix_s


class Fault(enum.Enum):
    """Why a certificate proves nothing."""

    VERSION = "version not allowed"
    OTHER_KEY = "signed by another key"
    NOT_YET_VALID = "not yet valid"
    EXPIRED = "expired"


def encode(certificate: Certificate) -> bytes:
    """The 74 bytes."""
    return _signed_fields(certificate) + certificate.signature


def decode(data: bytes) -> Certificate:
    """The certificate in exactly 74 bytes; every such string is one. Raises LocalProtocolError for another size."""
    if len(data) != SIZE:
        raise LocalProtocolError(f"a certificate has {SIZE} bytes, not {len(data)}")
    version, valid_from, not_valid_after = _FIELDS.unpack_from(data)
    return Certificate(version, valid_from, not_valid_after, data[_FIELDS.size :])


def issue(authority: AuthorityKey, static_x: bytes, now_unix_s: float, life_s: int, rng: Rng, version: int = 0) -> Certificate:
    """A certificate for the static key with this x, good from an hour ago until `life_s` from now (at most until 2106).

    Raises LocalProtocolError when that leaves no second of validity.
    """
    valid_from = max(int(now_unix_s) - BACKDATED_S, 0)
    not_valid_after = min(int(now_unix_s) + life_s, _LATEST_UNIX_S)
    if life_s <= 0 or not valid_from < not_valid_after:
        raise LocalProtocolError(f"a certificate from {valid_from} to {not_valid_after} would never be valid")
    unsigned = Certificate(version, valid_from, not_valid_after, b"")
    signature = secp256k1.sign(authority.secret, _digest(unsigned, static_x), rng(32))
    return msgspec.structs.replace(unsigned, signature=signature)


def check(
    certificate: Certificate,
    static_x: bytes,
    authority_x: bytes,
    now_unix_s: float,
    versions: AbstractSet[int] = DEFAULT_VERSIONS,
    leeway_s: float = LEEWAY_S,
) -> Fault | None:
    """None when the authority vouches for the static key now; else the first fault.

    The version comes first because it decides what the rest means, then the signature, because dates that nobody signed tell
    nothing. The window is widened by `leeway_s` on both sides and includes its ends.
    """
    if certificate.version not in versions:
        return Fault.VERSION
    if not secp256k1.verify(authority_x, _digest(certificate, static_x), certificate.signature):
        return Fault.OTHER_KEY
    if now_unix_s < certificate.valid_from_unix_s - leeway_s:
        return Fault.NOT_YET_VALID
    if now_unix_s > certificate.not_valid_after_unix_s + leeway_s:
        return Fault.EXPIRED
    return None


def seconds_to_expiry(certificate: Certificate, now_unix_s: float) -> float:
    """Below zero: expired so long ago. No leeway counts here."""
    return certificate.not_valid_after_unix_s - now_unix_s


def is_renewal_due(certificate: Certificate, now_unix_s: float) -> bool:
    """Less than a third of the life is left, or the clock was put back to before the certificate begins."""
    return seconds_to_expiry(certificate, now_unix_s) * 3 < certificate.life_s or now_unix_s < certificate.valid_from_unix_s


def _signed_fields(certificate: Certificate) -> bytes:
    return _FIELDS.pack(certificate.version, certificate.valid_from_unix_s, certificate.not_valid_after_unix_s)


def _digest(certificate: Certificate, static_x: bytes) -> bytes:
    return hashlib.sha256(_signed_fields(certificate) + static_x).digest()
