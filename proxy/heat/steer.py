"""What a block of the plan means for the units now: the demand of this moment, and what tank and boiler add to it or take off it.

Pure. Whether the guidance is heeded is heat control's business.
"""

from proxy.config_heat import Planner
from proxy.heat.guidance import Guidance
from proxy.heat.plan import PlannedBlock

# The tank takes a demand that is off the planned one up to this part of what can be moved in and out of it.
SLACK = 0.1


def guidance_of(
    planner: Planner, block: PlannedBlock, demand_w: float | None, tank_wh: float | None, valid_until_unix_s: float
) -> Guidance:
    """Guidance for a moment of the block. `tank_wh` is what the tank was said to hold, None unknown: then it is left alone."""
    extra_w = 0.0 if demand_w is None else _tank_w(planner, block, demand_w, tank_wh)
    if planner.backup_follows_plan:
        extra_w -= block.backup_w
    return Guidance(
        valid_until_unix_s=valid_until_unix_s,
        heat_now_w=None if demand_w is None or extra_w == 0 else max(0.0, demand_w + extra_w),
        price_of_heat_per_kwh=block.price_of_heat_per_kwh,
        electricity_per_kwh=block.electricity_per_kwh,
        work_per_th_day=block.work_per_th_day,
    )


def _tank_w(planner: Planner, block: PlannedBlock, demand_w: float, tank_wh: float | None) -> float:
    """Heat for the tank. A full one is not filled and an empty one not emptied, whatever the plan said before the last reading."""
    if tank_wh is None or block.tank_wh is None:
        return 0.0
    most_w = planner.tank_max_charge_w
    off_w = min(max(block.demand_w - demand_w, -SLACK * most_w), SLACK * most_w)
    charge_w = min(max(block.tank_charge_w + off_w, -most_w), most_w)
    if tank_wh >= planner.tank_capacity_wh:
        return min(charge_w, 0.0)
    return max(charge_w, 0.0) if tank_wh <= 0 else charge_w
