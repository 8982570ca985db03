"""Miners behind a load balancer: the PROXY header says who they are, and only a trusted balancer may say so."""

import socket
import ssl
import struct
from contextlib import suppress
from pathlib import Path

import pytest
import trio
import trustme
from trio.testing import MockClock

from proxy import config
from proxy.config import Listen
from proxy.downstream.guard import HARD_LIMIT
from proxy.downstream.proxy_protocol import V2_SIGNATURE
from tests.support.mine import solve
from tests.support.rig import EASY, Miner, Rig, running, until
from tests.support.streams import Through

MODEL = config.Model(levels=[config.Level(name="full", power_w=8_000, hashrate_hps=1e3, setting=0)])


def listen(**changes: object) -> Listen:
    keys = {"proxy_protocol": "required", "proxy_protocol_from": ["127.0.0.0/8"], "max_connections_per_address": 2}
    return Listen(v1="127.0.0.1:0", **{**keys, **changes})  # type: ignore[arg-type]


def header_v1(address: str = "192.0.2.7") -> bytes:
    return f"PROXY TCP4 {address} 198.51.100.1 56324 3333\r\n".encode()


def header_v2(address: str = "192.0.2.7") -> bytes:
    payload = socket.inet_aton(address) + socket.inet_aton("198.51.100.1") + struct.pack("!HH", 56324, 3333)
    return V2_SIGNATURE + struct.pack("!BBH", 0x21, 0x11, len(payload)) + payload


def header_v2_mapped(address: str = "192.0.2.7") -> bytes:
    """As a balancer on a dual-stack socket writes it."""
    mapped = socket.inet_pton(socket.AF_INET6, f"::ffff:{address}")
    payload = mapped + mapped + struct.pack("!HH", 56324, 3333)
    return V2_SIGNATURE + struct.pack("!BBH", 0x21, 0x21, len(payload)) + payload


HEADERS = pytest.mark.parametrize("header", [header_v1, header_v2, header_v2_mapped])


async def proxied(rig: Rig, header: bytes) -> Miner:
    miner = await rig.miner()
    await miner.raw(header)
    return miner


@HEADERS
async def test_a_unit_is_known_by_the_address_in_the_header(tmp_path: Path, header) -> None:
    units = [config.Unit(id="U1", address="192.0.2.7", model="m", loop="north")]
    async with running(tmp_path, listen=listen(workers="inventory"), units=units, models={"m": MODEL}) as rig:
        miner = await proxied(rig, header())
        hello = await miner.hello("account.whatever")
        params = solve(hello, await miner.expect("mining.notify"), EASY)
        assert (await miner.answer(await miner.send("mining.submit", "account.whatever", *params)))["result"] is True
        assert rig.app.router.by_unit["U1"].address == "192.0.2.7"
        stranger = await proxied(rig, header("192.0.2.8"))
        await stranger.send("mining.subscribe")
        assert (await stranger.answer(await stranger.send("mining.authorize", "account.other", "x")))["result"] is False


@HEADERS
async def test_the_limits_of_an_address_are_the_miners_not_the_balancers(tmp_path: Path, header) -> None:
    async with running(tmp_path, listen=listen()) as rig:
        inside = [await proxied(rig, header(f"192.0.2.{number // 2}")) for number in range(20)]
        for number, miner in enumerate(inside):
            await miner.hello(f"account.{number}")
        await (await proxied(rig, header("192.0.2.3"))).hung_up()
        assert rig.app.guard.connections == 20
        for miner in inside:
            await miner.stream.aclose()
        await until(lambda: rig.app.guard.connections == 0)
        await (await proxied(rig, header("192.0.2.3"))).hello()


async def test_a_whole_hall_may_reconnect_through_one_balancer(tmp_path: Path) -> None:
    guard_cost = int(HARD_LIMIT) + 10
    async with running(tmp_path, listen=listen(max_connections_per_address=64)) as rig:
        for number in range(guard_cost):
            # What a reconnecting hall does to the balancer's address, without its thousands of sockets.
            assert rig.app.guard.admit("127.0.0.1", 0.0, is_balancer=True) is None, number
            rig.app.guard.leave("127.0.0.1", 0.0)
        await (await proxied(rig, header_v1())).hello()


