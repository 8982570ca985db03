"""The simulated pool's own rules, and each of its faults as a miner sees it."""

from collections import Counter
from typing import Any

import orjson
import pytest
import trio

from proxy.sim.pool import SimPool
from proxy.sim.pool_faults import BAD_JOBS


class Wire:
    """A hand-held client: sends raw requests, keeps every line that came."""

    def __init__(self, bench: Any, pool: SimPool) -> None:
        self._stream, theirs = trio.testing.memory_stream_pair()
        self.lines: list[dict[str, Any]] = []
        self.is_open = True
        self.segments = 0
        bench.nursery.start_soon(pool.serve_stream, theirs)
        bench.nursery.start_soon(self._read)

    async def _read(self) -> None:
        buffer = b""
        while data := await self._stream.receive_some():
            self.segments += 1
            *lines, buffer = (buffer + data).split(b"\n")
            self.lines += [orjson.loads(line) for line in lines]
        self.is_open = False

    async def ask(self, method: str, params: list[Any], request_id: Any = 1) -> dict[str, Any] | None:
        """The answer within five seconds, None when there was none."""
        already = len(self.lines)
        await self._stream.send_all(orjson.dumps({"id": request_id, "method": method, "params": params}) + b"\n")
        await trio.sleep(5)
        answers = [line for line in self.lines[already:] if "result" in line or line.get("error")]
        return answers[0] if answers else None

    def notified(self, method: str) -> list[Any]:
        return [line["params"] for line in self.lines if line.get("method") == method]

    async def join(self) -> None:
        await self.ask("mining.subscribe", ["wire/1"])
        await self.ask("mining.authorize", ["site.unit", "x"])


@pytest.mark.parametrize("first_job", ["subscribe", "authorize"])
@pytest.mark.parametrize("one_burst", [True, False])
async def test_the_first_job_comes_when_the_pool_says(autojump_clock: Any, bench: Any, first_job: str, one_burst: bool) -> None:
    wire = Wire(bench, bench.pool(first_job=first_job, one_burst=one_burst))
    answer = await wire.ask("mining.subscribe", ["wire/1"])
    assert answer is not None
    assert bool(wire.notified("mining.notify")) is (first_job == "subscribe")
    await wire.ask("mining.authorize", ["site.unit", "x"], 2)
    assert len(wire.notified("mining.notify")) == 1
    assert wire.notified("mining.notify")[0][8] is True
    assert wire.segments == (2 if one_burst else 4)


@pytest.mark.parametrize(("extranonce1_bytes", "extranonce2_bytes"), [(0, 16), (4, 8), (8, 4), (16, 1)])
async def test_any_geometry_can_be_mined(autojump_clock: Any, bench: Any, extranonce1_bytes: int, extranonce2_bytes: int) -> None:
    pool = bench.pool(extranonce1_bytes=extranonce1_bytes, extranonce2_bytes=extranonce2_bytes, merkle_branches=1)
    miner = bench.miner(pool)
    await trio.sleep(30)
    assert miner.totals.accepted > 50
    assert not pool.totals.rejected


async def test_a_wrong_share_gets_the_error_of_its_kind(autojump_clock: Any, bench: Any) -> None:
    pool = bench.pool(difficulty=1.0)
    wire = Wire(bench, pool)
    await wire.ask("mining.configure", [["version-rolling"], {"version-rolling.mask": "1fffe000"}])
    early = await wire.ask("mining.submit", ["site.unit", "1", "00" * 8, "65000000", "00000000"])
    await wire.join()
    job = wire.notified("mining.notify")[0]
    now = int(job[7], 16)

    async def code(*changes: tuple[int, str]) -> int:
        params = ["site.unit", job[0], "00" * 8, job[7], "00000000", "00000000"]
        for index, value in changes:
            params[index] = value
        answer = await wire.ask("mining.submit", params)
        assert answer is not None
        return int(answer["error"][0])

    assert early is not None
    assert early["error"][0] == 25
    assert await code() == 23
    assert await code((0, "stranger")) == 24
    assert await code((1, "ffff")) == 21
    assert await code((2, "00")) == 20
    assert await code((3, f"{now - 1:08x}")) == 23
    assert await code((3, f"{now + 7_201:08x}")) == 23
    assert await code((5, "00000001")) == 23
    pool.new_block()
    assert await code() == 21
    assert pool.totals.rejected == Counter(
        {"not-subscribed": 1, "low-difficulty": 1, "unauthorized": 1, "unknown-job": 1, "bad-extranonce-size": 1, "bad-ntime": 2,
         "bad-version": 1, "stale": 1}
    )  # fmt: skip


