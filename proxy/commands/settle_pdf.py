"""Settled periods as a PDF report: figures first, then demand against delivery, deviation, electricity, work, and every day.

matplotlib is imported here and nowhere else, with its file back-end: no display, no window, no global state is touched.
"""

import datetime
import io
from collections import defaultdict
from collections.abc import Callable, Sequence
from zoneinfo import ZoneInfo

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter, StrMethodFormatter

from proxy.commands.settle import Settled, utc
from proxy.heat.spans import MISSING
from proxy.heat.totals import Totals, is_whole, totals
from proxy.ledger.records import PeriodRecord

A4_IN = (8.27, 11.69)
INK, QUIET, RULE = "#1c2430", "#5d6875", "#d5dae0"
DEMAND, HEAT, POWER, GAP = "#1c2430", "#d1571b", "#2a6f97", "#b9c0c8"
LOOPS = ("#2a6f97", "#d1571b", "#5b8c5a", "#8a5a9e", "#b08b2e", "#467b86", "#a23b53", "#6b7280")
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.edgecolor": RULE,
    "axes.labelcolor": QUIET,
    "axes.titlecolor": INK,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "legend.frameon": False,
    "pdf.fonttype": 42,
}
DAYS_A_PAGE = 34


def as_pdf(settled: Settled, zone: ZoneInfo) -> bytes:
    """The report. Times on it are of `zone`; revisions older than the newest are left out."""
    newest = list({(r.start_unix_s, r.scope, r.period_s): r for r in settled.records}.values())
    content = io.BytesIO()
    with mpl.rc_context(STYLE):  # type: ignore[arg-type]  # its stub wants a literal of every key
        pages: list[Callable[[Figure], None]] = [
            lambda page: _summary(page, settled, zone),
            lambda page: _delivery(page, newest, zone),
            lambda page: _electricity_and_work(page, newest, zone),
            *_days(newest, zone),
        ]
        made = datetime.datetime.fromtimestamp(settled.made_unix_s, datetime.UTC)
        facts = {"Title": f"Heat settlement {settled.site}", "Creator": "Thermostratum", "CreationDate": made}
        with PdfPages(content, metadata=facts) as file:
            for number, draw in enumerate(pages, 1):
                page = Figure(figsize=A4_IN)
                FigureCanvasAgg(page)
                draw(page)
                _footer(page, settled, number, len(pages))
                file.savefig(page)
    return content.getvalue()


def _footer(page: Figure, settled: Settled, number: int, count: int) -> None:
    page.text(0.08, 0.03, f"{settled.site} · {utc(settled.start_unix_s)} to {utc(settled.end_unix_s)}", fontsize=7, color=QUIET)
    page.text(0.92, 0.03, f"{number} / {count}", fontsize=7, color=QUIET, ha="right")


def _summary(page: Figure, settled: Settled, zone: ZoneInfo) -> None:
    site = settled.totals[0]
    page.text(0.08, 0.93, "Heat settlement", fontsize=20, weight="bold")
    page.text(0.08, 0.905, settled.site, fontsize=12, color=QUIET)
    page.text(0.92, 0.93, f"{_local(settled.start_unix_s, zone)}\nto {_local(settled.end_unix_s, zone)}", ha="right", va="center")
    page.text(0.92, 0.901, f"{zone.key}; {site.periods:,} periods", ha="right", fontsize=8, color=QUIET)
    rows = [
        ("Heat delivered", _kwh(site.heat_wh), _gap(site.heat_missing_s)),
        ("Heat demanded", _kwh(site.demand_wh), "accepted demands in their windows, and what was held"),
        ("Deviation", _part(site.deviation_part), "over periods whose demand and delivery are both whole"),
        ("Electricity", _kwh(site.electric_wh), _gap(site.electric_missing_s)),
        ("Heat per electricity", _ratio(site.heat_per_electric), "kWh of heat for a kWh of electricity"),
        ("Supply temperature kept", _minutes(site), "of the minutes in which one was asked for"),
        ("Availability", _share(site.availability), "part of the installed power that could run"),
    ]
    _table(page, 0.86, rows)
    y = _qualities(page, 0.61, settled.totals)
    y = _proof(page, y - 0.035, settled.totals)
    _chain(page, min(y - 0.035, 0.16), settled)


