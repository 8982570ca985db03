"""One line from a miner to one event. Pure: no state, no connection.

mining.submit, the hot path, is one typed decode (about a microsecond with all checks). Everything else, and a submit that is not of
the usual form, goes through an envelope and one typed decoder per method. It does NOT judge order, users or shares.
"""

import re
import struct
from binascii import unhexlify
from collections.abc import Callable
from typing import Final, Literal

import msgspec

from protocol.errors import RemoteProtocolError
from protocol.v1 import fields
from protocol.v1.fields import FieldError
from protocol.v1.messages import (
    CODE_OTHER,
    NULL_ID,
    Answer,
    Authorize,
    BadRequest,
    ClientEvent,
    Configure,
    ExtranonceSubscribe,
    GetTransactions,
    Ping,
    Submit,
    Subscribe,
    SuggestDifficulty,
    SuggestTarget,
    UnknownRequest,
    VersionAnswer,
    VersionRollingRequest,
    error_line,
)

# The ids of what we ask miners: small ints, because firmware reads them with atoi. Answers are told apart by them.
PING_ID: Final = b"1"
GET_VERSION_ID: Final = b"2"

# More extensions than this are no negotiation, and each costs a word in the answer.
MAX_EXTENSIONS: Final = 32

VERSION_ROLLING: Final = "version-rolling"
MINIMUM_DIFFICULTY: Final = "minimum-difficulty"
SUBSCRIBE_EXTRANONCE: Final = "subscribe-extranonce"
INFO: Final = "info"


