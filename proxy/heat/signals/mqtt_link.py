"""One connection to an MQTT 5 broker: the library's protocol state machine on a trio stream.

It knows packets, acknowledgements, keep-alive and bounds. Not here: what topics mean, and what a lost link means (mqtt).
A link lives once: after any failure it is to be thrown away.
"""

import math
from collections.abc import Callable, Sequence
from typing import NoReturn, TypeVar

import msgspec
import trio
from moat.lib.mqtt import (
    MQTTClientState,
    MQTTConnAckPacket,
    MQTTConnectPacket,
    MQTTDisconnectPacket,
    MQTTException,
    MQTTPacket,
    MQTTPublishAckPacket,
    MQTTPublishPacket,
    MQTTSubscribeAckPacket,
    PropertyType,
    PropertyValue,
    QoS,
    ReasonCode,
    Subscription,
    Will,
)
from moat.lib.mqtt.client_state_machine import MQTTClientStateMachine

# Asked of the broker, and enforced here all the same: an honest set-point has some 300 bytes.
MAX_PACKET_BYTES = 16_384
RECEIVE_BYTES = 4_096
# Messages that may come at once, and how fast more may: a set-point every 100 ms is a fault, not a demand.
BURST = 40.0
MESSAGES_PER_S = 10.0
ANSWER_TIMEOUT_S = 10.0
FAILURE = 0x80  # reason codes from here on
Queued = TypeVar("Queued")

_WORDS = {
    ReasonCode.BAD_USERNAME_OR_PASSWORD: "bad user or password; check signals.mqtt.user and password_file",
    ReasonCode.NOT_AUTHORIZED: "not authorized; check signals.mqtt.user, password_file and the broker's access list",
    ReasonCode.UNSUPPORTED_PROTOCOL_VERSION: "the broker does not speak MQTT 5; update it",
    ReasonCode.SESSION_TAKEN_OVER: "another client uses our name: two proxies run with one topic prefix",
}


class LinkLost(Exception):
    """The broker is gone, refused us, or does not keep to the protocol; the text says which."""


class Account(msgspec.Struct, frozen=True):
    """Who we are to the broker. The will is what it publishes, retained, when we vanish."""

    client_id: str
    user: str | None
    password: str | None
    will_topic: str
    will: str


class Message(msgspec.Struct, frozen=True, gc=False):
    """One message of a subscription. is_stored: the broker kept it from earlier. expires_s: what is left of its life."""

    topic: str
    body: bytes
    is_stored: bool
    expires_s: float | None
    correlation: bytes | None


class Frames:
    """Cuts a byte stream into whole packets, none longer than MAX_PACKET_BYTES. Raises LinkLost for a longer one."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The packets that are complete now."""
        self._buffer += data
        packets = []
        while (length := self._length()) is not None and len(self._buffer) >= length:
            packets.append(bytes(self._buffer[:length]))
            del self._buffer[:length]
        return packets

    def _length(self) -> int | None:
        """Bytes of the first packet with its header; None: the header is not whole yet."""
        size = 0
        for position, byte in enumerate(self._buffer[1:5]):
            size |= (byte & 0x7F) << (7 * position)
            if byte < 0x80:
                if size > MAX_PACKET_BYTES:
                    raise LinkLost(f"the broker sent a packet of {size:,} bytes; at most {MAX_PACKET_BYTES:,} were agreed")
                return 2 + position + size
        if len(self._buffer) >= 5:
            raise LinkLost("the broker does not speak MQTT: no packet begins so")
        return None


