"""The text of /metrics: rendered in a thread and kept for a few seconds: 920 units take 45 ms, which the loop does not have."""

from collections.abc import Sequence

import trio
from prometheus_client import CollectorRegistry, generate_latest

from proxy.telemetry.metrics import SiteCollector, WebMetrics
from proxy.views import SiteView, UnitView
from proxy.web.site import Site

KEEP_S = 5.0


class Exposition:
    """Renders at most once in KEEP_S, whatever the number of scrapers."""

    def __init__(self, site: Site, metrics: WebMetrics) -> None:
        self._site = site
        self._metrics = metrics
        self._lock = trio.Lock()
        self._text = b""
        self._made_s = float("-inf")

    async def text(self) -> bytes:
        """The exposition, at most KEEP_S old. The views are read here, on the loop; only the rendering is in the thread."""
        async with self._lock:
            if trio.current_time() - self._made_s >= KEEP_S:
                units = self._site.units() if self._site.api.unit_metrics else []
                self._text = await trio.to_thread.run_sync(render, self._site.view(), units, self._metrics)
                self._made_s = trio.current_time()
            return self._text


def render(view: SiteView, units: Sequence[UnitView], metrics: WebMetrics) -> bytes:
    """The Prometheus text format of one picture of the site and of the process."""
    registry = CollectorRegistry()
    registry.register(SiteCollector(view, units))
    return generate_latest(registry) + generate_latest(metrics.registry)
