"""The HTTP side as tests use it: really served on loopback, or called as an application."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import httpx
import trio

from proxy.web.context import WebContext
from proxy.web.server import build_app, serve_context
from proxy.web.shell import Shell, hosts_for
from tests.proxy.web.fake_site import KEYS, START_UNIX_S, FakeSite


class Clock:
    """A wall clock that stands until a test moves it."""

    def __init__(self, now_unix_s: float = START_UNIX_S + 7_260.0) -> None:
        self.now_unix_s = now_unix_s

    def __call__(self) -> float:
        return self.now_unix_s


def bearer(role: str) -> dict[str, str]:
    """The header with the key of a role."""
    return {"Authorization": f"Bearer {KEYS[role]}"}


def local_client(web: WebContext, address: str = "127.0.0.1", host: str = "localhost") -> httpx.AsyncClient:
    """A client of the whole application without a socket between."""
    shell = Shell(build_app(web), web.metrics, hosts_for("127.0.0.1"))
    transport = httpx.ASGITransport(shell, client=(address, 40_000))  # type: ignore[arg-type]
    return httpx.AsyncClient(transport=transport, base_url=f"http://{host}")


@asynccontextmanager
async def serving(
    site: FakeSite, shutdown: Callable[[], object] | None = None
) -> AsyncIterator[tuple[httpx.AsyncClient, WebContext]]:
    """`site` served by the real server on a free port of loopback."""
    web = WebContext(site)
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        url = await nursery.start(partial(serve_context, web, "127.0.0.1:0", shutdown=stop.wait))
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=10) as client:
            yield client, web
        stop.set()