def _table(page: Figure, top: float, rows: Sequence[tuple[str, str, str]]) -> None:
    for k, (name, value, note) in enumerate(rows):
        y = top - 0.032 * k
        page.text(0.08, y, name, color=QUIET)
        page.text(0.52, y, value, weight="bold", ha="right", fontsize=11)
        page.text(0.55, y, note, color=QUIET, fontsize=7.5)
        _rule(page, y - 0.010)


def _qualities(page: Figure, y: float, sums: Sequence[Totals]) -> float:
    page.text(0.08, y, "Quality of the heat figures, periods", weight="bold")
    names = [*sums[0].heat_qualities]
    for k, name in enumerate(names):
        page.text(0.38 + 0.108 * k, y - 0.024, name, color=QUIET, ha="right", fontsize=8)
    for line, each in enumerate(sums[:9]):
        here = y - 0.046 - 0.020 * line
        page.text(0.08, here, each.scope if line else "site")
        for k, name in enumerate(names):
            count = each.heat_qualities[name]
            is_bad = name == MISSING and count
            page.text(0.38 + 0.108 * k, here, f"{count:,}", ha="right", color=HEAT if is_bad else INK if count else GAP)
    return y - 0.046 - 0.020 * min(len(sums), 9)


def _proof(page: Figure, y: float, sums: Sequence[Totals]) -> float:
    page.text(0.08, y, "Proof of heat", weight="bold")
    page.text(0.25, y, "energy behind validated work, against meters; 95 % interval", color=QUIET, fontsize=7.5)
    for k, name in enumerate(("work", "interval", "electricity", "heat", "agree")):
        page.text((0.33, 0.54, 0.67, 0.80, 0.92)[k], y - 0.024, name, color=QUIET, ha="right", fontsize=8)
    at = y - 0.046
    for line, each in enumerate(sums[:9]):
        verdict = {True: "yes", False: "NO", None: "not judged"}[each.proof_agrees]
        page.text(0.08, at, each.scope if line else "site")
        page.text(0.33, at, _kwh(each.work_wh), ha="right", fontsize=8)
        if each.work_low_wh is not None and each.work_high_wh is not None:
            page.text(0.54, at, f"{each.work_low_wh / 1e3:,.0f} to {each.work_high_wh / 1e3:,.0f}", ha="right", fontsize=8)
        page.text(0.67, at, _kwh(each.electric_wh), ha="right", fontsize=8)
        page.text(0.80, at, _kwh(each.heat_wh), ha="right", fontsize=8)
        page.text(0.92, at, verdict, ha="right", fontsize=8, color=HEAT if each.proof_agrees is False else INK)
        if each.proof_cause is not None:
            text = page.text(0.10, at - 0.013, each.proof_cause, fontsize=6.5, color=HEAT, va="top", wrap=True)
            text._get_wrap_line_width = lambda: 0.82 * A4_IN[0] * page.dpi  # type: ignore[attr-defined]  # its own width is the page's
            at -= 0.030
        at -= 0.020
    return at


def _chain(page: Figure, y: float, settled: Settled) -> None:
    page.text(0.08, y, "Chain", weight="bold")
    page.text(0.17, y, f"unbroken, {settled.rows:,} rows; newest digest (SHA-256)", color=QUIET, fontsize=8)
    page.text(0.17, y - 0.017, settled.head, family="DejaVu Sans Mono", fontsize=7.5)
    page.text(
        0.17,
        y - 0.034,
        "Every record is in it, every revision too. The same digest is in the proxy's log (settlement.head): keep one elsewhere.",
        color=QUIET,
        fontsize=7,
    )
    page.text(0.17, y - 0.051, f"Made {utc(settled.made_unix_s)}", color=QUIET, fontsize=7)


