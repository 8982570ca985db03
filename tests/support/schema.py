"""What a unit may receive from us, written down once and strictly: the plainest firmware must be able to read every line.

`Reader` checks one connection line by line, the order included. It shares no code with the encoder.
"""

import json
import math
import re

# coinbase1 and coinbase2 of a pool are at most 8,000 bytes together; its extranonce1 and our padding are at most 16 each.
MAX_COINBASE_BYTES = 8_000 + 16 + 16
MAX_BRANCHES = 32
# The longest notify: coinbase and branches in hex, and the rest of it.
MAX_LINE_BYTES = 2 * MAX_COINBASE_BYTES + MAX_BRANCHES * 67 + 512

_JOB_ID = re.compile(r"[0-9a-f]{1,8}")
_HEX8 = re.compile(r"[0-9a-f]{8}")
_HASH = re.compile(r"[0-9a-f]{64}")
_HEX = re.compile(r"(?:[0-9a-f]{2})*")
_PLAIN_DECIMAL = re.compile(rb'"params":\[(?:0\.[0-9]*[1-9]|[1-9][0-9]*)\]\}')


class Reader:
    """Everything one unit was sent. `rolls_version`: it negotiated version rolling. least_difficulty: the site's own."""

    def __init__(self, *, rolls_version: bool = False, least_difficulty: float = 2.0**-32) -> None:
        self.methods: list[str] = []
        self.job_ids: list[str] = []
        self.last_job: dict[str, object] = {}
        self.answers: list[dict[str, object]] = []
        self.difficulty: float | None = None
        self._rolls_version = rolls_version
        self._least_difficulty = least_difficulty
        self._is_authorized = False
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Check every whole line of `data`."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._line(line)

    def _line(self, line: bytes) -> None:
        assert len(line) <= MAX_LINE_BYTES, len(line)
        assert line.isascii()
        assert b"\r" not in line
        message = json.loads(line)
        assert isinstance(message, dict)
        if "method" not in message:
            self._answer(message)
            return
        assert list(message) == ["id", "method", "params"]
        assert message["id"] is None
        method, params = message["method"], message["params"]
        check = {
            "mining.notify": self._notify,
            "mining.set_difficulty": self._set_difficulty,
            "mining.set_version_mask": self._set_version_mask,
        }[method]
        # Nothing unasked before the handshake is over.
        assert self._is_authorized, f"{method} before the answer to authorize"
        assert type(params) is list
        check(params)
        if method == "mining.set_difficulty":
            assert _PLAIN_DECIMAL.search(line), line
        if method == "mining.notify":
            self.last_job = message
        self.methods.append(method)

    def _answer(self, message: dict[str, object]) -> None:
        assert list(message) == ["id", "result", "error"], list(message)
        error = message["error"]
        if error is not None:
            assert type(error) is list
            code, text, trace = error
            assert type(code) is int
            assert type(text) is str
            assert trace is None
            assert message["result"] is None or message["result"] is False
        self.answers.append(message)
        self._is_authorized = self._is_authorized or message["result"] is True

    def _notify(self, params: list[object]) -> None:
        job_id, prev_hash, coinbase1, coinbase2, branches, version, nbits, ntime, clean = params
        assert self.difficulty is not None, "a job before its difficulty"
        assert type(job_id) is str
        assert _JOB_ID.fullmatch(job_id), job_id
        assert type(prev_hash) is str
        assert _HASH.fullmatch(prev_hash)
        assert type(coinbase1) is str
        assert type(coinbase2) is str
        assert _HEX.fullmatch(coinbase1)
        assert _HEX.fullmatch(coinbase2)
        assert 2 <= len(coinbase1) + len(coinbase2) <= 2 * MAX_COINBASE_BYTES
        assert coinbase1[8:12] != "0001", "the segwit marker"
        assert type(branches) is list
        assert len(branches) <= MAX_BRANCHES
        assert all(type(branch) is str and _HASH.fullmatch(branch) for branch in branches)
        for word in (version, nbits, ntime):
            assert type(word) is str
            assert _HEX8.fullmatch(word), word
        assert type(clean) is bool
        self._bits(int(str(nbits), 16))
        self.job_ids.append(job_id)

    def _bits(self, nbits: int) -> None:
        """A target above 0 and below 2**256, with no sign."""
        size, mantissa = nbits >> 24, nbits & 0x7FFFFF
        assert not nbits & 0x800000
        target = mantissa << 8 * (size - 3) if size > 3 else mantissa >> 8 * (3 - size)
        assert 0 < target < 1 << 256

    def _set_difficulty(self, params: list[object]) -> None:
        (difficulty,) = params
        assert type(difficulty) in (int, float)
        assert isinstance(difficulty, int | float)
        assert math.isfinite(difficulty)
        assert difficulty >= self._least_difficulty
        assert math.frexp(difficulty)[0] == 0.5, f"{difficulty} is no power of two"
        self.difficulty = difficulty

    def _set_version_mask(self, params: list[object]) -> None:
        assert self._rolls_version, "set_version_mask to a unit that did not negotiate it"
        (mask,) = params
        assert type(mask) is str
        assert _HEX8.fullmatch(mask)
        assert int(mask, 16) & ~0x1FFFE000 == 0