async def test_the_same_share_twice_is_a_duplicate_even_over_a_reconnection(autojump_clock: Any, bench: Any) -> None:
    pool = bench.pool(difficulty=2.0**-33, extranonce1_bytes=0, refresh_s=500.0)
    wire, other = Wire(bench, pool), Wire(bench, pool)
    await wire.join()
    job = wire.notified("mining.notify")[0]
    share = ["site.unit", job[0], "00" * 8, job[7], "00000000"]
    first, second = await wire.ask("mining.submit", share), await wire.ask("mining.submit", share)
    assert first is not None
    assert second is not None
    assert first["result"] is True
    assert second["error"][0] == 22
    await other.join()
    third = await other.ask("mining.submit", share)
    assert third is not None
    assert third["error"][0] == 22


SHAPES = {"array": "23", "string": "None", "object": "23", "text-third": "23", "bare-false": "None", "null-null": "None"}


@pytest.mark.parametrize(("shape", "code"), SHAPES.items())
async def test_every_shape_of_a_refusal_is_a_refusal(autojump_clock: Any, bench: Any, shape: str, code: str) -> None:
    pool = bench.pool()
    pool.faults.reject_part = 1.0
    pool.faults.error_shape = shape
    miner = bench.miner(pool)
    await trio.sleep(20)
    assert miner.totals.accepted == 0
    assert sum(miner.totals.rejected.values()) > 20
    assert {key.split(":")[0] for key in miner.totals.rejected} == {code}


async def test_a_refusal_without_words_is_a_refusal(autojump_clock: Any, bench: Any) -> None:
    pool = bench.pool()
    pool.faults.reject_part = 1.0
    pool.faults.error_shape = "short-array"
    miner = bench.miner(pool)
    await trio.sleep(20)
    assert miner.totals.accepted == 0
    assert sum(miner.totals.rejected.values()) > 20


async def test_a_part_of_the_shares_can_be_refused(autojump_clock: Any, bench: Any) -> None:
    pool = bench.pool()
    pool.faults.reject_part = 0.25
    miner = bench.miner(pool, lambda: 1_000.0)
    await trio.sleep(60)
    refused = sum(miner.totals.rejected.values())
    assert 0.18 < refused / (refused + miner.totals.accepted) < 0.32


async def test_answers_can_be_late_missing_double_or_for_nobody(autojump_clock: Any, bench: Any) -> None:
    pool = bench.pool()
    miner = bench.miner(pool)
    await trio.sleep(20)
    for answering in ("never", "unknown-id"):
        pool.faults.answering = answering
        before = miner.totals.accepted
        await trio.sleep(20)
        assert miner.totals.accepted - before <= 1
    assert pool.answers_withheld > 20
    pool.faults.answering, pool.faults.answer_delay_s = "late", 3.0
    await trio.sleep(20)
    assert miner.session.unanswered > 0
    pool.faults.answering = "twice"
    before = miner.totals.accepted, pool.totals.accepted
    await trio.sleep(20)
    assert miner.totals.accepted - before[0] >= pool.totals.accepted - before[1] > 20
    assert any(text.startswith("answer") for text in miner.totals.refused_messages)


async def test_a_frozen_pool_says_nothing_and_then_goes_on(autojump_clock: Any, bench: Any) -> None:
    pool = bench.pool(refresh_s=5.0)
    miner = bench.miner(pool)
    await trio.sleep(11)
    pool.freeze()
    jobs, accepted = miner.totals.jobs, pool.totals.accepted
    late = Wire(bench, pool)
    assert await late.ask("mining.subscribe", ["wire/1"]) is None
    await trio.sleep(20)
    assert (miner.totals.jobs, pool.totals.accepted) == (jobs, accepted)
    pool.thaw()
    await trio.sleep(10)
    assert pool.totals.accepted > accepted + 50
    assert miner.totals.jobs > jobs
    assert late.lines


async def test_a_refused_worker_hangs_up_and_tries_again(autojump_clock: Any, bench: Any) -> None:
    pool = bench.pool()
    pool.faults.refuse_users = {"site.bad"}
    good, bad = bench.miner(pool, worker="site.good"), bench.miner(pool, worker="site.bad")
    await trio.sleep(60)
    assert good.totals.accepted > 0
    assert bad.totals.jobs <= bad.totals.connections
    assert bad.totals.connections > 1
    assert "site.bad" not in pool.totals.work_by_user


@pytest.mark.parametrize("behaviour", ["error", "ignore"])
async def test_without_an_answer_to_configure_there_is_no_rolling(autojump_clock: Any, bench: Any, behaviour: str) -> None:
    pool = bench.pool()
    pool.faults.configure = behaviour
    miner = bench.miner(pool)
    await trio.sleep(30)
    assert miner.totals.accepted > 20
    assert not pool.totals.rejected


