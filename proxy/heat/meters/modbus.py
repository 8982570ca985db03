"""Reads a heat or electricity meter by Modbus TCP: which registers, in which requests, and what their bits mean.

It judges no value (the bank does) and writes no register. Registers are asked for in as few requests as they need, because some
gateways take a tenth of a second for each.
"""

import math
import struct
from collections.abc import Mapping, Sequence

import msgspec
from pymodbus.pdu.register_message import ReadHoldingRegistersRequest, ReadInputRegistersRequest

from proxy.config import Meter, Register
from proxy.heat.mbap import FrameBuffer, Messages
from proxy.heat.meters.bank import MeterSample
from proxy.heat.meters.line import Line, LineError

# Kamstrup MULTICAL 403, 603 and 803, default datagram: floats, with flow in l/h and power in kW. Its energy registers depend on how
# the meter was ordered, so they come from the site file where wanted.
MULTICAL = (
    Register(quantity="flow_l_per_h", address=0x0000),
    Register(quantity="heat_w", address=0x0004, scale=1_000.0),
    Register(quantity="supply_c", address=0x0006),
    Register(quantity="return_c", address=0x0008),
)
_LENGTHS = {"uint16": 1, "int16": 1, "float32": 2, "uint32": 2, "int32": 2, "uint64": 4}
_FORMATS = {"uint16": ">H", "int16": ">h", "float32": ">f", "uint32": ">I", "int32": ">i", "uint64": ">Q"}
# What meters send where they have no value: all ones, or the smallest number of a signed kind.
_ABSENT = {
    "uint16": (0xFFFF,),
    "int16": (-0x8000,),
    "uint32": (0xFFFF_FFFF,),
    "int32": (-0x8000_0000,),
    "uint64": (0xFFFF_FFFF_FFFF_FFFF,),
}
# A gap smaller than this is read along with its neighbours.
MAX_GAP = 8
MAX_COUNT = 120


class Span(msgspec.Struct, frozen=True):
    """One request: `count` registers from `address` on."""

    address: int
    count: int


def registers_of(meter: Meter) -> tuple[Register, ...]:
    """Where each quantity of a meter is. Registers in the site file add to a profile's, or replace them."""
    if meter.measures == "tank":
        return tuple(meter.registers)  # many of one quantity, in the order of the site file
    found = {register.quantity: register for register in (MULTICAL if meter.profile == "multical" else ())}
    found.update({register.quantity: register for register in meter.registers})
    return tuple(found.values())


def spans_of(registers: Sequence[Register]) -> list[Span]:
    """The requests that read all of them."""
    spans: list[Span] = []
    for register in sorted(registers, key=lambda each: each.address):
        end = register.address + _LENGTHS[register.kind]
        last = spans[-1] if spans else None
        if last is not None and register.address - (last.address + last.count) <= MAX_GAP and end - last.address <= MAX_COUNT:
            spans[-1] = Span(last.address, max(last.count, end - last.address))
        else:
            spans.append(Span(register.address, end - register.address))
    return spans


def value_of(register: Register, words: Mapping[int, int]) -> float | None:
    """The quantity in its unit from 16-bit registers by address; None where the meter says that it has none."""
    addresses = range(register.address, register.address + _LENGTHS[register.kind])
    if register.word_order == "little":
        addresses = addresses[::-1]
    raw = b"".join(words[address].to_bytes(2, "big") for address in addresses)
    value = struct.unpack(_FORMATS[register.kind], raw)[0]
    if not math.isfinite(value) or value in _ABSENT.get(register.kind, ()):
        return None
    return float(value) * register.scale


def sample_of(registers: Sequence[Register], words: Mapping[int, int], at_unix_s: float) -> MeterSample:
    """What the registers say."""
    values = {register.quantity: value_of(register, words) for register in registers}
    power_w = values.get("heat_w")
    return MeterSample(
        at_unix_s,
        power_w=values.get("power_w") if power_w is None else power_w,
        flow_l_per_h=values.get("flow_l_per_h"),
        supply_c=values.get("supply_c"),
        return_c=values.get("return_c"),
        energy_wh=values.get("energy_wh"),
        tank_c=tuple(value_of(register, words) for register in registers if register.quantity == "tank_c"),
    )


class ModbusReader:
    """Reads one meter over a line."""

    def __init__(self, meter: Meter, line: Line) -> None:
        """Asks nothing yet."""
        self._meter = meter
        self._line = line
        self._registers = registers_of(meter)
        self._spans = spans_of(self._registers)
        self._messages = Messages(is_server=False)
        self._transaction = 0

    async def read(self, at_unix_s: float) -> MeterSample:
        """Ask for everything. Raises LineError, its text for people."""
        words: dict[int, int] = {}
        for span in self._spans:
            values = await self._ask(span)
            words.update(zip(range(span.address, span.address + span.count), values, strict=True))
        return sample_of(self._registers, words, at_unix_s)

    async def _ask(self, span: Span) -> Sequence[int]:
        self._transaction = self._transaction % 0xFFFF + 1
        expected = self._transaction
        kind = ReadInputRegistersRequest if self._meter.function == "input" else ReadHoldingRegistersRequest
        request = kind(address=span.address, count=span.count)
        buffer = FrameBuffer()

        def take(received: bytes) -> Sequence[int] | None:
            buffer.feed(received)
            while (frame := buffer.next_frame()) is not None:
                if frame.transaction_id != expected:
                    continue  # an answer to a question of an earlier life of this connection
                answer = self._messages.decode(frame)
                if answer is None or (not answer.isError() and answer.function_code != request.function_code):
                    raise LineError("it answers with what is no Modbus answer")
                if answer.isError():
                    raise LineError(
                        f"it refuses to read {span.count} registers at {span.address} (exception {answer.exception_code})"
                    )
                if len(answer.registers) != span.count:
                    raise LineError(f"it sends {len(answer.registers)} registers, {span.count} were asked for")
                return answer.registers
            return None

        question = self._messages.encode_request(request, self._meter.device_id, expected)
        return await self._line.ask(question, take, self._meter.timeout_s)
