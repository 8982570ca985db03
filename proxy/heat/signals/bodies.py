"""JSON bodies of the smaller signals: outdoor temperature, import limit, emergency stop. Pure; demands have their own (rest).

{"outdoor_c": -8.5, "at_unix_s": 1768435200}
{"power_kw": 1200, "valid_until_unix_s": 1768436100}     {"power_kw": null}
{"stop": true}
"""

import json
import math
from typing import NoReturn, TypeVar

import msgspec

MAX_BODY_BYTES = 1_024
# A limit for longer is a configuration (heat.max_power_w), not a signal.
MAX_LIMIT_S = 7 * 86_400.0
MAX_CLOCK_SKEW_S = 60.0
MAX_OUTDOOR_AGE_S = 3_600.0


class Refusal(ValueError):
    """A body that is not taken; the text says why and what to send instead."""


class Outdoor(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """An outdoor temperature and when it was measured (None: just now)."""

    outdoor_c: float
    at_unix_s: float | None = None


class Limit(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """The most the site may draw, electrical, and until when; without a power, this sender's limit is over."""

    power_kw: float | None
    valid_until_unix_s: float | None = None


class Stop(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """Everything asleep, or this sender's stop taken back."""

    stop: bool


Body = TypeVar("Body", Outdoor, Limit, Stop)


def decode(body: bytes, shape: type[Body]) -> Body:
    """The body as a record; nothing but finite numbers, and each field once. Raises Refusal for any other bytes."""
    if len(body) > MAX_BODY_BYTES:
        raise Refusal(f"the body is {len(body):,} bytes long; at most {MAX_BODY_BYTES:,}")
    try:
        json.loads(body, object_pairs_hook=_once, parse_constant=_no_constant)
        return msgspec.json.decode(body, type=shape)
    except Refusal:
        raise
    except msgspec.ValidationError as error:
        known = ", ".join(shape.__struct_fields__)
        raise Refusal(f"the body does not fit: {error}; known fields: {known}") from error
    except (ValueError, RecursionError) as error:
        raise Refusal("the body is not JSON; send one JSON object, UTF-8") from error


def outdoor_at(sent: Outdoor, now_unix_s: float, *, is_stored: bool) -> float:
    """When the temperature was measured. `is_stored`: it waited in a broker, so its age must be in it. Raises Refusal."""
    if sent.at_unix_s is None:
        if is_stored:
            raise Refusal("a retained temperature without at_unix_s has no age; send at_unix_s, or do not retain it")
        return now_unix_s
    age_s = now_unix_s - sent.at_unix_s
    if not -MAX_CLOCK_SKEW_S <= age_s <= MAX_OUTDOOR_AGE_S:
        raise Refusal(f"the temperature is {age_s:,.0f} s old; send unix seconds, and compare both clocks (NTP)")
    return min(sent.at_unix_s, now_unix_s)


def limit_until(sent: Limit, now_unix_s: float) -> float:
    """When the limit ends. Raises Refusal; a limit that is taken back ends now."""
    if sent.power_kw is None:
        return now_unix_s
    if not math.isfinite(sent.power_kw) or sent.power_kw < 0:
        raise Refusal("the limit is negative; send 0 kW or more, or null to end it")
    if sent.valid_until_unix_s is None:
        raise Refusal("a limit must end; send valid_until_unix_s")
    left_s = sent.valid_until_unix_s - now_unix_s
    if not left_s > 0:
        raise Refusal(f"the limit ended {abs(left_s):,.0f} s ago; compare both clocks (NTP)")
    if left_s > MAX_LIMIT_S:
        raise Refusal(f"the limit would hold for {left_s:,.0f} s; at most {MAX_LIMIT_S:,.0f}, in unix seconds; renew it instead")
    return sent.valid_until_unix_s


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Refusal("a field is named twice; name every field once")
    return found


def _no_constant(name: str) -> NoReturn:
    raise Refusal(f"a number is {name}; send finite numbers, and nothing when the value is unknown")
