"""Meters asked in turn over real sockets into a real bank."""

import pytest
import trio
import trio.testing

from proxy.config import Meter, Planner, Register
from proxy.events import EventLog
from proxy.heat.forecast import TankReading
from proxy.heat.meters.bank import MeterBank
from proxy.heat.meters.line import Connect
from proxy.heat.meters.poll import MeterPoller
from tests.support.mbus_gateway import Gateway, heat_records, telegram
from tests.support.modbus_meter import floats, modbus_meter
from tests.support.patience import PATIENCE_S

NOW = 1_768_435_200.0


class Rig:
    def __init__(self, *meters: Meter, connect: Connect = trio.open_tcp_stream) -> None:
        planner = Planner(tank_capacity_wh=2e6, tank_max_charge_w=1e5, tank_volume_m3=60, tank_empty_c=45)
        self.bank = MeterBank(meters, ("a", "b"), 1e6, 60.0, planner)
        self.events = EventLog(self.wall)
        self.poller = MeterPoller(meters, self.bank, self.events, self.wall, connect)
        self.began_s = trio.current_time()

    def wall(self) -> float:
        return NOW + trio.current_time() - self.began_s

    async def heard(self, count: int) -> None:
        """Wait until so many readings were believed."""
        with trio.fail_after(PATIENCE_S):
            while sum(view.readings for view in self.bank.views(self.wall())) < count:
                await trio.sleep(0.005)


def meter(name: str, port: int, **fields: object) -> Meter:
    return Meter(name=name, address=f"127.0.0.1:{port}", **fields)  # type: ignore[arg-type]  # keywords of the table


async def test_meters_of_both_protocols_fill_the_bank() -> None:
    gateway = Gateway({5: [telegram(5, heat_records(150_000, 4_300, 75.0, 45.0, 77))]})
    async with modbus_meter(floats([11_700.0, 0.0, 400.0, 75.0, 45.3])) as port, trio.open_nursery() as nursery:
        bus = await nursery.start(gateway.serve)
        rig = Rig(meter("billing", port), meter("m-a", bus, place="a", protocol="mbus", device_id=5))
        nursery.start_soon(rig.poller.run)
        await rig.heard(2)
        now = rig.wall()
        assert rig.bank.site_heat(now).value == 400_000.0
        assert rig.bank.loop_heat("a", now).value == 150_000.0
        assert rig.bank.energy_wh("a", now) == 77_000.0
        nursery.cancel_scope.cancel()


async def test_a_tank_is_read_sensor_by_sensor_and_told_to_who_plans() -> None:
    heard: list[TankReading] = []
    registers = [Register(quantity="tank_c", address=2 * k, kind="int16", scale=0.1) for k in range(3)]
    # One register between two sensors is another device's, and the middle sensor is broken: it sends what is no number.
    async with modbus_meter([700, 0, 0x8000, 0, 450]) as port, trio.open_nursery() as nursery:
        rig = Rig(meter("tank", port, measures="tank", profile="custom", registers=registers))
        assert rig.bank.tank is not None
        rig.bank.tank.listen(lambda reading, now_unix_s: heard.append(reading))
        nursery.start_soon(rig.poller.run)
        await rig.heard(1)
        assert heard[0].content_wh == pytest.approx(60 * 1.137e3 * (25 + 12.5) / 3, rel=0.01)
        assert [str(trouble) for trouble in rig.bank.troubles(rig.wall())] == [
            "meter tank, sensor 2 lost: it gives no temperature, its neighbours stand in; check its wiring"
        ]
        nursery.cancel_scope.cancel()


async def test_two_meters_behind_one_gateway_share_its_line() -> None:
    gateway = Gateway(
        {k: [telegram(k, heat_records(100_000 * k, 2_900 * k, 75.0, 45.0, k))] for k in (1, 2)},
    )
    async with trio.open_nursery() as nursery:
        bus = await nursery.start(gateway.serve)
        rig = Rig(
            meter("m-a", bus, place="a", protocol="mbus", device_id=1),
            meter("m-b", bus, place="b", protocol="mbus", device_id=2),
        )
        nursery.start_soon(rig.poller.run)
        await rig.heard(2)
        assert rig.bank.site_heat(rig.wall()).value == 300_000.0
        assert gateway.connections == 1
        nursery.cancel_scope.cancel()


class Flaky:
    """A meter that answers by Modbus, counts up, and can fall silent or freeze."""

    def __init__(self) -> None:
        self.is_silent = False
        self.power_kw = 400.0
        self.asked = 0

    async def connect(self, host: str, port: int) -> trio.abc.Stream:
        client, server = trio.testing.memory_stream_pair()
        trio.lowlevel.spawn_system_task(self._serve, server)
        return client

    async def _serve(self, stream: trio.abc.Stream) -> None:
        try:
            while question := await stream.receive_some(300):
                self.asked += 1
                if not self.is_silent:
                    words = floats([self.power_kw * 29.2, 0.0, self.power_kw, 75.0, 45.3])
                    body = b"\x01\x04\x14" + b"".join(word.to_bytes(2, "big") for word in words)
                    await stream.send_all(bytes(question[:4]) + len(body).to_bytes(2, "big") + body)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass


async def test_a_lost_meter_is_told_once_asked_less_often_and_told_again_when_it_is_back(
    autojump_clock: trio.testing.MockClock,
) -> None:
    flaky = Flaky()
    rig = Rig(meter("billing", 502, period_s=5.0), connect=flaky.connect)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.poller.run)
        for _ in range(10):
            flaky.power_kw += 1
            await trio.sleep(5)
        assert rig.bank.site_heat(rig.wall()).value is not None
        flaky.is_silent = True
        await trio.sleep(100)
        assert rig.bank.site_heat(rig.wall()).value is None
        (failed,) = [event for event in rig.events.since(0) if event.name == "meter.failed"]
        assert failed.facts["subject"] == "meter billing"
        assert failed.facts["kind"] == "lost"
        assert "no answer" in str(failed.facts["reason"])
        before = flaky.asked
        await trio.sleep(400)
        assert 5 <= flaky.asked - before <= 12
        flaky.is_silent = False
        await trio.sleep(100)
        assert rig.events.since(0)[-1].name == "meter.recovered"
        assert rig.bank.site_heat(rig.wall()).value == pytest.approx(410_000.0)
        nursery.cancel_scope.cancel()


async def test_a_meter_that_froze_is_found_while_it_still_answers(autojump_clock: trio.testing.MockClock) -> None:
    flaky = Flaky()
    rig = Rig(meter("billing", 502, period_s=10.0), connect=flaky.connect)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.poller.run)
        await trio.sleep(1_000)
        assert rig.bank.site_heat(rig.wall()).value is None
        (failed,) = [event for event in rig.events.since(0) if event.name == "meter.failed"]
        assert failed.facts["kind"] == "stuck"
        nursery.cancel_scope.cancel()
