"""How long a new chain tip takes to reach every Stratum V2 device, against the same for V1 in the same run. Prints ratios.

    python tests/bench/bench_sv2_fan_out.py [connections]

For V2 a tip is two messages (the job and SetNewPrevHash), encoded once and sealed for each connection. Devices are loopback sockets
of this process, which nobody reads meanwhile; their number is bounded by the limit of open files. CPU time of this thread, kernel
included, medians of nine rounds.
"""

import logging
import socket
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import os

import structlog
import trio

from protocol.v2.noise import SECOND_MESSAGE_SIZE, Initiator
from tests.support.v2_crowd import HELLO_V1, Crowd, finish_handshake, hello_v2, most_pairs

ROUNDS = 9
GOAL = 1.5


async def main(count: int) -> None:
    """One kind after the other, each alone on the site."""
    crowd = Crowd(count, trio.current_time)
    crowd.session.job(1)
    print(f"{count} devices, one clean job to each")
    floor = 0.0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(crowd.reactor.run)
        number = 1
        for name, connect in (("Stratum V1", _v1), ("Stratum V2, in the clear", _plain), ("Stratum V2, Noise", _noise)):
            sockets = [await connect(crowd, each) for each in range(count)]
            while crowd.working < count:
                await trio.sleep(0)
            rounds = []
            for _ in range(ROUNDS):
                for sock in sockets:
                    _drain(sock)
                number += 1
                rounds.append(await _round(crowd, number))
            cost = statistics.median(rounds)
            floor = floor or cost
            print(f"{name:34} {cost * 1e3:8.1f} ms   {cost / floor:.2f}   goal {GOAL}")
            for sock in sockets:
                sock.close()
            while crowd.router.channels:
                await trio.sleep(0)
        nursery.cancel_scope.cancel()


async def _round(crowd: Crowd, number: int) -> float:
    begun = time.thread_time()
    crowd.router.publish(crowd.session.job(number))
    while crowd.router.is_fan_out_pending:
        await trio.sleep(0)
    return time.thread_time() - begun


async def _v1(crowd: Crowd, number: int) -> socket.socket:
    sock = await _connect(crowd.v1_address, number)
    sock.send(HELLO_V1 % number)
    return sock


async def _plain(crowd: Crowd, number: int) -> socket.socket:
    sock = await _connect(crowd.plain_address, number)
    sock.send(b"".join(hello_v2(number)))
    return sock


async def _noise(crowd: Crowd, number: int) -> socket.socket:
    sock = await _connect(crowd.noise_address, number)
    initiator = Initiator(crowd.identity.authority_x, os.urandom)
    sock.send(initiator.first_message())
    answer = b""
    while len(answer) < SECOND_MESSAGE_SIZE:
        await trio.sleep(0)
        try:
            answer += sock.recv(SECOND_MESSAGE_SIZE)
        except BlockingIOError:
            continue
    sock.send(finish_handshake(initiator, answer, number))
    return sock


async def _connect(address: tuple[str, int], number: int) -> socket.socket:
    sock = socket.create_connection(address)
    sock.setblocking(False)
    if number % 100 == 0:
        await trio.sleep(0)
    return sock


def _drain(sock: socket.socket) -> None:
    try:
        while sock.recv(65_536):
            pass
    except BlockingIOError:
        return


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))

    trio.run(main, most_pairs(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000))
