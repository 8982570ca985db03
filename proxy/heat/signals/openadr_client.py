"""Requests to an OpenADR 3.1 server: tokens, pages, bounds and errors. What is asked for, and why, is decided in openadr.

Every answer is bounded in time and size before it is decoded. Redirects are not followed: a token goes to one server only.
"""

import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import httpx
import msgspec
import trio

from proxy.config import OpenAdrSignal
from proxy.heat.signals.openadr_wire import (
    AuthServer,
    Created,
    Interval,
    Problem,
    ReportFound,
    ReportRequest,
    Token,
    Ven,
    VenRequest,
)

TIMEOUT_S = 10.0
MAX_ANSWER_BYTES = 4_194_304
# Requests of one poll share a connection; between polls servers close idle ones, just when the next request is on its way.
KEEP_S = 1.0
# The most the specification lets a page hold, and how many pages we read: 1,000 events.
PAGE = 50
MAX_PAGES = 20
# A token is renewed when this part of its life is over; without a stated life it is used until the server refuses it.
TOKEN_PART = 0.8
# Some servers answer a token that has expired, or that they signed before a restart, with 403, which may as well mean that we may
# not do this. A token older than this is then renewed once.
DOUBTED_S = 30.0

Record = TypeVar("Record")


class VtnError(Exception):
    """The server cannot be reached, refuses, or answers what is no OpenADR. `status` is HTTP's, None without an answer."""

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status


class _Dropped(VtnError):
    """The server closed the connection instead of answering, as one does that had just given it up."""


