"""Stops and limits that stand: over restarts, taken back by their sender or released by a person, and never lost unsaid."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from proxy.heat.holds import MEMORY, UNREADABLE, VERSION
from proxy.ledger.records import MemoryRecord

# The rig is in conftest.py; test modules cannot import it, so it comes as a fixture without a type.
Make = Callable[..., Any]


def stop_line(site: Any) -> str:
    site.run(20)
    return str(next(line for line in site.control.alarms() if line.startswith("emergency stop")))


def facts(site: Any, name: str) -> list[dict[str, Any]]:
    return [event.facts for event in site.events.since(0) if event.name == name]


def test_a_stop_outlives_a_restart_and_nothing_is_woken_by_the_new_process(rig: Make) -> None:
    site = rig(40)
    site.ask(250_000.0)
    site.run(1_200)
    site.control.set_emergency_stop(True, "modbus 10.0.0.5")
    site.run(600)
    count = len(site.fleet.commands)
    site.restart()
    site.run(1_200)
    assert [level for _, _, level, _ in site.fleet.commands[count:] if level > 0] == []
    assert site.control.view().ladder == "STOP"
    assert [(hold.kind, hold.source) for hold in site.control.view().holds] == [("stop", "modbus 10.0.0.5")]
    assert facts(site, "heat.hold_restored")[0]["source"] == "modbus 10.0.0.5"
    site.control.set_emergency_stop(False, "modbus 10.0.0.5")
    site.run(3_600)
    assert site.control.view().heat_w == pytest.approx(250_000.0, rel=0.02)


def test_a_stop_that_was_set_while_units_ran_puts_them_to_sleep_in_the_next_process(rig: Make) -> None:
    site = rig(20)
    site.ask(100_000.0)
    site.run(600)
    site.control.set_emergency_stop(True, "plc")
    site.restart()
    site.run(60)
    assert all(unit.commanded == 0 for unit in site.fleet.units)


def test_a_stop_that_was_taken_back_stays_taken_back(rig: Make) -> None:
    site = rig(4)
    site.control.set_emergency_stop(True, "plc")
    site.control.set_emergency_stop(False, "plc")
    site.restart()
    assert site.control.stop_sources() == ()


def test_limits_outlive_a_restart_with_their_end(rig: Make) -> None:
    site = rig(60)
    site.ask(400_000.0)
    site.run(2_400)
    site.control.set_manual_limit(350_000.0, "anna")
    site.control.set_import_limit(300_000.0, site.wall() + 1_800.0, "grid")
    site.control.set_import_limit(1.0, site.wall() + 60.0, "short")
    site.now_s += 60.0
    site.restart()
    powers = site.run(1_200)
    assert max(powers[10:]) <= 300_000.0 * 1.01
    assert {(hold.kind, hold.source) for hold in site.control.view().holds} == {
        ("manual limit", "anna"),
        ("import limit", "grid"),
    }
    powers = site.run(3_600)
    assert powers[-1] == pytest.approx(350_000.0, rel=0.02)
    site.control.set_manual_limit(None, "anna")
    site.restart()
    assert site.control.cap_w() is None


def test_an_operator_releases_the_stop_of_a_sender_that_is_gone(rig: Make) -> None:
    site = rig(4)
    site.control.set_emergency_stop(True, "modbus 10.0.0.5")
    assert "POST /api/v1/heat/stop/release" in stop_line(site)
    refusal = site.control.release_stop("modbus 10.0.0.6", "Anna Meier", "PLC replaced")
    assert "held by: modbus 10.0.0.5" in refusal
    assert site.control.release_stop("modbus 10.0.0.5", "Anna Meier", "PLC replaced") is None
    assert site.control.stop_sources() == ()
    assert facts(site, "heat.stop_released") == [
        {"source": "modbus 10.0.0.5", "released_by": "Anna Meier", "reason": "PLC replaced"}
    ]
    site.restart()
    assert site.control.stop_sources() == ()


def test_a_sender_that_still_says_stop_holds_it_again_and_people_are_told_why(rig: Make) -> None:
    site = rig(4)
    site.control.set_emergency_stop(True, "modbus 10.0.0.5")
    assert "40007" in stop_line(site)
    site.control.release_stop("modbus 10.0.0.5", "Anna Meier", "PLC replaced")
    site.now_s += 2.0
    site.control.set_emergency_stop(True, "modbus 10.0.0.5")
    assert "held it again 2 s after Anna Meier released it" in stop_line(site)
    assert facts(site, "heat.stop_held")[-1]["released_by"] == "Anna Meier"
    site.control.set_emergency_stop(False, "modbus 10.0.0.5")
    site.control.set_emergency_stop(True, "modbus 10.0.0.5")
    assert "again 2 s" not in stop_line(site)


@pytest.mark.parametrize(
    ("version", "body"),
    [
        (VERSION, "{"),
        (VERSION, '{"stops": {}}'),
        (VERSION + 1, "{}"),
        (VERSION, '{"stops": {}, "manual": null, "import_limits": 3}'),
    ],
)
def test_what_cannot_be_read_counts_as_a_stop_that_an_operator_releases(rig: Make, version: int, body: str) -> None:
    site = rig(4)
    site.ledger.kept[MEMORY] = MemoryRecord(MEMORY, site.wall(), version, body)
    site.restart()
    assert site.control.stop_sources() == (UNREADABLE,)
    assert site.control.cap_w() == 0.0
    assert site.control.release_stop(UNREADABLE, "Anna Meier", "checked the plant") is None
    site.restart()
    assert site.control.stop_sources() == ()


def test_a_negative_limit_in_the_ledger_is_not_believed(rig: Make) -> None:
    site = rig(4)
    body = {"stops": {}, "manual": None, "import_limits": {"grid": {"power_w": -1.0, "until_unix_s": 9e9}}}
    site.ledger.kept[MEMORY] = MemoryRecord(MEMORY, site.wall(), VERSION, msgspec.json.encode(body).decode())
    site.restart()
    assert site.control.stop_sources() == (UNREADABLE,)


def test_a_stop_acts_although_the_ledger_cannot_keep_it_and_says_so(rig: Make) -> None:
    site = rig(4)
    site.ledger.takes_memories = False
    site.control.set_emergency_stop(True, "plc")
    assert site.control.cap_w() == 0.0
    assert facts(site, "heat.holds_not_kept")


def test_a_limit_that_is_sent_again_unchanged_is_told_and_kept_once(rig: Make) -> None:
    site = rig(4)
    for _ in range(3):
        site.control.set_import_limit(5_000.0, 2e9, "grid")
    assert len(facts(site, "heat.import_limit_set")) == 1
    site.control.set_import_limit(None, 2e9, "stranger")
    assert len(facts(site, "heat.import_limit_set")) == 1


def test_an_operators_limit_of_zero_says_its_own_way_out(rig: Make) -> None:
    site = rig(4)
    site.control.set_manual_limit(0.0, "anna")
    site.restart()
    site.run(20)
    assert any("PUT /api/v1/heat/limit" in line for line in site.control.alarms())
