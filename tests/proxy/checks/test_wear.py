"""What a site file may say of level changes a day and of swings, and what it is told otherwise."""

from pathlib import Path

import pytest

from tests.support.site_checks import told_of
from tests.support.site_file import pool, write_site

UNIT = {"id": "u1", "address": "10.0.0.1", "model": "m", "loop": "north"}
MODEL = {"levels": [{"name": "full", "power_w": 3_000, "hashrate_hps": 1e14}], "min_dwell_s": 600}


def told(tmp_path: Path, heat: dict[str, object]) -> tuple[list[str], list[str]]:
    """(mistakes, warnings about these keys) of a site with this table."""
    path = write_site(
        tmp_path / "site.toml", [pool("p", 3333)], units=[UNIT], loops=["north"], tables={"models.m": MODEL, "heat": heat}
    )
    return told_of(path, "heat.max_changes", "heat.swing")


def test_the_defaults_need_no_word(tmp_path: Path) -> None:
    assert told(tmp_path, {}) == ([], [])


@pytest.mark.parametrize(
    ("heat", "says"),
    [
        ({"max_changes_per_day": 8}, "is near the 6"),
        ({"max_changes_per_day": 200}, "permits (144): no unit ever rests"),
        ({"swing_size": 0.004}, "what moves no unit would count"),
    ],
)
def test_what_will_not_do_what_was_meant_is_a_warning(tmp_path: Path, heat: dict[str, object], says: str) -> None:
    mistakes, warnings = told(tmp_path, heat)
    assert mistakes == []
    assert [says in line for line in warnings] == [True]


def test_fewer_changes_than_are_planned_for_are_a_mistake(tmp_path: Path) -> None:
    mistakes, _ = told(tmp_path, {"max_changes_per_day": 5})
    assert ["below the 6 a unit and day" in line for line in mistakes] == [True]
