"""Prices, schedules, outdoor forecasts and tank readings as JSON bodies: decoding and strict types. One series looks like

    {"start": "2026-01-15T00:00:00Z", "step_s": 3600, "values": [0.041, 0.038, null]}

Whether a decoded one is believed is forecast.Forecasts' business, who may send it the web server's.
"""

import datetime
import json
from typing import Annotated, NoReturn, TypeVar

import msgspec

from proxy.heat.forecast import ForecastRefused, Sent, Series, TankReading

# Two series of a week in five minutes, with all digits.
MAX_BODY_BYTES = 65_536
# A number of seconds this large is the year 5138: somebody sent milliseconds.
MAX_UNIX_S = 1e11

Moment = Annotated[datetime.datetime, msgspec.Meta(tz=True)] | Annotated[float, msgspec.Meta(ge=0, le=MAX_UNIX_S)]


class SeriesBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """values hold for step_s each, from start on; null is unknown."""

    start: Moment
    step_s: float
    values: list[float | None]


class PricesBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """electricity_per_kwh: what a kWh costs; work_per_th_day: what 1 TH/s earns in a day. null takes a series away."""

    electricity_per_kwh: SeriesBody | msgspec.UnsetType | None = msgspec.UNSET
    work_per_th_day: SeriesBody | msgspec.UnsetType | None = msgspec.UNSET
    issued_at: Moment | None = None
    valid_until: Moment | None = None


class ForecastBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """demand_kw: heat that will be asked for; outdoor_c: outdoor temperature, for the heat curve. null takes a series away."""

    demand_kw: SeriesBody | msgspec.UnsetType | None = msgspec.UNSET
    outdoor_c: SeriesBody | msgspec.UnsetType | None = msgspec.UNSET
    issued_at: Moment | None = None
    valid_until: Moment | None = None


class TankBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """content_kwh: usable heat in the tank, 0 when it is empty; at: when that was, default now."""

    content_kwh: float
    at: Moment | None = None


_PRICES = msgspec.json.Decoder(PricesBody)
_FORECAST = msgspec.json.Decoder(ForecastBody)
_TANK = msgspec.json.Decoder(TankBody)
Body = TypeVar("Body", PricesBody, ForecastBody, TankBody)
_NOTHING = Series(0.0, 3_600.0, ())


class _RefusedError(ValueError):
    """Something that JSON allows, in one parser or another, and we do not."""


def decode_prices(body: bytes, now_unix_s: float) -> Sent | ForecastRefused:
    """Turn a body into price series, or say what is wrong with it. Never raises for any bytes."""
    sent = _decoded(_PRICES, body)
    if isinstance(sent, ForecastRefused):
        return sent
    if sent.electricity_per_kwh is msgspec.UNSET and sent.work_per_th_day is msgspec.UNSET:
        return ForecastRefused(422, "there is no price in it", "send electricity_per_kwh, work_per_th_day or both")
    return Sent(
        issued_unix_s=now_unix_s if sent.issued_at is None else unix_s(sent.issued_at),
        valid_until_unix_s=None if sent.valid_until is None else unix_s(sent.valid_until),
        electricity_per_kwh=_series(sent.electricity_per_kwh),
        work_per_th_day=_series(sent.work_per_th_day),
    )


def decode_forecast(body: bytes, now_unix_s: float) -> Sent | ForecastRefused:
    """Turn a body into demand and outdoor series, or say what is wrong with it. Never raises for any bytes."""
    sent = _decoded(_FORECAST, body)
    if isinstance(sent, ForecastRefused):
        return sent
    if sent.demand_kw is msgspec.UNSET and sent.outdoor_c is msgspec.UNSET:
        return ForecastRefused(422, "there is no forecast in it", "send demand_kw, outdoor_c or both")
    return Sent(
        issued_unix_s=now_unix_s if sent.issued_at is None else unix_s(sent.issued_at),
        valid_until_unix_s=None if sent.valid_until is None else unix_s(sent.valid_until),
        demand_w=_series(sent.demand_kw, scale=1000.0),
        outdoor_c=_series(sent.outdoor_c),
    )


def decode_tank(body: bytes, now_unix_s: float) -> TankReading | ForecastRefused:
    """Turn a body into a reading of the tank, or say what is wrong with it. Never raises for any bytes."""
    sent = _decoded(_TANK, body)
    if isinstance(sent, ForecastRefused):
        return sent
    return TankReading(now_unix_s if sent.at is None else unix_s(sent.at), sent.content_kwh * 1000)


def _decoded(decoder: msgspec.json.Decoder[Body], body: bytes) -> Body | ForecastRefused:
    if len(body) > MAX_BODY_BYTES:
        return ForecastRefused(413, f"the body is {len(body)} bytes long", f"at most {MAX_BODY_BYTES} bytes: longer steps, or two")
    try:
        json.loads(body, object_pairs_hook=_once, parse_constant=_no_constant)
        return decoder.decode(body)
    except _RefusedError as error:
        return ForecastRefused(400, str(error), "name every field once; null where a value is unknown")
    except msgspec.ValidationError as error:
        return ForecastRefused(400, f"the body does not fit: {error}", "compare it with /schema; times need a zone")
    except (ValueError, RecursionError):
        return ForecastRefused(400, "the body is not JSON", "send one JSON object, UTF-8")


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        # Parsers differ in which of the two they believe.
        raise _RefusedError("a field is named twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise _RefusedError(f"a number is {name}")


def unix_s(moment: datetime.datetime | float) -> float:
    """A decoded time as seconds since 1970."""
    return moment.timestamp() if isinstance(moment, datetime.datetime) else moment


def _series(sent: SeriesBody | msgspec.UnsetType | None, scale: float = 1.0) -> Series | None:
    """As forecast.Sent has it: None leaves the old series, one without values takes it away."""
    if isinstance(sent, msgspec.UnsetType):
        return None
    if sent is None:
        return _NOTHING
    values = tuple(None if value is None else value * scale for value in sent.values)
    return Series(unix_s(sent.start), sent.step_s, values)
