"""The demo's site file: usable without a warning, and in agreement with the plan."""

import csv
import os
import random
from pathlib import Path

import pytest

from protocol.v2.keys import encode_authority_key, new_authority_key
from proxy.checks.load import load_site
from proxy.key_file import write_keys
from proxy.sim.demo_site import MODEL, DemoPlan, Endpoints, pool_specs, write_site
from proxy.sim.pool_v2 import PoolSpecV2

POOL_KEY = encode_authority_key(new_authority_key(random.Random(7).randbytes).public_x)


@pytest.fixture
def endpoints(tmp_path: Path) -> Endpoints:
    write_keys(tmp_path / "keys", os.urandom)
    return Endpoints(
        listen_v1="127.0.0.1:3333",
        listen_v2="127.0.0.1:3334",
        v2_identity=str(tmp_path / "keys"),
        listen_http="127.0.0.1:8080",
        north="stratum+tcp://127.0.0.1:13333",
        south=f"stratum2+tcp://127.0.0.1:13334/{POOL_KEY}",
    )


@pytest.mark.parametrize("time_scale", [30.0, 60.0, 90.0])
def test_the_site_file_can_be_used_and_gives_no_warning(tmp_path: Path, endpoints: Endpoints, time_scale: float) -> None:
    plan = DemoPlan(time_scale=time_scale)
    loaded = load_site(write_site(tmp_path, plan, endpoints, "utility-key", "operator-key"))
    assert loaded.warnings == []
    site = loaded.config
    assert len(site.units) == 228
    assert {unit.loop for unit in site.units} == set(plan.loops)
    assert [pool.name for pool in site.pools] == ["north", "south"]
    assert site.heat.control_period_s == pytest.approx(30.0 / time_scale)


def test_levels_are_the_machines_and_four_loops_of_57(tmp_path: Path, endpoints: Endpoints) -> None:
    plan = DemoPlan()
    site = load_site(write_site(tmp_path, plan, endpoints, "u", "o")).config
    levels = site.models[MODEL].levels
    assert [round(level.power_w / 8_064, 2) for level in levels] == [0.55, 0.70, 0.85, 1.00, 1.08]
    assert [level.hashrate_hps for level in levels] == pytest.approx([186.0, 229.5, 265.5, 300.0, 315.0])
    with (tmp_path / "units.csv").open() as rows:
        units = list(csv.DictReader(rows))
    assert len({unit["address"] for unit in units}) == 228
    assert sum(unit.is_v2 for unit in plan.units) == 114
    assert plan.rated_power_w == pytest.approx(1_838_592.0)


def test_keys_are_written_as_hashes_only(tmp_path: Path, endpoints: Endpoints) -> None:
    text = write_site(tmp_path, DemoPlan(), endpoints, "utility-secret", "operator-secret").read_text()
    assert "secret" not in text.replace("sha256", "")


def test_the_two_pools_differ_in_what_pools_differ_in() -> None:
    north, south = pool_specs()
    assert isinstance(south, PoolSpecV2)
    assert north.extranonce1_bytes != south.prefix_bytes
    assert min(north.extranonce2_bytes, south.extranonce_bytes) >= 4
