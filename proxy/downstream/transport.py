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

    def receive(self, size: int) -> bytes:
        """Bytes for the session; b"" when what came was not for it. Raises BlockingIOError, TransportClosed, OSError."""
        ...

    def send(self, data: bytes) -> int:
        """How many bytes were taken. Raises BlockingIOError, OSError."""
        ...


class PlainTransport:
    """Bytes as they are."""

    __slots__ = ("_sock",)

    wants_write = False

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


class TlsTransport:
    """The same through an SSLObject: handshake and records inside `receive` and `send`.

    A record once made must be sent, so `send` takes all or nothing of `data` and keeps cipher text that the kernel did not take.
    """

    __slots__ = ("_cipher_out", "_incoming", "_outgoing", "_plain", "_tls", "wants_write")

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        self.wants_write = False
        self._plain = PlainTransport(sock)
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._cipher_out = b""

    def receive(self, size: int) -> bytes:
        """Plain text; b"" when only handshake bytes came. Raises as PlainTransport.receive does."""
        self._incoming.write(self._plain.receive(size))
        try:
            return self._read_all()
        except ssl.SSLWantReadError:
            return b""
        except ssl.SSLError as error:
            raise TransportClosed(f"TLS: {error.reason or error}") from error
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

    def _read_all(self) -> bytes:
        parts: list[bytes] = []
        while True:
            try:
                part = self._tls.read(16_384)
            except ssl.SSLWantReadError:
                if parts:
                    return b"".join(parts)
                raise
            if not part:
                raise TransportClosed("closed by the miner")
            parts.append(part)

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
