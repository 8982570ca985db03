"""GET: the API's reads. Each answers a view as it is; nothing here computes or changes anything."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
from litestar import MediaType, Request, Response, get
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import OpenAPIMediaType, OpenAPIResponse, Operation, Schema
from litestar.openapi.spec.enums import OpenAPIType
from litestar.params import PathParameter, QueryParameter

from proxy.events import Event
from proxy.views import HeatView, MeterView, PoolView, SiteView, UnitView
from proxy.web.auth import Access, route
from proxy.web.context import Web
from proxy.web.history import Columns, columns
from proxy.web.problems import ProblemError, documented

READ = route(Access.READ)
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


@get("/api/v1/status", **READ, responses=documented(401, 429), tags=["site"], summary="The whole site in one piece")
async def get_status(web: Web) -> SiteView:
    """State of heat, shares, pools and the process."""
    return web.site.view()


@get("/api/v1/heat", **READ, responses=documented(401, 429), tags=["heat"], summary="Demand against delivery")
async def get_heat(web: Web) -> HeatView:
    """What is asked for, what is delivered, and what limits it."""
    return web.site.view().heat


@get("/api/v1/meters", **READ, responses=documented(401, 429), tags=["heat"], summary="Every meter")
async def get_meters(web: Web) -> list[MeterView]:
    """What each heat and electricity meter shows, and why one that is not believed is left out."""
    return web.site.view().meters


@get("/api/v1/pools", **READ, responses=documented(401, 429), tags=["pools"], summary="Every configured pool")
async def get_pools(web: Web) -> list[PoolView]:
    """State and accounting of each pool."""
    return web.site.view().pools


def _csv_cell(value: object) -> object:
    """A spreadsheet must not run what a miner sent as its name."""
    if isinstance(value, str) and value.startswith(FORMULA_STARTS):
        return "'" + value
    return value


def units_csv(units: Sequence[UnitView]) -> bytes:
    """All fields of the units with a header line; unknown is an empty cell, times and numbers as in the JSON."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(UnitView.__struct_fields__)
    for unit in units:
        writer.writerow([_csv_cell(value) for value in msgspec.structs.astuple(unit)])
    return text.getvalue().encode()


@dataclass
class UnitsOperation(Operation):
    """Documents the second form of the answer."""

    def __post_init__(self) -> None:
        answer = (self.responses or {}).get("200")
        if isinstance(answer, OpenAPIResponse) and answer.content is not None:
            answer.content["text/csv"] = OpenAPIMediaType(schema=Schema(type=OpenAPIType.STRING))


@get(
    "/api/v1/units",
    **READ,
    operation_class=UnitsOperation,
    responses={
        200: ResponseSpec(list[UnitView], generate_examples=False, description="JSON, or CSV when asked for"),
        **documented(400, 401, 429),
    },
    tags=["units"],
    summary="Every configured unit",
)
async def get_units(
    request: Request[Any, Any, Any],
    web: Web,
    loop: Annotated[str | None, QueryParameter(max_length=63, description="only units of this loop")] = None,
    unit_state: Annotated[str | None, QueryParameter(name="state", description="only units in this state")] = None,
    format: Annotated[Literal["csv", "json"] | None, QueryParameter(description="what to answer")] = None,  # noqa: A002  # its public name
) -> Response[list[UnitView] | bytes]:
    """Units in the order of the configuration. `Accept: text/csv` or `?format=csv` gives a table."""
    units = [
        unit
        for unit in web.site.units()
        if (loop is None or unit.loop == loop) and (unit_state is None or unit.state.lower() == unit_state.lower())
    ]
    wants_csv = format == "csv" or (format is None and "text/csv" in request.headers.get("accept", ""))
    if not wants_csv:
        return Response(units, media_type=MediaType.JSON)
    headers = {"Content-Disposition": 'attachment; filename="units.csv"'}
    return Response(units_csv(units), media_type="text/csv", headers=headers)


@get("/api/v1/units/{unit_id:str}", **READ, responses=documented(401, 404, 429), tags=["units"], summary="One unit")
async def get_unit(web: Web, unit_id: Annotated[str, PathParameter(max_length=63)]) -> UnitView:
    """What was asked of it, what it says, what its shares prove."""
    unit = web.site.unit(unit_id)
    if unit is None:
        raise ProblemError(404, "No unit of this id is configured.")
    return unit


@get("/api/v1/events", **READ, responses=documented(400, 401, 429), tags=["site"], summary="Recent events, oldest first")
async def get_events(
    web: Web, since: Annotated[int, QueryParameter(ge=0, le=2**62, description="only events after this seq")] = 0
) -> list[Event]:
    """The kept events after `since`. A gap in `seq` means that more happened than is kept."""
    return web.site.events.since(since)


@get("/api/v1/history", **READ, responses=documented(400, 401, 429), tags=["site"], summary="The last two hours")
async def get_history(
    web: Web,
    since: Annotated[float, QueryParameter(ge=0, le=1e12, description="only samples after this time, seconds since 1970")] = 0.0,
) -> Columns:
    """One sample a second for ten minutes, one in ten seconds for two hours; since the start of the process at most."""
    return columns(web.history.since(since))


HANDLERS = [get_status, get_heat, get_meters, get_pools, get_units, get_unit, get_events, get_history]
