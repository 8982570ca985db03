"""What is short in a plan, in words for an operator: when, how much, and what keeps the plant from it. Pure."""

import itertools
from collections.abc import Sequence

from proxy.heat.plan import PlannedBlock, Problem, Shortfall, clock_text, limits_w, power_text

# Missing heat below this part of the demand is a rounding error of the solver.
TOLERANCE = 1e-3


def shortfalls(problem: Problem, blocks: Sequence[PlannedBlock]) -> tuple[Shortfall, ...]:
    """Each stretch of missing or unwanted heat, in the order of time."""
    found = []
    for is_surplus in (False, True):
        for is_off, group in itertools.groupby(blocks, key=lambda block: _off_w(block, is_surplus) > _allowed_w(block)):
            if is_off:
                found.append(_shortfall(problem, list(group), is_surplus))
    return tuple(sorted(found, key=lambda shortfall: shortfall.start_unix_s))


def _off_w(block: PlannedBlock, is_surplus: bool) -> float:
    return block.surplus_w if is_surplus else block.short_w


def _allowed_w(block: PlannedBlock) -> float:
    return max(1.0, TOLERANCE * block.demand_w)


def _shortfall(problem: Problem, stretch: Sequence[PlannedBlock], is_surplus: bool) -> Shortfall:
    worst = max(stretch, key=lambda block: _off_w(block, is_surplus))
    energy_wh = sum(_off_w(block, is_surplus) * block.length_s for block in stretch) / 3600
    much = f"{power_text(_off_w(worst, is_surplus))} {_span(problem, stretch)} ({energy_wh / 1000:,.1f} kWh)"
    head = f"more heat than is wanted, by up to {much}" if is_surplus else f"heat is short by up to {much}"
    cause = _cause_of_surplus(problem, worst) if is_surplus else _cause_of_shortage(problem, worst)
    return Shortfall(
        start_unix_s=stretch[0].start_unix_s,
        end_unix_s=stretch[-1].start_unix_s + stretch[-1].length_s,
        most_w=_off_w(worst, is_surplus),
        energy_wh=energy_wh,
        is_surplus=is_surplus,
        text=f"{head}: {cause}, {_tank_words(problem, worst)}",
    )


def _cause_of_shortage(problem: Problem, worst: PlannedBlock) -> str:
    most_w = limits_w(problem)[1]
    if worst.power_w >= most_w * (1 - TOLERANCE):
        units = f"the units give at most {power_text(most_w * problem.thermal_efficiency)}"
    else:
        units = f"the ramp of {power_text(problem.ramp_w_per_min)} a minute lets the units give {power_text(worst.units_heat_w)}"
    boiler = "there is no back-up boiler" if problem.boiler is None else f"the boiler gives {power_text(worst.backup_w)}"
    return f"{units}, {boiler}"


def _cause_of_surplus(problem: Problem, worst: PlannedBlock) -> str:
    least_w = limits_w(problem)[0]
    if worst.power_w <= least_w * (1 + TOLERANCE):
        return f"the units make at least {power_text(least_w * problem.thermal_efficiency)} (heat.min_power_w)"
    return f"the ramp of {power_text(problem.ramp_w_per_min)} a minute does not let the units go lower"


def _tank_words(problem: Problem, block: PlannedBlock) -> str:
    tank = problem.tank
    if tank is None:
        return "and there is no tank"
    if block.tank_wh is None:
        return "and what the tank holds is unknown (PUT /api/v1/heat/tank)"
    if abs(block.tank_charge_w) >= tank.max_charge_w * (1 - TOLERANCE):
        return f"and the tank moves {power_text(tank.max_charge_w)} at most"
    return f"and the tank holds {block.tank_wh / 1000:,.1f} kWh then"


def _span(problem: Problem, stretch: Sequence[PlannedBlock]) -> str:
    start_unix_s = stretch[0].start_unix_s
    hours = (stretch[-1].start_unix_s + stretch[-1].length_s - start_unix_s) / 3600
    ahead_h = (start_unix_s - problem.blocks[0].start_unix_s) / 3600
    # A time of day alone says which day only within the next one.
    day = f" (in {ahead_h:.0f} h)" if ahead_h >= 12 else ""
    return f"from {clock_text(start_unix_s)} UTC{day} for {hours:.1f} h"
