"""Rules about the heat curve, the mode and the loops' flow: what control is told to follow must be there to be followed.

Pure, like `rules`, to which it belongs. What a curve means between its points is heat/curve's business.
"""

import itertools

from proxy.checks.modbus import BOUNDARY, measured_by
from proxy.checks.report import Report
from proxy.config import SiteConfig

Points = list[tuple[float, float]]
# Supply temperatures that a demand may ask for, and so a curve.
LOWEST_SUPPLY_C, HIGHEST_SUPPLY_C = 20.0, 120.0


def check_curve(config: SiteConfig, report: Report) -> None:
    """Mistakes and warnings end in `report`."""
    curve = config.heat.curve
    for key, points in (("points", curve.points), ("supply_points", curve.supply_points)):
        _rising(f"heat.curve.{key}", points, report)
    for index, (outdoor_c, heat_w) in enumerate(curve.points):
        if heat_w < 0:
            report.mistake(f"heat.curve.points[{index}]", f"{heat_w:,g} W at {outdoor_c:g} C: heat is 0 or more")
    for index, (outdoor_c, supply_c) in enumerate(curve.supply_points):
        if not LOWEST_SUPPLY_C <= supply_c <= HIGHEST_SUPPLY_C:
            allowed = f"{LOWEST_SUPPLY_C:g} to {HIGHEST_SUPPLY_C:g} degrees Celsius"
            report.mistake(f"heat.curve.supply_points[{index}]", f"{supply_c:g} C at {outdoor_c:g} C; allowed: {allowed}")
    if curve.is_mode and not curve.points and not curve.supply_points:
        report.mistake(
            "heat.curve.is_mode",
            "there is no curve to rule: give points, such as points = [[-20, 2_000_000], [15, 300_000]], or supply_points",
        )
    _supply_mode(config, report)
    _flows(config, report)


def _rising(path: str, points: Points, report: Report) -> None:
    if len(points) == 1:
        report.mistake(path, "one point is no curve: give at least two, or none")
    for index, ((before_c, _), (outdoor_c, _)) in enumerate(itertools.pairwise(points), start=1):
        if outdoor_c <= before_c:
            report.mistake(
                f"{path}[{index}]",
                f"outdoor {outdoor_c:g} C is not above the point before ({before_c:g} C); list points from cold to warm",
            )
    values = [value for _, value in points]
    if len(values) > 1 and values[-1] > values[0]:
        report.warn(path, f"asks for more the warmer it is ({values[0]:,g} to {values[-1]:,g}): each point is [outdoor, value]")


def _supply_mode(config: SiteConfig, report: Report) -> None:
    """A supply temperature is held only where somebody asks for one and somebody measures it."""
    if config.heat.mode != "supply_temperature":
        return
    signals = config.signals
    others = (signals.modbus.listen, signals.mqtt.broker, signals.opcua.listen)
    if not signals.rest.enabled and not config.heat.curve.supply_points and not any(others):
        report.mistake(
            "heat.mode",
            '"supply_temperature", but nothing asks for one: give heat.curve.supply_points or enable rest, modbus, mqtt or opcua',
        )
    metered = [measured_by(meter) for meter in config.meters if meter.place == BOUNDARY and meter.measures == "heat"]
    if not any({"supply_c", "return_c"} <= known for known in metered):
        report.warn(
            "heat.mode",
            '"supply_temperature", but no meter at the boundary measures supply and return: unless PUT /api/v1/heat/meter sends '
            "both, the heat in the demand is followed instead",
        )


def _flows(config: SiteConfig, report: Report) -> None:
    for index, loop in enumerate(config.loops):
        if loop.design_flow_l_per_min is None:
            continue
        metered = (measured_by(meter) for meter in config.meters if meter.place == loop.name and meter.measures == "heat")
        if not any("flow_l_per_h" in known for known in metered):
            report.warn(
                f"loops[{index}].design_flow_l_per_min",
                f'no meter of loop "{loop.name}" measures its flow, so flow is never proven and the loop wakes nobody: add one to '
                "[[meters]], or remove this key",
            )
