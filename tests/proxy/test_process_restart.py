"""The controller killed at work and started again: machines keep what they do, and the demand that was valid still is."""

import contextlib
import random
import signal
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import httpx
import msgspec
import pytest
import trio

from proxy import config
from proxy.sim.device import SimDevice, SimDeviceSpec
from proxy.views import SiteView
from tests.support.hall import FULL_W, KEYS, LEVELS, LOW_W
from tests.support.patience import PATIENCE_S
from tests.support.process import free_port, started
from tests.support.rig import until
from tests.support.site_file import api_key, pool, write_site

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

UNITS = 4
# A machine that settles in a second: the same code, sixty times faster.
MODEL: dict[str, object] = {
    "levels": LEVELS,
    "sleep_power_w": 15,
    "settle_s": 1,
    "wake_s": 1,
    "min_dwell_s": 0,
    "min_off_s": 0,
    "min_on_s": 0,
    "max_starts_per_day": 1_000,
}
HEAT = {
    "control_period_s": 0.5,
    "telemetry_period_s": 0.5,
    "telemetry_stale_s": 10,
    "thermal_efficiency": 1.0,
    "max_transition": 1.0,
    "reference_tau_s": 0.5,
    "plant_tau_s": 0.5,
    "disturbance_tau_s": 2.0,
    "wakes_per_min": 600.0,
}


class Machine(SimDevice):
    """Counts who asks it. `patience_ended`: a caller gave up while it was silent."""

    def __init__(self, number: int) -> None:
        spec = SimDeviceSpec.from_model(msgspec.convert(MODEL, config.Model))
        super().__init__(msgspec.structs.replace(spec, spread=0.0, power_per_k=0.0), random.Random(number))
        self.calls = 0
        self.patience_ended = trio.Event()

    async def handle(self, stream: trio.abc.Stream, clock: object = None) -> None:
        self.calls += 1
        await super().handle(stream, trio.current_time)
        if self.faults.is_dead:
            self.patience_ended.set()


class Floor:
    """Machines on loopback and a site file for them."""

    def __init__(self, machines: list[Machine], site_file: Path, url: str) -> None:
        self.machines = machines
        self.site_file = site_file
        self.client = httpx.AsyncClient(base_url=url, trust_env=False, timeout=PATIENCE_S)

    async def demand(self, sequence: int, power_w: float) -> None:
        """As the utility."""
        body = {"sequence": sequence, "power_kw": power_w / 1_000, "validity_s": 3_600}
        headers = {"Authorization": f"Bearer {KEYS['utility']}"}
        assert (await self.client.put("/api/v1/heat/demand", json=body, headers=headers)).status_code == 200

    async def view(self) -> SiteView:
        """The site as its API shows it."""
        return msgspec.json.decode((await self.client.get("/api/v1/status")).content, type=SiteView)

    def is_at(self, power_w: float) -> bool:
        """Every machine draws this."""
        for machine in self.machines:
            machine.advance(trio.current_time())
        return all(abs(machine.power_w - power_w) < 0.05 * FULL_W for machine in self.machines)

    async def reach(self, power_w: float) -> None:
        """Wait until every machine draws this."""
        await until(lambda: self.is_at(power_w))

    async def sweeps(self, count: int) -> None:
        """Wait until every machine was asked so many times more."""
        goals = [machine.calls + count for machine in self.machines]
        await until(lambda: all(machine.calls >= goal for machine, goal in zip(self.machines, goals, strict=True)))


@asynccontextmanager
async def floor(tmp_path: Path) -> AsyncIterator[Floor]:
    machines = [Machine(number) for number in range(UNITS)]
    api = free_port()
    async with trio.open_nursery() as nursery:
        rows = []
        for number, machine in enumerate(machines):
            port = await nursery.start(partial(machine.serve, "127.0.0.1", 0))
            rows.append({"id": f"U{number}", "address": "127.0.0.1", "api_port": port, "model": "m", "loop": "north"})
        site_file = write_site(
            tmp_path / "site.toml",
            [pool("nowhere", 9)],
            listen={"v1": f"127.0.0.1:{free_port()}"},
            api={"listen": f"127.0.0.1:{api}"},
            keys=[api_key(name, name, key) for name, key in KEYS.items()],
            units=rows,
            loops=["north"],
            tables={"models.m": MODEL, "heat": HEAT},
        )
        it = Floor(machines, site_file, f"http://127.0.0.1:{api}")
        yield it
        await it.client.aclose()
        nursery.cancel_scope.cancel()


