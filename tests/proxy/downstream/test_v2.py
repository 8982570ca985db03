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
