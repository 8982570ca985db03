"""What one miner, one address, or a crowd of them may cost the others."""

import errno
import random
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import structlog
import trio
import trio.testing
from trio.testing import MockClock

from protocol.v1 import messages
from protocol.v1.server import ServerConnection
from proxy.config import Listen
from proxy.downstream import v1
from proxy.sim.pool import PoolSpec
from tests.support.mine import solve
from tests.support.rig import EASY, Miner, Rig, passing, running, until

SEED = 22
SLOW_READERS, JOBS = 200, 100
HOSTILE = 100
# Envoy's rule for an edge: a hundred connections may not eat the machine.
MAX_GROWTH_BYTES = 64 * 2**20


def listen(**changes: object) -> Listen:
    return Listen(v1="127.0.0.1:0", **{"max_connections_per_address": 2_000, **changes})  # type: ignore[arg-type]


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4_096


async def deaf_miner(rig: Rig) -> Miner:
    """A miner whose receive buffer is as small as the kernel allows."""
    sock = trio.socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    await sock.connect(rig.address)
    return Miner(trio.SocketStream(sock))


async def mines(rig: Rig, miner: Miner, hello: dict[str, object], first: int = 0) -> None:
    """A share of the newest job this miner has is taken."""
    await miner.expect("mining.notify")
    params = solve(hello, miner.of("mining.notify")[-1], EASY, first=first)
    assert (await miner.answer(await miner.send("mining.submit", "account.good", *params)))["result"] is True


async def pour(miner: Miner, method: bytes) -> None:
    """Ask and never stop asking, until the proxy hangs up."""
    with suppress(trio.BrokenResourceError):
        while True:
            await miner.raw(b'{"id":1,"method":"%s","params":[]}\n' % method * 100)


# -- how many


async def test_beyond_max_connections_the_door_is_closed_and_opens_when_one_leaves(tmp_path: Path) -> None:
    async with running(tmp_path, listen=listen(max_connections=3)) as rig:
        inside = [await rig.miner() for _ in range(3)]
        for miner in inside:
            await miner.hello()
        await (await rig.miner()).hung_up()
        assert rig.app.guard.refused == 1
        await inside[0].stream.aclose()
        await until(lambda: rig.app.reactor.connection_count == 2)
        await (await rig.miner()).hello()


async def test_one_address_cannot_use_up_the_site(tmp_path: Path) -> None:
    async with running(tmp_path, listen=listen(max_connections_per_address=2)) as rig:
        inside = [await rig.miner() for _ in range(2)]
        for miner in inside:
            await miner.hello()
        await (await rig.miner()).hung_up()
        assert (rig.app.guard.refused, rig.app.guard.connections) == (1, 2)
        elsewhere = Miner(await trio.open_tcp_stream(*rig.address, local_address="127.0.0.9"))
        await elsewhere.hello()


async def test_an_address_that_sends_only_nonsense_is_shut_out_for_a_while_and_others_are_not(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with running(tmp_path, listen=listen(max_connections_per_address=64)) as rig:
        good, bad = await rig.miner(), Miner(await trio.open_tcp_stream(*rig.address, local_address="127.0.0.66"))
        hello = await good.hello("account.good")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pour, bad, b"mining.nonsense")
            await bad.hung_up()
            nursery.cancel_scope.cancel()
        again = Miner(await trio.open_tcp_stream(*rig.address, local_address="127.0.0.66"))
        await again.hung_up()
        assert rig.app.guard.refused == 1
        await mines(rig, good, hello)
        mock_clock.jump(61.0)
        forgiven = Miner(await trio.open_tcp_stream(*rig.address, local_address="127.0.0.66"))
        await forgiven.hello()


# -- how long


async def test_an_idle_miner_is_dropped_after_the_limit_and_one_that_hashes_is_not(tmp_path: Path, mock_clock: MockClock) -> None:
    async with running(tmp_path, listen=listen(idle_timeout_s=60.0)) as rig:
        idle, busy = await rig.miner(), await rig.miner()
        await idle.hello("account.idle")
        await idle.expect("mining.notify")
        hello = await busy.hello("account.good")
        await mines(rig, busy, hello)
        mock_clock.jump(40.0)
        await mines(rig, busy, hello, first=1_000_000)
        mock_clock.jump(30.0)
        await idle.hung_up()
        await mines(rig, busy, hello, first=2_000_000)


async def test_a_unit_that_was_put_to_sleep_may_be_silent_for_as_long_as_it_sleeps(tmp_path: Path, mock_clock: MockClock) -> None:
    async with running(tmp_path, listen=listen(idle_timeout_s=60.0)) as rig:
        asleep, idle = await rig.miner(), await rig.miner()
        await asleep.hello("account.asleep")
        await idle.hello("account.idle")
        await idle.expect("mining.notify")  # without work it might be silent, too
        rig.app.router.expect_hashrate("account.asleep", 0.0)
        mock_clock.jump(3_600.0)
        await idle.hung_up()
        assert rig.app.reactor.connection_count == 1
        assert (await asleep.answer(await asleep.send("mining.ping")))["result"] == "pong"


