"""Our session at a pool: every shape of answer seen or feared, and everything a pool may say unasked."""

import json
import math

import pytest

from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.v1 import messages as m
from protocol.v1.client import MAX_WAITING, ClientConnection
from tests.support.v1_client import (
    MASK,
    NOTIFY,
    answer,
    event_of,
    events_of,
    notification,
    ready,
    said,
    unasked,
    why_refused,
)

# ---- requests


def test_requests_are_what_pools_expect() -> None:
    client = ClientConnection()
    assert said(client.configure(MASK)) == {
        "id": 1,
        "method": "mining.configure",
        "params": [["version-rolling"], {"version-rolling.mask": "1fffe000", "version-rolling.min-bit-count": 2}],
    }
    assert said(client.subscribe("thermostratum/0.1")) == {"id": 2, "method": "mining.subscribe", "params": ["thermostratum/0.1"]}
    assert said(client.subscribe("ua", "sid"))["params"] == ["ua", "sid"]
    assert said(client.authorize('a"b', "x")) == {"id": 4, "method": "mining.authorize", "params": ['a"b', "x"]}
    assert said(client.extranonce_subscribe()) == {"id": 5, "method": "mining.extranonce.subscribe", "params": []}
    assert said(client.suggest_difficulty(2.0**-20)) == {"id": 6, "method": "mining.suggest_difficulty", "params": [2.0**-20]}
    assert said(client.ping()) == {"id": 7, "method": "mining.ping", "params": []}
    assert client.waiting == 7


def test_case_60_a_share_is_sent_with_five_parameters_or_six() -> None:
    client = ready()
    request_id, line = client.submit("a.b", "job", b"\x00\xff", 0x65000001, 0xBEEF, None)
    params = ["a.b", "job", "00ff", "65000001", "0000beef"]
    assert said(line) == {"id": request_id, "method": "mining.submit", "params": params}
    _, line = client.submit("a.b", "job", b"\x00\xff", 0x65000001, 0xBEEF, 0x2000)
    assert said(line)["params"] == [*params, "00002000"]


def test_case_12_a_share_is_never_sent_before_the_pool_answered_subscribe_and_authorize() -> None:
    client = ClientConnection()
    share = ("a.b", "job", b"", 0, 0, None)
    subscribe, authorize = client.subscribe("ua"), client.authorize("a.b", "x")
    with pytest.raises(LocalProtocolError, match="submit is not allowed while new"):
        client.submit(*share)
    events_of(client, answer(authorize, True))
    with pytest.raises(LocalProtocolError, match="submit is not allowed while authorized"):
        client.submit(*share)
    events_of(client, answer(subscribe, [[], "", 4]))
    client.submit(*share)


def test_the_pools_questions_are_answered() -> None:
    client = ClientConnection()
    assert event_of(client, {"id": 42, "method": "mining.ping", "params": []}) == m.PingAsked(b"42")
    assert said(client.pong(b"42")) == {"id": 42, "result": "pong", "error": None}
    assert event_of(client, {"id": "v", "method": "client.get_version", "params": []}) == m.VersionAsked(b'"v"')
    assert said(client.version(b'"v"', "t/1")) == {"id": "v", "result": "t/1", "error": None}
    assert event_of(client, {"id": 7, "method": "mining.set_goal", "params": ["x"]}) == m.UnknownAsked(b"7", "mining.set_goal")
    assert said(client.unknown(b"7")) == {"id": 7, "result": None, "error": [-3, "Method not found", None]}
    assert event_of(client, {"id": [], "method": "mining.ping"}) == m.PingAsked(b"null")


# ---- answers to the handshake


def test_configure_granted_is_cut_to_what_was_asked() -> None:
    client = ClientConnection()
    granted = {"version-rolling": True, "version-rolling.mask": "ffffffff", "minimum-difficulty": False}
    assert event_of(client, answer(client.configure(MASK), granted)) == m.Configured(MASK)
    granted["version-rolling.mask"] = "0000E000"
    assert event_of(client, answer(client.configure(MASK), granted)) == m.Configured(0xE000)


