"""Rules about what moves units: how often one may be moved in a day, and what counts as a demand that swings.

Pure, like `rules`, to which it belongs. What rest means, and who is told of a swing, is heat control's business.
"""

from proxy.checks.report import Report
from proxy.config import SiteConfig

# Level changes a unit and day that heat control plans for (proxy.heat.wear makes further ones dearer).
PLANNED_PER_DAY = 6
DAY_S = 86_400.0


def check_wear(config: SiteConfig, report: Report) -> None:
    """Mistakes and warnings end in `report`."""
    heat, most = config.heat, config.heat.max_changes_per_day
    if most < PLANNED_PER_DAY:
        report.mistake(
            "heat.max_changes_per_day",
            f"{most} is below the {PLANNED_PER_DAY} a unit and day that are planned for: on a common day all would rest by noon",
        )
    elif most < 2 * PLANNED_PER_DAY:
        report.warn(
            "heat.max_changes_per_day",
            f"{most} is near the {PLANNED_PER_DAY} a unit and day that are planned for: heat gets coarse on a windy day",
        )
    dwells_s = [config.models[unit.model].min_dwell_s for unit in config.units if unit.model in config.models]
    if dwells_s and min(dwells_s) > 0 and most > DAY_S / min(dwells_s):
        report.warn(
            "heat.max_changes_per_day",
            f"{most} is more than min_dwell_s of {min(dwells_s):g} s permits ({DAY_S / min(dwells_s):.0f}): no unit ever rests",
        )
    if heat.swing_size <= heat.dead_band:
        report.warn(
            "heat.swing_size", f"is not above heat.dead_band ({heat.dead_band:g}): what moves no unit would count as a swing"
        )
