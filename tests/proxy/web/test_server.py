"""Starting, stopping and being started wrongly."""

import re
import socket
from functools import partial

import httpx
import pytest
import structlog
import trio

from proxy.config import Api
from proxy.errors import ConfigError
from proxy.web.context import WebContext
from proxy.web.server import READER_TIMEOUT_MS, is_loopback, open_socket, parse_listen, serve, serve_context
from tests.proxy.web.fake_site import FakeSite
from tests.proxy.web.serving import Clock, serving
from tests.support.patience import PATIENCE_S


def test_listen_addresses_are_read() -> None:
    assert parse_listen("127.0.0.1:8080") == ("127.0.0.1", 8080)
    assert parse_listen("[::1]:0") == ("::1", 0)
    assert is_loopback("127.9.9.9")
    assert is_loopback("::1")
    assert is_loopback("localhost")
    assert not is_loopback("0.0.0.0")


@pytest.mark.parametrize("listen", ["8080", ":8080", "host:", "host:x", "host:70000", ""])
def test_a_listen_address_that_is_none_says_what_it_should_look_like(listen: str) -> None:
    with pytest.raises(ConfigError, match=re.escape("127.0.0.1:8080")):
        parse_listen(listen)


def test_a_port_in_use_is_a_configuration_error_with_a_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ConfigError, match="Choose another port"):
        open_socket("127.0.0.1", taken.getsockname()[1])


def test_the_kernel_ends_connections_whose_reader_stalls() -> None:
    with open_socket("127.0.0.1", 0) as listener:
        listener.listen()
        with socket.create_connection(listener.getsockname()), listener.accept()[0] as accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == READER_TIMEOUT_MS


async def test_serve_reports_its_url_and_ends_when_cancelled() -> None:
    async with trio.open_nursery() as nursery:
        url = await nursery.start(partial(serve, FakeSite(Clock()), "127.0.0.1:0"))
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.get(f"{url}/healthz")).status_code == 200
        nursery.cancel_scope.cancel()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(url.rsplit(":", 1)[1]))) != 0


async def test_cancelling_ends_a_server_that_has_a_live_page_open() -> None:
    web = WebContext(FakeSite(Clock()))
    async with httpx.AsyncClient(trust_env=False) as client, trio.open_nursery() as nursery:
        url = await nursery.start(partial(serve_context, web, "127.0.0.1:0"))
        async with client.stream("GET", f"{url}/events") as response:
            assert await anext(response.aiter_bytes())
            assert web.live.client_count == 1
            nursery.cancel_scope.cancel()
    assert web.live.client_count == 0


async def test_shutdown_ends_live_streams_in_order() -> None:
    web, stop = WebContext(FakeSite(Clock())), trio.Event()
    async with trio.open_nursery() as nursery, httpx.AsyncClient(trust_env=False) as client:
        url = await nursery.start(partial(serve_context, web, "127.0.0.1:0", shutdown=stop.wait))
        async with client.stream("GET", f"{url}/events") as response:
            chunks = response.aiter_bytes()
            assert await anext(chunks)
            stop.set()
            async for _ in chunks:  # ends by itself: no error, no hang
                pass
    assert web.live.client_count == 0


@pytest.mark.slow
async def test_the_beat_fills_the_history_and_survives_a_broken_view() -> None:
    clock = Clock()
    site = FakeSite(clock)
    site.breaks = True
    with structlog.testing.capture_logs() as logs:
        async with serving(site) as (_client, web):
            assert web.history.since(0) == []
            site.breaks = False
            clock.now_unix_s += 5
            with trio.fail_after(PATIENCE_S):
                while not web.history.since(0):
                    await trio.lowlevel.checkpoint()
    assert "live.failed" in {entry["event"] for entry in logs}


async def test_a_listener_for_the_network_without_keys_is_warned_about() -> None:
    site = FakeSite(Clock(), Api())
    with structlog.testing.capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(serve, site, "0.0.0.0:0"))
            nursery.cancel_scope.cancel()
    assert "api.exposed" in {entry["event"] for entry in logs}
