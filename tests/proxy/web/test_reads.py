"""GET over a real server: every read answers a view as it is."""

import csv
import io

import msgspec
import pytest

from proxy.events import Event
from proxy.views import HeatView, PoolView, SiteView, UnitView
from proxy.web.context import WebContext
from proxy.web.history import Columns, sample_of
from tests.proxy.web.fake_site import FakeSite
from tests.proxy.web.serving import Clock, local_client, serving


async def test_every_read_decodes_into_its_view() -> None:
    site = FakeSite(Clock())
    async with serving(site) as (client, _web):
        shapes = {
            "/api/v1/status": SiteView,
            "/api/v1/heat": HeatView,
            "/api/v1/pools": list[PoolView],
            "/api/v1/units": list[UnitView],
            "/api/v1/units/loop-1-r1-s01": UnitView,
            "/api/v1/events": list[Event],
            "/api/v1/history": Columns,
        }
        for path, shape in shapes.items():
            answer = await client.get(path)
            assert answer.status_code == 200, path
            assert msgspec.json.decode(answer.content, type=shape), path
        status = msgspec.json.decode((await client.get("/api/v1/status")).content, type=SiteView)
        assert status == site.view()


async def test_units_are_filtered_by_loop_and_state() -> None:
    async with local_client(WebContext(FakeSite(Clock()))) as client:
        assert len((await client.get("/api/v1/units")).json()) == 228
        assert {u["loop"] for u in (await client.get("/api/v1/units?loop=loop-4")).json()} == {"loop-4"}
        assert len((await client.get("/api/v1/units?state=fault")).json()) == 2
        assert (await client.get("/api/v1/units?loop=loop-9")).json() == []


@pytest.mark.parametrize(("query", "accept"), [("?format=csv", "*/*"), ("", "text/csv")])
async def test_units_come_as_csv_when_asked_for(query: str, accept: str) -> None:
    async with local_client(WebContext(FakeSite(Clock()))) as client:
        answer = await client.get(f"/api/v1/units{query}", headers={"Accept": accept})
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert len(rows) == 228
    assert rows[60]["state"] == "OFFLINE"
    assert rows[60]["power_w"] == ""  # unknown is empty, not 0


async def test_a_miners_name_cannot_become_a_formula_in_a_spreadsheet() -> None:
    async with local_client(WebContext(FakeSite(Clock()))) as client:
        rows = list(csv.DictReader(io.StringIO((await client.get("/api/v1/units?format=csv")).text)))
    assert rows[3]["user_agent"] == "'=cmgr/1.0"


async def test_an_unknown_unit_is_a_problem_that_says_what_to_do() -> None:
    async with local_client(WebContext(FakeSite(Clock()))) as client:
        answer = await client.get("/api/v1/units/nobody")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert "No unit" in answer.json()["detail"]
    assert "/api/v1/units" in answer.json()["remedy"]


@pytest.mark.parametrize("path", ["/api/v1/events?since=-1", "/api/v1/history?since=x", "/api/v1/units?format=xml"])
async def test_a_bad_parameter_is_named_in_the_problem(path: str) -> None:
    async with local_client(WebContext(FakeSite(Clock()))) as client:
        answer = await client.get(path)
    assert answer.status_code == 400
    assert path.split("?")[1].split("=")[0] in " ".join(answer.json()["problems"])


async def test_events_after_a_sequence_number_leave_out_the_older_ones() -> None:
    site = FakeSite(Clock())
    site.events.publish("pool.down", "error", pool="north")
    async with local_client(WebContext(site)) as client:
        events = (await client.get("/api/v1/events?since=1")).json()
    assert [event["name"] for event in events] == ["pool.down"]


async def test_history_starts_with_what_was_sampled() -> None:
    clock = Clock()
    web = WebContext(FakeSite(clock))
    for _ in range(3):
        web.history.add(sample_of(web.site.view()))
        clock.now_unix_s += 1
    async with local_client(web) as client:
        all_of_it = (await client.get("/api/v1/history")).json()
        later = (await client.get(f"/api/v1/history?since={all_of_it['at_unix_s'][0]}")).json()
    assert len(all_of_it["demand_w"]) == 3
    assert later["at_unix_s"] == all_of_it["at_unix_s"][1:]


async def test_alive_is_not_ready_while_the_site_has_problems() -> None:
    site = FakeSite(Clock())
    async with local_client(WebContext(site)) as client:
        assert (await client.get("/readyz")).status_code == 200
        site.problems = ["ledger: cannot write; free the disk"]
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.json()) == (503, {"problems": site.problems})
        assert (await client.get("/healthz")).status_code == 200
