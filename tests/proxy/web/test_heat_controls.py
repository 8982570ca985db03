"""Schedules, outdoor temperature, stop, alarms, faults: what reaches the site, under which name, and what a refusal looks like."""

import msgspec
import pytest

from proxy.heat.demand import MeterReading
from proxy.heat.signals.rest import decode_demand
from proxy.heat.signals.schedules import ScheduleBody, decode_schedule
from proxy.web.context import WebContext
from proxy.web.server import build_app
from tests.proxy.web.fake_site import START_UNIX_S, FakeSite
from tests.proxy.web.serving import Clock, bearer, local_client

SCHEDULE = {"sequence": 42, "start": START_UNIX_S, "step_s": 900, "power_kw": [1000, 1100, 1200]}
UNIT = "loop-1-r1-s01"


async def test_a_schedule_is_taken_in_the_name_of_its_key() -> None:
    site = FakeSite(Clock())
    async with local_client(WebContext(site)) as client:
        answer = await client.put("/api/v1/heat/schedule", json=SCHEDULE, headers=bearer("utility"))
    assert answer.status_code == 200
    assert answer.json() == {
        "source": "utility-key",
        "epoch": 0,
        "sequence": 42,
        "blocks": 3,
        "valid_from_unix_s": START_UNIX_S,
        "valid_until_unix_s": START_UNIX_S + 2_700,
    }
    assert site.actions == [("schedule 3", "utility-key")]


@pytest.mark.parametrize(
    ("change", "status"),
    [({"power_kw": []}, 422), ({"step_s": 1}, 422), ({"start": "today"}, 400), ({"values": [1]}, 400), ({"power_kw": "1"}, 400)],
)
async def test_what_is_no_schedule_is_a_problem_with_a_remedy(change: dict[str, object], status: int) -> None:
    site = FakeSite(Clock())
    async with local_client(WebContext(site)) as client:
        answer = await client.put("/api/v1/heat/schedule", json={**SCHEDULE, **change}, headers=bearer("utility"))
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["remedy"]
    assert site.actions == []


async def test_outdoor_temperature_and_stop_carry_the_name_of_the_key() -> None:
    site = FakeSite(Clock())
    async with local_client(WebContext(site)) as client:
        for path, body in (("outdoor", {"outdoor_c": -8.5}), ("stop", {"stop": True}), ("stop", {"stop": False})):
            answer = await client.put(f"/api/v1/heat/{path}", json=body, headers=bearer("utility"))
            assert answer.status_code == 200
            assert answer.json()["ladder"]
    assert site.actions == [("outdoor -8.5", "utility-key"), ("stop True", "utility-key"), ("stop False", "utility-key")]


async def test_an_outdoor_temperature_that_is_not_believed_says_why() -> None:
    site = FakeSite(Clock())
    site.refusal = "it jumps by 25 K"
    async with local_client(WebContext(site)) as client:
        answer = await client.put("/api/v1/heat/outdoor", json={"outdoor_c": 20}, headers=bearer("utility"))
    assert (answer.status_code, answer.json()["detail"]) == (409, site.refusal)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("outdoor", {"outdoor_c": 263.15}),
        ("outdoor", {"outdoor_c": "cold"}),
        ("outdoor", {"outdoor_c": None}),
        ("outdoor", {}),
        ("stop", {"stop": "perhaps"}),
        ("stop", {"stop": None}),
        ("stop", {"stop": True, "source": "somebody-else"}),
    ],
)
async def test_a_body_that_does_not_fit_reaches_nobody(path: str, body: dict[str, object]) -> None:
    site = FakeSite(Clock())
    async with local_client(WebContext(site)) as client:
        answer = await client.put(f"/api/v1/heat/{path}", json=body, headers=bearer("utility"))
    assert answer.status_code == 400
    assert site.actions == []


RELEASE = {"source": "modbus 10.0.0.5", "name": " Anna Meier", "reason": "PLC replaced"}


async def test_an_operator_releases_another_senders_stop_with_name_and_reason() -> None:
    site = FakeSite(Clock())
    async with local_client(WebContext(site)) as client:
        done = await client.post("/api/v1/heat/stop/release", json=RELEASE, headers=bearer("operator"))
        utility = await client.post("/api/v1/heat/stop/release", json=RELEASE, headers=bearer("utility"))
        site.refusal = "modbus 10.0.0.5 holds no stop; held by: nobody"
        again = await client.post("/api/v1/heat/stop/release", json=RELEASE, headers=bearer("operator"))
    assert (done.status_code, utility.status_code, again.status_code) == (200, 403, 409)
    assert "holds no stop" in again.json()["detail"]
    assert site.actions[0] == ("release modbus 10.0.0.5 by Anna Meier: PLC replaced", "operator-key")


@pytest.mark.parametrize(
    "change", [{"name": ""}, {"name": "  "}, {"reason": "x"}, {"reason": None}, {"source": ""}, {"stop": False}]
)
async def test_a_release_without_a_name_or_a_reason_reaches_nobody(change: dict[str, object]) -> None:
    site = FakeSite(Clock())
    async with local_client(WebContext(site)) as client:
        answer = await client.post("/api/v1/heat/stop/release", json={**RELEASE, **change}, headers=bearer("operator"))
    assert answer.status_code == 400
    assert site.actions == []


async def test_an_operator_acknowledges_alarms_and_clears_a_fault() -> None:
    site = FakeSite(Clock())
    site.over_alarms = ("loop-dry:a",)
    async with local_client(WebContext(site)) as client:
        alarms = await client.post("/api/v1/heat/alarms/acknowledge", headers=bearer("operator"))
        fault = await client.post(f"/api/v1/units/{UNIT}/clear-fault", headers=bearer("operator"))
        nobody = await client.post("/api/v1/units/none/clear-fault", headers=bearer("operator"))
    assert alarms.json() == {"acknowledged": ["loop-dry:a"]}
    assert (fault.status_code, fault.json()) == (200, {"unit": UNIT, "done": "fault cleared"})
    assert nobody.status_code == 404
    assert site.actions == [("acknowledge", "operator-key"), (f"fault {UNIT}", "operator-key")]


def test_the_documented_bodies_name_exactly_the_fields_that_are_decoded() -> None:
    paths = build_app(WebContext(FakeSite(Clock()))).openapi_schema.to_schema()["paths"]

    def documented(path: str) -> set[str]:
        return set(paths[path]["put"]["requestBody"]["content"]["application/json"]["schema"]["properties"])

    assert documented("/api/v1/heat/meter") == set(MeterReading.__struct_fields__)
    assert documented("/api/v1/heat/schedule") == set(ScheduleBody.__struct_fields__)
    every = dict.fromkeys(documented("/api/v1/heat/demand"))
    refused = decode_demand(msgspec.json.encode({**every, "sequence": 1, "epoch": 1}), "key", START_UNIX_S)
    assert "unknown field" not in str(refused)
    assert isinstance(decode_schedule(msgspec.json.encode(SCHEDULE), "key", START_UNIX_S), list)
