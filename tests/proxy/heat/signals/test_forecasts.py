"""JSON bodies of prices, schedules and tank readings: strict types, times with a zone, and never an exception."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.heat.forecast import ForecastRefused, Sent, Series, TankReading
from proxy.heat.signals.forecasts import MAX_BODY_BYTES, decode_forecast, decode_prices, decode_tank

NOW = 1_768_435_200.0


def test_prices_are_decoded_with_times_in_either_notation():
    body = b"""{"electricity_per_kwh": {"start": "2026-01-15T01:00:00+01:00", "step_s": 3600, "values": [0.04, null, -0.01]},
                "work_per_th_day": {"start": 1768435200, "step_s": 86400, "values": [0.052]},
                "valid_until": "2026-01-16T00:00:00Z"}"""
    assert decode_prices(body, NOW) == Sent(
        issued_unix_s=NOW,
        valid_until_unix_s=NOW + 86_400,
        electricity_per_kwh=Series(NOW, 3_600.0, (0.04, None, -0.01)),
        work_per_th_day=Series(NOW, 86_400.0, (0.052,)),
    )


def test_a_schedule_in_kilowatts_is_kept_in_watts():
    body = b'{"issued_at": 1768435100, "demand_kw": {"start": 1768435200, "step_s": 900, "values": [1500, 1600.5]}}'
    assert decode_forecast(body, NOW) == Sent(NOW - 100, None, demand_w=Series(NOW, 900.0, (1.5e6, 1.6005e6)))


def test_null_takes_a_series_away():
    answer = decode_forecast(b'{"outdoor_c": null}', NOW)
    assert isinstance(answer, Sent)
    assert answer.outdoor_c is not None
    assert answer.outdoor_c.values == ()
    assert answer.demand_w is None


def test_a_tank_is_read_now_or_when_it_says():
    assert decode_tank(b'{"content_kwh": 2500}', NOW) == TankReading(NOW, 2.5e6)
    assert decode_tank(b'{"content_kwh": 0, "at": "2026-01-14T23:55:00Z"}', NOW) == TankReading(NOW - 300, 0.0)


@pytest.mark.parametrize(
    ("decode", "body", "code", "says"),
    [
        (decode_prices, b"{}", 422, "no price"),
        (decode_forecast, b"{}", 422, "no forecast"),
        (decode_prices, b"[]", 400, "does not fit"),
        (decode_prices, b"\xff", 400, "not JSON"),
        (decode_prices, b"[" * 5_000, 400, "not JSON"),
        (decode_prices, b'{"price": 1}', 400, "unknown field `price`"),
        (decode_prices, b'{"electricity_per_kwh": null, "electricity_per_kwh": null}', 400, "named twice"),
        (decode_tank, b'{"content_kwh": NaN}', 400, "NaN"),
        (decode_tank, b'{"content_kwh": "5"}', 400, "does not fit"),
        (decode_tank, b'{"content_kwh": 5, "at": 1768435200000}', 400, "does not fit"),
        (decode_tank, b'{"content_kwh": 5, "at": "2026-01-15T00:00:00"}', 400, "timezone"),
        (decode_tank, b" " * (MAX_BODY_BYTES + 1), 413, "bytes long"),
    ],
)
def test_what_does_not_fit_is_told_with_a_remedy(decode, body, code, says):
    answer = decode(body, NOW)
    assert isinstance(answer, ForecastRefused)
    assert answer.code == code
    assert says in answer.reason
    assert answer.remedy


@given(body=st.binary(max_size=200))
def test_no_bytes_raise(body):
    for decode in (decode_prices, decode_forecast, decode_tank):
        assert isinstance(decode(body, NOW), Sent | TankReading | ForecastRefused)


PAGE = Path("docs/how-to/prices-and-storage.md").read_text(encoding="utf-8")
DECODERS = {"prices": decode_prices, "forecast": decode_forecast, "tank": decode_tank}


@pytest.mark.parametrize(("kind", "body"), re.findall(r"^```json (\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
def test_every_body_in_the_documentation_decodes(kind, body):
    assert isinstance(DECODERS[kind](body.encode(), NOW), Sent | TankReading)
