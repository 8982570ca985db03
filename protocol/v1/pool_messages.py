"""One message of a pool to one event, with everything a pool could get wrong or abuse checked. Pure: no state, no connection.

Sizes are capped, types exact, hex strict: what passes here can be sent on to any miner. A message that fails is a `Refused` event,
the last good value stays. It does NOT judge what needs a clock, a policy or other messages (ntime drift, host allow-list,
extranonce geometry), nor match answers with requests (see client).
"""

import math
from collections.abc import Callable
from typing import Final

import msgspec

from protocol.bitcoin.target import difficulty_from_target, target_from_difficulty, target_from_nbits
from protocol.errors import RemoteProtocolError
from protocol.v1 import fields
from protocol.v1.fields import FieldError
from protocol.v1.messages import (
    NULL_ID,
    DifficultySet,
    ExtranonceSet,
    JobReceived,
    MessageShown,
    PingAsked,
    PoolEvent,
    ReconnectAsked,
    Refused,
    Subscribed,
    UnknownAsked,
    VersionAsked,
    VersionMaskSet,
    swap_words,
)

# Static buffers of S9-class firmware end at 8,192 bytes; 32 branches are a block of 2**32 transactions.
MAX_COINBASE_BYTES: Final = 8000
MAX_MERKLE_BRANCHES: Final = 32
MAX_EXTRANONCE1_BYTES: Final = 16
MAX_EXTRANONCE2_BYTES: Final = 16
# Sequence, output count and lock time: the least that follows the coinbase's script.
_MIN_COINBASE2_BYTES: Final = 9
_MAX_HOST_CHARS: Final = 253  # RFC 1035
_MAX_RECONNECT_WAIT_S: Final = 3600.0
_HOST_CHARS: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[]")


class PoolLine(msgspec.Struct, gc=False):
    """The envelope: a method, or an answer (`reject-reason` is where some pools put the text)."""

    id: msgspec.Raw = msgspec.Raw(NULL_ID)
    method: str | None = None
    params: msgspec.Raw = msgspec.Raw(b"[]")
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: msgspec.Raw = msgspec.Raw(b"null")
    reject_reason: msgspec.Raw = msgspec.field(name="reject-reason", default=msgspec.Raw(b"null"))


class _NotifyParams(msgspec.Struct, array_like=True, gc=False):
    job_id: str
    prev_hash: str
    coinbase1: str
    coinbase2: str
    merkle_path: list[str]
    version: str
    nbits: str
    ntime: str
    clean: bool


class _NumberParams(msgspec.Struct, array_like=True, gc=False):
    value: int | float


class _TextParams(msgspec.Struct, array_like=True, gc=False):
    value: str


class _ExtranonceParams(msgspec.Struct, array_like=True, gc=False):
    extranonce1: str
    extranonce2_size: int


class _SubscribeResult(msgspec.Struct, array_like=True, gc=False):
    subscriptions: msgspec.Raw
    extranonce1: str
    extranonce2_size: int


class _ReconnectParams(msgspec.Struct, array_like=True, gc=False):
    host: str | None = None
    port: int | str | None = None
    wait: int | float | str | None = None


_line = msgspec.json.Decoder(PoolLine)
_notify_params = msgspec.json.Decoder(_NotifyParams)
_number_params = msgspec.json.Decoder(_NumberParams)
_text_params = msgspec.json.Decoder(_TextParams)
_extranonce_params = msgspec.json.Decoder(_ExtranonceParams)
_subscribe_result = msgspec.json.Decoder(_SubscribeResult)
_reconnect_params = msgspec.json.Decoder(_ReconnectParams)
_configure_result = msgspec.json.Decoder(dict[str, msgspec.Raw])


def decode_pool_line(line: bytes) -> PoolLine | Refused:
    """The envelope of one line. Raises RemoteProtocolError when it is no JSON object."""
    try:
        return _line.decode(line)
    except msgspec.ValidationError as error:
        if line.lstrip()[:1] != b"{":
            raise RemoteProtocolError("a message must be a JSON object") from None
        return Refused("", str(error))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RemoteProtocolError(f"not JSON: {error}") from None
    except RecursionError:
        raise RemoteProtocolError("JSON nested too deep") from None


