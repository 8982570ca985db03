"""What a site file may say of planning, tank and prices, and what it is told otherwise."""

from pathlib import Path

import pytest

from tests.support.site_checks import told_of
from tests.support.site_file import pool, write_site

GOOD = {"enabled": True, "tank_capacity_wh": 20e6, "tank_max_charge_w": 4e6, "backup_max_w": 5e6}


def told(tmp_path: Path, planner: dict[str, object], costs: dict[str, object] | None = None) -> tuple[list[str], list[str]]:
    """(mistakes, warnings about planner and costs) of a site with these tables."""
    tables = {"heat.planner": planner, "heat.costs": costs or {}}
    return told_of(write_site(tmp_path / "site.toml", [pool("p", 3333)], tables=tables), "heat.planner", "heat.costs")


def test_a_tank_with_its_power_needs_nothing_else(tmp_path: Path) -> None:
    mistakes, warnings = told(tmp_path, GOOD)
    assert mistakes == []
    assert all("there are no units" in line for line in warnings)


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"tank_max_charge_w": 0.0}, "nothing can fill or empty"),
        ({"tank_capacity_wh": 0.0}, "no tank to charge"),
        ({"step_s": 700.0}, "whole blocks"),
        ({"period_s": 3_600.0, "max_age_s": 3_600.0}, "must be below heat.planner.max_age_s"),
        ({"step_s": 60.0}, "step_s"),
        ({"tank_capacity_kwh": 1.0}, 'did you mean "tank_capacity_wh"'),
    ],
)
def test_each_mistake_says_what_to_do(tmp_path: Path, keys: dict[str, object], says: str) -> None:
    mistakes, _ = told(tmp_path, {**GOOD, **keys})
    assert len(mistakes) == 1
    assert says in mistakes[0]


@pytest.mark.parametrize(
    ("keys", "costs", "says"),
    [
        ({"tank_capacity_wh": 20_000.0}, {}, "not in kWh"),
        ({"backup_per_kwh": 0.0}, {}, "free heat"),
        ({"backup_max_w": 0.0, "backup_follows_plan": True}, {}, "there is no boiler"),
        ({"enabled": False}, {}, "has no effect"),
        ({}, {"electricity_per_kwh": 4.5}, "price of a MWh"),
        ({}, {"work_per_th_day": 52.0}, "price of a PH/s"),
    ],
)
def test_what_is_probably_not_meant_is_a_warning(
    tmp_path: Path, keys: dict[str, object], costs: dict[str, object], says: str
) -> None:
    mistakes, warnings = told(tmp_path, {**GOOD, **keys}, costs)
    assert mistakes == []
    assert any(says in line for line in warnings), warnings


def test_a_start_that_costs_less_than_a_change_is_a_mistake(tmp_path: Path) -> None:
    mistakes, _ = told(tmp_path, GOOD, {"switch": 0.1, "start": 0.05})
    assert "heat.costs.switch" in mistakes[0]
