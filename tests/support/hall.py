"""A whole site in one process and in virtual time: the product, simulated machines behind memory streams, miners that hash for
real, a pool above, and the API on loopback.

Time passes only where a test lets it (`Hall.let_pass`, `Hall.until`); sockets and the ledger's thread run in real time beside it.
"""

import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import msgspec
import orjson
import trio
import trio.testing
from trio.testing import MockClock

from proxy import config
from proxy.app import App
from proxy.checks.load import load_site
from proxy.sim.device import SimDevice, SimDeviceSpec
from proxy.sim.hasher import Hasher
from proxy.sim.miner import MinerSpec, SimMiner
from proxy.sim.pool import PoolSpec, SimPool
from proxy.views import UnitView
from tests.support.rig import passing, until
from tests.support.site_file import api_key, pool, write_site

START_UNIX_S = 1_790_000_000.0
STEP_S = 1.0
# After so much virtual time the ledger's thread, which runs in real time, catches up: a slow disk must not fall minutes behind.
CATCH_UP_S = 10.0
EFFICIENCY = 0.95
# Half the power is more than half the hashes, as silicon is, so that a plan for less heat lowers everybody.
LEVELS = [
    {"name": "low", "power_w": 3_200, "hashrate_hps": 80.0, "setting": 0},
    {"name": "full", "power_w": 8_000, "hashrate_hps": 160.0, "setting": 1},
]
FULL_W, LOW_W = 8_000.0, 3_200.0
MODEL: dict[str, object] = {
    "levels": LEVELS,
    "sleep_power_w": 15,
    "settle_s": 20,
    "wake_s": 30,
    "min_dwell_s": 10,
    "min_off_s": 10,
    "min_on_s": 10,
    "max_starts_per_day": 1_000,
}
HEAT: dict[str, object] = {
    "reference_tau_s": 1.0,
    "plant_tau_s": 1.0,
    "wakes_per_min": 600.0,
    "control_period_s": 5,
    "telemetry_period_s": 5,
    "telemetry_stale_s": 20,
    "thermal_efficiency": EFFICIENCY,
    "ramp_w_per_min": 1e9,
    "max_transition": 1.0,
}
POOL_DIFFICULTY = 2.0**-20
KEYS = {"utility": "utility-key", "operator": "operator-key", "viewer": "viewer-key"}


def address_of(number: int) -> str:
    """Where the unit of this number is."""
    return f"10.0.0.{number + 1}"


def site_units(count: int) -> list[dict[str, object]]:
    """Rows of [[units]]."""
    return [
        {"id": f"U{number}", "address": address_of(number), "model": "m", "loop": "north", "worker": f"rig{number}"}
        for number in range(count)
    ]


def machine(number: int, **changes: object) -> SimDevice:
    """A machine that is exactly as its model says."""
    model = msgspec.convert(MODEL, config.Model)
    spec = msgspec.structs.replace(SimDeviceSpec.from_model(model), spread=0.0, power_per_k=0.0)
    return SimDevice(spec, random.Random(number), **changes)  # type: ignore[arg-type]


class Hall:
    """What stands when it runs. `devices` and `miners` by unit id."""

    def __init__(self, app: App, sim: SimPool, url: str, clock: MockClock) -> None:
        self.app = app
        self.sim = sim
        self.clock = clock
        self.devices: dict[str, SimDevice] = {}
        self.miners: dict[str, SimMiner] = {}
        self.client = httpx.AsyncClient(base_url=url, trust_env=False, timeout=60)
        self._sequence = 0

    # -- time

    async def until(self, condition: Callable[[], object], limit_s: float = 600.0) -> float:
        """Let time pass until `condition` holds; the seconds it took."""
        began_s = trio.current_time()
        while not condition():
            passed_s = trio.current_time() - began_s
            assert passed_s < limit_s, f"it did not happen within {limit_s:g} s"
            at_s = trio.current_time() + min(CATCH_UP_S, limit_s - passed_s)
            await passing(self.clock, lambda at_s=at_s: condition() or trio.current_time() >= at_s, STEP_S)  # type: ignore[misc]
            await until(lambda: self.app.ledger.is_degraded or not self.app.ledger.queued)
        return trio.current_time() - began_s

    async def let_pass(self, seconds: float) -> None:
        """So many seconds."""
        until_s = trio.current_time() + seconds
        await self.until(lambda: trio.current_time() >= until_s, seconds + 2 * STEP_S)

    # -- doors

    async def put(self, path: str, body: object, key: str | None = "operator") -> httpx.Response:
        """PUT with the key of a role; `body` as it is when it is bytes."""
        content = body if isinstance(body, bytes) else orjson.dumps(body)
        headers = {} if key is None else {"Authorization": f"Bearer {KEYS.get(key, key)}"}
        return await self.client.put(path, content=content, headers={"Content-Type": "application/json", **headers})

    async def demand(self, electrical_w: float, **changes: object) -> httpx.Response:
        """Ask for the heat of so much electrical power, as the utility would."""
        self._sequence += 1
        body = {"sequence": self._sequence, "power_kw": electrical_w * EFFICIENCY / 1_000, "validity_s": 7_200, **changes}
        return await self.put("/api/v1/heat/demand", body, "utility")

    # -- facts

    @property
    def power_w(self) -> float:
        """What all machines really draw now."""
        return sum(device.power_w for device in self.devices.values())

    def is_near(self, power_w: float) -> bool:
        """The machines draw this, within two percent of the site."""
        return abs(self.power_w - power_w) < 0.02 * FULL_W * len(self.devices)

    def writes(self) -> dict[str, int]:
        """Commands that reached each machine."""
        return {unit: len(device.writes) for unit, device in self.devices.items()}

    def unit(self, unit_id: str) -> UnitView:
        """One unit as the site sees it."""
        found = self.app.site.unit(unit_id)
        assert found is not None
        return found

    def states(self) -> set[str]:
        """States of all units."""
        return {unit.state for unit in self.app.site.units()}

    async def audited(self) -> list[tuple[str, str, str, str]]:
        """(actor, action, subject, result) of every audit row, oldest first."""
        assert await self.app.ledger.flush()
        rows = await self.app.ledger.reports.audit_tail(1_000)
        return [(row.actor, row.action, row.subject, row.result) for row in rows[::-1]]


