"""Puts the HTTP side together and serves it on the event loop we already run: Litestar in a shell, on hypercorn, on trio."""

import ipaddress
import socket
from collections.abc import Awaitable, Callable
from functools import partial

import structlog
import trio
from hypercorn.config import Config
from hypercorn.trio import serve as hypercorn_serve
from litestar import Litestar, Router
from litestar.di import Provide
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme

from proxy.errors import ConfigError
from proxy.web import controls, heat_controls, pages, planning, reads, settlement
from proxy.web.auth import Access, Guard
from proxy.web.context import WebContext
from proxy.web.history import sample_of
from proxy.web.problems import EXCEPTION_HANDLERS
from proxy.web.shell import Shell, hosts_for
from proxy.web.site import Site

log = structlog.get_logger()

BODY_LIMIT = 65_536
BEAT_S = 1.0
GRACE_S = 2.0  # for requests in flight when the server stops
READER_TIMEOUT_MS = 15_000  # a page that takes nothing for so long is cut off by the kernel


def build_app(web: WebContext) -> Litestar:
    """The application without its shell: routes, the guard, error documents and the schema."""
    guard = Guard(web.site, web.metrics)
    schemes: dict[str, SecurityScheme] = {
        "bearer": SecurityScheme(type="http", scheme="bearer", description="a key of [[api.keys]]"),
        "key": SecurityScheme(type="apiKey", name="X-API-Key", security_scheme_in="header", description="the same key"),
    }
    return Litestar(
        route_handlers=[
            *reads.HANDLERS,
            *controls.HANDLERS,
            *heat_controls.HANDLERS,
            *planning.HANDLERS,
            *settlement.HANDLERS,
            *pages.HANDLERS,
            pages.live_handler(web),
        ],
        dependencies={"web": Provide(lambda: web, sync_to_thread=False)},
        guards=[guard],
        exception_handlers=EXCEPTION_HANDLERS,
        request_max_body_size=BODY_LIMIT,
        openapi_config=OpenAPIConfig(
            title="Thermostratum",
            version="1",
            description="Heat demand in, work and heat out. Power in watts, times in seconds, unknown values null.",
            use_handler_docstrings=True,
            components=Components(security_schemes=dict(schemes)),
            openapi_router=Router("/schema", route_handlers=[], include_in_schema=False, opt={"access": Access.OPEN}),
            render_plugins=[pages.SchemaPage(web.assets["schema.html"].content), JsonRenderPlugin()],
        ),
        logging_config=None,
        debug=False,
    )


def parse_listen(listen: str) -> tuple[str, int]:
    """`host:port` or `[v6]:port`. Raises ConfigError saying what is wrong."""
    host, _, port = listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdigit() or int(port) > 65_535:
        raise ConfigError([f"api.listen: `{listen}` is not host:port, such as 127.0.0.1:8080"])
    return host, int(port)


def open_socket(host: str, port: int) -> socket.socket:
    """A listening socket whose connections the kernel ends when their reader stops reading.

    The timeout matters: hypercorn shields its writes, so without it one stalled page would hold up the end of the process.
    Raises ConfigError when the address cannot be used.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, READER_TIMEOUT_MS)
        sock.bind((host, port))
    except OSError as error:
        raise ConfigError(
            [f"api.listen: cannot listen on {host}:{port}: {error.strerror}. Choose another port, or end its user."]
        ) from error
    return sock


def is_loopback(host: str) -> bool:
    """True when only this machine can reach `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def serve(
    site: Site,
    listen: str,
    *,
    shutdown: Callable[[], Awaitable[None]] | None = None,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve `site` on `listen` until `shutdown` returns (then requests in flight get 2 s) or the task is cancelled.

    Reports the URL once it answers. Raises ConfigError when it cannot listen there.
    """
    await serve_context(WebContext(site), listen, shutdown=shutdown, task_status=task_status)


async def serve_context(
    web: WebContext,
    listen: str,
    *,
    shutdown: Callable[[], Awaitable[None]] | None = None,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """`serve` for a caller that holds the context, such as a test that looks into it."""
    host, port = parse_listen(listen)
    sock = open_socket(host, port)
    if not is_loopback(host) and not web.site.api.keys:
        log.warning("api.exposed", listen=listen, remedy="the network can read this site; add [[api.keys]] and open_reads = false")
    config = Config()
    config.bind = [f"fd://{sock.detach()}"]
    config.accesslog = None
    config.errorlog = None
    config.graceful_timeout = GRACE_S
    config.include_server_header = False
    config.h11_max_incomplete_size = 16_384
    shell = Shell(build_app(web), web.metrics, hosts_for(host))

    async def stop_trigger() -> None:
        await (shutdown or trio.sleep_forever)()
        web.live.close()

    run_http = partial(hypercorn_serve, shell, config, shutdown_trigger=stop_trigger)  # type: ignore[arg-type]  # ASGI by two names
    async with trio.open_nursery() as beat:
        beat.start_soon(_beat, web, name="web.beat")
        async with trio.open_nursery() as http:
            urls: list[str] = await http.start(run_http, name="web.http")
            log.info("api.listening", url=urls[0])
            task_status.started(urls[0])
        beat.cancel_scope.cancel()


async def _beat(web: WebContext) -> None:
    """Once a second: one sample for the history, one message for the pages. A bug in a view costs that second, not the server."""
    next_s = trio.current_time()
    while True:
        try:
            view = web.site.view()
            web.history.add(sample_of(view))
            web.live.tick(view)
        except Exception as error:
            log.error("live.failed", exc_info=error)
        next_s = max(next_s + BEAT_S, trio.current_time())
        await trio.sleep_until(next_s)
