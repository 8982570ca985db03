"""One task, one epoll, every miner's socket (why: docs/decisions/0020-reactor.md).

A miner is a slotted object here: no task, no channel, no stream. The loop never waits for disk, web, heat or a single miner, and no
byte that one miner sends can end it: a bug in a session closes that session, with its traceback in the log.
"""

import errno
import os
import select
import socket
from collections import deque
from collections.abc import Callable, Sequence

import msgspec
import structlog
import trio

from proxy.config import Listen
from proxy.downstream.connection import Connection, Session
from proxy.downstream.guard import COST_BROKEN_LINE, Guard
from proxy.downstream.proxied import ProxiedStart
from proxy.downstream.proxy_protocol import plain_address
from proxy.downstream.transport import PlainTransport, Transport

log = structlog.get_logger()

BACKLOG = 8_192
MAX_EVENTS = 256
# While a fan-out runs, so many socket events and so many jobs take turns: shares do not wait for jobs nor jobs for shares.
EVENTS_PER_SLICE = 32
JOBS_PER_SLICE = 128
ACCEPTS_PER_TURN = 128
# Kernel memory of a miner that does not read, bounded too.
SEND_BUFFER_BYTES = 32_768
# Everybody's deadlines are looked at once in this time, in slices so that 10,000 connections delay no share.
SWEEP_PERIOD_S = 1.0
SWEEP_SLICE = 256
# A socket table that is full frees itself slowly; asking again at once would only spin.
ACCEPT_PAUSE_S = 0.1
EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Port(msgspec.Struct, frozen=True):
    """One address to listen on, and what is spoken there.

    address: host:port. make_session: called for each admitted connection. wrap: the transport over a socket, given bytes that were
    read from it already; None where bytes travel as they are.
    """

    address: str
    make_session: Callable[[Connection], Session]
    wrap: Callable[[socket.socket, bytes], Transport] | None = None


