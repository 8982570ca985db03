"""`thermostratum simulate`: find a scenario, let its day pass with a progress line, draw the pictures, print what came of it.

The result is one line of JSON on standard output, so that a script can read it; all else goes to standard error.
"""

import sys
import time
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from proxy.errors import ThermostratumError
from proxy.sim.twin import plots, scenario
from proxy.sim.twin.engine import Twin
from proxy.sim.twin.summary import Summary, summarize

SUMMARY_FILE = "summary.json"


class SimulateError(ThermostratumError):
    """What an operator must know to go on."""


def show_list() -> None:
    """The shipped scenarios, one a line."""
    for path in scenario.shipped():
        loaded = scenario.load(path)
        sys.stdout.write(f"{loaded.name:16} {loaded.scenario.scenario.title}\n")


def simulate(name: str, *, seed: int | None, hours: float | None, out: Path | None, with_plots: bool) -> Summary:
    """Run the scenario `name` (a path, or a shipped one). Raises ConfigError for a wrong scenario, SimulateError for the rest."""
    loaded = scenario.load(scenario.find(name))
    folder = out if out is not None else Path(f"simulate-{loaded.name}")
    if folder.exists() and not folder.is_dir():
        raise SimulateError(f"{folder} is a file; --out names the folder for pictures and summary")
    used_seed = loaded.scenario.scenario.seed if seed is None else seed
    twin = Twin(loaded, seed=used_seed, hours=hours)
    began_s = time.perf_counter()
    _run(twin)
    summary = summarize(twin, used_seed, time.perf_counter() - began_s)
    try:
        written = plots.draw(twin, folder) if with_plots else []
        if with_plots:
            (folder / SUMMARY_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(summary)) + b"\n")
    except OSError as error:
        raise SimulateError(f"{folder}: {error.strerror}; choose another folder with --out") from error
    _tell(twin, summary, written)
    sys.stdout.write(msgspec.json.encode(summary).decode() + "\n")
    return summary


def _run(twin: Twin) -> None:
    console = Console(stderr=True)
    about = f"{twin.loaded.name}: {len(twin.machines)} units, {twin.hours:g} h"
    if not console.is_terminal:
        console.print(about, highlight=False)
        twin.run()
        return
    columns = (TextColumn(about), BarColumn(), TextColumn("{task.percentage:3.0f} %"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=1.0)
        twin.run(lambda part: progress.update(task, completed=part))


def _tell(twin: Twin, summary: Summary, written: list[Path]) -> None:
    """For people: the figures a heat contract is judged by, and where the pictures are."""
    lines = [
        f"tracking   RMS {_percent(summary.rms)}, within 1 % {_percent(summary.within_1, 1)} of the time,"
        f" within 2 % {_percent(summary.within_2, 1)}, worst {_percent(summary.worst)}",
        f"energy     15 min off by {_percent(summary.energy_error_mean)} on average, {_percent(summary.energy_error_p95)} at p95;"
        f" {summary.heat_mwh:,.2f} of {summary.demand_mwh:,.2f} MWh",
        f"wear       {summary.changes_per_unit_day:.1f} level changes and {summary.sleeps_per_unit_day:.2f} sleeps a unit and day",
        f"money      {summary.electricity_mwh:,.2f} MWh cost {summary.electricity_cost:,.0f} {summary.currency},"
        f" work earned {summary.work_revenue:,.0f} {summary.currency}",
        f"decision   {summary.decision_ms_median} ms (median), {summary.decision_ms_p95} ms (p95)",
    ]
    if summary.short_mwh is not None:
        lines.append(f"tank       {summary.short_mwh:,.3f} MWh could not be served: the boiler's")
    if summary.room is not None:
        lines.append(f"room       {summary.room.rms_k} K RMS by day, {summary.room.coldest_k} K too cold at worst")
    alarms = ", ".join(f"{count} {name}" for name, count in summary.alarms.items())
    lines.append(f"events     {alarms or 'none above info'}")
    if written:
        lines.append(f"pictures   {', '.join(str(path) for path in written)}")
    lines.append(f"took       {summary.wall_s:.1f} s for {twin.hours:g} h")
    if summary.room is not None:
        del lines[:2]  # what one unit of two levels makes of a wish for 317 W is no figure: the room averages it
    console = Console(stderr=True)
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _percent(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{100.0 * value:.{digits}f} %"
