"""The bytes between us and a pool, whatever they say."""

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair

from proxy.errors import PoolError
from proxy.upstream.stream import MAX_UNSENT_BYTES, Outbox, as_pool_error, first_failure, innermost


def test_an_outbox_takes_everything_and_says_when_it_is_enough() -> None:
    outbox = Outbox()
    outbox.put(bytes(MAX_UNSENT_BYTES - 1))
    assert outbox.has_room
    outbox.put(b"x")
    assert not outbox.has_room
    assert len(outbox.take()) == MAX_UNSENT_BYTES
    assert outbox.has_room
    assert outbox.take() == b""


async def test_what_is_put_leaves_in_order_and_what_comes_later_leaves_too(nursery: trio.Nursery) -> None:
    ours, theirs = memory_stream_pair()
    outbox = Outbox()
    nursery.start_soon(outbox.write, ours, 5.0)
    heard = b""
    for piece in (b"one", b"two", b"three"):
        outbox.put(piece)
        while not heard.endswith(piece):
            heard += await theirs.receive_some(100)
    assert heard == b"onetwothree"


class Choked(trio.abc.SendStream):
    """Takes nothing."""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.sleep_forever()

    async def wait_send_all_might_not_block(self) -> None:
        await trio.sleep_forever()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


async def test_a_pool_that_takes_nothing_is_given_up(autojump_clock: MockClock) -> None:
    _, theirs = memory_stream_pair()
    outbox = Outbox()
    outbox.put(b"hello")
    with pytest.raises(PoolError, match="no bytes for 5 s"):
        await outbox.write(trio.StapledStream(Choked(), theirs.receive_stream), 5.0)  # type: ignore[arg-type]


async def test_the_half_that_breaks_first_ends_the_other_and_is_the_reason() -> None:
    ours, theirs = memory_stream_pair()

    async def read(stream: trio.abc.Stream) -> None:
        if not await stream.receive_some(1):
            raise PoolError("closed by the pool")

    async def write(stream: trio.abc.Stream) -> None:
        await trio.sleep_forever()

    await theirs.aclose()
    assert str(await first_failure(ours, write, read)) == "closed by the pool"


async def test_a_bug_in_one_half_is_raised_and_no_failure_of_the_pool() -> None:
    ours, _ = memory_stream_pair()

    async def buggy(stream: trio.abc.Stream) -> None:
        await trio.lowlevel.checkpoint()
        raise KeyError("ours")

    with pytest.raises(ExceptionGroup) as caught:
        await first_failure(ours, buggy)
    assert caught.value.subgroup(KeyError) is not None


def test_of_several_addresses_the_operator_is_told_why_the_last_one_failed() -> None:
    tried = ExceptionGroup("all failed", [OSError("refused"), OSError("no route to host")])
    error = OSError("all attempts failed")
    error.__cause__ = tried
    assert innermost(error) == "no route to host"
    assert str(as_pool_error(error)) == "connection lost: no route to host"
