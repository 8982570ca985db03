"""A miner's session as we see it: what may be answered when, and what each answer looks like."""

import json
import sys

import pytest

from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.mining.share import Verdict
from protocol.v1 import messages as m
from protocol.v1.server import LINE_LIMIT, ServerConnection

MASK = 0x1FFFE000
ROLLING = m.Configure(b"1", m.VersionRollingRequest(0xFFFFFFFF, 2), None, False, False, ())


def events_of(server: ServerConnection, data: bytes) -> list[m.ClientEvent]:
    server.feed(data)
    return list(iter(server.next_event, None))


def said(line: bytes) -> dict:
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    message = json.loads(line)
    assert isinstance(message, dict)
    return message


def ready() -> ServerConnection:
    server = ServerConnection()
    server.subscribed(b"1", "s1", b"\x01\x02", 2)
    server.authorized(b"2", accepted=True)
    return server


def broken() -> ServerConnection:
    server = ready()
    server.feed(b"!\n")
    with pytest.raises(RemoteProtocolError):
        server.next_event()
    return server


def test_the_handshake_in_the_usual_order() -> None:
    server = ServerConnection()
    assert (server.is_subscribed, server.is_authorized, server.may_notify) == (False, False, False)
    assert said(server.subscribed(b"1", "1a", b"\x00\x7f", 4)) == {
        "id": 1,
        "result": [[["mining.set_difficulty", "1a"], ["mining.notify", "1a"]], "007f", 4],
        "error": None,
    }
    assert (server.is_subscribed, server.is_authorized, server.may_notify) == (True, False, False)
    assert said(server.authorized(b"2", accepted=True)) == {"id": 2, "result": True, "error": None}
    assert (server.is_subscribed, server.is_authorized, server.may_notify) == (True, True, True)


def test_case_02_authorize_may_come_before_subscribe() -> None:
    server = ServerConnection()
    server.authorized(b"1", accepted=True)
    assert (server.is_subscribed, server.is_authorized, server.may_notify) == (False, True, False)
    server.subscribed(b"2", "s", b"\x01", 2)
    assert server.may_notify


def test_a_pipelined_handshake_with_a_share_gives_all_its_events_in_order() -> None:
    server = ServerConnection()
    events = events_of(
        server,
        b'{"id":1,"method":"mining.configure","params":[["version-rolling"],{}]}\n'
        b'{"id":2,"method":"mining.authorize","params":["a.b","x"]}\n'
        b'{"id":3,"method":"mining.subscribe","params":[]}\n'
        b'{"id":4,"method":"mining.submit","params":["a.b","1","0000","65000001","00000000"]}\n',
    )
    assert [type(event) for event in events] == [m.Configure, m.Authorize, m.Subscribe, m.Submit]


def test_case_03_configure_before_after_and_repeated() -> None:
    configure = b'{"id":1,"method":"mining.configure","params":[["version-rolling"],{"version-rolling.mask":"1fffe000"}]}\n'
    server = ServerConnection()
    for step in (lambda: None, lambda: server.subscribed(b"2", "s", b"\1", 2), lambda: server.authorized(b"3", accepted=True)):
        step()
        for _ in range(2):
            (event,) = events_of(server, configure)
            assert isinstance(event, m.Configure)
            assert said(server.configured(event, MASK, False, False))["result"]["version-rolling"] is True
            assert server.has_version_rolling


def test_case_04_each_extension_asked_for_is_answered_and_none_omitted() -> None:
    request = m.Configure(b'"c"', m.VersionRollingRequest(0xFFFFFFFF, 2), 512.0, True, True, ("x-new", 'o"dd'))
    assert said(server_answer := ServerConnection().configured(request, MASK, True, True))["id"] == "c"
    assert said(server_answer)["result"] == {
        "version-rolling": True,
        "version-rolling.mask": "1fffe000",
        "minimum-difficulty": True,
        "subscribe-extranonce": True,
        "info": True,
        "x-new": False,
        'o"dd': False,
    }
    assert said(ServerConnection().configured(request, None, False, False))["result"] == {
        "version-rolling": False,
        "minimum-difficulty": False,
        "subscribe-extranonce": False,
        "info": True,
        "x-new": False,
        'o"dd': False,
    }


def test_case_05_a_known_extension_with_unusable_parameters_is_answered_false() -> None:
    server = ServerConnection()
    (event,) = events_of(
        server, b'{"id":1,"method":"mining.configure","params":[["version-rolling"],{"version-rolling.mask":"xyz"}]}\n'
    )
    assert isinstance(event, m.Configure)
    assert said(server.configured(event, MASK, False, False))["result"] == {"version-rolling": False}
    assert not server.has_version_rolling


