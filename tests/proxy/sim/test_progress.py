"""What the terminal says."""

import io
from typing import Any

import pytest
import trio
from rich.console import Console

from proxy.sim.demo_picture import RateMeter
from proxy.sim.progress import Display, Picture, panel, plain_line

FULL = Picture(
    phase="running",
    elapsed_s=12.3,
    seconds=60.0,
    units_connected=227,
    units_v2=113,
    units_total=228,
    shares_per_s=33.2,
    accepted=400,
    rejected=1,
    demand_w=1_300_000.0,
    heat_w=1_290_000.0,
    power_w=1_370_000.0,
    outdoor_c=-3.4,
    hour=7.75,
    pools="north",
    ladder="LIVE",
    url="http://127.0.0.1:8080",
    told=("mains of L1-01 cut",),
)


def text_of(picture: Picture) -> str:
    console = Console(file=io.StringIO(), width=110)
    console.print(panel(picture))
    return console.file.getvalue()


def test_the_panel_shows_heat_shares_pool_and_where_to_look() -> None:
    text = text_of(FULL)
    for words in (
        "227 of 228",
        "1,290 kW of 1,300 kW",
        "-0.8%",
        "33.2 a second",
        "north",
        "07:45",
        "-3.4 °C",
        "http://127.0.0.1:8080",
        "L1-01",
    ):
        assert words in text


def test_unknown_is_a_dash_and_never_zero() -> None:
    assert "demand - heat -" in plain_line(Picture(units_total=228))
    assert "- of - demanded" in text_of(Picture(units_total=228))
    assert "0 kW" not in text_of(Picture(units_total=228))


def test_the_key_is_for_the_terminal_only() -> None:
    picture = Picture(units_total=228, operator_key="abc123")
    assert "abc123" in text_of(picture)
    assert "abc123" not in plain_line(picture)


def test_a_line_for_a_log_has_no_escapes() -> None:
    line = plain_line(FULL)
    assert line.isprintable()
    counts = "227/228 units (113 on V2) 33.2 shares/s 400 accepted 1 rejected"
    assert line == f"[ 12.3 s] running: {counts} demand 1,300 kW heat 1,290 kW pool north"


async def test_without_a_terminal_there_is_a_line_now_and_then_and_one_for_each_event(
    autojump_clock: Any, nursery: trio.Nursery
) -> None:
    console = Console(file=io.StringIO(), width=200)
    picture = Picture(phase="running", units_total=228)
    nursery.start_soon(Display(console).run, lambda: picture)
    await trio.sleep(11)
    picture.told = ("pool north stops answering",)
    await trio.sleep(3)
    lines = console.file.getvalue().splitlines()
    assert len([line for line in lines if "running:" in line]) == 3
    assert len([line for line in lines if "pool north stops" in line]) == 1


def test_a_rate_is_over_the_window_only() -> None:
    rate = RateMeter(10.0)
    assert rate.add(0.0, 0) is None
    for second in range(1, 60):
        value = rate.add(float(second), 5 * second if second < 40 else 200)
    assert value == pytest.approx(0.0)
