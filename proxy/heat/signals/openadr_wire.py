"""Records of OpenADR 3.1 as they stand in its OpenAPI file, as far as a site that makes heat needs them. Pure.

Names are those of the specification; unknown fields are ignored, because a server may be newer. What events mean is openadr_events.
"""

import datetime
import math
import re

import msgspec

# "The beginning of time": in a start it stands for now, or for "right after the interval before".
BEGINNING_S = -math.inf
# The specification writes infinity as P9999Y.
_INFINITE_YEARS = 1_000
_DURATION = re.compile(
    r"P(?=\d|T\d)(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)([DW]))?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?", re.ASCII
)

MAX_DURATION = 64

Value = float | bool | str | dict[str, float]


class Unusable(ValueError):
    """Something a server sent that cannot be followed; the text says why."""


class Wire(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Base: names in camelCase, nothing written that was left out."""


class ValuesMap(Wire, frozen=True):
    """Values of one type."""

    type: str
    values: list[Value]


class IntervalPeriod(Wire, frozen=True):
    """When; see `moment` and `seconds`."""

    start: str | None = None
    duration: str | None = None
    randomize_start: str | None = None


class Interval(Wire, frozen=True):
    """A window of time and what holds in it."""

    id: int
    payloads: list[ValuesMap]
    interval_period: IntervalPeriod | None = None


class PayloadDescriptor(Wire, frozen=True):
    """In which units a type of payload is."""

    payload_type: str
    object_type: str | None = None
    units: str | None = None
    reading_type: str | None = None


class ReportDescriptor(Wire, frozen=True):
    """What the server wants reported."""

    payload_type: str
    units: str | None = None
    reading_type: str | None = None


class Program(Wire, frozen=True):
    """One program the server lets us see."""

    id: str
    program_name: str
    payload_descriptors: list[PayloadDescriptor] | None = None


class Event(Wire, frozen=True):
    """One event of a program."""

    id: str
    program_id: str = msgspec.field(name="programID")
    modification_date_time: str
    event_name: str | None = None
    duration: str | None = None
    priority: int | None = None
    report_descriptors: list[ReportDescriptor] | None = None
    payload_descriptors: list[PayloadDescriptor] | None = None
    interval_period: IntervalPeriod | None = None
    intervals: list[Interval] | None = None


class Ven(Wire, frozen=True):
    """What the server keeps of us."""

    id: str
    ven_name: str


class VenRequest(Wire, frozen=True):
    """How we register. `object_type` tells it from what a server's operator may write."""

    ven_name: str
    object_type: str
    attributes: list[ValuesMap] | None = None


class ReportResource(Wire, frozen=True):
    """Data of one resource."""

    resource_name: str
    intervals: list[Interval]
    interval_period: IntervalPeriod | None = None


class ReportRequest(Wire, frozen=True):
    """A report on an event."""

    event_id: str = msgspec.field(name="eventID")
    client_name: str
    resources: list[ReportResource]
    report_name: str | None = None
    payload_descriptors: list[PayloadDescriptor] | None = None


class ReportFound(Wire, frozen=True):
    """A report that the server has."""

    id: str
    client_name: str
    report_name: str | None = None
    resources: list[ReportResource] = []


class Created(Wire, frozen=True):
    """What an answer to a creation must at least have."""

    id: str


class AuthServer(msgspec.Struct, frozen=True):
    """Where tokens are given out."""

    token_url: str = msgspec.field(name="tokenURL")


class Token(msgspec.Struct, frozen=True):
    """A bearer token; snake case, as RFC 6749 has it."""

    access_token: str
    token_type: str
    expires_in: float | None = None


class Problem(msgspec.Struct, frozen=True):
    """How a server explains a refusal: RFC 7807, or RFC 6749 for tokens."""

    title: str | None = None
    detail: str | None = None
    error: str | None = None
    error_description: str | None = None


def seconds(text: str) -> float:
    """An ISO 8601 duration in seconds, P9999Y as infinity. Raises Unusable; months and years have no length of their own."""
    match = _DURATION.fullmatch(text) if len(text) <= MAX_DURATION else None
    if match is None:
        raise Unusable(f'"{text[:40]}" is no duration, such as PT15M')
    years, months, days, unit, hours, minutes, rest = match.groups()
    if years and int(years) >= _INFINITE_YEARS:
        return math.inf
    # Servers that keep a duration in parts write every part: P0Y0M0DT0H15M0S.
    if int(years or 0) or int(months or 0):
        raise Unusable(f"{text[:40]} counts years or months, which are not equally long; send days, hours, minutes or P9999Y")
    whole_days = int(days or 0) * (7 if unit == "W" else 1)
    return whole_days * 86_400.0 + int(hours or 0) * 3_600.0 + int(minutes or 0) * 60.0 + float(rest or 0)


def moment(text: str) -> float:
    """An RFC 3339 time in unix seconds, or BEGINNING_S. Raises Unusable."""
    if text.startswith("0001-01-01"):
        return BEGINNING_S
    try:
        found = msgspec.convert(text, datetime.datetime)
    except msgspec.ValidationError as error:
        raise Unusable(f'"{text[:40]}" is no time, such as 2026-01-15T07:00:00Z') from error
    if found.tzinfo is None:
        raise Unusable(f"{text[:40]} names no time zone, such as Z")
    return found.timestamp()


def time_text(unix_s: float) -> str:
    """Unix seconds as RFC 3339 in UTC."""
    return datetime.datetime.fromtimestamp(unix_s, datetime.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def duration_text(length_s: float) -> str:
    """Seconds as an ISO 8601 duration."""
    return "P9999Y" if math.isinf(length_s) else f"PT{round(length_s)}S"
