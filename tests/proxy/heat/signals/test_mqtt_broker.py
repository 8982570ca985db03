"""The MQTT adapter against Debian's broker, with the library's own client as the utility."""

import json
import math
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme
from moat.lib.mqtt import PropertyType, QoS, RetainHandling
from moat.lib.mqtt.async_client import AsyncMQTTClient, AsyncMQTTSubscription

from proxy import config
from proxy.config import SiteConfig
from proxy.events import EventLog
from proxy.heat.signals import mqtt
from proxy.heat.signals.status import SignalStatus
from tests.support.mosquitto import Broker, free_port, needs_mosquitto
from tests.support.patience import PATIENCE_S
from tests.support.signal_port import RecordingPort

pytestmark = [needs_mosquitto, pytest.mark.slow]
NOW = 1_768_435_200.0
PREFIX = "thermostratum/hall"


class Rig:
    """An adapter that runs, the plant behind it, and its utility."""

    def __init__(self, nursery: trio.Nursery, running: Broker, **keys: object) -> None:
        self.broker = running
        self.port = RecordingPort()
        self.events = EventLog(lambda: NOW)
        self.now = NOW
        keys = {"broker": f"mqtt://127.0.0.1:{running.port}", "report_period_s": 1.0, **keys}
        site = SiteConfig(
            site=config.Site(name="hall"),
            pools=[config.Pool(name="p", url="stratum+tcp://127.0.0.1:1", user="u")],
            signals=config.Signals(mqtt=config.MqttSignal(**keys)),  # type: ignore[arg-type]  # the table's own keys
        )
        self.status = SignalStatus("mqtt", "broker", self.events, trio.current_time)
        self.scope = trio.CancelScope()
        nursery.start_soon(self._serve, site)

    async def _serve(self, site: SiteConfig) -> None:
        with self.scope:
            await mqtt.serve(site, self.port, self.status, lambda: self.now)

    async def connected(self) -> None:
        await self.until(lambda: self.status.view().connected)

    async def until(self, condition: Callable[[], bool]) -> None:
        with trio.fail_after(PATIENCE_S):
            while not condition():
                await trio.sleep(0.01)

    @asynccontextmanager
    async def utility(self, **keys: Any) -> AsyncIterator["Utility"]:
        connecting = AsyncMQTTClient("127.0.0.1", **{"port": self.broker.port, **keys})
        async with connecting as client, client.subscribe(f"{PREFIX}/answer") as answers:
            yield Utility(client, answers)


class Utility:
    def __init__(self, client: AsyncMQTTClient, answers: AsyncMQTTSubscription) -> None:
        self.client = client
        self.answers = answers
        self._asked = 0

    async def send(
        self, topic: str, body: object, *, retain: bool = False, expires_s: int | None = None, correlation: bytes | None = None
    ) -> None:
        properties: dict[PropertyType, Any] = {}
        if expires_s is not None:
            properties[PropertyType.MESSAGE_EXPIRY_INTERVAL] = expires_s
        if correlation is not None:
            properties[PropertyType.CORRELATION_DATA] = correlation
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        await self.client.publish(f"{PREFIX}/{topic}", raw, qos=QoS.AT_LEAST_ONCE, retain=retain, properties=properties)

    async def ask(self, topic: str, body: object, **how: Any) -> dict[str, Any]:
        """Send, and wait for the answer to just this."""
        self._asked += 1
        mark = str(self._asked).encode()
        await self.send(topic, body, correlation=mark, **how)
        with trio.fail_after(PATIENCE_S):
            async for packet in self.answers:
                if packet.properties.get(PropertyType.CORRELATION_DATA) == mark:
                    break
        answer: dict[str, Any] = json.loads(packet.payload)
        return answer

    async def stored(self, topic: str) -> bytes:
        """What the broker has stored, or stores next, under a topic."""
        async with self.client.subscribe(f"{PREFIX}/{topic}", retain_handling=RetainHandling.SEND_RETAINED) as messages:
            with trio.fail_after(PATIENCE_S):
                packet = await messages.__anext__()
        return packet.payload.encode() if isinstance(packet.payload, str) else bytes(packet.payload)


def demand(sequence: int, power_kw: float = 1_500.0, **fields: object) -> dict[str, object]:
    return {"sequence": sequence, "power_kw": power_kw, "issued_at": NOW, "valid_until": NOW + 900, **fields}


@pytest.fixture
async def broker(tmp_path: Path, nursery: trio.Nursery) -> AsyncIterator[Broker]:
    broker = Broker(tmp_path)
    await broker.start(nursery)
    yield broker
    await broker.kill()


