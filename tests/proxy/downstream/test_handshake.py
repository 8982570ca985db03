"""What a miner may do before it hashes, over real sockets."""

from contextlib import suppress
from pathlib import Path

import trio
import trio.testing
from trio.testing import MockClock

from proxy.config import Listen
from proxy.sim.pool import PoolSpec
from tests.support.mine import solve
from tests.support.rig import EASY, Rig, running, until

ROLLING = [["version-rolling"], {"version-rolling.mask": "ffffffff", "version-rolling.min-bit-count": 2}]


def listen(**changes: object) -> Listen:
    return Listen(v1="127.0.0.1:0", **{"max_connections_per_address": 2_000, **changes})  # type: ignore[arg-type]


async def test_case_2_authorize_may_come_before_subscribe(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        miner = await rig.miner()
        authorize = await miner.send("mining.authorize", "account.unit", "x")
        subscribe = await miner.send("mining.subscribe")
        assert (await miner.answer(authorize))["result"] is True
        hello = await miner.answer(subscribe)
        job = await miner.expect("mining.notify")
        answer = await miner.answer(await miner.send("mining.submit", "account.unit", *solve(hello, job, EASY)))
        assert answer["result"] is True


async def test_case_3_configure_may_come_last_and_again(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        await until(lambda: rig.app.pools[0].is_ready)
        miner = await rig.miner()
        hello = await miner.hello()
        for _ in range(2):
            answer = await miner.answer(await miner.send("mining.configure", *ROLLING))
            assert answer["result"] == {"version-rolling": True, "version-rolling.mask": "1fffe000"}
        rig.pools[0].new_block()
        job = await miner.expect("mining.notify", 2)
        params = solve(hello, job, EASY, version_bits=0x4000)
        assert (await miner.answer(await miner.send("mining.submit", "account.unit", *params)))["result"] is True
        await until(lambda: rig.pools[0].totals.accepted == 1)


async def test_case_6_the_granted_mask_is_common_to_miner_proxy_and_pool(tmp_path: Path) -> None:
    async with running(tmp_path, [PoolSpec(difficulty=EASY, version_mask=0x00FFE000)]) as rig:
        await until(lambda: rig.app.pools[0].is_ready)
        miner = await rig.miner()
        answer = await miner.answer(await miner.send("mining.configure", ["version-rolling"], {"version-rolling.mask": "0000ffff"}))
        assert answer["result"] == {"version-rolling": True, "version-rolling.mask": "0000e000"}
        many = {"version-rolling.mask": "ffffffff", "version-rolling.min-bit-count": 16}
        answer = await miner.answer(await miner.send("mining.configure", ["version-rolling"], many))
        assert answer["result"] == {"version-rolling": False}


async def test_case_7_a_mask_that_shrinks_is_told_to_those_who_negotiated_and_to_nobody_else(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        await until(lambda: rig.app.pools[0].is_ready)
        rolling, plain = await rig.miner(), await rig.miner()
        await rolling.send("mining.configure", *ROLLING)
        await rolling.hello("account.a")
        await plain.hello("account.b")
        rig.pools[0].shrink_version_mask(0x00002000)
        rig.pools[0].new_block()
        await rolling.expect("mining.notify", 2)
        await plain.expect("mining.notify", 2)
        assert rolling.of("mining.set_version_mask")[-1]["params"] == ["00002000"]
        assert plain.methods == {"mining.set_difficulty", "mining.notify"}


async def test_case_8_nothing_is_sent_unasked_before_authorize_was_answered(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        await until(lambda: rig.app.pools[0].is_ready)
        miner = await rig.miner()
        await miner.answer(await miner.send("mining.configure", *ROLLING))
        await miner.answer(await miner.send("mining.subscribe"))
        rig.pools[0].new_block()
        authorize = await miner.send("mining.authorize", "account.unit", "x")
        await miner.expect("mining.notify")
        methods = [line.get("method", line.get("id")) for line in miner.lines]
        assert methods.index(authorize) < methods.index("mining.set_difficulty") < methods.index("mining.notify")


async def test_case_12_submits_out_of_order_are_refused_with_their_own_codes(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        share = ["1", "0000", "65000000", "00000000"]
        miner = await rig.miner()
        refused = await miner.answer(await miner.send("mining.submit", "account.unit", *share))
        assert refused["error"][0] == 25  # type: ignore[index]
        await miner.answer(await miner.send("mining.subscribe"))
        refused = await miner.answer(await miner.send("mining.submit", "account.unit", *share))
        assert refused["error"][0] == 24  # type: ignore[index]
        await miner.answer(await miner.send("mining.authorize", "account.unit", "x"))
        refused = await miner.answer(await miner.send("mining.submit", "account.other", *share))
        assert refused["error"][0] == 24  # type: ignore[index]
        assert rig.app.ledger.totals().rejected == {"not-subscribed": 1, "unauthorized": 2}


async def test_case_13_a_second_subscribe_gets_the_same_coordinates_and_a_second_worker_is_welcome(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        miner = await rig.miner()
        first = await miner.hello()
        second = await miner.answer(await miner.send("mining.subscribe"))
        assert second["result"] == first["result"]
        assert (await miner.answer(await miner.send("mining.authorize", "account.other", "x")))["result"] is True
        params = solve(first, await miner.expect("mining.notify"), EASY)
        assert (await miner.answer(await miner.send("mining.submit", "account.other", *params)))["result"] is True


async def test_a_resumed_session_gets_its_old_coordinates_back(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        first = await rig.miner()
        hello = await first.hello()
        session_id = hello["result"][0][0][1]  # type: ignore[index]
        await first.stream.aclose()
        await until(lambda: rig.app.reactor.connection_count == 0)
        again = await rig.miner()
        assert (await again.hello(session_id=str(session_id)))["result"][1] == hello["result"][1]  # type: ignore[index]


async def test_two_miners_never_share_a_prefix_even_if_one_asks_for_the_others(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        first, thief = await rig.miner(), await rig.miner()
        hello = await first.hello("account.a")
        session_id = str(hello["result"][0][0][1])  # type: ignore[index]
        stolen = await thief.hello("account.b", session_id=session_id)
        assert stolen["result"][1] != hello["result"][1]  # type: ignore[index]


async def test_case_22_a_site_without_a_free_prefix_says_so_and_hangs_up(tmp_path: Path) -> None:
    async with running(tmp_path, listen=listen(unit_id_bytes=1)) as rig:
        allocator = rig.app.allocator
        while allocator.allocate(trio.current_time()) is not None:
            pass
        miner = await rig.miner()
        answer = await miner.answer(await miner.send("mining.subscribe"))
        assert "prefix" in str(answer["error"])
        await miner.hung_up()


async def test_case_15_other_protocols_on_the_port_are_sent_away(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        for hello in (
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            bytes(200),
        ):
            miner = await rig.miner()
            await miner.raw(hello)
            await miner.hung_up()
        assert rig.app.reactor.bugs == 0


async def test_case_11_a_line_without_an_end_is_cut_at_the_limit(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        miner = await rig.miner()
        with suppress(trio.BrokenResourceError):
            for _ in range(100):
                await miner.raw(b"[" * 4_096)
        await miner.hung_up()
        await until(lambda: rig.app.reactor.connection_count == 0)


async def test_case_16_who_never_finishes_the_handshake_is_closed(tmp_path: Path, mock_clock: MockClock) -> None:
    async with running(tmp_path) as rig:
        silent, slow, good = await rig.miner(), await rig.miner(), await rig.miner()
        await slow.raw(b"{")
        await good.hello()
        mock_clock.jump(29.0)
        await trio.testing.wait_all_tasks_blocked()
        assert rig.app.reactor.connection_count == 3
        mock_clock.jump(2.0)
        await until(lambda: rig.app.reactor.connection_count == 1)
        for miner in (silent, slow):
            await miner.hung_up()


async def test_case_14_a_stranger_is_refused_where_only_the_inventory_may_mine(tmp_path: Path) -> None:
    async with running(tmp_path, listen=listen(workers="inventory")) as rig:
        miner = await rig.miner()
        await miner.send("mining.subscribe")
        assert (await miner.answer(await miner.send("mining.authorize", "stranger", "x")))["result"] is False
        assert not rig.app.router.channels


async def _pipelined(rig: Rig, count: int) -> None:
    miner = await rig.miner()
    hello = await miner.hello()
    job = await miner.expect("mining.notify")
    nonce, asked = 0, []
    for _ in range(count):
        params = solve(hello, job, EASY, first=nonce)
        nonce = int(params[3], 16) + 1
        asked.append(params)
    ids = [await miner.send("mining.submit", "account.unit", *params) for params in asked]
    answers = [await miner.answer(request_id) for request_id in ids]
    assert all(answer["result"] is True for answer in answers)
    await until(lambda: rig.pools[0].totals.accepted == count)


async def test_case_61_a_hundred_submits_at_once_get_a_hundred_answers(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        await _pipelined(rig, 100)


async def test_case_60_wrong_numbers_of_parameters_are_refused_and_the_connection_lives(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        miner = await rig.miner()
        await miner.hello()
        for params in ([], ["account.unit"], ["account.unit", "1", "0000", "65000000"], ["account.unit"] + ["00000000"] * 8):
            assert (await miner.answer(await miner.send("mining.submit", *params)))["error"] is not None
        assert (await miner.answer(await miner.send("mining.ping")))["result"] == "pong"


async def test_unknown_methods_and_get_transactions_are_answered_not_ignored(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        miner = await rig.miner()
        await miner.hello()
        assert (await miner.answer(await miner.send("mining.get_transactions", "1")))["error"] is not None
        assert (await miner.answer(await miner.send("mining.whatever")))["error"][0] == -3  # type: ignore[index]
        assert (await miner.answer(await miner.send("mining.extranonce.subscribe")))["result"] is True
