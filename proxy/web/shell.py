"""The outermost layer of HTTP: who is meant (Host), how much and how long, and the headers that keep a browser on our side.

Everything inside may fail; what leaves here is a complete answer or a closed connection, and never a traceback.
"""

from collections.abc import Collection
from typing import Any

import msgspec
import structlog
import trio
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from proxy.telemetry.metrics import WebMetrics
from proxy.web.problems import PROBLEM_JSON, document

log = structlog.get_logger()

REQUEST_TIMEOUT_S = 20.0
REQUEST_LIMIT = 256  # in flight at once, live pages included
LIVE_PATH = "/events"
METHODS = frozenset({"GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "TRACE"})  # others are one label value

SECURITY_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (
        b"content-security-policy",
        b"default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)


class _Exchange:
    """One request: remembers what was read and sent, and adds the headers to whatever is answered."""

    __slots__ = ("_receive", "_send", "is_body_read", "is_head", "is_started", "status")

    def __init__(self, receive: Receive, send: Send, is_head: bool) -> None:
        self._receive = receive
        self._send = send
        self.is_head = is_head
        self.is_body_read = False
        self.is_started = False
        self.status = 0

    async def receive(self) -> Any:
        message = await self._receive()
        if message["type"] != "http.request" or not message.get("more_body", False):
            self.is_body_read = True
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.is_started = True
            self.status = message["status"]
            present = {name.lower() for name, _ in message["headers"]}
            extra = [(name, value) for name, value in SECURITY_HEADERS if name not in present]
            message = {**message, "headers": [*message["headers"], *extra]}
        elif message["type"] == "http.response.body" and self.is_head:
            message = {**message, "body": b""}
        await self._send(message)

    async def answer(self, status: int, detail: str, remedy: str | None = None) -> None:
        body = msgspec.json.encode(document(status, detail, remedy))
        headers = [(b"content-type", PROBLEM_JSON.encode()), (b"content-length", str(len(body)).encode())]
        if status == 503:
            headers.append((b"retry-after", b"5"))
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body, "more_body": False})


class Shell:
    """ASGI application around the real one. `hosts`: names it answers to, None for any (see `hosts_for`)."""

    def __init__(self, app: ASGIApp, metrics: WebMetrics, hosts: Collection[str] | None) -> None:
        self._app = app
        self._metrics = metrics
        self._hosts = hosts
        self._in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope; WebSockets are refused."""
        kind: str = scope["type"]
        if kind == "lifespan":
            await self._app(scope, receive, send)
        elif kind == "http":
            await self._serve(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1003, "reason": "no WebSockets here; use GET /events"})

    async def _serve(self, scope: Any, receive: Receive, send: Send) -> None:
        method = scope["method"]
        is_live = scope["path"] == LIVE_PATH
        exchange = _Exchange(receive, send, is_head=method == "HEAD")
        if exchange.is_head and not is_live:
            scope = {**scope, "method": "GET"}
        self._in_flight += 1
        try:
            if not self._is_meant(scope):
                await exchange.answer(421, "This Host name is not ours.", "Open the page by http://localhost or http://127.0.0.1.")
            elif self._in_flight > REQUEST_LIMIT:
                await exchange.answer(503, f"{REQUEST_LIMIT} requests are being answered already.")
            else:
                await self._run(scope, exchange, float("inf") if is_live else REQUEST_TIMEOUT_S)
        finally:
            self._in_flight -= 1
            self._metrics.requests.labels(method if method in METHODS else "other", str(exchange.status)).inc()

    async def _run(self, scope: Any, exchange: _Exchange, timeout_s: float) -> None:
        try:
            with trio.move_on_after(timeout_s) as deadline:
                await self._app(scope, exchange.receive, exchange.send)
        except Exception as error:
            log.error("http.failed", path=scope["path"], method=scope["method"], exc_info=error)
            if exchange.is_started:
                raise
            await exchange.answer(500, "The proxy made a mistake while it answered this request.")
            return
        if deadline.cancelled_caught and not exchange.is_started:
            if exchange.is_body_read:
                await exchange.answer(503, f"The answer took more than {timeout_s:.0f} s.")
            else:
                await exchange.answer(408, f"The request was not complete after {timeout_s:.0f} s.")

    def _is_meant(self, scope: Any) -> bool:
        """A page on the internet can make a browser send requests here under its own name (DNS rebinding): refuse such names."""
        if self._hosts is None:
            return True
        host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")
        return host_name(host) in self._hosts


def host_name(host: str) -> str:
    """The name in a Host header, without its port: `[::1]:8080` gives `[::1]`."""
    if host.startswith("["):
        return host[: host.find("]") + 1].lower()
    return host.partition(":")[0].lower()


def hosts_for(listen_host: str) -> frozenset[str] | None:
    """The names to answer to: only local ones when listening on loopback, any when the network may come in anyway."""
    if listen_host == "localhost" or listen_host.startswith("127.") or listen_host in ("::1", "[::1]"):
        return frozenset({"localhost", "127.0.0.1", "[::1]", host_name(listen_host)})
    return None
