"""Both ends of the proxy without a socket or a task: pools' bytes go in by a plain call, units' bytes come out of a buffer.

For properties that need thousands of turns. The parts are the product's own, from the pool's line to the unit's line.
"""

import socket

import orjson

from proxy.config import Pool
from proxy.downstream.connection import Connection
from proxy.downstream.v1 import MinerServer, MinerSession
from proxy.ledger.records import ShareState
from proxy.upstream.pending import PendingShares, PoolAccount
from proxy.upstream.session import SessionEvents, SessionParts
from proxy.upstream.v1 import V1Session
from tests.support.jobs import NTIME
from tests.support.receiving import reception
from tests.support.routing import Bench


class MemoryTransport:
    """Takes `room` bytes more, then none."""

    ended = None
    wants_write = False

    def __init__(self) -> None:
        self.incoming = b""
        self.outgoing = b""
        self.room = 1 << 30

    def receive(self, size: int) -> bytes:
        """What the unit said."""
        data, self.incoming = self.incoming, b""
        return data

    def send(self, data: bytes) -> int:
        """Take what there is room for."""
        if not self.room:
            raise BlockingIOError
        taken = data[: self.room]
        self.room -= len(taken)
        self.outgoing += taken
        return len(taken)

    def farewell(self) -> None:
        """Nothing to say."""


class Unit:
    """A unit's connection. `said` is everything it was sent so far."""

    def __init__(self, server: MinerServer, sock: socket.socket) -> None:
        self.transport = MemoryTransport()
        self.connection = Connection(sock, "192.0.2.1", self.transport, 0.0, self._interest)
        self.session: MinerSession = server.session(self.connection)
        self.connection.session = self.session
        self._next_id = 0

    @staticmethod
    def _interest(connection: Connection) -> None:
        connection.blocked_since_s = 0.0 if connection.wants_write else None

    def says(self, method: str, *params: object) -> None:
        """One request."""
        self._next_id += 1
        self.transport.incoming += orjson.dumps({"id": self._next_id, "method": method, "params": params}) + b"\n"
        self.connection.readable(0.0)

    def shakes_hands(self, user: str, *, rolls_version: bool = False) -> None:
        """Everything firmware does before it hashes."""
        if rolls_version:
            self.says("mining.configure", ["version-rolling"], {"version-rolling.mask": "1fffe000"})
        self.says("mining.subscribe", "test/1.0")
        self.says("mining.authorize", user, "x")

    def heard(self) -> bytes:
        """What it was sent since the last call."""
        data, self.transport.outgoing = self.transport.outgoing, b""
        return data

    def lines(self) -> list[dict[str, object]]:
        """The same, read."""
        return [orjson.loads(line) for line in self.heard().splitlines()]


class Wire(Bench):
    """A bench whose units are real connections and whose pool is a real session."""

    def __init__(self) -> None:
        super().__init__()
        # One socket stands for all: a connection only asks it for its number.
        self._sock = socket.socket()
        self.settled: list[tuple[int, ShareState, str | None]] = []
        at = reception(self.router, self.shares, clock=lambda: self.now_s, rng=bytes)
        self.server = MinerServer(at, offered_mask=lambda: 0x1FFFE000, rng=bytes)

    def connect(self) -> Unit:
        """A new connection of a unit."""
        return Unit(self.server, self._sock)

    def pool(self, name: str = "pool-a") -> V1Session:
        """A new session with a pool that has not answered anything yet."""
        pending = PendingShares(PoolAccount(), lambda *share: self.settled.append(share), lambda unit, accepted: None)
        return V1Session(
            SessionParts(
                config=Pool(name=name, url="stratum+tcp://192.0.2.9:3333", user="account"),
                session_id=1,
                user="account",
                geometry=self.router.geometry,
                pending=pending,
                hooks=SessionEvents(ready=lambda session: None, job=self.router.publish, message=lambda text: None),
                events=self.events,
                clock=lambda: self.now_s,
                wall_clock=lambda: float(NTIME),
                resume=None,
            )
        )

    def close(self) -> None:
        """Free the socket."""
        self._sock.close()
