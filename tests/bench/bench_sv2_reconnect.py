"""Everybody comes back at once: 10,000 devices from a closed connection to their first job, over Noise and over V1. Prints ratios.

    python tests/bench/bench_sv2_reconnect.py [devices]

The devices are another process (so the machine's second core), with their first handshake messages made before. Each verifies the
certificate, sets up, opens a channel. The time is the proxy's, from the first accept to the last job sent; its CPU time beside it.
"""

import logging
import os
import select
import socket
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import structlog
import trio

from protocol.v2.noise import SECOND_MESSAGE_SIZE, Initiator
from tests.support.v2_crowd import HELLO_V1, Crowd, finish_handshake, most_pairs

GOAL_S = 3.0
# So many connections are under way at a time: the backlog of a listener.
AT_ONCE = 4_000


async def main(count: int) -> None:
    """Both kinds in one run, on one reactor."""
    crowd = Crowd(count, trio.current_time)
    crowd.session.job(1)
    base = 0.0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(crowd.reactor.run)
        for name, address, key in (
            ("Stratum V1", crowd.v1_address, "-"),
            ("Stratum V2, Noise", crowd.noise_address, crowd.identity.authority_x.hex()),
        ):
            clients = [sys.executable, __file__, "devices", str(address[1]), key, str(count)]
            with subprocess.Popen(clients, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as devices:
                assert devices.stdin is not None
                assert devices.stdout is not None
                await trio.to_thread.run_sync(devices.stdout.readline)
                devices.stdin.write(b"go\n")
                devices.stdin.flush()
                while not crowd.router.channels:
                    await trio.sleep(0)
                begun, cpu = time.perf_counter(), time.thread_time()
                while crowd.working < count:
                    await trio.sleep(0.005)
                took, spent = time.perf_counter() - begun, time.thread_time() - cpu
                base = base or took
                print(
                    f"{name:24} {count} back in {took:5.2f} s   {took / base:.2f}   {spent / count * 1e6:6.1f} us of CPU each"
                    f"   goal {GOAL_S:g} s; longest turn {crowd.reactor.longest_turn_s * 1e3:.0f} ms"
                )
                crowd.reactor.longest_turn_s = 0.0
                devices.stdin.close()
                devices.wait()
            while crowd.router.channels:
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()


class Device:
    """One of the other process."""

    def __init__(self, number: int, authority_x: bytes | None) -> None:
        self.number = number
        self.initiator = Initiator(authority_x, os.urandom) if authority_x is not None else None
        self.first = self.initiator.first_message() if self.initiator is not None else HELLO_V1 % number
        self.answer = b""
        self.sock: socket.socket

    def connect(self, port: int) -> None:
        """Begin."""
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.send(self.first)

    def readable(self) -> bool:
        """True: it has nothing more to say."""
        data = self.sock.recv(SECOND_MESSAGE_SIZE - len(self.answer) if self.initiator is not None else 4_096)
        if self.initiator is None:
            return True
        self.answer += data
        if len(self.answer) < SECOND_MESSAGE_SIZE:
            return False
        self.sock.send(finish_handshake(self.initiator, self.answer, self.number))
        return True


def devices(port: int, key: str, count: int) -> None:
    """The other process: wait for the word, connect all, and stay until told to end."""
    most_pairs(count)
    authority_x = None if key == "-" else bytes.fromhex(key)
    waiting = [Device(number, authority_x) for number in range(count)]
    everybody = list(waiting)
    print("ready", flush=True)
    sys.stdin.readline()
    epoll = select.epoll()
    by_fd: dict[int, Device] = {}
    waiting.reverse()
    while waiting or by_fd:
        for _ in range(64):
            if waiting and len(by_fd) < AT_ONCE:
                device = waiting.pop()
                device.connect(port)
                by_fd[device.sock.fileno()] = device
                epoll.register(device.sock, select.EPOLLIN)
        for fd, _ in epoll.poll(0 if waiting else 1):
            if by_fd[fd].readable():
                epoll.unregister(fd)
                del by_fd[fd]
    sys.stdin.read()
    for device in everybody:
        device.sock.close()


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    if sys.argv[1:2] == ["devices"]:
        devices(int(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
    else:
        wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
        most_pairs(wanted)
        trio.run(main, wanted)
