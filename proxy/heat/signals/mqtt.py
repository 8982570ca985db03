"""Heat demand and reports over an MQTT 5 broker: what our topics mean, and a link that is made again whenever it is lost.

Read: PREFIX/demand (the body of REST), /outdoor, /limit, /stop (see bodies). Written: /answer to each of them, /report (stored,
expiring) and /state (stored: online; offline is our last will). Whether a demand may rule is heat control's to say. A message that
the broker kept must carry its own times: nobody knows how long it lay there.
"""

import random
import ssl
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import trio

from proxy.config import MqttSignal, SiteConfig
from proxy.heat.demand import DemandAccepted, DemandRefused, HeatDemand
from proxy.heat.signals import bodies
from proxy.heat.signals.mqtt_link import Account, Link, LinkLost, Message
from proxy.heat.signals.port import SignalPort
from proxy.heat.signals.rest import decode_demand
from proxy.heat.signals.status import SignalStatus

SOURCE = "mqtt"
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
# A link that lived this long was a good one: the next try is soon again.
GOOD_LIFE_S = 60.0
CONNECT_TIMEOUT_S = 10.0
ANSWERS_WAITING = 32
ANSWER_LIFE_S = 60.0
# A report that nobody renewed for so many periods is removed from the broker: the last will is quicker, this is for a lost broker.
REPORT_LIFE_PERIODS = 3.0


