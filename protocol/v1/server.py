"""What we are to a miner: bytes in, events out; answers are bytes to send.

It remembers how far the session is and whether version rolling was granted, nothing else: no users, jobs, shares or
coordinates (those are the caller's). A second subscribe, a second authorize and a submit at any time are events; the caller
decides. It does NOT time anything out.
"""

from typing import Final

import msgspec

from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.mining.share import Verdict
from protocol.states import advance
from protocol.v1.framing import next_json_line
from protocol.v1.lines import LineBuffer
from protocol.v1.messages import VERDICT_ERRORS, ClientEvent, Configure, encode_set_version_mask, error_line, json_text
from protocol.v1.miner_requests import (
    GET_VERSION_ID,
    INFO,
    MINIMUM_DIFFICULTY,
    PING_ID,
    SUBSCRIBE_EXTRANONCE,
    VERSION_ROLLING,
    decode_request,
)
from protocol.v1.state import SERVER, State, Step

# The longest line a miner has reason to send is a submit of under 500 bytes; 16 KiB of JSON cost at most 4 ms to refuse.
LINE_LIMIT: Final = 16384

# Looked up once: in Python 3.11 a member of an Enum costs 0.1 us each time, and a share meets several.
_READY: Final = State.READY
_BROKEN: Final = State.BROKEN


