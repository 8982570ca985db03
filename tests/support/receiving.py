"""The reception of a site where anybody may mine, under the name that he gives."""

import os
from collections.abc import Callable

from proxy.config import Listen
from proxy.downstream.guard import Guard
from proxy.downstream.reception import Identity, Reception
from proxy.work.extranonce import PrefixAllocator
from proxy.work.router import Router
from proxy.work.shares import ShareDesk


def reception(
    router: Router,
    shares: ShareDesk,
    *,
    clock: Callable[[], float],
    config: Listen | None = None,
    guard: Guard | None = None,
    rng: Callable[[int], bytes] = os.urandom,
) -> Reception:
    """Without a guard of its own it takes a thousand connections."""
    return Reception(
        config=config or Listen(),
        router=router,
        shares=shares,
        allocator=PrefixAllocator(router.geometry.unit_id_bytes, rng),
        guard=guard or Guard(1_000, 1_000, []),
        identify=lambda worker, address, quirks: Identity(worker),
        clock=clock,
    )
