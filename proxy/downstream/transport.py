"""How bytes get to a miner: as they are, or through TLS. Non-blocking, no buffering beyond what TLS itself needs."""

import socket
import ssl
from typing import Protocol


class TransportClosed(Exception):
    """The peer ended the connection in an orderly way, or broke TLS."""


class Transport(Protocol):
    """What a connection needs of either kind."""

    @property
    def wants_write(self) -> bool:
        """Bytes wait inside."""
        ...

    @property
    def ended(self) -> str | None:
        """Why nothing more will come, when that came together with the last bytes; else None."""
        ...

    def receive(self, size: int) -> bytes:
        """Bytes for the session; b"" when what came was not for it. Raises BlockingIOError, TransportClosed, OSError."""
        ...

    def send(self, data: bytes) -> int:
        """How many bytes were taken. Raises BlockingIOError, OSError."""
        ...

    def farewell(self) -> None:
        """Say that we end, where the protocol has a word for it. Never raises."""
        ...


class PlainTransport:
    """Bytes as they are."""

    __slots__ = ("_sock",)

    wants_write = False
    ended = None

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def receive(self, size: int) -> bytes:
        """At least one byte. Raises BlockingIOError when there is none, TransportClosed at the end, OSError when broken."""
        data = self._sock.recv(size)
        if not data:
            raise TransportClosed("closed by the miner")
        return data

    def send(self, data: bytes) -> int:
        """How many bytes were taken. Raises BlockingIOError, OSError."""
        return self._sock.send(data)

    def farewell(self) -> None:
        """Closing the socket says it."""


class TlsTransport:
    """The same through an SSLObject: handshake and records inside `receive` and `send`.

    A record once made must be sent, so `send` takes all or nothing of `data` and keeps cipher text that the kernel did not take.
    """

    __slots__ = ("_cipher_out", "_early", "_incoming", "_outgoing", "_plain", "_tls", "ended", "wants_write")

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, early: bytes = b"") -> None:
        """`early`: what was read from the socket already; the first `receive` takes it from here."""
        self.wants_write = False
        self.ended: str | None = None
        self._early = early
        self._plain = PlainTransport(sock)
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._cipher_out = b""

    def receive(self, size: int) -> bytes:
        """Plain text; b"" when only handshake bytes came. Raises as PlainTransport.receive does."""
        early, self._early = self._early, b""
        self._incoming.write(early or self._plain.receive(size))
        try:
            return self._read_all()
        except ssl.SSLWantReadError:
            return b""
        finally:
            self._push()

    def send(self, data: bytes) -> int:
        """All of `data`, or 0 while earlier cipher text or the handshake is still under way."""
        self._push()
        if self._cipher_out or not data:
            return 0
        try:
            taken = self._tls.write(data)
        except ssl.SSLWantReadError:
            return 0
        except ssl.SSLError as error:
            raise OSError(f"TLS: {error.reason or error}") from error
        self._push()
        return taken

    def farewell(self) -> None:
        """close_notify: without it the peer cannot tell our end from an attacker's."""
        try:
            self._tls.unwrap()
        except (ssl.SSLError, OSError):
            pass  # it has been said now, or there was no session to end
        try:
            self._push()
        except OSError:
            pass  # the peer has left before us

    def _read_all(self) -> bytes:
        """Every record that is whole. An end behind good bytes is kept in `ended`: the bytes still count."""
        parts: list[bytes] = []
        try:
            while part := self._tls.read(16_384):
                parts.append(part)
            self.ended = "closed by the miner"
        except ssl.SSLWantReadError:
            if not parts:
                raise
        except ssl.SSLError as error:
            self.ended = f"TLS: {error.reason or error}"
        if not parts and self.ended is not None:
            raise TransportClosed(self.ended)
        return b"".join(parts)

    def _push(self) -> None:
        if self._outgoing.pending:
            self._cipher_out += self._outgoing.read()
        if self._cipher_out:
            try:
                sent = self._plain.send(self._cipher_out)
            except BlockingIOError:
                sent = 0
            self._cipher_out = self._cipher_out[sent:]
        self.wants_write = bool(self._cipher_out)