class Reactor:
    """Owns the listening sockets and all connections.

    ports: where it listens, in this order. fan_out: (is one pending, send the next n). upkeep: called for each session
    once a sweep.
    """

    def __init__(
        self,
        config: Listen,
        guard: Guard,
        *,
        ports: Sequence[Port],
        fan_out_pending: Callable[[], bool],
        fan_out_step: Callable[[int], None],
        upkeep: Callable[[Session], None],
    ) -> None:
        self._config = config
        self._guard = guard
        self._ports = ports
        self._fan_out_pending = fan_out_pending
        self._fan_out_step = fan_out_step
        self._upkeep = upkeep
        self._epoll = select.epoll()
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._listeners: dict[int, tuple[socket.socket, Port]] = {}
        self._connections: dict[int, Connection] = {}
        self._closing: deque[Connection] = deque()
        self._sweep_begun_s = 0.0
        self._to_sweep: deque[Connection] = deque()
        self._accept_after_s: float | None = None  # set while the socket table is full
        self._is_exhausted = False
        self._is_closed = False
        self.turns = 0
        self.longest_turn_s = 0.0
        self.bugs = 0

    @property
    def connection_count(self) -> int:
        """Sockets open now."""
        return len(self._connections)

    def addresses(self) -> list[tuple[str, int]]:
        """Where the listeners really listen (port 0 resolved)."""
        return [listener.getsockname()[:2] for listener, _ in self._listeners.values()]

    def wake(self) -> None:
        """There is a fan-out to do. Nothing after the end: others may still be on their way out."""
        if not self._is_closed:
            os.eventfd_write(self._wake_fd, 1)

    def listen(self) -> None:
        """Open the listening sockets. Raises OSError, with the address in its text, when one cannot be had."""
        self._epoll.register(self._wake_fd, select.EPOLLIN)
        for port in self._ports:
            host, _, number = port.address.rpartition(":")
            listener = _open_listener(host.strip("[]"), int(number))
            self._listeners[listener.fileno()] = (listener, port)
            self._epoll.register(listener.fileno(), select.EPOLLIN)

    async def run(self) -> None:
        """Serve until cancelled; then everything is closed."""
        try:
            while True:
                if self._fan_out_pending() or self._to_sweep:
                    await trio.lowlevel.checkpoint()
                else:
                    with trio.move_on_after(SWEEP_PERIOD_S if self._accept_after_s is None else ACCEPT_PAUSE_S):
                        await trio.lowlevel.wait_readable(self._epoll.fileno())
                self._turn(trio.current_time())
        finally:
            self._close_all()

    def _turn(self, now_s: float) -> None:
        pending = self._fan_out_pending()
        accepting: list[int] = []
        for fd, events in self._epoll.poll(0, EVENTS_PER_SLICE if pending else MAX_EVENTS):
            if fd == self._wake_fd:
                os.eventfd_read(self._wake_fd)
            elif fd in self._listeners:
                # Accept last: an fd freed in this batch must not be reused in it.
                accepting.append(fd)
            else:
                self._serve(fd, events, now_s)
        if self._fan_out_pending():
            self._guarded_fan_out()
        self._close_marked(now_s)
        if self._accept_after_s is not None and now_s >= self._accept_after_s:
            self._listen_for(select.EPOLLIN)
            self._accept_after_s = None
        for fd in accepting:
            self._accept(fd, now_s)
        self._sweep(now_s)
        self.turns += 1
        self.longest_turn_s = max(self.longest_turn_s, trio.current_time() - now_s)

    def _serve(self, fd: int, events: int, now_s: float) -> None:
        connection = self._connections.get(fd)
        if connection is None or connection.close_reason is not None:
            return
        try:
            if events & select.EPOLLOUT:
                connection.writable()
            if events & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
                connection.readable(now_s)
        except Exception:
            # One session's bug must not end the others.
            log.exception("connection.bug", address=connection.address)
            connection.fail()

    def _guarded_fan_out(self) -> None:
        try:
            self._fan_out_step(JOBS_PER_SLICE)
        except Exception:
            # The iterator has passed whoever caused it: the next step goes on behind him.
            self.bugs += 1
            log.exception("fan_out.bug")

    def _accept(self, fd: int, now_s: float) -> None:
        listener, port = self._listeners[fd]
        for _ in range(ACCEPTS_PER_TURN):
            try:
                sock, peer = listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in EXHAUSTED:
                    self._pause_accepting(error, now_s)
                    return
                continue
            if self._is_exhausted:
                self._is_exhausted = False
                log.info("listener.recovered")
            address = plain_address(peer[0])
            refusal = self._admit(address, now_s)
            if refusal is not None:
                sock.close()
                log.debug("connection.refused", address=address, reason=refusal)
                continue
            try:
                self._take(sock, address, port, now_s)
            except Exception:
                self.bugs += 1
                log.exception("connection.bug", address=address)
                self._guard.leave(address, now_s)
                sock.close()

    def _pause_accepting(self, error: OSError, now_s: float) -> None:
        """The listeners stay readable, so they are not even looked at for a while. Said once, not ten times a second."""
        self._listen_for(0)
        self._accept_after_s = now_s + ACCEPT_PAUSE_S
        if not self._is_exhausted:
            self._is_exhausted = True
            log.warning("listener.exhausted", error=error.strerror, remedy="raise the limit of open files (LimitNOFILE)")

    def _listen_for(self, events: int) -> None:
        for fd in self._listeners:
            self._epoll.modify(fd, events)

    def _admit(self, address: str, now_s: float) -> str | None:
        is_balancer = self._config.proxy_protocol == "required"
        if is_balancer and not self._guard.trusts_proxy(address):
            return "this address is no load balancer of listen.proxy_protocol_from"
        return self._guard.admit(address, now_s, is_balancer=is_balancer)

    def _take(self, sock: socket.socket, address: str, port: Port, now_s: float) -> None:
        _tune(sock)
        is_proxied = self._config.proxy_protocol == "required"
        # A balancer writes its header in plain text, whatever follows.
        transport = PlainTransport(sock) if port.wrap is None or is_proxied else port.wrap(sock, b"")
        connection = Connection(sock, address, transport, now_s, self._interest_changed)
        if is_proxied:
            begin = _begin_plain if port.wrap is None else _begin_wrapped(port.wrap)
            connection.session = ProxiedStart(connection, self._guard, port.make_session, begin)
        else:
            connection.session = port.make_session(connection)
        self._epoll.register(connection.fd, select.EPOLLIN)
        self._connections[connection.fd] = connection

    def _interest_changed(self, connection: Connection) -> None:
        if connection.close_reason is not None:
            self.bugs += connection.is_broken
            self._closing.append(connection)
            self.wake()
        elif connection.wants_write:
            connection.blocked_since_s = trio.current_time()
            self._epoll.modify(connection.fd, select.EPOLLOUT)
        else:
            connection.blocked_since_s = None
            self._epoll.modify(connection.fd, select.EPOLLIN)

    def _close_marked(self, now_s: float) -> None:
        while self._closing:
            self._close(self._closing.popleft(), now_s)

    def _close(self, connection: Connection, now_s: float) -> None:
        if self._connections.pop(connection.fd, None) is None:
            return
        self._epoll.unregister(connection.fd)
        connection.sock.close()
        self._guard.leave(connection.address, now_s)
        try:
            connection.session.closed(connection.close_reason or "closed")
        except Exception:
            self.bugs += 1
            log.exception("connection.bug", address=connection.address)

    def _sweep(self, now_s: float) -> None:
        """Deadlines and upkeep of the next slice of connections."""
        if not self._to_sweep:
            if now_s - self._sweep_begun_s < SWEEP_PERIOD_S:
                return
            self._sweep_begun_s = now_s
            self._to_sweep.extend(self._connections.values())
        for _ in range(min(SWEEP_SLICE, len(self._to_sweep))):
            connection = self._to_sweep.popleft()
            reason = self._overdue(connection, now_s)
            if reason is not None:
                connection.hang_up(reason)
            elif connection.close_reason is None:
                self._look_after(connection)
        self._close_marked(now_s)

    def _look_after(self, connection: Connection) -> None:
        try:
            self._upkeep(connection.session)
        except Exception:
            log.exception("connection.bug", address=connection.address)
            connection.fail()

    def _overdue(self, connection: Connection, now_s: float) -> str | None:
        config = self._config
        if connection.blocked_since_s is not None and now_s - connection.blocked_since_s > config.send_timeout_s:
            return f"did not read for {config.send_timeout_s:g} s"
        if not connection.session.is_ready and now_s - connection.opened_s > config.handshake_timeout_s:
            self._guard.charge(connection.address, COST_BROKEN_LINE, now_s)
            return f"not ready for work within {config.handshake_timeout_s:g} s"
        if connection.session.may_be_silent:
            # Its silence counts from when it has a reason to speak.
            connection.last_read_s = now_s
        elif now_s - connection.last_read_s > config.idle_timeout_s:
            return f"silent for {config.idle_timeout_s:g} s"
        return None

    def _close_all(self) -> None:
        for connection in list(self._connections.values()):
            connection.hang_up("the proxy stops")
            self._close(connection, connection.opened_s)
        self._is_closed = True
        for listener, _ in self._listeners.values():
            listener.close()
        os.close(self._wake_fd)
        self._epoll.close()


def _begin_plain(connection: Connection, rest: bytes) -> None:
    if rest:
        connection.session.receive(rest)


def _begin_wrapped(wrap: Callable[[socket.socket, bytes], Transport]) -> Callable[[Connection, bytes], None]:
    def begin(connection: Connection, rest: bytes) -> None:
        connection.secure(wrap(connection.sock, rest), connection.last_read_s)

    return begin


def _open_listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise OSError(error.errno, f"cannot listen on {host}:{port}: {error.strerror}") from error
    return listener


def _tune(sock: socket.socket) -> None:
    """No delay for jobs; a half-open miner is noticed in about a minute, and one that takes no data in 20 s."""
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 20_000)
