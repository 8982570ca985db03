"""The machine hall of the demo: every unit's device and miner, and the water that ties them to the plant.

A `FloorUnit` is one machine: its vendor API, its Stratum client and its power cord. `Floor` lets them all live, moves heat from
them into the plant and the plant's temperature back to them. It decides nothing; levels come from the proxy through the vendor API.
"""

import random
import time
from collections import Counter
from collections.abc import Callable

import msgspec
import trio

from protocol.mining.job import VERSION_MASK_BIP320
from proxy import config
from proxy.sim.demo_site import DemoPlan, DemoUnit
from proxy.sim.device import SimDevice, SimDeviceSpec
from proxy.sim.hasher import Hasher
from proxy.sim.miner import MinerSpec, SimMiner
from proxy.sim.miner_core import MinerCore, tcp_connector
from proxy.sim.miner_v2 import MinerSpecV2, SimMinerV2
from proxy.sim.plant import MeterSample, Plant, PlantSpec

TICK_S = 0.25
# Devices let live between two checkpoints, so that a tick never holds up the sockets.
_UNITS_PER_SLICE = 32
# Firmware of three ages: what it says it is, whether it rolls versions, whether it counts extranonce2 anew with each job.
_FIRMWARES = (("cgminer/4.11.1", True, False), ("cgminer/4.12.0 A1566HA", True, True), ("cpuminer/2.5.1", False, False))
# The same for Stratum V2: what it says it is, whether it rolls versions, whether its channel is a standard one, and if nothing else
# will do for it.
_FIRMWARES_V2 = (("2.0", True, False, False), ("2.1", True, True, False), ("2.2-lite", False, True, True))


class Stratum(msgspec.Struct, frozen=True):
    """Where the proxy waits for units: host and port for either version, and the authority key that V2 units pin."""

    v1: tuple[str, int]
    v2: tuple[str, int]
    authority_x: bytes


class FloorUnit:
    """One machine."""

    def __init__(self, unit: DemoUnit, device: SimDevice, miner: MinerCore) -> None:
        self.unit = unit
        self.device = device
        self.miner = miner
        self._mains = trio.Event()
        self._mains.set()
        self._mining = trio.CancelScope()

    @property
    def has_mains(self) -> bool:
        """Its cord is in."""
        return self._mains.is_set()

    def hashrate_hps(self) -> float:
        """What it hashes now."""
        return self.device.hashrate_hps if self.has_mains else 0.0

    @property
    def power_w(self) -> float:
        """What it draws now."""
        return self.device.power_w if self.has_mains else 0.0

    async def run_miner(self) -> None:
        """Mine while it has mains; until cancelled."""
        while True:
            self._mining = trio.CancelScope()
            with self._mining:
                await self.miner.run()
            await self._mains.wait()

    def cut_mains(self) -> None:
        """Dead at once: no API, no miner, no power."""
        self._mains = trio.Event()
        self.device.faults.is_gone = True
        self._mining.cancel()

    def restore_mains(self) -> None:
        """It boots."""
        self.device.faults.is_gone = False
        self.device.reboot()
        self._mains.set()


