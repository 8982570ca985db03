"""Errors as RFC 9457 problem documents: what failed, why, and what to do. Never a traceback."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, NotFoundException, ValidationException
from litestar.openapi.datastructures import ResponseSpec
from litestar.types import ExceptionHandlersMap

log = structlog.get_logger()

PROBLEM_JSON = "application/problem+json"


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """title: what failed; detail: why; remedy: what to do. Refused demands add members of their own, such as last_sequence."""

    title: str
    status: int
    detail: str
    remedy: str
    type: str = "about:blank"
    problems: list[str] = []


REMEDIES = {
    400: "Compare the request with /schema and send it again.",
    401: "Send `Authorization: Bearer KEY` with a key from [[api.keys]]; `thermostratum apikey` makes one.",
    403: "Use a key whose role allows this.",
    404: "Look at /schema for the paths, and at /api/v1/units for the units.",
    405: "Look at /schema for the methods of this path.",
    408: "Send the whole request within the time limit.",
    409: "Change what stands in the way, then send it again.",
    413: "Send a smaller body.",
    429: "Wait for Retry-After seconds, then use a right key.",
    500: "Look for this event in the log, and report it.",
    503: "Wait a little and send it again.",
}


class ProblemError(HTTPException):
    """Raised by handlers and guards; becomes a problem document."""

    def __init__(
        self,
        status: int,
        detail: str,
        remedy: str | None = None,
        headers: Mapping[str, str] | None = None,
        problems: list[str] | None = None,
    ) -> None:
        super().__init__(detail=detail, status_code=status, headers=dict(headers or {}))
        self.remedy = remedy
        self.problems = problems or []


def document(status: int, detail: str, remedy: str | None = None, problems: list[str] | None = None) -> Problem:
    """A problem with the status's own title and, when none is given, its usual remedy."""
    title = HTTPStatus(status).phrase
    return Problem(title, status, detail, remedy or REMEDIES.get(status, REMEDIES[400]), problems=problems or [])


def refusal(status: int, answer: msgspec.Struct) -> dict[str, Any]:
    """The problem document for an answer of the site: its reason and remedy, and its other fields as extension members."""
    members: dict[str, Any] = msgspec.to_builtins(answer)
    problem = document(status, str(members.pop("reason", "refused")), members.pop("remedy", None))
    members.pop("code", None)
    return {**members, **msgspec.to_builtins(problem)}


def judged(status: int, answer: msgspec.Struct) -> Response[Any]:
    """The response for what the site answered: itself, or a problem document where it refused."""
    if status >= 400:
        return Response(refusal(status, answer), status_code=status, media_type=PROBLEM_JSON)
    return Response(answer, status_code=status)


def _handle_http(_request: Request[Any, Any, Any], error: HTTPException) -> Response[Problem]:
    remedy = error.remedy if isinstance(error, ProblemError) else None
    problems = error.problems if isinstance(error, ProblemError) else []
    detail = error.detail
    if isinstance(error, NotFoundException):
        detail = "There is nothing at this path."
    if isinstance(error, ValidationException):
        problems = [_explain(entry) for entry in error.extra or [] if isinstance(entry, Mapping)]
        detail = "The request does not have the expected shape."
    body = document(error.status_code, detail, remedy, problems)
    return Response(body, status_code=error.status_code, media_type=PROBLEM_JSON, headers=error.headers)


def _explain(entry: Mapping[str, Any]) -> str:
    message = str(entry.get("message", "invalid"))
    return f"{entry['key']}: {message}" if entry.get("key") else message


def _handle_bug(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    log.error("http.failed", path=request.url.path, method=request.method, exc_info=error)
    body = document(500, "The proxy made a mistake while it answered this request.")
    return Response(body, status_code=500, media_type=PROBLEM_JSON)


EXCEPTION_HANDLERS: ExceptionHandlersMap = {HTTPException: _handle_http, Exception: _handle_bug}


def documented(*statuses: int) -> dict[int, ResponseSpec]:
    """The `responses=` of a handler: these statuses answer a problem document."""
    return {
        status: ResponseSpec(
            Problem,
            generate_examples=False,
            description=HTTPStatus(status).phrase,
            media_type=PROBLEM_JSON,
        )
        for status in statuses
    }