def _delivery(page: Figure, records: Sequence[PeriodRecord], zone: ZoneInfo) -> None:
    site = [record for record in records if record.scope == "site"]
    above, below = page.subplots(2, 1, height_ratios=(3, 2), gridspec_kw={"hspace": 0.28})
    page.subplots_adjust(left=0.1, right=0.95, top=0.93, bottom=0.09)
    above.set_title("Heat demanded and delivered, mean power of each period")
    times = _times(site, zone)
    above.fill_between(times, _mean_kw(site, "heat_wh"), step="post", color=HEAT, alpha=0.35, linewidth=0)
    above.step(times, _mean_kw(site, "heat_wh"), where="post", color=HEAT, linewidth=1.0, label="delivered")
    above.step(times, _mean_kw(site, "demand_wh"), where="post", color=DEMAND, linewidth=1.0, label="demanded")
    _mark_gaps(above, site, zone)
    above.set_ylabel("kW")
    _with_legend(above, 3)
    _time_axis(above, zone)
    compared = [record for record in site if is_whole(record) and record.demand_wh]
    parts = [((r.heat_wh or 0.0) - r.demand_wh) / r.demand_wh for r in compared if r.demand_wh]
    below.set_title("Deviation of delivery from demand")
    if not parts:
        below.text(0.5, 0.5, "no period has both demand and delivery", transform=below.transAxes, ha="center", color=QUIET)
        below.set_axis_off()
        return
    reach = max(0.02, float(np.quantile(np.abs(parts), 0.99)) * 1.1)
    below.hist(np.clip(parts, -reach, reach), bins=41, range=(-reach, reach), color=HEAT, alpha=0.8)
    below.axvline(0.0, color=DEMAND, linewidth=1.0)
    mean, p95 = float(np.mean(np.abs(parts))), float(np.quantile(np.abs(parts), 0.95))
    below.text(
        0.985,
        0.93,
        f"mean of the size {mean:.2%}\n95 % of periods within {p95:.2%}\n{len(parts):,} periods",
        transform=below.transAxes,
        ha="right",
        va="top",
        color=QUIET,
    )
    below.xaxis.set_major_formatter(PercentFormatter(1.0))
    below.set_ylabel("periods")


def _electricity_and_work(page: Figure, records: Sequence[PeriodRecord], zone: ZoneInfo) -> None:
    site = [record for record in records if record.scope == "site"]
    names = [name for name in dict.fromkeys(record.scope for record in records) if name != "site"]
    above, below = page.subplots(2, 1, gridspec_kw={"hspace": 0.28})
    page.subplots_adjust(left=0.1, right=0.95, top=0.93, bottom=0.09)
    above.set_title("Electricity, mean power of each period, beside what the work proves")
    times = _times(site, zone)
    work = _mean_kw(site, "work_wh")
    sigma = np.array([record.work_sigma or 0.0 for record in site] + [0.0])
    half = 1.96 * work * np.hypot(sigma, 0.03)
    above.fill_between(times, work - half, work + half, step="post", color=POWER, alpha=0.18, linewidth=0, label="work, 95 %")
    above.step(times, _mean_kw(site, "electric_wh"), where="post", color=POWER, linewidth=1.0, label="electricity")
    above.step(times, _mean_kw(site, "heat_wh"), where="post", color=HEAT, linewidth=0.8, label="heat")
    _mark_gaps(above, site, zone)
    above.set_ylabel("kW")
    _with_legend(above, 4)
    _time_axis(above, zone)
    below.set_title("Validated work of each loop, mean hashrate of each period")
    for k, name in enumerate(names[: len(LOOPS)]):
        here = [record for record in records if record.scope == name]
        rates = [sum(part.work for part in record.work) / record.period_s / 1e12 for record in here]
        below.step(_times(here, zone), [*rates, rates[-1]], where="post", color=LOOPS[k], linewidth=1.0, label=name)
    below.set_ylabel("TH/s")
    if names:
        _with_legend(below, 4)
    _time_axis(below, zone)


def _days(records: Sequence[PeriodRecord], zone: ZoneInfo) -> list[Callable[[Figure], None]]:
    """Pages with a line for each local day."""
    by_day: dict[str, list[PeriodRecord]] = defaultdict(list)
    for record in records:
        if record.scope == "site":
            by_day[datetime.datetime.fromtimestamp(record.start_unix_s, zone).strftime("%Y-%m-%d %a")].append(record)
    lines = [(day, totals(here, "site", 1.0, 1.0)) for day, here in by_day.items()]
    return [
        lambda page, part=lines[k : k + DAYS_A_PAGE]: _day_page(page, part, zone)  # type: ignore[misc]  # a default binds it
        for k in range(0, len(lines), DAYS_A_PAGE)
    ]


