"""PUT and POST: what reaches the site, under which name, and what a refusal looks like."""

import msgspec
import pytest

from proxy.heat.demand import HeatDemand, MeterReading
from proxy.heat.signals.rest import decode_demand, decode_meter
from proxy.web.context import WebContext
from proxy.web.server import BODY_LIMIT, build_app
from tests.proxy.web.fake_site import FakeSite
from tests.proxy.web.serving import Clock, bearer, local_client, serving

UNIT = "/api/v1/units/loop-1-r1-s01"


async def test_a_demand_is_taken_in_the_name_of_its_key() -> None:
    site = FakeSite(Clock())
    async with serving(site) as (client, _web):
        body = {"sequence": 42, "power_kw": 1_200, "validity_s": 900}
        answer = await client.put("/api/v1/heat/demand", json=body, headers=bearer("utility"))
        assert answer.status_code == 200
        assert answer.json()["sequence"] == 42
        assert site.actions == [("demand 1.2e+06", "utility-key")]


async def test_a_refused_demand_is_a_problem_with_reason_remedy_and_the_last_sequence() -> None:
    async with local_client(WebContext(FakeSite(Clock()))) as client:
        body = {"sequence": 41, "power_kw": 1_200, "validity_s": 900}
        answer = await client.put("/api/v1/heat/demand", json=body, headers=bearer("utility"))
    assert answer.status_code == 409
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["detail"] == "the sequence number is old"
    assert problem["remedy"] == "count on"
    assert problem["last_sequence"] == 41
    assert problem["status"] == 409


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"sequence": 1e400}', b'{"power_kw": NaN}'])
async def test_a_broken_demand_never_costs_more_than_a_400(body: bytes) -> None:
    site = FakeSite(Clock())
    async with local_client(WebContext(site)) as client:
        answer = await client.put("/api/v1/heat/demand", content=body, headers=bearer("utility"))
    assert answer.status_code == 400
    assert site.actions == []


async def test_the_manual_limit_is_set_and_taken_away() -> None:
    site = FakeSite(Clock())
    async with local_client(WebContext(site)) as client:
        await client.put("/api/v1/heat/limit", json={"power_w": 800_000}, headers=bearer("operator"))
        assert site.limit_w == 800_000
        await client.put("/api/v1/heat/limit", json={"power_w": None}, headers=bearer("operator"))
        assert site.limit_w is None


@pytest.mark.parametrize(
    "body", [{}, {"power_w": -1}, {"power_w": "much"}, {"power_w": 1e300}, {"power_w": 1, "unit": "kW"}, {"power_w": True}]
)
async def test_a_limit_that_is_no_power_is_refused(body: dict[str, object]) -> None:
    site = FakeSite(Clock())
    async with local_client(WebContext(site)) as client:
        answer = await client.put("/api/v1/heat/limit", json=body, headers=bearer("operator"))
    assert answer.status_code == 400
    assert site.actions == []


async def test_commands_to_a_unit_reach_the_site_with_the_name_of_the_key() -> None:
    site = FakeSite(Clock())
    operator = bearer("operator")
    async with local_client(WebContext(site)) as client:
        level = await client.put(f"{UNIT}/level", json={"level": 3}, headers=operator)
        service = await client.put(f"{UNIT}/service", json={"in_service": True, "note": "fan"}, headers=operator)
        serial = await client.post(f"{UNIT}/accept-serial", headers=operator)
    assert (level.status_code, service.status_code, serial.status_code) == (202, 200, 200)
    unit = "loop-1-r1-s01"
    assert [what for what, _ in site.actions] == [f"level {unit} 3", f"service {unit} True fan", f"serial {unit}"]
    assert {actor for _, actor in site.actions} == {"operator-key"}


async def test_work_is_kept_from_a_unit_for_minutes_at_most_and_given_back() -> None:
    site = FakeSite(Clock())
    operator = bearer("operator")
    async with local_client(WebContext(site)) as client:
        kept = await client.put(f"{UNIT}/work", json={"withheld_s": 120}, headers=operator)
        given = await client.put(f"{UNIT}/work", json={"withheld_s": None}, headers=operator)
        long = await client.put(f"{UNIT}/work", json={"withheld_s": 3_600}, headers=operator)
    assert (kept.status_code, given.status_code, long.status_code) == (200, 200, 400)
    assert [what for what, _ in site.actions] == ["work loop-1-r1-s01 120.0", "work loop-1-r1-s01 None"]


async def test_a_command_that_the_site_refuses_says_its_reason() -> None:
    site = FakeSite(Clock())
    site.refusal = "loop-1 is on standby: no flow"
    async with local_client(WebContext(site)) as client:
        answer = await client.put(f"{UNIT}/level", json={"level": 3}, headers=bearer("operator"))
    assert answer.status_code == 409
    assert answer.json()["detail"] == site.refusal


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [("PUT", "service", {"in_service": True}), ("PUT", "level", {"level": 1}), ("POST", "accept-serial", None)],
)
async def test_a_command_to_an_unknown_unit_reaches_nobody(method: str, path: str, body: object) -> None:
    site = FakeSite(Clock())
    async with local_client(WebContext(site)) as client:
        answer = await client.request(method, f"/api/v1/units/none/{path}", json=body, headers=bearer("operator"))
    assert answer.status_code == 404
    assert site.actions == []


async def test_a_reload_with_mistakes_lists_them() -> None:
    site = FakeSite(Clock())
    site.problems = ["pools[0].url: no port", "units[3].loop: no such loop"]
    async with local_client(WebContext(site)) as client:
        answer = await client.post("/api/v1/reload", headers=bearer("operator"))
    assert answer.status_code == 409
    assert answer.json()["problems"] == site.problems


async def test_a_body_over_the_limit_is_refused_before_anyone_reads_it() -> None:
    site = FakeSite(Clock())
    async with serving(site) as (client, _web):
        answer = await client.put("/api/v1/heat/demand", content=b" " * (BODY_LIMIT + 1), headers=bearer("utility"))
        assert answer.status_code == 413
        assert answer.json()["remedy"]
        assert site.actions == []


def _example(schema: dict[str, object]) -> bytes:
    samples = {"integer": 7, "number": 60.0, "string": "2026-01-15T07:00:00Z"}
    properties: dict[str, dict[str, object]] = schema["properties"]  # type: ignore[assignment]
    body = {}
    for name, field in properties.items():
        kind = field["type"]
        body[name] = samples[kind if isinstance(kind, str) else kind[0]]  # type: ignore[index]
    body.pop("valid_until", None)  # one of valid_until and validity_s
    if "source" in body:
        body["source"] = "utility"
    return msgspec.json.encode(body)


def test_the_documented_bodies_are_what_heat_really_decodes() -> None:
    paths = build_app(WebContext(FakeSite(Clock()))).openapi_schema.to_schema()["paths"]

    def documented(path: str) -> dict[str, object]:
        schema: dict[str, object] = paths[path]["put"]["requestBody"]["content"]["application/json"]["schema"]
        return schema

    assert isinstance(decode_demand(_example(documented("/api/v1/heat/demand")), "key", 0.0), HeatDemand)
    assert isinstance(decode_meter(_example(documented("/api/v1/heat/meter"))), MeterReading)
