"""Stratum V2 frames over any byte stream: the Noise handshake of either role, then frames in and out.

`FrameStream.queue` never waits; one writer task seals in the order of the wire, because a sealed frame that is not sent would break
the cipher. Nothing here knows messages or roles beyond the handshake.
"""

from collections import deque
from collections.abc import Awaitable, Callable

import trio

from protocol.errors import RemoteProtocolError
from protocol.v2 import codec, server
from protocol.v2.identity import ServerIdentity
from protocol.v2.keys import Rng
from protocol.v2.noise import FIRST_MESSAGE_SIZE, SECOND_MESSAGE_SIZE, Initiator, Responder
from protocol.v2.transport import Frame, NoiseTransport

HANDSHAKE_TIMEOUT_S = 10.0
SEND_TIMEOUT_S = 20.0
OUTPUT_LIMIT_BYTES = 1 << 20
_CHUNK = 65_536


class FrameStream:
    """One connection after its handshake. A peer that lets a megabyte pile up is hung up on: `queue` says so."""

    def __init__(self, stream: trio.abc.Stream, transport: NoiseTransport) -> None:
        self._stream = stream
        self._transport = transport
        self._out: deque[bytes] = deque()
        self._out_bytes = 0
        self._out_ready = trio.Event()
        self._breaks_next = False

    def queue(self, frame: bytes) -> bool:
        """Send this plaintext frame after all before it. False: the peer reads nothing, give it up."""
        if frame:
            self._out.append(frame)
            self._out_bytes += len(frame)
            self._out_ready.set()
        return self._out_bytes <= OUTPUT_LIMIT_BYTES

    def break_next(self) -> None:
        """A fault: one bit of what is sent next is another one."""
        self._breaks_next = True

    @property
    def is_idle(self) -> bool:
        """Everything queued is sent."""
        return not self._out_bytes

    async def write(self, before_each: Callable[[], Awaitable[None]] | None = None) -> None:
        """Send what is queued until cancelled; `before_each` may hold it up. Raises trio's errors of a dead stream."""
        while True:
            await self._out_ready.wait()
            if before_each is not None:
                await before_each()
            self._out_ready = trio.Event()
            burst = [self._transport.seal(frame) for frame in self._out]
            self._out.clear()
            if self._breaks_next and burst:
                burst[0] = bytes([burst[0][0] ^ 1]) + burst[0][1:]
                self._breaks_next = False
            with trio.fail_after(SEND_TIMEOUT_S):
                await self._stream.send_all(b"".join(burst))
            self._out_bytes = sum(len(frame) for frame in self._out)

    async def receive(self) -> Frame | None:
        """The next frame, None when the peer hung up. Raises RemoteProtocolError for what is no frame."""
        while (frame := self._transport.next_frame()) is None:
            data = await self._stream.receive_some(_CHUNK)
            if not data:
                return None
            self._transport.feed(data)
        return frame


async def shake_hands_as_client(
    stream: trio.abc.Stream, authority_x: bytes | None, rng: Rng, wall_clock: Callable[[], float]
) -> FrameStream:
    """Be the initiator. authority_x None: any server will do.

    Raises RemoteProtocolError when the server proves nothing, trio.TooSlowError, and trio's errors of a dead stream.
    """
    initiator = Initiator(authority_x, rng, allow_unauthenticated=authority_x is None)
    with trio.fail_after(HANDSHAKE_TIMEOUT_S):
        await stream.send_all(initiator.first_message())
        answer, rest = await _read(stream, SECOND_MESSAGE_SIZE)
    return _frames(stream, NoiseTransport(initiator.receive(answer, wall_clock()), codec.max_payload), rest)


async def shake_hands_as_server(stream: trio.abc.Stream, identity: ServerIdentity, rng: Rng) -> FrameStream:
    """Be the responder. Raises as `shake_hands_as_client`."""
    with trio.fail_after(HANDSHAKE_TIMEOUT_S):
        first, rest = await _read(stream, FIRST_MESSAGE_SIZE)
        answer, session = Responder(identity.static, identity.certificate_wire, rng).receive(first)
        await stream.send_all(answer)
    return _frames(stream, NoiseTransport(session, server.max_payload), rest)


async def _read(stream: trio.abc.Stream, size: int) -> tuple[bytes, bytes]:
    """Exactly `size` bytes, and what came with them."""
    data = b""
    while len(data) < size:
        more = await stream.receive_some(_CHUNK)
        if not more:
            raise RemoteProtocolError(f"hung up after {len(data)} bytes of the handshake")
        data += more
    return data[:size], data[size:]


def _frames(stream: trio.abc.Stream, transport: NoiseTransport, rest: bytes) -> FrameStream:
    transport.feed(rest)
    return FrameStream(stream, transport)
