"""Rules about settlement: periods that the ledger can answer for, and loops that cannot be confused with the site.

Pure, like `rules`, to which it belongs.
"""

from proxy.checks.report import Report
from proxy.config import SiteConfig

WHOLE_SITE = ("site", "boundary")


def check_settlement(config: SiteConfig, report: Report) -> None:
    """Run every rule about [settlement]. Mistakes and warnings end in `report`."""
    period_s, rollup_s = config.settlement.period_s, config.ledger.rollup_s
    if period_s % rollup_s:
        report.mistake(
            "ledger.rollup_s",
            f"work is kept in steps of {rollup_s:g} s, which do not divide a settlement period of {period_s} s; take {period_s}",
        )
    for number, loop in enumerate(config.loops):
        if loop.name in WHOLE_SITE:
            report.mistake(f"loops[{number}].name", f'"{loop.name}" is the whole site in settlement and meters; take another name')
    metered = {meter.place for meter in config.meters if meter.measures == "electricity"}
    if config.meters and config.units and not metered:
        report.warn(
            "meters",
            "no electricity meter: settlement adds up what the units say they draw, as an estimate, and the proof of heat has one "
            "witness less",
        )