async def test_a_demand_is_taken_and_answered_with_what_tied_them_together(broker: Broker, nursery: trio.Nursery) -> None:
    rig = Rig(nursery, broker)
    await rig.connected()
    async with rig.utility() as utility:
        await utility.send("demand", demand(1, source="dh"), correlation=b"7")
        with trio.fail_after(PATIENCE_S):
            packet = await utility.answers.__anext__()
    assert json.loads(packet.payload)["code"] == 200
    assert packet.properties[PropertyType.CORRELATION_DATA] == b"7"
    assert rig.port.in_force is not None
    assert (rig.port.in_force.source, rig.port.in_force.power_w) == ("mqtt:dh", 1_500_000.0)
    assert rig.status.view().message_age_s is not None


@pytest.mark.parametrize(
    ("body", "code", "word"),
    [
        (b'{"sequence": 2, "power_kw": NaN, "validity_s": 900}', 400, "NaN"),
        (b'{"sequence": 2, "power_kw": 1e999, "validity_s": 900}', 400, ""),
        (demand(2, -5.0), 422, "negative"),
        (demand(2, 1_500_000.0), 422, "absurd"),
        (demand(1, 1_400.0), 409, "already used"),
        (demand(2, issued_at=NOW - 2_000, valid_from=NOW - 1_800, valid_until=NOW - 900), 422, "expired"),
        (demand(2, source="../etc"), 422, "name"),
        (demand(2, power_kw="1500"), 400, "power_kw"),
        (b'{"sequence": 2, "power_kw": 1, "power_kw": 2, "validity_s": 9}', 400, "twice"),
        (b"\x00\xff\xfe", 400, "JSON"),
        (b"[" * 4_000, 400, ""),
        (b'{"sequence": 2, "power_kw": 1' + b" " * 5_000 + b"}", 400, "long"),
    ],
)
async def test_a_bad_demand_is_refused_with_the_reason_and_the_good_one_stays(
    broker: Broker, nursery: trio.Nursery, body: object, code: int, word: str
) -> None:
    rig = Rig(nursery, broker)
    await rig.connected()
    async with rig.utility() as utility:
        assert (await utility.ask("demand", demand(1)))["code"] == 200
        answer = await utility.ask("demand", body)
    assert answer["code"] in (code, 422)
    assert word in answer["reason"]
    assert [taken.sequence for taken in rig.port.accepted] == [1]
    assert rig.status.view().refused == 1


async def test_a_giant_message_never_reaches_us_and_harms_nothing(broker: Broker, nursery: trio.Nursery) -> None:
    rig = Rig(nursery, broker)
    await rig.connected()
    async with rig.utility() as utility:
        await utility.send("demand", b"{" + b" " * 2_000_000, retain=True)
        assert (await utility.ask("demand", demand(1)))["code"] == 200
    view = rig.status.view()
    assert (view.connected, view.reconnects, view.accepted, view.refused) == (True, 0, 1, 0)


async def test_outdoor_temperature_limit_and_stop_reach_the_plant(broker: Broker, nursery: trio.Nursery) -> None:
    rig = Rig(nursery, broker)
    await rig.connected()
    async with rig.utility() as utility:
        assert (await utility.ask("outdoor", {"outdoor_c": -8.5}))["code"] == 200
        assert (await utility.ask("limit", {"power_kw": 1_200, "valid_until_unix_s": NOW + 900}))["code"] == 200
        assert (await utility.ask("stop", {"stop": True}))["code"] == 200
        assert (await utility.ask("outdoor", {"outdoor_c": 400}))["code"] == 422
        assert (await utility.ask("limit", {"power_kw": 1_200}))["code"] == 422
        assert (await utility.ask("limit", {"power_kw": None}))["code"] == 200
    assert rig.port.outdoor == [(-8.5, "mqtt", NOW)]
    assert rig.port.limits == [(1_200_000.0, NOW + 900, "mqtt"), (None, NOW, "mqtt")]
    assert rig.port.stops == {"mqtt": True}


async def test_the_report_is_stored_and_the_state_says_online_then_offline(broker: Broker, nursery: trio.Nursery) -> None:
    rig = Rig(nursery, broker)
    await rig.connected()
    async with rig.utility() as utility:
        assert await utility.stored("state") == b"online"
        report = json.loads(await utility.stored("report"))
        assert (report["heat_w"], report["quality"], report["flow_l_per_min"]) == (1_480_000.0, "measured", None)
        assert report["alarms"] == ["loop a: flow below 60 %"]
        rig.scope.cancel()
        async with utility.client.subscribe(f"{PREFIX}/state", retain_handling=RetainHandling.NO_RETAINED) as states:
            with trio.fail_after(PATIENCE_S):
                packet = await states.__anext__()
        assert bytes(packet.payload.encode() if isinstance(packet.payload, str) else packet.payload) == b"offline"


async def test_a_broker_that_is_killed_and_comes_back_brings_its_retained_set_point(
    broker: Broker, nursery: trio.Nursery, tmp_path: Path
) -> None:
    rig = Rig(nursery, broker)
    await rig.connected()
    await broker.kill()
    await rig.until(lambda: not rig.status.view().connected)
    await broker.start(nursery)
    async with rig.utility() as utility:
        await utility.send("demand", demand(5), retain=True)
    await rig.connected()
    await rig.until(lambda: len(rig.port.accepted) == 1)
    view = rig.status.view()
    assert (view.reconnects, view.reason) == (1, None)
    told = [event.name for event in rig.events.since(0)]
    assert (told[:2], told[-1]) == (["signal.connected", "signal.lost"], "signal.connected")


