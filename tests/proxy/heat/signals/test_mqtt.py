"""What messages mean, without a link: stored ones need times of their own, and nothing a sender writes makes an adapter fail."""

import json

import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from proxy import config
from proxy.config import SiteConfig
from proxy.events import EventLog
from proxy.heat.signals.bodies import Limit, Outdoor, Refusal, Stop, decode, limit_until, outdoor_at
from proxy.heat.signals.mqtt import Answer, Mqtt, address_of
from proxy.heat.signals.mqtt_link import Message
from proxy.heat.signals.status import SignalStatus
from tests.support.patience import PATIENCE_S
from tests.support.signal_port import RecordingPort

NOW = 1_768_435_200.0
SITE = SiteConfig(site=config.Site(name="hall"), pools=[config.Pool(name="p", url="stratum+tcp://127.0.0.1:1", user="u")])
TOPICS = st.sampled_from(["demand", "outdoor", "limit", "stop"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.sampled_from(
    [
        "sequence",
        "power_kw",
        "validity_s",
        "valid_until",
        "issued_at",
        "outdoor_c",
        "at_unix_s",
        "valid_until_unix_s",
        "stop",
        "source",
    ]
)


class Rig:
    def __init__(self) -> None:
        self.port = RecordingPort()
        self.events = EventLog(lambda: NOW)
        self.now_s = 0.0
        self.status = SignalStatus("mqtt", "broker", self.events, lambda: self.now_s)
        self.adapter = Mqtt(SITE, self.port, self.status, lambda: NOW)

    def send(self, topic: str, body: object, *, is_stored: bool = False, expires_s: float | None = None) -> Answer | None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.adapter.take(Message(f"thermostratum/hall/{topic}", raw, is_stored, expires_s, None))

    def refusal(self, topic: str, body: object, **how: bool) -> str:
        answer = self.send(topic, body, **how)  # type: ignore[arg-type]  # flags of send
        assert answer is not None
        assert answer.code >= 400
        return str(answer.reason)


def test_the_empty_message_that_clears_a_topic_and_foreign_topics_say_nothing() -> None:
    rig = Rig()
    assert rig.send("demand", b"") is None
    assert rig.send("report", {"stop": True}) is None
    assert rig.status.view().message_age_s is None


def test_a_stored_demand_is_taken_with_its_own_times_only() -> None:
    rig = Rig()
    relative = {"sequence": 1, "power_kw": 1_500, "validity_s": 900}
    assert "relative" in rig.refusal("demand", relative, is_stored=True)
    late = {"sequence": 1, "power_kw": 1_500, "valid_from": NOW - 900, "valid_until": NOW - 60}
    assert "expired 60 s ago" in rig.refusal("demand", late, is_stored=True)
    answer = rig.send("demand", {"sequence": 1, "power_kw": 1_500, "valid_until": NOW + 60}, is_stored=True)
    assert answer is not None
    assert (answer.code, answer.source, answer.sequence) == (200, "mqtt", 1)


def test_a_stored_temperature_needs_its_age_and_an_old_one_is_refused() -> None:
    rig = Rig()
    assert "no age" in rig.refusal("outdoor", {"outdoor_c": -8.5}, is_stored=True)
    assert "old" in rig.refusal("outdoor", {"outdoor_c": -8.5, "at_unix_s": NOW - 4_000}, is_stored=True)
    assert rig.send("outdoor", {"outdoor_c": -8.5, "at_unix_s": NOW - 100}, is_stored=True) == Answer("outdoor", 200)
    assert rig.port.outdoor == [(-8.5, "mqtt", NOW - 100)]


def test_no_name_in_a_body_passes_for_a_sender_of_another_transport() -> None:
    rig = Rig()
    answer = rig.send("demand", {"sequence": 1, "power_kw": 1, "validity_s": 9, "source": "city-heat"})
    assert answer is not None
    assert answer.source == "mqtt:city-heat"


def test_the_same_complaint_is_counted_each_time_and_told_once_a_minute() -> None:
    rig = Rig()
    for _ in range(5):
        rig.refusal("stop", b"nonsense")
    assert rig.status.view().refused == 5
    assert len(rig.events.since(0)) == 1
    rig.now_s = 61.0
    rig.refusal("stop", b"nonsense")
    assert len(rig.events.since(0)) == 2


@given(
    TOPICS,
    st.binary(max_size=64) | st.dictionaries(FIELDS, VALUES, max_size=5).map(lambda body: json.dumps(body).encode()),
    st.booleans(),
)
def test_whatever_a_sender_writes_is_taken_or_refused_with_a_reason(topic: str, body: bytes, is_stored: bool) -> None:
    rig = Rig()
    answer = rig.send(topic, body, is_stored=is_stored)
    assert answer is None if not body else answer is not None and (answer.code == 200 or answer.reason)
    msgspec.json.encode(answer)


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b'{"power_kw": -1, "valid_until_unix_s": 1768435300}', "negative"),
        (b'{"power_kw": 1}', "must end"),
        (b'{"power_kw": 1, "valid_until_unix_s": 1768435200}', "ended 0 s ago"),
        (b'{"power_kw": 1, "valid_until_unix_s": 1768435200000}', "unix seconds"),
        (b'{"power_kw": NaN}', "NaN"),
        (b'{"power_kw": 1, "power_kw": 2}', "twice"),
        (b'{"power_w": 1}', "known fields"),
        (b'"x"', "does not fit"),
        (b" " * 2_000, "long"),
        (b"[" * 1_000, "JSON"),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused(body: bytes, word: str) -> None:
    with pytest.raises(Refusal, match=word):
        limit_until(decode(body, Limit), NOW)


def test_small_bodies_are_read() -> None:
    assert limit_until(decode(b'{"power_kw": null}', Limit), NOW) == NOW
    assert decode(b'{"stop": false}', Stop) == Stop(False)
    assert outdoor_at(decode(b'{"outdoor_c": 3, "at_unix_s": 1768435230}', Outdoor), NOW, is_stored=True) == NOW


def test_addresses_have_the_port_of_their_scheme() -> None:
    assert address_of("mqtt://b.example") == ("b.example", 1883, False)
    assert address_of("mqtts://[::1]") == ("::1", 8883, True)
    assert address_of("mqtts://b.example:99") == ("b.example", 99, True)


async def test_the_board_starts_what_is_configured_and_shows_it() -> None:
    from proxy.heat.signals.board import SignalBoard

    signals = config.Signals(
        mqtt=config.MqttSignal(broker="mqtt://127.0.0.1:1"), openadr=config.OpenAdrSignal(url="http://127.0.0.1:1/")
    )
    site = msgspec.structs.replace(SITE, signals=signals)
    board = SignalBoard(site, RecordingPort(), EventLog(lambda: NOW), clock=trio.current_time, wall_clock=lambda: NOW)
    tasks = board.tasks()
    assert [name for name, _ in tasks] == ["signal mqtt", "signal openadr"]
    async with trio.open_nursery() as nursery:
        for _, task in tasks:
            nursery.start_soon(task)
        with trio.fail_after(PATIENCE_S):
            while any(view.reason == "starting" for view in board.views()):
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    assert [(view.name, view.connected) for view in board.views()] == [("mqtt", False), ("openadr", False)]