@pytest.mark.parametrize(
    ("result", "error"),
    [
        ({"version-rolling": False}, None),
        ({"version-rolling": True}, None),
        ({"version-rolling": True, "version-rolling.mask": "00000000"}, None),
        ({"version-rolling": True, "version-rolling.mask": "nothex"}, None),
        ({"version-rolling": True, "version-rolling.mask": 7}, None),
        ({"version-rolling": True, "version-rolling.mask": "ffffffffff"}, None),
        ({"version-rolling": "true", "version-rolling.mask": "1fffe000"}, None),
        ({"version-rolling": True, "version-rolling.mask": "1fffe000"}, [20, "but no"]),
        (True, None),
        (None, None),
        (None, [-3, "Method not found", None]),
        ([], "unknown"),
    ],
)
def test_any_other_answer_to_configure_grants_nothing(result: object, error: object) -> None:
    client = ClientConnection()
    assert event_of(client, answer(client.configure(MASK), result, error)) == m.Configured(None)


@pytest.mark.parametrize(
    ("subscriptions", "session_id"),
    [
        ([["mining.set_difficulty", "d"], ["mining.notify", "n"]], "n"),
        (["mining.notify", "n"], "n"),
        ([["mining.notify", "n\n"]], "n?"),
        ([["mining.notify", 7]], None),
        ([["mining.notify"]], None),
        ([["mining.notify", ""]], None),
        ([], None),
        (None, None),
        ("mining.notify", None),
        ({"mining.notify": "n"}, None),
    ],
)
def test_subscribe_answered_with_any_list_of_subscriptions(subscriptions: object, session_id: str | None) -> None:
    client = ClientConnection()
    event = event_of(client, answer(client.subscribe("ua"), [subscriptions, "01FF", 4]))
    assert event == m.Subscribed(b"\x01\xff", 4, session_id)
    assert client.is_subscribed


@pytest.mark.parametrize("size", [0, -1, -(2**63), 17, 2**64, True, False, 4.0, "4", None, [4]])
def test_case_18_an_extranonce2_size_that_is_no_int_of_1_to_16_refuses_the_pool(size: object) -> None:
    client = ClientConnection()
    event = event_of(client, answer(client.subscribe("ua"), [[], "01", size]))
    assert isinstance(event, m.SubscribeRefused)
    assert not client.is_subscribed
    set_extranonce = {"id": None, "method": "mining.set_extranonce", "params": ["01", size]}
    assert why_refused(event_of(client, set_extranonce))


@pytest.mark.parametrize("size", [1, 2, 3, 4, 8, 16])
@pytest.mark.parametrize("extranonce1", ["", "00", "ab" * 16])
def test_case_18_usable_coordinates(extranonce1: str, size: int) -> None:
    client = ClientConnection()
    coordinates = bytes.fromhex(extranonce1), size
    assert event_of(client, answer(client.subscribe("ua"), [[], extranonce1, size])) == m.Subscribed(*coordinates, None)
    set_extranonce = {"id": None, "method": "mining.set_extranonce", "params": [extranonce1, size]}
    assert event_of(client, set_extranonce) == m.ExtranonceSet(*coordinates)


@pytest.mark.parametrize("extranonce1", ["0", "xy", "0x01", "ab" * 17, "01 02", 7, None, ["01"]])
def test_case_19_an_extranonce1_that_is_no_hex_of_16_bytes_at_most_refuses_the_pool(extranonce1: object) -> None:
    client = ClientConnection()
    assert isinstance(event_of(client, answer(client.subscribe("ua"), [[], extranonce1, 4])), m.SubscribeRefused)
    assert why_refused(unasked("mining.set_extranonce", extranonce1, 4))


@pytest.mark.parametrize(
    ("result", "error", "reason"),
    [
        (None, [20, "full", None], "full"),
        (False, None, "something else"),
        (None, None, "something else"),
        ([], None, "something else"),
        ([[], "01"], None, "something else"),
        ([[], "01", 4], {"code": 20, "message": "banned"}, "banned"),
        (None, [21], "code 21"),
        (None, [None, ""], "refused without a reason"),
        (None, True, "refused without a reason"),
    ],
)
def test_subscribe_refused_says_why(result: object, error: object, reason: str) -> None:
    client = ClientConnection()
    event = event_of(client, answer(client.subscribe("ua"), result, error))
    assert isinstance(event, m.SubscribeRefused)
    assert reason in event.reason
    assert not client.is_subscribed


def test_subscriptions_nested_too_deep_or_of_broken_text_refuse_the_pool() -> None:
    client = ClientConnection()
    request_id = said(client.subscribe("ua"))["id"]
    event = event_of(client, b'{"id":%d,"result":[["\xff"],"01",4]}' % request_id)
    assert isinstance(event, m.SubscribeRefused)


def test_case_66_workers_are_accepted_and_refused_each_for_itself() -> None:
    client = ClientConnection()
    first, second = client.authorize("a.one", "x"), client.authorize("a.two", "x")
    assert event_of(client, answer(second, True)) == m.Authorized(True, None, "a.two")
    assert event_of(client, answer(first, False, [24, "Unauthorized worker", None])) == m.Authorized(
        False, "Unauthorized worker", "a.one"
    )
    assert client.is_authorized