class _SubmitParams(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """Five or six, no more: a seventh means a dialect that we would misread."""

    user: str
    job_id: str
    extranonce2: str
    ntime: str
    nonce: str
    version_bits: str | None = None


class _LooseSubmitParams(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    user: str
    job_id: str
    extranonce2: str
    ntime: str
    nonce: str | int
    version_bits: str | None = None


class _SubmitLine(msgspec.Struct, gc=False):
    method: Literal["mining.submit"]
    params: _SubmitParams
    id: msgspec.Raw = msgspec.Raw(NULL_ID)


class _Envelope(msgspec.Struct, gc=False):
    id: msgspec.Raw = msgspec.Raw(NULL_ID)
    method: str | None = None
    params: msgspec.Raw = msgspec.Raw(b"[]")
    result: msgspec.Raw = msgspec.Raw(b"")  # empty: no such member, which null does not say
    error: msgspec.Raw = msgspec.Raw(b"")


class _IdOnly(msgspec.Struct, gc=False):
    id: msgspec.Raw = msgspec.Raw(NULL_ID)


class _SubscribeParams(msgspec.Struct, array_like=True, gc=False):
    user_agent: str | None = None
    session_id: str | None = None


class _ConfigureParams(msgspec.Struct, array_like=True, gc=False):
    extensions: list[str]
    parameters: dict[str, msgspec.Raw] = {}


class _AuthorizeParams(msgspec.Struct, array_like=True, gc=False):
    user: str
    password: str | None = None


class _NumberParams(msgspec.Struct, array_like=True, gc=False):
    value: int | float


class _TextParams(msgspec.Struct, array_like=True, gc=False):
    value: str


_two_words = struct.Struct(">II").unpack
_three_words = struct.Struct(">III").unpack

_submit_line = msgspec.json.Decoder(_SubmitLine)
_loose_submit = msgspec.json.Decoder(_LooseSubmitParams)
_envelope = msgspec.json.Decoder(_Envelope)
_id_only = msgspec.json.Decoder(_IdOnly)
_subscribe_params = msgspec.json.Decoder(_SubscribeParams)
_configure_params = msgspec.json.Decoder(_ConfigureParams)
_authorize_params = msgspec.json.Decoder(_AuthorizeParams)
_number_params = msgspec.json.Decoder(_NumberParams)
_text_params = msgspec.json.Decoder(_TextParams)
_mask_value = msgspec.json.Decoder(str | int)
_int_value = msgspec.json.Decoder(int)
_number_value = msgspec.json.Decoder(int | float)


def decode_request(line: bytes) -> ClientEvent:
    """The event of one line (without its newline).

    Raises RemoteProtocolError when the line is no JSON object; its `reply` says so with a null id.
    """
    if b'"mining.submit"' in line:
        share = _usual_submit(line)
        if share is not None:
            return share
    return _decode_any(line)


def _usual_submit(line: bytes) -> Submit | None:
    """A submit as nearly all firmware sends it; None for anything else, which `_decode_any` then names.

    The same checks as `_submit`, written out: this runs once a share.
    """
    try:
        request = _submit_line.decode(line)
        request_id = bytes(request.id)
        params = request.params
        user, job_id, extranonce2, ntime, nonce = params.user, params.job_id, params.extranonce2, params.ntime, params.nonce
        bits = params.version_bits
        if (
            not request_id.isdigit()
            or len(request_id) > fields.MAX_ID_BYTES
            or not 0 < len(user) <= fields.MAX_USER_CHARS
            or not user.isprintable()
            or not 0 < len(job_id) <= fields.MAX_JOB_ID_CHARS
            or not job_id.isascii()
            or not job_id.isprintable()
            or len(extranonce2) > 2 * fields.MAX_EXTRANONCE_BYTES
            or len(ntime) != 8
            or len(nonce) != 8
        ):
            return None
        if bits is None:
            ntime_value, nonce_value = _two_words(unhexlify(ntime + nonce))
            return Submit(request_id, user, job_id, unhexlify(extranonce2), ntime_value, nonce_value, None)
        if len(bits) != 8:
            return None
        return Submit(request_id, user, job_id, unhexlify(extranonce2), *_three_words(unhexlify(ntime + nonce + bits)))
    except (ValueError, RecursionError):  # the decoder's errors and those of unhexlify are all ValueErrors
        return None


def _decode_any(line: bytes) -> ClientEvent:
    if line.lstrip()[:1] == b"[":
        raise _broken("batches (JSON arrays) are no part of Stratum V1")
    try:
        envelope = _envelope.decode(line)
    except msgspec.ValidationError as error:
        return _misformed(line, str(error))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _broken(f"not JSON: {error}") from None
    except RecursionError:
        raise _broken("JSON nested too deep") from None
    request_id = fields.echo_id(envelope.id)
    if request_id is None:
        method = fields.printable(envelope.method or "", 64)
        return BadRequest(NULL_ID, method, CODE_OTHER, "id must be a string, a number or null, of at most 128 bytes")
    if envelope.method is None:
        return _answer(request_id, envelope)
    return _request(request_id, envelope.method, envelope.params)


def _misformed(line: bytes, reason: str) -> BadRequest:
    """The method is no string or the whole is no object; what comes after that may not even be JSON."""
    try:
        request_id = fields.echo_id(_id_only.decode(line).id)
    except msgspec.ValidationError:
        raise _broken("a message must be a JSON object") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _broken(f"not JSON: {error}") from None
    return BadRequest(request_id or NULL_ID, "", CODE_OTHER, reason)


def _broken(reason: str) -> RemoteProtocolError:
    return RemoteProtocolError(reason, error_line(NULL_ID, CODE_OTHER, reason))


def _answer(request_id: bytes, envelope: _Envelope) -> ClientEvent:
    result, error = bytes(envelope.result), bytes(envelope.error)
    if not result and not error:
        return BadRequest(request_id, "", CODE_OTHER, "neither a method nor a result")
    accepted = error in (b"", b"null") and result not in (b"", b"false", b"null")
    if request_id == GET_VERSION_ID and result[:1] == b'"':
        try:
            return VersionAnswer(fields.printable(msgspec.json.decode(result, type=str), 128))
        except UnicodeDecodeError:
            return BadRequest(request_id, "", CODE_OTHER, "result is not UTF-8")
    return Answer(request_id, accepted)


def _request(request_id: bytes, method: str, params: msgspec.Raw) -> ClientEvent:
    read = _READERS.get(method)
    if read is None:
        suggested = _SUGGESTED_IN_METHOD.fullmatch(method)
        if suggested is None:
            return UnknownRequest(request_id, fields.printable(method, 64))
        read, params = _suggest_difficulty, msgspec.Raw(b"[%b]" % suggested[1].encode())
    if bytes(params) == b"null":
        params = msgspec.Raw(b"[]")
    try:
        return read(request_id, params)
    except (FieldError, msgspec.ValidationError) as error:
        reason = str(error)
    except (msgspec.DecodeError, UnicodeDecodeError):
        reason = "parameters are not UTF-8 text"  # syntax was checked with the envelope; only text is left to be wrong
    except RecursionError:
        reason = "parameters nested too deep"
    return BadRequest(request_id, fields.printable(method, 64), CODE_OTHER, reason)


# ---- one reader per method


def _submit(request_id: bytes, params: _SubmitParams) -> Submit:
    bits = params.version_bits
    return Submit(
        request_id,
        fields.worker_name(params.user),
        fields.job_id(params.job_id),
        _extranonce2(params.extranonce2),
        fields.hex_u32(params.ntime, "ntime"),
        fields.hex_u32(params.nonce, "nonce"),
        None if bits is None else fields.hex_u32(bits, "version bits"),
    )


def _extranonce2(text: str) -> bytes:
    if len(text) > 2 * fields.MAX_EXTRANONCE_BYTES:
        raise FieldError(f"extranonce2 is longer than {fields.MAX_EXTRANONCE_BYTES} bytes")
    return fields.hex_bytes(text, "extranonce2")


def _any_submit(request_id: bytes, raw: msgspec.Raw) -> Submit:
    params = _loose_submit.decode(raw)
    nonce = params.nonce
    if isinstance(nonce, int):
        if not 0 <= nonce <= 0xFFFFFFFF:
            raise FieldError("nonce must be below 2**32")
        nonce = f"{nonce:08x}"
    usual = _SubmitParams(params.user, params.job_id, params.extranonce2, params.ntime, nonce, params.version_bits)
    return _submit(request_id, usual)


def _subscribe(request_id: bytes, raw: msgspec.Raw) -> Subscribe:
    params = _subscribe_params.decode(raw)
    return Subscribe(request_id, _hint(params.user_agent), _hint(params.session_id))


def _hint(text: str | None) -> str | None:
    return fields.printable(text, 128) if text else None


def _authorize(request_id: bytes, raw: msgspec.Raw) -> Authorize:
    params = _authorize_params.decode(raw)
    return Authorize(request_id, fields.worker_name(params.user), params.password or "")


def _configure(request_id: bytes, raw: msgspec.Raw) -> Configure:
    params = _configure_params.decode(raw)
    if len(params.extensions) > MAX_EXTENSIONS:
        raise FieldError(f"more than {MAX_EXTENSIONS} extensions")
    rolling: VersionRollingRequest | None = None
    minimum: float | None = None
    refused: list[str] = []
    asked = dict.fromkeys(params.extensions)
    for name in asked:
        try:
            if name == VERSION_ROLLING:
                rolling = _version_rolling(params.parameters)
            elif name == MINIMUM_DIFFICULTY:
                minimum = _minimum_difficulty(params.parameters)
            elif name not in (SUBSCRIBE_EXTRANONCE, INFO):
                refused.append(name)
        except (FieldError, msgspec.DecodeError, UnicodeDecodeError):
            refused.append(name)
    return Configure(request_id, rolling, minimum, SUBSCRIBE_EXTRANONCE in asked, INFO in asked, tuple(refused))


def _version_rolling(parameters: dict[str, msgspec.Raw]) -> VersionRollingRequest:
    # BIP 310: a missing mask means all bits; the count is required there but firmware leaves it out.
    mask = _mask_value.decode(parameters.get("version-rolling.mask", b'"ffffffff"'))
    bits = _int_value.decode(parameters.get("version-rolling.min-bit-count", b"0"))
    if not 0 <= bits <= 32:
        raise FieldError("version-rolling.min-bit-count must be 0 to 32")
    return VersionRollingRequest(fields.mask_u32(mask, "version-rolling.mask"), bits)


def _minimum_difficulty(parameters: dict[str, msgspec.Raw]) -> float:
    value = _number_value.decode(parameters.get("minimum-difficulty.value", b"null"))
    return 0.0 if value == 0 else fields.difficulty(value, "minimum-difficulty.value")


def _suggest_difficulty(request_id: bytes, raw: msgspec.Raw) -> SuggestDifficulty:
    return SuggestDifficulty(request_id, fields.difficulty(_number_params.decode(raw).value))


def _suggest_target(request_id: bytes, raw: msgspec.Raw) -> SuggestTarget:
    target = int.from_bytes(fields.hash_bytes(_text_params.decode(raw).value, "target"), "big")
    if target == 0:
        raise FieldError("target must be above 0")
    return SuggestTarget(request_id, target)


# ckpool's form: the number is part of the method's name.
_SUGGESTED_IN_METHOD = re.compile(r"mining\.suggest_difficulty\(([0-9]{1,18}(?:\.[0-9]{1,18})?)\)")

_READERS: dict[str, Callable[[bytes, msgspec.Raw], ClientEvent]] = {
    "mining.submit": _any_submit,
    "mining.subscribe": _subscribe,
    "mining.authorize": _authorize,
    "mining.configure": _configure,
    "mining.extranonce.subscribe": lambda request_id, _: ExtranonceSubscribe(request_id),
    "mining.suggest_difficulty": _suggest_difficulty,
    "mining.suggest_target": _suggest_target,
    "mining.get_transactions": lambda request_id, _: GetTransactions(request_id),
    "mining.ping": lambda request_id, _: Ping(request_id),
}
