"""Live events: snapshot first, numbered deltas, bounded queues, and nothing left behind by a page that went away."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import trio

from proxy.telemetry.metrics import WebMetrics
from proxy.web.live import MAX_CLIENTS, QUEUE_LIMIT, LiveFeed, live_row
from proxy.web.problems import ProblemError
from tests.proxy.web.fake_site import FakeSite
from tests.proxy.web.serving import Clock, serving
from tests.support.patience import PATIENCE_S


class Page:
    """The ASGI side of one page: collects what it is sent, and stops taking it while `is_reading` is unset."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, dict[str, Any]]] = []
        self.is_reading = trio.Event()
        self.is_reading.set()
        self.gone = trio.Event()

    async def send(self, message: Any) -> None:
        await self.is_reading.wait()
        if message.get("body"):
            fields = dict(line.split(": ", 1) for line in message["body"].decode().strip().split("\n"))
            self.messages.append((fields["event"], json.loads(fields["data"])))

    async def receive(self) -> Any:
        await self.gone.wait()
        return {"type": "http.disconnect"}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def site(clock: Clock) -> FakeSite:
    return FakeSite(clock)


@pytest.fixture
def feed(site: FakeSite) -> LiveFeed:
    return LiveFeed(site, WebMetrics())


def tick(feed: LiveFeed, site: FakeSite, clock: Clock) -> None:
    clock.now_unix_s += 1
    feed.tick(site.view())


async def test_a_page_gets_a_snapshot_and_then_deltas_without_a_gap(
    feed: LiveFeed, site: FakeSite, clock: Clock, nursery: trio.Nursery
) -> None:
    page = Page()
    nursery.start_soon(feed.stream, page.receive, page.send)
    await trio.testing.wait_all_tasks_blocked()
    for _ in range(3):
        tick(feed, site, clock)
        await trio.testing.wait_all_tasks_blocked()
    kinds = [kind for kind, _ in page.messages]
    assert kinds == ["snapshot", "delta", "delta", "delta"]
    numbers = [message["seq"] for _, message in page.messages]
    assert numbers == list(range(numbers[0], numbers[0] + 4))
    assert len(page.messages[0][1]["units"]) == 228
    page.gone.set()


async def test_a_delta_holds_only_what_changed(feed: LiveFeed, site: FakeSite, clock: Clock, nursery: trio.Nursery) -> None:
    page = Page()
    nursery.start_soon(feed.stream, page.receive, page.send)
    await trio.testing.wait_all_tasks_blocked()
    site.events.publish("pool.down", "error", pool="south")
    feed.tick(site.view())  # the clock stands: nothing but the event is new
    await trio.testing.wait_all_tasks_blocked()
    delta = page.messages[-1][1]
    assert delta["units"] == []
    assert delta["site"] == {}
    assert [event["name"] for event in delta["events"]] == ["pool.down"]
    page.gone.set()


async def test_deltas_applied_to_a_snapshot_give_the_next_snapshot(
    feed: LiveFeed, site: FakeSite, clock: Clock, nursery: trio.Nursery
) -> None:
    first, second = Page(), Page()
    nursery.start_soon(feed.stream, first.receive, first.send)
    await trio.testing.wait_all_tasks_blocked()
    for _ in range(12):
        clock.now_unix_s += 30
        tick(feed, site, clock)
        await trio.testing.wait_all_tasks_blocked()
    nursery.start_soon(feed.stream, second.receive, second.send)
    await trio.testing.wait_all_tasks_blocked()
    held = first.messages[0][1]
    rows = {unit["id"]: unit for unit in held["units"]}
    for _, delta in first.messages[1:]:
        held["site"] |= delta["site"]
        rows |= {unit["id"]: unit for unit in delta["units"]}
    snapshot = second.messages[0][1]
    assert held["site"] == snapshot["site"]
    assert list(rows.values()) == snapshot["units"]
    first.gone.set()
    second.gone.set()