@pytest.mark.parametrize("result", [False, None, "true", 1, {}, [True]])
def test_only_a_literal_true_authorizes(result: object) -> None:
    client = ClientConnection()
    assert event_of(client, answer(client.authorize("a.b", "x"), result)) == m.Authorized(False, None, "a.b")
    assert not client.is_authorized


def test_a_job_in_the_same_burst_as_the_answer_to_authorize_is_not_left_behind() -> None:
    client = ClientConnection()
    subscribe, authorize = client.subscribe("ua"), client.authorize("a.b", "x")
    burst = (
        answer(subscribe, [[], "01", 4]),
        answer(authorize, True),
        difficulty := notification("mining.set_difficulty", 8),
        NOTIFY,
    )
    client.feed(b"".join(json.dumps(message).encode() + b"\n" for message in burst))
    assert [type(event) for event in iter(client.next_event, None)] == [m.Subscribed, m.Authorized, m.DifficultySet, m.JobReceived]
    assert difficulty["params"] == [8]


# ---- answers to shares


@pytest.mark.parametrize(
    ("fields", "code", "reason"),
    [
        ({"result": False, "error": None}, None, None),
        ({"result": False}, None, None),
        ({"result": None, "error": None}, None, None),
        ({"error": None}, None, None),
        ({}, None, None),
        ({"result": False, "error": [23, "Above target", None]}, 23, "Above target"),
        ({"result": None, "error": [23, "bad-version", None]}, 23, "bad-version"),
        ({"error": [23, "Difficulty too low", ""]}, 23, "Difficulty too low"),
        ({"result": None, "error": [20, "Mining Submit validation error", "a text"]}, 20, "Mining Submit validation error"),
        ({"result": None, "error": [21, "Job not found"]}, 21, "Job not found"),
        ({"result": None, "error": ["only text"]}, None, "only text"),
        ({"result": None, "error": [22]}, 22, None),
        ({"result": None, "error": {"code": 22, "message": "Duplicate share"}}, 22, "Duplicate share"),
        ({"result": None, "error": {"message": 5}}, None, None),
        ({"result": None, "error": "stale"}, None, "stale"),
        ({"result": None, "error": 21}, 21, None),
        ({"result": None, "error": True}, None, None),
        ({"result": None, "error": [10**30, 7, 7]}, None, None),
        ({"result": True, "error": [20, "but no", None]}, 20, "but no"),
        ({"result": False, "error": None, "reject-reason": "high-hash"}, None, "high-hash"),
        ({"result": False, "error": [23, "x" * 300 + "\n", None]}, 23, "x" * 256),
        ({"result": False, "error": [23, "a\x1b[0m", None]}, 23, "a?[0m"),
        ({"result": "true", "error": None}, None, None),
        ({"result": 1, "error": None}, None, None),
        ({"result": {"status": "OK"}, "error": None}, None, None),
    ],
)
def test_case_62_a_refused_share_in_every_shape(fields: dict, code: int | None, reason: str | None) -> None:
    client = ready()
    request_id, _ = client.submit("a.b", "j", b"", 0, 0, None)
    assert event_of(client, {"id": request_id, **fields}) == m.SubmitAnswered(request_id, False, code, reason)


@pytest.mark.parametrize("error", [None, [], "", False, 0, {}])
def test_case_62_an_empty_error_is_no_error(error: object) -> None:
    client = ready()
    request_id, _ = client.submit("a.b", "j", b"", 0, 0, None)
    assert event_of(client, {"error": error, "id": request_id, "result": True}) == m.SubmitAnswered(request_id, True, None, None)


def test_case_62_an_error_of_broken_text_is_still_an_error() -> None:
    client = ready()
    request_id, _ = client.submit("a.b", "j", b"", 0, 0, None)
    event = event_of(client, b'{"id":%d,"result":true,"error":"\xff"}' % request_id)
    assert event == m.SubmitAnswered(request_id, False, None, "an error that cannot be read")


def test_case_62_late_answers_count_and_second_or_unknown_ones_are_refused() -> None:
    client = ready()
    ids = [client.submit("a.b", "j", b"", 0, n, None)[0] for n in range(3)]
    assert event_of(client, {"id": ids[2], "result": True}) == m.SubmitAnswered(ids[2], True, None, None)
    assert event_of(client, {"id": ids[0], "result": True}) == m.SubmitAnswered(ids[0], True, None, None)
    for strange in (ids[2], 10**12, -1, 1.5, None, True, [], {}, "x", "", 10**30, f"{ids[0]}"):
        event = event_of(client, {"id": strange, "result": True, "error": None})
        assert event == m.Refused("answer", "answers no request that waits")
    assert client.waiting == 1