@pytest.mark.parametrize("fault", sorted(BAD_JOBS))
async def test_a_bad_job_is_refused_and_the_last_good_one_stays(autojump_clock: Any, bench: Any, fault: str) -> None:
    pool = bench.pool()
    miner = bench.miner(pool)
    await trio.sleep(5)
    jobs = miner.totals.jobs
    pool.send_broken_job(fault)
    await trio.sleep(10)
    assert miner.totals.jobs == jobs
    assert any(text.startswith("mining.notify") for text in miner.totals.refused_messages)
    assert miner.totals.connections == 1
    assert not pool.totals.rejected


@pytest.mark.parametrize("size", [None, 4, 2])
async def test_the_extranonce_can_change_under_way(autojump_clock: Any, bench: Any, size: int | None) -> None:
    pool = bench.pool()
    miner = bench.miner(pool)
    await trio.sleep(10)
    before = pool.sessions[0].extranonce1
    pool.set_extranonce(size)
    await trio.sleep(20)
    assert pool.sessions[0].extranonce1 != before
    assert pool.sessions[0].extranonce2_bytes == (size or 8)
    assert miner.totals.methods_seen["mining.set_extranonce"] == 1
    assert not pool.totals.rejected


async def test_the_version_mask_can_shrink_for_those_who_roll(autojump_clock: Any, bench: Any) -> None:
    pool = bench.pool()
    rolling, plain = bench.miner(pool), bench.miner(pool, rolls_version=False)
    await trio.sleep(10)
    pool.shrink_version_mask(0x00006000)
    await trio.sleep(20)
    assert rolling.totals.methods_seen["mining.set_version_mask"] == 1
    assert "mining.set_version_mask" not in plain.totals.methods_seen
    assert not pool.totals.rejected


async def test_reconnect_is_obeyed_and_a_reset_survived(autojump_clock: Any, bench: Any) -> None:
    pool = bench.pool()
    miner = bench.miner(pool)
    await trio.sleep(10)
    pool.ask_reconnect()
    await trio.sleep(10)
    pool.ask_reconnect("127.0.0.1", 3333, 2.0)
    await trio.sleep(10)
    pool.reset_connections()
    await trio.sleep(10)
    assert miner.totals.connections == 4
    assert miner.is_mining
    assert miner.totals.submitted == miner.totals.accepted + miner.totals.lost + miner.session.unanswered


async def test_a_reused_job_id_means_the_new_content(autojump_clock: Any, bench: Any) -> None:
    pool = bench.pool()
    miner = bench.miner(pool)
    await trio.sleep(10)
    pool.reuse_job_id()
    await trio.sleep(10)
    assert miner.totals.jobs == 2
    assert sum(pool.totals.rejected.values()) <= 3  # shares of the old content that crossed with the new
    assert miner.totals.accepted > 30


async def test_a_flood_of_clean_jobs_leaves_the_last(autojump_clock: Any, bench: Any) -> None:
    pool = bench.pool()
    miner = bench.miner(pool)
    await trio.sleep(10)
    pool.flood(500)
    await trio.sleep(10)
    assert miner.totals.jobs == 501
    accepted = miner.totals.accepted
    await trio.sleep(10)
    assert miner.totals.accepted > accepted


async def test_suggested_difficulty_is_followed_only_where_the_pool_does(autojump_clock: Any, bench: Any) -> None:
    kind, deaf = bench.pool(follow_suggestion=True), bench.pool()
    for pool in (kind, deaf):
        bench.miner(pool, suggest_difficulty=0.5)
    await trio.sleep(5)
    assert kind.sessions[0].difficulty == 0.5
    assert deaf.sessions[0].difficulty == deaf.difficulty


async def test_a_peer_that_speaks_no_stratum_is_cut_off(autojump_clock: Any, bench: Any) -> None:
    pool = bench.pool()
    wire = Wire(bench, pool)
    await wire._stream.send_all(b"\x16\x03\x01 not json\n")
    await trio.sleep(5)
    assert not wire.is_open
    assert len(pool.protocol_errors) == 1
    assert not pool.sessions


async def test_listening_can_stop_and_start_again_on_the_same_port(nursery: trio.Nursery, bench: Any) -> None:
    pool = bench.pool()
    port = await nursery.start(pool.serve)
    pool.stop_listening()
    for _ in range(20):
        await trio.lowlevel.checkpoint()
    with pytest.raises(OSError):
        await trio.open_tcp_stream("127.0.0.1", port)
    pool.listen_again()
    for _ in range(20):
        await trio.lowlevel.checkpoint()
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(b'{"id":1,"method":"mining.subscribe","params":[]}\n')
        assert b'"result"' in await stream.receive_some()