class Floor:
    """All units and the plant. `plant_rng` is apart from the units', so that one more unit does not change the weather."""

    def __init__(self, plan: DemoPlan, model: config.Model, stratum: Stratum, rng: random.Random) -> None:
        self.plan = plan
        self.hasher = Hasher(TICK_S)
        self._rng = rng
        self._meter_rng = random.Random(rng.getrandbits(64))
        spec = SimDeviceSpec.from_model(model, time_scale=plan.time_scale)
        self.units = [self._unit(unit, spec, stratum) for unit in plan.units]
        self.plant = Plant(
            PlantSpec(
                loops=plan.loops,
                units_per_loop=plan.units_per_loop,
                unit_power_w=plan.unit_power_w,
                efficiency=plan.true_efficiency,
            ),
            plan.time_scale,
            sum(unit.power_w for unit in self.units),
        )

    def _unit(self, unit: DemoUnit, spec: SimDeviceSpec, stratum: Stratum) -> FloorUnit:
        device = SimDevice(spec, random.Random(self._rng.getrandbits(64)), level=len(spec.levels) - 1)
        make = self._miner_v2 if unit.is_v2 else self._miner_v1
        floor_unit = FloorUnit(unit, device, make(unit, lambda: floor_unit.hashrate_hps(), stratum))
        return floor_unit

    def _miner_v1(self, unit: DemoUnit, hashrate_hps: Callable[[], float], stratum: Stratum) -> SimMiner:
        agent, rolls_version, restarts = self._rng.choice(_FIRMWARES)
        return SimMiner(
            MinerSpec(
                worker=unit.worker,
                user_agent=agent,
                rolls_version=rolls_version,
                restarts_extranonce2=restarts,
                name_limit=63,
                strict=True,
                resume=True,
                idle_timeout_s=120.0,
            ),
            hashrate_hps,
            self.hasher,
            random.Random(self._rng.getrandbits(64)),
            tcp_connector(*stratum.v1, unit.address),
        )

    def _miner_v2(self, unit: DemoUnit, hashrate_hps: Callable[[], float], stratum: Stratum) -> SimMinerV2:
        firmware, rolls_version, is_standard, requires_standard_jobs = self._rng.choice(_FIRMWARES_V2)
        return SimMinerV2(
            MinerSpecV2(
                worker=unit.worker,
                firmware=firmware,
                rolls_version=rolls_version,
                is_standard=is_standard,
                requires_standard_jobs=requires_standard_jobs,
                nominal_hash_rate=self.plan.unit_hashrate_hps,
                version_bits=VERSION_MASK_BIP320,  # as today's chips do, and all that the V1 pool allows
                strict=True,
                idle_timeout_s=120.0,
            ),
            hashrate_hps,
            self.hasher,
            random.Random(self._rng.getrandbits(64)),
            tcp_connector(*stratum.v2, unit.address),
            authority_x=stratum.authority_x,
            wall_clock=time.time,
        )

    async def serve_devices(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Open every vendor API, then serve until cancelled. Raises OSError when an address cannot be had."""
        async with trio.open_nursery() as nursery:
            for unit in self.units:
                await nursery.start(unit.device.serve, unit.unit.address, self.plan.api_port)
            task_status.started()

    async def run_miners(self, spread_s: float) -> None:
        """Switch on every miner within `spread_s`, then hash until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.hasher.run)
            for unit in self.units:
                nursery.start_soon(unit.run_miner)
                await trio.sleep(spread_s / len(self.units))

    async def run_plant(self) -> None:
        """Let devices and water live until cancelled."""
        began_s = last_s = trio.current_time()
        while True:
            await trio.sleep(TICK_S)
            now_s = trio.current_time()
            for index, unit in enumerate(self.units):
                if index % _UNITS_PER_SLICE == 0:
                    await trio.lowlevel.checkpoint()
                unit.device.advance(now_s - began_s)
            self.move_heat(now_s - last_s)
            last_s = now_s

    def move_heat(self, dt_s: float) -> None:
        """One step of the water, and its temperature back to the units."""
        power_w = dict.fromkeys(self.plan.loops, 0.0)
        for unit in self.units:
            power_w[unit.unit.loop] += unit.power_w
        self.plant.advance(dt_s, power_w)
        for unit in self.units:
            unit.device.inlet_c = self.plant.loops[unit.unit.loop].cold_c

    def read_meter(self) -> MeterSample:
        """The boundary meter."""
        return self.plant.read_meter(self._meter_rng)

    @property
    def connected(self) -> int:
        """Units that are admitted and have a job."""
        return self.count(lambda miner: miner.is_mining)

    @property
    def connected_v2(self) -> int:
        """Those of them that speak Stratum V2."""
        return sum(unit.miner.is_mining for unit in self.units if unit.unit.is_v2)

    def count(self, what: Callable[[MinerCore], int]) -> int:
        """A sum over all miners."""
        return sum(what(unit.miner) for unit in self.units)

    def methods_seen(self) -> Counter[str]:
        """Every method that any unit was ever sent, with how often."""
        total: Counter[str] = Counter()
        for unit in self.units:
            total.update(unit.miner.totals.methods_seen)
        return total
