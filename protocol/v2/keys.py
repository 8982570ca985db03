"""Key pairs of Noise and of the authority that signs certificates, the text form of an authority key, and a pool's address with it.

It does NOT read or write key files, and it does NOT draw randomness by itself. What an operator wrote wrong is a ValueError whose
text says what to correct; no error and no repr shows a secret.
"""

import ipaddress
import re
from collections.abc import Callable
from typing import Final

import msgspec

from protocol.errors import LocalProtocolError
from protocol.v2 import base58, secp256k1

Rng = Callable[[int], bytes]

_RANDOMNESS_SIZE: Final = 32
_AUTHORITY_KEY_VERSION: Final = b"\x01\x00"
_SHOWN_CHARACTERS: Final = 8
# A host name has at most 253 characters, a key 52.
_MAX_URL: Final = 512
_URL: Final = re.compile(r"(?i:stratum2\+tcp)://(?P<host>\[[^\[\]/]*\]|[^:/\[\]]*)(?P<port>:[^/]*)?(?:/(?P<key>.*))?")
_HOST: Final = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_.])?")
_PORT: Final = re.compile(r":([0-9]{1,5})")


class NoiseKey(msgspec.Struct, frozen=True, gc=False):
    """A secret and the ElligatorSwift encoding of its public key.

    The encoding is part of the key: it was chosen at random once, and Noise hashes the encoded bytes themselves.
    """

    secret: bytes
    ellswift: bytes

    @property
    def public_x(self) -> bytes:
        """The x-only public key, which a certificate is about."""
        return secp256k1.decode_ellswift(self.ellswift)

    def __repr__(self) -> str:
        return f"NoiseKey(ellswift={self.ellswift.hex()[:_SHOWN_CHARACTERS]}...)"


class AuthorityKey(msgspec.Struct, frozen=True, gc=False):
    """The secret that signs certificates, and the x-only public key that miners pin."""

    secret: bytes
    public_x: bytes

    def __repr__(self) -> str:
        return f"AuthorityKey({encode_authority_key(self.public_x)})"


class PoolAddress(msgspec.Struct, frozen=True, gc=False):
    """Where a Stratum V2 pool listens, and the authority key it must prove; None when the URL names none."""

    host: str
    port: int
    authority_key: bytes | None


def new_noise_key(rng: Rng) -> NoiseKey:
    """A fresh key. Raises LocalProtocolError when `rng` gives no valid scalar (by chance: once in 2**128)."""
    try:
        return noise_key_from(rng(secp256k1.SECRET_SIZE), rng)
    except ValueError as error:
        raise LocalProtocolError("the random source is broken") from error


def noise_key_from(secret: bytes, rng: Rng) -> NoiseKey:
    """The key of a stored secret, with a new encoding. Raises ValueError when `secret` is not a valid scalar of 32 bytes."""
    return NoiseKey(secret, secp256k1.encode_ellswift(secret, rng(_RANDOMNESS_SIZE)))


def new_authority_key(rng: Rng) -> AuthorityKey:
    """A fresh key. Raises LocalProtocolError when `rng` gives no valid scalar."""
    try:
        return authority_key_from(rng(secp256k1.SECRET_SIZE))
    except ValueError as error:
        raise LocalProtocolError("the random source is broken") from error


def authority_key_from(secret: bytes) -> AuthorityKey:
    """The key of a stored secret. Raises ValueError when `secret` is not a valid scalar of 32 bytes."""
    return AuthorityKey(secret, secp256k1.public_x(secret))


def encode_authority_key(public_x: bytes) -> str:
    """The text form that pools publish and miners are configured with: Base58Check of 01 00 and the x-only key."""
    return base58.encode_check(_AUTHORITY_KEY_VERSION + public_x)


def decode_authority_key(text: str) -> bytes:
    """The x-only key (32 bytes) of its text form; the older form without the two version bytes is read as well.

    Raises ValueError saying what is wrong. The text itself is not quoted: somebody may have pasted a secret.
    """
    try:
        payload = base58.decode_check(text)
    except ValueError as error:
        raise ValueError(f"authority key: {error}") from None
    if len(payload) == secp256k1.X_ONLY_SIZE:
        key = payload
    elif len(payload) != len(_AUTHORITY_KEY_VERSION) + secp256k1.X_ONLY_SIZE:
        raise ValueError(f"authority key: {len(payload)} bytes inside, not 34")
    elif not payload.startswith(_AUTHORITY_KEY_VERSION):
        raise ValueError(f"authority key: key type {payload[:2].hex(' ')}, not 01 00")
    else:
        key = payload[len(_AUTHORITY_KEY_VERSION) :]
    if not secp256k1.is_public_x(key):
        raise ValueError("authority key: no point of secp256k1, so nobody can hold its secret")
    return key


def abbreviate_authority_key(public_x: bytes) -> str:
    """Enough of the text form to recognise a key by, for logs and errors."""
    return encode_authority_key(public_x)[:_SHOWN_CHARACTERS] + "..."


def parse_pool_url(url: str) -> PoolAddress:
    """Host, port and key of `stratum2+tcp://HOST:PORT/KEY`; an IPv6 address stands in brackets, the key may be missing.

    The host comes back in lower case and without brackets. Raises ValueError saying what to correct.
    """
    parts = _URL.fullmatch(url) if len(url) <= _MAX_URL else None
    if parts is None:
        raise ValueError("not of the form stratum2+tcp://HOST:PORT/KEY")
    if not parts["port"]:
        raise ValueError("the port is missing: stratum2+tcp://HOST:PORT/KEY")
    port = _PORT.fullmatch(parts["port"])
    if port is None or not 1 <= int(port[1]) <= 65535:
        raise ValueError(f"port {parts['port'][1:]!r} is not a number from 1 to 65535")
    key = decode_authority_key(parts["key"]) if parts["key"] else None
    return PoolAddress(_host(parts["host"]), int(port[1]), key)


def _host(text: str) -> str:
    if text.startswith("["):
        try:
            return str(ipaddress.IPv6Address(text[1:-1]))
        except ValueError:
            raise ValueError(f"{text} is not an IPv6 address") from None
    if _HOST.fullmatch(text) is None:
        raise ValueError(f"{text!r} is not a host name" if text else "the host is missing: stratum2+tcp://HOST:PORT/KEY")
    return text.lower()
