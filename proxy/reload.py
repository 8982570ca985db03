"""A changed site file, applied to a running site without dropping a unit.

Pools, their weights, difficulty policy, API keys and log level change while everybody hashes on: a unit's coordinates do not depend
on any of them. What would need new sockets or another fleet is refused as a whole, and the old configuration stays.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import structlog
import trio

from proxy.checks.load import load_site
from proxy.config import Pool as PoolConfig
from proxy.config import SiteConfig
from proxy.errors import ConfigError
from proxy.telemetry.log import configure
from proxy.upstream.pool import Pool
from proxy.work import vardiff

if TYPE_CHECKING:
    from proxy.app import App

log = structlog.get_logger()

# Tables that a running site takes over.
LIVE = {"pools", "vardiff", "api", "log"}
# Keys of a pool that decide who works for it, not how it is spoken to: its connections live on.
POLICY = {"priority", "weight", "return_after_s", "max_reject_rate", "connect_timeout_s"}


class Reloader:
    """Validate, then swap; on any problem nothing changes. Two reloads at once happen one after the other."""

    def __init__(self, app: "App", path: Path) -> None:
        self._app = app
        self._path = path
        self._one_at_a_time = trio.Lock()

    async def reload(self) -> list[str]:
        """Read the site file again and apply it. Lines that say what is wrong; empty when it was applied."""
        async with self._one_at_a_time:
            try:
                # In a thread: a thousand units and a slow disk must not hold up a share.
                new = (await trio.to_thread.run_sync(load_site, self._path)).config
            except ConfigError as error:
                return error.problems
            problems = _needing_restart(self._app.config, new)
            if problems:
                return problems
            try:
                pools = [self._pool(table) for table in new.pools]
            except OSError as error:
                return [f"pools: a CA file cannot be used ({error}); nothing was changed"]
            self._apply(new, pools)
            return []

    def _pool(self, table: PoolConfig) -> Pool:
        """The pool that runs already where its connections may live on, else a new one that does not run yet."""
        running = next((pool for pool in self._app.pools if pool.name == table.name), None)
        if running is not None and not _changed(running.config, table) - POLICY:
            return running
        return self._app.make_pool(table)

    def _apply(self, new: SiteConfig, pools: list[Pool]) -> None:
        app = self._app
        before = list(app.pools)
        app.config = new
        app.site.api = new.api
        app.router.policy = vardiff.policy_of(new)
        app.router.passes_difficulty_through = vardiff.passes_through(new.vardiff)
        app.router.holds_work = new.listen.hold_work
        configure(new.log.level)
        # In place: every part that holds the list sees the change.
        app.pools[:] = pools
        for pool, table in zip(pools, new.pools, strict=True):
            pool.config = table
            if pool not in before:
                app.start_pool(pool)
        for pool in before:
            if pool not in pools:
                pool.stop()
        app.assigner.poke()
        log.info("site.reloaded", pools=[pool.name for pool in pools], was=[pool.name for pool in before])


def _changed(old: msgspec.Struct, new: msgspec.Struct) -> set[str]:
    return {key for key in old.__struct_fields__ if getattr(old, key) != getattr(new, key)}


def _needing_restart(old: SiteConfig, new: SiteConfig) -> list[str]:
    problems = []
    for table in sorted(_changed(old, new) - LIVE):
        before, after = getattr(old, table), getattr(new, table)
        keys = sorted(_changed(before, after)) if isinstance(before, msgspec.Struct) else []
        named = ", ".join(f"{table}.{key}" for key in keys) or table
        problems.append(f"{named} cannot change while the site runs: restart it (units keep their power level meanwhile)")
    if new.api.listen != old.api.listen:
        problems.append("api.listen cannot change while the site runs: restart it")
    return problems
