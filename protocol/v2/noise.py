"""The handshake Noise_NX_Secp256k1+EllSwift_ChaChaPoly_SHA256, both roles: two messages in, a session with two ciphers out.

The server proves by a certificate that its static key is the pool's; the client stays anonymous. It does NOT buffer a stream (the
caller hands over exactly one message), frame anything (transport.py), or time anything out. Randomness and time are arguments.
A handshake object serves one connection and is to be dropped when it has given its session or raised RemoteProtocolError.
"""

import enum
import hashlib
import hmac
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from typing import Final

import msgspec

from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.v2 import certificate, secp256k1
from protocol.v2.certificate import Certificate, Fault
from protocol.v2.cipher import MAC_SIZE, Cipher
from protocol.v2.greeting import other_protocol
from protocol.v2.keys import NoiseKey, Rng, abbreviate_authority_key, new_noise_key
from protocol.v2.secp256k1 import ELLSWIFT_SIZE, Party

PROTOCOL_NAME: Final = b"Noise_NX_Secp256k1+EllSwift_ChaChaPoly_SHA256"

_STATIC_END: Final = 2 * ELLSWIFT_SIZE + MAC_SIZE
FIRST_MESSAGE_SIZE: Final = ELLSWIFT_SIZE
# The specification's prose says 170, which is from before ElligatorSwift; this is the sum of its parts.
SECOND_MESSAGE_SIZE: Final = _STATIC_END + certificate.SIZE + MAC_SIZE

_INITIAL_CHAINING_KEY: Final = hashlib.sha256(PROTOCOL_NAME).digest()
_INITIAL_HASH: Final = hashlib.sha256(_INITIAL_CHAINING_KEY).digest()


class HandshakeState(enum.Enum):
    """Where a handshake is, in either role."""

    NEW = "new"
    AWAITING_SECOND = "awaiting the second message"  # initiator only
    COMPLETE = "complete"
    BROKEN = "broken"


class HandshakeStep(enum.Enum):
    """What moves it."""

    SEND_FIRST = "send the first message"
    RECEIVE_FIRST = "receive the first message"
    RECEIVE_SECOND = "receive the second message"
    BREAK = "break"


Table = Mapping[HandshakeState, Mapping[HandshakeStep, HandshakeState]]

INITIATOR: Table = {
    HandshakeState.NEW: {HandshakeStep.SEND_FIRST: HandshakeState.AWAITING_SECOND},
    HandshakeState.AWAITING_SECOND: {
        HandshakeStep.RECEIVE_SECOND: HandshakeState.COMPLETE,
        HandshakeStep.BREAK: HandshakeState.BROKEN,
    },
    HandshakeState.COMPLETE: {},
    HandshakeState.BROKEN: {},
}

RESPONDER: Table = {
    HandshakeState.NEW: {
        HandshakeStep.RECEIVE_FIRST: HandshakeState.COMPLETE,
        HandshakeStep.BREAK: HandshakeState.BROKEN,
    },
    HandshakeState.AWAITING_SECOND: {},
    HandshakeState.COMPLETE: {},
    HandshakeState.BROKEN: {},
}


class Session(msgspec.Struct, frozen=True, gc=False):
    """What a handshake leaves. The ciphers count their own nonces: whoever shares a session shares the counters too.

    server_x and certificate are None in the server role; is_authenticated says that an authority key vouched for the server.
    """

    sealing: Cipher
    opening: Cipher
    handshake_hash: bytes
    server_x: bytes | None = None
    certificate: Certificate | None = None
    is_authenticated: bool = False


