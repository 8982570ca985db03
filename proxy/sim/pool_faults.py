"""What a simulated Stratum V1 pool can do wrong, as switches that may be turned while it runs.

Only the description of each fault is here, and the broken lines themselves; `pool` and `pool_session` act on them.
"""

from collections.abc import Callable
from typing import Any, Literal

import orjson

from proxy.sim.pool_core import CoreFaults

# How the answer to a submit reaches the miner.
Answering = Literal["now", "late", "never", "twice", "unknown-id"]
# The forms in which real servers and buggy ones refuse a share.
ErrorShape = Literal["array", "string", "object", "text-third", "bare-false", "null-null", "short-array"]


class Faults(CoreFaults):
    """What a Stratum V1 pool can do wrong besides."""

    refuse_authorize: bool = False
    refuse_subscribe: bool = False
    configure: Literal["answer", "error", "ignore"] = "answer"
    drop_after: Literal["nothing", "connect", "subscribe", "authorize"] = "nothing"
    answering: Answering = "now"
    error_shape: ErrorShape = "array"


def refusal_line(request_id: bytes, code: int, text: str, shape: ErrorShape) -> bytes:
    """A refusal of the request with this raw JSON id, in one of the odd shapes."""
    message = orjson.dumps(text)
    result, error = {
        "array": (b"false", b"[%d,%s,null]" % (code, message)),
        "string": (b"false", message),
        "object": (b"null", b'{"code":%d,"message":%s}' % (code, message)),
        "text-third": (b"null", b'[%d,%s,""]' % (code, message)),
        "bare-false": (b"false", b"null"),
        "null-null": (b"null", b"null"),
        "short-array": (b"false", b"[%d]" % code),
    }[shape]
    return b'{"id":%s,"result":%s,"error":%s}\n' % (request_id, result, error)


def _set(index: int, value: object) -> Callable[[list[Any]], None]:
    def change(params: list[Any]) -> None:
        params[index] = value

    return change


def _drop_last(params: list[Any]) -> None:
    params.pop()


# Each breaks exactly one thing of a good mining.notify. Order of its parameters: job id, previous hash, coinbase 1 and 2, merkle
# path, version, nbits, ntime, clean.
BAD_JOBS: dict[str, Callable[[list[Any]], None]] = {
    "job-id-number": _set(0, 17),
    "job-id-empty": _set(0, ""),
    "job-id-4096": _set(0, "f" * 4096),
    "prev-hash-short": _set(1, "00" * 31),
    "prev-hash-not-hex": _set(1, "zz" * 32),
    "prev-hash-null": _set(1, None),
    "coinbase1-odd": _set(2, "abc"),
    "coinbase1-spaced": _set(2, "01 02"),
    "coinbase1-huge": _set(2, "00" * 40_000),
    "coinbase2-not-hex": _set(3, "0x00"),
    "merkle-not-a-list": _set(4, "00" * 32),
    "merkle-branch-short": _set(4, ["00" * 31]),
    "merkle-too-many": _set(4, ["00" * 32] * 65),
    "version-number": _set(5, 536870912),
    "version-long": _set(5, "0020000000"),
    "nbits-zero": _set(6, "00000000"),
    "nbits-negative": _set(6, "04923456"),
    "nbits-overflow": _set(6, "ff123456"),
    "ntime-not-hex": _set(7, "xyzw1234"),
    "ntime-short": _set(7, "65"),
    "clean-missing": _drop_last,
    "clean-string": _set(8, "yes"),
}


def broken_notify(line: bytes, name: str) -> bytes:
    """A good notify line with the fault `name` of BAD_JOBS (KeyError for another name)."""
    change = BAD_JOBS[name]
    message = orjson.loads(line)
    change(message["params"])
    return orjson.dumps(message) + b"\n"
