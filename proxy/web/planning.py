"""The plan two days ahead over HTTP: what is sent for it, and the plan itself.

Nothing is decided here. Prices are the operator's business; schedules, outdoor forecasts and the tank may be the utility's as well.
"""

from dataclasses import dataclass
from typing import Any

import msgspec
from litestar import Request, Response, get, put
from litestar.datastructures import State
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Operation, Schema
from litestar.openapi.spec.enums import OpenAPIType

from proxy.heat.forecast import ForecastTaken, TankTaken
from proxy.views import PlanBlocks, PlanView
from proxy.web.auth import Access, route
from proxy.web.bodies import MAYBE_NUMBER, MOMENT, body
from proxy.web.context import Web, actor_name
from proxy.web.problems import ProblemError, documented, judged


class PlanDocument(msgspec.Struct, frozen=True):
    """The plan in force and its blocks in columns; without a plan the columns are empty and `plan.reasons` says why."""

    plan: PlanView
    blocks: PlanBlocks


def _series(what: str) -> Schema:
    return Schema(
        type=[OpenAPIType.OBJECT, OpenAPIType.NULL],
        description=f"{what}; null takes it away",
        properties={
            "start": MOMENT,
            "step_s": Schema(type=OpenAPIType.NUMBER, description="how long each value holds, 60 to 86400"),
            "values": Schema(type=OpenAPIType.ARRAY, items=MAYBE_NUMBER, description="null: unknown"),
        },
        required=["start", "step_s", "values"],
    )


@dataclass
class PricesOperation(Operation):
    """Documents the body that the site judges itself."""

    def __post_init__(self) -> None:
        self.request_body = body(
            {
                "electricity_per_kwh": _series("what a kWh of electricity costs"),
                "work_per_th_day": _series("what 1 TH/s earns in a day"),
                "issued_at": MOMENT,
                "valid_until": MOMENT,
            }
        )


@dataclass
class ForecastOperation(Operation):
    """Documents the body of schedule and outdoor forecast."""

    def __post_init__(self) -> None:
        self.request_body = body(
            {
                "demand_kw": _series("heat that will be asked for"),
                "outdoor_c": _series("outdoor temperature, for the heat curve where there is no schedule"),
                "issued_at": MOMENT,
                "valid_until": MOMENT,
            }
        )


@dataclass
class TankOperation(Operation):
    """Documents the body of a tank reading."""

    def __post_init__(self) -> None:
        content = Schema(type=OpenAPIType.NUMBER, description="usable heat in the tank, kWh; 0 is empty")
        self.request_body = body({"content_kwh": content, "at": MOMENT}, ["content_kwh"])


@put(
    "/api/v1/prices",
    **route(Access.OPERATE),
    operation_class=PricesOperation,
    responses={200: ResponseSpec(ForecastTaken, generate_examples=False), **documented(400, 401, 403, 409, 413, 422, 429)},
    tags=["plan"],
    summary="Tell prices ahead",
)
async def put_prices(request: Request[Any, Any, State], web: Web) -> Response[Any]:
    """Replaces the price series that are in the body; a new plan is made at once. Where no price reaches, [heat.costs] holds."""
    return judged(*web.site.put_prices(await request.body(), actor_name(request)))


@put(
    "/api/v1/heat/forecast",
    **route(Access.DEMAND),
    operation_class=ForecastOperation,
    responses={200: ResponseSpec(ForecastTaken, generate_examples=False), **documented(400, 401, 403, 409, 413, 422, 429)},
    tags=["plan"],
    summary="Tell demand or outdoor temperature ahead",
)
async def put_forecast(request: Request[Any, Any, State], web: Web) -> Response[Any]:
    """Replaces the series that are in the body; a new plan is made at once. A schedule is no demand: it moves no unit by itself."""
    return judged(*web.site.put_forecast(await request.body(), actor_name(request)))


@put(
    "/api/v1/heat/tank",
    **route(Access.DEMAND),
    operation_class=TankOperation,
    responses={200: ResponseSpec(TankTaken, generate_examples=False), **documented(400, 401, 403, 409, 413, 422, 429)},
    tags=["plan"],
    summary="Tell what the storage tank holds",
)
async def put_tank(request: Request[Any, Any, State], web: Web) -> Response[Any]:
    """It expires after heat.planner.tank_stale_s; without it the tank is left alone."""
    return judged(*web.site.put_tank(await request.body(), actor_name(request)))


@get("/api/v1/heat/plan", **route(Access.READ), responses=documented(401, 404, 429), tags=["plan"], summary="The plan ahead")
async def get_plan(web: Web) -> PlanDocument:
    """What units, tank and back-up boiler are to do in each block, at which prices, and what is short."""
    plan, blocks = web.site.view().plan, web.site.plan_blocks()
    if plan is None or blocks is None:
        raise ProblemError(404, "The planner of this site is off.", "Set heat.planner.enabled in the site file.")
    return PlanDocument(plan, blocks)


HANDLERS = [put_prices, put_forecast, put_tank, get_plan]
