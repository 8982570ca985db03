"""An asyncio loop in a thread of its own, for peers of tests that are asyncio's. Nothing of it touches trio or the test's
thread.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from threading import Thread
from typing import Any, TypeVar

import trio

from tests.support.patience import PATIENCE_S

T = TypeVar("T")


class OtherLoop:
    """Runs coroutines over there, one `call` at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    async def call(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Make and run a coroutine on the loop; its result, or what it raised."""

        async def run() -> T:
            return await make()

        def wait() -> T:
            return asyncio.run_coroutine_threadsafe(run(), self._loop).result(PATIENCE_S)

        return await trio.to_thread.run_sync(wait)


@asynccontextmanager
async def other_loop() -> AsyncIterator[OtherLoop]:
    """A loop for as long as the block lasts."""
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever, name="asyncio of a peer", daemon=True)
    thread.start()
    try:
        yield OtherLoop(loop)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE_S)
        loop.close()
