"""What a site file may say of the storage tank's sensors, and what it is told otherwise."""

from pathlib import Path

import pytest

from tests.support.site_checks import site_with, told_of

SENSORS = "[" + ", ".join(f'{{quantity = "tank_c", address = {k}, kind = "int16", scale = 0.1}}' for k in range(4)) + "]"
TANK = f"""
[[meters]]
name = "tank"
measures = "tank"
address = "10.20.0.50:502"
profile = "custom"
registers = {SENSORS}
"""
PLANNER = """
[heat.planner]
enabled = true
tank_capacity_wh = 8_000_000
tank_max_charge_w = 400_000
tank_volume_m3 = 300
tank_empty_c = 45
"""


def told(tmp_path: Path, text: str) -> tuple[list[str], list[str]]:
    """(mistakes, warnings about the tank) of a site with this text."""
    return told_of(site_with(tmp_path, text), "tank")


def test_four_sensors_and_a_volume_need_nothing_else(tmp_path: Path) -> None:
    assert told(tmp_path, TANK + PLANNER) == ([], [])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (TANK + PLANNER.replace("tank_volume_m3 = 300\n", ""), "temperatures alone are no heat"),
        (TANK + PLANNER.replace("tank_volume_m3 = 300", "tank_volume_m3 = 30"), "30 m3 hold between"),
        (TANK.replace('profile = "custom"', 'protocol = "mbus"') + PLANNER, "each sensor is one register"),
        (TANK.replace(SENSORS, SENSORS.replace("tank_c", "supply_c", 1)) + PLANNER, "and nothing else"),
        (TANK.replace(SENSORS, '[{quantity = "tank_c", address = 1}]') + PLANNER, "3 or more of the quantity tank_c"),
        (TANK + TANK.replace('"tank"\nmeasures', '"other"\nmeasures').replace(".50:", ".51:") + PLANNER, "is a second tank"),
        (TANK.replace("[[meters]]", '[[loops]]\nname = "a"\n[[meters]]\nplace = "a"') + PLANNER, "has no meaning for a tank"),
        (TANK.replace('measures = "tank"', 'measures = "heat"') + PLANNER, 'that is for a meter with measures = "tank"'),
    ],
)
def test_each_mistake_says_what_to_do(tmp_path: Path, text: str, says: str) -> None:
    mistakes, _ = told(tmp_path, text)
    assert any(says in line for line in mistakes), mistakes


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (TANK + PLANNER.replace("enabled = true", "enabled = false"), "the planner is off"),
        (PLANNER, 'no meter has measures = "tank"'),
    ],
)
def test_what_has_no_effect_is_a_warning(tmp_path: Path, text: str, says: str) -> None:
    mistakes, warnings = told(tmp_path, text)
    assert mistakes == []
    assert any(says in line for line in warnings), warnings
