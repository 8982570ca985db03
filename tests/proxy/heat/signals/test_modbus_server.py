"""The Modbus server against pymodbus's client over real sockets, and against bytes that no client sends."""

import struct
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.pdu import ModbusPDU

from proxy.config import ModbusSignal
from proxy.events import EventLog
from proxy.heat.signals.modbus import ModbusServer, _Client
from proxy.heat.signals.status import SignalStatus
from tests.support.other_loop import OtherLoop, other_loop
from tests.support.signal_port import RecordingPort

NOW = 1_768_435_200.0


class Rig:
    def __init__(self, **fields: object) -> None:
        values: dict[str, object] = {"listen": "127.0.0.1:0", "allow": ["127.0.0.0/8"], "max_requests_per_s": 1_000.0, **fields}
        self.config = ModbusSignal(**values)  # type: ignore[arg-type]  # keywords of the table
        self.port = RecordingPort()
        self.began_s = trio.current_time()
        self.events = EventLog(self.wall)
        self.status = SignalStatus("modbus", "masters", self.events, trio.current_time)
        self.server = ModbusServer(self.config, self.port, self.status, self.events, self.wall)
        self.tcp_port = 0

    def wall(self) -> float:
        return NOW + trio.current_time() - self.began_s

    async def raw(self, data: bytes, *, host: str = "127.0.0.1") -> bytes:
        """What comes back for bytes until the server has answered once or closed."""
        stream = await trio.open_tcp_stream(host, self.tcp_port)
        async with stream:
            try:
                await stream.send_all(data)
                with trio.move_on_after(5):
                    return bytes(await stream.receive_some(300))
            except trio.BrokenResourceError:
                return b""
        return b"silent"


@asynccontextmanager
async def serving(**fields: object) -> AsyncIterator[Rig]:
    rig = Rig(**fields)
    async with trio.open_nursery() as nursery:
        rig.tcp_port = await nursery.start(rig.server.run)
        yield rig
        nursery.cancel_scope.cancel()


class Peer:
    """pymodbus's asyncio client, called from trio."""

    def __init__(self, loop: OtherLoop, client: AsyncModbusTcpClient) -> None:
        self._loop = loop
        self.client = client

    async def _call(self, ask: Callable[..., Coroutine[Any, Any, ModbusPDU]], **arguments: object) -> ModbusPDU:
        return await self._loop.call(lambda: ask(**arguments))

    async def read(self, address: int, count: int, device_id: int = 1) -> ModbusPDU:
        return await self._call(self.client.read_holding_registers, address=address, count=count, device_id=device_id)

    async def read_input(self, address: int, count: int) -> ModbusPDU:
        return await self._call(self.client.read_input_registers, address=address, count=count, device_id=1)

    async def write(self, address: int, *words: int) -> ModbusPDU:
        return await self._call(self.client.write_registers, address=address, values=list(words), device_id=1)

    async def write_one(self, address: int, word: int) -> ModbusPDU:
        return await self._call(self.client.write_register, address=address, value=word, device_id=1)

    async def coils(self) -> ModbusPDU:
        return await self._call(self.client.read_coils, address=0, count=1, device_id=1)

    def floats(self, answer: ModbusPDU) -> float:
        value = self.client.convert_from_registers(list(answer.registers), self.client.DATATYPE.FLOAT32)
        assert isinstance(value, float)
        return value

    def words(self, value: float) -> list[int]:
        return list(self.client.convert_to_registers(value, self.client.DATATYPE.FLOAT32))


@asynccontextmanager
async def peer_of(rig: Rig) -> AsyncIterator[Peer]:
    async def connected() -> AsyncModbusTcpClient:
        client = AsyncModbusTcpClient("127.0.0.1", port=rig.tcp_port, timeout=5, retries=0, reconnect_delay=0)
        assert await client.connect()
        return client

    async def close(client: AsyncModbusTcpClient) -> None:
        client.close()

    async with other_loop() as loop:
        client = await loop.call(connected)
        try:
            yield Peer(loop, client)
        finally:
            await loop.call(lambda: close(client))


def frame(message: bytes, *, device_id: int = 1, transaction: int = 1, protocol: int = 0, length: int | None = None) -> bytes:
    size = len(message) + 1 if length is None else length
    return struct.pack(">HHHB", transaction, protocol, size, device_id) + message


