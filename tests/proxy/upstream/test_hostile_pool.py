"""A pool that misbehaves on a real socket costs its own connection at most; units work on and never notice who it was."""

from pathlib import Path

import pytest
from trio.testing import MockClock

from protocol.v1.messages import encode_set_difficulty, encode_set_extranonce, encode_set_version_mask
from proxy.config import Listen, Vardiff
from proxy.sim.pool import PoolSpec
from tests.support.rig import EASY, passing, running, until
from tests.support.swarm import swarm

STILL: dict[str, object] = {
    "listen": Listen(v1="127.0.0.1:0", keepalive_job_s=110.0, max_connections_per_address=2_000),
    "vardiff": Vardiff(enabled=False, min_difficulty=2.0**-32, start_difficulty=EASY),
}


def still(**spec: object) -> PoolSpec:
    return PoolSpec(difficulty=EASY, refresh_s=1e6, block_interval_s=1e6, **spec)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "line",
    [
        b"\xff\xfe\x00\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"[" * 100_000 + b"\n",
        b"{" * 300_000,
        b'{"id":null,"method":"mining.set_extranonce","params":["00",2]}\n',
        b'{"id":null,"method":"mining.notify","params":[]}\n' * 20,
    ],
    ids=["bytes", "http", "nesting", "endless", "no-room", "twenty-bad-jobs"],
)
async def test_nonsense_ends_the_pools_connection_and_the_next_pool_takes_over(tmp_path: Path, line: bytes) -> None:
    async with running(tmp_path, [still(), still()], **STILL) as rig:
        units = await swarm(rig, 4)
        rig.pools[0].send_raw(line)
        await units.have_jobs(2)
        await units.all_find()
        await until(lambda: rig.pools[1].totals.accepted == 4)
        assert rig.app.pools[0].failure
        assert units.is_plain()
        assert rig.app.reactor.bugs == 0


@pytest.mark.parametrize(
    "line",
    [
        b"\n\r\n \n",
        b'{"id":null,"method":"mining.set_difficulty","params":[0]}\n',
        b'{"id":null,"method":"mining.set_difficulty","params":["1e400"]}\n',
        encode_set_difficulty(1e-300),
        b'{"id":null,"method":"mining.set_version_mask","params":["zz"]}\n',
        b'{"id":7,"method":"mining.unheard_of","params":{"a":[1]}}\n',
        b'{"id":null,"method":"client.show_message","params":["\\u001b[2J<script>"]}\n',
        b'{"id":null,"method":"client.reconnect","params":["evil.example",3333,0]}\n',
        b'{"id":999999,"result":true,"error":null}\n' * 50,
    ],
    ids=["blank", "zero", "text", "tiny", "mask", "unknown", "message", "reconnect", "answers-to-nobody"],
)
async def test_a_bad_message_changes_nothing_for_a_unit(tmp_path: Path, line: bytes) -> None:
    async with running(tmp_path, [still(), still()], **STILL) as rig:
        units = await swarm(rig, 4)
        rig.pools[0].send_raw(line)
        await units.all_find()
        await until(lambda: rig.pools[0].totals.accepted == 4)
        assert units.job_counts() == {1}
        assert rig.pools[0].totals.connections == 1
        assert units.is_plain()


async def test_case_62_a_pool_that_answers_everything_twice_is_not_left_for_it(tmp_path: Path) -> None:
    async with running(tmp_path, [still(), still()], **STILL) as rig:
        units = await swarm(rig, 15)
        rig.pools[0].faults.answering = "twice"
        for _ in range(2):
            await units.all_find()
        await until(lambda: rig.app.ledger.totals().accepted == 30)
        await units.all_find()
        await until(lambda: rig.app.ledger.totals().accepted == 45)
        assert rig.pools[0].totals.connections == 1
        assert rig.pools[1].totals.accepted == 0


async def test_case_25_a_unit_that_never_heard_of_extranonces_needs_no_reconnect_when_the_pools_changes(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with running(tmp_path, [still(), still()], **STILL) as rig:
        units = await swarm(rig, 6)
        await (units.units[0].miner).send("mining.extranonce.subscribe")
        for size in (8, 5, 4):
            before = max(units.job_counts())
            rig.pools[0].set_extranonce(size)
            await units.have_jobs(before + 1)
            await units.all_find()
        await until(lambda: rig.pools[0].totals.accepted == 18)
        rig.pools[0].send_raw(encode_set_extranonce(b"\x01" * 16, 16) + encode_set_version_mask(0xFFFFFFFF))
        rig.pools[0].reset_connections()
        await until(lambda: rig.app.pools[0].failure)
        await passing(mock_clock, lambda: rig.app.pools[0].is_ready, limit_s=5)
        await units.all_find()
        await until(lambda: rig.pools[1].totals.accepted == 6)
        # No set_extranonce, no client.reconnect, nobody hung up on.
        assert units.is_plain()
        assert rig.app.reactor.connection_count == 6
