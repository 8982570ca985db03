"""What receives every miner, whatever it speaks: who it is, its coordinates, its work, and what its nonsense costs its address.

It does NOT speak to miners itself: sessions do, and there is one reception for all of them.
"""

from collections.abc import Callable
from typing import Protocol

import msgspec

from protocol.mining.share import Verdict
from proxy.config import Listen
from proxy.downstream.connection import Connection
from proxy.downstream.guard import Guard
from proxy.downstream.quirks import Quirks
from proxy.work.extranonce import PrefixAllocator
from proxy.work.router import Router
from proxy.work.shares import ShareDesk

# Refusals for what costs the sender nothing and us a hash.
CHEAP_LIES = {Verdict.DUPLICATE, Verdict.LOW_DIFFICULTY, Verdict.UNKNOWN_JOB, Verdict.MALFORMED, Verdict.BAD_EXTRANONCE}


class Identity(msgspec.Struct, frozen=True):
    """Who a connection is: the unit's key for accounting, and the usual hashrate of its model where that is known."""

    unit: str
    typical_hps: float | None = None


class Identify(Protocol):
    """Who is this worker at this address? None: may not mine here."""

    def __call__(self, worker: str, address: str, quirks: Quirks) -> Identity | None:
        """See the class."""
        ...


class Reception(msgspec.Struct, frozen=True):
    """The parts of the site that sessions call. clock: monotonic seconds."""

    config: Listen
    router: Router
    shares: ShareDesk
    allocator: PrefixAllocator
    guard: Guard
    identify: Identify
    clock: Callable[[], float]

    def charge(self, connection: Connection, cost: float) -> None:
        """Add to what the connection's address has cost us lately; hang up where that is too much."""
        if not self.guard.charge(connection.address, cost, self.clock()):
            connection.hang_up("too much nonsense from this address")
