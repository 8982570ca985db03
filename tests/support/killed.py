"""A ledger in a process of its own that is killed while shares come in."""

import os
import select
import struct
import subprocess
import sys
import time
from pathlib import Path

import proxy

CHILD = Path(__file__).parents[1] / "proxy" / "ledger" / "kill_child.py"
RATE = 2_000


def killed_run(directory: Path, after_first_ack_s: float, *url: str) -> list[int]:
    """Run the child, kill it `after_first_ack_s`, return the share ids it acknowledged. `url`: of another ledger than SQLite."""
    reading, writing = os.pipe()
    root = Path(proxy.__file__).parents[1]
    child = subprocess.Popen(
        [sys.executable, CHILD, directory, str(writing), str(RATE), *url],
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
