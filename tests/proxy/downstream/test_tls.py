"""Stratum over TLS in the reactor: records cut anywhere, peers that are no TLS, readers that do not read, and who hangs up how."""

import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import trio
import trustme
from trio.testing import MockClock

from proxy.config import Listen
from tests.support.mine import solve
from tests.support.rig import EASY, Miner, Rig, running, until
from tests.support.streams import Through

MANY = 200
PING = b'{"id":1,"method":"mining.ping","params":[]}\n'


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def listen(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Listen]:
    folder = tmp_path_factory.mktemp("tls")
    pair = authority.issue_cert("127.0.0.1")
    pair.private_key_pem.write_to_path(folder / "key.pem")
    for number, blob in enumerate(pair.cert_chain_pems):
        blob.write_to_path(folder / "cert.pem", append=number > 0)

    def table(**changes: object) -> Listen:
        keys = {
            "v1_tls": "127.0.0.1:0",
            "tls_certificate": str(folder / "cert.pem"),
            "tls_key": str(folder / "key.pem"),
            "max_connections_per_address": 2_000,
        }
        return Listen(v1="127.0.0.1:0", **{**keys, **changes})  # type: ignore[arg-type]

    return table


@pytest.fixture
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def tls_address(rig: Rig) -> tuple[str, int]:
    return rig.app.reactor.addresses()[1]


class InPieces(Through):
    """A stream that sends byte by byte, each in a segment of its own."""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        for byte in bytes(data):
            await super().send_all(bytes([byte]))
            await trio.lowlevel.checkpoint()


async def tls_miner(
    rig: Rig, context: ssl.SSLContext, wrap: Callable[[trio.SocketStream], trio.abc.Stream] = lambda stream: stream
) -> Miner:
    stream = wrap(await trio.open_tcp_stream(*tls_address(rig)))
    secure: trio.SSLStream[trio.abc.Stream] = trio.SSLStream(stream, context, server_hostname="127.0.0.1")
    await secure.do_handshake()
    return Miner(secure)  # type: ignore[arg-type]  # it speaks over any stream


@asynccontextmanager
async def mining(miner: Miner, worker: str = "account.tls") -> AsyncIterator[None]:
    """Handshake and a share that is taken."""
    hello = await miner.hello(worker)
    params = solve(hello, await miner.expect("mining.notify"), EASY)
    assert (await miner.answer(await miner.send("mining.submit", worker, *params)))["result"] is True
    yield


async def test_a_share_over_tls_counts_like_any_other(
    tmp_path: Path, listen: Callable[..., Listen], trusting: ssl.SSLContext
) -> None:
    async with running(tmp_path, listen=listen()) as rig, mining(await tls_miner(rig, trusting)):
        await until(lambda: rig.pools[0].totals.accepted == 1)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_handshake_and_records_may_come_in_single_bytes(
    tmp_path: Path, listen: Callable[..., Listen], trusting: ssl.SSLContext, version: ssl.TLSVersion
) -> None:
    trusting.minimum_version = trusting.maximum_version = version
    async with running(tmp_path, listen=listen()) as rig:
        miner = await tls_miner(rig, trusting, InPieces)
        async with mining(miner):
            assert rig.app.reactor.bugs == 0


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")  # that it is deprecated is the point
async def test_old_tls_is_refused(tmp_path: Path, listen: Callable[..., Listen], trusting: ssl.SSLContext) -> None:
    trusting.minimum_version = ssl.TLSVersion.TLSv1
    trusting.maximum_version = ssl.TLSVersion.TLSv1_1
    async with running(tmp_path, listen=listen()) as rig:
        with pytest.raises(trio.BrokenResourceError):
            await tls_miner(rig, trusting)
        await until(lambda: rig.app.reactor.connection_count == 0)


@pytest.mark.parametrize("hello", [PING, b"GET / HTTP/1.1\r\n\r\n", bytes(2_000), b"\x16\x03\x01\x00\x10" + b"\xff" * 16])
async def test_what_is_no_tls_is_sent_away_from_the_tls_port(tmp_path: Path, listen: Callable[..., Listen], hello: bytes) -> None:
    async with running(tmp_path, listen=listen()) as rig:
        miner = Miner(await trio.open_tcp_stream(*tls_address(rig)))
        await miner.raw(hello)
        await miner.hung_up()
        await until(lambda: rig.app.reactor.connection_count == 0)
        assert rig.app.reactor.bugs == 0


async def test_a_handshake_that_stops_half_way_is_closed_after_the_limit(
    tmp_path: Path, listen: Callable[..., Listen], trusting: ssl.SSLContext, mock_clock: MockClock
) -> None:
    async with running(tmp_path, listen=listen()) as rig:
        outgoing = ssl.MemoryBIO()
        with suppress(ssl.SSLWantReadError):
            trusting.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="127.0.0.1").do_handshake()
        miner = Miner(await trio.open_tcp_stream(*tls_address(rig)))
        await miner.raw(outgoing.read()[:-10])
        await until(lambda: rig.app.reactor.connection_count == 1)
        mock_clock.jump(31.0)
        await miner.hung_up()


