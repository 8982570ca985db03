"""ChaCha20-Poly1305 as Noise counts it: one key and one counter for each direction. It knows no frames and no handshake."""

import struct
from collections.abc import Iterable
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from protocol.errors import LocalProtocolError, RemoteProtocolError

MAC_SIZE: Final = 16
# Noise keeps the last value for rekeying; nothing is ever sealed or opened under it.
RESERVED_NONCE: Final = 2**64 - 1

_NONCE: Final = struct.Struct("<4xQ")


class Cipher:
    """Seals, or opens, one direction. The counter is its own: it cannot be set, and no value is used twice.

    Idle it is a key and a number. The library's cipher object weighs 2.5 KB, so it is made when blocks come and let go by
    `rest`; making it costs 0.7 us.
    """

    __slots__ = ("_aead", "_key", "_nonce")

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._nonce = 0
        self._aead: ChaCha20Poly1305 | None = None

    def seal(self, blocks: Iterable[bytes], associated: bytes = b"") -> bytes:
        """The blocks one after the other, each under its own nonce and with its own MAC.

        Raises LocalProtocolError when the nonces are used up: the connection has to be replaced.
        """
        aead = ChaCha20Poly1305(self._key)
        sealed = []
        for block in blocks:
            if self._nonce == RESERVED_NONCE:
                raise LocalProtocolError("no nonce is left for this direction")
            sealed.append(aead.encrypt(_NONCE.pack(self._nonce), block, associated))
            self._nonce += 1
        return b"".join(sealed)

    def open(self, block: bytes, associated: bytes = b"") -> bytes:
        """The plain text of one block.

        Raises RemoteProtocolError when the MAC does not match (the counter stays, the caller must not go on) and when the
        peer has used up its nonces.
        """
        if self._nonce == RESERVED_NONCE:
            raise RemoteProtocolError("the peer has used up its nonces")
        aead = self._aead
        if aead is None:
            aead = self._aead = ChaCha20Poly1305(self._key)
        try:
            plain = aead.decrypt(_NONCE.pack(self._nonce), block, associated)
        except InvalidTag:
            raise RemoteProtocolError(
                "the MAC does not match: the bytes were changed, lost, repeated or put in another order"
            ) from None
        self._nonce += 1
        return plain

    def rest(self) -> None:
        """Let go of what only work needs; called when everything received has been opened."""
        self._aead = None
