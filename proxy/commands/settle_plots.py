"""The plots of a settlement report: power asked, delivered and drawn, deviation, work of each loop.

A period is drawn from its beginning to its end, whatever stands beside it, and nothing where nothing is known. Pages and tables
are `settle_pdf`'s.
"""

import datetime
from collections.abc import Callable, Sequence
from zoneinfo import ZoneInfo

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter, StrMethodFormatter

from proxy.heat.proof import MODEL_SIGMA, Z
from proxy.heat.spans import MISSING
from proxy.heat.totals import is_whole
from proxy.ledger.records import PeriodRecord

QUIET = "#5d6875"
DEMAND, HEAT, POWER, GAP = "#1c2430", "#d1571b", "#2a6f97", "#b9c0c8"
LOOPS = ("#2a6f97", "#d1571b", "#5b8c5a", "#8a5a9e", "#b08b2e", "#467b86", "#a23b53", "#6b7280")
_PAPER = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 2.0}


def delivery(page: Figure, records: Sequence[PeriodRecord], zone: ZoneInfo) -> None:
    """A page: what was asked and delivered over time, and how far apart they were."""
    site = [record for record in records if record.scope == "site"]
    above, below = page.subplots(2, 1, height_ratios=(3, 2), gridspec_kw={"hspace": 0.28})
    page.subplots_adjust(left=0.1, right=0.95, top=0.93, bottom=0.09)
    above.set_title("Heat demanded and delivered, mean power of each period")
    times, heat = _line(site, zone, _mean_kw("heat_wh"))
    above.fill_between(times, heat, color=HEAT, alpha=0.35, linewidth=0)
    above.plot(times, heat, color=HEAT, linewidth=1.0, label="delivered")
    above.plot(*_line(site, zone, _mean_kw("demand_wh")), color=DEMAND, linewidth=1.0, label="demanded")
    _mark_gaps(above, site, zone)
    above.set_ylabel("kW")
    _with_legend(above, 3)
    _time_axis(above, zone)
    _deviation(below, site)


def _deviation(axes: Axes, site: Sequence[PeriodRecord]) -> None:
    parts = [((r.heat_wh or 0.0) - r.demand_wh) / r.demand_wh for r in site if is_whole(r) and r.demand_wh]
    axes.set_title("Deviation of delivery from demand")
    if not parts:
        axes.text(0.5, 0.5, "no period has both demand and delivery", transform=axes.transAxes, ha="center", color=QUIET)
        axes.set_axis_off()
        return
    reach = max(0.02, float(np.quantile(np.abs(parts), 0.99)) * 1.1)
    axes.hist(np.clip(parts, -reach, reach), bins=41, range=(-reach, reach), color=HEAT, alpha=0.8)
    axes.axvline(0.0, color=DEMAND, linewidth=1.0)
    mean, p95 = float(np.mean(np.abs(parts))), float(np.quantile(np.abs(parts), 0.95))
    axes.text(
        0.985,
        0.95,
        f"mean size {mean:.2%}\n95 % of periods within {p95:.2%}\n{counted(len(parts), 'period')}",
        transform=axes.transAxes,
        ha="right",
        va="top",
        color=QUIET,
        bbox=_PAPER,
    )
    axes.set_ylim(0, axes.get_ylim()[1] * 1.25)  # the words stand above the bars
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("delivered less demanded, of demanded")
    axes.set_ylabel("periods")