def decode_asked(method: str, line: PoolLine, max_coinbase_bytes: int) -> PoolEvent:
    """The event of a message that has a method."""
    params = line.params
    if bytes(params) == b"null":
        params = msgspec.Raw(b"[]")
    try:
        if method == "mining.notify":
            return _notify(params, max_coinbase_bytes)
        read = _READERS.get(method)
        if read is not None:
            return read(params)
    except (FieldError, msgspec.ValidationError) as error:
        return Refused(method, str(error))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Refused(method, "parameters are not UTF-8 text")
    except RecursionError:
        return Refused(method, "parameters nested too deep")
    request_id = fields.echo_id(line.id) or NULL_ID
    if method == "client.get_version":
        return VersionAsked(request_id)
    if method in ("mining.ping", "client.ping"):
        return PingAsked(request_id)
    return UnknownAsked(request_id, fields.printable(method, 64))


# ---- one reader per method


def _notify(raw: msgspec.Raw, max_coinbase_bytes: int) -> JobReceived:
    params = _notify_params.decode(raw)
    if len(params.coinbase1) + len(params.coinbase2) > 2 * max_coinbase_bytes:
        raise FieldError(f"coinbase is longer than {max_coinbase_bytes} bytes")
    if len(params.merkle_path) > MAX_MERKLE_BRANCHES:
        raise FieldError(f"more than {MAX_MERKLE_BRANCHES} merkle branches")
    coinbase1 = fields.hex_bytes(params.coinbase1, "coinbase1")
    coinbase2 = fields.hex_bytes(params.coinbase2, "coinbase2")
    if not coinbase1 or len(coinbase2) < _MIN_COINBASE2_BYTES:
        raise FieldError("coinbase parts are too short to be a transaction")
    if coinbase1[4:6] == b"\x00\x01":
        # BIP 141: a txid is hashed without marker and witness, so every share of this job would be worthless.
        raise FieldError("coinbase1 carries the segwit marker")
    nbits = fields.hex_u32(params.nbits, "nbits")
    try:
        target_from_nbits(nbits)
    except ValueError as error:
        raise FieldError(str(error)) from None
    return JobReceived(
        fields.job_id(params.job_id),
        swap_words(fields.hash_bytes(params.prev_hash, "prevhash")),
        coinbase1,
        coinbase2,
        tuple(fields.hash_bytes(branch, "merkle branch") for branch in params.merkle_path),
        fields.hex_u32(params.version, "version"),
        nbits,
        fields.hex_u32(params.ntime, "ntime"),
        params.clean,
    )


def _set_difficulty(raw: msgspec.Raw) -> DifficultySet:
    difficulty = fields.difficulty(_number_params.decode(raw).value)
    if target_from_difficulty(difficulty) == 0:
        raise FieldError("difficulty is beyond what any hash can meet")
    return DifficultySet(difficulty)


def _set_target(raw: msgspec.Raw) -> DifficultySet:
    target = int.from_bytes(fields.hash_bytes(_text_params.decode(raw).value, "target"), "big")
    if target == 0:
        raise FieldError("target must be above 0")
    difficulty = difficulty_from_target(target)
    # A float cannot hold every target. Err to the harder side: a share sent to the pool must meet what the pool said.
    while target_from_difficulty(difficulty) > target:
        difficulty = math.nextafter(difficulty, math.inf)
    return DifficultySet(difficulty)


def _coordinates(extranonce1_hex: str, extranonce2_size: int) -> tuple[bytes, int]:
    extranonce1 = fields.hex_bytes(extranonce1_hex, "extranonce1")
    if len(extranonce1) > MAX_EXTRANONCE1_BYTES:
        raise FieldError(f"extranonce1 is longer than {MAX_EXTRANONCE1_BYTES} bytes")
    if not 1 <= extranonce2_size <= MAX_EXTRANONCE2_BYTES:
        raise FieldError(f"extranonce2_size must be 1 to {MAX_EXTRANONCE2_BYTES}")
    return extranonce1, extranonce2_size


def _set_extranonce(raw: msgspec.Raw) -> ExtranonceSet:
    params = _extranonce_params.decode(raw)
    return ExtranonceSet(*_coordinates(params.extranonce1, params.extranonce2_size))


def _set_version_mask(raw: msgspec.Raw) -> VersionMaskSet:
    return VersionMaskSet(fields.mask_u32(_text_params.decode(raw).value, "version mask"))