# -- who does not read


async def test_miners_that_never_read_cost_a_bounded_buffer_keep_only_the_newest_job_and_are_closed_in_time(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with running(tmp_path, listen=listen(send_timeout_s=20.0)) as rig:
        deaf = [await deaf_miner(rig) for _ in range(SLOW_READERS)]
        for number, miner in enumerate(deaf):
            await miner.hello(f"account.deaf{number}")
        good = await rig.miner()
        hello = await good.hello("account.good")
        await until(lambda: len(rig.app.router.channels) == SLOW_READERS + 1)
        before = resident_bytes()
        for _ in range(JOBS):
            rig.pools[0].refresh()
            await good.expect("mining.notify", len(good.of("mining.notify")) + 1)
        await until(lambda: not rig.app.router.is_fan_out_pending)
        assert resident_bytes() - before < MAX_GROWTH_BYTES
        await mines(rig, good, hello)
        newest = good.of("mining.notify")[-1]["params"][0]  # type: ignore[index]
        # One of them wakes up in time: it gets what the kernel had taken, then the newest job, and no line is broken.
        awake = deaf.pop()
        while not awake.of("mining.notify") or awake.of("mining.notify")[-1]["params"][0] != newest:  # type: ignore[index]
            await awake.read()
        assert len(awake.of("mining.notify")) < JOBS
        mock_clock.jump(21.0)
        await until(lambda: rig.app.reactor.connection_count == 2)
        assert rig.app.reactor.bugs == 0
        await mines(rig, good, hello, first=1_000_000)


async def test_a_miner_that_floods_and_does_not_read_is_held_by_tcp_and_closed_in_time(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with running(tmp_path) as rig:
        flood = await deaf_miner(rig)
        await flood.hello("account.flood")
        before = resident_bytes()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pour, flood, b"mining.ping")
            (connection,) = rig.app.reactor._connections.values()
            await until(lambda: connection.blocked_since_s is not None)
            assert resident_bytes() - before < MAX_GROWTH_BYTES
            mock_clock.jump(21.0)
            await until(lambda: rig.app.reactor.connection_count == 0)
            nursery.cancel_scope.cancel()


# -- who is hostile


def giant_line(rng: random.Random) -> bytes:
    return b'{"id":1,"method":"' + b"a" * 200_000


def slow_loris(rng: random.Random) -> bytes:
    return b'{"id"'


def deep_json(rng: random.Random) -> bytes:
    return b'{"id":1,"method":"mining.submit","params":' + b"[" * 7_000 + b"]" * 7_000 + b"}\n"


def random_bytes(rng: random.Random) -> bytes:
    return rng.randbytes(20_000)


def giant_numbers(rng: random.Random) -> bytes:
    return b'{"id":%s,"method":"mining.suggest_difficulty","params":[1e%s]}\n' % (b"9" * 5_000, b"9" * 5_000)


ATTACKS: list[Callable[[random.Random], bytes]] = [giant_line, slow_loris, deep_json, random_bytes, giant_numbers]


async def test_a_hundred_hostile_connections_leave_memory_alone_and_good_miners_at_work(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    rng = random.Random(SEED)
    async with running(tmp_path) as rig:
        good = await rig.miner()
        hello = await good.hello("account.good")
        before = resident_bytes()
        hostile = [Miner(await trio.open_tcp_stream(*rig.address, local_address="127.0.0.66")) for _ in range(HOSTILE)]
        for number, miner in enumerate(hostile):
            with suppress(trio.BrokenResourceError):
                await miner.raw(ATTACKS[number % len(ATTACKS)](rng))
        await mines(rig, good, hello)
        rig.pools[0].new_block()
        await good.expect("mining.notify", 2)
        await mines(rig, good, hello, first=1_000_000)
        await passing(mock_clock, lambda: rig.app.reactor.connection_count == 1, limit_s=60.0)
        for miner in hostile:
            await miner.stream.aclose()
        assert resident_bytes() - before < MAX_GROWTH_BYTES
        assert rig.app.reactor.bugs == 0
        await mines(rig, good, hello, first=2_000_000)


# -- our own bugs


def explode(*args: object, **kwargs: object) -> None:
    raise ZeroDivisionError("a bug of ours")


async def survives(rig: Rig, victim: Miner, good: Miner, hello: dict[str, object]) -> None:
    """The victim's connection is closed, the bug counted and in the log; the other miner mines on."""
    await victim.hung_up()
    await until(lambda: rig.app.reactor.connection_count == 1)
    await mines(rig, good, hello, first=1_000_000)


async def test_a_bug_in_a_handler_closes_that_connection_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(v1.HANDLERS, messages.Ping, explode)
    async with running(tmp_path) as rig:
        victim, good = await rig.miner(), await rig.miner()
        hello = await good.hello("account.good")
        with structlog.testing.capture_logs() as logs:
            await victim.send("mining.ping")
            await survives(rig, victim, good, hello)
        assert rig.app.reactor.bugs == 1
        (bug,) = [line for line in logs if line["event"] == "connection.bug"]
        assert bug["log_level"] == "error"
        assert bug["exc_info"]


async def test_a_bug_while_a_session_is_made_costs_nobody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(tmp_path) as rig:
        good = await rig.miner()
        hello = await good.hello("account.good")
        with monkeypatch.context() as patched:
            patched.setattr(v1.MinerSession, "__init__", explode)
            await (await rig.miner()).hung_up()
        assert rig.app.reactor.bugs == 1
        assert rig.app.guard.connections == 1
        await mines(rig, good, hello)


async def test_a_bug_while_one_miner_is_sent_a_job_leaves_the_job_to_all_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path) as rig:
        victim, good = await rig.miner(), await rig.miner()
        await victim.hello("account.victim")
        hello = await good.hello("account.good")
        await until(lambda: len(rig.app.router.channels) == 2)
        link = rig.app.router.by_unit["account.victim"].link
        assert isinstance(link, v1.MinerSession)
        with monkeypatch.context() as patched:
            patched.setattr(type(link.connection), "send_job", _exploding_for(link.connection))
            rig.pools[0].new_block()
            await good.expect("mining.notify", 2)
            await survives(rig, victim, good, hello)
        assert rig.app.reactor.bugs == 1
        assert rig.app.pools[0].reconnects == 0


async def test_a_bug_in_the_answer_to_one_miner_leaves_the_answers_of_all_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path) as rig:
        victim, good = await rig.miner(), await rig.miner()
        there = await victim.hello("account.good")
        here = await good.hello("account.good")
        accepted = ServerConnection.accepted
        doomed = next(iter(rig.app.router.channels)).link._protocol  # type: ignore[attr-defined]

        def sometimes(self: ServerConnection, request_id: bytes) -> bytes:
            return explode() if self is doomed else accepted(self, request_id)  # type: ignore[func-returns-value, return-value]

        monkeypatch.setattr(ServerConnection, "accepted", sometimes)
        job = await victim.expect("mining.notify")
        await victim.send("mining.submit", "account.good", *solve(there, job, EASY))
        await survives(rig, victim, good, here)
        assert rig.app.reactor.bugs == 1


