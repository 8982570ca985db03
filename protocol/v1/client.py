"""Our role towards a pool (and the simulated miner's towards us): requests are bytes to send, bytes received are events.

It remembers which requests wait for an answer and how far the session is. It does NOT keep jobs, difficulty or coordinates, decide
about reconnects, or time anything out. Everything already buffered is parsed: a job in the same burst as an answer comes next.
"""

import enum
from typing import Final

import msgspec

from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.states import advance
from protocol.v1.fields import FieldError
from protocol.v1.framing import next_json_line
from protocol.v1.lines import LineBuffer
from protocol.v1.messages import (
    Answer,
    Authorized,
    Configured,
    PoolEvent,
    Refused,
    SubmitAnswered,
    SubscribeRefused,
    VersionMaskSet,
    error_line,
    json_text,
    plain_decimal,
)
from protocol.v1.pool_messages import (
    MAX_COINBASE_BYTES,
    PoolLine,
    answered_id,
    decode_asked,
    decode_pool_line,
    is_true,
    read_error,
    read_subscribed,
    read_version_mask,
)
from protocol.v1.state import CLIENT, State, Step

# A notify with the largest coinbase we take and 32 branches is under 20 KiB; get_transactions-sized answers are not asked for.
LINE_LIMIT: Final = 262144
# A pool that never answers must not grow the table for ever; the oldest goes first, its late answer is then Refused.
MAX_WAITING: Final = 16384


class _Asked(enum.Enum):
    CONFIGURE = enum.auto()
    SUBSCRIBE = enum.auto()
    AUTHORIZE = enum.auto()
    SUBMIT = enum.auto()
    OTHER = enum.auto()