async def test_a_set_point_that_was_stored_before_we_came_is_taken_only_while_it_is_valid(
    broker: Broker, nursery: trio.Nursery
) -> None:
    async with AsyncMQTTClient("127.0.0.1", broker.port) as early:
        await early.publish(f"{PREFIX}/demand", json.dumps(demand(1)), qos=QoS.AT_LEAST_ONCE, retain=True)
    on_time, late = Rig(nursery, broker), Rig(nursery, broker, topic="other")
    await on_time.until(lambda: len(on_time.port.accepted) == 1)
    on_time.scope.cancel()
    late.scope.cancel()
    stale = Rig(nursery, broker)
    stale.now = NOW + 1_000
    await stale.until(lambda: stale.status.view().refused == 1)
    assert "expired" in str(stale.status.view().last_refusal)
    assert not stale.port.accepted


async def test_a_stored_set_point_without_times_of_its_own_is_refused(broker: Broker, nursery: trio.Nursery) -> None:
    async with AsyncMQTTClient("127.0.0.1", broker.port) as early:
        body = json.dumps({"sequence": 1, "power_kw": 1_500, "validity_s": 900})
        await early.publish(f"{PREFIX}/demand", body, qos=QoS.AT_LEAST_ONCE, retain=True)
    rig = Rig(nursery, broker)
    await rig.until(lambda: rig.status.view().refused == 1)
    assert "relative" in str(rig.status.view().last_refusal)
    async with rig.utility() as utility:
        assert (await utility.ask("demand", {"sequence": 1, "power_kw": 1_500, "validity_s": 900}))["code"] == 200


async def test_a_message_that_expired_in_the_broker_never_comes(broker: Broker, nursery: trio.Nursery) -> None:
    async with AsyncMQTTClient("127.0.0.1", broker.port) as early:
        await early.publish(
            f"{PREFIX}/demand",
            json.dumps(demand(1)),
            qos=QoS.AT_LEAST_ONCE,
            retain=True,
            properties={PropertyType.MESSAGE_EXPIRY_INTERVAL: 1},
        )
    await trio.sleep(2.1)
    rig = Rig(nursery, broker)
    await rig.connected()
    async with rig.utility() as utility:
        assert (await utility.ask("demand", demand(2)))["code"] == 200
    assert [taken.sequence for taken in rig.port.accepted] == [2]


async def test_tls_and_a_password_from_a_file_are_used_and_wrong_ones_are_named(tmp_path: Path, nursery: trio.Nursery) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(tmp_path / "users"), "hall", "right"], check=True)
    plain = free_port()
    broker = Broker(
        tmp_path,
        "allow_anonymous false",
        f"password_file {tmp_path}/users",
        f"certfile {tmp_path}/cert.pem",
        f"keyfile {tmp_path}/key.pem",
        f"listener {plain} 127.0.0.1",
    )
    await broker.start(nursery)
    secret = tmp_path / "password"
    secret.write_text("wrong\n")
    rig = Rig(
        nursery,
        broker,
        broker=f"mqtts://127.0.0.1:{broker.port}",
        tls_ca=str(tmp_path / "ca.pem"),
        user="hall",
        password_file=str(secret),
    )
    await rig.until(lambda: "password_file" in str(rig.status.view().reason))
    secret.write_text("right\n")
    await rig.connected()
    async with rig.utility(port=plain, username="hall", password="right") as utility:
        assert (await utility.ask("demand", demand(1)))["code"] == 200
    stranger = Rig(nursery, broker, broker=f"mqtts://127.0.0.1:{broker.port}")
    await stranger.until(lambda: "certificate" in str(stranger.status.view().reason))
    await broker.kill()


async def test_a_second_proxy_with_our_name_is_named_as_the_reason(broker: Broker, nursery: trio.Nursery) -> None:
    first = Rig(nursery, broker)
    await first.connected()
    second = Rig(nursery, broker)
    await first.until(lambda: "another proxy" in str(first.status.view().reason))
    first.scope.cancel()
    await second.connected()


async def test_a_flood_of_messages_waits_in_the_broker(broker: Broker, nursery: trio.Nursery) -> None:
    rig = Rig(nursery, broker)
    await rig.connected()
    async with AsyncMQTTClient("127.0.0.1", broker.port) as flooder:
        for number in range(300):
            await flooder.publish(f"{PREFIX}/outdoor", json.dumps({"outdoor_c": number % 10}), qos=QoS.AT_LEAST_ONCE)
    await rig.until(lambda: len(rig.port.outdoor) >= 40)
    assert len(rig.port.outdoor) < 100
    assert not math.isnan(rig.port.outdoor[0][0])
    assert rig.status.view().connected
