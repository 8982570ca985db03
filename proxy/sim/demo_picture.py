"""Fills the demo's picture (see progress) from the proxy's own words and from the plant. Pure, but for what it is handed."""

from collections import deque

from proxy.sim.floor import Floor
from proxy.sim.progress import Picture
from proxy.sim.utility import Utility
from proxy.views import PoolView, SiteView


class RateMeter:
    """How fast a counter rises, over the last `window_s`."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._seen: deque[tuple[float, int]] = deque()

    def add(self, now_s: float, count: int) -> float | None:
        """Note the counter now; counts a second, None until there are two moments."""
        self._seen.append((now_s, count))
        while len(self._seen) > 2 and self._seen[1][0] <= now_s - self._window_s:
            self._seen.popleft()
        first_s, first = self._seen[0]
        return (count - first) / (now_s - first_s) if now_s > first_s else None


def show_site(picture: Picture, view: SiteView) -> None:
    """What the proxy says of itself."""
    picture.accepted = view.shares.accepted
    picture.rejected = sum(view.shares.rejected.values()) + sum(view.shares.refused.values())
    picture.pools = ", ".join(f"{pool.name} ({_version(pool)})" for pool in view.pools if pool.active) or "none"
    picture.ladder = view.heat.ladder


def _version(pool: PoolView) -> str:
    return "V2" if pool.transport == "noise" else "V1"


def show_plant(picture: Picture, floor: Floor, utility: Utility) -> None:
    """What is really so: units, heat, weather."""
    picture.units_connected, picture.units_v2 = floor.connected, floor.connected_v2
    picture.demand_w = utility.demand_w
    picture.heat_w = floor.plant.delivered_w
    picture.power_w = sum(unit.power_w for unit in floor.units)
    picture.hour, picture.outdoor_c = utility.hour(), utility.outdoor_c()
