"""One pool that behaves, misbehaves, lies, goes and comes back."""

from pathlib import Path

import pytest
from trio.testing import MockClock

from protocol.mining.share import Verdict
from protocol.v1.messages import swap_words
from proxy.sim.pool import PoolSpec
from proxy.sim.pool_faults import BAD_JOBS
from tests.support.mine import solve
from tests.support.rig import EASY, Miner, Rig, passing, running, until


async def mining(rig: Rig, user: str = "account.unit") -> tuple[Miner, dict[str, object]]:
    """A miner with work, and its coordinates."""
    miner = await rig.miner()
    hello = await miner.hello(user)
    await miner.expect("mining.notify")
    return miner, hello


async def submit(
    miner: Miner, hello: dict[str, object], *, job: int = -1, first: int = 0, difficulty: float = EASY
) -> dict[str, object]:
    """Solve one of the jobs the miner has and submit it; the answer."""
    params = solve(hello, miner.of("mining.notify")[job], difficulty, first=first)
    return await miner.answer(await miner.send("mining.submit", "account.unit", *params))


@pytest.mark.parametrize("extranonce1_bytes", [0, 1, 4, 8])
@pytest.mark.parametrize("extranonce2_bytes", [4, 8, 16])
async def test_cases_18_19_27_any_coordinates_of_a_pool_enclose_ours(
    tmp_path: Path, extranonce1_bytes: int, extranonce2_bytes: int
) -> None:
    spec = PoolSpec(difficulty=EASY, extranonce1_bytes=extranonce1_bytes, extranonce2_bytes=extranonce2_bytes)
    async with running(tmp_path, [spec]) as rig:
        miner, hello = await mining(rig)
        assert len(str(hello["result"][1])) == 4  # type: ignore[index]
        assert hello["result"][2] == 2  # type: ignore[index]
        assert (await submit(miner, hello))["result"] is True
        await until(lambda: rig.pools[0].totals.accepted == 1)


@pytest.mark.parametrize("extranonce2_bytes", [1, 2, 3])
async def test_case_18_a_pool_with_too_little_room_is_not_used_and_says_what_to_do(tmp_path: Path, extranonce2_bytes: int) -> None:
    async with running(tmp_path, [PoolSpec(extranonce2_bytes=extranonce2_bytes)]) as rig:
        await until(lambda: rig.app.pools[0].failure)
        assert f"{extranonce2_bytes} bytes of extranonce2" in str(rig.app.pools[0].failure)
        assert "extranonce2_bytes" in str(rig.app.pools[0].failure)