async def test_a_bug_in_the_upkeep_of_one_miner_leaves_the_upkeep_of_all_others(
    tmp_path: Path, mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path, [PoolSpec(difficulty=EASY, refresh_s=1e6, block_interval_s=1e6)]) as rig:
        victim, good = await rig.miner(), await rig.miner()
        await victim.hello("account.victim")
        hello = await good.hello("account.good")
        await until(lambda: len(rig.app.router.channels) == 2)
        upkeep, doomed = rig.app.router.upkeep, rig.app.router.by_unit["account.victim"]

        def sometimes(channels: tuple[object, ...], keepalive_s: float) -> None:
            if doomed in channels:
                explode()
            upkeep(channels, keepalive_s)  # type: ignore[arg-type]

        monkeypatch.setattr(rig.app.router, "upkeep", sometimes)
        await passing(mock_clock, lambda: rig.app.reactor.connection_count == 1, limit_s=10.0)
        await passing(mock_clock, lambda: rig.app.router.by_unit["account.good"].sent_at_s > 50, limit_s=60.0)
        await good.expect("mining.notify", 2)  # the keep-alive job
        await survives(rig, victim, good, hello)
        assert rig.app.reactor.bugs == 1


def _exploding_for(doomed: object) -> Callable[[object, bytes], None]:
    send_job = v1.Connection.send_job

    def sometimes(self: object, data: bytes) -> None:
        if self is doomed:
            explode()
        send_job(self, data)  # type: ignore[arg-type]

    return sometimes


# -- a full socket table


class FullTable:
    """A listener of a process that has no file descriptor left."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener

    def accept(self) -> object:
        raise OSError(errno.EMFILE, "Too many open files")

    def close(self) -> None:
        self._listener.close()


async def test_while_the_socket_table_is_full_nobody_is_accepted_nothing_spins_and_it_is_said_once(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with running(tmp_path) as rig:
        good = await rig.miner()
        hello = await good.hello("account.good")
        listeners = rig.app.reactor._listeners
        ((fd, (listener, is_tls)),) = listeners.items()
        with structlog.testing.capture_logs() as logs:
            listeners[fd] = (FullTable(listener), is_tls)  # type: ignore[assignment]
            waiting = await rig.miner()
            for _ in range(10):
                # Never reached by a loop that asks the full table again and again.
                await trio.testing.wait_all_tasks_blocked()
                mock_clock.jump(0.11)
            await mines(rig, good, hello)
            listeners[fd] = (listener, is_tls)
            mock_clock.jump(0.11)
            await waiting.hello("account.waiting")
        events = [line["event"] for line in logs if line["event"].startswith("listener.")]
        assert events == ["listener.exhausted", "listener.recovered"]


async def test_waking_the_loop_after_its_end_does_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        reactor = rig.app.reactor
    reactor.wake()
