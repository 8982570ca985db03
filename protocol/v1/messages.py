"""The words of Stratum V1: one Struct per message, and the lines we send that belong to no request.

Both roles use it: what a miner says to us (`ClientEvent`), what a pool says to us (`PoolEvent`). Hashes are bytes in internal
order, numbers are ints; hex and word-swapping exist only on the wire. It does NOT parse (see miner_requests, pool_messages) and
knows no order of messages (see state).
"""

import math
import struct
from decimal import Decimal

import msgspec

from protocol.errors import LocalProtocolError
from protocol.mining.job import Job
from protocol.mining.share import Verdict

NULL_ID = b"null"

# What slush's pool defined and every firmware knows; -3 is what others use for an unknown method.
CODE_OTHER = 20
CODE_JOB_NOT_FOUND = 21
CODE_DUPLICATE = 22
CODE_LOW_DIFFICULTY = 23
CODE_UNAUTHORIZED = 24
CODE_NOT_SUBSCRIBED = 25

VERDICT_ERRORS: dict[Verdict, tuple[int, str]] = {
    Verdict.STALE: (CODE_JOB_NOT_FOUND, "stale"),
    Verdict.UNKNOWN_JOB: (CODE_JOB_NOT_FOUND, "job-not-found"),
    Verdict.DUPLICATE: (CODE_DUPLICATE, "duplicate-share"),
    Verdict.LOW_DIFFICULTY: (CODE_LOW_DIFFICULTY, "low-difficulty"),
    Verdict.BAD_VERSION: (CODE_LOW_DIFFICULTY, "bad-version"),
    Verdict.BAD_NTIME: (CODE_LOW_DIFFICULTY, "bad-ntime"),
    Verdict.UNAUTHORIZED: (CODE_UNAUTHORIZED, "unauthorized-worker"),
    Verdict.NOT_SUBSCRIBED: (CODE_NOT_SUBSCRIBED, "not-subscribed"),
    Verdict.BAD_EXTRANONCE: (CODE_OTHER, "bad-extranonce-size"),
    Verdict.MALFORMED: (CODE_OTHER, "malformed"),
    Verdict.POOL_GONE: (CODE_OTHER, "pool-gone"),
    Verdict.BUSY: (CODE_OTHER, "busy"),
    Verdict.UNLEDGERED: (CODE_OTHER, "ledger-unavailable"),
}


class Message(msgspec.Struct, frozen=True, gc=False):
    """Base of all: immutable, never part of a cycle."""


# ---- both directions: `id` is the raw JSON of the peer's id, echoed byte for byte; b"null" when it gave none


class Answer(Message, frozen=True, gc=False):
    """An answer to something we asked that carries no more than yes or no (pong, extranonce.subscribe, suggest_difficulty)."""

    id: bytes
    accepted: bool


# ---- a miner says to us


class Subscribe(Message, frozen=True, gc=False):
    """mining.subscribe. `session_id` is a wish to resume; both are printable and at most 128 characters."""

    id: bytes
    user_agent: str | None
    session_id: str | None


class VersionRollingRequest(Message, frozen=True, gc=False):
    """BIP 310 version-rolling. `mask` is what the miner can roll (0 is legal and means nothing)."""

    mask: int
    min_bit_count: int


class Configure(Message, frozen=True, gc=False):
    """mining.configure. `refused` names, in the order asked, unknown extensions and known ones with unusable parameters.

    minimum_difficulty is finite and >= 0 (0 = no wish, BIP 310).
    """

    id: bytes
    version_rolling: VersionRollingRequest | None
    minimum_difficulty: float | None
    subscribe_extranonce: bool
    info: bool
    refused: tuple[str, ...]


class Authorize(Message, frozen=True, gc=False):
    """mining.authorize. `user` is printable, 1..256 characters; a missing password is ""."""

    id: bytes
    user: str
    password: str


class ExtranonceSubscribe(Message, frozen=True, gc=False):
    """mining.extranonce.subscribe: the miner can take set_extranonce."""

    id: bytes


class SuggestDifficulty(Message, frozen=True, gc=False):
    """mining.suggest_difficulty; finite and above 0."""

    id: bytes
    difficulty: float


