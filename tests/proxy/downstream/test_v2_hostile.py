"""Broken and hostile frames against the running listener: that peer is closed with the right reason, and nobody else notices."""

import os
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from structlog.testing import capture_logs

from protocol.v2.codec import encode_frame
from protocol.v2.header import pack_header
from protocol.v2.messages import mining
from protocol.v2.messages.base import Unknown
from protocol.v2.noise import FIRST_MESSAGE_SIZE
from proxy.sim.pool import PoolSpec
from tests.support.rig import EASY, until
from tests.support.v2 import Device, Opened, open_extended, open_standard, setup
from tests.support.v2_rig import RigV2, running_v2

STILL = PoolSpec(difficulty=EASY, refresh_s=1e6, block_interval_s=1e6)
TOO_LONG = 0xFF_FFFF
NO_COST = {"max_connections_per_address": 20_000}


class Site:
    """A site with one honest device at work, the neighbour."""

    def __init__(self, rig: RigV2, neighbour: Device, channel: Opened, logs: list[dict[str, object]]) -> None:
        self.rig = rig
        self.neighbour = neighbour
        self.channel = channel
        self._logs = logs

    async def peer(self) -> tuple[Device, Opened]:
        """A device at work that is about to misbehave."""
        device = await self.rig.ready()
        return device, await device.open(open_extended(user_identity=b"account.peer"))

    async def closed(self, device: Device) -> str:
        """The reason why the proxy hung up on the last connection that was open besides the neighbour's."""
        await device.hung_up()
        await until(lambda: self.rig.app.reactor.connection_count == 1)
        await device.stream.aclose()
        return str(next(entry["reason"] for entry in reversed(self._logs) if entry["event"] == "device.left"))

    async def check(self) -> None:
        """The neighbour mines on, and nothing of the proxy's own failed."""
        count = len(self.neighbour.of(mining.SubmitSharesSuccess))
        await self.neighbour.send(self.channel.solve(first=random.Random(count).getrandbits(30)))
        await self.neighbour.expect(mining.SubmitSharesSuccess, count + 1)
        assert not self.neighbour.of(mining.SubmitSharesError)
        assert self.rig.app.reactor.bugs == 0
        assert self.rig.app.ledger.totals().conservation_delta == 0


@asynccontextmanager
async def site(tmp_path: Path, *, plaintext: bool = False) -> AsyncIterator[Site]:
    with capture_logs() as logs:
        async with running_v2(tmp_path, [STILL], plaintext=plaintext, listen=NO_COST) as rig:
            await until(lambda: rig.app.pools[0].is_ready)
            neighbour = await rig.ready()
            channel = await neighbour.open(open_extended(user_identity=b"account.neighbour"))
            made = Site(rig, neighbour, channel, logs)
            yield made
            await made.check()


def sealed(device: Device, *messages: mining.SubmitSharesExtended | Unknown) -> bytes:
    """The bytes that the messages are on the wire."""
    return b"".join(device._transport.seal(encode_frame(message)) for message in messages)


async def test_a_bit_flipped_at_any_offset_of_a_sealed_share_ends_that_connection_and_counts_nothing(tmp_path: Path) -> None:
    async with site(tmp_path) as there:
        length = 22 + 27 + 16
        for offset in range(length):
            device, channel = await there.peer()
            data = bytearray(sealed(device, channel.solve()))
            assert len(data) == length
            data[offset] ^= 1 << offset % 8
            await device.stream.send_all(bytes(data))
            assert "MAC" in await there.closed(device)
        assert there.rig.app.ledger.totals().received == 0


async def test_a_bit_flipped_anywhere_in_the_first_handshake_message_leads_to_no_connection(tmp_path: Path) -> None:
    async with site(tmp_path) as there:
        for offset in range(0, FIRST_MESSAGE_SIZE, 3):
            device = await there.rig.device()
            plain = device.stream
            device.stream = Spoiled(plain, offset)  # type: ignore[assignment]  # the part of a stream that a device uses
            with pytest.raises(Exception, match="MAC"):
                await device.shake_hands()
            await plain.aclose()
        await until(lambda: there.rig.app.reactor.connection_count == 1)


