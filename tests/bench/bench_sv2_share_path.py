"""What a share costs from the bytes of its device to the bytes of its answer: Stratum V2 in the clear and over Noise, against V1.

    python tests/bench/bench_sv2_share_path.py

Everything between is the product's own: transport, codec, session, judging, accounting, acknowledgement; only socket, disk and pool
are left out. Shares are real. CPU time of this thread, medians of seven rounds over the same shares. Prints ratios.
"""

import os
import socket
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from protocol.v2.codec import encode_frame, max_payload
from protocol.v2.identity import ServerIdentity
from protocol.v2.keys import new_authority_key, new_noise_key
from protocol.v2.messages.mining import SubmitSharesExtended
from protocol.v2.noise import SECOND_MESSAGE_SIZE, Initiator
from protocol.v2.server import max_payload as server_max_payload
from protocol.v2.transport import FrameTransport, PlainTransport
from protocol.v2.transport import NoiseTransport as Blocks
from proxy.config import Listen, Vardiff
from proxy.downstream import transport
from proxy.downstream.connection import Connection, Session
from proxy.downstream.noise import NoiseTransport
from proxy.downstream.v1 import MinerServer
from proxy.downstream.v2 import DeviceServer
from proxy.events import EventLog
from proxy.ledger.records import ShareRecord
from proxy.work import vardiff
from proxy.work.channel import Channel, ShareCoordinates
from proxy.work.geometry import Geometry
from proxy.work.router import Router
from proxy.work.shares import ShareDesk
from tests.support.jobs import EASY, FakeSession, shares
from tests.support.receiving import reception
from tests.support.v2 import open_extended, setup

SHARES = 1_024
ROUNDS = 7
GOAL_PER_S = 20_000


class Ledger:
    """Everything is durable as soon as the packet was read."""

    is_degraded = False

    def __init__(self) -> None:
        self._id = 0
        self.tokens: list[object] = []

    def next_share_id(self) -> int:
        self._id += 1
        return self._id

    def record_share(self, record: ShareRecord, token: object) -> bool:
        self.tokens.append(token)
        return True

    def count_rejected(self, unit: str, pool: str, verdict: str, at_unix_s: float, difficulty: float) -> None:
        raise AssertionError(verdict)


class Socket:
    """The part of a socket that a transport uses."""

    def __init__(self) -> None:
        self.incoming = b""
        self.outgoing: list[bytes] = []

    def recv(self, size: int) -> bytes:
        data, self.incoming = self.incoming, b""
        if not data:
            raise BlockingIOError
        return data

    def send(self, data: bytes) -> int:
        self.outgoing.append(data)
        return len(data)