class SuggestTarget(Message, frozen=True, gc=False):
    """mining.suggest_target; 1 <= target < 2**256."""

    id: bytes
    target: int


class Submit(Message, frozen=True, gc=False):
    """mining.submit. Hex is already canonical bytes and ints, so one share has one form whatever case it came in.

    The length of `extranonce2` (at most 32 bytes) is judged by the share check, not here. version_bits is None when the sixth
    parameter was absent or null.
    """

    id: bytes
    user: str
    job_id: str
    extranonce2: bytes
    ntime: int
    nonce: int
    version_bits: int | None


class GetTransactions(Message, frozen=True, gc=False):
    """mining.get_transactions."""

    id: bytes


class Ping(Message, frozen=True, gc=False):
    """mining.ping from a miner."""

    id: bytes


class VersionAnswer(Message, frozen=True, gc=False):
    """What the miner answered to client.get_version: printable, at most 128 characters."""

    text: str


class UnknownRequest(Message, frozen=True, gc=False):
    """A method we do not know; `method` is printable, at most 64 characters."""

    id: bytes
    method: str


class BadRequest(Message, frozen=True, gc=False):
    """The JSON is fine, its contents are not. The connection lives; the caller answers `error(id, code, reason)`."""

    id: bytes
    method: str
    code: int
    reason: str


ClientEvent = (
    Submit
    | Subscribe
    | Configure
    | Authorize
    | ExtranonceSubscribe
    | SuggestDifficulty
    | SuggestTarget
    | GetTransactions
    | Ping
    | VersionAnswer
    | UnknownRequest
    | BadRequest
    | Answer
)


# ---- a pool says to us


class Configured(Message, frozen=True, gc=False):
    """The pool answered configure. None: it grants no version rolling (or does not know the method)."""

    version_mask: int | None


class Subscribed(Message, frozen=True, gc=False):
    """extranonce1 is 0..16 bytes, extranonce2_size 1..16."""

    extranonce1: bytes
    extranonce2_size: int
    session_id: str | None


class SubscribeRefused(Message, frozen=True, gc=False):
    """The pool refused, or gave coordinates that nobody can mine on."""

    reason: str


class Authorized(Message, frozen=True, gc=False):
    """The answer to authorize of `user`."""

    accepted: bool
    reason: str | None
    user: str


class DifficultySet(Message, frozen=True, gc=False):
    """From the next job on. Finite, above 0, and reachable (its target is at least 1). mining.set_target is told as this too."""

    difficulty: float


class JobReceived(Message, frozen=True, gc=False):
    """mining.notify, fully validated: see pool_messages."""

    job_id: str
    prev_hash: bytes
    coinbase1: bytes
    coinbase2: bytes
    merkle_path: tuple[bytes, ...]
    version: int
    nbits: int
    ntime: int
    clean: bool


class ExtranonceSet(Message, frozen=True, gc=False):
    """mining.set_extranonce: for the next job on; shares of earlier jobs still use the old one."""

    extranonce1: bytes
    extranonce2_size: int


class VersionMaskSet(Message, frozen=True, gc=False):
    """mining.set_version_mask, cut down to what we asked for."""

    version_mask: int


class SubmitAnswered(Message, frozen=True, gc=False):
    """Only `result: true` without an error is accepted. code and reason are None when the pool gave none."""

    request_id: int
    accepted: bool
    code: int | None
    reason: str | None


class ReconnectAsked(Message, frozen=True, gc=False):
    """client.reconnect. None: keep the host (port). It is a wish of the pool: whether the host is allowed is the caller's rule."""

    host: str | None
    port: int | None
    wait_s: float


class MessageShown(Message, frozen=True, gc=False):
    """client.show_message: printable, at most 512 characters."""

    text: str


class VersionAsked(Message, frozen=True, gc=False):
    """client.get_version."""

    id: bytes


class PingAsked(Message, frozen=True, gc=False):
    """mining.ping from a pool."""

    id: bytes


class UnknownAsked(Message, frozen=True, gc=False):
    """A method we do not know."""

    id: bytes
    method: str


