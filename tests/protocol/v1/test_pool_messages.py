"""Everything a pool may say unasked: jobs, difficulties and the rest, good and bad."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.bitcoin.target import MAX_TARGET, target_from_difficulty
from protocol.errors import RemoteProtocolError
from protocol.v1 import messages as m
from protocol.v1.client import ClientConnection
from tests.support.v1_client import (
    COINBASE1,
    COINBASE2,
    NOTIFY,
    PARAMS,
    event_of,
    events_of,
    notification,
    notified,
    unasked,
    why_refused,
)


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