class Spoiled:
    """Flips a bit of the first bytes sent."""

    def __init__(self, stream: trio.abc.Stream, offset: int) -> None:
        self._stream = stream
        self._offset = offset

    async def send_all(self, data: bytes) -> None:
        spoiled = bytearray(data)
        spoiled[self._offset] ^= 0x10
        await self._stream.send_all(bytes(spoiled))

    async def receive_some(self, size: int) -> bytes:
        return bytes(await self._stream.receive_some(size))


async def test_a_share_cut_at_any_offset_counts_nothing(tmp_path: Path) -> None:
    async with site(tmp_path) as there:
        for cut in range(65):
            device, channel = await there.peer()
            await device.stream.send_all(sealed(device, channel.solve())[:cut])
            await device.stream.aclose()
            await until(lambda: there.rig.app.reactor.connection_count == 1)
        assert there.rig.app.ledger.totals().received == 0


@pytest.mark.parametrize("disorder", ["swapped", "replayed", "left out"])
async def test_frames_in_another_order_than_they_were_sealed_in_end_the_connection(tmp_path: Path, disorder: str) -> None:
    async with site(tmp_path) as there:
        device, channel = await there.peer()
        first, second = (sealed(device, channel.solve(first=start)) for start in (0, 1_000_000))
        await device.stream.send_all({"swapped": second + first, "replayed": first + first, "left out": second}[disorder])
        assert "MAC" in await there.closed(device)
        assert there.rig.app.ledger.totals().received == (1 if disorder == "replayed" else 0)


@pytest.mark.parametrize("plaintext", [False, True])
@pytest.mark.parametrize("length", [1_082, TOO_LONG])
async def test_a_length_above_what_its_type_may_have_ends_the_connection_before_the_payload(
    tmp_path: Path, length: int, plaintext: bool
) -> None:
    async with site(tmp_path, plaintext=plaintext) as there:
        device, _ = await there.peer()
        header = pack_header(0x8000, 0x1B, length)
        if not plaintext:
            header = device._transport._sealing.seal([header])  # type: ignore[union-attr]  # no honest transport seals this
        await device.stream.send_all(header)
        assert f"announces {length} bytes" in await there.closed(device)


async def test_lengths_of_16_mb_from_many_connections_at_once_cost_no_memory(tmp_path: Path) -> None:
    async with site(tmp_path) as there:
        devices = [await there.rig.ready() for _ in range(60)]
        for number, device in enumerate(devices):
            header = pack_header(0x8000 if number % 2 else 0, (0x1B, 0x01, 0x57, 0xEE)[number % 4], TOO_LONG)
            await device.stream.send_all(device._transport._sealing.seal([header]) + bytes(20_000))  # type: ignore[union-attr]
        await until(lambda: there.rig.app.reactor.connection_count == 1)
        assert not there.rig.app.router.channels.keys() - {next(iter(there.rig.app.router.channels))}
        for device in devices:
            await device.stream.aclose()


async def test_payloads_that_never_come_are_held_in_part_only_and_for_a_while(tmp_path: Path) -> None:
    async with site(tmp_path) as there:
        device, _ = await there.peer()
        header = device._transport._sealing.seal([pack_header(0, 0x13, 300)])  # type: ignore[union-attr]
        await device.stream.send_all(header + bytes(100))
        await there.check()
        (peer,) = [each for each in there.rig.app.reactor._connections.values() if each.session.channels and is_peer(each)]
        blocks = peer._transport._blocks  # type: ignore[attr-defined]
        assert blocks.buffered == 100
        await device.stream.aclose()


def is_peer(connection: object) -> bool:
    return next(iter(connection.session.channels)).unit == "account.peer"  # type: ignore[attr-defined]