@asynccontextmanager
async def hall(
    tmp_path: Path,
    clock: MockClock,
    *,
    units: int = 8,
    is_mining: bool = False,
    heat: Mapping[str, object] | None = None,
    machines: Mapping[str, SimDevice] | None = None,
    text: str = "",
) -> AsyncIterator[Hall]:
    """A site whose machines all run on their highest level. `machines`: of an earlier run. `text`: more of the site file.

    Begins when the fleet was looked at once and, where it is mining, everybody hashes.
    """

    def wall_clock() -> float:
        # Also asked by the ledger's thread, where trio's own function does not work.
        return START_UNIX_S + clock.current_time()

    async with trio.open_nursery() as nursery:
        sim = SimPool(PoolSpec(difficulty=POOL_DIFFICULTY, block_interval_s=1e6), random.Random(3), wall_clock)
        site_file = write_site(
            tmp_path / "site.toml",
            [pool("north", await nursery.start(sim.serve))],
            keys=[api_key(name, name, key) for name, key in KEYS.items()],
            units=site_units(units),
            tables={
                "vardiff": {"min_difficulty": 2.0**-30},
                "models.m": MODEL,
                "heat": {**HEAT, **(heat or {})},
            },
            loops=["north"],
        )
        site_file.write_text(site_file.read_text() + text)
        nursery.start_soon(sim.run)
        by_address: dict[str, SimDevice] = {}

        async def connect(address: str, port: int) -> trio.abc.Stream:
            device = by_address[address]
            if device.faults.is_gone:
                raise OSError("no route to host")
            ours, theirs = trio.testing.memory_stream_pair()
            nursery.start_soon(device.handle, theirs, trio.current_time)
            return ours

        app = App(load_site(site_file).config, site_file, connect=connect, wall_clock=wall_clock)
        app.reactor.listen()
        it: Hall | None = None
        try:
            for number, row in enumerate(site_units(units)):
                unit_id = str(row["id"])
                device = (machines or {}).get(unit_id) or machine(number)
                by_address[address_of(number)] = device
            url = await nursery.start(app.serve)
            it = Hall(app, sim, url, clock)
            it.devices = {f"U{number}": by_address[address_of(number)] for number in range(units)}
            nursery.start_soon(_live, list(it.devices.values()))
            if is_mining:
                await _start_miners(it, nursery)
            await it.until(lambda: app.fleet.swept_all)
            yield it
        finally:
            if it is not None:
                with trio.CancelScope(shield=True):
                    await it.client.aclose()
            app.stopping.set()
            nursery.cancel_scope.cancel()


async def _live(devices: list[SimDevice]) -> None:
    while True:
        for device in devices:
            device.advance(trio.current_time())
        await trio.sleep(STEP_S)


async def _start_miners(it: Hall, nursery: trio.Nursery) -> None:
    hasher = Hasher(tick_s=STEP_S)
    nursery.start_soon(hasher.run)
    host, port = it.app.reactor.addresses()[0]
    for unit, device in it.devices.items():
        miner = SimMiner(
            MinerSpec(worker=f"account.rig{unit[1:]}", strict=True, idle_timeout_s=120.0, name_limit=63),
            lambda device=device: 0.0 if device.faults.is_gone else device.hashrate_hps,  # type: ignore[misc]
            hasher,
            random.Random(unit),
            lambda: trio.open_tcp_stream(host, port),
        )
        it.miners[unit] = miner
        nursery.start_soon(miner.run)
    await it.until(lambda: all(miner.is_mining for miner in it.miners.values()))