class Link:
    """Use: `open`, then `run` in a task, then `subscribe` and `publish` from any task."""

    def __init__(self, stream: trio.abc.Stream, keep_alive_s: int) -> None:
        self._stream = stream
        self._keep_alive_s = keep_alive_s
        self._machine = MQTTClientStateMachine()
        self._frames = Frames()
        self._early: list[MQTTPacket] = []  # came in one piece with the broker's welcome
        self._writing = trio.Lock()
        self._waiting: dict[int, tuple[trio.Event, list[ReasonCode]]] = {}
        self._heard_s = trio.current_time()
        self._sent_s = trio.current_time()
        self._allowance = BURST
        self._counted_s = trio.current_time()

    async def open(self, account: Account) -> None:
        """CONNECT with an empty session, until the broker has let us in. Raises LinkLost."""
        will = Will(topic=account.will_topic, payload=account.will, retain=True, qos=QoS.AT_LEAST_ONCE)
        self._machine = MQTTClientStateMachine(account.client_id)
        self._machine.connect(username=account.user, password=account.password, will=will, keep_alive=self._keep_alive_s)
        self._machine.get_outbound_data()
        # The library's own CONNECT has no properties; this one bounds what the broker may send.
        out = bytearray()
        MQTTConnectPacket(
            client_id=account.client_id,
            will=will,
            username=account.user,
            password=account.password,
            clean_start=True,
            keep_alive=self._keep_alive_s,
            properties={PropertyType.MAXIMUM_PACKET_SIZE: MAX_PACKET_BYTES, PropertyType.RECEIVE_MAXIMUM: 20},
        ).encode(out)
        await self._send(bytes(out))
        while not self._early:
            self._early = await self._receive()
        welcome = self._early.pop(0)
        if not isinstance(welcome, MQTTConnAckPacket):
            raise LinkLost("the broker did not answer to our CONNECT")
        if welcome.reason_code >= FAILURE:
            raise LinkLost(f"the broker refused us: {_words(welcome.reason_code)}")
        asked_s = self._machine.keep_alive  # the broker's own wish; the library leaves None where it has none
        self._keep_alive_s = asked_s or self._keep_alive_s

    async def run(self, handle: Callable[[Message], None]) -> NoReturn:
        """Read for ever, a plain call for each message, and keep the link alive. Ends by raising LinkLost.

        Messages beyond MESSAGES_PER_S wait in the broker; it drops what it cannot keep.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_alive)
            while True:
                packets, self._early = self._early or await self._receive(), []
                for packet in packets:
                    if isinstance(packet, MQTTPublishPacket):
                        await self._throttle()
                        handle(_message(packet))
                    else:
                        self._take(packet)

    async def subscribe(self, topics: Sequence[str]) -> None:
        """Follow topics; stored messages come marked as such. Raises LinkLost when the broker refuses one."""
        wanted = [Subscription(topic, max_qos=QoS.AT_LEAST_ONCE, retain_as_published=False) for topic in topics]
        packet_id = self._queued(lambda: self._machine.subscribe(wanted))
        for topic, code in zip(topics, await self._answered(packet_id), strict=True):
            if code >= FAILURE:
                raise LinkLost(f"the broker does not let us read {topic}: {_words(code)}")

    async def publish(
        self, topic: str, body: bytes, *, retain: bool, expires_s: float | None = None, correlation: bytes | None = None
    ) -> None:
        """Publish and wait for the acknowledgement. Raises LinkLost when the broker refuses or does not answer."""
        properties: dict[PropertyType, PropertyValue] = {}
        if expires_s is not None:
            properties[PropertyType.MESSAGE_EXPIRY_INTERVAL] = math.ceil(expires_s)
        if correlation is not None:
            properties[PropertyType.CORRELATION_DATA] = correlation
        qos = min(QoS.AT_LEAST_ONCE, self._machine.cap.qos)
        keep = retain and self._machine.cap.retain
        packet_id = self._queued(lambda: self._machine.publish(topic, body, qos=qos, retain=keep, properties=properties))
        if packet_id is None:
            await self._flush()
            return
        code = (await self._answered(packet_id))[0]
        if code >= FAILURE:
            raise LinkLost(f"the broker does not take {topic}: {_words(code)}")

    async def close(self) -> None:
        """Take leave so that the broker publishes the will at once. Within two seconds, also when cancelled; never raises."""
        with trio.move_on_after(2.0, shield=True):
            try:
                if self._machine.state is MQTTClientState.CONNECTED:
                    self._machine.disconnect(ReasonCode.DISCONNECT_WITH_WILL_MESSAGE)
                    await self._flush()
            except LinkLost:
                pass
            await trio.aclose_forcefully(self._stream)

    @staticmethod
    def _queued(act: Callable[[], Queued]) -> Queued:
        """Let the state machine queue a packet. Raises LinkLost when the broker has taken leave meanwhile."""
        try:
            return act()
        except MQTTException as error:
            raise LinkLost(str(error)) from error

    async def _answered(self, packet_id: int) -> list[ReasonCode]:
        """Send what is queued, and give the broker's reason codes to this packet."""
        answered, codes = self._waiting[packet_id] = trio.Event(), []
        try:
            with trio.fail_after(ANSWER_TIMEOUT_S):
                await self._flush()
                await answered.wait()
        except trio.TooSlowError as error:
            raise LinkLost(f"the broker did not answer within {ANSWER_TIMEOUT_S:.0f} s") from error
        finally:
            self._waiting.pop(packet_id, None)
        return codes

    def _take(self, packet: MQTTPacket) -> None:
        """Hand an acknowledgement to who waits for it. Raises LinkLost when the broker takes leave."""
        if isinstance(packet, MQTTDisconnectPacket):
            raise LinkLost(f"the broker closed the link: {_words(packet.reason_code)}")
        if isinstance(packet, MQTTPublishAckPacket):
            codes = [packet.reason_code]
        elif isinstance(packet, MQTTSubscribeAckPacket):
            codes = list(packet.reason_codes)
        else:
            return
        waiting = self._waiting.get(packet.packet_id)
        if waiting is not None:
            waiting[1].extend(codes)
            waiting[0].set()

    async def _keep_alive(self) -> None:
        """PINGREQ when we were silent for half the agreed time; a broker that is silent for one and a half is gone."""
        while True:
            await trio.sleep(self._keep_alive_s / 4)
            now_s = trio.current_time()
            if now_s - self._heard_s > 1.5 * self._keep_alive_s:
                raise LinkLost(f"the broker has been silent for {now_s - self._heard_s:.0f} s")
            if now_s - min(self._sent_s, self._heard_s) >= self._keep_alive_s / 2:
                self._queued(self._machine.ping)
                await self._flush()

    async def _throttle(self) -> None:
        now_s = trio.current_time()
        self._allowance = min(BURST, self._allowance + (now_s - self._counted_s) * MESSAGES_PER_S) - 1
        self._counted_s = now_s
        if self._allowance < 0:
            await trio.sleep(-self._allowance / MESSAGES_PER_S)
            # What waits in our buffer was heard, too: a busy broker is not a silent one.
            self._heard_s = trio.current_time()

    async def _receive(self) -> list[MQTTPacket]:
        """At least one chunk's packets. Raises LinkLost."""
        try:
            data = await self._stream.receive_some(RECEIVE_BYTES)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise LinkLost("the connection broke") from error
        if not data:
            # Some brokers say nothing either to a client whose name another one came with.
            raise LinkLost("the broker closed the connection without a word: it restarted, or another proxy uses our topic prefix")
        self._heard_s = trio.current_time()
        packets: list[MQTTPacket] = []
        try:
            for frame in self._frames.feed(bytes(data)):
                packets.extend(self._machine.feed_bytes(frame))
        except (MQTTException, RuntimeError, ValueError, LookupError, AssertionError) as error:
            # The library raises all of these for bytes that are no MQTT.
            raise LinkLost(f"the broker does not keep to MQTT 5: {error}") from error
        await self._flush()
        return packets

    async def _flush(self) -> None:
        data = bytes(self._machine.get_outbound_data())
        if data:
            await self._send(data)

    async def _send(self, data: bytes) -> None:
        try:
            with trio.fail_after(ANSWER_TIMEOUT_S):
                async with self._writing:
                    await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError) as error:
            raise LinkLost("the broker does not read") from error
        self._sent_s = trio.current_time()


def _message(packet: MQTTPublishPacket) -> Message:
    body = packet.payload.encode("utf-8", "surrogateescape") if isinstance(packet.payload, str) else bytes(packet.payload)
    expiry = packet.properties.get(PropertyType.MESSAGE_EXPIRY_INTERVAL)
    correlation = packet.properties.get(PropertyType.CORRELATION_DATA)
    return Message(
        topic=packet.topic,
        body=body,
        is_stored=packet.retain,
        expires_s=float(expiry) if isinstance(expiry, int) else None,
        correlation=bytes(correlation) if isinstance(correlation, bytes | bytearray | memoryview) else None,
    )


def _words(code: ReasonCode) -> str:
    return _WORDS.get(code) or code.name.lower().replace("_", " ")
