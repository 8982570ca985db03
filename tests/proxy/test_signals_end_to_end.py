"""An event of a utility's server becomes heat, and its report goes back: the whole product, in virtual time."""

from pathlib import Path

from trio.testing import MockClock

from proxy.heat.signals.openadr_wire import time_text
from proxy.ledger.records import AuditRecord
from tests.support.hall import EFFICIENCY, FULL_W, KEYS, LOW_W, START_UNIX_S, Hall, hall
from tests.support.vtn import Vtn

UNITS = 2


async def test_an_event_becomes_heat_and_its_report_goes_back(tmp_path: Path, mock_clock: MockClock, nursery) -> None:
    vtn = Vtn()
    await nursery.start(vtn.run)
    (tmp_path / "secret").write_text("right")
    (tmp_path / "secret").chmod(0o600)
    text = f'\n[signals.openadr]\nurl = "{vtn.url}"\nclient_id = "hall"\nclient_secret_file = "secret"\nven_name = "north-hall"\n'
    text += "poll_period_s = 5\nreport_period_s = 10\n"
    low_kw, full_kw = UNITS * LOW_W * EFFICIENCY / 1_000, UNITS * FULL_W * EFFICIENCY / 1_000
    rows = [{"id": k, "payloads": [{"type": "DISPATCH_SETPOINT", "values": [kw]}]} for k, kw in enumerate((low_kw, full_kw))]
    asked = [{"payloadType": kind} for kind in ("USAGE", "OPERATING_STATE", "DATA_QUALITY")]
    async with hall(tmp_path, mock_clock, units=UNITS, text=text) as it:
        vtn.dispatch("e1", 0, time_text(START_UNIX_S), "PT10M", intervals=rows, reportDescriptors=asked)
        await it.until(lambda: it.is_near(UNITS * LOW_W))
        heat = it.app.site.view().heat
        assert (heat.source, heat.ladder, heat.demand_w) == ("openadr", "LIVE", low_kw * 1_000)
        await it.until(lambda: it.is_near(UNITS * FULL_W), 900)
        await it.until(lambda: bool(vtn.reports) and len(vtn.reports["report-0"].resources[0].intervals) == 2)
        values = {payload.type: payload.values[0] for payload in vtn.reports["report-0"].resources[0].intervals[0].payloads}
        assert values["OPERATING_STATE"] == "RUNNING_HEIGHTENED"
        assert values["DATA_QUALITY"] == "ESTIMATED"
        assert isinstance(values["USAGE"], float)
        assert 0.9 * low_kw / 6 < values["USAGE"] < 1.4 * low_kw / 6
        metrics = (await it.client.get("/metrics")).text
        assert 'thermostratum_signal_connected{signal="openadr"} 1.0' in metrics
        assert vtn.vens[0]["venName"] == "north-hall"
    nursery.cancel_scope.cancel()


async def test_an_event_that_is_changed_and_then_taken_back_leaves_nothing_behind(
    tmp_path: Path, mock_clock: MockClock, nursery
) -> None:
    vtn = Vtn()
    await nursery.start(vtn.run)
    (tmp_path / "secret").write_text("right")
    (tmp_path / "secret").chmod(0o600)
    text = f'\n[signals.openadr]\nurl = "{vtn.url}"\nclient_id = "hall"\nclient_secret_file = "secret"\npoll_period_s = 5\n'
    low_kw, full_kw = UNITS * LOW_W * EFFICIENCY / 1_000, UNITS * FULL_W * EFFICIENCY / 1_000
    async with hall(tmp_path, mock_clock, units=UNITS, text=text) as it:
        vtn.dispatch("e1", full_kw, time_text(START_UNIX_S), "PT20M")
        await it.until(lambda: it.app.site.view().heat.demand_w == full_kw * 1_000)
        vtn.dispatch("e1", low_kw, time_text(START_UNIX_S), "PT5M", modified="2026-01-15T00:01:00Z")
        await it.until(lambda: it.app.site.view().heat.demand_w == low_kw * 1_000)
        await it.until(lambda: it.app.site.view().heat.ladder == "HOLD")
        assert it.app.site.view().heat.demand_w == low_kw * 1_000
        vtn.dispatch("e2", full_kw, "0001-01-01", "P9999Y")
        await it.until(lambda: it.app.site.view().heat.ladder == "LIVE")
        del vtn.events["e2"]
        await it.until(lambda: it.app.site.view().heat.ladder == "HOLD", 200)
    nursery.cancel_scope.cancel()


async def holds_audited(it: Hall) -> list[AuditRecord]:
    """Rows of stops and limits, oldest first."""
    assert await it.app.ledger.flush()
    rows = await it.app.ledger.reports.audit_tail(100)
    return [row for row in rows[::-1] if row.action.startswith("heat.")]


async def test_stops_and_limits_are_audited_whichever_way_they_come(tmp_path: Path, mock_clock: MockClock) -> None:
    async with hall(tmp_path, mock_clock, units=1) as it:
        heat, until_unix_s = it.app.heat, START_UNIX_S + 600
        for stop in (True, True, False):
            heat.set_emergency_stop(stop, "mqtt")
        for power_w, longer_s in ((5_000.0, 0), (5_000.0, 60), (3_000.0, 60), (None, 0)):
            assert heat.set_import_limit(power_w, until_unix_s + longer_s, "opcua") is None
        for stop in (True, True, False):
            assert (await it.put("/api/v1/heat/stop", {"stop": stop}, "utility")).status_code == 200
        heat.set_emergency_stop(True, "opcua")
        body = {"source": "opcua", "name": "Anna Meier", "reason": "the client is gone"}
        answer = await it.client.post(
            "/api/v1/heat/stop/release", json=body, headers={"Authorization": f"Bearer {KEYS['operator']}"}
        )
        assert answer.status_code == 200
        assert [(row.actor, row.action, row.before or "", row.after, row.result) for row in await holds_audited(it)] == [
            ("mqtt", "heat.stop", "", "held", "done"),
            ("mqtt", "heat.stop", "", "released", "done"),
            ("opcua", "heat.import_limit", "none", "5000 W", "done"),
            ("opcua", "heat.import_limit", "5000 W", "3000 W", "done"),
            ("opcua", "heat.import_limit", "3000 W", "none", "done"),
            ("utility", "heat.stop", "", "held", "done"),
            ("utility", "heat.stop", "", "held", "it was already"),
            ("utility", "heat.stop", "", "released", "done"),
            ("opcua", "heat.stop", "", "held", "done"),
            ("operator", "heat.stop_release", "", "by Anna Meier: the client is gone", "done"),
        ]