class ServerConnection:
    """One miner's session. After a RemoteProtocolError it is broken: it yields no events and refuses every answer."""

    __slots__ = ("_lines", "_rolling", "_state")

    def __init__(self, line_limit: int = LINE_LIMIT) -> None:
        self._lines = LineBuffer(line_limit)
        self._state = State.NEW
        self._rolling = False

    @property
    def is_subscribed(self) -> bool:
        """Subscribe was answered."""
        return self._state is _READY or self._state is State.SUBSCRIBED

    @property
    def is_authorized(self) -> bool:
        """At least one worker was authorized."""
        return self._state is _READY or self._state is State.AUTHORIZED

    @property
    def may_notify(self) -> bool:
        """Difficulty and jobs may be sent: earlier ones are work that could not be credited, or that firmware trips over."""
        return self._state is _READY

    @property
    def has_version_rolling(self) -> bool:
        """The last configure granted version rolling."""
        return self._rolling

    # ---- in

    def feed(self, data: bytes | bytearray) -> None:
        """Take what was received; then call `next_event` until it gives None. A broken connection drops it."""
        if self._state is not _BROKEN:
            self._lines.feed(data)

    def next_event(self) -> ClientEvent | None:
        """The next event, None when more bytes are needed.

        Raises RemoteProtocolError once for what only a broken (or another protocol's) peer sends: send its `reply`, then close.
        """
        if self._state is _BROKEN:
            return None
        try:
            line = next_json_line(self._lines)
            return None if line is None else decode_request(line)
        except RemoteProtocolError:
            self._state = advance(SERVER, self._state, Step.BREAK)
            self._lines = LineBuffer(0)
            raise

    # ---- out: answers

    def subscribed(self, request_id: bytes, session_id: str, extranonce1: bytes, extranonce2_size: int) -> bytes:
        """Answer subscribe; a repeated one gets the same coordinates. Raises LocalProtocolError when broken."""
        self._state = advance(SERVER, self._state, Step.SUBSCRIBE)
        session = json_text(session_id)
        return b'{"id":%b,"result":[[["mining.set_difficulty",%b],["mining.notify",%b]],"%b",%d],"error":null}\n' % (
            request_id,
            session,
            session,
            extranonce1.hex().encode(),
            extranonce2_size,
        )

    def authorized(self, request_id: bytes, accepted: bool) -> bytes:
        """Answer authorize. A refusal takes nothing from a worker authorized before. Raises LocalProtocolError when broken."""
        self._state = advance(SERVER, self._state, Step.AUTHORIZE if accepted else Step.AUTHORIZE_REFUSED)
        return self.result(request_id, accepted)

    def configured(
        self, request: Configure, version_mask: int | None, minimum_difficulty: bool, subscribe_extranonce: bool
    ) -> bytes:
        """Answer configure: each extension asked for gets an answer, unknown ones and unusable parameters `false`.

        version_mask: what is granted, None or 0 for no rolling; the flags say whether the extension is granted. All three count
        only where the miner asked. Raises LocalProtocolError when broken.
        """
        self._state = advance(SERVER, self._state, Step.CONFIGURE)
        words: dict[str, bool | str] = {}
        if request.version_rolling is not None:
            self._rolling = bool(version_mask)
            words[VERSION_ROLLING] = self._rolling
            if version_mask:
                words["version-rolling.mask"] = f"{version_mask:08x}"
        elif VERSION_ROLLING in request.refused:
            self._rolling = False  # asked again with unusable parameters, and told false: what was granted before is gone
        if request.minimum_difficulty is not None:
            words[MINIMUM_DIFFICULTY] = minimum_difficulty
        if request.subscribe_extranonce:
            words[SUBSCRIBE_EXTRANONCE] = subscribe_extranonce
        if request.info:
            words[INFO] = True
        words.update(dict.fromkeys(request.refused, False))
        return b'{"id":%b,"result":%b,"error":null}\n' % (request.id, msgspec.json.encode(words))

    def accepted(self, request_id: bytes) -> bytes:
        """The share is good (and durable). Raises LocalProtocolError before subscribe and authorize were answered."""
        if self._state is not _READY:
            self._state = advance(SERVER, self._state, Step.SUBMIT)
        return b'{"id":%b,"result":true,"error":null}\n' % request_id

    def rejected(self, request_id: bytes, verdict: Verdict) -> bytes:
        """The share is not, and why. Raises LocalProtocolError for a verdict that is no refusal, and when broken."""
        refusal = _REFUSALS.get(verdict)
        if refusal is None:
            raise LocalProtocolError(f"a share that is {verdict.value} is not rejected")
        self._check_open()
        return refusal % request_id

    def result(self, request_id: bytes, value: bool) -> bytes:
        """Answer any other request with true or false. Raises LocalProtocolError when broken."""
        self._check_open()
        return b'{"id":%b,"result":%b,"error":null}\n' % (request_id, b"true" if value else b"false")

    def pong(self, request_id: bytes) -> bytes:
        """Answer mining.ping. Raises LocalProtocolError when broken."""
        self._check_open()
        return b'{"id":%b,"result":"pong","error":null}\n' % request_id

    def error(self, request_id: bytes, code: int, text: str) -> bytes:
        """Refuse any request. Raises LocalProtocolError when broken."""
        self._check_open()
        return error_line(request_id, code, text)

    # ---- out: what we say unasked (difficulty, jobs and messages are made by the encoders in messages.py)

    def set_version_mask(self, mask: int) -> bytes:
        """Tell a miner that negotiated rolling its new mask.

        Raises LocalProtocolError when rolling was not granted, or before a worker was authorized (S21 firmware drops the
        connection then).
        """
        if not self._rolling:
            raise LocalProtocolError("set version mask is not allowed: version rolling was not negotiated")
        self._state = advance(SERVER, self._state, Step.SET_VERSION_MASK)
        return encode_set_version_mask(mask)

    def ping(self) -> bytes:
        """Ask for a sign of life; comes back as Answer (many firmwares stay silent). Raises LocalProtocolError when broken."""
        self._check_open()
        return b'{"id":%b,"method":"mining.ping","params":[]}\n' % PING_ID

    def get_version(self) -> bytes:
        """Ask for the miner's version; comes back as VersionAnswer. Raises LocalProtocolError when broken."""
        self._check_open()
        return b'{"id":%b,"method":"client.get_version","params":[]}\n' % GET_VERSION_ID

    def _check_open(self) -> None:
        if self._state is _BROKEN:
            raise LocalProtocolError("nothing may be sent: the connection is broken")


# The whole line but the id, made once: this is written for every refused share.
_REFUSALS: Final = {
    verdict: b'{"id":%%b,"result":false,"error":[%d,%b,null]}\n' % (code, json_text(text))
    for verdict, (code, text) in VERDICT_ERRORS.items()
}
