"""One look at every scope of the site, put together from control, meters and the fleet: what the minutes are made of.

Pure: it asks plain calls and holds nothing. Telemetry of the units is never called measured; only a meter measures.
"""

from collections.abc import Sequence
from typing import Protocol

from proxy.heat.meters.bank import BOUNDARY, Counter, Measured
from proxy.heat.minutes import Look
from proxy.heat.settlement import Place, Plan
from proxy.heat.signals.port import Report
from proxy.heat.spans import ESTIMATED, MEASURED, MISSING, SUMMED, CounterPoint
from proxy.units.unit import UnitImage, UnitState
from proxy.views import HeatView

# Units that could not run now, whatever they were told.
UNAVAILABLE = frozenset({UnitState.OFFLINE, UnitState.FAULT, UnitState.SERVICE, UnitState.LOCKED_OUT})
# Telemetry of less than this part of the installed power says too little about the whole.
LEAST_TELEMETRY = 0.9


class HeatPort(Protocol):
    """What settlement asks of heat control."""

    def view(self) -> HeatView: ...
    def report(self, now_unix_s: float) -> Report: ...


class MeterPort(Protocol):
    """What settlement asks of the meters."""

    def site_heat(self, now_unix_s: float) -> Measured: ...
    def loop_heat(self, loop: str, now_unix_s: float) -> Measured: ...
    def electric_w(self, now_unix_s: float, place: str = BOUNDARY) -> float | None: ...
    def counter(self, place: str, now_unix_s: float, measures: str = "heat") -> Counter | None: ...


class FleetPort(Protocol):
    """What settlement asks of the fleet."""

    def image(self, now_s: float) -> tuple[UnitImage, ...]: ...


def looks_of(
    plan: Plan,
    heat: HeatPort,
    meters: MeterPort,
    images: Sequence[UnitImage],
    efficiency: float,
    tolerance_k: float,
    now_unix_s: float,
    *,
    is_alive: bool,
) -> dict[str, Look]:
    """A look at the site and at each loop, at this moment. `is_alive`: control's cycles go on, so what it says is of now."""
    view = heat.view()
    looks = {}
    for place in plan.places:
        is_site = place is plan.site
        metered_w = meters.electric_w(now_unix_s, BOUNDARY if is_site else place.name)
        here = images if is_site else [image for image in images if image.loop == place.name]
        reported_w, available = telemetry(place, here)
        electric_w = reported_w if metered_w is None else metered_w
        if is_site:
            heat_w, quality = _site_heat(meters.site_heat(now_unix_s), view if is_alive else None)
        else:
            heat_w, quality = _loop_heat(meters.loop_heat(place.name, now_unix_s), electric_w, efficiency)
        boundary = BOUNDARY if is_site else place.name
        looks[place.name] = Look(
            heat_w=heat_w,
            heat_quality=quality,
            heat_counter=_point(meters.counter(boundary, now_unix_s)),
            electric_w=electric_w,
            electric_quality=MISSING if electric_w is None else ESTIMATED if metered_w is None else MEASURED,
            electric_counter=_point(meters.counter(boundary, now_unix_s, "electricity")),
            reported_w=reported_w,
            held_w=_held_w(view) if is_site and is_alive else None,
            supply=_supply(heat.report(now_unix_s), tolerance_k) if is_site and is_alive else None,
            available=available,
        )
    return looks


def telemetry(place: Place, images: Sequence[UnitImage]) -> tuple[float | None, float]:
    """The sum of what the units of a place say they draw (None: too few say it), and the part of its power that could run."""
    tops = [max(level.power_w for level in image.levels) for image in images]
    installed_w = sum(tops)
    if installed_w <= 0.0:
        return None, 0.0
    heard_w = sum(top for top, image in zip(tops, images, strict=True) if image.power_w is not None)
    ready_w = sum(top for top, image in zip(tops, images, strict=True) if image.state not in UNAVAILABLE)
    reported_w = sum(image.power_w for image in images if image.power_w is not None)
    return (reported_w if heard_w >= LEAST_TELEMETRY * installed_w else None), ready_w / installed_w


def _site_heat(metered: Measured, view: HeatView | None) -> tuple[float | None, str]:
    if metered.value is not None:
        return metered.value, metered.quality
    if view is None or view.heat_w is None or view.heat_quality not in (MEASURED, SUMMED, ESTIMATED):
        return None, MISSING
    return view.heat_w, view.heat_quality


def _loop_heat(metered: Measured, electric_w: float | None, efficiency: float) -> tuple[float | None, str]:
    if metered.value is not None:
        return metered.value, MEASURED
    return (None, MISSING) if electric_w is None else (electric_w * efficiency, ESTIMATED)


def _held_w(view: HeatView) -> float | None:
    """Heat that rules though no demand is valid: held, or from the heat curve."""
    return None if view.demand_valid_for_s else view.demand_w


def _supply(report: Report, tolerance_k: float) -> bool | None:
    if report.supply_asked_c is None or report.supply_c is None:
        return None
    return report.supply_c >= report.supply_asked_c - tolerance_k


def _point(counter: Counter | None) -> CounterPoint | None:
    return None if counter is None else CounterPoint(counter.meter, counter.at_unix_s, counter.energy_wh)
