"""Rules about the meter of the storage tank: sensors that can be read, and a tank that they can be heat of.

Pure, like `rules`. Whether the tank fits its pumps and the clock is said with the planner.
"""

from proxy.checks.report import Report
from proxy.config import Meter, Planner, SiteConfig

BOUNDARY = "boundary"
# Between two sensors lies at most half of the tank.
FEWEST_SENSORS = 3
# A cubic metre of water holds so much for each kelvin, and a storage tank is hardly warmer than this.
WH_PER_M3_K, HOTTEST_C = 1_150.0, 110.0


def check_tank(config: SiteConfig, report: Report) -> None:
    """Mistakes and warnings end in `report`."""
    planner = config.heat.planner
    tanks = [(f"meters[{k}]", meter) for k, meter in enumerate(config.meters) if meter.measures == "tank"]
    for path, _ in tanks[1:]:
        report.mistake(
            f"{path}.measures", "is a second tank: the plan knows one; put all sensors into one meter, from the top down"
        )
    for path, meter in tanks[:1]:
        _sensors(meter, path, report)
        if planner.tank_volume_m3 is None or planner.tank_empty_c is None:
            report.mistake(f"{path}.measures", "needs heat.planner.tank_volume_m3 and tank_empty_c: temperatures alone are no heat")
        if planner.tank_capacity_wh == 0 or not planner.enabled:
            report.warn(f"{path}.measures", "has no effect: the planner is off or knows no tank (heat.planner.tank_capacity_wh)")
    if not tanks and planner.tank_volume_m3 is not None:
        report.warn("heat.planner.tank_volume_m3", 'has no effect: no meter has measures = "tank"')
    _size(planner, report)


def _sensors(meter: Meter, path: str, report: Report) -> None:
    if meter.protocol != "modbus" or meter.profile != "custom":
        report.mistake(f"{path}.profile", 'of a tank is "custom", and its protocol "modbus": each sensor is one register')
    elif {each.quantity for each in meter.registers} != {"tank_c"} or len(meter.registers) < FEWEST_SENSORS:
        report.mistake(
            f"{path}.registers",
            f"of a tank are {FEWEST_SENSORS} or more of the quantity tank_c, from its top down, and nothing else",
        )
    if meter.place != BOUNDARY:
        report.mistake(f"{path}.place", "has no meaning for a tank: leave it out")


def _size(planner: Planner, report: Report) -> None:
    if planner.tank_volume_m3 is None or planner.tank_empty_c is None:
        return
    most_wh = planner.tank_volume_m3 * WH_PER_M3_K * max(0.0, HOTTEST_C - planner.tank_empty_c)
    if planner.tank_capacity_wh > most_wh:
        report.mistake(
            "heat.planner.tank_capacity_wh",
            f"{planner.tank_capacity_wh:,g} Wh are more than {planner.tank_volume_m3:g} m3 hold between tank_empty_c and "
            f"{HOTTEST_C:g} C ({most_wh:,.0f} Wh)",
        )
