"""The Modbus reader against pymodbus's server over real sockets, and its decoding by itself."""

import math
import struct

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from proxy.config import Meter, Register
from proxy.heat.meters.line import Line, LineError
from proxy.heat.meters.modbus import ModbusReader, Span, registers_of, sample_of, spans_of, value_of
from tests.support.modbus_meter import floats, modbus_meter

NOW = 1_768_435_200.0
DATAGRAM = floats([11_700.0, 0.0, 400.0, 75.5, 45.25])


def meter(port: int, **fields: object) -> Meter:
    return Meter(name="m", address=f"127.0.0.1:{port}", **fields)  # type: ignore[arg-type]  # keywords of the table


def reader(port: int, **fields: object) -> ModbusReader:
    return ModbusReader(meter(port, **fields), Line("127.0.0.1", port))


async def test_the_default_datagram_is_read_in_one_request() -> None:
    assert len(spans_of(registers_of(meter(1)))) == 1
    async with modbus_meter(DATAGRAM) as port:
        sample = await reader(port).read(NOW)
    assert (sample.flow_l_per_h, sample.power_w, sample.supply_c, sample.return_c) == (11_700.0, 400_000.0, 75.5, 45.25)
    assert sample.energy_wh is None


async def test_holding_registers_custom_kinds_and_word_order() -> None:
    registers = [
        Register(quantity="power_w", address=10, kind="int32", scale=10.0, word_order="little"),
        Register(quantity="energy_wh", address=20, kind="uint64", scale=1_000.0),
        Register(quantity="supply_c", address=2, kind="int16", scale=0.1),
    ]
    words = [0] * 30
    words[10:12] = [(-5) & 0xFFFF, 0xFFFF]
    words[20:24] = [0, 1, 0, 7]
    words[2] = 755
    async with modbus_meter([0], holdings=words) as port:
        sample = await reader(port, function="holding", profile="custom", registers=registers).read(NOW)
    assert sample.power_w == -50.0
    assert sample.energy_wh == (2**32 + 7) * 1_000.0
    assert sample.supply_c == pytest.approx(75.5)


async def test_a_meter_that_refuses_a_register_is_named_with_its_exception() -> None:
    async with modbus_meter([0, 0]) as port:
        with pytest.raises(LineError, match=r"refuses to read 10 registers at 0 \(exception 2\)"):
            await reader(port).read(NOW)


async def test_a_port_where_nobody_listens_is_said() -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    with pytest.raises(LineError, match=r"no connection to 127\.0\.0\.1"):
        await reader(port).read(NOW)


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "not Modbus"),
        (b"\x00\x01\x00\x00\x00\x05\x01\x04\x02\x00\x01", "sends 1 registers"),
        (b"\x00\x01\x00\x00\x00\x05\x01\x03\x02\x00\x01", "no Modbus answer"),
        (b"\x00\x01\x00\x00\x00\x03\x01\x2b\x00", "no Modbus answer"),
        (b"", "closed by the other end"),
    ],
)
async def test_an_answer_that_is_none_is_said(answer: bytes, word: str) -> None:
    async def connect(host: str, port: int) -> trio.abc.Stream:
        client, server = trio.testing.memory_stream_pair()
        await server.send_all(answer)
        await server.send_eof()
        return client

    asked = ModbusReader(meter(502), Line("meter", 502, connect))
    with pytest.raises(LineError, match=word):
        await asked.read(NOW)


async def test_a_silent_meter_costs_its_timeout_and_a_new_connection(autojump_clock: trio.testing.MockClock) -> None:
    opened = 0

    async def connect(host: str, port: int) -> trio.abc.Stream:
        nonlocal opened
        opened += 1
        return trio.testing.memory_stream_pair()[0]

    asked = ModbusReader(meter(502, timeout_s=3.0), Line("meter", 502, connect))
    for _ in range(2):
        began_s = trio.current_time()
        with pytest.raises(LineError, match="no answer from meter:502 in 3 s"):
            await asked.read(NOW)
        assert trio.current_time() - began_s == pytest.approx(3.0)
    assert opened == 2


async def test_a_late_answer_to_an_earlier_question_is_passed_over() -> None:
    late = b"\x00\x63\x00\x00\x00\x05\x01\x04\x02\x00\x01"
    good = b"\x00\x01\x00\x00\x00\x17\x01\x04\x14" + b"".join(struct.pack(">H", word) for word in DATAGRAM)

    async def connect(host: str, port: int) -> trio.abc.Stream:
        client, server = trio.testing.memory_stream_pair()
        await server.send_all(late + good)
        return client

    assert (await ModbusReader(meter(502), Line("meter", 502, connect)).read(NOW)).power_w == 400_000.0


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("float32", [0x7FC0, 0]),
        ("float32", [0x7F80, 0]),
        ("uint16", [0xFFFF]),
        ("int16", [0x8000]),
        ("uint32", [0xFFFF, 0xFFFF]),
        ("int32", [0x8000, 0]),
        ("uint64", [0xFFFF] * 4),
    ],
)
def test_what_a_meter_sends_for_no_value_is_unknown_and_not_a_number(kind: str, words: list[int]) -> None:
    register = Register(quantity="heat_w", address=5, kind=kind)  # type: ignore[arg-type]  # one of its literals
    assert value_of(register, dict(enumerate(words, 5))) is None
    assert sample_of([register], dict(enumerate(words, 5)), NOW).power_w is None


def test_registers_of_the_site_file_add_to_a_profile() -> None:
    energy = Register(quantity="energy_wh", address=0x30, kind="uint32", scale=1_000.0)
    registers = registers_of(meter(1, registers=[energy, Register(quantity="heat_w", address=4, scale=1.0)]))
    assert {each.quantity for each in registers} == {"flow_l_per_h", "heat_w", "supply_c", "return_c", "energy_wh"}
    assert next(each.scale for each in registers if each.quantity == "heat_w") == 1.0


@given(st.lists(st.tuples(st.integers(0, 60_000), st.sampled_from(["uint16", "float32", "uint64"])), min_size=1, max_size=20))
def test_every_register_lies_in_one_request_and_no_request_is_too_long(places: list[tuple[int, str]]) -> None:
    registers = [Register(quantity="heat_w", address=address, kind=kind) for address, kind in places]  # type: ignore[arg-type]  # ditto
    spans = spans_of(registers)
    for register in registers:
        length = {"uint16": 1, "float32": 2, "uint64": 4}[register.kind]
        assert any(_contains(span, register.address, length) for span in spans)
    assert all(span.count <= 125 for span in spans)
    assert math.isfinite(sum(span.count for span in spans))


def _contains(span: Span, address: int, length: int) -> bool:
    return span.address <= address and address + length <= span.address + span.count
