"""Rules about [heat.planner] and [heat.costs]: a tank that can be filled, blocks that fit the clock, prices in the right unit.

Pure, like `rules`, of which this is a part.
"""

from proxy.checks.report import Report
from proxy.config import SiteConfig
from proxy.config_heat import Planner

# Prices of a kWh above this are seen in emergencies only; as a standing price it is one of a MWh.
DEAR_PER_KWH = 1.0
# 1 TH/s has not earned so much in a day since 2013; it is a price of a PH/s.
DEAR_PER_TH_DAY = 10.0


def check_planner(config: SiteConfig, report: Report) -> None:
    """Mistakes and warnings end in `report`."""
    _costs(config, report)
    planner = config.heat.planner
    _tank(planner, report)
    if planner.backup_max_w > 0 and planner.backup_per_kwh == 0:
        report.warn("heat.planner.backup_per_kwh", "is 0: free heat of the boiler would replace that of the units")
    if planner.backup_follows_plan and planner.backup_max_w == 0:
        report.warn("heat.planner.backup_follows_plan", "has no effect: there is no boiler (heat.planner.backup_max_w)")
    if 86_400 % planner.step_s:
        report.mistake(
            "heat.planner.step_s", f"{planner.step_s:g} s do not divide a day into whole blocks; take 300, 600, 900, 1800 or 3600"
        )
    report.ordered(("heat.planner.period_s", planner.period_s), ("heat.planner.max_age_s", planner.max_age_s), is_strict=True)
    if planner.enabled and not config.heat.enabled:
        report.warn("heat.planner.enabled", "has no effect: heat.enabled is false")
    elif planner.enabled and not config.units:
        report.warn("heat.planner.enabled", "has no effect: there are no units")
    elif not planner.enabled and planner != Planner():
        report.warn("heat.planner", "has no effect: enabled is not true")


def _tank(planner: Planner, report: Report) -> None:
    capacity_wh, charge_w = planner.tank_capacity_wh, planner.tank_max_charge_w
    if capacity_wh > 0 and charge_w == 0:
        report.mistake(
            "heat.planner.tank_capacity_wh",
            "a tank that nothing can fill or empty: set tank_max_charge_w, or capacity 0 for no tank",
        )
    elif charge_w > 0 and capacity_wh == 0:
        report.mistake("heat.planner.tank_max_charge_w", "there is no tank to charge: set tank_capacity_wh, or 0 here")
    elif charge_w > 0 and capacity_wh < charge_w * planner.step_s / 3600:
        report.warn(
            "heat.planner.tank_capacity_wh",
            f"{capacity_wh:,g} Wh are full after less than one block at {charge_w:,g} W; it is in Wh, not in kWh",
        )


def _costs(config: SiteConfig, report: Report) -> None:
    costs = config.heat.costs
    for key in ("electricity_per_kwh", "heat_per_kwh"):
        if abs(getattr(costs, key)) > DEAR_PER_KWH:
            report.warn(f"heat.costs.{key}", f"{getattr(costs, key):g} for a kWh: divide a price of a MWh by 1000")
    if costs.work_per_th_day > DEAR_PER_TH_DAY:
        report.warn("heat.costs.work_per_th_day", f"{costs.work_per_th_day:g} for 1 TH/s a day: divide a price of a PH/s by 1000")
    report.ordered(("heat.costs.switch", costs.switch), ("heat.costs.start", costs.start))