class Refused(Message, frozen=True, gc=False):
    """A message of the pool failed validation; the last good value stays. `method` is "answer" for an answer nobody waits for."""

    method: str
    reason: str


PoolEvent = (
    JobReceived
    | SubmitAnswered
    | DifficultySet
    | Configured
    | Subscribed
    | SubscribeRefused
    | Authorized
    | ExtranonceSet
    | VersionMaskSet
    | ReconnectAsked
    | MessageShown
    | VersionAsked
    | PingAsked
    | UnknownAsked
    | Refused
    | Answer
)


# ---- lines that do not depend on a connection's state: the same bytes may go to many


_WORDS_LITTLE = struct.Struct("<8I")
_WORDS_BIG = struct.Struct(">8I")


def swap_words(prev_hash: bytes) -> bytes:
    """The previous hash between internal order and the wire of SV1, where each 4-byte word is reversed. Its own inverse."""
    return _WORDS_BIG.pack(*_WORDS_LITTLE.unpack(prev_hash))


def json_text(text: str) -> bytes:
    """`text` as a JSON string, quotes included."""
    return msgspec.json.encode(text)


def error_line(request_id: bytes, code: int, text: str) -> bytes:
    """An error answer; `request_id` is raw JSON."""
    return b'{"id":%b,"result":null,"error":[%d,%b,null]}\n' % (request_id, code, json_text(text))


def encode_notify(job_id: str, job: Job, clean: bool) -> bytes:
    """The mining.notify line of `job` under our own `job_id` (shared by all connections that get it)."""
    return b'{"id":null,"method":"mining.notify","params":[%b,"%b","%b","%b",[%b],"%08x","%08x","%08x",%b]}\n' % (
        json_text(job_id),
        swap_words(job.prev_hash).hex().encode(),
        job.coinbase_prefix.hex().encode(),
        job.coinbase_suffix.hex().encode(),
        b",".join(b'"%b"' % branch.hex().encode() for branch in job.merkle_path),
        job.version,
        job.nbits,
        job.ntime,
        b"true" if clean else b"false",
    )


def plain_decimal(difficulty: float) -> bytes:
    """A difficulty as firmware can read it: whole numbers as ints, fractions in full, never an exponent.

    Raises LocalProtocolError unless it is finite and above 0.
    """
    if not math.isfinite(difficulty) or difficulty <= 0:
        raise LocalProtocolError(f"difficulty must be finite and above 0, not {difficulty!r}")
    if difficulty == int(difficulty):
        return b"%d" % int(difficulty)
    return format(Decimal(repr(difficulty)), "f").encode()


def encode_set_difficulty(difficulty: float) -> bytes:
    """mining.set_difficulty: from the next job on. Raises LocalProtocolError unless finite and above 0."""
    return b'{"id":null,"method":"mining.set_difficulty","params":[%b]}\n' % plain_decimal(difficulty)


def encode_set_version_mask(mask: int) -> bytes:
    """mining.set_version_mask; only for those who negotiated (`ServerConnection.set_version_mask` minds that)."""
    return b'{"id":null,"method":"mining.set_version_mask","params":["%08x"]}\n' % mask


def encode_set_extranonce(extranonce1: bytes, extranonce2_size: int) -> bytes:
    """mining.set_extranonce; only for those who subscribed to it."""
    return b'{"id":null,"method":"mining.set_extranonce","params":["%b",%d]}\n' % (extranonce1.hex().encode(), extranonce2_size)


def encode_show_message(text: str) -> bytes:
    """client.show_message."""
    return b'{"id":null,"method":"client.show_message","params":[%b]}\n' % json_text(text)


def encode_reconnect(host: str | None, port: int | None, wait_s: float) -> bytes:
    """client.reconnect; host None means "to the same address" and sends empty parameters, as pools do."""
    if host is None or port is None:
        return b'{"id":null,"method":"client.reconnect","params":[]}\n'
    return b'{"id":null,"method":"client.reconnect","params":[%b,%d,%d]}\n' % (json_text(host), port, math.ceil(wait_s))
