"""How bytes get to a device that speaks Stratum V2 encrypted: the Noise handshake and its blocks inside `receive` and `send`.

What comes out and goes in are plaintext frames, so a session need not know that there is encryption. It does NOT know messages;
how long a frame may be it is told.
"""

import socket

from protocol.errors import RemoteProtocolError
from protocol.v2.greeting import other_protocol
from protocol.v2.header import CHANNEL_BIT, pack_header
from protocol.v2.identity import ServerIdentity
from protocol.v2.keys import Rng
from protocol.v2.noise import FIRST_MESSAGE_SIZE, Responder
from protocol.v2.transport import Frame, MaxPayload
from protocol.v2.transport import NoiseTransport as Blocks
from proxy.downstream.transport import PlainTransport, TransportClosed


class NoiseTransport:
    """A `Transport`. A block once sealed must be sent, so `send` takes all or nothing and keeps what the kernel did not take."""

    __slots__ = ("_blocks", "_early", "_first", "_identity", "_max_payload", "_plain", "_rng", "_sealed", "ended", "wants_write")

    def __init__(
        self, sock: socket.socket, identity: ServerIdentity, rng: Rng, max_payload: MaxPayload, early: bytes = b""
    ) -> None:
        """`early`: what was read from the socket already; the first `receive` takes it from here."""
        self.wants_write = False
        self.ended: str | None = None
        self._plain = PlainTransport(sock)
        self._identity = identity
        self._rng = rng
        self._max_payload = max_payload
        self._early = early
        self._first = b""
        self._blocks: Blocks | None = None
        self._sealed = b""

    def receive(self, size: int) -> bytes:
        """Whole plaintext frames; b"" when none is complete. Raises as PlainTransport.receive does."""
        early, self._early = self._early, b""
        data = early or self._plain.receive(size)
        if self._blocks is None:
            data = self._shake_hands(data)
            if self._blocks is None:
                return b""
        self._blocks.feed(data)
        return self._open_all(self._blocks)

    def send(self, data: bytes) -> int:
        """All of `data`, which must be whole frames, or 0 while earlier blocks or the handshake are under way."""
        self._push()
        if self._sealed or not data or self._blocks is None:
            return 0
        self._sealed = self._blocks.seal_all(data)
        self._push()
        return len(data)

    def farewell(self) -> None:
        """Noise has no word for the end."""

    def _shake_hands(self, data: bytes) -> bytes:
        """Collect the first message and answer it; what follows it."""
        self._first += data
        if len(self._first) < FIRST_MESSAGE_SIZE:
            found = other_protocol(self._first)
            if found is not None:
                raise TransportClosed(f"the peer speaks {found}; this port is for Stratum V2")
            return b""
        first, rest, self._first = self._first[:FIRST_MESSAGE_SIZE], self._first[FIRST_MESSAGE_SIZE:], b""
        try:
            answer, session = Responder(self._identity.static, self._identity.certificate_wire, self._rng).receive(first)
        except RemoteProtocolError as error:
            raise TransportClosed(error.reason) from error
        self._blocks = Blocks(session, self._max_payload)
        self._sealed = answer
        self._push()
        return rest

    def _open_all(self, blocks: Blocks) -> bytes:
        """Every frame that is whole. A failure behind good frames is kept in `ended`: they still count."""
        parts: list[bytes] = []
        try:
            while (frame := blocks.next_frame()) is not None:
                parts.append(_header(frame))
                parts.append(frame.payload)
        except RemoteProtocolError as error:
            if not parts:
                raise TransportClosed(error.reason) from error
            self.ended = error.reason
        return b"".join(parts)

    def _push(self) -> None:
        if self._sealed:
            try:
                sent = self._plain.send(self._sealed)
            except BlockingIOError:
                sent = 0
            self._sealed = self._sealed[sent:]
        self.wants_write = bool(self._sealed)


def _header(frame: Frame) -> bytes:
    extension_type = frame.extension_type | CHANNEL_BIT if frame.is_channel else frame.extension_type
    return pack_header(extension_type, frame.message_type, len(frame.payload))
