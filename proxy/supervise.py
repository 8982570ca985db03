"""Tasks that must not take their neighbours down: a bug is logged with its traceback, counted, and the task begins again."""

from collections.abc import Awaitable, Callable

import structlog
import trio

log = structlog.get_logger()

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
# A task that ran this long before it failed begins again soon.
GOOD_RUN_S = 60.0


async def supervised(name: str, task: Callable[[], Awaitable[None]]) -> None:
    """Run `task` until it returns or this is cancelled; after an exception, again, with growing pauses."""
    pause_s = FIRST_PAUSE_S
    while True:
        begun_s = trio.current_time()
        try:
            await task()
        except Exception:
            if trio.current_time() - begun_s > GOOD_RUN_S:
                pause_s = FIRST_PAUSE_S
            log.exception("task.bug", task=name, again_in_s=pause_s)
        else:
            return
        await trio.sleep(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