class Initiator:
    """The client role: towards pools, and of a simulated miner."""

    __slots__ = ("_authority_x", "_ephemeral", "_leeway_s", "_rng", "_state", "_symmetric", "_versions")

    def __init__(
        self,
        authority_x: bytes | None,
        rng: Rng,
        *,
        certificate_versions: AbstractSet[int] = certificate.DEFAULT_VERSIONS,
        leeway_s: float = certificate.LEEWAY_S,
        allow_unauthenticated: bool = False,
    ) -> None:
        """authority_x: the x-only key that must have signed the server's certificate.

        Without it anybody could be the server: raises LocalProtocolError then, unless `allow_unauthenticated`. A key that is
        given is always checked.
        """
        if authority_x is None and not allow_unauthenticated:
            raise LocalProtocolError("no authority key, and a server without one was not allowed")
        self._authority_x = authority_x
        self._rng = rng
        self._versions = certificate_versions
        self._leeway_s = leeway_s
        self._state = HandshakeState.NEW
        self._symmetric = _Symmetric()
        self._ephemeral: NoiseKey | None = None

    @property
    def state(self) -> HandshakeState:
        """Where the handshake is."""
        return self._state

    def first_message(self) -> bytes:
        """The 64 bytes to send. Raises LocalProtocolError when asked twice."""
        after = _advance(INITIATOR, self._state, HandshakeStep.SEND_FIRST)
        self._ephemeral = new_noise_key(self._rng)
        self._symmetric.mix_first_message(self._ephemeral.ellswift)
        self._state = after
        return self._ephemeral.ellswift

    def receive(self, message: bytes, now_unix_s: float) -> Session:
        """The session, once the server's answer (exactly SECOND_MESSAGE_SIZE bytes) is proven.

        Raises RemoteProtocolError with the precise reason when it is not; the handshake is broken then. Raises
        LocalProtocolError, and changes nothing, for another size or out of turn.
        """
        after = _advance(INITIATOR, self._state, HandshakeStep.RECEIVE_SECOND)
        _check_size(message, SECOND_MESSAGE_SIZE)
        try:
            session = self._open(message, now_unix_s)
        except RemoteProtocolError:
            self._state = _advance(INITIATOR, self._state, HandshakeStep.BREAK)
            raise
        self._state = after
        return session

    def _open(self, message: bytes, now_unix_s: float) -> Session:
        symmetric = self._symmetric
        ephemeral = self._ephemeral
        assert ephemeral is not None, "made by first_message, without which no answer is taken"
        remote_ephemeral = message[:ELLSWIFT_SIZE]
        symmetric.mix_hash(remote_ephemeral)
        symmetric.mix_key(_shared(ephemeral.ellswift, remote_ephemeral, ephemeral.secret, Party.INITIATOR))
        try:
            remote_static = symmetric.open(message[ELLSWIFT_SIZE:_STATIC_END])
            symmetric.mix_key(_shared(ephemeral.ellswift, remote_static, ephemeral.secret, Party.INITIATOR))
            signed = certificate.decode(symmetric.open(message[_STATIC_END:]))
        except RemoteProtocolError:
            raise RemoteProtocolError(_not_noise(message, "answer")) from None
        server_x = secp256k1.decode_ellswift(remote_static)
        if self._authority_x is not None:
            fault = certificate.check(signed, server_x, self._authority_x, now_unix_s, self._versions, self._leeway_s)
            if fault is not None:
                raise RemoteProtocolError(_explain(fault, signed, self._authority_x, now_unix_s, self._versions))
        to_responder, to_initiator = symmetric.split()
        return Session(
            to_responder, to_initiator, symmetric.handshake_hash, server_x, signed, is_authenticated=self._authority_x is not None
        )


class Responder:
    """The server role: towards miners. Until the first message came it costs nothing but itself."""

    __slots__ = ("_certificate", "_rng", "_state", "_static")

    def __init__(self, static: NoiseKey, certificate_wire: Callable[[], bytes], rng: Rng) -> None:
        """certificate_wire: asked at the handshake for the 74 bytes in force, so that rotation needs no restart."""
        self._static = static
        self._certificate = certificate_wire
        self._rng = rng
        self._state = HandshakeState.NEW

    @property
    def state(self) -> HandshakeState:
        """Where the handshake is."""
        return self._state

    def receive(self, message: bytes) -> tuple[bytes, Session]:
        """The 234 bytes to answer, and the session, for the client's first message (exactly FIRST_MESSAGE_SIZE bytes).

        Any 64 bytes are a valid message but those that begin like another protocol: RemoteProtocolError, broken. Raises
        LocalProtocolError, and changes nothing, for another size, out of turn, or when the certificate has the wrong size.
        """
        after = _advance(RESPONDER, self._state, HandshakeStep.RECEIVE_FIRST)
        _check_size(message, FIRST_MESSAGE_SIZE)
        if other_protocol(message) is not None:
            self._state = _advance(RESPONDER, self._state, HandshakeStep.BREAK)
            raise RemoteProtocolError(_not_noise(message, "first message"))
        signed = self._certificate()
        _check_size(signed, certificate.SIZE)
        ephemeral = new_noise_key(self._rng)
        symmetric = _Symmetric()
        symmetric.mix_first_message(message)
        symmetric.mix_hash(ephemeral.ellswift)
        symmetric.mix_key(_shared(message, ephemeral.ellswift, ephemeral.secret, Party.RESPONDER))
        static = symmetric.seal(self._static.ellswift)
        symmetric.mix_key(_shared(message, self._static.ellswift, self._static.secret, Party.RESPONDER))
        answer = ephemeral.ellswift + static + symmetric.seal(signed)
        to_responder, to_initiator = symmetric.split()
        self._state = after
        return answer, Session(to_initiator, to_responder, symmetric.handshake_hash)


