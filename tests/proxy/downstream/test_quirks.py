"""What old firmware needs: what is data, and what is the rule for everybody."""

import random
from pathlib import Path

import msgspec
import pytest
from trio.testing import MockClock

from proxy import config
from proxy.checks.load import load_site
from proxy.config import Listen
from proxy.downstream.quirks import DEFAULT, FAMILIES, quirks_of
from proxy.errors import ConfigError
from proxy.sim.hasher import Hasher
from proxy.sim.miner import MinerSpec, SimMiner, tcp_connector
from proxy.sim.pool import PoolSpec
from tests.support.mine import solve
from tests.support.rig import EASY, passing, running, until

MODEL = config.Model(levels=[config.Level(name="full", power_w=8_000, hashrate_hps=1e3, setting=0)])
ROLLING = [["version-rolling"], {"version-rolling.mask": "ffffffff", "version-rolling.min-bit-count": 2}]


@pytest.mark.parametrize(
    ("user_agent", "family"),
    [
        ("cgminer/4.11.1-avalon10", "avalon"),
        ("Avalon/1566HA", "avalon"),
        ("cgminer/4.11.1 Canaan", "avalon"),
        ("btminer/2.1", "whatsminer"),
        ("whatsminer/v1.0", "whatsminer"),
        ("bitaxe/BM1370/v2.4.0", "bitaxe"),
        ("ESP-Miner/2.6", "bitaxe"),
        ("NerdQAxe++/BM1370/v1.0.29", "bitaxe"),
        ("NerdMinerV2/V1.7.0", "bitaxe"),
        ("bmminer/2.0.0", "antminer"),
        ("Antminer S19/Thu Jun 4 14:33:28", "antminer"),
        ("cgminer/4.11.1", "other"),
        ("cpuminer/2.5.1", "other"),
        ("", "other"),
        (None, "other"),
    ],
)
def test_a_user_agent_finds_its_family(user_agent: str | None, family: str) -> None:
    assert quirks_of(user_agent).family == family


def test_every_family_is_a_row_of_its_own_and_the_default_has_no_quirk() -> None:
    names = [quirks.family for quirks in FAMILIES]
    assert len(set(names)) == len(names)
    assert msgspec.structs.replace(DEFAULT, family="", user_agent="") == type(DEFAULT)("", "")


# -- worker names are cut at 63 characters


def site_file(tmp_path: Path, worker: str) -> Path:
    path = tmp_path / "site.toml"
    path.write_text(
        f"""
        [[pools]]
        name = "a"
        url = "stratum+tcp://127.0.0.1:3333"
        user = "account"

        [[loops]]
        name = "north"

        [models.m]
        levels = [{{ name = "full", power_w = 8000, hashrate_hps = 1e3 }}]

        [[units]]
        id = "U1"
        address = "192.0.2.7"
        model = "m"
        loop = "north"
        worker = "{worker}"
        """
    )
    return path


def test_a_worker_name_that_the_firmware_would_cut_is_refused_in_the_site_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        load_site(site_file(tmp_path, "w" * 64))
    (problem,) = refused.value.problems
    assert "64 characters" in problem
    assert "cuts it after 63" in problem
    assert load_site(site_file(tmp_path, "w" * 63)).config.units[0].worker == "w" * 63


async def test_a_unit_whose_name_arrives_cut_is_known_all_the_same(tmp_path: Path) -> None:
    worker = "a-hall-with-a-very-long-name.row-12.slot-07"
    units = [
        config.Unit(id="U7", address="192.0.2.7", model="m", loop="north", worker=worker),
        config.Unit(id="U8", address="192.0.2.8", model="m", loop="north", worker="a-hall-with-a-very-long-name.row-13.slot-07"),
    ]
    table = Listen(v1="127.0.0.1:0", workers="inventory")
    async with running(tmp_path, listen=table, units=units, models={"m": MODEL}) as rig:
        miner = await rig.miner()
        sent = f"account-of-a-large-holding.{worker}"[:63]
        assert not sent.endswith(worker)
        hello = await miner.hello(sent)
        params = solve(hello, await miner.expect("mining.notify"), EASY)
        assert (await miner.answer(await miner.send("mining.submit", sent, *params)))["result"] is True
        assert list(rig.app.router.by_unit) == ["U7"]


# -- a miner hangs up when no job comes for 120 s


@pytest.mark.parametrize("job_timeout_s", [3_600.0, 90.0], ids=["trusted", "given up"])
async def test_cpuminer_never_hangs_up_over_an_hour_although_the_pool_is_silent(
    tmp_path: Path, mock_clock: MockClock, job_timeout_s: float
) -> None:
    spec = PoolSpec(difficulty=EASY, refresh_s=1e6, block_interval_s=1e6)
    async with running(tmp_path, [spec], pool_tables=[{"job_timeout_s": job_timeout_s}]) as rig:
        await until(lambda: rig.app.pools[0].is_ready)
        hasher = Hasher(tick_s=0.5)
        miner = SimMiner(
            MinerSpec(worker="account.cpu", user_agent="cpuminer/2.5.1", rolls_version=False, strict=True, idle_timeout_s=120.0),
            lambda: 2.0,
            hasher,
            random.Random(5),
            tcp_connector(*rig.address),
        )
        rig.nursery.start_soon(hasher.run)
        rig.nursery.start_soon(miner.run)
        await until(lambda: miner.is_mining)
        began_s = rig.app.reactor._sweep_begun_s
        await passing(mock_clock, lambda: rig.app.reactor._sweep_begun_s > began_s + 3_600, step_s=5.0, limit_s=3_700.0)
        assert miner.totals.connections == 1
        assert miner.totals.jobs >= 3_600 / 110
        assert not miner.totals.refused_messages


# -- rules for everybody


async def test_set_version_mask_never_comes_before_the_answer_to_authorize(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        await until(lambda: rig.app.pools[0].is_ready)
        miner = await rig.miner()
        await miner.answer(await miner.send("mining.configure", *ROLLING))
        await miner.answer(await miner.send("mining.subscribe", "cgminer/4.11.1-avalon10"))
        rig.pools[0].shrink_version_mask(0x00006000)
        await until(lambda: rig.app.pools[0].version_mask == 0x00006000)
        await miner.answer(await miner.send("mining.ping"))
        assert "mining.set_version_mask" not in miner.methods
        authorize = await miner.send("mining.authorize", "account.unit", "x")
        await miner.expect("mining.notify")
        order = [line.get("method", line.get("id")) for line in miner.lines]
        assert order.index(authorize) < order.index("mining.set_version_mask") < order.index("mining.notify")
        assert miner.of("mining.set_version_mask")[0]["params"] == ["00006000"]


@pytest.mark.parametrize("size", [2, 8])
async def test_extranonce2_is_never_longer_than_eight_bytes(tmp_path: Path, size: int) -> None:
    for too_long in (9, 16):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({"extranonce2_bytes": too_long}, Listen)
    spec = PoolSpec(difficulty=EASY, extranonce2_bytes=16)
    async with running(tmp_path, [spec], listen=Listen(v1="127.0.0.1:0", extranonce2_bytes=size)) as rig:
        miner = await rig.miner()
        hello = await miner.hello()
        assert hello["result"][2] == size  # type: ignore[index]
        params = solve(hello, await miner.expect("mining.notify"), EASY)
        assert (await miner.answer(await miner.send("mining.submit", "account.unit", *params)))["result"] is True
        await until(lambda: rig.pools[0].totals.accepted == 1)