@HEADERS
async def test_a_header_may_come_in_single_bytes_and_together_with_the_first_request(tmp_path: Path, header) -> None:
    async with running(tmp_path, listen=listen()) as rig:
        slow = await rig.miner()
        for byte in header():
            await slow.raw(bytes([byte]))
            await trio.lowlevel.checkpoint()
        await slow.hello()
        quick = await proxied(rig, header("192.0.2.8") + b'{"id":77,"method":"mining.ping","params":[]}\n')
        assert (await quick.answer(77))["result"] == "pong"


@pytest.mark.parametrize("hello", [b'{"id":1,"method":"mining.subscribe","params":[]}\n', b"PROXY TCP4 nonsense\r\n", bytes(300)])
async def test_without_a_header_nobody_comes_in(tmp_path: Path, hello: bytes) -> None:
    async with running(tmp_path, listen=listen()) as rig:
        miner = await proxied(rig, hello)
        await miner.hung_up()
        await until(lambda: rig.app.reactor.connection_count == 0)
        assert rig.app.reactor.bugs == 0
        assert rig.app.guard.connections == 0


async def test_a_header_that_never_ends_is_closed_after_the_limit(tmp_path: Path, mock_clock: MockClock) -> None:
    async with running(tmp_path, listen=listen()) as rig:
        miner = await proxied(rig, header_v1()[:-5])
        await until(lambda: rig.app.reactor.connection_count == 1)
        mock_clock.jump(31.0)
        await miner.hung_up()


async def test_a_stranger_may_not_say_that_it_is_a_balancer(tmp_path: Path) -> None:
    async with running(tmp_path, listen=listen(proxy_protocol_from=["10.0.0.0/8"])) as rig:
        miner = await rig.miner()
        with suppress(trio.BrokenResourceError):
            await miner.raw(header_v1())
        await miner.hung_up()
        assert rig.app.reactor.connection_count == 0
        assert rig.app.guard.connections == 0


async def test_a_balancers_own_health_check_is_served_as_itself(tmp_path: Path) -> None:
    async with running(tmp_path, listen=listen()) as rig:
        miner = await proxied(rig, V2_SIGNATURE + struct.pack("!BBH", 0x20, 0x00, 0))
        await miner.hello()
        (channel,) = rig.app.router.channels
        assert channel.address == "127.0.0.1"


@HEADERS
async def test_tls_that_a_balancer_passes_through_begins_after_the_header(tmp_path: Path, header) -> None:
    authority = trustme.CA()
    pair = authority.issue_cert("127.0.0.1")
    pair.private_key_and_cert_chain_pem.write_to_path(tmp_path / "pair.pem")
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    pem = str(tmp_path / "pair.pem")
    async with running(tmp_path, listen=listen(v1_tls="127.0.0.1:0", tls_certificate=pem, tls_key=pem)) as rig:
        for is_one_segment in (True, False):
            stream: trio.abc.Stream = await trio.open_tcp_stream(*rig.app.reactor.addresses()[1])
            if is_one_segment:
                stream = _Prefixed(stream, header())
            else:
                await stream.send_all(header())
            secure = trio.SSLStream(stream, trusting, server_hostname="127.0.0.1")
            miner = Miner(secure)  # type: ignore[arg-type]
            await miner.hello(f"account.{is_one_segment}")
            assert rig.app.router.by_unit[f"account.{is_one_segment}"].address == "192.0.2.7"


async def test_units_on_a_dual_stack_socket_are_known_by_their_ipv4_address(tmp_path: Path) -> None:
    units = [config.Unit(id="U1", address="127.0.0.1", model="m", loop="north")]
    table = Listen(v1="[::]:0", workers="inventory")
    async with running(tmp_path, listen=table, units=units, models={"m": MODEL}) as rig:
        miner = Miner(await trio.open_tcp_stream("127.0.0.1", rig.address[1]))
        await miner.hello("account.whatever")
        assert rig.app.router.by_unit["U1"].address == "127.0.0.1"


class _Prefixed(Through):
    """Puts something in front of the first bytes that are sent."""

    def __init__(self, stream: trio.abc.Stream, prefix: bytes) -> None:
        super().__init__(stream)
        self._prefix = prefix

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        prefix, self._prefix = self._prefix, b""
        await super().send_all(prefix + bytes(data))