class _Symmetric:
    """Noise's SymmetricState: the chaining key, the hash of everything said, and the cipher of the moment."""

    __slots__ = ("_chaining_key", "_cipher", "handshake_hash")

    def __init__(self) -> None:
        self._chaining_key = _INITIAL_CHAINING_KEY
        self.handshake_hash = _INITIAL_HASH
        self._cipher = Cipher(bytes(32))  # replaced by the first mix_key, before anything is sealed or opened

    def mix_first_message(self, ellswift: bytes) -> None:
        """The first message carries no payload, but the pattern encrypts one, without a key yet: the hash is mixed with nothing."""
        self.mix_hash(ellswift)
        self.mix_hash(b"")

    def mix_hash(self, data: bytes) -> None:
        self.handshake_hash = hashlib.sha256(self.handshake_hash + data).digest()

    def mix_key(self, material: bytes) -> None:
        self._chaining_key, key = _hkdf2(self._chaining_key, material)
        self._cipher = Cipher(key)

    def seal(self, plain: bytes) -> bytes:
        sealed = self._cipher.seal((plain,), self.handshake_hash)
        self.mix_hash(sealed)
        return sealed

    def open(self, sealed: bytes) -> bytes:
        plain = self._cipher.open(sealed, self.handshake_hash)
        self.mix_hash(sealed)
        return plain

    def split(self) -> tuple[Cipher, Cipher]:
        """The ciphers from initiator to responder, and back."""
        to_responder, to_initiator = _hkdf2(self._chaining_key, b"")
        return Cipher(to_responder), Cipher(to_initiator)


def _hkdf2(chaining_key: bytes, material: bytes) -> tuple[bytes, bytes]:
    extracted = hmac.digest(chaining_key, material, "sha256")
    first = hmac.digest(extracted, b"\x01", "sha256")
    return first, hmac.digest(extracted, first + b"\x02", "sha256")


# The operands stand in order of the roles, not "ours, theirs": both parties hash the same bytes.
_shared: Final = secp256k1.shared_secret


def _advance(table: Table, state: HandshakeState, step: HandshakeStep) -> HandshakeState:
    after = table[state].get(step)
    if after is None:
        raise LocalProtocolError(f"{step.value} is not allowed while the handshake is {state.value}")
    return after


def _check_size(message: bytes, size: int) -> None:
    if len(message) != size:
        raise LocalProtocolError(f"{size} bytes are due, not {len(message)}")


def _not_noise(message: bytes, which: str) -> str:
    found = other_protocol(message)
    if found is not None:
        return f"Noise: the peer speaks {found}"
    return f"Noise: the MAC of the {which} does not match: the peer speaks something else, or somebody changed its bytes"


def _explain(fault: Fault, signed: Certificate, authority_x: bytes, now_unix_s: float, versions: AbstractSet[int]) -> str:
    if fault is Fault.VERSION:
        allowed = ", ".join(str(version) for version in sorted(versions)) or "none"
        return f"certificate: version {signed.version} is not allowed here (allowed: {allowed})"
    if fault is Fault.OTHER_KEY:
        wanted = abbreviate_authority_key(authority_x)
        return f"certificate: not signed by the authority key {wanted}: the configured key is wrong, or this is not the pool"
    if fault is Fault.NOT_YET_VALID:
        begin = signed.valid_from_unix_s
        return f"certificate: not valid for another {begin - now_unix_s:.0f} s, until unix time {begin}: is this clock behind?"
    end = signed.not_valid_after_unix_s
    return f"certificate: expired {now_unix_s - end:.0f} s ago, at unix time {end}: the pool must renew it, or this clock is ahead"
