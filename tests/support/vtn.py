"""A server (VTN) of OpenADR 3.1 in miniature, after its published OpenAPI file: strict in what it takes, faulty on demand.

Requests are checked here by records of its own, not by those of the product, so that a slip in a name shows.
"""

import json
from collections.abc import Iterator
from typing import Annotated, Any, Literal
from urllib.parse import parse_qs

import msgspec
import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from msgspec import Meta

ObjectId = Annotated[str, Meta(pattern=r"^[a-zA-Z0-9_-]*$", min_length=1, max_length=128)]
Name = Annotated[str, Meta(min_length=1, max_length=128)]
DateTime = Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$")]
Duration = Annotated[
    str, Meta(pattern=r"^(-?)P(?=\d|T\d)(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)([DW]))?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?$")
]


class Strict(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """Base: a field that the specification does not name is a mistake."""


class ValuesMap(Strict):
    type: Name
    values: list[float | str | bool]


class IntervalPeriod(Strict):
    start: DateTime | None = None
    duration: Duration | None = None
    randomize_start: Duration | None = None


class Interval(Strict):
    id: int
    payloads: list[ValuesMap]
    interval_period: IntervalPeriod | None = None


class ReportPayloadDescriptor(Strict):
    object_type: Literal["REPORT_PAYLOAD_DESCRIPTOR"]
    payload_type: Name
    reading_type: str | None = None
    units: Literal["KWH", "KW", "CELSIUS", "PERCENT"] | None = None
    accuracy: float | None = None
    confidence: int | None = None


class Resource(Strict):
    resource_name: Name
    intervals: list[Interval]
    interval_period: IntervalPeriod | None = None


class ReportRequest(Strict):
    event_id: ObjectId = msgspec.field(name="eventID")
    client_name: Name
    resources: list[Resource]
    report_name: str | None = None
    payload_descriptors: list[ReportPayloadDescriptor] | None = None


class VenVenRequest(Strict):
    object_type: Literal["VEN_VEN_REQUEST"]
    ven_name: Name
    attributes: list[ValuesMap] | None = None


META = {"createdDateTime": "2026-01-15T00:00:00Z", "modificationDateTime": "2026-01-15T00:00:00Z"}
Answer = tuple[int, object]


class Vtn:
    """Holds programs, events, end nodes and reports. `faults` maps a path to an answer that is given instead."""

    def __init__(self) -> None:
        self.url = ""
        self.programs: list[dict[str, Any]] = [self.program("heat")]
        self.events: dict[str, dict[str, Any]] = {}
        self.vens: list[dict[str, Any]] = []
        self.reports: dict[str, ReportRequest] = {}
        self.requests: list[str] = []
        self.tokens: set[str] = set()
        self.tokens_given = 0
        self.secret = "right"
        self.may_register = True
        self.faults: dict[str, tuple[int, bytes]] = {}

    @staticmethod
    def program(name: str, **fields: object) -> dict[str, Any]:
        return {"id": f"program-{name}", "objectType": "PROGRAM", "programName": name, **META, **fields}

    def put(self, key: str, modified: str = "2026-01-15T00:00:00Z", **fields: object) -> None:
        """An event, new or modified."""
        self.events[key] = {
            "id": key,
            "objectType": "EVENT",
            "programID": "program-heat",
            **META,
            "modificationDateTime": modified,
            **fields,
        }

    def dispatch(self, key: str, power_kw: object, start: str, duration: str, **fields: object) -> None:
        """An event that asks for heat."""
        default: dict[str, object] = {
            "payloadDescriptors": [{"objectType": "EVENT_PAYLOAD_DESCRIPTOR", "payloadType": "DISPATCH_SETPOINT", "units": "KW"}],
            "intervalPeriod": {"start": start, "duration": duration},
            "intervals": [{"id": 0, "payloads": [{"type": "DISPATCH_SETPOINT", "values": [power_kw]}]}],
        }
        self.put(key, **{**default, **fields})

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED, bind: str = "127.0.0.1:0") -> None:
        """Serve on loopback until cancelled; `url` is where."""
        config = Config()
        config.bind = [bind]
        config.errorlog = None
        config.keep_alive_timeout = 1e9  # a test may turn the clock, and the client's library has another one
        config.accesslog = None
        async with trio.open_nursery() as nursery:
            bound: list[str] = await nursery.start(serve, self.app, config)
            self.url = bound[0]
            task_status.started()

    async def app(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """ASGI."""
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        path = scope["path"]
        headers = {key.decode(): value.decode() for key, value in scope["headers"]}
        self.requests.append(f"{scope['method']} {path}")
        extra: list[tuple[bytes, bytes]] = []
        if path in self.faults:
            status, raw = self.faults[path]
            if 300 <= status < 400:
                extra.append((b"location", raw))
        else:
            status, found = self._answer(scope["method"], path, parse_qs(scope["query_string"].decode()), headers, body)
            raw = json.dumps(found).encode()
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"application/json"), *extra]})
        await send({"type": "http.response.body", "body": raw})

    def _answer(self, method: str, path: str, query: dict[str, list[str]], headers: dict[str, str], body: bytes) -> Answer:
        if path == "/auth/server":
            return 200, {"tokenURL": f"{self.url}/auth/token"}
        if path == "/auth/token":
            return self._token(headers, parse_qs(body.decode()))
        if headers.get("authorization", "").removeprefix("Bearer ") not in self.tokens:
            return self._problem(401, "the token is unknown or expired")
        try:
            return self._object(method, path, query, body)
        except msgspec.ValidationError as error:
            return self._problem(400, str(error))

    def _object(self, method: str, path: str, query: dict[str, list[str]], body: bytes) -> Answer:
        if method == "GET":
            rows: dict[str, Iterator[dict[str, Any]]] = {
                "/programs": iter(self.programs),
                "/events": (
                    each for each in self.events.values() if each["programID"] in query.get("programID", [each["programID"]])
                ),
                "/reports": (
                    self._shown(key, each)
                    for key, each in self.reports.items()
                    if [each.event_id] == query.get("eventID", [each.event_id])
                    and [each.client_name] == query.get("clientName", [each.client_name])
                ),
                "/vens": (each for each in self.vens if each["venName"] in query.get("venName", [each["venName"]])),
            }
            skip, limit = int(query["skip"][0]), int(query["limit"][0])
            if limit > 50:
                return self._problem(400, "limit is above 50")
            return 200, list(rows[path])[skip : skip + limit]
        if (method, path) == ("POST", "/vens"):
            return self._register(msgspec.json.decode(body, type=VenVenRequest))
        report = msgspec.json.decode(body, type=ReportRequest)
        if report.event_id not in self.events:
            return self._problem(404, "there is no such event")
        key = f"report-{len(self.reports)}" if method == "POST" else path.rpartition("/")[2]
        if method == "PUT" and key not in self.reports:
            return self._problem(404, "there is no such report")
        if any(each.report_name == report.report_name for other, each in self.reports.items() if other != key):
            return self._problem(409, "another report has this name")
        self.reports[key] = report
        return (201 if method == "POST" else 200), self._shown(key, report)

    @staticmethod
    def _shown(key: str, report: ReportRequest) -> dict[str, Any]:
        return {"id": key, "objectType": "REPORT", "clientID": "hall", **META, **msgspec.to_builtins(report)}

    def _register(self, request: VenVenRequest) -> Answer:
        if not self.may_register:
            return self._problem(403, "end nodes are enrolled by hand")
        ven = {
            "id": f"ven-{len(self.vens)}",
            "objectType": "BL_VEN_REQUEST",
            "clientID": "hall",
            "venName": request.ven_name,
            **META,
        }
        self.vens.append(ven)
        return 201, ven

    def _token(self, headers: dict[str, str], form: dict[str, list[str]]) -> Answer:
        if headers["content-type"] != "application/x-www-form-urlencoded" or form.get("grant_type") != ["client_credentials"]:
            return 400, {"error": "unsupported_grant_type"}
        if form.get("client_id") != ["hall"] or form.get("client_secret") != [self.secret]:
            return 401, {"error": "invalid_client", "error_description": "the secret is wrong"}
        self.tokens_given += 1
        token = f"token-{self.tokens_given}"
        self.tokens.add(token)
        return 200, {"access_token": token, "token_type": "Bearer", "expires_in": 3600}

    @staticmethod
    def _problem(status: int, detail: str) -> Answer:
        return status, {"type": "about:blank", "title": "Refused", "status": status, "detail": detail}