def electricity_and_work(page: Figure, records: Sequence[PeriodRecord], zone: ZoneInfo) -> None:
    """A page: electricity beside what work proves, and the work of each loop."""
    site = [record for record in records if record.scope == "site"]
    names = [name for name in dict.fromkeys(record.scope for record in records) if name != "site"]
    above, below = page.subplots(2, 1, gridspec_kw={"hspace": 0.28})
    page.subplots_adjust(left=0.1, right=0.95, top=0.93, bottom=0.09)
    above.set_title("Electricity, mean power of each period, beside what the work proves")
    times, work = _line(site, zone, _mean_kw("work_wh"))
    _, sigma = _line(site, zone, lambda record: record.work_sigma or 0.0)
    half = Z * work * np.hypot(sigma, MODEL_SIGMA)
    above.fill_between(times, work - half, work + half, color=POWER, alpha=0.18, linewidth=0, label="work, 95 %")
    above.plot(*_line(site, zone, _mean_kw("electric_wh")), color=POWER, linewidth=1.0, label="electricity")
    above.plot(*_line(site, zone, _mean_kw("heat_wh")), color=HEAT, linewidth=0.8, label="heat")
    _mark_gaps(above, site, zone)
    above.set_ylabel("kW")
    _with_legend(above, 4)
    _time_axis(above, zone)
    more = f" (the first {len(LOOPS)} of {len(names)})" if len(names) > len(LOOPS) else ""
    below.set_title(f"Validated work of each loop{more}, mean hashrate of each period")
    for k, name in enumerate(names[: len(LOOPS)]):
        here = [record for record in records if record.scope == name]
        below.plot(*_line(here, zone, _mean_ths), color=LOOPS[k], linewidth=1.0, label=name)
    below.set_ylabel("TH/s")
    if not names:
        below.plot(*_line(site, zone, _mean_ths), color=LOOPS[0], linewidth=1.0, label="site")
    _with_legend(below, 4)
    _time_axis(below, zone)


def counted(number: int, noun: str) -> str:
    """1 period, 2 periods."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _line(
    records: Sequence[PeriodRecord], zone: ZoneInfo, value: Callable[[PeriodRecord], float]
) -> tuple[list[datetime.datetime], np.ndarray]:
    """Level over each period; broken where a value is NaN and where the records have a hole."""
    moments: list[int] = []
    values: list[float] = []
    for record in records:
        if moments and moments[-1] != record.start_unix_s:
            moments.append(moments[-1])
            values.append(float("nan"))
        here = value(record)
        moments += [record.start_unix_s, record.end_unix_s]
        values += [here, here]
    return [datetime.datetime.fromtimestamp(moment, zone) for moment in moments], np.array(values)


def _mean_kw(name: str) -> Callable[[PeriodRecord], float]:
    """Mean power over the part of a period that is known; NaN where nothing is."""

    def mean(record: PeriodRecord) -> float:
        wh = getattr(record, name)
        missing_s = getattr(record, f"{name.removesuffix('_wh')}_missing_s", 0.0)
        known_s = record.demand_s if name == "demand_wh" else record.period_s - missing_s
        return float("nan") if wh is None or known_s <= 0 else wh / known_s * 3.6

    return mean


def _mean_ths(record: PeriodRecord) -> float:
    return sum(part.work for part in record.work) / record.period_s / 1e12


def _mark_gaps(axes: Axes, records: Sequence[PeriodRecord], zone: ZoneInfo) -> None:
    """Grey where the heat is not known, neighbours as one; a hole in the records is one too."""
    spans: list[tuple[int, int]] = []
    last_end: int | None = None
    for record in records:
        if last_end is not None and record.start_unix_s > last_end:
            spans.append((last_end, record.start_unix_s))
        if record.heat_quality == MISSING:
            spans.append((record.start_unix_s, record.end_unix_s))
        last_end = record.end_unix_s
    label: str | None = "not known in part or whole"
    for begin, end in _joined(spans):
        edges = [datetime.datetime.fromtimestamp(at, zone) for at in (begin, end)]
        axes.axvspan(*edges, color=GAP, alpha=0.4, linewidth=0, label=label)  # type: ignore[arg-type]  # dates are units
        label = None


def _joined(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for begin, end in spans:
        if joined and joined[-1][1] == begin:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((begin, end))
    return joined


def _time_axis(axes: Axes, zone: ZoneInfo) -> None:
    locator = AutoDateLocator(tz=zone)  # type: ignore[no-untyped-call]  # matplotlib has no types there
    axes.xaxis.set_major_locator(locator)
    # Its offset names the day of the last tick, which is the day after: the footer names the days.
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=zone, show_offset=False))  # type: ignore[no-untyped-call]  # ditto
    axes.margins(x=0)


def _with_legend(axes: Axes, columns: int) -> None:
    """From 0, with room above the lines for the legend."""
    rows = -(-len(axes.get_legend_handles_labels()[1]) // columns)
    axes.set_ylim(0, max(axes.get_ylim()[1], 1e-3) * (1.06 + 0.08 * rows))
    axes.legend(loc="upper right", ncols=columns, frameon=True, facecolor="white", edgecolor="none", framealpha=0.85)
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}" if axes.get_ylim()[1] >= 10 else "{x:,.2f}"))