@pytest.mark.parametrize("plaintext", [False, True])
async def test_what_names_other_channels_extensions_or_kinds_is_answered_and_the_peer_stays(
    tmp_path: Path, plaintext: bool
) -> None:
    async with site(tmp_path, plaintext=plaintext) as there:
        device, channel = await there.peer()
        share = channel.solve()
        await device.send(
            mining.SubmitSharesExtended(there.channel.channel_id + 9, 1, 1, 1, 1, 1, b""),
            mining.SubmitSharesStandard(channel.channel_id, 2, 1, 1, 1, 1),
            mining.UpdateChannel(0xDEAD, 1.0, 1),
            mining.CloseChannel(0xDEAD, b""),
        )
        await device.raw(*(encode_frame(Unknown(extension, True, 0x1B, b"x" * 30)) for extension in (3, 0x4242, 0x7FFF)))
        await device.send(share)
        await device.expect(mining.SubmitSharesSuccess)
        assert [error.error_code for error in device.of(mining.SubmitSharesError)] == [  # type: ignore[attr-defined]
            b"invalid-channel-id",
            b"invalid-share",
        ]
        await device.send(mining.CloseChannel(channel.channel_id, b""), share)
        await device.expect(mining.SubmitSharesError, 3)
        await device.stream.aclose()
        await until(lambda: there.rig.app.reactor.connection_count == 1)


def conversations(rng: random.Random) -> Iterator[tuple[list[bytes], Callable[[bytes], bytes]]]:
    """Plaintext conversations of honest frames, and what spoils one of them."""
    honest = [encode_frame(setup()), encode_frame(open_extended(1)), encode_frame(open_standard(2, user_identity=b"account.s"))]
    honest += [
        encode_frame(mining.SubmitSharesExtended(2, 1, 7, 1, 2, 3, b"ab")),
        encode_frame(mining.UpdateChannel(2, 1e14, 2**200)),
        encode_frame(mining.CloseChannel(2, b"bye")),
    ]

    def flip(frame: bytes) -> bytes:
        spoiled = bytearray(frame)
        for _ in range(rng.choice((1, 1, 1, 5))):
            spoiled[rng.randrange(len(spoiled))] ^= 1 << rng.randrange(8)
        return bytes(spoiled)

    def cut(frame: bytes) -> bytes:
        payload = frame[6 : 6 + rng.randrange(len(frame) - 6)]
        return frame[:3] + len(payload).to_bytes(3, "little") + payload

    def grow(frame: bytes) -> bytes:
        payload = frame[6:] + rng.randbytes(rng.randrange(1, 900))
        return frame[:3] + len(payload).to_bytes(3, "little") + payload

    def noise(frame: bytes) -> bytes:
        return rng.randbytes(rng.randrange(1, 200))

    while True:
        yield honest, rng.choice((flip, cut, grow, noise))


@pytest.mark.parametrize("seed", range(2))
async def test_spoiled_frames_in_the_clear_never_reach_anybody_else(tmp_path: Path, seed: int) -> None:
    async with site(tmp_path, plaintext=True) as there:
        rng = random.Random(seed)
        for _, (honest, spoil) in zip(range(60), conversations(rng), strict=False):
            stream = await trio.open_tcp_stream(*there.rig.address)
            at = rng.randrange(len(honest))
            frames = [*honest[:at], spoil(honest[at]), *rng.sample(honest, len(honest))]
            try:
                await stream.send_all(b"".join(frames))
                await stream.send_eof()
                while await stream.receive_some(65_536):
                    pass
            except trio.BrokenResourceError:
                pass  # it hung up before it had read everything
            await stream.aclose()
        await until(lambda: there.rig.app.reactor.connection_count == 1)


async def test_random_bytes_instead_of_a_handshake_end_in_silence(tmp_path: Path) -> None:
    async with site(tmp_path) as there:
        for size in (1, 63, 64, 65, 300, 5_000):
            stream = await trio.open_tcp_stream(*there.rig.address)
            await stream.send_all(os.urandom(size))
            await stream.send_eof()
            heard = 0
            try:
                while data := await stream.receive_some(65_536):
                    heard += len(data)
            except trio.BrokenResourceError:
                pass
            assert heard in (0, 234), "at most the answer of the handshake, which any 64 bytes get"
            await stream.aclose()
