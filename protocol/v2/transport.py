"""Frames over a stream of bytes: through the ciphers of a Noise session, or (a listener's explicit choice) in the clear.

A frame is a header of six bytes (extension type U16 LE with the channel bit on top, message type U8, length U24 LE) and a payload.
Encrypted, the header is a block of its own and the payload follows in blocks of at most 65,519 bytes, each with its MAC; the length
is that of the plain payload. It does NOT know messages: what a payload may weigh it asks `max_payload`, before it holds any of it.
"""

from collections.abc import Callable, Iterator
from typing import Final, Protocol

import msgspec

from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.v2.cipher import MAC_SIZE, Cipher
from protocol.v2.header import EXTENSION_MASK, HEADER_SIZE, FrameHeader, unpack_header
from protocol.v2.noise import Session

# A Noise message has at most 65,535 bytes, its MAC included.
MAX_BLOCK: Final = 65_535 - MAC_SIZE
SEALED_HEADER_SIZE: Final = HEADER_SIZE + MAC_SIZE

# extension type (without the channel bit) and message type to the largest payload in bytes that may follow
MaxPayload = Callable[[int, int], int]


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One message as it travelled. extension_type is without the channel bit, which is `is_channel`."""

    extension_type: int
    is_channel: bool
    message_type: int
    payload: bytes


class FrameTransport(Protocol):
    """What a connection needs of either kind."""

    @property
    def buffered(self) -> int:
        """Bytes held that have not become a frame: above 0 for long means that the peer stalls inside one."""
        ...

    def feed(self, data: bytes | bytearray) -> None:
        """Take what was received; then call `next_frame` until it gives None."""
        ...

    def next_frame(self) -> Frame | None:
        """The next frame, None when more bytes are needed. Raises RemoteProtocolError, now and ever after."""
        ...

    def seal(self, frame: bytes) -> bytes:
        """The bytes to send for one frame in the clear. Raises LocalProtocolError."""
        ...


class NoiseTransport:
    """Both directions of one session.

    Nothing a peer says is believed, and no payload held, before a MAC has vouched for it. After the first failure nothing is
    opened or sealed any more: a cipher that lost step cannot find it again.
    """

    __slots__ = ("_fault", "_max_payload", "_opening", "_partial", "_received", "_sealing")

    def __init__(self, session: Session, max_payload: MaxPayload) -> None:
        """max_payload: see MaxPayload; 0 or less refuses every payload of that type."""
        self._sealing: Cipher = session.sealing
        self._opening: Cipher = session.opening
        self._max_payload = max_payload
        self._received = _Received()
        self._partial: _Partial | None = None
        self._fault: str | None = None

    @property
    def buffered(self) -> int:
        """Bytes held: sealed ones of an unfinished block and opened ones of an unfinished frame."""
        return self._received.size + (len(self._partial.payload) if self._partial else 0)

    def feed(self, data: bytes | bytearray) -> None:
        """Take what was received; then call `next_frame` until it gives None, or up to a block is copied by each call.

        A broken transport drops it.
        """
        if self._fault is None:
            self._received.feed(data)

    def next_frame(self) -> Frame | None:
        """The next frame, None when more bytes are needed.

        Raises RemoteProtocolError when a MAC does not match or the header announces more than `max_payload` allows, and again
        on each later call.
        """
        if self._fault is not None:
            raise RemoteProtocolError(self._fault)
        try:
            frame = self._next()
        except RemoteProtocolError as error:
            self._fault = error.reason
            self._received = _Received()
            self._partial = None
            raise
        if frame is None:
            self._opening.rest()
        return frame

    def seal(self, frame: bytes) -> bytes:
        """The bytes to send for one frame in the clear, whose turn in the stream is now: nothing sealed may be left out.

        Raises LocalProtocolError when the header does not announce exactly the payload, and on a broken transport.
        """
        _check_frame(frame, self._fault)
        return self._sealing.seal(_blocks(frame))

    def seal_all(self, frames: bytes) -> bytes:
        """The same for whole frames one after the other. Raises LocalProtocolError when the last one is not whole."""
        if self._fault is not None:
            raise LocalProtocolError(f"the transport is broken: {self._fault}")
        blocks: list[bytes] = []
        start = 0
        while start < len(frames):
            head = start + HEADER_SIZE
            end = head + int.from_bytes(frames[start + 3 : head], "little")
            if end > len(frames):
                raise LocalProtocolError("not whole frames: the last header announces more than there is")
            blocks.append(frames[start:head])
            if end - head <= MAX_BLOCK:
                # As nearly all are; a frame without a payload is its header alone.
                blocks += (frames[head:end],) if end > head else ()
            else:
                blocks += (frames[at : min(at + MAX_BLOCK, end)] for at in range(head, end, MAX_BLOCK))
            start = end
        return self._sealing.seal(blocks)

    def _next(self) -> Frame | None:
        partial = self._partial
        if partial is None:
            sealed = self._received.take(SEALED_HEADER_SIZE)
            if sealed is None:
                return None
            partial = _begin(self._opening.open(sealed), self._max_payload)
        while partial.missing:
            size = min(partial.missing, MAX_BLOCK)
            sealed = self._received.take(size + MAC_SIZE)
            if sealed is None:
                self._partial = partial
                return None
            partial.payload += self._opening.open(sealed)
            partial.missing -= size
        self._partial = None
        return partial.frame()


class PlainTransport:
    """The same in the clear, for a network that is trusted. Broken for good after the first failure, too."""

    __slots__ = ("_fault", "_max_payload", "_partial", "_received")

    def __init__(self, max_payload: MaxPayload) -> None:
        """max_payload: see MaxPayload; 0 or less refuses every payload of that type."""
        self._max_payload = max_payload
        self._received = _Received()
        self._partial: _Partial | None = None
        self._fault: str | None = None

    @property
    def buffered(self) -> int:
        """Bytes held of an unfinished frame, its header not counted once it was read."""
        return self._received.size + (len(self._partial.payload) if self._partial else 0)

    def feed(self, data: bytes | bytearray) -> None:
        """Take what was received; then call `next_frame` until it gives None. A broken transport drops it."""
        if self._fault is None:
            self._received.feed(data)

    def next_frame(self) -> Frame | None:
        """The next frame, None when more bytes are needed.

        Raises RemoteProtocolError when the header announces more than `max_payload` allows, and again on each later call.
        """
        if self._fault is not None:
            raise RemoteProtocolError(self._fault)
        partial = self._partial
        if partial is None:
            header = self._received.take(HEADER_SIZE)
            if header is None:
                return None
            try:
                partial = _begin(header, self._max_payload)
            except RemoteProtocolError as error:
                self._fault = error.reason
                self._received = _Received()
                raise
        came = self._received.take(min(partial.missing, self._received.size)) or b""
        partial.payload += came
        partial.missing -= len(came)
        self._partial = partial if partial.missing else None
        return None if partial.missing else partial.frame()

    def seal(self, frame: bytes) -> bytes:
        """The frame itself. Raises LocalProtocolError as NoiseTransport does."""
        _check_frame(frame, self._fault)
        return frame


class _Partial(msgspec.Struct, gc=False):
    """A frame whose header was read. The payload is `bytes` while it fits a block, as nearly all do, else it grows in place."""

    header: FrameHeader
    missing: int
    payload: bytes | bytearray

    def frame(self) -> Frame:
        header = self.header
        return Frame(header.extension_type & EXTENSION_MASK, header.is_channel, header.message_type, bytes(self.payload))


class _Received:
    """Bytes not yet taken; idle it holds the one shared empty `bytes`.

    The rest of an unfinished block is copied by each `feed`: at most 64 KiB a packet, and no buffer for an idle connection.
    """

    __slots__ = ("_data", "_start")

    def __init__(self) -> None:
        self._data = b""
        self._start = 0

    @property
    def size(self) -> int:
        return len(self._data) - self._start

    def feed(self, data: bytes | bytearray) -> None:
        if self._start < len(self._data):
            self._data = self._data[self._start :] + data
        else:
            self._data = bytes(data)
        self._start = 0

    def take(self, size: int) -> bytes | None:
        """`size` bytes, or None when there are fewer; then what was taken before is let go."""
        data = self._data
        start = self._start
        end = start + size
        if end < len(data):
            self._start = end
            return data[start:end]
        if start:
            data = data[start:]
        self._start = 0
        if end - start > len(data):
            self._data = data
            return None
        self._data = b""
        return data


def _begin(data: bytes, max_payload: MaxPayload) -> _Partial:
    header = unpack_header(data)
    extension_type = header.extension_type & EXTENSION_MASK
    limit = max(max_payload(extension_type, header.message_type), 0)
    if header.length > limit:
        raise RemoteProtocolError(
            f"frame: message 0x{header.message_type:02x} of extension 0x{extension_type:04x} announces {header.length} bytes, "
            f"{limit} are allowed"
        )
    return _Partial(header, header.length, b"" if header.length <= MAX_BLOCK else bytearray())


def _check_frame(frame: bytes, fault: str | None) -> None:
    if fault is not None:
        raise LocalProtocolError(f"the transport is broken: {fault}")
    if len(frame) < HEADER_SIZE or int.from_bytes(frame[3:HEADER_SIZE], "little") != len(frame) - HEADER_SIZE:
        raise LocalProtocolError("not one frame: the header does not announce this payload")


def _blocks(frame: bytes) -> Iterator[bytes]:
    """Header and slices of the payload; an empty payload has none."""
    yield frame[:HEADER_SIZE]
    for start in range(HEADER_SIZE, len(frame), MAX_BLOCK):
        yield frame[start : start + MAX_BLOCK]
