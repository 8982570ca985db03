"""A changed site file, applied to a running site without dropping a unit.

Pools, their weights, difficulty policy, API keys and log level change while everybody hashes on: a unit's coordinates do not depend
on any of them. What would need new sockets or another fleet is refused as a whole, and the old configuration stays.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import structlog

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


class Reloader:
    """Validate, then swap; on any problem nothing changes."""

    def __init__(self, app: "App", path: Path) -> None:
        self._app = app
        self._path = path

    async def reload(self) -> list[str]:
        """Read the site file again and apply it. Lines that say what is wrong; empty when it was applied."""
        try:
            new = load_site(self._path).config
        except ConfigError as error:
            return error.problems
        old = self._app.config
        problems = [
            f"{table} has changed, which needs a restart (units keep their power level meanwhile)"
            for table in msgspec.structs.asdict(old)
            if table not in LIVE and getattr(new, table) != getattr(old, table)
        ]
        if new.api.listen != old.api.listen:
            problems.append("api.listen has changed, which needs a restart")
        if problems:
            return problems
        self._apply(old, new)
        return []

    def _apply(self, old: SiteConfig, new: SiteConfig) -> None:
        app = self._app
        app.config = new
        app.site.api = new.api
        app.router.policy = vardiff.policy_of(new)
        configure(new.log.level)
        kept = {pool.name: pool for pool in app.pools if pool.config in new.pools}
        for pool in app.pools:
            if pool.name not in kept:
                pool.stop()
        fresh = [kept.get(config.name) or self._start(config) for config in new.pools]
        # In place: every part that holds the list sees the change.
        app.pools[:] = fresh
        app.assigner.poke()
        log.info("site.reloaded", pools=[pool.name for pool in fresh], was=[pool.name for pool in old.pools])

    def _start(self, config: PoolConfig) -> Pool:
        pool = self._app.make_pool(config)
        self._app.start_pool(pool)
        return pool
