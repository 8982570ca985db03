"""Who may do what: API keys, roles and the guess limit. One guard decides for every route, and an unmarked route is for operators.

Not here: TLS (a reverse proxy's work), sessions and cookies (there are none, so there is nothing to forge across sites).
"""

import hashlib
import hmac
import ipaddress
from collections import OrderedDict
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

import msgspec
import trio
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from proxy import config
from proxy.telemetry.metrics import WebMetrics
from proxy.web.problems import ProblemError
from proxy.web.site import Site

KEY_LIMIT = 512  # characters; longer ones are refused unread
TRIES = 10  # wrong keys of one address within WINDOW_S
WINDOW_S = 60.0
ADDRESSES = 4_096


class Access(Enum):
    """What a route asks for."""

    OPEN = "anyone"
    READ = "any key, or anyone when api.open_reads"
    DEMAND = "utility or operator"
    OPERATE = "operator"


ROLES: Mapping[Access, frozenset[str]] = {
    Access.READ: frozenset({"viewer", "utility", "operator"}),
    Access.DEMAND: frozenset({"utility", "operator"}),
    Access.OPERATE: frozenset({"operator"}),
}


def route(access: Access) -> dict[str, Any]:
    """The keyword arguments that give a handler its access, for the guard and for the API's description (roles as scopes)."""
    roles = sorted(ROLES.get(access, ()))
    security: list[dict[str, list[str]]] = [{"bearer": roles}, {"key": roles}] if roles else []
    if access is Access.READ:
        security.append({})  # no key needed with api.open_reads
    return {"opt": {"access": access}, "security": security}


class Actor(msgspec.Struct, frozen=True, gc=False):
    """The holder of a key."""

    name: str
    role: str


def find_actor(key: str, keys: list[config.ApiKey]) -> Actor | None:
    """Whose key this is. Time does not depend on which key is nearly right: each one is compared in full."""
    digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
    found: Actor | None = None
    for known in keys:
        if hmac.compare_digest(digest, known.sha256):
            found = Actor(known.name, known.role)
    return found


class GuessLimit:
    """Counts wrong keys per address. Bounded: the address seen longest ago is forgotten first."""

    def __init__(self) -> None:
        self._tries: OrderedDict[str, tuple[float, int]] = OrderedDict()  # network -> (window start, count)

    def note(self, address: str, now_s: float) -> None:
        """One more wrong key from `address`."""
        network = self._network(address)
        start_s, count = self._tries.pop(network, (now_s, 0))
        if now_s - start_s >= WINDOW_S:
            start_s, count = now_s, 0
        self._tries[network] = (start_s, count + 1)
        while len(self._tries) > ADDRESSES:
            self._tries.popitem(last=False)

    def wait_s(self, address: str, now_s: float) -> float:
        """How long keys of this address are refused unread; 0 when they are not."""
        start_s, count = self._tries.get(self._network(address), (now_s, 0))
        return max(0.0, start_s + WINDOW_S - now_s) if count >= TRIES else 0.0

    @staticmethod
    def _network(address: str) -> str:
        """One host owns a whole IPv6 /64, so that is what is counted."""
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return address
        if parsed.version == 4:
            return address
        return str(ipaddress.ip_network((parsed, 64), strict=False))


class Guard:
    """The one guard of the application."""

    def __init__(self, site: Site, metrics: WebMetrics, now_s: Callable[[], float] = trio.current_time) -> None:
        self._site = site
        self._metrics = metrics
        self._now_s = now_s
        self._guesses = GuessLimit()

    async def __call__(self, connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        """Let the request through and leave its actor in the connection's state, or raise 401, 403 or 429."""
        access = handler.opt.get("access", Access.OPERATE)
        if access is Access.OPEN:
            return
        actor = self._identify(connection)
        connection.state.actor = actor
        if access is Access.READ and actor is None and self._site.api.open_reads:
            return
        if actor is None:
            why = "This needs an API key." if self._site.api.keys else "This needs an API key, and none is configured."
            raise ProblemError(401, why, headers={"WWW-Authenticate": "Bearer"})
        if actor.role not in ROLES[access]:
            path = connection.url.path[:200]
            self._site.events.publish("api.forbidden", "warning", actor=actor.name, role=actor.role, path=path)
            raise ProblemError(403, f"The key `{actor.name}` has the role {actor.role}; this needs: {access.value}.")

    def _identify(self, connection: ASGIConnection[Any, Any, Any, Any]) -> Actor | None:
        """The actor of the key that was sent, None when none was. A wrong key is an error even where reading is open."""
        key = presented_key(connection.headers)
        if key is None:
            return None
        address = connection.client.host if connection.client else "unknown"
        now_s = self._now_s()
        wait_s = self._guesses.wait_s(address, now_s)
        if wait_s > 0:
            raise ProblemError(429, "Too many wrong API keys from this address.", headers={"Retry-After": str(int(wait_s) + 1)})
        actor = find_actor(key, self._site.api.keys) if len(key) <= KEY_LIMIT else None
        if actor is None:
            self._guesses.note(address, now_s)
            self._metrics.refused_keys.inc()
            self._site.events.publish("api.refused", "warning", address=address, path=connection.url.path[:200])
            raise ProblemError(401, "This API key is not known.", headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})
        return actor


def presented_key(headers: Mapping[str, str]) -> str | None:
    """The key in `Authorization: Bearer KEY` or `X-API-Key: KEY`; None when neither is there."""
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    return headers.get("x-api-key")
