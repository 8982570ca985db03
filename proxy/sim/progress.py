"""What the demo says in the terminal while it runs: a panel that renews itself, or plain lines where there is no terminal.

It shows facts that are handed to it and keeps none. It writes to standard error: standard output belongs to the JSON line.
"""

from collections.abc import Callable

import msgspec
import trio
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

REFRESH_S = 0.5
# A log file or a CI job wants to know that it lives, not to be flooded.
PLAIN_LINE_S = 5.0


class Picture(msgspec.Struct, kw_only=True):
    """The demo at one moment. Unknown is None. `told` are the newest things that happened, oldest first."""

    phase: str = "starting"
    elapsed_s: float = 0.0
    seconds: float | None = None
    units_connected: int = 0
    units_v2: int = 0
    units_total: int = 0
    shares_per_s: float | None = None
    accepted: int = 0
    rejected: int = 0
    demand_w: float | None = None
    heat_w: float | None = None
    power_w: float | None = None
    outdoor_c: float | None = None
    hour: float | None = None
    pools: str = ""
    ladder: str = ""
    url: str = ""
    operator_key: str = ""  # of this run only; shown on a terminal, never in a log
    told: tuple[str, ...] = ()


def plain_line(picture: Picture) -> str:
    """One line for a log."""
    words = [
        f"[{picture.elapsed_s:5.1f} s]",
        picture.phase + ":",
        f"{picture.units_connected}/{picture.units_total} units ({picture.units_v2} on V2)",
        f"{_number(picture.shares_per_s, '.1f')} shares/s",
        f"{picture.accepted} accepted",
        f"{picture.rejected} rejected",
        f"demand {_kw(picture.demand_w)}",
        f"heat {_kw(picture.heat_w)}",
    ]
    if picture.pools:
        words.append(f"pool {picture.pools}")
    return " ".join(words)


def panel(picture: Picture) -> RenderableType:
    """The panel for a terminal."""
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column()
    facts.add_row("units mining", _bar(picture.units_connected, picture.units_total))
    facts.add_row("", f"{picture.units_connected - picture.units_v2} on Stratum V1, {picture.units_v2} on Stratum V2")
    facts.add_row("heat", f"{_kw(picture.heat_w)} of {_kw(picture.demand_w)} demanded{_error(picture)}")
    facts.add_row("power", f"{_kw(picture.power_w)} electrical")
    facts.add_row(
        "shares", f"{_number(picture.shares_per_s, '.1f')} a second, {picture.accepted} accepted, {picture.rejected} rejected"
    )
    facts.add_row("pool", picture.pools or "-")
    facts.add_row("town", _town(picture))
    lines: list[RenderableType] = [facts]
    lines += [Text(f"  {text}", style="dim") for text in picture.told]
    lines.append(Text.assemble("open ", (picture.url, "bold"), "   Ctrl-C ends it"))
    if picture.operator_key:
        lines.append(Text.assemble("operator key of this run, for the page's buttons: ", (picture.operator_key, "bold")))
    left = "" if picture.seconds is None else f" of {picture.seconds:.0f}"
    title = f"Thermostratum demo: {picture.phase}, {picture.elapsed_s:.0f}{left} s"
    return Panel(Group(*lines), title=title, title_align="left")


class Display:
    """Shows pictures until cancelled, in whatever way suits the terminal."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = Console(stderr=True) if console is None else console

    async def run(self, look: Callable[[], Picture]) -> None:
        """Ask `look` for a picture again and again."""
        if self._console.is_terminal:
            await self._run_live(look)
        else:
            await self._run_plain(look)

    def say(self, text: str) -> None:
        """One line that stays."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    async def _run_live(self, look: Callable[[], Picture]) -> None:
        with Live(panel(look()), console=self._console, auto_refresh=False, transient=False) as live:
            while True:
                await trio.sleep(REFRESH_S)
                live.update(panel(look()), refresh=True)

    async def _run_plain(self, look: Callable[[], Picture]) -> None:
        """A line now and then, and one at once for each new thing that happened."""
        told: tuple[str, ...] = ()
        phase, next_line_s = "", trio.current_time()
        while True:
            picture = look()
            for text in picture.told:
                if text not in told:
                    self.say(f"[{picture.elapsed_s:5.1f} s] {text}")
            told = picture.told
            if picture.phase != phase or trio.current_time() >= next_line_s:
                phase, next_line_s = picture.phase, trio.current_time() + PLAIN_LINE_S
                self.say(plain_line(picture))
            await trio.sleep(REFRESH_S)


def _bar(done: int, total: int) -> RenderableType:
    grid = Table.grid(padding=(0, 1))
    grid.add_row(ProgressBar(total=max(total, 1), completed=done, width=30), f"{done} of {total}")
    return grid


def _error(picture: Picture) -> str:
    if picture.heat_w is None or not picture.demand_w:
        return ""
    return f" ({(picture.heat_w / picture.demand_w - 1.0):+.1%}, {picture.ladder})"


def _town(picture: Picture) -> str:
    if picture.hour is None or picture.outdoor_c is None:
        return "-"
    return f"{int(picture.hour):02d}:{int(picture.hour % 1 * 60):02d}, {picture.outdoor_c:+.1f} °C outside"


def _kw(power_w: float | None) -> str:
    return "-" if power_w is None else f"{power_w / 1_000:,.0f} kW"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
