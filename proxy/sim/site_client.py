"""A client of the product's public HTTP API, as a utility's gateway or an operator's script would be one.

Every failure is a value (`Answer.is_ok`, None), because a simulated customer retries or reports and never falls over. It keeps no
state and repeats nothing by itself.
"""

from collections.abc import Mapping
from typing import Self

import httpx
import msgspec
import trio

from proxy.views import SiteView

TIMEOUT_S = 5.0
_BODY_TEXT_LIMIT = 300


class Answer(msgspec.Struct, frozen=True):
    """status: of HTTP, None when nobody answered. reason: the server's words for a refusal, or what failed."""

    status: int | None
    reason: str = ""

    @property
    def is_ok(self) -> bool:
        """The request was taken."""
        return self.status is not None and 200 <= self.status < 300


class _Problem(msgspec.Struct):
    detail: str
    remedy: str | None = None


class SiteClient:
    """One caller with one key. It works while `hold_open` runs."""

    def __init__(self, base_url: str, key: str | None = None, transport: httpx.AsyncBaseTransport | None = None) -> None:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        # Only ever loopback here: a proxy from the environment would be in the way.
        self._http = httpx.AsyncClient(base_url=base_url, headers=headers, timeout=TIMEOUT_S, trust_env=False, transport=transport)

    async def hold_open(self, *, task_status: trio.TaskStatus[Self] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep connections for reuse until cancelled; for `nursery.start`, which gets the client."""
        async with self._http:
            task_status.started(self)
            await trio.sleep_forever()

    async def put_demand(self, epoch: int, sequence: int, power_w: float, validity_s: float) -> Answer:
        """Ask for heat, from now on."""
        body = {"epoch": epoch, "sequence": sequence, "power_kw": round(power_w / 1_000.0, 3), "validity_s": validity_s}
        return await self._call("PUT", "/api/v1/heat/demand", body)

    async def put_meter(self, at_unix_s: float, heat_w: float, supply_c: float, return_c: float, energy_wh: float) -> Answer:
        """Hand over one reading of the boundary meter."""
        body = {
            "at_unix_s": at_unix_s,
            "heat_w": heat_w,
            "supply_c": supply_c,
            "return_c": return_c,
            "energy_wh": energy_wh,
        }
        return await self._call("PUT", "/api/v1/heat/meter", body)

    async def set_service(self, unit_id: str, in_service: bool, note: str) -> Answer:
        """Take a unit out of automatic control (True) or give it back."""
        return await self._call("PUT", f"/api/v1/units/{unit_id}/service", {"in_service": in_service, "note": note})

    async def is_ready(self) -> Answer:
        """The readiness check; its reason says what is missing."""
        return await self._call("GET", "/readyz", None)

    async def status(self) -> SiteView | None:
        """The whole site, None when it cannot be had."""
        try:
            response = await self._http.get("/api/v1/status")
        except httpx.HTTPError:
            return None
        if response.status_code != httpx.codes.OK:
            return None
        try:
            return msgspec.json.decode(response.content, type=SiteView)
        except msgspec.DecodeError:
            return None

    async def _call(self, method: str, path: str, body: Mapping[str, object] | None) -> Answer:
        try:
            response = await self._http.request(method, path, json=body)
        except httpx.HTTPError as error:
            return Answer(None, str(error) or type(error).__name__)
        return Answer(response.status_code, "" if response.is_success else _reason(response))


def _reason(response: httpx.Response) -> str:
    """The words of a refusal: RFC 9457's detail where there is one, or all of it."""
    try:
        problem = msgspec.json.decode(response.content, type=_Problem)
    except msgspec.DecodeError:
        return response.text[:_BODY_TEXT_LIMIT]
    return " ".join(text for text in (problem.detail, problem.remedy) if text)[:_BODY_TEXT_LIMIT]
