"""One miner's socket: bounded buffers, never waited for. What the bytes mean is the session's business.

Back-pressure: a send goes straight to the kernel; what it does not take waits in a bounded buffer, and while it waits nothing
more is read from that miner. A job that waits is replaced by a newer one. A miner that does not read for `send_timeout_s` is
closed.
"""

import socket
from collections.abc import Callable
from typing import Protocol

from protocol.errors import RemoteProtocolError
from proxy.downstream.transport import Transport, TransportClosed

# The bytes of a job, or what makes them at the moment they leave: the second may be called again until they have left.
Job = bytes | Callable[[], bytes]

# Replies that may wait for a miner that does not read. Reading stops at the first unsent byte, so honest peers never get near it.
MAX_UNSENT_BYTES = 65_536
READ_SIZE = 16_384


class Session(Protocol):
    """What speaks to the miner over a connection."""

    def receive(self, data: bytes) -> None:
        """Take bytes. Raises RemoteProtocolError to hang up, with the reply to send before."""
        ...

    def closed(self, reason: str) -> None:
        """The connection is gone; called once."""
        ...

    @property
    def is_ready(self) -> bool:
        """The handshake is done."""
        ...

    @property
    def may_be_silent(self) -> bool:
        """Nothing is expected from this miner for now: it was put to sleep, or has nothing to do."""
        ...


class Connection:
    """A non-blocking socket in the reactor. All methods are plain calls on the trio thread."""

    __slots__ = (
        "_corked",
        "_on_interest",
        "_pending_job",
        "_transport",
        "_unsent",
        "address",
        "blocked_since_s",
        "close_reason",
        "fd",
        "is_broken",
        "last_read_s",
        "opened_s",
        "session",
        "sock",
    )

    def __init__(
        self,
        sock: socket.socket,
        address: str,
        transport: Transport,
        now_s: float,
        on_interest: "Callable[[Connection], None]",
    ) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.address = address
        self.session: Session
        self.opened_s = now_s
        self.last_read_s = now_s
        self.blocked_since_s: float | None = None
        self.close_reason: str | None = None
        self.is_broken = False
        self._transport = transport
        self._on_interest = on_interest
        self._unsent = b""
        self._pending_job: Job | None = None
        self._corked: list[bytes] | None = None

    @property
    def wants_write(self) -> bool:
        """Bytes wait for the socket to become writable."""
        return bool(self._unsent) or self._pending_job is not None or self._transport.wants_write

    @property
    def is_job_waiting(self) -> bool:
        """A job has not begun to leave: the next one takes its place."""
        return self._pending_job is not None

    def readable(self, now_s: float) -> None:
        """Read once and let the session work on it. Failures end in `close_reason`; nothing is raised for what a peer does."""
        try:
            data = self._transport.receive(READ_SIZE)
        except BlockingIOError:
            self._interest()
            return
        except (TransportClosed, OSError) as error:
            self.hang_up(str(error) or "connection lost")
            return
        if not data:
            self._interest()
            return
        self.last_read_s = now_s
        self._corked = []
        try:
            self.session.receive(data)
        except RemoteProtocolError as error:
            self.send(error.reply)
            self.hang_up(error.reason)
        finally:
            self.uncork()
        if self._transport.ended is not None:
            self.hang_up(self._transport.ended)

    def secure(self, transport: Transport, now_s: float) -> None:
        """Go on over another transport from here on, beginning with what it has read already."""
        self._transport = transport
        self.readable(now_s)

    def writable(self) -> None:
        """The socket takes bytes again."""
        if self.close_reason is not None:
            return
        unsent, self._unsent = self._unsent, b""
        self._put(unsent)
        if not self._unsent and self._pending_job is not None:
            job, self._pending_job = self._pending_job, None
            self._put_job(job)
        self._interest()

    def send(self, data: bytes) -> None:
        """Send now, or with the rest of what the current read causes."""
        if self._corked is not None:
            self._corked.append(data)
        elif data:
            self._put(data)
            self._interest()

    def send_job(self, job: Job) -> None:
        """Send a job; if the miner does not read, only the newest one waits."""
        if self._corked:
            self.uncork()
        if self._unsent or self._pending_job is not None:
            self._pending_job = job
            return
        self._put_job(job)
        self._interest()

    def uncork(self) -> None:
        """Send what was collected during a read, in one call to the kernel."""
        corked, self._corked = self._corked, None
        if corked and self.close_reason is None:
            self._put(b"".join(corked))
            self._interest()

    def hang_up(self, reason: str) -> None:
        """Send what is ready, then mark for closing; the reactor closes (it must unregister first)."""
        self.uncork()
        if self.close_reason is None:
            self._transport.farewell()
            self.close_reason = reason
            self._on_interest(self)

    def fail(self) -> None:
        """Close because of a bug of ours in this connection's session: nothing more is sent."""
        self.is_broken = True
        self._corked = None
        if self.close_reason is None:
            self.close_reason = "internal error"
            self._on_interest(self)

    def _put(self, data: bytes) -> None:
        if self.close_reason is not None:
            return
        if self._unsent:
            if len(self._unsent) + len(data) > MAX_UNSENT_BYTES:
                self.hang_up("does not read: its send buffer is full")
                return
            self._unsent += data
            return
        try:
            sent = self._transport.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self.hang_up(error.strerror or "connection lost")
            return
        if sent < len(data):
            self._unsent = data[sent:]

    def _put_job(self, job: Job) -> None:
        data = job if isinstance(job, bytes) else job()
        if not data:
            # Whom it was for has left meanwhile.
            return
        self._put(data)
        if len(self._unsent) == len(data):
            # Not a byte of it has left, so a newer job may still take its place.
            self._unsent, self._pending_job = b"", job

    def _interest(self) -> None:
        if self.wants_write != (self.blocked_since_s is not None) and self.close_reason is None:
            # Reading stops while bytes wait: a miner that floods and does not read is held by TCP, not by our memory.
            self._on_interest(self)
