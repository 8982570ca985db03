"""Our session at a pool: every shape of answer seen or feared, and everything a pool may say unasked."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.bitcoin.target import MAX_TARGET, target_from_difficulty
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.v1 import messages as m
from protocol.v1.client import MAX_WAITING, ClientConnection

MASK = 0x1FFFE000


def said(line: bytes) -> dict:
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    return json.loads(line)


def events_of(client: ClientConnection, *messages: object) -> list[m.PoolEvent]:
    for message in messages:
        client.feed((message if isinstance(message, bytes) else json.dumps(message).encode()) + b"\n")
    return list(iter(client.next_event, None))


def event_of(client: ClientConnection, message: object) -> m.PoolEvent:
    (event,) = events_of(client, message)
    return event


def unasked(method: str, *params: object) -> m.PoolEvent:
    return event_of(ClientConnection(), {"id": None, "method": method, "params": list(params)})


def answer(request: bytes, result: object, error: object = None) -> dict:
    return {"id": said(request)["id"], "result": result, "error": error}


def ready() -> ClientConnection:
    client = ClientConnection()
    events_of(client, answer(client.subscribe("ua"), [[], "01020304", 4]), answer(client.authorize("a.b", "x"), True))
    assert client.is_subscribed
    assert client.is_authorized
    return client


def why_refused(event: m.PoolEvent) -> str:
    assert isinstance(event, m.Refused)
    return event.reason


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


# ---- jobs


def notification(method: str, *params: object) -> dict:
    return {"id": None, "method": method, "params": list(params)}


COINBASE1 = "01000000" + "01" + "00" * 32 + "ffffffff" + "20" + "03a0bb0d"
COINBASE2 = "ffffffff" + "01" + "00f2052a01000000" + "00" + "00000000"
PARAMS = ["6b03", "00010203" * 8, COINBASE1, COINBASE2, ["ab" * 32], "20000000", "170331db", "65000001", True]
NOTIFY = notification("mining.notify", *PARAMS)


def notified(position: int, value: object) -> m.PoolEvent:
    params = list(PARAMS)
    params[position] = value
    return unasked("mining.notify", *params)


def test_case_36_a_job_with_its_previous_hash_in_internal_order() -> None:
    assert unasked("mining.notify", *PARAMS) == m.JobReceived(
        "6b03",
        bytes.fromhex("03020100" * 8),
        bytes.fromhex(COINBASE1),
        bytes.fromhex(COINBASE2),
        (b"\xab" * 32,),
        0x20000000,
        0x170331DB,
        0x65000001,
        True,
    )


def test_a_tenth_parameter_is_ignored_and_a_ninth_is_not_optional() -> None:
    assert isinstance(unasked("mining.notify", *PARAMS, "more"), m.JobReceived)
    assert "length 9" in why_refused(unasked("mining.notify", *PARAMS[:8]))


@pytest.mark.parametrize(
    ("position", "value"),
    [
        *[(0, value) for value in ("", "x" * 65, "x" * 4096, "a\nb", "\u00e4", 7, None)],
        *[(1, value) for value in ("", "00" * 31, "00" * 33, "0g" * 32, "0" * 63, 7, None)],
        *[(2, value) for value in ("", "0", "zz", "0x01", "01 0", 7, None)],
        *[(3, value) for value in ("", "00" * 8, "0", "zz" * 20, 7, None)],
        *[(4, value) for value in (["ab" * 31], ["ab" * 33], ["zz" * 32], ["ab" * 32, ""], [7], "ab" * 32, None, ["ab" * 32] * 33)],
        *[(5, value) for value in ("", "2000000", "200000000", "0x200000", "zzzzzzzz", 536870912, None)],
        *[(6, value) for value in ("", "00000000", "1d800001", "ff7fffff", "1d00ffff0", 0x1D00FFFF, None)],
        *[(7, value) for value in ("", "6500000", "650000011", "zzzzzzzz", 1, None)],
        *[(8, value) for value in (1, 0, "true", None, [])],
    ],
)
def test_case_35_case_34_a_job_with_any_bad_field_is_refused(position: int, value: object) -> None:
    event = notified(position, value)
    assert isinstance(event, m.Refused)
    assert event.method == "mining.notify"
    assert event.reason.isprintable()


@pytest.mark.parametrize("count", [0, 1, 12, 32])
def test_case_34_up_to_32_merkle_branches(count: int) -> None:
    event = notified(4, [f"{n:02x}" * 32 for n in range(count)])
    assert isinstance(event, m.JobReceived)
    assert event.merkle_path == tuple(bytes([n]) * 32 for n in range(count))


@pytest.mark.parametrize("count", [33, 64])
def test_case_34_more_than_32_merkle_branches_are_refused(count: int) -> None:
    assert why_refused(notified(4, ["ab" * 32] * count)) == "more than 32 merkle branches"


def test_case_35_the_coinbase_is_bounded_and_not_empty() -> None:
    assert isinstance(notified(3, "00" * (8000 - len(COINBASE1) // 2)), m.JobReceived)
    assert why_refused(notified(3, "00" * (8001 - len(COINBASE1) // 2))) == "coinbase is longer than 8000 bytes"
    assert why_refused(notified(3, "00" * 20_000)) == "coinbase is longer than 8000 bytes"
    assert why_refused(notified(3, "")) == "coinbase parts are too short to be a transaction"
    small = ClientConnection(max_coinbase_bytes=60)
    assert why_refused(event_of(small, NOTIFY)) == "coinbase is longer than 60 bytes"


def test_case_35_a_coinbase_with_the_segwit_marker_is_refused() -> None:
    assert why_refused(notified(2, "02000000" + "0001" + COINBASE1[8:])) == "coinbase1 carries the segwit marker"


def test_case_30_a_job_id_used_again_with_other_content_is_two_jobs() -> None:
    other = notification("mining.notify", *PARAMS[:7], "65000002", False)
    first, second = events_of(ClientConnection(), NOTIFY, other)
    assert isinstance(first, m.JobReceived)
    assert isinstance(second, m.JobReceived)
    assert (first.job_id, first.ntime) == ("6b03", 0x65000001)
    assert (second.job_id, second.ntime, second.clean) == ("6b03", 0x65000002, False)


def test_case_39_a_job_before_the_answer_to_subscribe_is_an_event() -> None:
    assert isinstance(event_of(ClientConnection(), NOTIFY), m.JobReceived)


# ---- difficulty


@pytest.mark.parametrize("value", [1, 0.001, 16383.75, 2**63, 1e-9, 2.0**223])
def test_case_45_any_positive_difficulty_that_a_hash_can_meet(value: float) -> None:
    assert unasked("mining.set_difficulty", value) == m.DifficultySet(float(value))


@pytest.mark.parametrize("value", [0, 0.0, -1, -0.5, "512", True, None, [1], 2.0**225, 1e300, 10**400, {}])
def test_case_45_any_other_difficulty_is_refused(value: object) -> None:
    assert why_refused(unasked("mining.set_difficulty", value))


def test_case_45_a_difficulty_beyond_a_float_is_refused_and_nan_is_no_json() -> None:
    line = b'{"id":null,"method":"mining.set_difficulty","params":[%b]}'
    assert why_refused(event_of(ClientConnection(), line % b"1e400"))
    with pytest.raises(RemoteProtocolError, match="not JSON"):
        events_of(ClientConnection(), line % b"NaN")


def test_case_43_case_44_difficulties_and_jobs_keep_their_order() -> None:
    events = events_of(
        ClientConnection(), notification("mining.set_difficulty", 1), notification("mining.set_difficulty", 4), NOTIFY
    )
    assert events[:2] == [m.DifficultySet(1.0), m.DifficultySet(4.0)]
    assert isinstance(events[2], m.JobReceived)


@given(st.integers(1, MAX_TARGET))
def test_a_target_becomes_a_difficulty_that_is_never_easier(target: int) -> None:
    event = unasked("mining.set_target", f"{target:064x}")
    assert isinstance(event, m.DifficultySet)
    assert target_from_difficulty(event.difficulty) <= target
    assert target_from_difficulty(event.difficulty) >= target - (target >> 48) - 1


@pytest.mark.parametrize("value", ["", "00" * 32, "ff" * 31, "zz" * 32, 5, None])
def test_a_target_that_is_none_is_refused(value: object) -> None:
    assert why_refused(unasked("mining.set_target", value))


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


@pytest.mark.parametrize(
    ("params", "host", "port", "wait_s"),
    [
        ([], None, None, 0.0),
        (None, None, None, 0.0),
        (["pool.example", 3333, 10], "pool.example", 3333, 10.0),
        (["eu.pool.example", "3333", "10"], "eu.pool.example", 3333, 10.0),
        (["evil.", 1], "evil.", 1, 0.0),
        (["10.0.0.5", 65535, -5], "10.0.0.5", 65535, 0.0),
        (["[2001:db8::1]", 3333, 0.5], "[2001:db8::1]", 3333, 0.5),
        (["pool.example"], "pool.example", None, 0.0),
        (["pool.example", None, None], "pool.example", None, 0.0),
        (["pool.example", "", 1e9], "pool.example", None, 3600.0),
        ([None, 3334, 1], None, 3334, 1.0),
        (["pool.example", 3333, 10**30], "pool.example", 3333, 3600.0),
    ],
)
def test_case_64_reconnect_in_the_forms_that_mean_something(
    params: list | None, host: str | None, port: int | None, wait_s: float
) -> None:
    event = event_of(ClientConnection(), {"id": None, "method": "client.reconnect", "params": params})
    assert event == m.ReconnectAsked(host, port, wait_s)


@pytest.mark.parametrize(
    "params",
    [
        ["pool.example", 0],
        ["", 0],
        ["pool.example", -1],
        ["pool.example", 65536],
        ["pool.example", 70000, 1],
        ["pool.example", "http"],
        ["pool.example", "-1"],
        ["pool.example", "\u0663\u0663"],
        ["pool.example", "1000000"],
        ["pool.example", 3333.0],
        ["pool.example", True],
        ["pool.example", 3333, "soon"],
        ["pool.example", 3333, True],
        ["user@pool.example", 3333],
        ["pool.example\x00.evil", 3333],
        ["pool example", 3333],
        ["http://pool.example/", 3333],
        ["p\u00f6\u00f6l.example", 3333],
        ["x" * 254, 3333],
        ["x" * 100_000, 3333],
        [7, 3333],
        {"host": "pool.example"},
    ],
)
def test_case_64_reconnect_that_names_no_address_is_refused(params: object) -> None:
    event = event_of(ClientConnection(), {"id": None, "method": "client.reconnect", "params": params})
    assert isinstance(event, m.Refused)
    assert event.method == "client.reconnect"


def test_case_64_a_wait_beyond_a_float_ends_no_session() -> None:
    line = b'{"method":"client.reconnect","params":["a.b",1,%b]}'
    assert event_of(ClientConnection(), line % (b"1" + b"0" * 400)) == m.ReconnectAsked("a.b", 1, 3600.0)
    assert why_refused(event_of(ClientConnection(), line % b"1e400"))


def test_messages_are_made_printable_and_cut() -> None:
    assert unasked("client.show_message", "Hello\r\n\x1b[31mworld") == m.MessageShown("Hello???[31mworld")
    assert unasked("client.show_message", "x" * 9999) == m.MessageShown("x" * 512)
    assert why_refused(unasked("client.show_message", 7))
    line = b'{"method":"client.show_message","params":["\xff"]}'
    assert why_refused(event_of(ClientConnection(), line)) == "parameters are not UTF-8 text"


def test_an_unknown_method_is_named_in_printable_form() -> None:
    assert unasked("x\n" + "y" * 99) == m.UnknownAsked(b"null", "x?" + "y" * 62)


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
