"""kill -9 at any moment: whatever was acknowledged is in the ledger, and the ledger is sound."""

import random
import sqlite3
import time

import pytest

from proxy import config
from proxy.ledger.ledger import Ledger
from proxy.ledger.verify import verify
from tests.support.killed import killed_run

KILLS = 20


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_acknowledged_share_is_lost_by_kill_9(tmp_path):
    rng = random.Random(20)
    path = tmp_path / "ledger.sqlite3"
    acknowledged = set()
    for _ in range(KILLS):
        ids = killed_run(tmp_path, rng.uniform(0.0, 0.4))
        assert len(set(ids)) == len(ids)
        assert acknowledged.isdisjoint(ids)  # no id comes twice, over all runs
        acknowledged.update(ids)
        conn = sqlite3.connect(path)
        present = {share_id for (share_id,) in conn.execute("select share_id from share")}
        conn.close()
        assert acknowledged <= present
    ledger = Ledger.open(config.Ledger(), tmp_path, time.time)
    assert not ledger.start.was_clean
    ledger.close()
    report = verify(f"sqlite:///{path}")
    assert report.problems == []
    assert report.unclean_runs == KILLS
    assert report.received >= len(acknowledged) > KILLS
    assert report.states.get("sent", 0) == 0