async def test_after_a_kill_machines_are_adopted_as_they_are_and_the_demand_rules_on(tmp_path: Path) -> None:
    async with floor(tmp_path) as it:
        async with started(it.site_file) as run:
            await it.demand(1, UNITS * LOW_W)
            await it.reach(LOW_W)
            await it.sweeps(2)
            assert await run.end(signal.SIGKILL) == -signal.SIGKILL
        writes = [len(machine.writes) for machine in it.machines]
        async with started(it.site_file) as run:
            # Nobody asked for anything since, and nothing was out of place: not one command goes out.
            await it.sweeps(6)
            view = await it.view()
            assert (view.heat.ladder, view.heat.source, view.heat.demand_w) == ("LIVE", "utility", UNITS * LOW_W)
            assert view.unit_states == {"RUN": UNITS}
            assert [len(machine.writes) for machine in it.machines] == writes
            # A demand that was taken before the kill cannot be played again after it.
            body = {"sequence": 1, "power_kw": 1.0, "validity_s": 3_600}
            headers = {"Authorization": f"Bearer {KEYS['utility']}"}
            replay = await it.client.put("/api/v1/heat/demand", json=body, headers=headers)
            assert replay.status_code == 409
            await it.demand(2, UNITS * FULL_W)
            await it.reach(FULL_W)
            assert await run.end(signal.SIGTERM) == 0
        with contextlib.closing(sqlite3.connect(tmp_path / "var" / "ledger.sqlite3")) as ledger:
            (body,) = ledger.execute("select body from memory where name = 'heat.snapshot'").fetchone()
        # Asked to end, it left what it knew.
        assert set(msgspec.json.decode(body)["worn"]["hours"]) == {f"U{number}" for number in range(UNITS)}


async def test_a_kill_in_the_middle_of_commands_leaves_no_machine_behind(tmp_path: Path) -> None:
    async with floor(tmp_path) as it:
        for sequence, power_w in ((1, LOW_W), (2, FULL_W), (3, LOW_W)):
            before = sum(len(machine.writes) for machine in it.machines)
            async with started(it.site_file) as run:
                await it.sweeps(1)
                await it.demand(sequence, UNITS * power_w)
                await until(lambda before=before: sum(len(machine.writes) for machine in it.machines) > before)
                await run.end(signal.SIGKILL)
            async with started(it.site_file) as run:
                await it.reach(power_w)
                await it.sweeps(2)
                assert (await it.view()).unit_states == {"RUN": UNITS}
                assert await run.end(signal.SIGTERM) == 0


async def test_a_stop_holds_over_a_kill_and_an_operator_releases_it(tmp_path: Path) -> None:
    async with floor(tmp_path) as it:
        async with started(it.site_file) as run:
            await it.demand(1, UNITS * LOW_W)
            await it.reach(LOW_W)
            headers = {"Authorization": f"Bearer {KEYS['utility']}"}
            assert (await it.client.put("/api/v1/heat/stop", json={"stop": True}, headers=headers)).status_code == 200
            await it.reach(0.0)
            await run.end(signal.SIGKILL)
        async with started(it.site_file) as run:
            await it.sweeps(6)
            view = await it.view()
            assert (view.heat.ladder, [hold.source for hold in view.heat.holds]) == ("STOP", ["utility"])
            assert it.is_at(0.0)
            body = {"source": "utility", "name": "Anna Meier", "reason": "the sender was replaced"}
            assert (await it.client.post("/api/v1/heat/stop/release", json=body, headers=headers)).status_code == 403
            headers = {"Authorization": f"Bearer {KEYS['operator']}"}
            assert (await it.client.post("/api/v1/heat/stop/release", json=body, headers=headers)).status_code == 200
            await it.demand(2, UNITS * LOW_W)
            await it.reach(LOW_W)
            assert await run.end(signal.SIGTERM) == 0


async def test_nobody_is_commanded_before_everybody_was_asked_once(tmp_path: Path) -> None:
    async with floor(tmp_path) as it:
        async with started(it.site_file) as run:
            await it.demand(1, UNITS * LOW_W)
            await it.reach(LOW_W)
            await run.end(signal.SIGKILL)
        # While nobody watched, two machines were turned up by hand and another went silent.
        silent = it.machines[1]
        for turned in (it.machines[0], it.machines[2]):
            turned.change_setting(1)
        silent.faults.is_dead = True
        silent.patience_ended = trio.Event()

        def writes() -> int:
            return sum(len(machine.writes) for machine in it.machines)

        before = writes()
        async with started(it.site_file) as run:
            with trio.fail_after(PATIENCE_S):
                while writes() == before:
                    was_asked = silent.patience_ended.is_set()
                    await trio.lowlevel.checkpoint()
            assert was_asked
            assert await run.end(signal.SIGTERM) == 0
