"""Machines, miners and water together, and the script that disturbs them."""

import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from protocol.v2.identity import ServerIdentity
from protocol.v2.keys import new_authority_key, new_noise_key
from proxy.checks.load import load_site
from proxy.key_file import write_keys
from proxy.sim import demo_script
from proxy.sim.demo_script import Script
from proxy.sim.demo_site import MODEL, DemoPlan, Endpoints, write_site
from proxy.sim.floor import Floor, Stratum
from proxy.sim.miner import PLAIN_METHODS
from proxy.sim.miner_v2 import PLAIN_MESSAGES
from proxy.sim.pool import PoolSpec, SimPool
from proxy.sim.pool_v2 import PoolSpecV2, SimPoolV2
from proxy.sim.site_client import SiteClient

PLAN = DemoPlan(loop_count=2, units_per_loop=3)
AUTHORITY = new_authority_key(random.Random(6).randbytes)
IDENTITY = ServerIdentity.self_signed(new_noise_key(random.Random(5).randbytes), AUTHORITY, os.urandom, time.time())
STRATUM = Stratum(("127.0.0.1", 3333), ("127.0.0.1", 3334), AUTHORITY.public_x)


@pytest.fixture
def floor(tmp_path: Path) -> Floor:
    write_keys(tmp_path / "keys", os.urandom)
    pools = ("stratum+tcp://127.0.0.1:13333", "stratum+tcp://127.0.0.1:13334")
    endpoints = Endpoints("127.0.0.1:3333", "127.0.0.1:3334", str(tmp_path / "keys"), "127.0.0.1:8080", *pools)
    model = load_site(write_site(tmp_path, PLAN, endpoints, "u", "o")).config.models[MODEL]
    return Floor(PLAN, model, STRATUM, random.Random(3))


def test_the_water_carries_what_the_units_draw(floor: Floor) -> None:
    for _ in range(400):
        floor.move_heat(0.25)
    drawn_w = sum(unit.power_w for unit in floor.units)
    assert floor.plant.delivered_w == pytest.approx(drawn_w * PLAN.true_efficiency, rel=0.01)
    assert {unit.device.inlet_c for unit in floor.units} == {loop.cold_c for loop in floor.plant.loops.values()}


def test_the_same_seed_gives_the_same_machines(floor: Floor, tmp_path: Path) -> None:
    twin = Floor(PLAN, load_site(tmp_path / "site.toml").config.models[MODEL], STRATUM, random.Random(3))
    assert [unit.device.serial for unit in twin.units] == [unit.device.serial for unit in floor.units]
    assert [unit.power_w for unit in twin.units] == [unit.power_w for unit in floor.units]
    assert len({unit.device.serial for unit in floor.units}) == 6


def test_a_unit_without_mains_draws_and_hashes_nothing_and_boots_when_they_are_back(floor: Floor) -> None:
    unit = floor.units[0]
    rated = unit.power_w, unit.hashrate_hps()
    unit.cut_mains()
    assert (unit.power_w, unit.hashrate_hps()) == (0.0, 0.0)
    assert unit.device.faults.is_gone
    unit.restore_mains()
    assert unit.hashrate_hps() == 0.0
    for second in range(60):
        unit.device.advance(float(second))
    assert (unit.power_w, unit.hashrate_hps()) == pytest.approx(rated, rel=0.05)


async def test_miners_come_and_go_with_their_mains(
    floor: Floor, autojump_clock: Any, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = SimPool(PoolSpec(difficulty=2.0**-24), random.Random(1), lambda: 1_700_000_000.0 + trio.current_time())
    other = SimPoolV2(PoolSpecV2(difficulty=2.0**-24), random.Random(1), lambda: time.time() + trio.current_time())
    monkeypatch.setattr(other, "identity", IDENTITY)
    for unit in floor.units:
        monkeypatch.setattr(unit.miner, "_connect", memory_connector(nursery, other if unit.unit.is_v2 else pool))
    nursery.start_soon(pool.run)
    nursery.start_soon(other.run)
    nursery.start_soon(floor.run_plant)
    nursery.start_soon(floor.run_miners, 1.0)
    await trio.sleep(20)
    assert (floor.connected, floor.connected_v2) == (6, 3)
    assert min(pool.totals.accepted, other.totals.accepted) > 25
    known = floor.count(lambda miner: miner.totals.accepted + miner.unanswered)
    assert known == pool.totals.accepted + other.totals.accepted
    floor.units[2].cut_mains()
    await trio.sleep(5)
    assert floor.connected == 5
    floor.units[2].restore_mains()
    await trio.sleep(20)
    assert floor.connected == 6
    assert set(floor.methods_seen()) <= PLAIN_METHODS | PLAIN_MESSAGES


async def test_the_script_does_everything_and_leaves_the_pool_working(
    floor: Floor, autojump_clock: Any, nursery: trio.Nursery
) -> None:
    calls: list[str] = []

    async def answer(request: httpx.Request) -> httpx.Response:
        calls.append(f"{request.method} {request.url.path} {request.content.decode()}")
        return httpx.Response(200, json={})

    pool = SimPool(PoolSpec(name="north"), random.Random(1), trio.current_time)
    told: list[str] = []
    script = Script(floor, pool, SiteClient("http://site", "key", httpx.MockTransport(answer)), random.Random(2), told.append)
    with trio.move_on_after(demo_script.FREEZE_AT_S + 5):
        await script.run()
    await pool.thawed()
    assert [text.split(" ", 1)[1] for text in told] == [
        "taken out for service",
        "taken out for service",
        told[2].split(" ", 1)[1],
        "north crashes: units move to the next pool",
        "north is up again: units come back once it is steady",
        told[5].split(" ", 1)[1],
        "back from service",
        "back from service",
        "north freezes: connected, but it answers nothing; units leave it",
    ]
    assert told[2].startswith("mains of L")
    assert len(calls) == 4
    assert all(unit.has_mains for unit in floor.units)


def memory_connector(nursery: trio.Nursery, pool: SimPool | SimPoolV2) -> Callable[[], Any]:
    async def connect() -> trio.abc.Stream:
        ours, theirs = trio.testing.memory_stream_pair()
        nursery.start_soon(pool.serve_stream, theirs)
        return ours

    return connect