def test_what_was_not_asked_for_is_not_granted() -> None:
    server = ServerConnection()
    request = m.Configure(b"1", None, None, False, False, ("x",))
    assert said(server.configured(request, MASK, True, True))["result"] == {"x": False}
    assert not server.has_version_rolling


def test_case_06_a_mask_of_nothing_grants_no_rolling() -> None:
    server = ServerConnection()
    assert said(server.configured(ROLLING, 0, False, False))["result"] == {"version-rolling": False}
    assert not server.has_version_rolling


def test_a_later_configure_can_take_rolling_away_but_only_if_it_asks_for_it() -> None:
    server = ready()
    server.configured(ROLLING, MASK, False, False)
    server.configured(m.Configure(b"2", None, 1.0, False, False, ()), None, False, False)
    assert server.has_version_rolling
    server.configured(m.Configure(b"3", None, None, False, False, ("version-rolling",)), MASK, False, False)
    assert not server.has_version_rolling


def test_case_07_a_new_mask_goes_only_to_those_who_negotiated() -> None:
    server = ready()
    with pytest.raises(LocalProtocolError, match="not negotiated"):
        server.set_version_mask(0xE000)
    server.configured(ROLLING, None, False, False)
    with pytest.raises(LocalProtocolError, match="not negotiated"):
        server.set_version_mask(0xE000)
    server.configured(ROLLING, MASK, False, False)
    assert said(server.set_version_mask(0xE000)) == {"id": None, "method": "mining.set_version_mask", "params": ["0000e000"]}


def test_case_08_no_mask_before_authorize_was_answered() -> None:
    server = ServerConnection()
    server.configured(ROLLING, MASK, False, False)
    for step in (lambda: None, lambda: server.subscribed(b"2", "s", b"\1", 2), lambda: server.authorized(b"3", accepted=False)):
        step()
        with pytest.raises(LocalProtocolError, match="set version mask is not allowed"):
            server.set_version_mask(MASK)
    server.authorized(b"4", accepted=True)
    server.set_version_mask(MASK)


@pytest.mark.parametrize("request_id", [b"7", b"-1", b"9007199254740993", b"1.0", b"null", b'"str-id"', b'"100%b"'])
def test_case_09_every_answer_echoes_the_id_byte_for_byte(request_id: bytes) -> None:
    server = ready()
    configure = m.Configure(request_id, None, None, False, False, ())
    for line in (
        server.subscribed(request_id, "s", b"\1", 2),
        server.authorized(request_id, accepted=False),
        server.configured(configure, None, False, False),
        server.accepted(request_id),
        *(server.rejected(request_id, verdict) for verdict in m.VERDICT_ERRORS),
        server.result(request_id, value=True),
        server.pong(request_id),
        server.error(request_id, 20, "50% of it"),
    ):
        said(line)
        assert line.startswith(b'{"id":' + request_id + b",")


def test_case_09_the_same_id_twice_in_flight_is_two_events() -> None:
    line = b'{"id":4,"method":"mining.submit","params":["a.b","1","0000","65000001","0000000%d"]}\n'
    first, second = events_of(ready(), line % 1 + line % 2)
    assert isinstance(first, m.Submit)
    assert isinstance(second, m.Submit)
    assert (first.id, second.id, first.nonce, second.nonce) == (b"4", b"4", 1, 2)


@pytest.mark.parametrize("verdict", m.VERDICT_ERRORS)
def test_a_rejection_carries_code_and_text(verdict: Verdict) -> None:
    code, text = m.VERDICT_ERRORS[verdict]
    assert said(ServerConnection().rejected(b"5", verdict)) == {"id": 5, "result": False, "error": [code, text, None]}


@pytest.mark.parametrize("verdict", [Verdict.VALID, Verdict.BLOCK])
def test_a_good_share_cannot_be_rejected(verdict: Verdict) -> None:
    with pytest.raises(LocalProtocolError, match="is not rejected"):
        ready().rejected(b"5", verdict)


def test_case_12_a_submit_before_the_handshake_is_an_event_and_can_be_refused_but_not_accepted() -> None:
    server = ServerConnection()
    (event,) = events_of(server, b'{"id":4,"method":"mining.submit","params":["a.b","1","0000","65000001","00000000"]}\n')
    assert isinstance(event, m.Submit)
    with pytest.raises(LocalProtocolError, match="submit is not allowed while new"):
        server.accepted(event.id)
    assert said(server.rejected(event.id, Verdict.NOT_SUBSCRIBED))["error"][0] == 25
    server.subscribed(b"1", "s", b"\1", 2)
    with pytest.raises(LocalProtocolError):
        server.accepted(event.id)
    assert said(server.rejected(event.id, Verdict.UNAUTHORIZED))["error"][0] == 24