def _day_page(page: Figure, lines: Sequence[tuple[str, Totals]], zone: ZoneInfo) -> None:
    page.text(0.08, 0.93, f"Days ({zone.key})", fontsize=12, weight="bold")
    heads = ("periods", "demanded kWh", "delivered kWh", "deviation", "electricity kWh", "measured", "gaps")
    places = (0.28, 0.41, 0.54, 0.64, 0.77, 0.86, 0.92)
    for x, name in zip(places, heads, strict=True):
        page.text(x, 0.905, name, ha="right", fontsize=7.5, color=QUIET)
    for k, (day, each) in enumerate(lines):
        y = 0.88 - 0.0235 * k
        good = each.heat_qualities["measured"] + each.heat_qualities["summed"]
        cells = (
            f"{each.periods}",
            _number(each.demand_wh),
            _number(each.heat_wh),
            _part(each.deviation_part),
            _number(each.electric_wh),
            f"{good}",
            f"{each.heat_qualities[MISSING]}",
        )
        page.text(0.08, y, day, fontsize=8)
        for x, text in zip(places, cells, strict=True):
            page.text(x, y, text, ha="right", fontsize=8)
        _rule(page, y - 0.008)


def _times(records: Sequence[PeriodRecord], zone: ZoneInfo) -> list[datetime.datetime]:
    """The starts, and the end of the last one, so that every step has its width."""
    moments = [*(record.start_unix_s for record in records), *(record.end_unix_s for record in records[-1:])]
    return [datetime.datetime.fromtimestamp(moment, zone) for moment in moments]


def _mean_kw(records: Sequence[PeriodRecord], name: str) -> np.ndarray:
    """Mean power over the part of each period that is known; NaN (not drawn) where nothing is."""
    values = []
    for record in records:
        wh = getattr(record, name)
        missing_s = getattr(record, f"{name.removesuffix('_wh')}_missing_s", 0.0)
        known_s = record.demand_s if name == "demand_wh" else record.period_s - missing_s
        values.append(float("nan") if wh is None or known_s <= 0 else wh / known_s * 3.6)
    return np.array([*values, *values[-1:]])


def _mark_gaps(axes: Axes, records: Sequence[PeriodRecord], zone: ZoneInfo) -> None:
    label: str | None = "not known in part or whole"
    for record in records:
        if record.heat_quality == MISSING:
            begin, end = (datetime.datetime.fromtimestamp(at, zone) for at in (record.start_unix_s, record.end_unix_s))
            axes.axvspan(begin, end, color=GAP, alpha=0.4, linewidth=0, label=label)  # type: ignore[arg-type]  # dates are units
            label = None


def _time_axis(axes: Axes, zone: ZoneInfo) -> None:
    locator = AutoDateLocator(tz=zone)  # type: ignore[no-untyped-call]  # matplotlib has no types there
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=zone))  # type: ignore[no-untyped-call]  # ditto
    axes.margins(x=0)


def _with_legend(axes: Axes, columns: int) -> None:
    """From 0, with room above the lines for the legend."""
    axes.set_ylim(0, max(axes.get_ylim()[1], 1e-3) * 1.12)
    axes.legend(loc="upper right", ncols=columns)
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))


def _rule(page: Figure, y: float) -> None:
    page.add_artist(mpl.lines.Line2D([0.08, 0.92], [y, y], color=RULE, linewidth=0.6))


def _local(at_unix_s: float, zone: ZoneInfo) -> str:
    return datetime.datetime.fromtimestamp(at_unix_s, zone).strftime("%Y-%m-%d %H:%M")


def _kwh(wh: float | None) -> str:
    return "unknown" if wh is None else f"{wh / 1000:,.1f} kWh"


def _number(wh: float | None) -> str:
    return "–" if wh is None else f"{wh / 1000:,.1f}"


def _part(part: float | None) -> str:
    return "–" if part is None else f"{part:+.2%}".replace("-0.00%", "0.00%").replace("+0.00%", "0.00%")


def _share(part: float | None) -> str:
    return "unknown" if part is None else f"{part:.2%}"


def _ratio(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"


def _minutes(site: Totals) -> str:
    if site.supply_asked_s <= 0:
        return "not asked for"
    return f"{site.supply_kept_s / 60:,.0f} of {site.supply_asked_s / 60:,.0f} min"


def _gap(missing_s: float) -> str:
    return "no gap" if missing_s <= 0 else f"unknown for {missing_s / 60:,.0f} min, which are not in the sum"
