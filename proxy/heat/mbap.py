"""Modbus TCP without sockets: frames out of a stream of bytes, requests and answers out of frames, and the other way round.

pymodbus knows the frame and the messages; what it leaves open is checked before it sees a byte: the protocol identifier, lengths
that no message has, bytes after a message's end. Not here: connections, time-outs, and what registers mean.
"""

import logging

import msgspec
from pymodbus.constants import ExcCodes
from pymodbus.exceptions import ModbusIOException
from pymodbus.framer import FramerSocket
from pymodbus.pdu import DecodePDU, ExceptionResponse, ModbusPDU

__all__ = ["ExcCodes", "Frame", "FrameBuffer", "FrameError", "Messages", "ModbusPDU"]

HEADER_BYTES = 7
# Modbus application protocol 4.1: a message has at most 253 bytes, and the length counts the unit identifier.
LONGEST = 254
SHORTEST = 2

# A peer's broken message is our caller's event; the library would log each one.
logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL + 1)


class FrameError(ValueError):
    """The stream is not Modbus TCP, or out of step: the connection must be closed."""


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One frame as it came. `message` begins with the function code, which is at least there."""

    transaction_id: int
    device_id: int
    message: bytes
    raw: bytes

    @property
    def function_code(self) -> int:
        """What the message asks for, or answers."""
        return self.message[0]


class FrameBuffer:
    """Cuts received bytes into frames. Holds less than one frame and one read."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> None:
        """Take bytes as they came."""
        self._held += data

    def next_frame(self) -> Frame | None:
        """The next complete frame; None when more bytes are needed. Raises FrameError, as soon as the header shows it."""
        held = self._held
        if len(held) >= 4 and held[2:4] != b"\x00\x00":
            raise FrameError(f"protocol identifier {int.from_bytes(held[2:4], 'big')} is not Modbus")
        if len(held) < 6:
            return None
        length = int.from_bytes(held[4:6], "big")
        if not SHORTEST <= length <= LONGEST:
            raise FrameError(f"a message of {length} bytes is no Modbus message")
        if len(held) < 6 + length:
            return None
        self._held = held[6 + length :]
        raw = held[: 6 + length]
        return Frame(int.from_bytes(raw[0:2], "big"), raw[6], raw[HEADER_BYTES:], raw)


class Messages:
    """Decodes the messages of one side and encodes those of the other."""

    def __init__(self, *, is_server: bool) -> None:
        """`is_server`: what comes in are requests."""
        self._framer = FramerSocket(DecodePDU(is_server))

    def decode(self, frame: Frame) -> ModbusPDU | None:
        """The message of a frame; None when it is of no known form."""
        try:
            _, message = self._framer.handleFrame(frame.raw, 0, 0)
        except ModbusIOException:
            return None
        return message

    def encode(self, message: ModbusPDU, frame: Frame) -> bytes:
        """A message as answer to `frame`."""
        message.dev_id, message.transaction_id = frame.device_id, frame.transaction_id
        return self._framer.buildFrame(message)

    def encode_request(self, message: ModbusPDU, device_id: int, transaction_id: int) -> bytes:
        """A message that asks."""
        message.dev_id, message.transaction_id = device_id, transaction_id
        return self._framer.buildFrame(message)

    def encode_exception(self, frame: Frame, code: ExcCodes) -> bytes:
        """The answer that refuses `frame`."""
        return self.encode(ExceptionResponse(frame.function_code & 0x7F, code), frame)
