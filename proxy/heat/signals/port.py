"""What a signal adapter may ask of heat control, and the report it sends back. Every transport sees the plant through this."""

from typing import Protocol

import msgspec

from proxy.heat.demand import DemandAccepted, DemandRefused, HeatDemand


class Report(msgspec.Struct, frozen=True, gc=False):
    """The plant as the utility is told. Unknown is None.

    heat_w: delivered now; quality: measured, summed, estimated or unknown. headroom: heat that could be added or taken away, W.
    ladder: LIVE, HOLD, FALLBACK, LIMIT or STOP. alarms: standing interlocks and refusals, most severe first. alive: rises by one
    with every control cycle, so that a reader can tell a dead controller from a quiet one.
    """

    alive: int
    at_unix_s: float
    ladder: str
    demand_w: float | None
    supply_asked_c: float | None
    heat_w: float | None
    quality: str
    power_w: float | None
    headroom_up_w: float
    headroom_down_w: float
    supply_c: float | None
    return_c: float | None
    flow_l_per_min: float | None
    energy_wh: float | None
    alarms: tuple[str, ...]


class SignalPort(Protocol):
    """Heat control as an adapter sees it. All calls are plain, on the trio thread, and never raise for any value."""

    def submit_demand(self, demand: HeatDemand, now_unix_s: float) -> DemandAccepted | DemandRefused:
        """Judge a demand; accepted means recorded and in force from its window on."""
        ...

    def set_outdoor(self, outdoor_c: float, source: str, now_unix_s: float) -> str | None:
        """Take an outdoor temperature for the heat curve; None when believed, else why not."""
        ...

    def set_import_limit(self, power_w: float | None, until_unix_s: float, source: str) -> str | None:
        """Cap the site's electrical power until a time (None takes this source's cap away); None when taken, else why not."""
        ...

    def set_emergency_stop(self, stop: bool, source: str) -> None:
        """Everything asleep at once, until this same source takes it back. Several sources may hold it; it outlives a restart."""
        ...

    def stop_sources(self) -> tuple[str, ...]:
        """Whose stops are held, those of an earlier process too."""
        ...

    def report(self, now_unix_s: float) -> Report:
        """The plant now."""
        ...
