"""PUT and POST: what an operator or a utility may ask for. Each call goes to the site with the name of its key.

Nothing is decided here: ranges that make sense for this site, interlocks, dwell times and the audit are the site's, and so is the
reason it gives.
"""

from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, post, put
from litestar.datastructures import State
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Operation, Schema
from litestar.openapi.spec.enums import OpenAPIType
from litestar.params import JSONBody, PathParameter

from proxy.heat.demand import DemandAccepted, MeterAccepted, MeterReading
from proxy.views import HeatView
from proxy.web.auth import Access, route
from proxy.web.bodies import MAYBE_NUMBER, MOMENT, NUMBER, body
from proxy.web.context import Web, WebContext, actor_name
from proxy.web.problems import ProblemError, documented, judged

UnitId = Annotated[str, PathParameter(max_length=63)]
OPERATE = route(Access.OPERATE)
DEMAND = route(Access.DEMAND)


class ManualLimit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """power_w: most electrical power of the site; null takes the manual limit away."""

    power_w: Annotated[float, msgspec.Meta(ge=0, le=1e10)] | None


class Service(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """in_service: true takes the unit out of automatic control."""

    in_service: bool
    note: Annotated[str, msgspec.Meta(max_length=200)] = ""


class Work(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """withheld_s: no work for so long, at most 300 s; ask again to go on. null gives it back."""

    withheld_s: Annotated[float, msgspec.Meta(gt=0, le=300)] | None


class LevelCommand(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """level: 0 is asleep, then the model's levels in rising power."""

    level: Annotated[int, msgspec.Meta(ge=0, le=16)]


class Done(msgspec.Struct, frozen=True):
    """What was asked of which unit was taken."""

    unit: str
    done: str


class Reloaded(msgspec.Struct, frozen=True):
    """The configuration was read again and applied."""

    actor: str


@dataclass
class DemandOperation(Operation):
    """Documents the body that the site judges itself: it is audited as it came, so it is not decoded on the way."""

    def __post_init__(self) -> None:
        self.request_body = body(
            {
                "sequence": Schema(type=OpenAPIType.INTEGER, description="rises with each demand; older ones are refused"),
                "power_kw": Schema(type=OpenAPIType.NUMBER, description="thermal power, kilowatts; needed without supply_c"),
                "supply_c": Schema(type=OpenAPIType.NUMBER, description="supply temperature asked for, degrees Celsius"),
                "ramp_kw_per_min": Schema(type=OpenAPIType.NUMBER, description="slower than the site's own ramp, thermal"),
                "source": Schema(type=OpenAPIType.STRING, description="who asks; default: the name of the key"),
                "epoch": Schema(type=OpenAPIType.INTEGER, description="rises when the sender starts its numbers anew"),
                "issued_at": MOMENT,
                "valid_from": MOMENT,
                "valid_until": MOMENT,
                "validity_s": Schema(type=OpenAPIType.NUMBER, description="instead of valid_until"),
            },
            ["sequence"],
        )


@dataclass
class MeterOperation(Operation):
    """Documents the body of a meter reading."""

    def __post_init__(self) -> None:
        fields = dict.fromkeys(MeterReading.__struct_fields__, MAYBE_NUMBER)
        self.request_body = body({**fields, "at_unix_s": NUMBER, "heat_w": NUMBER}, ["at_unix_s", "heat_w"])


def _taken(unit_id: str, reason: str | None, done: str) -> Done:
    if reason is not None:
        raise ProblemError(409, reason)
    return Done(unit_id, done)


def _require_unit(web: WebContext, unit_id: str) -> None:
    if web.site.unit(unit_id) is None:
        raise ProblemError(404, "No unit of this id is configured.")


@put(
    "/api/v1/heat/demand",
    **DEMAND,
    operation_class=DemandOperation,
    responses={200: ResponseSpec(DemandAccepted, generate_examples=False), **documented(400, 401, 403, 409, 413, 422, 429, 503)},
    tags=["heat"],
    summary="Ask for heat",
)
async def put_demand(request: Request[Any, Any, State], web: Web) -> Response[Any]:
    """Replaces the demand that is valid now. Refused demands say why and which sequence number was the last."""
    return judged(*web.site.submit_demand(await request.body(), actor_name(request)))


@put(
    "/api/v1/heat/meter",
    **DEMAND,
    operation_class=MeterOperation,
    responses={200: ResponseSpec(MeterAccepted, generate_examples=False), **documented(400, 401, 403, 409, 413, 422, 429, 503)},
    tags=["heat"],
    summary="Report the heat meter",
)
async def put_meter(request: Request[Any, Any, State], web: Web) -> Response[Any]:
    """One reading of the meter at the boundary; it expires like every reading."""
    return judged(*web.site.push_meter(await request.body(), actor_name(request)))


@put("/api/v1/heat/limit", **OPERATE, responses=documented(400, 401, 403, 413, 429), tags=["heat"], summary="Limit by hand")
async def put_limit(request: Request[Any, Any, State], web: Web, data: JSONBody[ManualLimit]) -> HeatView:
    """Caps the site's electrical power until it is taken away again. Interlocks stay above it."""
    web.site.set_manual_limit(data.power_w, actor_name(request))
    return web.site.view().heat


@put(
    "/api/v1/units/{unit_id:str}/service",
    **OPERATE,
    responses=documented(400, 401, 403, 404, 409, 413, 429),
    tags=["units"],
    summary="Take a unit out for service, or back",
)
async def put_service(request: Request[Any, Any, State], web: Web, unit_id: UnitId, data: JSONBody[Service]) -> Done:
    """A unit in service is never commanded automatically."""
    _require_unit(web, unit_id)
    reason = web.site.set_service(unit_id, data.in_service, data.note, actor_name(request))
    return _taken(unit_id, reason, "taken out for service" if data.in_service else "back from service")


@put(
    "/api/v1/units/{unit_id:str}/work",
    **OPERATE,
    responses=documented(400, 401, 403, 404, 409, 413, 429),
    tags=["units"],
    summary="Keep work from a unit on trial, or give it back",
)
async def put_work(request: Request[Any, Any, State], web: Web, unit_id: UnitId, data: JSONBody[Work]) -> Done:
    """Only for a unit in service: to record what its model does without work. It ends by itself."""
    _require_unit(web, unit_id)
    reason = web.site.withhold_work(unit_id, data.withheld_s, actor_name(request))
    return _taken(unit_id, reason, "work given back" if data.withheld_s is None else f"no work for {data.withheld_s:g} s")


@put(
    "/api/v1/units/{unit_id:str}/level",
    **OPERATE,
    status_code=202,
    responses=documented(400, 401, 403, 404, 409, 413, 429),
    tags=["units"],
    summary="Command a power level by hand",
)
async def put_level(request: Request[Any, Any, State], web: Web, unit_id: UnitId, data: JSONBody[LevelCommand]) -> Done:
    """Taken, not done: the unit's view shows when it follows. Automatic control may change it again unless it is in service."""
    _require_unit(web, unit_id)
    return _taken(unit_id, web.site.command_unit(unit_id, data.level, actor_name(request)), f"level {data.level} commanded")


@post(
    "/api/v1/units/{unit_id:str}/accept-serial",
    **OPERATE,
    status_code=200,
    responses=documented(401, 403, 404, 409, 429),
    tags=["units"],
    summary="Accept a replaced machine",
)
async def post_accept_serial(request: Request[Any, Any, State], web: Web, unit_id: UnitId) -> Done:
    """Another machine answers at this unit's address: take its serial number as the right one."""
    _require_unit(web, unit_id)
    return _taken(unit_id, web.site.accept_serial(unit_id, actor_name(request)), "serial number accepted")


@post(
    "/api/v1/units/{unit_id:str}/clear-fault",
    **OPERATE,
    status_code=200,
    responses=documented(401, 403, 404, 409, 429),
    tags=["units"],
    summary="Clear a unit's fault",
)
async def post_clear_fault(request: Request[Any, Any, State], web: Web, unit_id: UnitId) -> Done:
    """Somebody has dealt with it: the unit is taken as it is found next. A fault that is still there comes back."""
    _require_unit(web, unit_id)
    return _taken(unit_id, web.site.clear_fault(unit_id, actor_name(request)), "fault cleared")


@post(
    "/api/v1/reload",
    **OPERATE,
    status_code=200,
    responses=documented(401, 403, 409, 429),
    tags=["site"],
    summary="Read the configuration again",
)
async def post_reload(request: Request[Any, Any, State], web: Web) -> Reloaded:
    """All or nothing: with any mistake in the file, everything stays as it was (409 lists the mistakes)."""
    actor = actor_name(request)
    problems = await web.site.reload(actor)
    if problems:
        raise ProblemError(409, "The configuration has mistakes; nothing was changed.", "Mend the file.", problems=problems)
    return Reloaded(actor)


HANDLERS = [put_demand, put_meter, put_limit, put_service, put_work, put_level, post_accept_serial, post_clear_fault, post_reload]
