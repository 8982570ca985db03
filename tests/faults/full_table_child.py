"""The miners' side alone, in a process that may open only a few files more. Started by test_descriptors.py."""

import os
import resource
import sys
from pathlib import Path

import trio

from proxy.config import Listen
from proxy.downstream.connection import Connection
from proxy.downstream.guard import Guard
from proxy.downstream.reactor import Port, Reactor


class Echo:
    """Says what it hears."""

    is_ready = True
    may_be_silent = False

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def receive(self, data: bytes) -> None:
        """Back it goes."""
        self._connection.send(data)

    def closed(self, reason: str) -> None:
        """Nothing to do."""


async def main(room: int) -> None:
    """Serve for ever with `room` file descriptors."""
    reactor = Reactor(
        Listen(max_connections_per_address=1_000),
        Guard(1_000, 1_000, []),
        ports=[Port("127.0.0.1:0", Echo)],
        fan_out_pending=lambda: False,
        fan_out_step=lambda count: None,
        upkeep=lambda session: None,
    )
    reactor.listen()
    print(f"port {reactor.addresses()[0][1]}", flush=True)
    used = {int(path.name) for path in Path("/proc/self/fd").iterdir()}
    # Numbers are given from the lowest free one on: no hole may be left below the limit.
    for fd in range(max(used)):
        if fd not in used:
            os.dup2(0, fd)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(used) + 1 + room, hard))
    await reactor.run()


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]))
