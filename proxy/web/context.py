"""What the handlers share, in one concrete object that the framework can inject."""

from typing import Any

from litestar import Request
from litestar.di import NamedDependency

from proxy.telemetry.metrics import WebMetrics
from proxy.web.assets import Asset, load
from proxy.web.exposition import Exposition
from proxy.web.history import History
from proxy.web.live import LiveFeed
from proxy.web.site import Site


class WebContext:
    """One site's HTTP side: the site, what is counted, kept and pushed."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.metrics = WebMetrics()
        self.history = History()
        self.live = LiveFeed(site, self.metrics)
        self.exposition = Exposition(site, self.metrics)
        self.assets: dict[str, Asset] = load()


Web = NamedDependency[WebContext]  # how a handler asks for it


def actor_name(request: Request[Any, Any, Any]) -> str:
    """Whose key this request came with, for the audit. Only for routes whose access needs a key."""
    name: str = request.state.actor.name
    return name
