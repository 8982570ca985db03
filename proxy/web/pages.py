"""Everything that is not the API: the page and its files, live events, metrics and health."""

from typing import Any

import msgspec
from litestar import Request, Response, asgi, get
from litestar.handlers import ASGIRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.plugins import OpenAPIRenderPlugin
from litestar.params import FromPath
from litestar.types import Receive, Scope, Send

from proxy.web.assets import Asset
from proxy.web.auth import Access, route
from proxy.web.context import Web, WebContext
from proxy.web.problems import ProblemError

OPEN = route(Access.OPEN)
READ = route(Access.READ)
METRICS_TYPE = "text/plain; version=0.0.4"


class Readiness(msgspec.Struct, frozen=True):
    """problems: one line each, with its remedy; empty when ready."""

    problems: list[str]


def _answer(request: Request[Any, Any, Any], asset: Asset) -> Response[bytes]:
    headers = {"ETag": asset.etag, "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == asset.etag:
        return Response(b"", status_code=304, headers=headers, media_type=asset.content_type)
    return Response(asset.content, headers=headers, media_type=asset.content_type)


@get("/", **OPEN, include_in_schema=False)
async def get_page(request: Request[Any, Any, Any], web: Web) -> Response[bytes]:
    """The live page. It holds no data: those come by the API, with the reader's key."""
    return _answer(request, web.assets["index.html"])


@get("/static/{path:path}", **OPEN, include_in_schema=False)
async def get_asset(request: Request[Any, Any, Any], web: Web, path: FromPath[str]) -> Response[bytes]:
    """One file of the page."""
    asset = web.assets.get(str(path).lstrip("/"))
    if asset is None:
        raise ProblemError(404, "The page has no such file.")
    return _answer(request, asset)


@get("/healthz", **OPEN, tags=["process"], summary="The process is alive")
async def get_health() -> dict[str, str]:
    """Says only that the event loop answers; restart the process when it does not."""
    return {"status": "alive"}


@get(
    "/readyz",
    **OPEN,
    responses={
        200: ResponseSpec(Readiness, generate_examples=False, description="ready"),
        503: ResponseSpec(Readiness, generate_examples=False, description="not ready"),
    },
    tags=["process"],
    summary="The site does its work",
)
async def get_readiness(web: Web) -> Response[Readiness]:
    """200 and an empty list when ready, 503 and one line a problem when not."""
    problems = web.site.health()
    return Response(Readiness(problems), status_code=503 if problems else 200)


@get("/metrics", **READ, include_in_schema=False)
async def get_metrics(web: Web) -> Response[bytes]:
    """Prometheus text format."""
    return Response(await web.exposition.text(), media_type=METRICS_TYPE)


def live_handler(web: WebContext) -> ASGIRouteHandler:
    """GET /events as a raw ASGI endpoint: it owns its nursery, so a page that leaves leaves nothing behind."""

    @asgi("/events", **READ, copy_scope=False)
    async def get_live(scope: Scope, receive: Receive, send: Send) -> None:
        method: object = dict(scope).get("method")  # mounted for every method; websockets end in the shell
        if method != "GET":
            raise ProblemError(405, "Live events are read with GET.", headers={"Allow": "GET"})
        await web.live.stream(receive, send)

    return get_live


class SchemaPage(OpenAPIRenderPlugin):
    """/schema: our own small page over /schema/openapi.json. The framework's pages load scripts from other sites."""

    def __init__(self, page: bytes) -> None:
        super().__init__(path="/", favicon="", style="")
        self._page = page

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        """The page; it fetches the schema itself."""
        return self._page


HANDLERS = [get_page, get_asset, get_health, get_readiness, get_metrics]
