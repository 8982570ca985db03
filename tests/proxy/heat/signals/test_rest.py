import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.heat.demand import DemandRefused, HeatDemand, MeterReading, MeterRefused
from proxy.heat.signals.rest import decode_demand, decode_meter

NOW = 1_768_435_200.0  # 2026-01-15T00:00:00Z
GOOD = {"sequence": 41, "power_kw": 1500, "validity_s": 900}


def decode(**fields: object) -> HeatDemand | DemandRefused:
    body = {key: value for key, value in {**GOOD, **fields}.items() if value is not ...}
    return decode_demand(json.dumps(body).encode(), "key-name", NOW)


def test_the_shortest_body_is_valid_from_now_and_named_after_its_key() -> None:
    demand = decode()
    assert isinstance(demand, HeatDemand)
    assert demand.source == "key-name"
    assert demand.order == (0, 41)
    assert demand.power_w == 1_500_000.0
    assert (demand.issued_unix_s, demand.valid_from_unix_s, demand.valid_until_unix_s) == (NOW, NOW, NOW + 900)


def test_both_notations_of_time_mean_the_same() -> None:
    times = {"issued_at": "2026-01-15T00:00:00Z", "valid_from": "2026-01-15T01:15:00+01:00", "valid_until": "2026-01-15T00:30:00Z"}
    written = decode(validity_s=..., source="dh", epoch=2, **times)
    counted = decode(validity_s=..., source="dh", epoch=2, issued_at=NOW, valid_from=NOW + 900, valid_until=NOW + 1800.0)
    assert isinstance(written, HeatDemand)
    assert isinstance(counted, HeatDemand)
    assert (written.issued_unix_s, written.valid_from_unix_s, written.valid_until_unix_s) == (NOW, NOW + 900, NOW + 1800)
    assert (written.issued_unix_s, written.valid_from_unix_s, written.valid_until_unix_s) == (
        counted.issued_unix_s,
        counted.valid_from_unix_s,
        counted.valid_until_unix_s,
    )


def test_the_same_body_has_the_same_content_whenever_it_comes() -> None:
    body = json.dumps(GOOD).encode()
    first, second = decode_demand(body, "k", NOW), decode_demand(body, "k", NOW + 5)
    assert isinstance(first, HeatDemand)
    assert isinstance(second, HeatDemand)
    assert first.content == second.content
    assert first.content != getattr(decode(power_kw=1501), "content", "")


@pytest.mark.parametrize(
    ("fields", "code", "word"),
    [
        ({"power_kw": "1500"}, 400, "power_kw"),
        ({"power_kw": None}, 400, "power_kw"),
        ({"power_kw": True}, 400, "power_kw"),
        ({"power_kw": ...}, 400, "power_kw"),
        ({"sequence": 1.5}, 400, "sequence"),
        ({"sequence": True}, 400, "sequence"),
        ({"sequence": ...}, 400, "sequence"),
        ({"power_kW": 3}, 400, "power_kW"),
        ({"validity_s": ...}, 422, "end"),
        ({"valid_until": NOW + 5}, 422, "end"),
        ({"valid_until": "2026-01-15T00:30:00", "validity_s": ...}, 422, "zone"),
        ({"valid_until": "tomorrow", "validity_s": ...}, 422, "no time"),
        ({"valid_from": (NOW + 900) * 1000}, 422, "range"),
        ({"valid_from": -5}, 422, "range"),
        ({"source": ""}, 422, "name"),
        ({"source": "a b"}, 422, "name"),
        ({"source": "x" * 64}, 422, "name"),
        ({"epoch": "1"}, 400, "epoch"),
    ],
)
def test_a_wrong_body_is_refused_with_the_field_and_a_remedy(fields: dict[str, object], code: int, word: str) -> None:
    answer = decode(**fields)
    assert isinstance(answer, DemandRefused)
    assert answer.code == code
    assert word in answer.reason
    assert answer.remedy


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b'{"sequence": 1, "power_kw": NaN, "validity_s": 900}', "NaN"),
        (b'{"sequence": 1, "power_kw": -Infinity, "validity_s": 900}', "Infinity"),
        (b'{"sequence": 1, "power_kw": 1e999, "validity_s": 900}', "range"),
        (b'{"sequence": 1, "power_kw": 5, "power_kw": 50, "validity_s": 900}', "twice"),
        (b"", "JSON"),
        (b"\xff\xfe", "JSON"),
        (b"[" * 4000, "JSON"),
        (b"[]", "object"),
        (b" " * 5000, "5000 bytes"),
    ],
)
def test_what_is_no_proper_json_is_refused(body: bytes, word: str) -> None:
    answer = decode_demand(body, "k", NOW)
    assert isinstance(answer, DemandRefused)
    assert word in answer.reason
    metered = decode_meter(body)
    assert isinstance(metered, MeterRefused)


@given(st.binary(max_size=200))
def test_random_bytes_are_only_ever_refused_or_decoded(body: bytes) -> None:
    assert isinstance(decode_demand(body, "k", NOW), HeatDemand | DemandRefused)
    assert isinstance(decode_meter(body), MeterReading | MeterRefused)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
names = st.sampled_from(["sequence", "power_kw", "validity_s", "valid_until", "valid_from", "issued_at", "source", "epoch"])


@given(st.dictionaries(names, json_values))
def test_any_value_in_any_field_is_only_ever_refused_or_decoded(fields: dict[str, object]) -> None:
    answer = decode_demand(json.dumps({**GOOD, **fields}).encode(), "k", NOW)
    assert isinstance(answer, HeatDemand | DemandRefused)


def test_a_meter_reading_needs_time_and_heat_only() -> None:
    assert decode_meter(b'{"at_unix_s": 5, "heat_w": 7}') == MeterReading(at_unix_s=5, heat_w=7)
    refused = decode_meter(b'{"at_unix_s": 5, "heat_kw": 7}')
    assert isinstance(refused, MeterRefused)
    assert refused.code == 400
