"""Prices, a schedule and a tank over HTTP, until the machines make more or less than is asked for; and no plan, no change."""

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from proxy.heat.meters.bank import MeterSample
from tests.support.hall import EFFICIENCY, LOW_W, START_UNIX_S, Hall, hall

UNITS = 4
PLANNER = """
[heat.planner]
enabled = true
horizon_h = 6
tank_capacity_wh = 20_000
tank_max_charge_w = 8_000
"""
SENSORS = """
tank_volume_m3 = 0.7
tank_empty_c = 45

[[meters]]
name = "tank"
measures = "tank"
address = "10.20.0.50:502"
profile = "custom"
registers = [
    { quantity = "tank_c", address = 0 },
    { quantity = "tank_c", address = 2 },
    { quantity = "tank_c", address = 4 },
]
"""
# What four units on their lower level draw, and one of them on its higher one.
ASKED_W = 4 * LOW_W


def series(*values: float) -> dict[str, object]:
    """Hours from the quarter hour that runs on."""
    return {"start": START_UNIX_S - START_UNIX_S % 900, "step_s": 3_600, "values": values}


async def tell(it: Hall, content_kwh: float, *prices: float) -> None:
    """A schedule from the utility, what the tank holds, and the operator's prices."""
    schedule = {"demand_kw": series(*[ASKED_W * EFFICIENCY / 1_000] * 6)}
    assert (await it.put("/api/v1/heat/forecast", schedule, "utility")).status_code == 200
    assert (await it.put("/api/v1/heat/tank", {"content_kwh": content_kwh}, "utility")).status_code == 200
    assert (await it.put("/api/v1/prices", {"electricity_per_kwh": series(*prices)}, "operator")).status_code == 200


async def test_units_fill_the_tank_while_electricity_is_cheap_and_rest_while_it_is_dear(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with hall(tmp_path, mock_clock, units=UNITS, text=PLANNER) as it:
        await it.demand(ASKED_W)
        await it.until(lambda: it.is_near(ASKED_W))
        await tell(it, 5.0, 0.05, 0.9, 0.9, 0.9, 0.05, 0.05)
        await it.until(lambda: it.power_w > ASKED_W + 4_000, 900)
        view = it.app.site.view()
        assert view.plan is not None
        assert view.plan.tank_charge_w == pytest.approx(8_000, rel=0.01)
        assert view.heat.demand_w == pytest.approx(ASKED_W * EFFICIENCY)
        await tell(it, 15.0, 0.9, 0.05, 0.05, 0.05, 0.05, 0.05)
        await it.until(lambda: it.power_w < ASKED_W - 4_000, 900)
        plan = (await it.client.get("/api/v1/heat/plan")).json()
        assert plan["plan"]["state"] == "good"
        assert plan["blocks"]["tank_charge_w"][0] == pytest.approx(-8_000, rel=0.01)
        names = [event.name for event in it.app.events.since(0)]
        assert {"heat.planned", "heat.forecast_taken"} <= set(names)
        assert ("operator", "prices", "taken") in {(row[0], row[1], row[2]) for row in await audited(it)}


async def audited(it: Hall) -> list[tuple[str, str, str]]:
    """Who did what, and what came of it, as published."""
    return [
        (str(event.facts["actor"]), str(event.facts["action"]), str(event.facts["after"]))
        for event in it.app.events.since(0)
        if event.name == "audit.recorded"
    ]


async def test_without_forecasts_and_tank_units_make_what_is_asked(tmp_path: Path, mock_clock: MockClock) -> None:
    async with hall(tmp_path, mock_clock, units=UNITS, text=PLANNER) as it:
        await it.demand(ASKED_W)
        await it.until(lambda: it.is_near(ASKED_W))
        await it.until(lambda: (it.app.site.view().plan or pytest.fail("no planner")).state == "good")
        plan = it.app.site.view().plan
        assert plan is not None
        assert any("what the tank holds is unknown" in note for note in plan.notes)
        assert plan.tank_charge_w is None
        assert it.app.site.view().heat.demand_w == pytest.approx(ASKED_W * EFFICIENCY)


async def test_a_tank_that_is_measured_is_planned_with_and_shown(tmp_path: Path, mock_clock: MockClock) -> None:
    async with hall(tmp_path, mock_clock, units=UNITS, text=PLANNER + SENSORS) as it:
        await it.demand(ASKED_W)
        now = it.app.wall_clock()
        it.app.heat.bank.take_sample("tank", MeterSample(now, tank_c=(70.0, 70.0, 45.0)), now)
        await it.until(lambda: (it.app.site.view().plan or pytest.fail("no planner")).tank_charge_w is not None)
        view = it.app.site.view()
        assert view.plan is not None
        held_wh = 0.7 * 977.7 * 4186 / 3600 * 50 / 3
        assert view.plan.tank_wh == pytest.approx(held_wh, rel=0.01)
        (meter,) = (await it.client.get("/api/v1/meters")).json()
        assert (meter["measures"], meter["supply_c"], meter["return_c"]) == ("tank", 70.0, 45.0)
        text = (await it.client.get("/metrics")).text
        assert 'thermostratum_heat_tank_watt_hours{source="told"}' in text
        assert 'thermostratum_meter_energy_watt_hours{measures="tank",meter="tank",place="boundary"}' in text


async def test_a_site_that_does_not_plan_refuses_what_is_sent_for_it(tmp_path: Path, mock_clock: MockClock) -> None:
    async with hall(tmp_path, mock_clock, units=1) as it:
        for path, key in (("prices", "operator"), ("heat/forecast", "utility"), ("heat/tank", "utility")):
            answer = await it.put(f"/api/v1/{path}", {"electricity_per_kwh": None}, key)
            assert answer.status_code == 409
            assert "heat.planner.enabled" in answer.json()["remedy"]
        assert (await it.client.get("/api/v1/heat/plan")).status_code == 404
        await trio.lowlevel.checkpoint()
