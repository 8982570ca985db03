"""GET: settled periods, what they add up to, and the proof of heat. Reads only: `thermostratum ledger verify` proves the chain."""

from typing import Annotated

from litestar import get
from litestar.params import QueryParameter

from proxy.errors import StoreError
from proxy.heat.totals import SettlementDocument
from proxy.web.auth import Access, route
from proxy.web.context import Web
from proxy.web.problems import ProblemError, documented

DAY_S = 86_400
LONGEST_S = 8 * DAY_S
LATEST_UNIX_S = 10**11


@get(
    "/api/v1/settlement",
    **route(Access.READ),
    responses=documented(400, 401, 429, 503),
    tags=["heat"],
    summary="Settled periods and the proof of heat",
)
async def get_settlement(
    web: Web,
    start: Annotated[
        int | None,
        QueryParameter(name="from", ge=0, le=LATEST_UNIX_S, description="seconds since 1970; default: a day before `to`"),
    ] = None,
    end: Annotated[int | None, QueryParameter(name="to", ge=0, le=LATEST_UNIX_S, description="not included; default: now")] = None,
) -> SettlementDocument:
    """At most eight days at once; `thermostratum settle` writes more, and as CSV or PDF."""
    until = int(web.site.view().now_unix_s) + 1 if end is None else end
    since = max(0, until - DAY_S) if start is None else start
    if until <= since:
        raise ProblemError(400, "`to` is not after `from`.", "Give both in seconds since 1970; `to` is not included.")
    if until - since > LONGEST_S:
        raise ProblemError(400, "This is more than eight days.", "Ask several times, or use `thermostratum settle`.")
    try:
        return await web.site.settlement(since, until)
    except StoreError as error:
        raise ProblemError(503, f"The ledger cannot be read: {error}", "See /readyz and the log.") from error


HANDLERS = [get_settlement]
