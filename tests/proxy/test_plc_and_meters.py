"""A controller by Modbus and meters by Modbus and M-Bus on a whole site, over real sockets, until the machines have changed."""

from pathlib import Path

import pytest
import trio
from pymodbus.pdu.register_message import ReadHoldingRegistersRequest, WriteMultipleRegistersRequest
from trio.testing import MockClock

from proxy.heat.mbap import FrameBuffer, Messages, ModbusPDU
from proxy.heat.signals.modbus_map import ENTRIES, Ladder, decode, encode
from tests.support.hall import EFFICIENCY, FULL_W, LOW_W, hall
from tests.support.mbus_gateway import Gateway, heat_records, telegram

UNITS = 4


class Plc:
    """A controller that beats, with pymodbus's messages on one connection."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._messages = Messages(is_server=False)
        self.beat = 0

    async def _ask(self, request: ModbusPDU) -> ModbusPDU:
        await self._stream.send_all(self._messages.encode_request(request, 1, 1))
        buffer = FrameBuffer()
        while (frame := buffer.next_frame()) is None:
            buffer.feed(bytes(await self._stream.receive_some(300)))
        answer = self._messages.decode(frame)
        assert answer is not None
        return answer

    async def write(self, power_kw: float, *, mode: int = 1, stop: int = 0) -> ModbusPDU:
        self.beat += 1
        words = [self.beat, mode, *encode("f32", power_kw, "big"), *encode("f32", 0.0, "big"), stop, 0]
        return await self._ask(WriteMultipleRegistersRequest(address=0, registers=words))

    async def read(self, name: str) -> float:
        entry = next(entry for entry in ENTRIES if entry.name == name)
        answer = await self._ask(ReadHoldingRegistersRequest(address=entry.address, count=len(entry.addresses)))
        return decode(entry.kind, answer.registers, "big")


async def free_port() -> int:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = int(listener.socket.getsockname()[1])
    await listener.aclose()
    return port


def server(port: int) -> str:
    return f'\n[signals.modbus]\nlisten = "127.0.0.1:{port}"\nallow = ["127.0.0.0/8"]\nmax_requests_per_s = 1000\n'


async def test_machines_follow_a_controller_and_stop_at_its_word(tmp_path: Path, mock_clock: MockClock) -> None:
    port = await free_port()
    async with (
        hall(tmp_path, mock_clock, units=UNITS, text=server(port)) as it,
        await trio.open_tcp_stream("127.0.0.1", port) as stream,
    ):
        plc = Plc(stream)
        asked_kw = UNITS * LOW_W * EFFICIENCY / 1_000
        for _ in range(2):
            assert not (await plc.write(asked_kw)).isError()
        await it.until(lambda: it.is_near(UNITS * LOW_W))
        await plc.write(asked_kw)
        assert await plc.read("state") == Ladder.LIVE
        assert await plc.read("power_followed") == pytest.approx(asked_kw)
        assert it.app.site.view().heat.source == "modbus"
        # More than the plant could ever be: said by heat control, answered by exception 3.
        assert (await plc.write(asked_kw * 100)).exception_code == 3
        await plc.write(0.0, stop=1)
        await it.until(lambda: it.states() == {"SLEEPING"})
        assert await plc.read("state") == Ladder.STOP
        (signal,) = it.app.site.view().signals
        assert (signal.name, signal.connected) == ("modbus", True)
        for _ in range(2):
            await plc.write(0.0, stop=0)
        # The audit has it, once each, as it has what comes by the API.
        assert [row for row in await it.audited() if row[1] == "heat.stop"] == [
            ("modbus 127.0.0.1", "heat.stop", "site", "done")
        ] * 2


async def test_a_controller_that_freezes_is_held_and_then_given_up(tmp_path: Path, mock_clock: MockClock) -> None:
    port = await free_port()
    async with (
        hall(tmp_path, mock_clock, units=UNITS, text=server(port)) as it,
        await trio.open_tcp_stream("127.0.0.1", port) as stream,
    ):
        plc = Plc(stream)
        for _ in range(2):
            await plc.write(UNITS * FULL_W * EFFICIENCY / 1_000)
        await it.until(lambda: it.app.site.view().heat.ladder == "LIVE")
        # The demand lives as long as the counter may stand still, then as long as staleness takes.
        await it.until(lambda: it.app.site.view().heat.ladder == "HOLD", 300)
        await it.until(lambda: it.app.site.view().heat.ladder == "FALLBACK", 600)
        assert any(event.name == "modbus.alive_lost" for event in it.app.events.since(0))


async def test_a_meter_on_a_bus_is_what_the_site_delivers_and_its_loss_is_an_alarm(tmp_path: Path, mock_clock: MockClock) -> None:
    gateway = Gateway({7: [telegram(7, heat_records(20_000, 580, 75.0, 45.0, 12))]})
    async with trio.open_nursery() as nursery:
        port = await nursery.start(gateway.serve)
        meter = f'\n[[meters]]\nname = "billing"\nprotocol = "mbus"\naddress = "127.0.0.1:{port}"\ndevice_id = 7\ntimeout_s = 2\n'
        async with hall(tmp_path, mock_clock, units=UNITS, text=meter) as it:
            await it.until(lambda: it.app.site.view().heat.heat_quality == "measured")
            heat = it.app.site.view().heat
            assert (heat.heat_w, heat.supply_c) == (20_000.0, 75.0)
            (shown,) = (await it.client.get("/api/v1/meters")).json()
            assert (shown["name"], shown["state"], shown["energy_wh"]) == ("billing", "ok", 12_000.0)
            gateway.is_deaf = True
            await it.until(lambda: it.app.site.view().heat.heat_quality == "estimated", 200)
            await it.until(lambda: any("meter billing lost" in alarm for alarm in it.app.heat.alarms()), 100)
            assert any(event.name == "meter.failed" for event in it.app.events.since(0))
        nursery.cancel_scope.cancel()
