"""Settled periods as a PDF report: figures first, loops, the plots of `settle_plots`, and every day.

matplotlib is imported here and there and nowhere else, with its file back-end: no display, no window, no global state is touched.
"""

import datetime
import io
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from zoneinfo import ZoneInfo

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure

from proxy.commands.settle import Settled, utc
from proxy.commands.settle_plots import GAP, HEAT, QUIET, counted, delivery, electricity_and_work
from proxy.heat.spans import MISSING
from proxy.heat.totals import Totals, totals
from proxy.ledger.records import PeriodRecord

A4_IN = (8.27, 11.69)
INK, RULE = "#1c2430", "#d5dae0"
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
# The lowest line above the footer, and above the chain on the first page; parts of the page's height.
BOTTOM, ABOVE_CHAIN = 0.06, 0.19
LOOPS_TOP = 0.93
ROW, CAUSE = 0.020, 0.030


def as_pdf(settled: Settled, zone: ZoneInfo) -> bytes:
    """The report. Times on it are of `zone`; revisions older than the newest are left out."""
    content = io.BytesIO()
    made = datetime.datetime.fromtimestamp(settled.made_unix_s, datetime.UTC)
    facts = {"Title": f"Heat settlement {settled.site}", "Creator": "Thermostratum", "CreationDate": made}
    with mpl.rc_context(STYLE), PdfPages(content, metadata=facts) as file:  # type: ignore[arg-type]  # its stub wants literals
        for page in pages_of(settled, zone):
            file.savefig(page)
    return content.getvalue()


def pages_of(settled: Settled, zone: ZoneInfo) -> Iterator[Figure]:
    """Its pages one by one, drawn in the style that is in force."""
    newest = list({(r.start_unix_s, r.scope, r.period_s): r for r in settled.records}.values())
    pages: list[Callable[[Figure], None]] = [
        lambda page: _summary(page, settled, zone),
        *_loop_pages(settled),
        lambda page: delivery(page, newest, zone),
        lambda page: electricity_and_work(page, newest, zone),
        *_days(newest, zone),
    ]
    for number, draw in enumerate(pages, 1):
        page = Figure(figsize=A4_IN)
        FigureCanvasAgg(page)
        draw(page)
        _footer(page, settled, number, len(pages))
        yield page


def _footer(page: Figure, settled: Settled, number: int, count: int) -> None:
    page.text(0.08, 0.03, f"{settled.site} · {utc(settled.start_unix_s)} to {utc(settled.end_unix_s)}", fontsize=7, color=QUIET)
    page.text(0.92, 0.03, f"{number} / {count}", fontsize=7, color=QUIET, ha="right")


def _summary(page: Figure, settled: Settled, zone: ZoneInfo) -> None:
    site = settled.totals[0]
    newest = [record for record in settled.records if record.scope == "site"]
    page.text(0.08, 0.93, "Heat settlement", fontsize=20, weight="bold")
    page.text(0.08, 0.905, settled.site, fontsize=12, color=QUIET)
    page.text(0.92, 0.93, f"{_local(settled.start_unix_s, zone)}\nto {_local(settled.end_unix_s, zone)}", ha="right", va="center")
    page.text(0.92, 0.901, f"{zone.key}; {counted(site.periods, 'period')}", ha="right", fontsize=8, color=QUIET)
    hole_s = _hole_s(newest)
    rows = [
        ("Heat delivered", _kwh(site.heat_wh), _gap(site.heat_missing_s, hole_s)),
        ("Heat demanded", _kwh(site.demand_wh), "accepted demands in their windows, and what was held"),
        ("Deviation", _part(site.deviation_part), "over periods whose demand and delivery are both whole"),
        ("Electricity", _kwh(site.electric_wh), _gap(site.electric_missing_s, hole_s)),
        ("Heat per electricity", _ratio(site.heat_per_electric), "kWh of heat for a kWh of electricity"),
        ("Supply temperature kept", _kept(site), "of the time in which one was asked for"),
        ("Availability", _share(site.availability), "part of the installed power that could run"),
    ]
    _table(page, 0.86, rows)
    here = settled.totals if _fits(settled.totals) else settled.totals[:1]
    y = _qualities(page, 0.61, here)
    y = _proof(page, y - 0.035, here)
    if len(here) < len(settled.totals):
        page.text(0.08, y, f"{counted(len(settled.totals) - 1, 'loop')}: next page", color=QUIET, fontsize=8)
    _chain(page, 0.16, settled)