async def test_a_tls_miner_that_does_not_read_is_bounded_and_closed_and_the_others_get_their_jobs(
    tmp_path: Path, listen: Callable[..., Listen], trusting: ssl.SSLContext, mock_clock: MockClock
) -> None:
    async with running(tmp_path, listen=listen()) as rig:
        good = await tls_miner(rig, trusting)
        await good.hello("account.good")
        sock = trio.socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        await sock.connect(tls_address(rig))
        secure = trio.SSLStream(trio.SocketStream(sock), trusting, server_hostname="127.0.0.1")
        deaf = Miner(secure)  # type: ignore[arg-type]
        await deaf.hello("account.deaf")
        connection = next(c for c in rig.app.reactor._connections.values() if c.session.channel.unit == "account.deaf")  # type: ignore[attr-defined]
        while connection.blocked_since_s is None:
            rig.pools[0].refresh()
            await good.expect("mining.notify", len(good.of("mining.notify")) + 1)
        for _ in range(20):
            rig.pools[0].refresh()
            await good.expect("mining.notify", len(good.of("mining.notify")) + 1)
        await good.answer(await good.send("mining.ping"))
        newest = good.of("mining.notify")[-1]["params"][0]  # type: ignore[index]
        # It reads again before its time is up: whole lines, the newest job last, and not all those between.
        while not deaf.of("mining.notify") or deaf.of("mining.notify")[-1]["params"][0] != newest:  # type: ignore[index]
            await deaf.read()
        assert len(deaf.of("mining.notify")) < len(good.of("mining.notify")) - 15
        while connection.blocked_since_s is None:
            rig.pools[0].refresh()
            await good.expect("mining.notify", len(good.of("mining.notify")) + 1)
        mock_clock.jump(21.0)
        await until(lambda: rig.app.reactor.connection_count == 1)


async def test_who_says_goodbye_is_gone_and_what_it_said_before_counts(
    tmp_path: Path, listen: Callable[..., Listen], trusting: ssl.SSLContext
) -> None:
    async with running(tmp_path, listen=listen()) as rig:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = trusting.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
        stream = await trio.open_tcp_stream(*tls_address(rig))

        async def reading(act: Callable[[], object]) -> object:
            while True:
                try:
                    return act()
                except ssl.SSLWantReadError:
                    await stream.send_all(outgoing.read())
                    incoming.write(await stream.receive_some())

        await reading(tls.do_handshake)
        miner = Miner(stream)
        lines = b""
        tls.write(b'{"id":1,"method":"mining.subscribe","params":[]}\n{"id":2,"method":"mining.authorize","params":["a.b","x"]}\n')
        while lines.count(b"\n") < 4:  # two answers, the difficulty, the job
            lines += await reading(lambda: tls.read(65_536))  # type: ignore[operator]
        miner._buffer = lines
        hello = await miner.answer(1)
        job = await miner.expect("mining.notify")
        job_id, *rest = solve(hello, job, EASY)
        # The share and close_notify leave in one segment.
        tls.write(b'{"id":3,"method":"mining.submit","params":["a.b","%s"]}\n' % '","'.join([job_id, *rest]).encode())
        with suppress(ssl.SSLWantReadError):
            tls.unwrap()
        await stream.send_all(outgoing.read())
        await until(lambda: rig.pools[0].totals.accepted == 1)
        await until(lambda: rig.app.reactor.connection_count == 0)


async def test_when_we_hang_up_the_miner_is_told_by_close_notify(
    tmp_path: Path, listen: Callable[..., Listen], trusting: ssl.SSLContext
) -> None:
    async with running(tmp_path, listen=listen(line_limit_bytes=1_024)) as rig:
        miner = await tls_miner(rig, trusting)
        await miner.hello()
        with suppress(trio.BrokenResourceError):
            await miner.raw(b"x" * 5_000)
        # A connection that is cut instead raises BrokenResourceError here.
        while await miner.stream.receive_some(65_536):
            pass


async def test_two_hundred_tls_miners_get_every_job(
    tmp_path: Path, listen: Callable[..., Listen], trusting: ssl.SSLContext
) -> None:
    async with running(tmp_path, listen=listen()) as rig:
        miners: list[Miner] = []

        async def join(number: int) -> None:
            miner = await tls_miner(rig, trusting)
            await miner.hello(f"account.{number}")
            miners.append(miner)

        async with trio.open_nursery() as nursery:
            for number in range(MANY):
                nursery.start_soon(join, number)
        rig.pools[0].new_block()
        async with trio.open_nursery() as nursery:
            for miner in miners:
                nursery.start_soon(miner.expect, "mining.notify", 2)
        assert rig.app.guard.connections == MANY
