"""How long a new job takes to reach every miner, against a bare loop of sends in the same run. Prints ratios, asserts nothing.

    python tests/bench/bench_fan_out.py [connections]

Both halves send the same bytes to the same number of loopback sockets of this process, which nobody reads meanwhile; the bare
loop is what the kernel itself costs. Medians of nine rounds.
"""

import logging
import os
import socket
import statistics
import sys
import time
from pathlib import Path
from typing import cast

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import structlog
import trio

from proxy.config import Listen, Vardiff
from proxy.downstream.connection import Session
from proxy.downstream.guard import Guard
from proxy.downstream.reactor import Port, Reactor
from proxy.downstream.v1 import MinerServer, MinerSession
from proxy.events import EventLog
from proxy.work import vardiff
from proxy.work.geometry import Geometry
from proxy.work.router import Router
from proxy.work.shares import ShareDesk, ShareLedger
from tests.support.jobs import EASY, FakeSession
from tests.support.receiving import reception

ROUNDS = 9
HELLO = b'{"id":1,"method":"mining.subscribe","params":[]}\n{"id":2,"method":"mining.authorize","params":["u%d","x"]}\n'


async def main(count: int) -> None:
    """Connect `count` miners, publish jobs, compare."""
    session = FakeSession()
    router = Router(
        geometry=Geometry(2, 2),
        policy=vardiff.policy_from(Vardiff(min_difficulty=2.0**-30, start_difficulty=EASY, enabled=False)),
        events=EventLog(time.time),
        clock=trio.current_time,
        first_job_id=1,
    )
    # No miner here ever submits a share.
    desk = ShareDesk(
        router, ledger=cast(ShareLedger, None), events=EventLog(time.time), clock=trio.current_time, wall_clock=time.time
    )
    router.choose_session = lambda channel: session
    listen = Listen(v1="127.0.0.1:0", max_connections=count, max_connections_per_address=count)
    guard = Guard(count, count, [])
    at = reception(router, desk, clock=trio.current_time, config=listen, guard=guard)
    server = MinerServer(at, offered_mask=lambda: 0, rng=os.urandom)

    def upkeep(session: Session) -> None:
        if isinstance(session, MinerSession) and session.channel is not None:
            router.upkeep((session.channel,), 1e9)

    reactor = Reactor(
        listen,
        guard,
        ports=[Port("127.0.0.1:0", server.session)],
        fan_out_pending=lambda: router.is_fan_out_pending,
        fan_out_step=router.fan_out_step,
        upkeep=upkeep,
    )
    router.on_work = reactor.wake
    reactor.listen()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reactor.run)
        miners = await _connect(reactor.addresses()[0], count, router)
        product = [await _round(router, session, miners, number) for number in range(1, ROUNDS + 1)]
        nursery.cancel_scope.cancel()
    line = bytes(1_300)
    bare = [_bare(count, line) for _ in range(3)]
    floor, ours = statistics.median(bare), statistics.median(product)
    print(f"{count} miners, one clean job to each")
    print(f"{'floor: a bare loop of sends':34} {floor * 1e3:8.1f} ms   1.00")
    print(f"{'reactor, sliced, best first':34} {ours * 1e3:8.1f} ms   {ours / floor:.2f}")


async def _connect(address: tuple[str, int], count: int, router: Router) -> list[socket.socket]:
    miners = []
    for number in range(count):
        miner = socket.create_connection(address)
        miner.setblocking(False)
        miner.send(HELLO % number)
        miners.append(miner)
        if number % 100 == 0:
            await trio.sleep(0)
    while len(router.channels) < count:
        await trio.sleep(0)
    return miners


async def _round(router: Router, session: FakeSession, miners: list[socket.socket], number: int) -> float:
    for miner in miners:
        _drain(miner)
    begun = time.perf_counter()
    router.publish(session.job(number))
    while router.is_fan_out_pending:
        await trio.sleep(0)
    return time.perf_counter() - begun


def _bare(count: int, line: bytes) -> float:
    listener = socket.create_server(("127.0.0.1", 0), backlog=1_024)
    pairs = []
    for _ in range(count):
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
        pairs.append((near, far))
    rounds = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        for near, _ in pairs:
            near.send(line)
        rounds.append(time.perf_counter() - begun)
        for _, far in pairs:
            far.recv(65_536)
    for pair in pairs:
        for sock in pair:
            sock.close()
    listener.close()
    return statistics.median(rounds)


def _drain(miner: socket.socket) -> None:
    try:
        while miner.recv(65_536):
            pass
    except BlockingIOError:
        return


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    trio.run(main, int(sys.argv[1]) if len(sys.argv) > 1 else 2_000)