async def test_a_plc_asks_for_heat_and_reads_the_report_back() -> None:
    async with serving() as rig, peer_of(rig) as peer:
        for beat in (1, 2):
            answer = await peer.write(0, beat, 1, *peer.words(1_500.0), *peer.words(0.0), 0, 0)
            assert not answer.isError()
        assert rig.port.accepted[-1].power_w == 1_500_000.0
        assert peer.floats(await peer.read(102, 2)) == 1_480.0
        assert peer.floats(await peer.read(118, 2)) == 1_500.0
        assert peer.floats(await peer.read(2, 2)) == 1_500.0
        report = await peer.read(100, 26)
        assert list(report.registers)[14] == 1
        assert list((await peer.read_input(114, 1)).registers) == [1]
        assert rig.status.view().connected


async def test_each_refusal_has_its_exception_code_and_an_event_that_names_the_reason() -> None:
    async with serving() as rig, peer_of(rig) as peer:
        cases = [
            (await peer.write(2, *peer.words(float("nan"))), 3, "nan"),
            (await peer.write(2, *peer.words(-5.0)), 3, "negative"),
            (await peer.write(2, *peer.words(1e12)), 3, "absurd"),
            (await peer.write_one(2, 17_000), 2, "both registers"),
            (await peer.write_one(50, 1), 2, "no register"),
            (await peer.write_one(100, 1), 2, "only read"),
            (await peer.coils(), 1, "function 1 "),
            (await peer.read(0, 1, device_id=9), 11, "unit identifier 9"),
        ]
        reasons = [str(event.facts["reason"]) for event in rig.events.since(0) if event.name == "signal.refused"]
        for answer, code, word in cases:
            assert answer.isError()
            assert answer.exception_code == code
            assert any(word in reason and "127.0.0.1" in reason for reason in reasons), word
        assert rig.port.accepted == []


async def test_the_alive_register_by_itself_keeps_a_set_point_valid() -> None:
    async with serving() as rig, peer_of(rig) as peer:
        await peer.write_one(0, 1)
        await peer.write(1, 1, *peer.words(700.0))
        assert rig.port.accepted == []
        await peer.write_one(0, 2)
        assert rig.port.accepted[-1].power_w == 700_000.0


async def test_an_emergency_stop_passes_and_is_released() -> None:
    async with serving() as rig, peer_of(rig) as peer:
        assert not (await peer.write_one(6, 1)).isError()
        assert rig.port.stops == {"modbus 127.0.0.1": True}
        assert not (await peer.write_one(6, 0)).isError()
        assert rig.port.stops == {"modbus 127.0.0.1": False}


async def test_the_low_word_may_come_first_where_the_site_says_so() -> None:
    async with serving(word_order="little") as rig, peer_of(rig) as peer:
        for beat in (1, 2):
            await peer.write(0, beat, 1, *reversed(peer.words(1_500.0)))
        assert rig.port.accepted[-1].power_w == 1_500_000.0
        assert list((await peer.read(102, 2)).registers) == list(reversed(peer.words(1_480.0)))


async def test_a_host_that_is_not_named_gets_no_word_and_an_event() -> None:
    async with serving(allow=["10.0.0.0/8"]) as rig:
        assert await rig.raw(frame(b"\x03\x00\x64\x00\x02")) == b""
        assert "127.0.0.1 is not allowed" in str(rig.events.since(0)[-1].facts["reason"])


async def test_two_masters_on_two_addresses_are_told_apart() -> None:
    async with serving() as rig, peer_of(rig) as peer:
        assert not (await peer.write_one(0, 1)).isError()
        stream = await trio.open_tcp_stream("127.0.0.1", rig.tcp_port, local_address="127.0.0.2")
        async with stream:
            await stream.send_all(frame(b"\x06\x00\x00\x00\x07"))
            assert bytes(await stream.receive_some(300))[7:] == b"\x86\x06"
            await stream.send_all(frame(b"\x06\x00\x06\x00\x01"))
            assert bytes(await stream.receive_some(300))[7:] == b"\x06\x00\x06\x00\x01"
        assert rig.port.stops == {"modbus 127.0.0.2": True}