class Answer(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What became of a message: `code` as in HTTP, with the reason and remedy of a refusal."""

    to: str
    code: int
    reason: str | None = None
    remedy: str | None = None
    source: str | None = None
    epoch: int | None = None
    sequence: int | None = None
    state: str | None = None
    last_epoch: int | None = None
    last_sequence: int | None = None


def prefix_of(config: SiteConfig) -> str:
    """The first part of every topic."""
    return config.signals.mqtt.topic or f"thermostratum/{config.site.name}"


def address_of(broker: str) -> tuple[str, int, bool]:
    """Host, port and whether it is TLS. Raises ValueError for a port that is none."""
    parts = urlsplit(broker)
    is_tls = parts.scheme == "mqtts"
    return parts.hostname or "", parts.port or (8883 if is_tls else 1883), is_tls


async def serve(
    config: SiteConfig,
    port: SignalPort,
    status: SignalStatus,
    wall_clock: Callable[[], float],
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Keep a link to the broker until cancelled; `task_status` is told at once, for a site does not wait for a broker."""
    adapter = Mqtt(config, port, status, wall_clock)
    task_status.started()
    pause_s = FIRST_PAUSE_S
    while True:
        begun_s = trio.current_time()
        status.lost(await _life(adapter))
        if trio.current_time() - begun_s > GOOD_LIFE_S:
            pause_s = FIRST_PAUSE_S
        # Sites that lost the same broker do not all come back in the same moment.
        await trio.sleep(pause_s * random.uniform(0.5, 1.0))
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


async def _life(adapter: "Mqtt") -> str:
    """One link from its first byte to its end; why it ended."""
    reason = "ended"
    try:
        await adapter.live()
    except* (LinkLost, OSError) as group:
        first: BaseException = group
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        reason = str(first)
    return reason


class Mqtt:
    """The adapter: `live` is one link, `take` what a message does."""

    def __init__(self, config: SiteConfig, port: SignalPort, status: SignalStatus, wall_clock: Callable[[], float]) -> None:
        self._config: MqttSignal = config.signals.mqtt
        self._prefix = prefix_of(config)
        self._port = port
        self._status = status
        self._wall_clock = wall_clock
        self._takes: dict[str, Callable[[Message, float], Answer]] = {
            f"{self._prefix}/demand": self._demand,
            f"{self._prefix}/outdoor": self._outdoor,
            f"{self._prefix}/limit": self._limit,
            f"{self._prefix}/stop": self._stop,
        }

    async def live(self) -> None:
        """Connect, follow, report. Ends by raising LinkLost or OSError, alone or in a group."""
        link = Link(await self._connect(), self._config.keep_alive_s)
        try:
            await link.open(self._account())
            # The newest answers are dropped when nobody takes them away: what was decided stays in events and ledger.
            send, receive = trio.open_memory_channel[tuple[Answer, bytes | None]](ANSWERS_WAITING)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(link.run, lambda message: self._handle(message, send))
                await link.subscribe(list(self._takes))
                await link.publish(f"{self._prefix}/state", b"online", retain=True)
                self._status.connected()
                nursery.start_soon(self._answer, link, receive)
                nursery.start_soon(self._report, link)
        finally:
            await link.close()

    def take(self, message: Message) -> Answer | None:
        """Do what a message says; None when it says nothing (the empty one that clears a stored message). Never raises."""
        act = self._takes.get(message.topic)
        if act is None or not message.body:
            return None
        self._status.heard()
        name = message.topic.removeprefix(f"{self._prefix}/")
        try:
            if message.expires_s == 0:
                raise bodies.Refusal("the message had expired when it came; check the delay in the broker")
            answer = act(message, self._wall_clock())
        except bodies.Refusal as error:
            answer = Answer(name, 422, str(error))
        if answer.code < 300:
            self._status.accepted()
        else:
            # Only what was judged as a demand is in heat control's own events already.
            self._status.refused(f"{name}: {answer.reason}", is_told=answer.sequence is not None)
        return answer

    def _demand(self, message: Message, now_unix_s: float) -> Answer:
        demand = decode_demand(message.body, SOURCE, now_unix_s)
        if isinstance(demand, DemandRefused):
            return _refused(demand, None)
        if demand.source != SOURCE:
            # Who may write to the topic is the broker's business, so no name in a body may pass for a sender of another transport.
            demand = msgspec.structs.replace(demand, source=f"{SOURCE}:{demand.source}"[:63])
        if message.is_stored and _moves(message.body, now_unix_s):
            raise bodies.Refusal(
                "a retained demand with a relative validity is as old as nobody knows; send valid_until, or do not retain it"
            )
        late_s = now_unix_s - demand.valid_until_unix_s
        if message.is_stored and late_s >= 0:
            raise bodies.Refusal(f"the retained demand expired {late_s:,.0f} s ago; retain a new one, or clear the topic")
        answer = self._port.submit_demand(demand, now_unix_s)
        self._status.asked(answer)
        if isinstance(answer, DemandRefused):
            return _refused(answer, demand)
        return _accepted(answer)

    def _outdoor(self, message: Message, now_unix_s: float) -> Answer:
        sent = bodies.decode(message.body, bodies.Outdoor)
        at_unix_s = bodies.outdoor_at(sent, now_unix_s, is_stored=message.is_stored)
        return _verdict("outdoor", self._port.set_outdoor(sent.outdoor_c, SOURCE, at_unix_s))

    def _limit(self, message: Message, now_unix_s: float) -> Answer:
        sent = bodies.decode(message.body, bodies.Limit)
        until_unix_s = bodies.limit_until(sent, now_unix_s)
        power_w = None if sent.power_kw is None else sent.power_kw * 1000
        return _verdict("limit", self._port.set_import_limit(power_w, until_unix_s, SOURCE))

    def _stop(self, message: Message, now_unix_s: float) -> Answer:
        self._port.set_emergency_stop(bodies.decode(message.body, bodies.Stop).stop, SOURCE)
        return _verdict("stop", None)

    def _handle(self, message: Message, answers: trio.MemorySendChannel[tuple[Answer, bytes | None]]) -> None:
        answer = self.take(message)
        if answer is not None:
            try:
                answers.send_nowait((answer, message.correlation))
            except trio.WouldBlock:
                return

    async def _answer(self, link: Link, answers: trio.MemoryReceiveChannel[tuple[Answer, bytes | None]]) -> None:
        async for answer, correlation in answers:
            body = msgspec.json.encode(answer)
            await link.publish(f"{self._prefix}/answer", body, retain=False, expires_s=ANSWER_LIFE_S, correlation=correlation)

    async def _report(self, link: Link) -> None:
        period_s = self._config.report_period_s
        while True:
            body = msgspec.json.encode(self._port.report(self._wall_clock()))
            await link.publish(f"{self._prefix}/report", body, retain=True, expires_s=REPORT_LIFE_PERIODS * period_s)
            self._status.reported()
            await trio.sleep(period_s)

    async def _connect(self) -> trio.abc.Stream:
        """A stream to the broker. Raises LinkLost or OSError."""
        host, port, is_tls = address_of(self._config.broker or "")
        try:
            with trio.fail_after(CONNECT_TIMEOUT_S):
                stream: trio.SocketStream = await trio.open_tcp_stream(host, port)
                if not is_tls:
                    return stream
                context = ssl.create_default_context(cafile=self._config.tls_ca)
                tls = trio.SSLStream(stream, context, server_hostname=host)
                await tls.do_handshake()
                return tls
        except trio.TooSlowError as error:
            raise LinkLost(f"no answer from {host}:{port} within {CONNECT_TIMEOUT_S:.0f} s") from error
        except trio.BrokenResourceError as error:
            raise LinkLost(f"no TLS with {host}:{port}: {error.__cause__ or error}") from error

    def _account(self) -> Account:
        """Raises OSError when the password cannot be read; it is read each time, so that a new one needs no restart."""
        path = self._config.password_file
        return Account(
            client_id=f"thermostratum:{self._prefix}"[:64],
            user=self._config.user,
            password=None if path is None else Path(path).read_text(encoding="utf-8").rstrip("\r\n"),
            will_topic=f"{self._prefix}/state",
            will="offline",
        )


def _moves(body: bytes, now_unix_s: float) -> bool:
    """Whether the demand ends later when it is read later."""
    first, second = (decode_demand(body, SOURCE, moment) for moment in (now_unix_s, now_unix_s + 1))
    if not isinstance(first, HeatDemand) or not isinstance(second, HeatDemand):
        return True
    return first.valid_until_unix_s != second.valid_until_unix_s


def _verdict(name: str, refusal: str | None) -> Answer:
    return Answer(name, 200) if refusal is None else Answer(name, 422, refusal)


def _accepted(answer: DemandAccepted) -> Answer:
    return Answer("demand", 200, source=answer.source, epoch=answer.epoch, sequence=answer.sequence, state=answer.state)


def _refused(refusal: DemandRefused, demand: HeatDemand | None) -> Answer:
    return Answer(
        "demand",
        refusal.code,
        refusal.reason,
        refusal.remedy,
        source=None if demand is None else demand.source,
        epoch=None if demand is None else demand.epoch,
        sequence=None if demand is None else demand.sequence,
        last_epoch=refusal.last_epoch,
        last_sequence=refusal.last_sequence,
    )
