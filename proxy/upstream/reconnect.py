"""Connecting to a pool again and again: the back-off between two tries, and where a redirect leads.

It does NOT know what is served on a connection.
"""

import random
from collections.abc import Awaitable, Callable
from typing import NoReturn

import structlog
import trio

from proxy.config import Pool as PoolConfig
from proxy.errors import PoolError
from proxy.upstream.session import Redirect, host_and_port

log = structlog.get_logger()

BACKOFF_FIRST_S = 0.5
BACKOFF_LIMIT_S = 30.0
# A connection that lived this long was good: the next back-off starts small again. Longer than a pool needs to greet us and
# throw us out, shorter than between two restarts of a pool that is being repaired.
GOOD_LIFE_S = 10.0


async def again_and_again(
    config: Callable[[], PoolConfig],
    serve: Callable[[str, int], Awaitable[None]],
    failed: Callable[[str], None],
    clock: Callable[[], float],
) -> NoReturn:
    """Run `serve` with the pool's address, or where the pool redirects to, each time it fails, and tell `failed` why.

    config: the pool's table as it is now; it may be replaced while the site runs.
    """
    backoff_s = BACKOFF_FIRST_S
    host, port = host_and_port(config().url)
    while True:
        begun_s = clock()
        wait_s = None
        try:
            await serve(host, port)
        except Redirect as redirect:
            host, port, wait_s = redirect.host, redirect.port, max(redirect.wait_s, 1.0)
            failed(f"redirected {redirect}")
        except PoolError as error:
            host, port = host_and_port(config().url)
            failed(str(error))
        except Exception:
            # A bug of ours costs this connection, never the site.
            log.exception("pool.bug", pool=config().name)
            failed("internal error")
        if clock() - begun_s > GOOD_LIFE_S:
            backoff_s = BACKOFF_FIRST_S
        # Jitter, so that a pool that comes back is not met by everybody in the same second.
        await trio.sleep(wait_s if wait_s is not None else backoff_s * random.uniform(0.75, 1.25))
        backoff_s = min(2 * backoff_s, BACKOFF_LIMIT_S)