@pytest.mark.parametrize(
    "data",
    [
        frame(b"\x03\x00\x00\x00\x01", protocol=7),
        frame(b"\x03\x00\x00\x00\x01", length=0),
        frame(b"\x03\x00\x00\x00\x01", length=4_000),
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
async def test_what_is_not_modbus_is_closed_and_others_are_still_served(data: bytes) -> None:
    async with serving() as rig, peer_of(rig) as peer:
        assert await rig.raw(data) == b""
        assert not (await peer.read(100, 2)).isError()


@pytest.mark.parametrize(
    "message",
    [
        b"\x03\x00\x00\x00\x00",  # no register
        b"\x03\x00\x00\x00\x7e",  # more than a message holds
        b"\x03\x00",  # cut
        b"\x03\x00\x00\x00\x01\x00",  # longer than it says
        b"\x10\x00\x02\x00\x02\x04\x44\xbb",  # half of its values
        b"\x10\x00\x02\x00\x01\x04\x44\xbb\x80\x00",  # counts that disagree
        b"\x10\x00\x02\x00\x02\x04\x44\xbb\x80\x00\x00",
        b"\x06\x00\x00",
    ],
)
async def test_a_malformed_request_is_refused_with_exception_3(message: bytes) -> None:
    async with serving() as rig:
        answer = await rig.raw(frame(message))
        assert answer[7:] == bytes((message[0] | 0x80, 3))
        assert rig.status.view().refused > 0
        assert rig.port.accepted == []


async def test_requests_in_one_packet_and_one_request_in_many_are_both_answered() -> None:
    async with serving() as rig:
        stream = await trio.open_tcp_stream("127.0.0.1", rig.tcp_port)
        async with stream:
            await stream.send_all(frame(b"\x06\x00\x00\x00\x01", transaction=1) + frame(b"\x06\x00\x00\x00\x02", transaction=2))
            received = b""
            while len(received) < 24:
                received += bytes(await stream.receive_some(300))
            assert (received[:2], received[12:14]) == (b"\x00\x01", b"\x00\x02")
            for byte in frame(b"\x03\x00\x64\x00\x01", transaction=3):
                await stream.send_all(bytes((byte,)))
            assert bytes(await stream.receive_some(300))[:2] == b"\x00\x03"


async def test_a_silent_client_is_closed_after_the_idle_time(autojump_clock: trio.testing.MockClock) -> None:
    async with serving(idle_timeout_s=30.0) as rig:
        client, server = trio.testing.memory_stream_pair()
        ended = trio.Event()

        async def talk() -> None:
            await rig.server._talk(_Client("10.0.0.5", server, trio.current_time()))  # type: ignore[arg-type]  # a stream all the same
            ended.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk)
            await client.send_all(frame(b"\x03\x00\x64\x00\x01")[:5])
            began_s = trio.current_time()
            await ended.wait()
            assert 29 < trio.current_time() - began_s < 31


async def test_a_fast_client_is_slowed_down_not_refused(autojump_clock: trio.testing.MockClock) -> None:
    rig = Rig(max_requests_per_s=10.0)
    client, server = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.server._talk, _Client("10.0.0.5", server, trio.current_time()))  # type: ignore[arg-type]  # ditto
        began_s = trio.current_time()
        received = 0
        await client.send_all(frame(b"\x03\x00\x64\x00\x01") * 100)
        while received < 100 * 11:
            received += len(await client.receive_some(4_096))
        assert 8.5 < trio.current_time() - began_s < 10.5
        nursery.cancel_scope.cancel()


async def test_with_all_places_taken_the_longest_silent_client_makes_room_after_a_while() -> None:
    async with serving(max_clients=1) as rig:
        first = await trio.open_tcp_stream("127.0.0.1", rig.tcp_port)
        await first.send_all(frame(b"\x03\x00\x64\x00\x01"))
        await first.receive_some(300)
        assert await rig.raw(frame(b"\x03\x00\x64\x00\x01")) == b""
        rig.server._clients[0].heard_s -= 10.0
        assert len(await rig.raw(frame(b"\x03\x00\x64\x00\x01"))) == 11
        assert await first.receive_some(10) == b""
        await first.aclose()


async def test_a_controller_that_connects_for_each_request_is_no_news_and_one_that_stays_away_is(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with serving() as rig:
        for _ in range(3):
            async with await trio.open_tcp_stream("127.0.0.1", rig.tcp_port) as stream:
                await stream.send_all(frame(b"\x03\x00\x64\x00\x01"))
                await stream.receive_some(300)
            await trio.sleep(1)
        names = [event.name for event in rig.events.since(0)]
        assert names.count("signal.connected") == 1
        assert "signal.lost" not in names[names.index("signal.connected") :]
        await trio.sleep(12)
        assert rig.status.view().reason == "no master is connected"


async def test_an_address_that_is_taken_is_told_and_tried_again(autojump_clock: trio.testing.MockClock) -> None:
    (taken,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    rig = Rig(listen=f"127.0.0.1:{taken.socket.getsockname()[1]}")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.server.run)
        await trio.sleep(1)
        assert "cannot listen" in str(rig.status.view().reason)
        await taken.aclose()
        await trio.sleep(11)
        assert rig.status.view().reason == "no master is connected"
        nursery.cancel_scope.cancel()
