"""Devices that speak Stratum V2, over real sockets: on a V1 pool through the router, as any unit."""

from pathlib import Path

import pytest

from protocol.v2.messages import mining
from tests.support.rig import until
from tests.support.v2 import open_extended, open_standard
from tests.support.v2_rig import running_v2


@pytest.mark.parametrize("plaintext", [False, True])
@pytest.mark.parametrize("make", [open_extended, open_standard])
async def test_a_real_share_reaches_the_pool_and_is_acknowledged_once_it_is_in_the_ledger(
    tmp_path: Path, make: object, plaintext: bool
) -> None:
    async with running_v2(tmp_path, plaintext=plaintext) as rig:
        await until(lambda: rig.app.pools[0].is_ready)
        device = await rig.ready()
        channel = await device.open(make())  # type: ignore[operator]
        await device.send(channel.solve())
        success = await device.expect(mining.SubmitSharesSuccess)
        assert (success.last_sequence_number, success.new_submits_accepted_count) == (1, 1)  # type: ignore[attr-defined]
        await until(lambda: rig.app.ledger.totals().accepted == 1)
        totals = rig.app.ledger.totals()
        assert (rig.pools[0].totals.accepted, totals.received, totals.conservation_delta) == (1, 1, 0)


async def test_a_device_that_rolls_more_bits_than_its_pool_takes_loses_one_share_and_then_gets_jobs_that_allow_none(
    tmp_path: Path,
) -> None:
    async with running_v2(tmp_path) as rig:  # the pool allows BIP 320
        await until(lambda: rig.app.pools[0].is_ready)
        device = await rig.ready()
        channel = await device.open(open_extended())
        job = device.of(mining.NewExtendedMiningJob)[0]
        assert job.version_rolling_allowed is True  # type: ignore[attr-defined]
        await device.send(channel.solve(version=job.version ^ 0x2020))  # type: ignore[attr-defined]
        error = await device.expect(mining.SubmitSharesError)
        assert error.error_code == b"invalid-non-rollable-version-bit"  # type: ignore[attr-defined]
        fresh = await device.expect(mining.NewExtendedMiningJob, 2)
        assert fresh.version_rolling_allowed is False  # type: ignore[attr-defined]
        await device.send(channel.solve())
        await device.expect(mining.SubmitSharesSuccess)


async def test_what_a_unit_speaks_is_in_its_view(tmp_path: Path) -> None:
    async with running_v2(tmp_path) as rig:
        await until(lambda: rig.app.pools[0].is_ready)
        device, miner = await rig.ready(), await rig.rig.miner()
        await device.open(open_standard(user_identity=b"account.new"))
        await miner.hello("account.old")
        spoken = {channel.unit: channel.stratum_version for channel in rig.app.router.channels}
        assert spoken == {"account.new": 2, "account.old": 1}