class Site:
    """A router with both servers, and one device on each kind of port."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.upstream = FakeSession()
        self.upstream.job(1)
        self.router = Router(
            geometry=Geometry(2, 2),
            policy=vardiff.policy_from(Vardiff(min_difficulty=2.0**-30, start_difficulty=EASY, enabled=False)),
            events=EventLog(time.time),
            clock=time.monotonic,
            first_job_id=1,
        )
        self.shares = ShareDesk(
            self.router, ledger=self.ledger, events=EventLog(time.time), clock=time.monotonic, wall_clock=time.time
        )
        self.router.choose_session = lambda channel: self.upstream
        at = reception(self.router, self.shares, clock=time.monotonic, config=Listen(v2_share_batch=100))
        self.v1 = MinerServer(at, offered_mask=lambda: 0x1FFFFFE0, rng=os.urandom)
        self.v2 = DeviceServer(at, offered_mask=lambda: 0x1FFFFFE0)
        self.identity = ServerIdentity.self_signed(
            new_noise_key(os.urandom), new_authority_key(os.urandom), os.urandom, time.time()
        )
        self._real = socket.socket()

    def connect(self, make: Callable[[Connection], Session], *, noise: bool) -> tuple[Socket, Connection]:
        """A connection over memory."""
        sock = Socket()
        fake = cast(socket.socket, sock)
        kind: transport.Transport = transport.PlainTransport(fake)
        if noise:
            kind = NoiseTransport(fake, self.identity, os.urandom, server_max_payload)
        connection = Connection(self._real, "192.0.2.1", kind, 0.0, lambda connection: None)
        connection.session = make(connection)
        return sock, connection

    def newest(self) -> tuple[Channel, list[ShareCoordinates]]:
        """The channel opened last, and shares of its job."""
        channel = next(reversed(self.router.channels))
        assert channel.current is not None
        found = shares(channel.current.wire.job, channel.current.wire.wire_id, channel.prefix)
        return channel, [next(found) for _ in range(SHARES)]


class V1Device:
    """A device that speaks V1."""

    def __init__(self, site: Site) -> None:
        self.sock, self.connection = site.connect(site.v1.session, noise=False)
        self.sock.incoming = (
            b'{"id":1,"method":"mining.subscribe","params":[]}\n{"id":2,"method":"mining.authorize","params":["unit-v1","x"]}\n'
        )
        self.connection.readable(0.0)
        _, self.shares = site.newest()

    def packets(self, each: int) -> list[bytes]:
        """All shares as their bytes, so many in a packet."""
        lines = [
            b'{"id":7,"method":"mining.submit","params":["unit-v1","%s","%s","%08x","%08x"]}\n'
            % (share.job_id.encode(), share.extranonce2.hex().encode(), share.ntime, share.nonce)
            for share in self.shares
        ]
        return [b"".join(lines[start : start + each]) for start in range(0, SHARES, each)]


class V2Device:
    """A device that speaks V2."""

    def __init__(self, site: Site, *, noise: bool) -> None:
        self.sock, self.connection = site.connect(site.v2.session, noise=noise)
        self._frames: FrameTransport = PlainTransport(max_payload)
        if noise:
            initiator = Initiator(site.identity.authority_x, os.urandom)
            self.sock.incoming = initiator.first_message()
            self.connection.readable(0.0)
            answer = b"".join(self.sock.outgoing)[:SECOND_MESSAGE_SIZE]
            self._frames = Blocks(initiator.receive(answer, time.time()), max_payload)
        for message in (setup(), open_extended(user_identity=b"unit-noise" if noise else b"unit-plain")):
            self.sock.incoming = self._frames.seal(encode_frame(message))
            self.connection.readable(0.0)
        channel, self.shares = site.newest()
        self._channel_id = next(iter(self.connection.session._links))  # type: ignore[attr-defined]
        assert channel.current is not None
        self._version = channel.current.wire.job.version

    def packets(self, each: int) -> list[bytes]:
        """All shares as their bytes, so many in a packet."""
        frames = [
            self._frames.seal(
                encode_frame(
                    SubmitSharesExtended(
                        self._channel_id,
                        number,
                        int(share.job_id, 16),
                        share.nonce,
                        share.ntime,
                        self._version,
                        share.extranonce2,
                    )
                )
            )
            for number, share in enumerate(self.shares)
        ]
        return [b"".join(frames[start : start + each]) for start in range(0, SHARES, each)]


def cost_us(site: Site, device: V1Device | V2Device, each: int) -> float:
    """Median CPU time of one share, in microseconds."""
    rounds = []
    for _ in range(ROUNDS):
        packets = device.packets(each)
        upstream = site.upstream.current
        assert upstream is not None
        upstream.seen.clear()
        site.upstream.taken.clear()
        device.sock.outgoing.clear()
        begun = time.thread_time()
        for packet in packets:
            device.sock.incoming = packet
            device.connection.readable(0.0)
            tokens, site.ledger.tokens = site.ledger.tokens, []
            site.shares.on_durable(tokens)
        rounds.append((time.thread_time() - begun) / SHARES * 1e6)
        assert len(site.upstream.taken) == SHARES, "every share was good"
        assert device.sock.outgoing, "and was answered"
    return statistics.median(rounds)


def main() -> None:
    """Time each kind and print the table."""
    site = Site()
    devices = {
        "Stratum V1, plain TCP": V1Device(site),
        "Stratum V2, in the clear": V2Device(site, noise=False),
        "Stratum V2, Noise": V2Device(site, noise=True),
    }
    for each, name in ((1, "one share a packet"), (16, "16 shares a packet")):
        print(f"{SHARES} shares, {name}; CPU of one share, from bytes to answer")
        base = 0.0
        for kind, device in devices.items():
            cost = cost_us(site, device, each)
            base = base or cost
            print(f"{kind:42} {cost:7.2f} us   {cost / base:.2f}   {1e6 / cost:9,.0f} shares/s, goal {GOAL_PER_S:,}")


if __name__ == "__main__":
    main()