def _height(sums: Sequence[Totals]) -> float:
    """What qualities and proof of these scopes take of a page."""
    causes = sum(each.proof_cause is not None for each in sums)
    return 2 * 0.046 + 0.035 + 2 * ROW * len(sums) + CAUSE * causes


def _fits(sums: Sequence[Totals]) -> bool:
    return _height(sums) <= 0.61 - ABOVE_CHAIN


def _loop_pages(settled: Settled) -> list[Callable[[Figure], None]]:
    """Pages for the loops of a site that has more than the first page can hold."""
    if _fits(settled.totals):
        return []
    pages: list[list[Totals]] = [[]]
    for each in settled.totals[1:]:
        if _height([*pages[-1], each]) > LOOPS_TOP - BOTTOM:
            pages.append([])
        pages[-1].append(each)
    return [lambda page, part=part: _loop_page(page, part) for part in pages]  # type: ignore[misc]  # a default binds it


def _loop_page(page: Figure, sums: Sequence[Totals]) -> None:
    _proof(page, _qualities(page, LOOPS_TOP, sums) - 0.035, sums)


def _hole_s(site: Sequence[PeriodRecord]) -> int:
    """For how long there is no record at all between the first and the last one."""
    return sum(max(0, after.start_unix_s - before.end_unix_s) for before, after in pairwise(site))


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
    for line, each in enumerate(sums):
        here = y - 0.046 - ROW * line
        page.text(0.08, here, each.scope)
        for k, name in enumerate(names):
            count = each.heat_qualities[name]
            is_bad = name == MISSING and count
            page.text(0.38 + 0.108 * k, here, f"{count:,}", ha="right", color=HEAT if is_bad else INK if count else GAP)
    return y - 0.046 - ROW * len(sums)


def _proof(page: Figure, y: float, sums: Sequence[Totals]) -> float:
    page.text(0.08, y, "Proof of heat", weight="bold")
    page.text(0.25, y, "energy behind validated work, against meters; 95 % interval", color=QUIET, fontsize=7.5)
    for k, name in enumerate(("work", "interval, kWh", "electricity", "heat", "agree")):
        page.text((0.33, 0.54, 0.67, 0.80, 0.92)[k], y - 0.024, name, color=QUIET, ha="right", fontsize=8)
    at = y - 0.046
    for each in sums:
        verdict = {True: "yes", False: "NO", None: "not judged"}[each.proof_agrees]
        page.text(0.08, at, each.scope)
        page.text(0.33, at, _kwh(each.work_wh), ha="right", fontsize=8)
        if each.work_low_wh is not None and each.work_high_wh is not None:
            page.text(0.54, at, f"{each.work_low_wh / 1e3:,.0f} to {each.work_high_wh / 1e3:,.0f}", ha="right", fontsize=8)
        page.text(0.67, at, _kwh(each.electric_wh), ha="right", fontsize=8)
        page.text(0.80, at, _kwh(each.heat_wh), ha="right", fontsize=8)
        page.text(0.92, at, verdict, ha="right", fontsize=8, color=HEAT if each.proof_agrees is False else INK)
        if each.proof_cause is not None:
            text = page.text(0.10, at - 0.013, each.proof_cause, fontsize=6.5, color=HEAT, va="top", wrap=True)
            text._get_wrap_line_width = lambda: 0.82 * A4_IN[0] * page.dpi  # type: ignore[attr-defined]  # its own width is the page's
            at -= CAUSE
        at -= ROW
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
    page.text(
        0.92, 0.93, "measured, gaps: periods whose heat is known by meters, or not known", ha="right", fontsize=7, color=QUIET
    )
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


def _kept(site: Totals) -> str:
    if site.supply_asked_s <= 0:
        return "not asked for"
    unit_s, unit = (60, "min") if site.supply_asked_s < 100 * 3_600 else (3_600, "h")
    return f"{site.supply_kept_s / unit_s:,.0f} of {site.supply_asked_s / unit_s:,.0f} {unit}"


def _gap(missing_s: float, hole_s: float) -> str:
    parts = [f"unknown for {missing_s / 60:,.0f} min"] if missing_s > 0 else []
    parts += [f"no record of {hole_s / 3_600:,.1f} h"] if hole_s > 0 else []
    return " and ".join(parts) + ", not in the sum" if parts else "no gap"
