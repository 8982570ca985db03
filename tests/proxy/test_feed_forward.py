"""Heat demand to share difficulty, end to end: a commanded level brings its difficulty along, before a share could have told."""

from pathlib import Path

import pytest
from trio.testing import MockClock

from tests.support.hall import FULL_W, LOW_W, Hall, hall
from tests.support.rig import until

UNITS = 6
IDEAL_SHARES_PER_MINUTE = 6.0


def told(it: Hall) -> list[int]:
    """How often each unit was told a difficulty."""
    return [miner.totals.methods_seen["mining.set_difficulty"] for miner in it.miners.values()]


def submitted(it: Hall) -> list[int]:
    """Shares of each unit."""
    return [miner.totals.submitted for miner in it.miners.values()]


@pytest.mark.slow
async def test_each_commanded_step_is_one_difficulty_change_and_a_fleet_that_wakes_makes_no_storm(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with hall(tmp_path, mock_clock, units=UNITS, is_mining=True) as it:
        assert (await it.demand(UNITS * FULL_W)).status_code == 200
        await it.let_pass(60)
        await until(lambda: told(it) == [1] * UNITS)

        # 40 %: everybody one level down, and with it to the difficulty of that level.
        assert (await it.demand(UNITS * LOW_W)).status_code == 200
        await it.until(lambda: it.is_near(UNITS * LOW_W))
        await it.until(lambda: it.states() == {"RUN"})
        await it.let_pass(60)
        await until(lambda: told(it) == [2] * UNITS)

        assert (await it.demand(UNITS * FULL_W)).status_code == 200
        await it.until(lambda: it.is_near(UNITS * FULL_W))
        await it.until(lambda: it.states() == {"RUN"})
        await it.let_pass(60)
        await until(lambda: told(it) == [3] * UNITS)

        # Asleep: no share comes, and nothing is eased for it however long it lasts.
        assert (await it.demand(0)).status_code == 200
        await it.until(lambda: it.states() == {"SLEEPING"})
        before = submitted(it)
        await it.let_pass(600)
        assert submitted(it) == before
        assert told(it) == [3] * UNITS
        assert {miner.totals.connections for miner in it.miners.values()} == {1}

        assert (await it.demand(UNITS * FULL_W)).status_code == 200
        await it.until(lambda: any(now > then for now, then in zip(submitted(it), before, strict=True)))
        await it.let_pass(300)
        assert it.is_near(UNITS * FULL_W)
        woken = [now - then for now, then in zip(submitted(it), before, strict=True)]
        assert max(woken) <= 2.5 * 5 * IDEAL_SHARES_PER_MINUTE
        assert min(woken) > 0
        # The level it woke to is the one it fell asleep on, so its difficulty is still right.
        assert told(it) == [3] * UNITS

        # Nothing that plain firmware does not know was ever sent, and every share has its place.
        assert {method for miner in it.miners.values() for method in miner.totals.methods_seen} == {
            "mining.set_difficulty",
            "mining.notify",
        }
        assert it.app.ledger.totals().conservation_delta == 0
        assert not any(miner.totals.rejected for miner in it.miners.values())
