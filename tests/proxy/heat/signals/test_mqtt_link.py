"""The link to a broker without a broker: bounds, refusals, silence, and bytes that are no MQTT."""

from collections.abc import Callable

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from moat.lib.mqtt import (
    MQTTConnAckPacket,
    MQTTDisconnectPacket,
    MQTTPublishAckPacket,
    MQTTPublishPacket,
    MQTTSubscribeAckPacket,
    PropertyType,
    QoS,
    ReasonCode,
)
from trio.testing import MockClock, memory_stream_pair

from proxy.heat.signals.mqtt_link import MAX_PACKET_BYTES, Account, Frames, Link, LinkLost, Message

ACCOUNT = Account("us", None, None, "t/state", "offline")


def encoded(*packets: object) -> bytes:
    out = bytearray()
    for packet in packets:
        packet.encode(out)  # type: ignore[attr-defined]  # every packet of the library has it
    return bytes(out)


WELCOME = encoded(MQTTConnAckPacket(session_present=False, reason_code=ReasonCode.SUCCESS))


async def live(link: Link, handle: Callable[[Message], None] = lambda message: None) -> None:
    await link.open(ACCOUNT)
    await link.run(handle)


async def why(act: object) -> str:
    """The reason a link gives for its end."""
    try:
        await act  # type: ignore[misc]  # a coroutine
    except (LinkLost, BaseExceptionGroup) as error:
        first: BaseException = error
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        assert isinstance(first, LinkLost)
        return str(first)
    raise AssertionError("the link lives")


async def test_a_broker_that_refuses_is_quoted() -> None:
    ours, theirs = memory_stream_pair()
    await theirs.send_all(encoded(MQTTConnAckPacket(session_present=False, reason_code=ReasonCode.BAD_USERNAME_OR_PASSWORD)))
    assert "password_file" in await why(Link(ours, 30).open(ACCOUNT))


async def test_what_we_send_first_bounds_what_the_broker_may_send() -> None:
    ours, theirs = memory_stream_pair()
    await theirs.send_all(WELCOME)
    await Link(ours, 30).open(ACCOUNT)
    hello = bytes(await theirs.receive_some())
    assert hello[:7] == b"\x10" + hello[1:2] + b"\x00\x04MQT"
    assert bytes([PropertyType.MAXIMUM_PACKET_SIZE]) + MAX_PACKET_BYTES.to_bytes(4, "big") in hello


async def test_another_client_with_our_name_is_named() -> None:
    ours, theirs = memory_stream_pair()
    await theirs.send_all(WELCOME + encoded(MQTTDisconnectPacket(reason_code=ReasonCode.SESSION_TAKEN_OVER)))
    assert "two proxies" in await why(live(Link(ours, 30)))


async def test_a_topic_that_we_may_not_read_or_write_is_named(nursery: trio.Nursery) -> None:
    ours, theirs = memory_stream_pair()
    await theirs.send_all(WELCOME)
    link = Link(ours, 30)
    await link.open(ACCOUNT)
    nursery.start_soon(link.run, lambda message: None)
    await theirs.send_all(encoded(MQTTSubscribeAckPacket(packet_id=1, reason_codes=[ReasonCode.NOT_AUTHORIZED])))
    assert "read t/demand: not authorized" in await why(link.subscribe(["t/demand"]))
    await theirs.send_all(encoded(MQTTPublishAckPacket(packet_id=2, reason_code=ReasonCode.QUOTA_EXCEEDED)))
    assert "take t/report: quota exceeded" in await why(link.publish("t/report", b"{}", retain=True))
    nursery.cancel_scope.cancel()


async def test_a_silent_broker_is_asked_and_then_given_up(autojump_clock: MockClock) -> None:
    ours, theirs = memory_stream_pair()
    await theirs.send_all(WELCOME)
    link = Link(ours, 20)
    await link.open(ACCOUNT)
    await theirs.receive_some()
    began_s = trio.current_time()
    assert "silent" in await why(link.run(lambda message: None))
    assert 30 <= trio.current_time() - began_s <= 40
    assert (await theirs.receive_some()).startswith(b"\xc0\x00")


async def test_an_unanswered_publication_ends_the_link(autojump_clock: MockClock) -> None:
    ours, theirs = memory_stream_pair()
    await theirs.send_all(WELCOME)
    link = Link(ours, 60)
    await link.open(ACCOUNT)
    assert "did not answer" in await why(link.publish("t/report", b"{}", retain=True))


async def test_messages_are_handed_over_with_what_the_broker_said_of_them() -> None:
    ours, theirs = memory_stream_pair()
    message = MQTTPublishPacket(
        topic="t/demand",
        payload=b"\xff{}",
        retain=True,
        qos=QoS.AT_LEAST_ONCE,
        packet_id=9,
        properties={PropertyType.MESSAGE_EXPIRY_INTERVAL: 7, PropertyType.CORRELATION_DATA: b"c"},
    )
    await theirs.send_all(WELCOME + encoded(message, MQTTPublishPacket(topic="t/stop", payload="text")))
    await theirs.send_eof()
    found: list[Message] = []
    assert "without a word" in await why(live(Link(ours, 30), found.append))
    assert found == [Message("t/demand", b"\xff{}", True, 7.0, b"c"), Message("t/stop", b"text", False, None, None)]


async def test_a_message_beyond_the_agreed_size_ends_the_link() -> None:
    ours, theirs = memory_stream_pair()
    await theirs.send_all(WELCOME + b"\x30\xff\xff\x7f")
    assert "2,097,151 bytes" in await why(live(Link(ours, 30)))


@given(st.lists(st.binary(max_size=300), max_size=5), st.integers(1, 7))
def test_packets_are_cut_the_same_however_the_bytes_arrive(bodies: list[bytes], size: int) -> None:
    packets = [encoded(MQTTPublishPacket(topic="t", payload=body)) for body in bodies]
    stream = b"".join(packets)
    frames = Frames()
    assert [each for k in range(0, len(stream), size) for each in frames.feed(stream[k : k + size])] == packets


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_bytes_that_are_no_mqtt_only_end_the_link(noise: bytes) -> None:
    async def main() -> None:
        ours, theirs = memory_stream_pair()
        await theirs.send_all(WELCOME + noise)
        await theirs.send_eof()
        assert await why(live(Link(ours, 30)))

    trio.run(main)
