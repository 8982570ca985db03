"""One simulated machine of each vendor family and the driver that speaks to it, by sockets or by memory streams."""

import random
from collections.abc import Callable

import msgspec
import trio
import trio.testing

from proxy import config
from proxy.sim.device import CLOCK_BASE_UNIX_S, SimDevice, SimDeviceSpec
from proxy.sim.device_axeos import SimAxeos
from proxy.sim.device_braiins import SimBraiins
from proxy.sim.device_luxos import SimLuxos
from proxy.sim.device_whatsminer import SimWhatsminer
from proxy.units.credentials import Credentials
from proxy.units.drivers.avalon import AvalonDriver
from proxy.units.drivers.axeos import AxeosDriver
from proxy.units.drivers.base import Connect, Driver
from proxy.units.drivers.braiins import BraiinsDriver
from proxy.units.drivers.luxos import LuxosDriver
from proxy.units.drivers.whatsminer import WhatsminerDriver


def _levels(*rows: tuple[str, float, float, int]) -> list[config.Level]:
    return [config.Level(name=name, power_w=power_w, hashrate_hps=rate, setting=setting) for name, power_w, rate, setting in rows]


class Family(msgspec.Struct, frozen=True):
    """A kind of machine: its model, its simulation, and its driver given an account's password."""

    name: str
    model: config.Model
    device: type[SimDevice]
    driver: Callable[[config.Unit, config.Model, Connect, Callable[[], float], str], Driver]
    set_words: tuple[str, ...]  # what the fake remembers of: middle level, sleep, wake to the middle level

    def make_device(self, **more: object) -> SimDevice:
        """A machine that runs on its highest level, unless `level` says another."""
        return self.device(SimDeviceSpec.from_model(self.model), random.Random(self.name), **more)

    def make_driver(self, connect: Connect, *, port: int | None = None, password: str | None = None) -> Driver:
        """Its driver; the machine's own password unless another is given."""
        unit = config.Unit(id="u1", address="127.0.0.1", model="m", loop="north", api_port=port)
        known = getattr(self.device, "password", "") if password is None else password
        return self.driver(unit, self.model, connect, lambda: CLOCK_BASE_UNIX_S + 5_000.0, known)


AVALON = Family(
    "avalon",
    config.Model(levels=_levels(("low", 4_000, 270e12, 0), ("mid", 6_000, 380e12, 1), ("full", 8_064, 480e12, 2))),
    SimDevice,
    lambda unit, model, connect, clock, password: AvalonDriver(unit, model, connect, clock),
    ("worklevel,set,1", "softoff,1:", "softon,1:"),
)
WHATSMINER = Family(
    "whatsminer",
    config.Model(
        driver="whatsminer",
        levels=_levels(("half", 1_750, 95e12, 50), ("most", 2_600, 140e12, 75), ("full", 3_400, 180e12, 100)),
        sleep_power_w=25,
    ),
    SimWhatsminer,
    lambda unit, model, connect, clock, password: WhatsminerDriver(unit, model, connect, clock, Credentials("super", password)),
    ('set.miner.power_percent {"percent":"75","mode":"fast"}', 'set.miner.service "stop"', 'set.miner.service "start"'),
)
BRAIINS = Family(
    "braiins",
    config.Model(
        driver="braiins",
        levels=_levels(("eco", 1_600, 120e12, 1_600), ("mid", 2_500, 180e12, 2_500), ("full", 3_500, 234e12, 3_500)),
        sleep_power_w=40,
    ),
    SimBraiins,
    lambda unit, model, connect, clock, password: BraiinsDriver(unit, model, connect, Credentials("root", password)),
    ('/performance/power-target {"watt":2500}', "/actions/pause", "/actions/resume"),
)
LUXOS = Family(
    "luxos",
    config.Model(
        driver="luxos",
        levels=_levels(("low", 1_188, 60e12, 290), ("mid", 1_657, 80e12, 390), ("full", 2_400, 108e12, 525)),
        sleep_power_w=30,
    ),
    SimLuxos,
    lambda unit, model, connect, clock, password: LuxosDriver(unit, model, connect),
    ("profileset 390MHz", "curtail sleep", "curtail wakeup"),
)
AXEOS = Family(
    "axeos",
    config.Model(
        driver="axeos",
        levels=_levels(("low", 10, 0.8e12, 400), ("mid", 13, 1.0e12, 490), ("full", 18, 1.2e12, 600)),
        sleep_power_w=1.5,
    ),
    SimAxeos,
    lambda unit, model, connect, clock, password: AxeosDriver(unit, model, connect),
    ('PATCH /api/system {"frequency":490}', "POST /api/system/pause", "POST /api/system/resume"),
)
OTHERS = (WHATSMINER, BRAIINS, LUXOS, AXEOS)
FAMILIES = (AVALON, *OTHERS)


def by_memory(device: SimDevice) -> Connect:
    """Reach a machine through memory streams; it lives up to the trio clock's time plus nothing else."""

    async def connect(_address: str, _port: int) -> trio.abc.Stream:
        ours, theirs = trio.testing.memory_stream_pair()
        trio.lowlevel.spawn_system_task(device.handle, theirs)
        return ours

    return connect