async def test_cases_23_24_a_new_extranonce_of_the_pool_is_one_new_job_and_old_shares_keep_the_old_one(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        miner, hello = await mining(rig)
        pool = rig.pools[0]
        pool.set_extranonce(5)
        pool.refresh()
        await miner.expect("mining.notify", 2)
        assert (await submit(miner, hello))["result"] is True
        await until(lambda: pool.totals.accepted == 1)
        assert miner.methods == {"mining.set_difficulty", "mining.notify"}


@pytest.mark.parametrize("fault", sorted(BAD_JOBS))
async def test_case_34_a_bad_job_is_refused_and_the_last_good_one_stays(tmp_path: Path, fault: str) -> None:
    async with running(tmp_path) as rig:
        miner, hello = await mining(rig)
        before = len(miner.of("mining.notify"))
        rig.pools[0].send_broken_job(fault)
        assert (await submit(miner, hello))["result"] is True
        await until(lambda: rig.pools[0].totals.accepted == 1)
        rig.pools[0].new_block()
        await miner.expect("mining.notify", before + 1)
        assert all(len(line["params"][1]) == 64 for line in miner.of("mining.notify"))  # type: ignore[index,arg-type]


async def test_case_30_a_job_id_used_again_for_other_work_is_another_job(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        miner, hello = await mining(rig)
        rig.pools[0].reuse_job_id()
        await miner.expect("mining.notify", 2)
        ids = [line["params"][0] for line in miner.of("mining.notify")]  # type: ignore[index]
        assert len(set(ids)) == 2
        assert (await submit(miner, hello))["result"] is True
        await until(lambda: rig.pools[0].totals.accepted == 1)


async def test_case_41_a_flood_of_clean_jobs_reaches_units_as_jobs_and_breaks_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        miner, hello = await mining(rig)
        rig.pools[0].flood(200)
        newest = swap_words(rig.pools[0].template.prev_hash).hex()
        while miner.of("mining.notify")[-1]["params"][1] != newest:  # type: ignore[index]
            await miner.read()
        assert (await submit(miner, hello))["result"] is True
        await until(lambda: rig.pools[0].totals.accepted == 1)


async def test_case_49_a_pool_easier_than_us_pulls_units_down_and_a_harder_one_leaves_them(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        miner, hello = await mining(rig)
        rig.pools[0].set_difficulty(EASY / 4)
        rig.pools[0].refresh()
        await miner.expect("mining.set_difficulty", 2)
        assert miner.of("mining.set_difficulty")[-1]["params"] == [EASY / 4]
        rig.pools[0].set_difficulty(EASY * 1024)
        rig.pools[0].refresh()
        await miner.expect("mining.notify", 3)
        await miner.expect("mining.set_difficulty", 3)
        assert miner.of("mining.set_difficulty")[-1]["params"] == [EASY]
        assert (await submit(miner, hello))["result"] is True
        assert rig.app.ledger.totals().below_pool_target == 1
        assert rig.pools[0].totals.accepted == 0


async def test_case_46_only_what_meets_the_pools_target_goes_up(tmp_path: Path) -> None:
    async with running(tmp_path, [PoolSpec(difficulty=EASY * 8)]) as rig:
        miner, hello = await mining(rig)
        nonce = 0
        for _ in range(24):
            params = solve(hello, miner.of("mining.notify")[0], EASY, first=nonce)
            nonce = int(params[3], 16) + 1
            assert (await miner.answer(await miner.send("mining.submit", "account.unit", *params)))["result"] is True
        totals = rig.app.ledger.totals
        await until(lambda: totals().pending == 0)
        assert totals().below_pool_target + totals().accepted == 24
        assert rig.pools[0].totals.accepted == totals().accepted
        assert not rig.pools[0].totals.rejected


async def test_case_40_a_quiet_pool_does_not_make_miners_hang_up(tmp_path: Path, mock_clock: MockClock) -> None:
    async with running(tmp_path, [PoolSpec(difficulty=EASY, refresh_s=1e6, block_interval_s=1e6)]) as rig:
        miner, hello = await mining(rig)
        first = miner.of("mining.notify")[0]["params"]
        mock_clock.jump(56.0)
        await miner.expect("mining.notify", 2)
        again = miner.of("mining.notify")[1]["params"]
        assert again[0] != first[0]  # type: ignore[index]
        assert int(again[7], 16) == int(first[7], 16) + 56  # type: ignore[index]
        assert again[8] is False  # type: ignore[index]
        assert (await submit(miner, hello))["result"] is True
        await until(lambda: rig.pools[0].totals.accepted == 1)


async def test_case_59_a_block_is_sent_up_whatever_else(tmp_path: Path) -> None:
    async with running(tmp_path, [PoolSpec(difficulty=EASY, nbits=0x207FFFFF)]) as rig:
        miner, hello = await mining(rig)
        assert (await submit(miner, hello))["result"] is True
        await until(lambda: rig.pools[0].totals.blocks >= 1)
        assert rig.app.ledger.totals().blocks >= 1


@pytest.mark.parametrize("answering", ["never", "twice", "unknown-id"])
async def test_case_62_odd_answers_of_a_pool_never_break_the_books(tmp_path: Path, answering: str) -> None:
    async with running(tmp_path) as rig:
        rig.pools[0].faults.answering = answering  # type: ignore[assignment]
        miner, hello = await mining(rig)
        assert (await submit(miner, hello))["result"] is True
        await until(lambda: rig.pools[0].totals.accepted == 1)
        rig.pools[0].faults.answering = "now"
        assert (await submit(miner, hello, first=100_000))["result"] is True
        await until(lambda: rig.app.ledger.totals().accepted >= 1)
        assert rig.app.ledger.totals().conservation_delta == 0


@pytest.mark.parametrize("shape", ["array", "string", "object", "text-third", "bare-false", "null-null", "short-array"])
async def test_case_62_every_shape_of_a_refusal_is_a_refusal(tmp_path: Path, shape: str) -> None:
    async with running(tmp_path) as rig:
        rig.pools[0].faults.error_shape = shape  # type: ignore[assignment]
        rig.pools[0].faults.reject_part = 1.0
        rig.pools[0].faults.reject_verdict = Verdict.STALE
        miner, hello = await mining(rig)
        assert (await submit(miner, hello))["result"] is True
        await until(lambda: sum(rig.app.ledger.totals().refused.values()) == 1)
        assert rig.app.ledger.totals().conservation_delta == 0


async def test_case_64_redirects_are_followed_only_to_the_pool_itself_or_its_list(tmp_path: Path, mock_clock: MockClock) -> None:
    async with running(tmp_path) as rig:
        miner, hello = await mining(rig)
        pool = rig.pools[0]
        for host, port in [("127.0.0.2", pool.port), ("evil.example", pool.port), ("127.0.0.1", 1), ("127.0.0.", pool.port)]:
            pool.ask_reconnect(host, port)
        assert (await submit(miner, hello))["result"] is True
        await until(lambda: pool.totals.accepted == 1)
        assert pool.totals.connections == 1
        refused = [event.facts["host"] for event in rig.app.events.since(0) if event.name == "pool.redirect_refused"]
        assert refused == ["127.0.0.2", "evil.example", "127.0.0.1", "127.0.0."]
        pool.ask_reconnect("127.0.0.1", pool.port)
        await passing(mock_clock, lambda: pool.totals.connections == 2)
        assert miner.methods == {"mining.set_difficulty", "mining.notify"}


async def test_case_64_a_listed_host_is_followed(tmp_path: Path, mock_clock: MockClock) -> None:
    specs = [PoolSpec(difficulty=EASY), PoolSpec(name="other", difficulty=EASY)]
    async with running(tmp_path, specs) as rig:
        port = rig.pools[1].port
        rig.app.pools[0].config.reconnect_allow.append(f"127.0.0.1:{port}")
        await until(lambda: rig.app.pools[0].is_ready and rig.app.pools[1].is_ready)
        rig.pools[0].ask_reconnect("127.0.0.1", port)
        await passing(mock_clock, lambda: rig.pools[1].totals.connections == 2)


@pytest.mark.parametrize("configure", ["error", "ignore"])
async def test_case_65_a_pool_without_configure_works_without_rolling(
    tmp_path: Path, configure: str, mock_clock: MockClock
) -> None:
    async with running(tmp_path) as rig:
        rig.pools[0].faults.configure = configure  # type: ignore[assignment]
        rig.pools[0].reset_connections()
        await until(lambda: not rig.app.pools[0].is_ready)
        await passing(mock_clock, lambda: rig.app.pools[0].is_ready, limit_s=8)
        assert rig.app.pools[0].version_mask == 0
        miner, hello = await mining(rig)
        assert (await submit(miner, hello))["result"] is True
        await until(lambda: rig.pools[0].totals.accepted == 1)


async def test_case_66_a_pool_that_refuses_the_account_is_down_with_its_reason(tmp_path: Path, mock_clock: MockClock) -> None:
    async with running(tmp_path) as rig:
        await until(lambda: rig.app.pools[0].is_ready)
        rig.pools[0].faults.refuse_authorize = True
        rig.pools[0].reset_connections()
        await until(lambda: not rig.app.pools[0].is_ready)
        await passing(mock_clock, lambda: "authorize of account refused" in str(rig.app.pools[0].failure), limit_s=8)


async def test_a_share_in_doubt_is_sent_again_when_the_pool_resumes_the_session(tmp_path: Path, mock_clock: MockClock) -> None:
    async with running(tmp_path) as rig:
        miner, hello = await mining(rig)
        rig.pools[0].faults.answering = "never"
        assert (await submit(miner, hello))["result"] is True
        await until(lambda: rig.pools[0].totals.accepted == 1)
        rig.pools[0].faults.answering = "now"
        rig.pools[0].reset_connections()
        await until(lambda: not rig.app.pools[0].is_ready)
        await passing(mock_clock, lambda: rig.app.ledger.totals().accepted == 1, limit_s=8)
        assert rig.app.ledger.totals().pending == 0


async def test_a_share_in_doubt_ends_unknown_when_the_pool_forgot_the_session(tmp_path: Path, mock_clock: MockClock) -> None:
    async with running(tmp_path, [PoolSpec(difficulty=EASY, resume_sessions=False)]) as rig:
        miner, hello = await mining(rig)
        rig.pools[0].faults.answering = "never"
        assert (await submit(miner, hello))["result"] is True
        await until(lambda: rig.pools[0].totals.accepted == 1)
        rig.pools[0].reset_connections()
        await until(lambda: not rig.app.pools[0].is_ready)
        await passing(mock_clock, lambda: rig.app.ledger.totals().unknown == {"session-lost": 1}, limit_s=8)
        assert rig.app.ledger.totals().conservation_delta == 0


async def test_a_share_for_a_pool_that_is_gone_is_refused_not_acknowledged(tmp_path: Path, mock_clock: MockClock) -> None:
    async with running(tmp_path) as rig:
        miner, hello = await mining(rig)
        rig.pools[0].stop_listening()
        rig.pools[0].reset_connections()
        await until(lambda: not rig.app.pools[0].is_ready)
        answer = await submit(miner, hello)
        assert answer["result"] is not True
        assert rig.app.ledger.totals().rejected == {"pool-gone": 1}


async def test_a_pool_that_does_not_listen_says_why(tmp_path: Path, mock_clock: MockClock) -> None:
    async with running(tmp_path) as rig:
        await until(lambda: rig.app.pools[0].is_ready)
        rig.pools[0].stop_listening()
        rig.pools[0].reset_connections()
        await passing(mock_clock, lambda: "Connection refused" in str(rig.app.pools[0].failure), limit_s=8)


async def test_a_connection_that_worked_is_made_again_at_once_whatever_was_before_it(tmp_path: Path, mock_clock: MockClock) -> None:
    async with running(tmp_path) as rig:
        pool = rig.app.pools[0]

        async def lost_for_s() -> float:
            await until(lambda: pool.is_ready)
            rig.pools[0].reset_connections()
            await until(lambda: not pool.is_ready)
            return await passing(mock_clock, lambda: pool.is_ready, limit_s=40)

        waits_s = [await lost_for_s() for _ in range(5)]
        assert waits_s[-1] > 5
        mock_clock.jump(15)
        assert await lost_for_s() < waits_s[-1] / 2
