"""PUT and POST beside the demand itself: schedules, the outdoor temperature, the emergency stop, alarms that were looked at.

Nothing is decided here: the site judges and audits, and says why not. Bodies of one number are decoded on the way.
"""

from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, post, put
from litestar.datastructures import State
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Operation, Schema
from litestar.openapi.spec.enums import OpenAPIType
from litestar.params import JSONBody

from proxy.heat.inputs import HIGHEST_OUTDOOR_C, LOWEST_OUTDOOR_C
from proxy.heat.schedule import ScheduleAccepted
from proxy.heat.signals.schedules import LONGEST_S, MAX_BLOCKS, SHORTEST_S
from proxy.views import HeatView
from proxy.web.auth import Access, route
from proxy.web.bodies import MOMENT, NUMBER, WHOLE, body
from proxy.web.context import Web, actor_name
from proxy.web.problems import ProblemError, documented, judged

DEMAND = route(Access.DEMAND)
OPERATE = route(Access.OPERATE)


class Outdoor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """outdoor_c: degrees Celsius, measured just now; it expires after heat.curve.outdoor_stale_s."""

    outdoor_c: Annotated[float, msgspec.Meta(ge=LOWEST_OUTDOOR_C, le=HIGHEST_OUTDOOR_C)]


class Stop(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """stop: true puts everything to sleep; false takes back the stop of this key, and of no other."""

    stop: bool


Said = Annotated[str, msgspec.Meta(min_length=2, max_length=200, pattern=r"\S")]


class StopRelease(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """source: whose stop, as GET /api/v1/heat names it in `holds`; name: the person who releases it; reason: why it is safe."""

    source: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    name: Said
    reason: Said


class Acknowledged(msgspec.Struct, frozen=True):
    """Names of the alarms that were over and are forgotten, and of the loops that may come back."""

    acknowledged: list[str]


@dataclass
class ScheduleOperation(Operation):
    """Documents the body that the site judges itself."""

    def __post_init__(self) -> None:
        def each(what: str) -> Schema:
            text = f"{what} of each block; one of the two lists is needed"
            return Schema(type=OpenAPIType.ARRAY, items=NUMBER, min_items=1, max_items=MAX_BLOCKS, description=text)

        properties = {
            "sequence": WHOLE,
            "start": MOMENT,
            "step_s": Schema(
                type=OpenAPIType.NUMBER, description=f"length of a block, {SHORTEST_S:g} to {LONGEST_S:g}; default 900"
            ),
            "power_kw": each("thermal power"),
            "supply_c": each("supply temperature"),
            "ramp_kw_per_min": NUMBER,
            "source": Schema(type=OpenAPIType.STRING, description="who asks; default: the name of the key"),
            "epoch": WHOLE,
            "issued_at": MOMENT,
        }
        self.request_body = body(properties, ["sequence", "start"])


@put(
    "/api/v1/heat/schedule",
    **DEMAND,
    operation_class=ScheduleOperation,
    responses={200: ResponseSpec(ScheduleAccepted, generate_examples=False), **documented(400, 401, 403, 409, 413, 422, 429)},
    tags=["heat"],
    summary="Ask for heat ahead, block by block",
)
async def put_schedule(request: Request[Any, Any, State], web: Web) -> Response[Any]:
    """Each block is a demand in its time. All are taken or none; a repeat is answered again and changes nothing."""
    return judged(*web.site.put_schedule(await request.body(), actor_name(request)))


@put(
    "/api/v1/heat/outdoor",
    **DEMAND,
    responses=documented(400, 401, 403, 409, 413, 429),
    tags=["heat"],
    summary="Tell the outdoor temperature",
)
async def put_outdoor(request: Request[Any, Any, State], web: Web, data: JSONBody[Outdoor]) -> HeatView:
    """For the heat curve. The newest of all senders counts; one that jumps is not believed at once."""
    reason = web.site.set_outdoor(data.outdoor_c, actor_name(request))
    if reason is not None:
        raise ProblemError(409, reason, "Check the sensor and its unit, then send it again.")
    return web.site.view().heat


@put("/api/v1/heat/stop", **DEMAND, responses=documented(400, 401, 403, 413, 429), tags=["heat"], summary="Emergency stop")
async def put_stop(request: Request[Any, Any, State], web: Web, data: JSONBody[Stop]) -> HeatView:
    """Everything asleep at once, until the key that stopped it takes it back. It does not expire, and outlives a restart."""
    web.site.set_stop(data.stop, actor_name(request))
    return web.site.view().heat


@post(
    "/api/v1/heat/stop/release",
    **OPERATE,
    status_code=200,
    responses=documented(400, 401, 403, 409, 413, 429),
    tags=["heat"],
    summary="Release another sender's stop",
)
async def post_stop_release(request: Request[Any, Any, State], web: Web, data: JSONBody[StopRelease]) -> HeatView:
    """For a sender that will not take it back itself. One that still says stop holds it again with its next message."""
    problem = web.site.release_stop(data.source, data.name.strip(), data.reason.strip(), actor_name(request))
    if problem is not None:
        raise ProblemError(409, problem, "Name a source that `holds` of GET /api/v1/heat lists as a stop.")
    return web.site.view().heat


@post(
    "/api/v1/heat/alarms/acknowledge",
    **OPERATE,
    status_code=200,
    responses=documented(401, 403, 429),
    tags=["heat"],
    summary="Acknowledge alarms",
)
async def post_acknowledge(request: Request[Any, Any, State], web: Web) -> Acknowledged:
    """Forgets alarms that are over and lets a loop that tripped too often come back. What still stands stays."""
    return Acknowledged(web.site.acknowledge_alarms(actor_name(request)))


HANDLERS = [put_schedule, put_outdoor, put_stop, post_stop_release, post_acknowledge]
