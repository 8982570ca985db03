"""Shares become power that heat control uses, end to end: a dead API is no dead machine, and a hung machine is found out."""

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from proxy.heat.doubt import CONFIRM_S, LEAST_WINDOW_S
from proxy.heat.silence import UNSEEN_S
from proxy.units.fleet import PROOF_STALE_S
from proxy.units.unit import ProvenPower
from tests.support import hall as halls
from tests.support.hall import FULL_W, LOW_W, Hall, hall


def proven(it: Hall, position: int = 0) -> ProvenPower | None:
    return it.app.fleet.image(trio.current_time())[position].proven


async def low_and_proven(it: Hall, units: int) -> None:
    """All on their lower level, and their shares say so."""
    await it.demand(units * LOW_W)
    await it.until(lambda: it.states() == {"RUN"} and it.is_near(units * LOW_W))
    await it.let_pass(30)  # the level has settled
    await it.until(lambda: all(proven(it, k) is not None for k in range(units)))


async def test_what_a_unit_finds_is_power_and_what_finds_nothing_for_want_of_a_pool_is_unknown(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with hall(tmp_path, mock_clock, units=2, is_mining=True) as it:
        assert proven(it) is None
        await low_and_proven(it, 2)
        await it.let_pass(700)
        found = proven(it)
        assert found is not None
        # Some 80 shares, as chance has it.
        assert 0.4 * LOW_W < found.power_w < 1.8 * LOW_W
        assert found.low_w < found.power_w < found.high_w
        assert found.shares >= 30
        now = it.app.site.view().proven_now
        assert now is not None
        assert (now.units, now.of_units, now.says_w) == (2, 2, pytest.approx(2 * LOW_W, rel=0.02))
        assert 0.8 * LOW_W < now.work_w < 3.6 * LOW_W
        # Two units together are known better than one.
        assert (now.work_high_w - now.work_low_w) / now.work_w < (found.high_w - found.low_w) / found.power_w
        # Nobody takes its shares: nothing is proven, neither that it runs nor that it does not.
        it.app.pools[0].stop()
        await it.until(lambda: proven(it) is None, PROOF_STALE_S)


async def test_evidence_that_nobody_renews_expires(tmp_path: Path, mock_clock: MockClock) -> None:
    async with hall(tmp_path, mock_clock, units=1) as it:
        now_s = trio.current_time()
        it.app.fleet.take_proof({"U0": ProvenPower(1.0, 0.0, 2.0, 3.0, 100.0, 0.0, 30.0)}, now_s)
        assert it.app.fleet.image(now_s + PROOF_STALE_S)[0].proven is not None
        assert it.app.fleet.image(now_s + PROOF_STALE_S + 1)[0].proven is None


async def test_a_unit_whose_api_is_dead_while_its_shares_go_on_is_not_replaced(tmp_path: Path, mock_clock: MockClock) -> None:
    async with hall(tmp_path, mock_clock, units=2, is_mining=True) as it:
        await low_and_proven(it, 2)
        await it.let_pass(300)
        it.devices["U0"].faults.is_dead = True
        await it.until(lambda: it.unit("U0").state == "OFFLINE")
        await it.let_pass(UNSEEN_S + 60)
        assert it.is_near(2 * LOW_W)
        assert it.unit("U1").level_commanded == 1
        # Its shares stop too: now it is replaced.
        it.miners["U0"].hashrate_hps = lambda: 0.0
        await it.until(lambda: it.unit("U1").level_commanded == 2, 300)


async def test_a_hung_machine_that_says_it_runs_is_named_and_its_heat_is_made_by_others(
    tmp_path: Path, mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(halls.HEAT, "reserve", 0.0)
    async with hall(tmp_path, mock_clock, units=2, is_mining=True) as it:
        await low_and_proven(it, 2)
        it.miners["U0"].hashrate_hps = lambda: 0.0
        await it.until(lambda: it.unit("U0").doubt is not None, LEAST_WINDOW_S + CONFIRM_S + 120)
        assert it.unit("U0").doubt is not None
        assert it.unit("U1").doubt is None
        await it.until(lambda: it.unit("U1").power_w == pytest.approx(FULL_W, rel=0.02), 120)
        (event,) = (event for event in it.app.events.since(0) if event.name == "unit.not_believed")
        assert event.facts["unit"] == "U0"
        (alarm,) = it.app.site.view().alarms
        assert "U0 says 3.2 kW, its shares prove 0.0 to" in alarm.text
        # It works again: it is believed again, and nobody has to acknowledge that.
        device = it.devices["U0"]
        it.miners["U0"].hashrate_hps = lambda: device.hashrate_hps
        await it.until(lambda: it.unit("U0").doubt is None, 300)
        assert it.app.site.view().alarms == []
