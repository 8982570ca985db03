"""A small site of simulated machines behind memory streams, in virtual time."""

import random
from collections.abc import Callable

import pytest
import trio
import trio.testing

from proxy import config
from proxy.events import EventLog
from proxy.sim.device import SimDevice, SimDeviceSpec
from proxy.units.fleet import Fleet
from proxy.units.unit import UnitImage, UnitState

LEVELS = [
    config.Level(name="eco", power_w=4_435, hashrate_hps=297.6e12, setting=-1),
    config.Level(name="low", power_w=5_645, hashrate_hps=367.2e12, setting=0),
    config.Level(name="mid", power_w=6_854, hashrate_hps=424.8e12, setting=1),
    config.Level(name="full", power_w=8_064, hashrate_hps=480e12, setting=2),
]


class Site:
    """Devices, a fleet over them, and short words for tests."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.devices: dict[str, SimDevice] = {}
        self.units: list[config.Unit] = []
        self.announced: list[tuple[str, float]] = []
        self.events = EventLog(lambda: 1_800_000_000.0 + trio.current_time())
        self.wall_skew_s = 0.0
        self.fleet: Fleet

    def add(
        self, unit_id: str, model: config.Model, *, serial: str | None = None, level: int | None = None, **unit: object
    ) -> SimDevice:
        device = SimDevice(SimDeviceSpec.from_model(model), random.Random(unit_id), serial=serial, level=level)
        device.advance(trio.current_time())
        address = f"10.0.0.{len(self.units) + 1}"
        self.devices[address] = device
        self.units.append(config.Unit(id=unit_id, address=address, model="m", loop="north", **unit))
        return device

    async def connect(self, address: str, port: int) -> trio.abc.Stream:
        assert port == 4028
        device = self.devices.get(address)
        if device is None:
            raise OSError("no route to host")
        ours, theirs = trio.testing.memory_stream_pair()
        self.nursery.start_soon(device.handle, theirs, trio.current_time)
        return ours

    async def start(self, model: config.Model, heat: config.Heat | None = None, **more: object) -> Fleet:
        self.fleet = Fleet(
            self.units,
            {"m": model},
            heat or config.Heat(),
            self.events,
            connect=self.connect,
            wall_clock=lambda: 1_800_000_000.0 + trio.current_time(),
            **more,
        )
        self.fleet.on_commanded = lambda unit, hashrate_hps: self.announced.append((unit, hashrate_hps))
        await self.nursery.start(self.fleet.run)
        await trio.sleep(1)
        return self.fleet

    def image(self, unit_id: str = "u1") -> UnitImage:
        return next(image for image in self.fleet.image(trio.current_time()) if image.id == unit_id)

    def command(self, level: int, unit_id: str = "u1", **more: bool) -> str | None:
        return self.fleet.command(unit_id, level, "test", trio.current_time(), **more)

    async def until(self, state: UnitState, unit_id: str = "u1", within_s: float = 3_600.0) -> UnitImage:
        with trio.fail_after(within_s):
            while self.image(unit_id).state is not state:
                await trio.sleep(0.5)
        return self.image(unit_id)

    def names(self) -> list[str]:
        return [event.name for event in self.events.since(0)]


@pytest.fixture
def model() -> config.Model:
    return config.Model(levels=LEVELS)


@pytest.fixture
def make_model() -> Callable[..., config.Model]:
    return lambda **fields: config.Model(levels=LEVELS, **fields)


@pytest.fixture
def site(nursery: trio.Nursery) -> Site:
    """Only for tests that ask for `autojump_clock` themselves: their clock is the fixture the test names."""
    return Site(nursery)
