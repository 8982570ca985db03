"""Stratum V2 pools on real sockets: units of version 1 hash on, whatever their pool speaks and does."""

from pathlib import Path

import pytest
from trio.testing import MockClock

from proxy.sim.pool import PoolSpec
from proxy.sim.pool_v2 import PoolSpecV2, SimPoolV2
from tests.support.mine import solve
from tests.support.rig import EASY, Miner, Rig, passing, running, until

QUIET = {"difficulty": EASY, "refresh_s": 1e6, "block_interval_s": 1e6}
V2 = PoolSpecV2(name="v2", **QUIET)
V1 = PoolSpec(name="v1", **QUIET)
PATIENT = {"job_timeout_s": 3_600.0, "return_after_s": 5.0}


async def mining(rig: Rig, user: str = "account.unit") -> tuple[Miner, dict[str, object]]:
    miner = await rig.miner()
    hello = await miner.hello(user)
    await miner.expect("mining.notify")
    return miner, hello


async def share(miner: Miner, hello: dict[str, object], user: str = "account.unit") -> object:
    """Solve the newest job and submit it; the answer."""
    params = solve(hello, miner.of("mining.notify")[-1], EASY)
    return (await miner.answer(await miner.send("mining.submit", user, *params)))["result"]


def books_agree(rig: Rig) -> bool:
    """Nothing is on its way, and the ledger has what the pools have."""
    totals = rig.app.ledger.totals()
    assert totals.conservation_delta == 0
    return totals.pending == 0 and totals.accepted == sum(pool.totals.accepted for pool in rig.pools)


async def test_a_unit_of_version_1_is_paid_by_a_pool_of_version_2(tmp_path: Path) -> None:
    async with running(tmp_path, [V2]) as rig:
        miner, hello = await mining(rig)
        assert await share(miner, hello) is True
        await until(lambda: rig.pools[0].totals.accepted == 1)
        await until(lambda: rig.app.ledger.totals().accepted == 1)
        view = rig.view()
        assert (view.transport, view.state, view.version_mask) == ("noise", "ready", "1fffffe0")  # type: ignore[attr-defined]
        assert not rig.pools[0].totals.rejected


async def test_from_v2_to_v1_and_back_is_one_new_job_each_and_nothing_else(tmp_path: Path, mock_clock: MockClock) -> None:
    async with running(tmp_path, [V2, V1], pool_tables=[PATIENT, PATIENT]) as rig:
        await until(lambda: all(pool.is_ready for pool in rig.app.pools))
        miner, hello = await mining(rig)
        assert await share(miner, hello) is True
        for number, serving in enumerate([1, 0, 1], start=2):
            if serving == 1:
                rig.pools[0].stop_listening()
                rig.pools[0].reset_connections()
                await until(lambda: not rig.app.pools[0].is_ready)
            else:
                rig.pools[0].listen_again()
                await passing(mock_clock, lambda: rig.app.pools[0].is_ready, limit_s=90)
            await passing(mock_clock, lambda wanted=serving: works_for(rig, wanted), limit_s=90)
            job = await miner.expect("mining.notify", number)
            assert job["params"][8] is True  # type: ignore[index]
            assert await share(miner, hello) is True
            assert len(miner.of("mining.notify")) == number
        await until(lambda: rig.app.ledger.totals().pending == 0)
        assert miner.methods == {"mining.set_difficulty", "mining.notify"}
        assert rig.app.ledger.totals().conservation_delta == 0
        assert not any(pool.totals.rejected for pool in rig.pools)


def works_for(rig: Rig, number: int) -> bool:
    (channel,) = rig.app.router.channels
    return channel.session is not None and channel.session.pool == f"pool-{number}"


async def test_a_broken_mac_is_a_new_connection_after_a_while_and_units_stay(tmp_path: Path, mock_clock: MockClock) -> None:
    async with running(tmp_path, [V2], pool_tables=[PATIENT]) as rig:
        miner, hello = await mining(rig)
        rig.pools[0].break_macs()
        await until(lambda: "broke the protocol" in str(rig.app.pools[0].failure))
        waited_s = await passing(mock_clock, lambda: rig.app.pools[0].is_ready, limit_s=30)
        assert waited_s >= 0.5
        assert rig.pools[0].totals.connections == 2
        await miner.expect("mining.notify", 2)
        assert await share(miner, hello) is True
        await until(lambda: books_agree(rig))
        assert miner.methods == {"mining.set_difficulty", "mining.notify"}


@pytest.mark.parametrize("act", ["close_channels", "ask_reconnect", "write_to_closed_channels"])
async def test_a_pool_that_sends_us_away_gets_us_back(tmp_path: Path, mock_clock: MockClock, act: str) -> None:
    async with running(tmp_path, [V2], pool_tables=[PATIENT]) as rig:
        miner, hello = await mining(rig)
        session = rig.app.router.by_unit["account.unit"].session
        getattr(rig.pools[0], act)()
        await until(lambda: not rig.app.pools[0].is_ready)
        await passing(mock_clock, lambda: rig.app.pools[0].is_ready, limit_s=30)
        await miner.expect("mining.notify", 2)
        assert rig.app.router.by_unit["account.unit"].session is not session
        assert await share(miner, hello) is True
        await until(lambda: books_agree(rig))
        assert miner.methods == {"mining.set_difficulty", "mining.notify"}


