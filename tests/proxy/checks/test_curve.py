"""What a site file may say of the heat curve, the mode and a loop's flow, and what it is told otherwise."""

from pathlib import Path

import pytest

from tests.support.site_checks import site_with, told_of

CURVE = "[heat.curve]\npoints = [[-20, 2_000_000], [0, 900_000], [15, 300_000]]\n"
SUPPLY = "[heat.curve]\nsupply_points = [[-20, 80], [15, 65]]\n"
MODE = '[heat]\nmode = "supply_temperature"\n'
METER = '[[meters]]\nname = "billing"\naddress = "10.20.0.31:502"\n'
LOOP = '[[loops]]\nname = "north"\ndesign_flow_l_per_min = 900\n'
NO_REST = "[signals.rest]\nenabled = false\n"


def told(tmp_path: Path, text: str) -> tuple[list[str], list[str]]:
    """(mistakes, warnings of these rules) of a site with this text."""
    return told_of(site_with(tmp_path, text), "curve", "heat.mode", "design_flow")


@pytest.mark.parametrize(
    "text", [CURVE, CURVE + "is_mode = true\n", SUPPLY + "is_mode = true\n", MODE + METER, LOOP + METER + 'place = "north"\n']
)
def test_a_good_table_needs_nothing_else(tmp_path: Path, text: str) -> None:
    assert told(tmp_path, text) == ([], [])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (CURVE.replace("[0, ", "[-25, "), "points[1]: outdoor -25 C is not above the point before (-20 C)"),
        (CURVE.replace("[0, ", "[-20, "), "list points from cold to warm"),
        ("[heat.curve]\npoints = [[0, 1]]\n", "at least two"),
        ("[heat.curve]\nis_mode = true\n", "no curve to rule"),
        (CURVE.replace("300_000", "-1"), "heat is 0 or more"),
        (SUPPLY.replace("80", "353"), "20 to 120"),
        (MODE + NO_REST + METER, "nothing asks for one"),
    ],
)
def test_each_mistake_says_what_to_do(tmp_path: Path, text: str, says: str) -> None:
    mistakes, _ = told(tmp_path, text)
    assert len(mistakes) == 1, mistakes
    assert says in mistakes[0]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[heat.curve]\npoints = [[-20, 300_000], [15, 900_000]]\n", "the warmer it is"),
        (MODE, "no meter at the boundary"),
        (MODE + METER + 'protocol = "modbus"\nprofile = "custom"\nregisters = [{quantity = "heat_w", address = 1}]\n', "boundary"),
        (LOOP, "wakes nobody"),
        (LOOP + METER, "wakes nobody"),
    ],
)
def test_what_is_probably_not_meant_is_a_warning(tmp_path: Path, text: str, says: str) -> None:
    mistakes, warnings = told(tmp_path, text)
    assert mistakes == []
    assert len(warnings) == 1, warnings
    assert says in warnings[0]