class ClientConnection:
    """One session at a pool. After a RemoteProtocolError it is broken: it yields no events and refuses every request."""

    __slots__ = ("_asked_mask", "_lines", "_max_coinbase_bytes", "_next_id", "_state", "_users", "_waiting")

    def __init__(self, line_limit: int = LINE_LIMIT, max_coinbase_bytes: int = MAX_COINBASE_BYTES) -> None:
        self._lines = LineBuffer(line_limit)
        self._max_coinbase_bytes = max_coinbase_bytes
        self._state = State.NEW
        self._next_id = 1
        self._waiting: dict[int, _Asked] = {}
        self._users: dict[int, str] = {}
        self._asked_mask: int | None = None

    @property
    def is_subscribed(self) -> bool:
        """The pool gave usable coordinates."""
        return self._state is State.READY or self._state is State.SUBSCRIBED

    @property
    def is_authorized(self) -> bool:
        """The pool accepted at least one worker."""
        return self._state is State.READY or self._state is State.AUTHORIZED

    @property
    def waiting(self) -> int:
        """Requests without an answer (at most MAX_WAITING)."""
        return len(self._waiting)

    # ---- out: requests. Each raises LocalProtocolError when the connection is broken.

    def configure(self, version_mask: int, min_bit_count: int = 2) -> bytes:
        """Ask for version rolling (BIP 310); answered by Configured."""
        self._asked_mask = version_mask
        request_id = self._ask(_Asked.CONFIGURE)
        return (
            b'{"id":%d,"method":"mining.configure","params":[["version-rolling"],'
            b'{"version-rolling.mask":"%08x","version-rolling.min-bit-count":%d}]}\n'
        ) % (request_id, version_mask, min_bit_count)

    def subscribe(self, user_agent: str, session_id: str | None = None) -> bytes:
        """Ask for coordinates, those of `session_id` again if the pool can; answered by Subscribed or SubscribeRefused."""
        params = json_text(user_agent) if session_id is None else b"%b,%b" % (json_text(user_agent), json_text(session_id))
        return b'{"id":%d,"method":"mining.subscribe","params":[%b]}\n' % (self._ask(_Asked.SUBSCRIBE), params)

    def authorize(self, user: str, password: str) -> bytes:
        """Announce a worker; answered by Authorized."""
        request_id = self._ask(_Asked.AUTHORIZE)
        self._users[request_id] = user
        return b'{"id":%d,"method":"mining.authorize","params":[%b,%b]}\n' % (request_id, json_text(user), json_text(password))

    def extranonce_subscribe(self) -> bytes:
        """Say that we can take set_extranonce; answered by Answer."""
        return b'{"id":%d,"method":"mining.extranonce.subscribe","params":[]}\n' % self._ask(_Asked.OTHER)

    def suggest_difficulty(self, difficulty: float) -> bytes:
        """Wish for a difficulty; most pools answer only by DifficultySet."""
        return b'{"id":%d,"method":"mining.suggest_difficulty","params":[%b]}\n' % (
            self._ask(_Asked.OTHER),
            plain_decimal(difficulty),
        )

    def ping(self) -> bytes:
        """Ask for a sign of life; answered by Answer, by few pools."""
        return b'{"id":%d,"method":"mining.ping","params":[]}\n' % self._ask(_Asked.OTHER)

    def submit(
        self, user: str, job_id: str, extranonce2: bytes, ntime: int, nonce: int, version_bits: int | None
    ) -> tuple[int, bytes]:
        """Send a share: the request id that SubmitAnswered will carry, and the line.

        version_bits: the rolled bits under the granted mask, None when rolling was not granted (then five parameters are sent).
        Raises LocalProtocolError before the pool answered subscribe and authorize.
        """
        if self._state is not State.READY:
            self._state = advance(CLIENT, self._state, Step.SUBMIT)
        request_id = self._ask(_Asked.SUBMIT)
        return request_id, b'{"id":%d,"method":"mining.submit","params":[%b,%b,"%b","%08x","%08x"%b]}\n' % (
            request_id,
            json_text(user),
            json_text(job_id),
            extranonce2.hex().encode(),
            ntime,
            nonce,
            b"" if version_bits is None else b',"%08x"' % version_bits,
        )

    def _ask(self, asked: _Asked) -> int:
        self._check_open()
        if len(self._waiting) >= MAX_WAITING:
            oldest = next(iter(self._waiting))
            del self._waiting[oldest]
            self._users.pop(oldest, None)
        request_id = self._next_id
        self._next_id += 1
        self._waiting[request_id] = asked
        return request_id

    # ---- out: answers to what the pool asks

    def pong(self, request_id: bytes) -> bytes:
        """Answer PingAsked."""
        self._check_open()
        return b'{"id":%b,"result":"pong","error":null}\n' % request_id

    def version(self, request_id: bytes, text: str) -> bytes:
        """Answer VersionAsked."""
        self._check_open()
        return b'{"id":%b,"result":%b,"error":null}\n' % (request_id, json_text(text))

    def unknown(self, request_id: bytes) -> bytes:
        """Answer UnknownAsked."""
        self._check_open()
        return error_line(request_id, -3, "Method not found")

    def _check_open(self) -> None:
        if self._state is State.BROKEN:
            raise LocalProtocolError("nothing may be sent: the connection is broken")

    # ---- in

    def feed(self, data: bytes | bytearray) -> None:
        """Take what was received; then call `next_event` until it gives None. A broken connection drops it."""
        if self._state is not State.BROKEN:
            self._lines.feed(data)

    def next_event(self) -> PoolEvent | None:
        """The next event, None when more bytes are needed.

        Raises RemoteProtocolError once when the pool sends what is no Stratum: close and count it against the pool.
        """
        if self._state is State.BROKEN:
            return None
        try:
            line = next_json_line(self._lines)
            if line is None:
                return None
            message = decode_pool_line(line)
        except RemoteProtocolError as error:
            self._state = advance(CLIENT, self._state, Step.BREAK)
            self._lines = LineBuffer(0)
            raise RemoteProtocolError(error.reason) from None  # a pool is told nothing, it is left
        if isinstance(message, Refused):
            return message
        if message.method is None:
            return self._answer(message)
        event = decode_asked(message.method, message, self._max_coinbase_bytes)
        if isinstance(event, VersionMaskSet):
            if self._asked_mask is None:
                return Refused(message.method, "version rolling was never asked for")
            return VersionMaskSet(event.version_mask & self._asked_mask)
        return event

    def _answer(self, message: PoolLine) -> PoolEvent:
        error = read_error(message)
        request_id = answered_id(message.id)
        asked = None if request_id is None else self._waiting.pop(request_id, None)
        if request_id is None or asked is None:
            return Refused("answer", _why(error) or "answers no request that waits")
        match asked:
            case _Asked.SUBMIT:
                code, reason = error or (None, None)
                return SubmitAnswered(request_id, error is None and is_true(message.result), code, reason)
            case _Asked.SUBSCRIBE:
                return self._subscribe_answered(message.result, error)
            case _Asked.AUTHORIZE:
                accepted = error is None and is_true(message.result)
                self._state = advance(CLIENT, self._state, Step.AUTHORIZE if accepted else Step.AUTHORIZE_REFUSED)
                return Authorized(accepted, _why(error), self._users.pop(request_id))
            case _Asked.CONFIGURE:
                self._state = advance(CLIENT, self._state, Step.CONFIGURE)
                mask = None if error is not None else read_version_mask(message.result)
                return Configured((mask & (self._asked_mask or 0)) or None if mask is not None else None)
            case _Asked.OTHER:
                return Answer(b"%d" % request_id, error is None and bytes(message.result) not in (b"false", b"null"))

    def _subscribe_answered(self, result: msgspec.Raw, error: tuple[int | None, str | None] | None) -> PoolEvent:
        try:
            if error is not None:
                raise FieldError(_why(error) or "refused without a reason")
            event = read_subscribed(result)
        except FieldError as problem:
            self._state = advance(CLIENT, self._state, Step.SUBSCRIBE_REFUSED)
            return SubscribeRefused(str(problem))
        self._state = advance(CLIENT, self._state, Step.SUBSCRIBE)
        return event


def _why(error: tuple[int | None, str | None] | None) -> str | None:
    if error is None:
        return None
    code, text = error
    return text or (None if code is None else f"code {code}")
