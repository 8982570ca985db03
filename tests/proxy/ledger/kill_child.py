"""Writes shares into a real ledger until it is killed; says over a pipe which ones were acknowledged, the moment they were.

Started by tests.support.killed: `kill_child.py DIRECTORY PIPE_FD SHARES_PER_S [LEDGER_URL]`. It acknowledges exactly as the router
does: in on_durable.
"""

import os
import struct
import sys
import time
from pathlib import Path

import structlog
import trio

from proxy import config
from proxy.ledger.ledger import Ledger
from proxy.ledger.records import ShareRecord, ShareState

TICK_S = 0.002


async def main(directory: Path, pipe: int, rate: int, url: str | None) -> None:
    """Offer shares for ever; answer two thirds of those that were sent."""
    ledger = Ledger.open(config.Ledger(url=url), directory, time.time)

    def on_durable(tokens: list[object]) -> None:
        os.write(pipe, b"".join(struct.pack("<Q", token) for token in tokens))  # one write a batch

    ledger.on_durable = on_durable
    async with trio.open_nursery() as nursery:
        await nursery.start(ledger.run)
        began_s = trio.current_time()
        sent = 0
        while True:
            while sent < (trio.current_time() - began_s) * rate:
                sent += 1
                share_id = ledger.next_share_id()
                unit = f"unit-{share_id % 50}"
                forwarded = share_id % 3 != 0
                key = os.urandom(16)
                ledger.record_share(
                    ShareRecord(
                        share_id, time.time(), unit, unit, "pool", 1, "job", 64.0, 128.0, key, forwarded, share_id % 997 == 0
                    ),
                    share_id,
                )
                answered = share_id - 100
                if answered >= ledger.start.first_share_id and answered % 3 == 1:
                    ledger.settle(answered, ShareState.ACCEPTED, None)
            await trio.sleep(TICK_S)


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    trio.run(main, Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] if len(sys.argv) > 4 else None)
