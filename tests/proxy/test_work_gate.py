"""A machine that says OK and does not sleep loses its work, end to end: the miner is hung up on, and gets no job until it obeys."""

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from proxy.commands.profile_gate import ProxyGate, WorkFrom
from proxy.commands.say import CliError
from proxy.units.profile_work import LEASE_S
from tests.support import hall as halls
from tests.support.hall import KEYS, hall


async def test_a_unit_that_does_not_sleep_gets_no_job_until_it_does(
    tmp_path: Path, mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(halls.MODEL, "may_starve", True)
    monkeypatch.setitem(halls.MODEL, "without_work", {"behaviour": "idles", "resume_s": 20.0})
    async with hall(tmp_path, mock_clock, units=2, is_mining=True) as it:
        bad, good = it.miners["U0"], it.miners["U1"]
        it.devices["U0"].faults.no_effect = True
        assert (await it.demand(0)).status_code == 200
        await it.until(lambda: it.unit("U0").state == "FAULT" and it.unit("U1").state == "SLEEPING")
        assert "work is withheld" in str(it.unit("U0").fault)
        await it.until(lambda: bad.totals.connections == 2)
        jobs, shares = bad.totals.methods_seen["mining.notify"], bad.totals.submitted
        await it.let_pass(90)
        assert (bad.totals.methods_seen["mining.notify"], bad.totals.submitted) == (jobs, shares)
        assert good.totals.connections == 1  # who obeys keeps its connection

        it.devices["U0"].faults.no_effect = False
        assert it.app.fleet.clear_fault("U0") is None
        await it.until(lambda: it.unit("U0").state == "SLEEPING")
        await it.until(lambda: bad.totals.methods_seen["mining.notify"] > jobs)
        names = [event.name for event in it.app.events.since(0)]
        assert names.count("unit.work_withheld") == names.count("unit.work_resumed") == 1


async def test_a_unit_in_service_is_without_work_on_trial_and_mines_again_after_it(tmp_path: Path, mock_clock: MockClock) -> None:
    async with hall(tmp_path, mock_clock, units=1, is_mining=True) as it:
        miner = it.miners["U0"]
        path = "/api/v1/units/U0"
        assert (await it.put(f"{path}/work", {"withheld_s": 60})).status_code == 409
        assert (await it.put(f"{path}/service", {"in_service": True, "note": "recording"})).status_code == 200
        assert (await it.put(f"{path}/work", {"withheld_s": 60})).status_code == 200
        await it.until(lambda: miner.totals.connections == 2)
        assert (await it.put(f"{path}/work", {"withheld_s": 60})).status_code == 200  # goes on
        shares = miner.totals.submitted
        await it.let_pass(30)
        assert miner.totals.submitted == shares
        await it.let_pass(30)
        await it.until(lambda: miner.totals.submitted > shares)
        assert ("operator", "unit.work", "U0", "done") in await it.audited()


async def test_profile_unit_keeps_work_from_a_unit_of_the_running_site_and_gives_it_back(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    key = tmp_path / "operator.key"
    key.write_text(KEYS["operator"])
    async with hall(tmp_path, mock_clock, units=1, is_mining=True) as it:
        miner = it.miners["U0"]
        await it.until(lambda: it.unit("U0").connected)
        gate = ProxyGate(WorkFrom(unit="U0", url=str(it.client.base_url), key_file=key))
        with pytest.raises(CliError, match="take it out first"):
            await trio.to_thread.run_sync(gate.check, it.unit("U0").address)
        assert it.app.fleet.set_service("U0", True, "recording") is None
        await it.let_pass(1)
        await trio.to_thread.run_sync(gate.check, it.unit("U0").address)
        await gate.withhold(LEASE_S)
        await it.until(lambda: miner.totals.connections == 2)
        shares = miner.totals.submitted
        await it.let_pass(20)
        assert miner.totals.submitted == shares
        await gate.give_back()
        await it.until(lambda: miner.totals.submitted > shares)
