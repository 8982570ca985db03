"""A bug while one miner is spoken to ends that miner's connection and reaches nobody else.

It does NOT excuse the bug: that is logged with its traceback, and the reactor counts the broken connection.
"""

from collections.abc import Callable
from typing import Concatenate, ParamSpec, Protocol, TypeVar

import structlog

from proxy.downstream.connection import Connection

log = structlog.get_logger()


class Connected(Protocol):
    """Whoever speaks to a miner."""

    @property
    def connection(self) -> Connection:
        """The connection that fails with it."""
        ...


C = TypeVar("C", bound=Connected)
P = ParamSpec("P")


def contained(call: Callable[Concatenate[C, P], None]) -> Callable[Concatenate[C, P], None]:
    """For a method whose caller serves many miners one after the other: nothing is raised, the connection fails instead."""

    def guarded(who: C, /, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            call(who, *args, **kwargs)
        except Exception:
            log.exception("connection.bug", address=who.connection.address, doing=call.__name__)
            who.connection.fail()

    return guarded
