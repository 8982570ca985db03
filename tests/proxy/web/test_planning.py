"""Prices, schedules and tank readings by HTTP, and the plan that comes back."""

import msgspec
import pytest

from proxy.views import PlanBlocks
from proxy.web.context import WebContext
from proxy.web.planning import PlanDocument
from tests.proxy.web.fake_site import FakeSite
from tests.proxy.web.serving import Clock, bearer, local_client

START = Clock().now_unix_s
PRICES = {"electricity_per_kwh": {"start": START, "step_s": 3600, "values": [0.04, None, 0.31]}}
SCHEDULE = {"demand_kw": {"start": START, "step_s": 900, "values": [1_000, 1_100]}, "valid_until": START + 900}


async def test_prices_are_taken_from_an_operator_and_answered_with_their_reach() -> None:
    site = FakeSite(Clock())
    async with local_client(WebContext(site)) as client:
        answer = await client.put("/api/v1/prices", json=PRICES, headers=bearer("operator"))
    assert answer.status_code == 200
    assert answer.json()["electricity_until_unix_s"] == START + 3 * 3_600
    assert answer.json()["demand_until_unix_s"] is None
    assert site.actions == [("prices", "operator-key")]


async def test_a_schedule_is_taken_from_the_utility_and_expires_when_it_says() -> None:
    site = FakeSite(Clock())
    async with local_client(WebContext(site)) as client:
        answer = await client.put("/api/v1/heat/forecast", json=SCHEDULE, headers=bearer("utility"))
    assert answer.status_code == 200
    assert answer.json()["demand_until_unix_s"] == START + 900


async def test_the_tank_is_told_by_the_utility() -> None:
    site = FakeSite(Clock())
    async with local_client(WebContext(site)) as client:
        answer = await client.put("/api/v1/heat/tank", json={"content_kwh": 2_500}, headers=bearer("utility"))
    assert (answer.status_code, answer.json()["content_wh"]) == (200, 2.5e6)
    assert site.actions == [("tank 2.5e+06", "utility-key")]


async def test_prices_are_the_operators_alone() -> None:
    async with local_client(WebContext(FakeSite(Clock()))) as client:
        answer = await client.put("/api/v1/prices", json=PRICES, headers=bearer("utility"))
    assert answer.status_code == 403


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        ("prices", "{", 400, "not JSON"),
        ("prices", "{}", 422, "no price"),
        ("prices", '{"electricity_per_kwh": {"start": "2026-01-15T00:00:00", "step_s": 3600, "values": [1]}}', 400, "timezone"),
        ("heat/forecast", '{"demand_kw": {"start": 1, "step_s": 900, "values": [1]}}', 422, "all in the past"),
        ("heat/tank", '{"content_kwh": 9000}', 422, "no content of a tank of 6,000.0 kWh"),
    ],
)
async def test_what_is_wrong_is_a_problem_with_a_remedy(path: str, body: str, status: int, says: str) -> None:
    site = FakeSite(Clock())
    async with local_client(WebContext(site)) as client:
        answer = await client.put(f"/api/v1/{path}", content=body, headers=bearer("operator"))
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert says in answer.json()["detail"]
    assert answer.json()["remedy"]
    assert site.actions == []


async def test_the_plan_has_its_blocks_in_columns_of_one_length() -> None:
    site = FakeSite(Clock())
    async with local_client(WebContext(site)) as client:
        answer = await client.get("/api/v1/heat/plan")
    document = msgspec.json.decode(answer.content, type=PlanDocument)
    lengths = {len(column) for column in msgspec.structs.astuple(document.blocks)}
    assert lengths == {192}
    assert document.plan == site.view().plan


async def test_without_a_plan_the_columns_are_empty_and_the_reason_is_there() -> None:
    site = FakeSite(Clock())
    site.plan = None
    async with local_client(WebContext(site)) as client:
        answer = (await client.get("/api/v1/heat/plan")).json()
    assert all(answer["blocks"][name] == [] for name in PlanBlocks.__struct_fields__)
    assert answer["plan"]["state"] == "none"
    assert "send a demand" in answer["plan"]["reasons"][0]


async def test_a_site_that_does_not_plan_says_so() -> None:
    site = FakeSite(Clock())
    site.plans = False
    async with local_client(WebContext(site)) as client:
        answer = await client.get("/api/v1/heat/plan")
        status = (await client.get("/api/v1/status")).json()
    assert answer.status_code == 404
    assert "heat.planner.enabled" in answer.json()["remedy"]
    assert status["plan"] is None