def test_case_13_a_second_subscribe_and_a_second_authorize_are_events_and_can_be_answered() -> None:
    server = ready()
    events = events_of(
        server, b'{"id":8,"method":"mining.subscribe","params":[]}\n{"id":9,"method":"mining.authorize","params":["c.d"]}\n'
    )
    assert events == [m.Subscribe(b"8", None, None), m.Authorize(b"9", "c.d", "")]
    assert server.subscribed(b"1", "s1", b"\x01\x02", 2).replace(b'"id":1', b'"id":8') == server.subscribed(
        b"8", "s1", b"\x01\x02", 2
    )
    server.authorized(b"9", accepted=False)
    assert server.may_notify
    server.accepted(b"10")


def test_case_61_answers_to_a_hundred_pipelined_submits_keep_their_ids() -> None:
    server = ready()
    lines = b"".join(
        b'{"id":%d,"method":"mining.submit","params":["a.b","1","0000","65000001","%08x"]}\n' % (n, n) for n in range(100)
    )
    events = events_of(server, lines)
    assert [said(server.accepted(event.id))["id"] for event in events if isinstance(event, m.Submit)] == list(range(100))


def test_ping_and_get_version_are_asked_and_their_answers_told_apart() -> None:
    server = ready()
    ping, version = said(server.ping()), said(server.get_version())
    assert (ping["method"], version["method"]) == ("mining.ping", "client.get_version")
    events = events_of(server, b'{"id":%d,"result":"pong"}\n{"id":%d,"result":"bosminer/2"}\n' % (ping["id"], version["id"]))
    assert events == [m.Answer(b"%d" % ping["id"], accepted=True), m.VersionAnswer("bosminer/2")]


def test_a_miners_ping_is_answered() -> None:
    server = ServerConnection()
    assert events_of(server, b'{"id":11,"method":"mining.ping","params":[]}\n') == [m.Ping(b"11")]
    assert said(server.pong(b"11")) == {"id": 11, "result": "pong", "error": None}
    assert said(server.result(b"12", value=False)) == {"id": 12, "result": False, "error": None}
    assert said(server.error(b"13", -3, 'no "such" method')) == {"id": 13, "result": None, "error": [-3, 'no "such" method', None]}


@pytest.mark.parametrize(
    "send",
    [
        lambda server: server.subscribed(b"1", "s", b"\1", 2),
        lambda server: server.authorized(b"1", accepted=True),
        lambda server: server.authorized(b"1", accepted=False),
        lambda server: server.configured(ROLLING, None, False, False),
        lambda server: server.accepted(b"1"),
        lambda server: server.rejected(b"1", Verdict.STALE),
        lambda server: server.result(b"1", value=True),
        lambda server: server.error(b"1", 20, "x"),
        lambda server: server.pong(b"1"),
        lambda server: server.ping(),
        lambda server: server.get_version(),
    ],
)
def test_a_broken_connection_refuses_every_answer(send: object) -> None:
    assert callable(send)
    with pytest.raises(LocalProtocolError):
        send(broken())


def test_a_broken_connection_is_silent_and_keeps_nothing() -> None:
    server = broken()
    assert (server.is_subscribed, server.is_authorized, server.may_notify) == (False, False, False)
    assert events_of(server, b'{"id":1,"method":"mining.ping"}\n') == []


def test_case_11_a_line_over_the_limit_breaks_the_connection_after_the_events_before_it() -> None:
    server = ServerConnection()
    server.feed(b'{"id":1,"method":"mining.ping"}\n{"id":2,"method":"' + b"x" * LINE_LIMIT)
    assert server.next_event() == m.Ping(b"1")
    with pytest.raises(RemoteProtocolError, match="longer than 16384 bytes"):
        server.next_event()


def test_case_11_a_line_of_64_kib_and_one_byte_is_never_decoded() -> None:
    server = ServerConnection()
    with pytest.raises(RemoteProtocolError, match="longer than"):
        events_of(server, b'{"id":1,"method":"' + b"x" * 65537 + b'"}\n')


def test_a_bad_request_leaves_the_connection_alive() -> None:
    server = ready()
    bad, good = events_of(server, b'{"id":1,"method":"mining.submit","params":[]}\n{"id":2,"method":"mining.ping"}\n')
    assert isinstance(bad, m.BadRequest)
    assert said(server.error(bad.id, bad.code, bad.reason))["id"] == 1
    assert good == m.Ping(b"2")


def test_an_idle_session_takes_a_few_hundred_bytes() -> None:
    server = ready()
    assert events_of(server, b'{"id":1,"method":"mining.ping"}\n') == [m.Ping(b"1")]
    parts = [server, *(getattr(server, name) for name in ServerConnection.__slots__ if name == "_lines")]
    assert sum(sys.getsizeof(part) for part in parts) < 300
    assert not any(hasattr(part, "__dict__") for part in parts)
