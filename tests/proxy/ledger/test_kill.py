"""kill -9 at any moment: whatever was acknowledged is in the ledger, and the ledger is sound."""

import os
import random
import select
import sqlite3
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

import proxy
from proxy import config
from proxy.ledger.ledger import Ledger
from proxy.ledger.verify import verify

CHILD = Path(__file__).with_name("kill_child.py")
KILLS = 20
RATE = 2_000


def killed_run(directory, after_first_ack_s):
    """Run the child, kill it `after_first_ack_s`, return the share ids it acknowledged."""
    reading, writing = os.pipe()
    root = Path(proxy.__file__).parents[1]
    child = subprocess.Popen(
        [sys.executable, CHILD, directory, str(writing), str(RATE)],
        pass_fds=[writing],
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    os.close(writing)
    try:
        acknowledged = os.read(reading, 65_536)  # waits until the ledger is open and the first group is durable
        assert acknowledged, "the child ended before its first share was durable"
        deadline = time.monotonic() + after_first_ack_s
        while (left_s := deadline - time.monotonic()) > 0:
            if select.select([reading], [], [], left_s)[0]:
                acknowledged += os.read(reading, 65_536)
    finally:
        child.kill()
        child.wait()
    while piece := os.read(reading, 65_536):
        acknowledged += piece
    os.close(reading)
    whole = len(acknowledged) // 8 * 8
    return [share_id for (share_id,) in struct.iter_unpack("<Q", acknowledged[:whole])]


@pytest.mark.slow
@pytest.mark.timeout(180)
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