def _show_message(raw: msgspec.Raw) -> MessageShown:
    return MessageShown(fields.printable(_text_params.decode(raw).value, 512))


def _reconnect(raw: msgspec.Raw) -> ReconnectAsked:
    params = _reconnect_params.decode(raw)
    host = params.host or None
    if host is not None and (len(host) > _MAX_HOST_CHARS or not _HOST_CHARS.issuperset(host)):
        raise FieldError("host is no host name or address")
    port = None if params.port is None or params.port == "" else _whole_number(params.port, "port")
    if port is not None and not 1 <= port <= 65535:
        raise FieldError("port must be 1 to 65535")
    wait_s = _whole_number(params.wait, "wait") if isinstance(params.wait, str) else params.wait or 0
    return ReconnectAsked(host, port, float(min(max(wait_s, 0), _MAX_RECONNECT_WAIT_S)))


def _whole_number(value: int | str, field: str) -> int:
    if isinstance(value, int):
        return value
    if not 1 <= len(value) <= 5 or not value.isascii() or not value.isdigit():
        raise FieldError(f"{field} must be a number")
    return int(value)


_READERS: dict[str, Callable[[msgspec.Raw], PoolEvent]] = {
    "mining.set_difficulty": _set_difficulty,
    "mining.set_target": _set_target,
    "mining.set_extranonce": _set_extranonce,
    "mining.set_version_mask": _set_version_mask,
    "client.show_message": _show_message,
    "client.reconnect": _reconnect,
}


# ---- results


def read_subscribed(result: msgspec.Raw) -> Subscribed:
    """The result of subscribe. Raises FieldError when nobody can mine on it."""
    try:
        given = _subscribe_result.decode(result)
        extranonce1, size = _coordinates(given.extranonce1, given.extranonce2_size)
        return Subscribed(extranonce1, size, _session_id(msgspec.json.decode(given.subscriptions)))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FieldError(f"subscribe was answered with something else: {error}") from None


def _session_id(subscriptions: object) -> str | None:
    """The id of mining.notify in `[["mining.notify", id], ...]` or in the flat form `["mining.notify", id]`."""
    if not isinstance(subscriptions, list):
        return None
    for entry in (subscriptions, *subscriptions):
        if isinstance(entry, list) and len(entry) >= 2 and entry[0] == "mining.notify" and isinstance(entry[1], str):
            return fields.printable(entry[1], 128) or None
    return None


def read_version_mask(result: msgspec.Raw) -> int | None:
    """The mask that configure granted, None when it granted none that can be read."""
    try:
        words = _configure_result.decode(result)
        if bytes(words.get("version-rolling", b"")) != b"true":
            return None
        text = msgspec.json.decode(words.get("version-rolling.mask", b"null"), type=str)
        return fields.mask_u32(text, "version-rolling.mask")
    except (FieldError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def is_true(result: msgspec.Raw) -> bool:
    """Only a literal true: "OK", 1 and {} have all been seen beside an error."""
    return bytes(result) == b"true"


def read_error(line: PoolLine) -> tuple[int | None, str | None] | None:
    """(code, text) of an answer's error in any of the shapes pools use, None when there is none.

    Shapes: [code, text, anything], {"code", "message"}, a text, a number; empty ones are no error. The text is printable and cut.
    """
    for raw in (line.error, line.reject_reason):
        try:
            value: object = msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None, "an error that cannot be read"
        if value:
            return _error_parts(value)
    return None


def _error_parts(value: object) -> tuple[int | None, str | None]:
    code: object = None
    text: object = None
    match value:
        case [str(text)] | str(text):
            pass
        case [code, *rest]:
            text = rest[0] if rest else None
        case {**words}:
            code, text = words.get("code"), words.get("message")
        case _:
            code = value
    number = code if isinstance(code, int) and not isinstance(code, bool) and abs(code) < 1 << 31 else None
    return number, fields.printable(text, 256) if isinstance(text, str) and text else None


def answered_id(raw: msgspec.Raw) -> int | None:
    """Which of our requests is answered: our ids are ints; some pools give them back as strings."""
    data = bytes(raw)
    if data[:1] == b'"':
        data = data[1:-1]
    return int(data) if data.isdigit() and len(data) <= 18 else None
