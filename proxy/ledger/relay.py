"""Between the writer's thread and the trio thread: reports that arrive in order, callbacks that cannot end the process, and tasks
that wait until what was recorded before is durable.

It does NOT know what a report means: the ledger does.
"""

import contextlib
from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

import structlog
import trio

from proxy.ledger.batch import Item
from proxy.ledger.trouble import Trouble
from proxy.ledger.writer import Committed

log = structlog.get_logger()

T = TypeVar("T")
Args = TypeVarTuple("Args")


class Relay:
    """The writer's `Listener`: each report is called on the trio thread, in the order of the reports."""

    def __init__(
        self,
        *,
        committed: Callable[[Committed], None],
        failed: Callable[[Trouble], None],
        dropped: Callable[[Item, str], None],
        recovered: Callable[[], None],
    ) -> None:
        self._committed = committed
        self._failed = failed
        self._dropped = dropped
        self._recovered = recovered
        self._trio_token: trio.lowlevel.TrioToken | None = None

    def begin(self) -> None:
        """To be called on the trio thread before anything is reported."""
        self._trio_token = trio.lowlevel.current_trio_token()

    def committed(self, done: Committed) -> None:
        """See Listener."""
        self.soon(self._committed, done)

    def failed(self, trouble: Trouble) -> None:
        """See Listener."""
        self.soon(self._failed, trouble)

    def dropped(self, item: Item, reason: str) -> None:
        """See Listener."""
        self.soon(self._dropped, item, reason)

    def recovered(self) -> None:
        """See Listener."""
        self.soon(self._recovered)

    def soon(self, call: Callable[[*Args], object], *args: *Args) -> None:
        """Call on the trio thread, in order; from any thread. After the end of the loop nobody is left to be told."""
        assert self._trio_token is not None, "begin comes first"
        with contextlib.suppress(trio.RunFinishedError):
            self._trio_token.run_sync_soon(call, *args)


class FlushWaits:
    """Tasks that wait for everything before them to be durable; each is told once."""

    def __init__(self) -> None:
        self._waiting: set[FlushWait] = set()

    async def wait(self, push: "Callable[[FlushWait], None]") -> bool:
        """Hand a mark to `push`, to be queued behind all records, and wait for its fate. False: not durable."""
        mark = FlushWait()
        self._waiting.add(mark)
        push(mark)
        try:
            await mark.done.wait()
        finally:
            self._waiting.discard(mark)
        return mark.is_durable

    def fail_all(self) -> None:
        """Nothing becomes durable now."""
        for mark in list(self._waiting):
            mark.finish(is_durable=False)


class FlushWait:
    """The mark of one task."""

    def __init__(self) -> None:
        self.done = trio.Event()
        self.is_durable = False

    def finish(self, *, is_durable: bool) -> None:
        """What becomes of it; what was told first stays."""
        if not self.done.is_set():
            self.is_durable = is_durable
            self.done.set()


def guarded(call: Callable[[T], None], argument: T) -> None:
    """Call somebody else's function from the loop's own queue, where an exception would end the process."""
    try:
        call(argument)
    except Exception:
        log.exception("ledger.callback_failed")
