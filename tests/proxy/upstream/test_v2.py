"""A unit that speaks Stratum V1 works for a pool that speaks Stratum V2, and notices nothing."""

import pytest

from proxy.ledger.records import ShareState
from tests.support.jobs import EASY
from tests.support.mine import solve
from tests.support.v2_pool import ScriptedPool, is_work, tlv_values
from tests.support.wire import Unit, Wire


class Site:
    """A pool of version 2 with one channel, and a unit of version 1 on it."""

    def __init__(self, **keys: object) -> None:
        self.wire = Wire()
        self.wire.session = None
        self.pool = ScriptedPool(self.wire, **keys)
        self.session = self.pool.mining()
        self.unit = self.add_unit("unit-1")

    def add_unit(self, name: str, *, rolls_version: bool = True) -> Unit:
        self.wire.session = self.session
        unit = self.wire.connect()
        unit.shakes_hands(name, rolls_version=rolls_version)
        lines = unit.lines()
        unit.hello = next(line for line in lines if isinstance(line.get("result"), list))  # type: ignore[attr-defined]
        unit.told = [line for line in lines if line.get("method") == "mining.notify"]  # type: ignore[attr-defined]
        unit.methods = {line["method"] for line in lines if "method" in line}  # type: ignore[attr-defined]
        return unit

    def hears(self, unit: Unit | None = None) -> list[dict[str, object]]:
        """The unit's new jobs."""
        unit = unit or self.unit
        lines = unit.lines()
        unit.methods |= {line["method"] for line in lines if "method" in line}  # type: ignore[attr-defined]
        new = [line for line in lines if line.get("method") == "mining.notify"]
        unit.told += new  # type: ignore[attr-defined]
        return new

    def shares(self, unit: Unit | None = None, *, of: int = -1, first: int = 0, difficulty: float = EASY) -> list[object]:
        """Solve a job as the unit knows it and submit it; what the pool heard."""
        unit = unit or self.unit
        params = solve(unit.hello, unit.told[of], difficulty, first=first)  # type: ignore[attr-defined]
        unit.says("mining.submit", "unit-1", *params)
        return list(self.pool.heard())


@pytest.fixture
def site():
    made = Site()
    yield made
    made.wire.close()


def test_a_share_of_a_v1_unit_is_valid_at_the_v2_pool_and_settled_by_its_batch(site):
    (share,) = site.shares()
    assert is_work(share)
    assert tlv_values(share) == [b"unit-1"]
    assert len(share.extranonce) == 8
    assert share.sequence_number == 1
    site.pool.accepts(last=1, count=1)
    assert site.pool.settled == [(1, ShareState.ACCEPTED, None)]
    assert site.pool.answered == [("unit-1", True)]
    assert site.pool.account.mismatched_batches == 0
