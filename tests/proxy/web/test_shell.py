"""The outermost layer: names, headers, time limits and bugs, with small applications inside."""

from typing import Any

import httpx
import pytest
import structlog
import trio

from proxy.telemetry.metrics import WebMetrics
from proxy.web.context import WebContext
from proxy.web.shell import REQUEST_LIMIT, REQUEST_TIMEOUT_S, SECURITY_HEADERS, Shell, host_name, hosts_for
from tests.proxy.web.fake_site import FakeSite
from tests.proxy.web.serving import Clock, bearer, local_client, serving


def client_of(app: Any, hosts: frozenset[str] | None = None) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(Shell(app, WebMetrics(), hosts))  # type: ignore[arg-type]
    return httpx.AsyncClient(transport=transport, base_url="http://site.example")


async def answer_nothing(_scope: Any, receive: Any, _send: Any) -> None:
    while (await receive()).get("more_body"):
        pass
    await trio.sleep_forever()


async def raise_a_bug(_scope: Any, _receive: Any, _send: Any) -> None:
    raise RuntimeError("secret detail")


@pytest.mark.parametrize("path", ["/", "/static/app.js", "/api/v1/status", "/nothing", "/schema", "/metrics", "/readyz"])
async def test_every_answer_carries_the_security_headers(path: str) -> None:
    async with local_client(WebContext(FakeSite(Clock()))) as client:
        answer = await client.get(path)
    for name, value in SECURITY_HEADERS:
        assert answer.headers[name.decode()] == value.decode()
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert "server" not in answer.headers


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost", 200), ("127.0.0.1", 200), ("[::1]", 200), ("LOCALHOST:8080", 200), ("evil.example", 421), ("", 421)],
)
async def test_on_loopback_only_local_names_are_answered(host: str, status: int) -> None:
    async with local_client(WebContext(FakeSite(Clock()))) as client:
        answer = await client.get("/healthz", headers={"Host": host})
    assert answer.status_code == status


def test_a_listener_for_the_network_answers_to_any_name() -> None:
    assert hosts_for("0.0.0.0") is None
    assert hosts_for("10.1.2.3") is None
    assert "[::1]" in (hosts_for("::1") or ())


def test_host_names_are_read_without_their_port() -> None:
    assert host_name("[::1]:8080") == "[::1]"
    assert host_name("LocalHost:80") == "localhost"
    assert host_name("127.0.0.1") == "127.0.0.1"
    assert host_name("[broken") == ""


async def test_an_answer_that_takes_too_long_becomes_a_503(autojump_clock: trio.testing.MockClock) -> None:
    async with client_of(answer_nothing) as client:
        answer = await client.get("/slow")
    assert answer.status_code == 503
    assert str(int(REQUEST_TIMEOUT_S)) in answer.json()["detail"]
    assert trio.current_time() >= REQUEST_TIMEOUT_S


async def test_a_body_that_never_comes_becomes_a_408(autojump_clock: trio.testing.MockClock) -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        await trio.sleep_forever()

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "PUT", "path": "/x", "headers": []}
    await Shell(answer_nothing, WebMetrics(), None)(scope, receive, send)  # type: ignore[arg-type]
    assert sent[0]["status"] == 408


async def test_a_bug_is_a_500_without_its_traceback_and_is_logged_with_it() -> None:
    with structlog.testing.capture_logs() as logs:
        async with client_of(raise_a_bug) as client:
            answer = await client.get("/x")
    assert answer.status_code == 500
    assert "secret detail" not in answer.text
    assert logs[0]["event"] == "http.failed"
    assert isinstance(logs[0]["exc_info"], RuntimeError)


async def test_a_bug_inside_a_handler_is_a_500_problem_and_the_next_request_works() -> None:
    site = FakeSite(Clock())
    async with local_client(WebContext(site)) as client:
        site.breaks = True
        with structlog.testing.capture_logs() as logs:
            answer = await client.get("/api/v1/status")
        assert answer.status_code == 500
        assert answer.headers["content-type"] == "application/problem+json"
        assert "mistake for the tests" not in answer.text
        assert logs[0]["event"] == "http.failed"
        site.breaks = False
        assert (await client.get("/api/v1/status")).status_code == 200


async def test_too_many_requests_at_once_are_told_to_come_back(nursery: trio.Nursery) -> None:
    is_done = trio.Event()

    async def wait(_scope: Any, _receive: Any, send: Any) -> None:
        await is_done.wait()
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async with client_of(wait) as client:
        for _ in range(REQUEST_LIMIT):
            nursery.start_soon(client.get, "/x")
        await trio.testing.wait_all_tasks_blocked()
        answer = await client.get("/x")
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "5"
        is_done.set()


async def test_head_answers_the_headers_of_get_without_a_body() -> None:
    async with serving(FakeSite(Clock())) as (client, _web):
        got, head = await client.get("/static/app.js"), await client.head("/static/app.js")
        assert head.status_code == 200
        assert head.headers["content-length"] == got.headers["content-length"]
        assert head.content == b""
        assert (await client.head("/events")).status_code == 405


async def test_a_wrong_method_and_a_wrong_path_are_problems_too() -> None:
    async with local_client(WebContext(FakeSite(Clock()))) as client:
        wrong_method = await client.delete("/api/v1/heat/demand", headers=bearer("operator"))
        wrong_path = await client.get("/api/v2/status")
    for answer, status in ((wrong_method, 405), (wrong_path, 404)):
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["remedy"]


async def test_requests_are_counted_by_method_and_status() -> None:
    web = WebContext(FakeSite(Clock()))
    async with local_client(web) as client:
        await client.get("/healthz")
        await client.request("BREW", "/healthz")
    counted = web.metrics.registry.get_sample_value
    assert counted("thermostratum_http_requests_total", {"method": "GET", "status": "200"}) == 1
    assert counted("thermostratum_http_requests_total", {"method": "other", "status": "405"}) == 1


async def test_web_sockets_are_refused() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await Shell(raise_a_bug, WebMetrics(), None)({"type": "websocket", "path": "/events"}, answer_nothing, send)  # type: ignore[arg-type]
    assert sent[0]["type"] == "websocket.close"
