"""Two ends of a finished Noise handshake, from chosen randomness: every run sees the same bytes."""

import functools
import hashlib
from collections.abc import Callable

import msgspec

from protocol.v2.certificate import BACKDATED_S
from protocol.v2.cipher import Cipher
from protocol.v2.identity import ServerIdentity
from protocol.v2.keys import AuthorityKey, authority_key_from, new_noise_key
from protocol.v2.noise import Initiator, Responder, Session

NOW = 1_800_000_000
LIFE_S = 86_400
EARLIEST = NOW - BACKDATED_S


def counting_rng(seed: str) -> Callable[[int], bytes]:
    """Bytes that look random and are the same for the same seed."""
    calls = 0

    def rng(size: int) -> bytes:
        nonlocal calls
        calls += 1
        return hashlib.shake_128(f"{seed} {calls}".encode()).digest(size)

    return rng


AUTHORITY: AuthorityKey = authority_key_from(hashlib.sha256(b"authority").digest())
OTHER_AUTHORITY: AuthorityKey = authority_key_from(hashlib.sha256(b"another authority").digest())


def identity(now_unix_s: float = NOW) -> ServerIdentity:
    """A server whose certificate is good from an hour before NOW for a day."""
    return ServerIdentity.self_signed(new_noise_key(counting_rng("static")), AUTHORITY, counting_rng("sign"), now_unix_s, LIFE_S)


def session_pair() -> tuple[Session, Session]:
    """(client's, server's) session, counters at the start, always of the same handshake."""
    client, server = _handshake()
    return _fresh(client), _fresh(server)


@functools.cache
def _handshake() -> tuple[Session, Session]:
    server = identity()
    initiator = Initiator(AUTHORITY.public_x, counting_rng("client"))
    answer, server_session = Responder(server.static, server.certificate_wire, counting_rng("server")).receive(
        initiator.first_message()
    )
    return initiator.receive(answer, NOW), server_session


def _fresh(session: Session) -> Session:
    return msgspec.structs.replace(session, sealing=Cipher(session.sealing._key), opening=Cipher(session.opening._key))
