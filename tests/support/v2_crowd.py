"""Many devices for benchmarks: raw sockets on a real reactor, V1 or V2, that say only what firmware says before it hashes."""

import os
import resource
import socket
import time
from collections.abc import Callable
from typing import cast

from protocol.v2.codec import encode_frame, max_payload
from protocol.v2.identity import ServerIdentity
from protocol.v2.keys import new_authority_key, new_noise_key
from protocol.v2.noise import Initiator
from protocol.v2.server import max_payload as server_max_payload
from protocol.v2.transport import NoiseTransport as Blocks
from proxy.config import Listen, Vardiff
from proxy.downstream.connection import Session
from proxy.downstream.guard import Guard
from proxy.downstream.noise import NoiseTransport
from proxy.downstream.reactor import Port, Reactor
from proxy.downstream.v1 import MinerServer
from proxy.downstream.v2 import DeviceServer, DeviceSession
from proxy.events import EventLog
from proxy.work import vardiff
from proxy.work.geometry import Geometry
from proxy.work.router import Router
from proxy.work.shares import ShareDesk, ShareLedger
from tests.support.jobs import EASY, FakeSession
from tests.support.receiving import reception
from tests.support.v2 import open_extended, setup

HELLO_V1 = b'{"id":1,"method":"mining.subscribe","params":[]}\n{"id":2,"method":"mining.authorize","params":["u%d","x"]}\n'


class Crowd:
    """A router and a reactor with three ports: V1, V2 in the clear, V2 over Noise. `run` is the reactor's."""

    def __init__(self, count: int, clock: Callable[[], float]) -> None:
        self.session = FakeSession()
        self.router = Router(
            geometry=Geometry(3, 2),
            policy=vardiff.policy_from(Vardiff(min_difficulty=2.0**-30, start_difficulty=EASY, enabled=False)),
            events=EventLog(time.time),
            clock=clock,
            first_job_id=1,
        )
        # No device of the crowd ever submits a share.
        desk = ShareDesk(self.router, ledger=cast(ShareLedger, None), events=EventLog(time.time), clock=clock, wall_clock=time.time)
        self.router.choose_session = lambda channel: self.session
        listen = Listen(
            v1="127.0.0.1:0", max_connections=min(60_000, 2 * count), max_connections_per_address=min(60_000, 2 * count)
        )
        guard = Guard(2 * count, 10 * count, [])
        at = reception(self.router, desk, clock=clock, config=listen, guard=guard)
        v1 = MinerServer(at, offered_mask=lambda: 0x1FFFFFE0, rng=os.urandom)
        self.devices = DeviceServer(at, offered_mask=lambda: 0x1FFFFFE0)
        self.identity = ServerIdentity.self_signed(
            new_noise_key(os.urandom), new_authority_key(os.urandom), os.urandom, time.time()
        )
        self.reactor = Reactor(
            listen,
            guard,
            ports=[
                Port("127.0.0.1:0", v1.session),
                Port("127.0.0.1:0", self.devices.session),
                Port("127.0.0.1:0", self.devices.session, self._wrap),
            ],
            fan_out_pending=lambda: self.router.is_fan_out_pending or self.devices.is_flush_pending,
            fan_out_step=self._step,
            upkeep=self._upkeep,
        )
        self.router.on_work = self.devices.on_work = self.reactor.wake
        self.reactor.listen()
        self.v1_address, self.plain_address, self.noise_address = self.reactor.addresses()

    def _wrap(self, sock: socket.socket, early: bytes) -> NoiseTransport:
        return NoiseTransport(sock, self.identity, os.urandom, server_max_payload, early)

    def _step(self, count: int) -> None:
        self.router.fan_out_step(count)
        self.devices.flush()

    def _upkeep(self, session: Session) -> None:
        if isinstance(session, DeviceSession):
            session.tick()

    @property
    def working(self) -> int:
        """Units that were given a job."""
        return sum(channel.current is not None for channel in self.router.channels)


def hello_v2(number: int) -> tuple[bytes, bytes]:
    """SetupConnection and a request for an extended channel, as frames."""
    return encode_frame(setup()), encode_frame(open_extended(user_identity=b"u%d" % number))


def finish_handshake(initiator: Initiator, answer: bytes, number: int) -> bytes:
    """What a device says once the server has answered its first message."""
    blocks = Blocks(initiator.receive(answer, time.time()), max_payload)
    return b"".join(blocks.seal(frame) for frame in hello_v2(number))


def most_pairs(wanted: int) -> int:
    """So many connections with both ends here, as the limit of open files allows; the limit is raised as far as it goes."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return min(wanted, (hard - 200) // 2)