async def test_a_redirect_is_followed_to_the_same_authority_only(tmp_path: Path, mock_clock: MockClock) -> None:
    async with running(tmp_path, [V2, PoolSpecV2(name="other", **QUIET)]) as rig:
        await until(lambda: all(pool.is_ready for pool in rig.app.pools))
        other: SimPoolV2 = rig.pools[1]
        before = other.totals.connections
        rig.pools[0].ask_reconnect("127.0.0.1", other.port)
        await passing(mock_clock, lambda: "authority key" in str(rig.app.pools[0].failure), limit_s=30)
        assert other.totals.connections == before + 1
        await passing(mock_clock, lambda: rig.app.pools[0].is_ready, limit_s=30)


@pytest.mark.parametrize(("act", "says"), [("expire_certificate", "expired"), ("change_authority", "authority key")])
async def test_a_pool_whose_certificate_is_no_good_is_down_and_says_why(
    tmp_path: Path, mock_clock: MockClock, act: str, says: str
) -> None:
    async with running(tmp_path, [V2], pool_tables=[PATIENT]) as rig:
        await until(lambda: rig.app.pools[0].is_ready)
        getattr(rig.pools[0], act)()
        rig.pools[0].reset_connections()
        await passing(mock_clock, lambda: says in str(rig.app.pools[0].failure), limit_s=30)
        assert rig.app.pools[0].health().state.value == "down"


async def test_a_pool_without_extensions_is_used_after_five_connections(tmp_path: Path, mock_clock: MockClock) -> None:
    def deaf(pools: list[SimPoolV2]) -> None:
        pools[0].faults.ignore_extensions = True

    async with running(tmp_path, [V2], before=deaf) as rig:
        await passing(mock_clock, lambda: rig.app.pools[0].is_ready, limit_s=60)
        assert rig.pools[0].totals.connections == 6
        miner, hello = await mining(rig)
        assert await share(miner, hello) is True
        await until(lambda: books_agree(rig))


@pytest.mark.parametrize("fault", ["keeps_witness", "tip_before_job"])
async def test_odd_jobs_of_real_pools_are_work(tmp_path: Path, fault: str) -> None:
    async with running(tmp_path, [V2]) as rig:
        miner, hello = await mining(rig)
        setattr(rig.pools[0].faults, fault, True)
        rig.pools[0].new_block()
        await miner.expect("mining.notify", 2)
        assert await share(miner, hello) is True
        await until(lambda: books_agree(rig))
        assert not rig.pools[0].totals.rejected


async def test_a_flood_of_future_jobs_and_unknown_messages_reach_nobody(tmp_path: Path) -> None:
    async with running(tmp_path, [V2]) as rig:
        miner, hello = await mining(rig)
        rig.pools[0].flood_futures(500)
        rig.pools[0].send_unknown()
        rig.pools[0].write_to_nobodys_channel()
        assert await share(miner, hello) is True
        rig.pools[0].new_block()
        await miner.expect("mining.notify", 2)
        assert len(miner.of("mining.notify")) == 2
        assert await share(miner, hello) is True
        await until(lambda: books_agree(rig))


async def test_each_unit_has_a_channel_of_its_own_on_one_connection(tmp_path: Path) -> None:
    async with running(tmp_path, [V2], pool_tables=[{"mode": "per_unit"}]) as rig:
        units = [await mining(rig, f"account.unit-{number}") for number in range(3)]
        await until(lambda: rig.view().sessions == 4)  # type: ignore[attr-defined]
        assert rig.pools[0].totals.connections == 1
        for number, (miner, hello) in enumerate(units):
            assert await share(miner, hello, f"account.unit-{number}") is True
        await until(lambda: books_agree(rig))
        assert {channel.session for channel in rig.app.router.channels} != {None}
        assert len({channel.session for channel in rig.app.router.channels}) == 3


async def test_the_pool_is_told_the_hashrate_that_heat_commands_within_a_second(tmp_path: Path, mock_clock: MockClock) -> None:
    async with running(tmp_path, [V2]) as rig:
        miner, _ = await mining(rig)
        rig.app.router.expect_hashrate("account.unit", 5_000.0)
        await passing(mock_clock, lambda: rig.pools[0].nominal_hash_rate == pytest.approx(5_000.0), limit_s=3)
        updates = rig.pools[0].updates
        rig.app.router.expect_hashrate("account.unit", 10_000.0)
        rig.app.router.expect_hashrate("account.unit", 2_500.0)
        rig.app.router.expect_hashrate("account.unit", 7_500.0)
        await passing(mock_clock, lambda: rig.pools[0].nominal_hash_rate == pytest.approx(7_500.0), limit_s=3)
        assert rig.pools[0].updates <= updates + 2
        rig.app.router.expect_hashrate("account.unit", 0.0)
        await passing(mock_clock, lambda: rig.pools[0].nominal_hash_rate == 0.0, limit_s=3)
        assert not miner.closed


async def test_a_batch_of_more_than_was_sent_is_an_event_and_the_books_hold(tmp_path: Path) -> None:
    async with running(tmp_path, [V2]) as rig:
        miner, hello = await mining(rig)
        rig.pools[0].faults.answering = "twice"
        assert await share(miner, hello) is True
        await until(lambda: rig.view().batch_mismatches == 1)  # type: ignore[attr-defined]
        assert [event.name for event in rig.app.events.since(0)].count("pool.batch_mismatch") == 1
        await until(lambda: books_agree(rig))
