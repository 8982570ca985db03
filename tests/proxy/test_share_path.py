"""One share, from a miner's socket to the pool and back, through the parts the product runs."""

from pathlib import Path

from proxy.sim.pool import PoolSpec
from tests.support.mine import solve
from tests.support.rig import EASY, running, until


async def test_a_real_share_reaches_the_pool_and_is_answered_true_once_it_is_in_the_ledger(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        miner = await rig.miner()
        hello = await miner.hello()
        job = await miner.expect("mining.notify")
        params = solve(hello, job, EASY)
        answer = await miner.answer(await miner.send("mining.submit", "account.unit", *params))
        assert answer["result"] is True
        await until(lambda: rig.app.ledger.totals().accepted == 1)
        totals = rig.app.ledger.totals()
        assert (rig.pools[0].totals.accepted, totals.received, totals.conservation_delta) == (1, 1, 0)
        assert miner.methods == {"mining.set_difficulty", "mining.notify"}


async def test_job_after_authorize_in_one_burst_loses_nothing(tmp_path: Path) -> None:
    for first_job in ("subscribe", "authorize"):
        for one_burst in (True, False):
            spec = PoolSpec(difficulty=EASY, first_job=first_job, one_burst=one_burst)  # type: ignore[arg-type]
            async with running(tmp_path / f"{first_job}-{one_burst}", [spec]) as rig:
                miner = await rig.miner()
                hello = await miner.hello()
                params = solve(hello, await miner.expect("mining.notify"), EASY)
                answer = await miner.answer(await miner.send("mining.submit", "account.unit", *params))
                assert answer["result"] is True
                await until(lambda rig=rig: rig.pools[0].totals.accepted == 1)