def test_case_62_an_id_given_back_as_text_is_ours() -> None:
    client = ready()
    request_id, _ = client.submit("a.b", "j", b"", 0, 0, None)
    assert event_of(client, {"id": str(request_id), "result": True}) == m.SubmitAnswered(request_id, True, None, None)


def test_case_62_an_error_without_an_id_keeps_its_text() -> None:
    assert event_of(ready(), {"id": None, "result": None, "error": [20, "parse error", None]}) == m.Refused("answer", "parse error")


def test_case_62_a_pool_that_never_answers_does_not_fill_memory() -> None:
    client = ready()
    authorize = client.authorize("a.late", "x")
    first, _ = client.submit("a.b", "j", b"", 0, 0, None)
    for nonce in range(MAX_WAITING):
        last, _ = client.submit("a.b", "j", b"", 0, nonce, None)
    assert client.waiting == MAX_WAITING
    for forgotten in (said(authorize)["id"], first):
        assert isinstance(event_of(client, {"id": forgotten, "result": True}), m.Refused)
    assert event_of(client, {"id": last, "result": True}) == m.SubmitAnswered(last, True, None, None)


@pytest.mark.parametrize(
    ("result", "error", "accepted"),
    [(True, None, True), ({}, None, True), (False, None, False), (None, None, False), (None, [20, "Not supported.", None], False)],
)
def test_the_other_requests_are_answered_yes_or_no(result: object, error: object, accepted: bool) -> None:
    client = ClientConnection()
    request = client.extranonce_subscribe()
    assert event_of(client, answer(request, result, error)) == m.Answer(b"%d" % said(request)["id"], accepted)


# ---- the rest a pool says


def test_case_07_a_new_mask_is_cut_to_what_we_asked_for() -> None:
    client = ClientConnection()
    assert (
        why_refused(event_of(client, notification("mining.set_version_mask", "1fffe000"))) == "version rolling was never asked for"
    )
    client.configure(MASK)
    assert event_of(client, notification("mining.set_version_mask", "0000e000")) == m.VersionMaskSet(0xE000)
    assert event_of(client, notification("mining.set_version_mask", "FFFFFFFF")) == m.VersionMaskSet(MASK)
    assert event_of(client, notification("mining.set_version_mask", "00000000")) == m.VersionMaskSet(0)
    for bad in ("", "1ffffe0000", "xyz", 7, None):
        assert why_refused(event_of(client, notification("mining.set_version_mask", bad)))


# ---- broken pools


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"[1]", "must be a JSON object"),
        (b'{"id":1', "not JSON"),
        (b'{"method":"\xff"}', "not JSON"),
        (b'{"x":' + b"[" * 50_000 + b"]" * 50_000 + b"}", "nested too deep"),
        (b"HTTP/1.1 400 Bad Request", "HTTP"),
        (b"\x15\x03\x03", "TLS"),
        (b"{" + b" " * 262144 + b"}", "longer than 262144 bytes"),
    ],
)
def test_case_11_what_is_no_stratum_breaks_the_session_and_nothing_is_replied(line: bytes, reason: str) -> None:
    client = ready()
    client.feed(line + b"\n")
    with pytest.raises(RemoteProtocolError, match=reason) as caught:
        client.next_event()
    assert caught.value.reply == b""
    assert events_of(client, NOTIFY) == []
    assert (client.is_subscribed, client.is_authorized) == (False, False)
    for send in (
        lambda: client.submit("a.b", "j", b"", 0, 0, None),
        lambda: client.subscribe("ua"),
        lambda: client.pong(b"1"),
        lambda: client.version(b"1", "x"),
        lambda: client.unknown(b"1"),
    ):
        with pytest.raises(LocalProtocolError):
            send()


def test_a_method_that_is_no_text_is_refused() -> None:
    assert why_refused(event_of(ClientConnection(), {"id": 1, "method": 5}))
    event = event_of(ClientConnection(), {"id": None, "method": None, "params": []})
    assert event == m.Refused("answer", "answers no request that waits")


def test_a_difficulty_to_suggest_must_be_one() -> None:
    with pytest.raises(LocalProtocolError, match="difficulty"):
        ClientConnection().suggest_difficulty(math.nan)
