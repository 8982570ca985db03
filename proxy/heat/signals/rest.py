"""Heat demand and meter readings as JSON bodies: decoding, strict types, and times in either notation.

    {"sequence": 41, "power_kw": 1500, "validity_s": 900}
    {"source": "dh", "epoch": 2, "sequence": 7, "issued_at": "2026-01-15T06:59:30Z", "valid_from": "2026-01-15T07:00:00Z",
     "valid_until": "2026-01-15T07:15:00Z", "power_kw": 1500}

Whether a decoded demand may rule is judged by demand.DemandBook, a meter reading by meters.guard: the same for every transport.
Who may send at all is the web server's business.
"""

import datetime
import hashlib
import json
import re
from typing import NoReturn

import msgspec

from proxy.heat.demand import DemandRefused, HeatDemand, MeterReading, MeterRefused

# The longest honest body is some 300 bytes.
MAX_BODY_BYTES = 4_096
# A number of seconds this large is the year 5138: somebody sent milliseconds.
MAX_UNIX_S = 1e11
SOURCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:@-]{0,62}")
SOURCE_REMEDY = "1 to 63 letters, digits and _ . : @ -, the first a letter or digit"
_FIELDS = (
    "known fields: source, epoch, sequence, issued_at, valid_from, valid_until or validity_s, power_kw, supply_c, ramp_kw_per_min; "
    "sequence, power_kw or supply_c, and one of valid_until and validity_s are needed"
)
_METER_FIELDS = "known fields: at_unix_s, heat_w, supply_c, return_c, flow_kg_s, energy_wh; at_unix_s and heat_w are needed"


class _Body(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    sequence: int
    power_kw: float | None = None
    supply_c: float | None = None
    ramp_kw_per_min: float | None = None
    source: str | None = None
    epoch: int = 0
    issued_at: str | float | None = None
    valid_from: str | float | None = None
    valid_until: str | float | None = None
    validity_s: float | None = None


class _Refused(ValueError):
    """Something that JSON allows, in one parser or another, and we do not."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy


_TIMES = 'send RFC 3339 with a zone ("2026-01-15T07:00:00Z") or unix seconds'


def decode_demand(body: bytes, source: str, now_unix_s: float) -> HeatDemand | DemandRefused:
    """Turn a body into a demand, or say what is wrong with it. `source` is who sent it (the key's name) where the body names none.

    Relative and missing times count from `now_unix_s`. Never raises for any bytes.
    """
    problem = problem_of(body)
    if problem is not None:
        return DemandRefused(400, *problem)
    try:
        sent = _BODY.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return DemandRefused(400, f"the body does not fit: {error}", _FIELDS)
    if sent.power_kw is None and sent.supply_c is None:
        return DemandRefused(400, "the body asks for nothing: power_kw and supply_c are both missing", _FIELDS)
    name = source if sent.source is None else sent.source
    if SOURCE.fullmatch(name) is None:
        return DemandRefused(422, "source is not a name", SOURCE_REMEDY)
    try:
        issued = _unix_s("issued_at", sent.issued_at, now_unix_s)
        start = _unix_s("valid_from", sent.valid_from, now_unix_s)
        until = _until(sent, start, now_unix_s)
    except _Refused as error:
        return DemandRefused(422, error.reason, error.remedy)
    return HeatDemand(
        source=name,
        epoch=sent.epoch,
        sequence=sent.sequence,
        issued_unix_s=issued,
        valid_from_unix_s=start,
        valid_until_unix_s=until,
        power_w=None if sent.power_kw is None else sent.power_kw * 1000,
        content=_content(sent),
        supply_c=sent.supply_c,
        ramp_w_per_min=None if sent.ramp_kw_per_min is None else sent.ramp_kw_per_min * 1000,
    )


def decode_meter(body: bytes) -> MeterReading | MeterRefused:
    """Turn a body into a meter reading, or say what is wrong with it. Never raises for any bytes."""
    problem = problem_of(body)
    if problem is not None:
        return MeterRefused(400, *problem)
    try:
        return _METER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return MeterRefused(400, f"the body does not fit: {error}", _METER_FIELDS)


_BODY = msgspec.json.Decoder(_Body)
_METER = msgspec.json.Decoder(MeterReading)


def problem_of(body: bytes, most_bytes: int = MAX_BODY_BYTES) -> tuple[str, str] | None:
    """What is wrong with the JSON itself: reason and remedy."""
    if len(body) > most_bytes:
        return f"the body is {len(body)} bytes long", f"at most {most_bytes} bytes"
    try:
        json.loads(body, object_pairs_hook=_once, parse_constant=_no_constant)
    except _Refused as error:
        return error.reason, error.remedy
    except (ValueError, RecursionError):
        return "the body is not JSON", "send one JSON object, UTF-8"
    return None


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        # Parsers differ in which of the two they believe.
        raise _Refused("a field is named twice", "name every field once")
    return found


def _no_constant(name: str) -> NoReturn:
    raise _Refused(f"a number is {name}", "send finite numbers; send nothing when the value is unknown")


def _until(sent: _Body, start: float, now_unix_s: float) -> float:
    if (sent.valid_until is None) == (sent.validity_s is None):
        raise _Refused("a demand must end, once", "give exactly one of valid_until and validity_s")
    if sent.validity_s is not None:
        if sent.validity_s <= 0:
            raise _Refused("the validity window ends before it begins", "send a validity_s above 0")
        return start + sent.validity_s
    return _unix_s("valid_until", sent.valid_until, now_unix_s)


def _unix_s(field: str, value: str | float | None, now_unix_s: float) -> float:
    """A time in either notation; None is now. Raises _Refused."""
    if value is None:
        return now_unix_s
    if isinstance(value, str):
        try:
            moment = msgspec.convert(value, datetime.datetime)
        except msgspec.ValidationError as error:
            raise _Refused(f"{field} is no time", _TIMES) from error
        if moment.tzinfo is None:
            raise _Refused(f"{field} names no time zone", _TIMES)
        return moment.timestamp()
    if not 0 <= value <= MAX_UNIX_S:
        raise _Refused(f"{field} is out of range", "send unix seconds, not milliseconds" if value > MAX_UNIX_S else _TIMES)
    return value


def _content(sent: _Body) -> str:
    """Names what was sent, so that an honest repeat is known although its relative times resolve differently."""
    return hashlib.sha256(msgspec.json.encode(sent)).hexdigest()[:32]
