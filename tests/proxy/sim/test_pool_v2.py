"""The simulated V2 pool's own rules, and each of its faults as a device sees it."""

from typing import Any

import pytest
import trio

from protocol.v2.client import ClientConnection
from proxy.sim.frames import shake_hands_as_client
from proxy.sim.pool_v2 import SimPoolV2


def channels(pool: SimPoolV2) -> list[Any]:
    return [channel for session in pool.sessions for channel in session.channels.values()]


@pytest.mark.parametrize(("prefix_bytes", "extranonce_bytes"), [(1, 2), (8, 8), (4, 16), (16, 16)])
async def test_any_geometry_can_be_mined(autojump_clock: Any, bench: Any, prefix_bytes: int, extranonce_bytes: int) -> None:
    pool = bench.pool_v2(prefix_bytes=prefix_bytes, extranonce_bytes=extranonce_bytes, merkle_branches=1)
    miners = [bench.miner_v2(pool, is_standard=standard) for standard in (False, True)]
    await trio.sleep(30)
    assert all(miner.totals.accepted > 50 for miner in miners)
    assert not pool.totals.rejected


async def test_no_two_channels_share_search_space(autojump_clock: Any, bench: Any) -> None:
    pool = bench.pool_v2(prefix_bytes=1, refresh_s=1e6)
    miners = [bench.miner_v2(pool, worker=f"w{n}", is_standard=n % 3 == 0, restarts_extranonce2=True) for n in range(20)]
    await trio.sleep(30)
    assert len({channel.prefix[:1] for channel in channels(pool)}) == 20
    assert not pool.totals.rejected
    assert sum(miner.totals.accepted for miner in miners) > 500


async def test_a_part_of_the_shares_can_be_refused_with_any_code(autojump_clock: Any, bench: Any) -> None:
    pool = bench.pool_v2()
    pool.faults.reject_part = 0.25
    pool.faults.error_code = b"because-we-can"
    miner = bench.miner_v2(pool, lambda: 1_000.0)
    await trio.sleep(60)
    bench.hasher.is_paused = True
    await trio.sleep(3)
    refused = sum(miner.totals.rejected.values())
    assert set(miner.totals.rejected) == {"because-we-can"}
    assert 0.18 < refused / (refused + miner.totals.accepted) < 0.32
    assert (miner.totals.accepted, miner.unanswered) == (pool.totals.accepted, 0)


@pytest.mark.parametrize("answering", ["never", "unknown-sequence", "late"])
async def test_answers_can_be_missing_late_or_for_nobody(autojump_clock: Any, bench: Any, answering: str) -> None:
    pool = bench.pool_v2()
    miner = bench.miner_v2(pool)
    pool.faults.answering, pool.faults.answer_delay_s = answering, 1e6
    await trio.sleep(20)
    assert miner.totals.accepted == 0
    assert miner.unanswered == pool.totals.accepted > 20
    assert (pool.answers_withheld > 20) is (answering == "never")


@pytest.mark.parametrize("answering", ["twice", "wrong-count"])
async def test_wrong_counts_are_noticed(autojump_clock: Any, bench: Any, answering: str) -> None:
    pool = bench.pool_v2()
    miner = bench.miner_v2(pool)
    pool.faults.answering = answering
    await trio.sleep(20)
    assert miner.totals.accepted > 20
    assert all(text.startswith("SubmitShares.Success") for text in miner.totals.refused_messages)
    assert miner.totals.refused_messages


async def test_the_sum_is_of_the_batch(autojump_clock: Any, bench: Any) -> None:
    pool = bench.pool_v2(difficulty=1.0)
    miner = bench.miner_v2(pool, lambda: 0.0)
    await trio.sleep(2)
    session = pool.sessions[0]
    channel = next(iter(session.channels.values()))
    for sequence in range(1, 4):
        miner.session._pending[sequence] = 3.5
        channel.acknowledgements.add(sequence, 3.5)
    await trio.sleep(3)
    assert miner.session.accepted_sum == 10
    pool.faults.answering = "wrong-sum"
    miner.session._pending[4] = 1.0
    channel.acknowledgements.add(4, 1.0)
    await trio.sleep(3)
    assert miner.session.accepted_sum == 10 + 1 + 1_000


async def test_a_frozen_pool_says_nothing_and_then_goes_on(autojump_clock: Any, bench: Any) -> None:
    pool = bench.pool_v2(refresh_s=5.0)
    miner = bench.miner_v2(pool)
    await trio.sleep(11)
    pool.freeze()
    jobs, accepted = miner.totals.jobs, pool.totals.accepted
    late = bench.miner_v2(pool)
    await trio.sleep(8)
    assert (miner.totals.jobs, late.totals.jobs) == (jobs, 0)
    assert pool.totals.accepted - accepted <= 1
    pool.thaw()
    await trio.sleep(20)
    assert pool.totals.accepted > accepted + 50
    assert late.is_mining
    assert miner.totals.connections == 1


@pytest.mark.parametrize("fault", ["refuse_setup", "refuse_channels"])
async def test_a_refused_device_comes_back(autojump_clock: Any, bench: Any, fault: str) -> None:
    pool = bench.pool_v2()
    setattr(pool.faults, fault, True)
    miner = bench.miner_v2(pool)
    await trio.sleep(30)
    assert (miner.totals.jobs, miner.is_mining) == (0, False)
    assert miner.totals.connections > 2
    setattr(pool.faults, fault, False)
    await trio.sleep(40)
    assert miner.is_mining