class VtnClient:
    """Use as an async context manager. All calls raise VtnError."""

    def __init__(self, config: OpenAdrSignal) -> None:
        self._config = config
        self._base = (config.url or "").rstrip("/")
        verify: ssl.SSLContext | bool = True
        if config.tls_ca is not None:
            verify = ssl.create_default_context(cafile=config.tls_ca)
        self._http = httpx.AsyncClient(
            timeout=TIMEOUT_S,
            verify=verify,
            trust_env=False,
            headers={"accept": "application/json"},
            limits=httpx.Limits(max_connections=4, keepalive_expiry=KEEP_S),
        )
        self._token: str | None = None
        self._token_since_s = 0.0
        self._token_until_s = 0.0
        self._reports: dict[str, str] = {}
        self._looked: set[str] = set()  # events whose reports were looked for

    async def __aenter__(self) -> "VtnClient":
        await self._http.__aenter__()
        return self

    async def __aexit__(self, *what: object) -> None:
        with trio.move_on_after(2.0, shield=True):
            await self._http.aclose()

    async def pages(self, path: str, shape: type[Record], **query: str) -> list[Record]:
        """All objects of a search, page after page. One that does not fit `shape` makes the whole answer unusable."""
        found: list[Record] = []
        for page in range(MAX_PAGES):
            raw = await self._call("GET", path, query={**query, "skip": str(page * PAGE), "limit": str(PAGE)})
            rows = _decoded(raw, list[shape], path)  # type: ignore[valid-type]  # a type made at run time, as msgspec takes it
            found.extend(rows)
            if len(rows) < PAGE:
                return found
        raise VtnError(f"the server has more than {PAGE * MAX_PAGES:,} objects under {path}; name one program in signals.openadr")

    async def register(self, name: str) -> str | None:
        """Our id at the server, as a new end node where it does not know us; None where it lets nobody look or register."""
        try:
            known = await self.pages("/vens", Ven, venName=name)
        except VtnError as error:
            if error.status != 403:
                raise
            known = []
        if not known:
            try:
                body = VenRequest(ven_name=name, object_type="VEN_VEN_REQUEST")
                return _decoded(await self._call("POST", "/vens", body=body), Created, "/vens").id
            except VtnError as error:
                if error.status == 403:
                    return None
                if error.status != 409:
                    raise
            known = await self.pages("/vens", Ven, venName=name)
        return next((ven.id for ven in known if ven.ven_name == name), None)

    async def earlier(self, request: ReportRequest) -> list[Interval]:
        """What the server has of us on the event already, perhaps from a run before this one. Asked once for each event."""
        if request.event_id in self._looked:
            return []
        found: list[ReportFound] = []
        try:
            found = await self.pages("/reports", ReportFound, eventID=request.event_id, clientName=request.client_name)
        except VtnError as error:
            if error.status not in (403, 404):  # else it shows nobody his reports
                raise
        self._looked.add(request.event_id)
        for report in found:
            if (report.client_name, report.report_name) == (request.client_name, request.report_name):
                self._reports[request.event_id] = report.id
                return [interval for resource in report.resources for interval in resource.intervals]
        return []

    async def report(self, request: ReportRequest) -> None:
        """Make the report on an event, or bring the one made before up to date."""
        known = self._reports.get(request.event_id)
        if known is not None:
            try:
                await self._call("PUT", f"/reports/{known}", body=request)
            except VtnError as error:
                if error.status != 404:
                    raise
                del self._reports[request.event_id]
            else:
                return
        try:
            raw = await self._call("POST", "/reports", body=request)
        except VtnError as error:
            if error.status == 409:  # there is one that we were not shown: look again the next time
                self._looked.discard(request.event_id)
            raise
        self._reports[request.event_id] = _decoded(raw, Created, "/reports").id

    def forget_reports(self, events: Sequence[str]) -> None:
        """Remember only the reports on these events."""
        self._reports = {event: report for event, report in self._reports.items() if event in events}
        self._looked.intersection_update(events)

    async def _call(
        self, method: str, path: str, *, query: dict[str, str] | None = None, body: msgspec.Struct | None = None
    ) -> bytes:
        """One request with our token; with a new one when the server refuses the old one."""
        for attempt in range(2):
            headers = {} if self._config.client_id is None else {"authorization": f"Bearer {await self._bearer()}"}
            content = None
            if body is not None:
                content = msgspec.json.encode(body)
                headers["content-type"] = "application/json"
            try:
                status, raw = await self._exchange(method, self._base + path, params=query, headers=headers, content=content)
            except _Dropped:
                if attempt == 0 and method == "GET":
                    continue
                raise
            if attempt == 0 and self._may_be_expired(status):
                self._token = None
                continue
            break
        if not 200 <= status < 300:
            raise VtnError(f"{method} {path}: {_explained(status, raw)}", status)
        return raw

    def _may_be_expired(self, status: int) -> bool:
        if self._config.client_id is None:
            return False
        return status == 401 or (status == 403 and trio.current_time() - self._token_since_s > DOUBTED_S)

    async def _bearer(self) -> str:
        if self._token is not None and trio.current_time() < self._token_until_s:
            return self._token
        form = {"grant_type": "client_credentials", "client_id": self._config.client_id or "", "client_secret": self._secret()}
        status, raw = await self._exchange("POST", await self._token_url(), data=form)
        if status != 200:
            raise VtnError(f"no token: {_explained(status, raw)}; check client_id and client_secret_file", status)
        token = _decoded(raw, Token, "the token")
        self._token, self._token_since_s = token.access_token, trio.current_time()
        self._token_until_s = trio.current_time() + (TOKEN_PART * token.expires_in if token.expires_in else 1e9)
        return token.access_token

    async def _token_url(self) -> str:
        """Where tokens are given out: as the server says, else its own /auth/token."""
        status, raw = await self._exchange("GET", self._base + "/auth/server")
        if status != 200:
            return self._base + "/auth/token"
        url = _decoded(raw, AuthServer, "/auth/server").token_url
        if urlsplit(self._base).scheme == "https" and urlsplit(url).scheme != "https":
            raise VtnError(f"the server wants our secret sent unencrypted to {url}: refused")
        return url

    def _secret(self) -> str:
        """Read each time a token is wanted, so that a new secret needs no restart."""
        path = self._config.client_secret_file
        try:
            return "" if path is None else Path(path).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise VtnError(f"{path} cannot be read: {error.strerror}") from error

    async def _exchange(
        self,
        method: str,
        url: str,
        *,
        params: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
        content: bytes | None = None,
        data: dict[str, str] | None = None,
    ) -> tuple[int, bytes]:
        """Status and body of one answer."""
        received = bytearray()
        try:
            with trio.fail_after(TIMEOUT_S):
                async with self._http.stream(method, url, params=params, headers=headers, content=content, data=data) as answer:
                    async for chunk in answer.aiter_bytes():
                        received += chunk
                        if len(received) > MAX_ANSWER_BYTES:
                            raise VtnError(f"{method} {url}: the answer is longer than {MAX_ANSWER_BYTES:,} bytes")
                    return answer.status_code, bytes(received)
        except httpx.RemoteProtocolError as error:
            raise _Dropped(f"{method} {url}: {error}") from error
        except (httpx.HTTPError, httpx.InvalidURL, trio.TooSlowError) as error:
            raise VtnError(f"{method} {url}: {error or type(error).__name__}") from error


def _decoded(raw: bytes, shape: type[Record], what: str) -> Record:
    try:
        return msgspec.json.decode(raw, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise VtnError(f"{what} is not as OpenADR 3.1 has it: {error}") from error


def _explained(status: int, raw: bytes) -> str:
    """An error as the server explains it."""
    try:
        problem = msgspec.json.decode(raw, type=Problem)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return str(status)
    words = (problem.title, problem.detail, problem.error, problem.error_description)
    return f"{status} " + ", ".join(word[:200] for word in words if word)
