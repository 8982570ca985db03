"""What hostile frames cost: 1,000 connections that announce 16 MB or stop half-way, and what the proxy holds. Prints figures.

    python tests/bench/bench_sv2_hostile.py [connections]

Each hostile device has finished its handshake, so its header is one that the proxy believes; half of them stop after an honest
header and half of a payload, and are held until their time is up. Memory is of this process, both ends included.
"""

import logging
import os
import socket
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import structlog
import trio

from protocol.v2.codec import max_payload
from protocol.v2.header import pack_header
from protocol.v2.noise import SECOND_MESSAGE_SIZE, Initiator
from protocol.v2.transport import NoiseTransport
from tests.support.v2_crowd import Crowd, most_pairs

TOO_LONG = 0xFF_FFFF
JUNK = bytes(30_000)


async def main(count: int) -> None:
    """Handshakes first, then what is hostile."""
    crowd = Crowd(count + 100, trio.current_time)
    crowd.session.job(1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(crowd.reactor.run)
        peers = [await _handshake(crowd) for _ in range(count)]
        before = _resident_kb()
        begun = time.thread_time()
        for number, (sock, blocks) in enumerate(peers):
            is_long = number % 2 == 0
            header = pack_header(0x8000 if is_long else 0, 0x1B if is_long else 0x00, TOO_LONG if is_long else 1_200)
            sock.send(blocks._sealing.seal([header]) + (JUNK if is_long else bytes(600)))
        while crowd.reactor.connection_count > count // 2:
            await trio.sleep(0)
        spent = time.thread_time() - begun
        held = _resident_kb() - before
        print(
            f"{count} hostile devices, {count - count // 2} closed for a length of 16 MB, {spent / count * 1e6:.1f} us of CPU each"
        )
        print(f"memory: {held:+} kB for all; announced were {count // 2 * 16} MB")
        for sock, _ in peers:
            sock.close()
        while crowd.reactor.connection_count:
            await trio.sleep(0)
        print(f"after the last has left: {_resident_kb() - before:+} kB; bugs: {crowd.reactor.bugs}")
        nursery.cancel_scope.cancel()


async def _handshake(crowd: Crowd) -> tuple[socket.socket, NoiseTransport]:
    sock = socket.create_connection(crowd.noise_address)
    sock.setblocking(False)
    initiator = Initiator(crowd.identity.authority_x, os.urandom)
    sock.send(initiator.first_message())
    answer = b""
    while len(answer) < SECOND_MESSAGE_SIZE:
        await trio.sleep(0)
        try:
            answer += sock.recv(SECOND_MESSAGE_SIZE)
        except BlockingIOError:
            continue
    return sock, NoiseTransport(initiator.receive(answer, time.time()), max_payload)


def _resident_kb() -> int:
    """Of this process, as Linux tells it."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1_024


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    trio.run(main, most_pairs(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000))