ENDS = {
    "break_macs": lambda pool: pool.break_macs(),
    "reset": lambda pool: pool.reset_connections(),
    "close_channels": lambda pool: pool.close_channels(),
    "write_to_closed_channels": lambda pool: pool.write_to_closed_channels(),
    "ask_reconnect": lambda pool: pool.ask_reconnect(),
}


@pytest.mark.parametrize("act", ENDS.values(), ids=ENDS.keys())
async def test_what_ends_a_connection_is_survived(autojump_clock: Any, bench: Any, act: Any) -> None:
    pool = bench.pool_v2()
    miner = bench.miner_v2(pool)
    await trio.sleep(10)
    act(pool)
    await trio.sleep(20)
    assert miner.totals.connections == 2
    assert miner.is_mining
    assert miner.totals.submitted == miner.totals.accepted + miner.totals.lost + miner.session.unanswered


async def test_a_changed_byte_is_noticed_by_its_mac(autojump_clock: Any, bench: Any) -> None:
    pool = bench.pool_v2()
    miner = bench.miner_v2(pool)
    await trio.sleep(10)
    pool.break_macs()
    await trio.sleep(5)
    assert len(miner.failures) == 1
    assert "MAC" in miner.failures[0]


HARMLESS = {
    "flood_futures": lambda pool: pool.flood_futures(100),
    "write_to_nobodys_channel": lambda pool: pool.write_to_nobodys_channel(),
    "send_unknown": lambda pool: pool.send_unknown(),
    "set_prefix": lambda pool: pool.set_prefix(),
    "tighten": lambda pool: pool.set_difficulty(pool.difficulty * 2),
    "flood": lambda pool: pool.flood(100),
    "tip_before_job": lambda pool: setattr(pool.faults, "tip_before_job", True),
    "keeps_witness": lambda pool: setattr(pool.faults, "keeps_witness", True),
}


@pytest.mark.parametrize("act", HARMLESS.values(), ids=HARMLESS.keys())
async def test_what_a_device_can_live_with_costs_it_no_connection(autojump_clock: Any, bench: Any, act: Any) -> None:
    pool = bench.pool_v2(refresh_s=8.0, block_interval_s=30.0)
    miners = [bench.miner_v2(pool, is_standard=standard, worker=f"w{standard}") for standard in (False, True)]
    await trio.sleep(10)
    act(pool)
    await trio.sleep(40)
    before = [miner.totals.accepted for miner in miners]
    await trio.sleep(30)
    assert {miner.totals.connections for miner in miners} == {1}
    assert all(miner.totals.accepted > earlier + 20 for miner, earlier in zip(miners, before, strict=True))
    assert set(pool.totals.rejected) <= {"stale"}


async def test_work_stops_at_a_tip_without_a_job_and_goes_on_with_the_next(autojump_clock: Any, bench: Any) -> None:
    pool = bench.pool_v2(refresh_s=1e6, block_interval_s=1e6)
    miner = bench.miner_v2(pool)
    await trio.sleep(10)
    pool.send_tip_without_job()
    await trio.sleep(2)
    submitted = miner.totals.submitted
    await trio.sleep(20)
    assert miner.totals.submitted == submitted
    pool.new_block()
    await trio.sleep(20)
    assert miner.totals.submitted > submitted + 20


@pytest.mark.parametrize(("act", "words"), [("expire_certificate", "expired"), ("change_authority", "not signed by")])
async def test_a_bad_certificate_keeps_devices_away(autojump_clock: Any, bench: Any, act: str, words: str) -> None:
    pool = bench.pool_v2()
    miner = bench.miner_v2(pool)
    await trio.sleep(10)
    getattr(pool, act)()
    await trio.sleep(10)
    assert miner.is_mining  # who is connected stays
    pool.reset_connections()
    await trio.sleep(20)
    assert not miner.is_mining
    assert words in miner.failures[0]


async def test_members_of_a_group_get_one_message_for_all(autojump_clock: Any, bench: Any) -> None:
    """Two channels on one connection, as a proxy has them: spoken by hand, since devices have one each."""
    pool = bench.pool_v2(refresh_s=1e6, block_interval_s=1e6)
    ours = await bench.connector(pool)()
    frames = await shake_hands_as_client(ours, None, bench.rng.randbytes, pool.wall_clock)
    bench.nursery.start_soon(frames.write)
    conn = ClientConnection()
    jobs: list[Any] = []
    sizes: list[int] = []

    async def read() -> None:
        while (frame := await frames.receive()) is not None:
            sizes.append(len(frame.payload))
            jobs.extend(event for event in conn.receive(frame) if type(event).__name__ == "JobReceived")

    bench.nursery.start_soon(read)
    frames.queue(conn.setup("pool", 1))
    await trio.sleep(1)
    for worker in ("a", "b"):
        frames.queue(conn.open_extended(worker, 0.0, 2**255, 4)[1])
    await trio.sleep(1)
    assert len(jobs) == 2
    sizes.clear()
    pool.new_block()
    await trio.sleep(1)
    assert len(jobs) == 4
    assert len(sizes) == 2  # one job and one chain tip
    assert jobs[2].extranonce_prefix != jobs[3].extranonce_prefix
    assert all(job.clean for job in jobs)


async def test_a_peer_that_speaks_no_noise_is_cut_off(autojump_clock: Any, bench: Any) -> None:
    pool = bench.pool_v2()
    stream = await bench.connector(pool)()
    await stream.send_all(b'{"id":1,"method":"mining.subscribe","params":[]}\n' + bytes(64))
    assert await stream.receive_some() == b""
    await trio.sleep(1)
    assert "Stratum V1" in pool.protocol_errors[0]
    assert not pool.sessions