async def test_a_unit_taken_out_of_the_configuration_is_said_to_be_gone(
    feed: LiveFeed, site: FakeSite, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = Page()
    nursery.start_soon(feed.stream, page.receive, page.send)
    await trio.testing.wait_all_tasks_blocked()
    kept = site.units()[1:]
    monkeypatch.setattr(site, "units", lambda: kept)
    feed.tick(site.view())
    await trio.testing.wait_all_tasks_blocked()
    assert page.messages[-1][1]["gone"] == ["loop-1-r1-s01"]
    page.gone.set()


async def test_a_page_that_stops_reading_costs_a_bounded_queue_and_gets_a_snapshot_when_it_reads_again(
    feed: LiveFeed, site: FakeSite, clock: Clock, nursery: trio.Nursery
) -> None:
    page = Page()
    nursery.start_soon(feed.stream, page.receive, page.send)
    await trio.testing.wait_all_tasks_blocked()
    page.is_reading = trio.Event()
    for _ in range(QUEUE_LIMIT * 5):
        tick(feed, site, clock)
        await trio.testing.wait_all_tasks_blocked()
        assert all(len(client.queue) <= QUEUE_LIMIT for client in feed._clients)
    page.is_reading.set()
    await trio.testing.wait_all_tasks_blocked()
    kind, message = page.messages[-1]
    assert kind == "snapshot"
    tick(feed, site, clock)
    await trio.testing.wait_all_tasks_blocked()
    assert page.messages[-1][0] == "delta"
    assert page.messages[-1][1]["seq"] == message["seq"] + 1
    page.gone.set()


async def test_one_slow_page_does_not_hold_up_another(feed: LiveFeed, site: FakeSite, clock: Clock, nursery: trio.Nursery) -> None:
    slow, quick = Page(), Page()
    for page in (slow, quick):
        nursery.start_soon(feed.stream, page.receive, page.send)
    await trio.testing.wait_all_tasks_blocked()
    slow.is_reading = trio.Event()
    for _ in range(20):
        tick(feed, site, clock)
        await trio.testing.wait_all_tasks_blocked()
    assert len(quick.messages) == 21
    slow.is_reading.set()
    slow.gone.set()
    quick.gone.set()


async def test_a_page_beyond_the_limit_is_told_so_and_the_others_stay(feed: LiveFeed, nursery: trio.Nursery) -> None:
    pages = [Page() for _ in range(MAX_CLIENTS)]
    for page in pages:
        nursery.start_soon(feed.stream, page.receive, page.send)
    await trio.testing.wait_all_tasks_blocked()
    with pytest.raises(ProblemError) as refusal:
        await feed.stream(Page().receive, Page().send)
    assert refusal.value.status_code == 503
    assert feed.client_count == MAX_CLIENTS
    for page in pages:
        page.gone.set()
    await trio.testing.wait_all_tasks_blocked()
    assert feed.client_count == 0


async def test_nobody_listening_costs_nothing(feed: LiveFeed, site: FakeSite, clock: Clock) -> None:
    for _ in range(5):
        tick(feed, site, clock)
    assert feed._seq == 0


async def test_closing_the_feed_ends_every_stream(feed: LiveFeed, nursery: trio.Nursery) -> None:
    page = Page()
    nursery.start_soon(feed.stream, page.receive, page.send)
    await trio.testing.wait_all_tasks_blocked()
    feed.close()
    await trio.testing.wait_all_tasks_blocked()
    assert feed.client_count == 0


def test_a_row_does_not_change_because_time_passes(site: FakeSite, clock: Clock) -> None:
    unit = site.units()[0]
    row = live_row(unit, clock(), None)
    assert row["reading_at_unix_s"] == clock() - unit.reading_age_s  # type: ignore[operator]
    later = live_row(unit.__class__(**{**_fields(unit), **_older(unit, 10.2)}), clock() + 10.0, row)
    assert later == row


def test_an_unknown_age_stays_unknown(site: FakeSite, clock: Clock) -> None:
    unit = next(unit for unit in site.units() if unit.share_age_s is None)
    assert live_row(unit, clock(), None)["share_at_unix_s"] is None


def _fields(unit: Any) -> dict[str, Any]:
    return {name: getattr(unit, name) for name in unit.__struct_fields__}


def _older(unit: Any, by_s: float) -> dict[str, float]:
    return {name: getattr(unit, name) + by_s for name in ("state_since_s", "reading_age_s", "share_age_s")}


async def _events(response: httpx.Response) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    kind = ""
    async for line in response.aiter_lines():
        if line.startswith("event: "):
            kind = line[7:]
        elif line.startswith("data: "):
            yield kind, json.loads(line[6:])


async def test_a_page_that_disconnects_leaves_no_subscriber_on_the_real_server() -> None:
    site = FakeSite(Clock())
    async with serving(site) as (client, web):
        async with client.stream("GET", "/events") as response:
            assert response.headers["content-type"] == "text/event-stream"
            assert response.headers["cache-control"] == "no-store"
            async for kind, _message in _events(response):
                assert kind == "snapshot"
                assert web.live.client_count == 1
                break
        with trio.fail_after(PATIENCE_S):
            while web.live.client_count:  # until the server has seen the end of the connection
                await trio.lowlevel.checkpoint()


@pytest.mark.slow
async def test_the_real_server_sends_one_message_a_second() -> None:
    async with serving(FakeSite(Clock())) as (client, _web), client.stream("GET", "/events") as response:
        kinds = []
        async for kind, _message in _events(response):
            kinds.append(kind)
            if len(kinds) == 2:
                break
        assert kinds == ["snapshot", "delta"]
