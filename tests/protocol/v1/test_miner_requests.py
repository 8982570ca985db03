"""What a miner may say, in every form seen, and what is made of forms that are wrong."""

import json

import pytest

from protocol.errors import RemoteProtocolError
from protocol.v1 import messages as m
from protocol.v1.miner_requests import decode_request

SUBMIT = ["acct.rig1", "1f", "0a0b0c0d", "65000001", "deadbeef"]


def request(method: object, params: object, request_id: object = 1) -> m.ClientEvent:
    return decode_request(json.dumps({"id": request_id, "method": method, "params": params}).encode())


def submit(*params: object) -> m.ClientEvent:
    return request("mining.submit", list(params))


def refusal(event: m.ClientEvent) -> str:
    assert isinstance(event, m.BadRequest)
    assert event.code == 20
    return event.reason


# ---- handshake


@pytest.mark.parametrize(
    ("params", "user_agent", "session_id"),
    [
        ([], None, None),
        (None, None, None),
        (["cgminer/4.11.1"], "cgminer/4.11.1", None),
        (["cgminer/4.11.1", None], "cgminer/4.11.1", None),
        (["bosminer/1", "6b03db21", "pool.example", 3333], "bosminer/1", "6b03db21"),
        (["bosminer/1", None, "pool.example", "3333"], "bosminer/1", None),
        (["", ""], None, None),
        ([None, "sid"], None, "sid"),
        (["a\nb\x1b[31m\u202e" + "x" * 200], "a?b?[31m?" + "x" * 119, None),
    ],
)
def test_case_01_subscribe_in_all_its_forms(params: object, user_agent: str | None, session_id: str | None) -> None:
    assert request("mining.subscribe", params) == m.Subscribe(b"1", user_agent, session_id)


def test_case_01_subscribe_without_any_params_member() -> None:
    assert decode_request(b'{"id":1,"method":"mining.subscribe"}') == m.Subscribe(b"1", None, None)


@pytest.mark.parametrize("params", [[5], [["a"]], {"ua": "x"}, "x", ["x", 7]])
def test_subscribe_with_parameters_of_other_types_is_a_bad_request(params: object) -> None:
    assert "Expected" in refusal(request("mining.subscribe", params))


def test_authorize_takes_a_name_and_perhaps_a_password() -> None:
    assert request("mining.authorize", ["acct.rig", "x"]) == m.Authorize(b"1", "acct.rig", "x")
    assert request("mining.authorize", ["acct.rig"]) == m.Authorize(b"1", "acct.rig", "")
    assert request("mining.authorize", ["acct.rig", None]) == m.Authorize(b"1", "acct.rig", "")
    assert request("mining.authorize", ["acct.rig", "d=1024", "more"]) == m.Authorize(b"1", "acct.rig", "d=1024")


@pytest.mark.parametrize("name", ["a", ".", "a.b.c", "ünit.7", "x" * 63, "x" * 128, "x" * 192, "x" * 256, "per%25cent"])
def test_worker_names_of_any_printable_form_are_passed_on(name: str) -> None:
    assert request("mining.authorize", [name, ""]) == m.Authorize(b"1", name, "")


@pytest.mark.parametrize("name", ["", "x" * 257, "a\nb", "a\x00", "a\x7f", "a\u202eb", "a\u2028b"])
def test_worker_names_that_could_forge_a_log_line_are_refused(name: str) -> None:
    assert refusal(request("mining.authorize", [name, "x"])) == "user must be 1 to 256 printable characters"


@pytest.mark.parametrize("params", [[], [None, "x"], [7, "x"], {"user": "x"}])
def test_authorize_without_a_name_is_a_bad_request(params: object) -> None:
    assert "Expected" in refusal(request("mining.authorize", params))


# ---- configure


def configure(extensions: object, *parameters: object) -> m.ClientEvent:
    return request("mining.configure", [extensions, *parameters])


def test_configure_with_everything_of_bip310() -> None:
    parameters = {
        "version-rolling.mask": "1fffe000",
        "version-rolling.min-bit-count": 2,
        "minimum-difficulty.value": 2048,
        "info.sw-version": "1.0",
    }
    extensions = ["version-rolling", "minimum-difficulty", "subscribe-extranonce", "info"]
    expected = m.Configure(b"1", m.VersionRollingRequest(0x1FFFE000, 2), 2048.0, True, True, ())
    assert configure(extensions, parameters) == expected


def test_case_04_unknown_extensions_are_all_named_in_the_order_asked() -> None:
    event = configure(["x-one", "version-rolling", "", "x-two", "x-one"], {"version-rolling.mask": "ffffffff"})
    assert event == m.Configure(b"1", m.VersionRollingRequest(0xFFFFFFFF, 0), None, False, False, ("x-one", "", "x-two"))


@pytest.mark.parametrize(
    ("mask", "value"),
    [
        ("ffffffff", 0xFFFFFFFF),
        ("1FFFE000", 0x1FFFE000),
        ("e000", 0xE000),
        ("1fffe00", 0x1FFFE00),
        (0, 0),
        ("0", 0),
        (536862720, 0x1FFFE000),
    ],
)
def test_case_05_masks_that_can_be_read(mask: object, value: int) -> None:
    event = configure(["version-rolling"], {"version-rolling.mask": mask, "version-rolling.min-bit-count": 2})
    assert event == m.Configure(b"1", m.VersionRollingRequest(value, 2), None, False, False, ())


@pytest.mark.parametrize(
    "parameters",
    [
        {"version-rolling.mask": "1ffffe0000"},
        {"version-rolling.mask": "0x1fffe0"},
        {"version-rolling.mask": " fffe000"},
        {"version-rolling.mask": ""},
        {"version-rolling.mask": "nothex!!"},
        {"version-rolling.mask": -1},
        {"version-rolling.mask": 1 << 32},
        {"version-rolling.mask": True},
        {"version-rolling.mask": None},
        {"version-rolling.mask": 1.5},
        {"version-rolling.mask": ["ffffffff"]},
        {"version-rolling.min-bit-count": -1},
        {"version-rolling.min-bit-count": 33},
        {"version-rolling.min-bit-count": "2"},
        {"version-rolling.min-bit-count": 10**30},
    ],
)
def test_case_05_masks_that_cannot_be_read_refuse_the_extension_only(parameters: dict) -> None:
    event = configure(["version-rolling", "info"], parameters)
    assert event == m.Configure(b"1", None, None, False, True, ("version-rolling",))


def test_case_05_missing_parameters_mean_all_bits_for_rolling_and_no_minimum_difficulty() -> None:
    for parameters in ([], [{}]):
        event = configure(["version-rolling", "minimum-difficulty"], *parameters)
        assert event == m.Configure(b"1", m.VersionRollingRequest(0xFFFFFFFF, 0), None, False, False, ("minimum-difficulty",))


@pytest.mark.parametrize(("value", "difficulty"), [(0, 0.0), (0.0, 0.0), (1, 1.0), (0.001, 0.001), (2**63, 2.0**63)])
def test_minimum_difficulty_may_be_zero_or_more(value: object, difficulty: float) -> None:
    event = configure(["minimum-difficulty"], {"minimum-difficulty.value": value})
    assert event == m.Configure(b"1", None, difficulty, False, False, ())


@pytest.mark.parametrize("value", ["512", -1, True, None, [1], 10**400])
def test_a_minimum_difficulty_that_is_none_refuses_the_extension(value: object) -> None:
    event = configure(["minimum-difficulty"], {"minimum-difficulty.value": value})
    assert event == m.Configure(b"1", None, None, False, False, ("minimum-difficulty",))


@pytest.mark.parametrize("params", [[], [None], ["version-rolling"], [["a", 5]], [["a"], []], {}, [[f"x{i}" for i in range(33)]]])
def test_a_configure_that_is_no_list_of_extensions_is_a_bad_request(params: object) -> None:
    assert refusal(request("mining.configure", params))


# ---- submit


def test_case_60_submit_with_five_and_six_parameters() -> None:
    share = m.Submit(b"1", "acct.rig1", "1f", bytes.fromhex("0a0b0c0d"), 0x65000001, 0xDEADBEEF, None)
    assert submit(*SUBMIT) == share
    assert submit(*SUBMIT, None) == share
    assert submit(*SUBMIT, "00ffe000") == m.Submit(b"1", "acct.rig1", "1f", share.extranonce2, share.ntime, share.nonce, 0xFFE000)


def test_case_60_submit_with_a_seventh_or_too_few_parameters_is_a_bad_request() -> None:
    assert "at most length 6" in refusal(submit(*SUBMIT, "00000000", "x"))
    for count in range(5):
        assert "length 5" in refusal(submit(*SUBMIT[:count]))


def test_case_55_the_nonce_may_be_a_number_or_a_string() -> None:
    assert submit(*SUBMIT[:4], 0xDEADBEEF) == submit(*SUBMIT)
    assert submit(*SUBMIT[:4], 0, "00002000") == submit(*SUBMIT[:4], "00000000", "00002000")
    for nonce in (-1, 1 << 32):
        assert refusal(submit(*SUBMIT[:4], nonce)) == "nonce must be below 2**32"
    for nonce in (1.5, True, None, []):
        assert "Expected" in refusal(submit(*SUBMIT[:4], nonce))


def changed(position: int, value: object) -> m.ClientEvent:
    params: list[object] = [*SUBMIT, "00002000"]
    params[position] = value
    return submit(*params)


@pytest.mark.parametrize("extranonce2", ["0a0b0c0", "0x0a0b0c", "0a 0b0c0d", "0a0b0c0g", "\u0660\u0660", "ab" * 33])
def test_case_17_extranonce2_that_is_no_pairs_of_hex_digits_is_a_bad_request(extranonce2: str) -> None:
    assert "extranonce2" in refusal(changed(2, extranonce2))


@pytest.mark.parametrize("extranonce2", ["", "0a", "0a0b0c0d0e0f", "ab" * 32])
def test_case_17_extranonce2_of_any_length_is_passed_to_the_share_check(extranonce2: str) -> None:
    event = changed(2, extranonce2)
    assert isinstance(event, m.Submit)
    assert event.extranonce2 == bytes.fromhex(extranonce2)


def test_case_57_a_share_has_one_form_whatever_the_case_of_its_hex() -> None:
    upper = submit("acct.rig1", "1f", "0A0B0C0D", "65000001", "DEADBEEF", "00FFE000")
    mixed = submit("acct.rig1", "1f", "0a0B0c0D", "65000001", "dEaDbEeF", "00fFe000")
    assert upper == mixed == submit(*SUBMIT, "00ffe000")


@pytest.mark.parametrize("ntime", ["", "6500000", "650000011", "0x650000", "6500 001", "zzzzzzzz", 1694498817, None, 1.5])
def test_case_54_ntime_that_is_not_eight_hex_digits_is_a_bad_request(ntime: object) -> None:
    assert refusal(changed(3, ntime))


@pytest.mark.parametrize("nonce", ["", "deadbee", "deadbeef0", "0xdeadbe", "dead eef"])
def test_case_55_a_nonce_string_must_be_eight_hex_digits(nonce: str) -> None:
    assert "nonce" in refusal(changed(4, nonce))


@pytest.mark.parametrize("bits", ["", "2000", "000020000", "0x002000", "0000200g", 8192, False])
def test_case_56_version_bits_that_are_not_eight_hex_digits_are_a_bad_request(bits: object) -> None:
    assert refusal(changed(5, bits))


def test_case_56_version_bits_are_passed_on_even_when_nothing_was_negotiated() -> None:
    event = changed(5, "20000000")
    assert isinstance(event, m.Submit)
    assert event.version_bits == 0x20000000


@pytest.mark.parametrize("job_id", ["", "x" * 65, "x" * 4096, "a\nb", "\u00e4"])
def test_case_32_a_job_id_that_cannot_be_ours_is_a_bad_request(job_id: str) -> None:
    assert refusal(changed(1, job_id)) == "job id must be 1 to 64 printable characters"


def test_case_32_an_unknown_job_id_of_usual_form_is_the_callers_to_judge() -> None:
    event = changed(1, "deadbeef")
    assert isinstance(event, m.Submit)
    assert event.job_id == "deadbeef"


@pytest.mark.parametrize("user", ["", "x" * 257, "a\nb", 7, None])
def test_a_submit_by_nobody_is_a_bad_request(user: object) -> None:
    assert refusal(changed(0, user))


def test_submit_parameters_as_an_object_or_text_are_a_bad_request() -> None:
    assert "Expected `array`" in refusal(request("mining.submit", {"user": "x"}))
    assert "Expected `array`" in refusal(request("mining.submit", "x"))


def test_a_submit_is_known_by_its_method_and_not_by_the_word() -> None:
    line = json.dumps({"id": 1, "method": "mining.authorize", "params": ["mining.submit", "x"]}).encode()
    assert decode_request(line) == m.Authorize(b"1", "mining.submit", "x")
    assert decode_request(b'{"params":["a","b","","65000001","00000000"],"x":"mining.submit"}') == m.BadRequest(
        b"null", "", 20, "neither a method nor a result"
    )


# ---- the rest


def test_the_small_requests() -> None:
    assert request("mining.extranonce.subscribe", []) == m.ExtranonceSubscribe(b"1")
    assert request("mining.get_transactions", ["1f"]) == m.GetTransactions(b"1")
    assert request("mining.ping", None) == m.Ping(b"1")
    assert request("mining.suggest_difficulty", [512]) == m.SuggestDifficulty(b"1", 512.0)
    assert request("mining.suggest_difficulty", [0.002]) == m.SuggestDifficulty(b"1", 0.002)
    assert request("mining.suggest_target", ["00000000ffff" + "0" * 52]) == m.SuggestTarget(b"1", 0xFFFF << 208)


@pytest.mark.parametrize(
    ("method", "difficulty"), [("mining.suggest_difficulty(1024)", 1024.0), ("mining.suggest_difficulty(0.5)", 0.5)]
)
def test_a_difficulty_may_be_part_of_the_method(method: str, difficulty: float) -> None:
    assert request(method, []) == m.SuggestDifficulty(b"1", difficulty)


@pytest.mark.parametrize("value", [0, -1, "512", True, None, [1], 10**400])
def test_case_45_a_suggested_difficulty_that_is_no_positive_number_is_a_bad_request(value: object) -> None:
    assert refusal(request("mining.suggest_difficulty", [value]))


def test_case_45_numbers_beyond_a_float_are_bad_requests() -> None:
    assert refusal(decode_request(b'{"id":1,"method":"mining.suggest_difficulty","params":[1e400]}'))
    assert refusal(decode_request(b'{"id":1,"method":"mining.suggest_difficulty","params":[' + b"9" * 5000 + b"]}"))
    assert refusal(request("mining.suggest_difficulty(0)", []))


@pytest.mark.parametrize("target", ["", "00" * 31, "00" * 32, "zz" * 32, 5, None])
def test_a_suggested_target_that_is_none_is_a_bad_request(target: object) -> None:
    assert refusal(request("mining.suggest_target", [target]))


@pytest.mark.parametrize(
    "method", ["mining.capabilities", "", "mining.suggest_difficulty(1e3)", "eth_submitLogin", "x\n\x1b[0m" + "y" * 99]
)
def test_an_unknown_method_is_reported_in_printable_form(method: str) -> None:
    event = request(method, [])
    assert isinstance(event, m.UnknownRequest)
    assert len(event.method) <= 64
    assert event.method.isprintable()


# ---- ids and envelopes


@pytest.mark.parametrize(
    "request_id",
    [b"0", b"-7", b"9007199254740993", b"1.50", b"1e3", b"-0", b"null", b'""', b'"a \\u0041 \\" b"', b'"\xc3\xa4"', b"1" * 128],
)
def test_case_09_ids_are_kept_byte_for_byte(request_id: bytes) -> None:
    tail = b',"method":"mining.submit","params":["a.b","1","00","65000001","00000000"]}'
    assert decode_request(b'{"id":' + request_id + tail).id == request_id  # type: ignore[union-attr]  # a submit has an id
    assert decode_request(b'{"id": ' + request_id + b' ,"method":"mining.ping"}') == m.Ping(request_id)


@pytest.mark.parametrize("request_id", [b"true", b"false", b"{}", b"[]", b"[1]", b'"' + b"x" * 127 + b'"', b"1" * 129, b'"\xff"'])
def test_case_09_ids_that_cannot_be_echoed_are_answered_with_null(request_id: bytes) -> None:
    for method in (b"mining.ping", b"mining.submit"):
        line = b'{"id":' + request_id + b',"method":"' + method + b'","params":["a.b","1","00","65000001","00000000"]}'
        event = decode_request(line)
        assert event == m.BadRequest(b"null", method.decode(), 20, "id must be a string, a number or null, of at most 128 bytes")


def test_case_10_a_request_without_an_id_is_a_notification_with_a_null_id() -> None:
    assert decode_request(b'{"method":"mining.ping","params":[]}') == m.Ping(b"null")
    line = b'{"method":"mining.submit","params":["a.b","1","00","65000001","00000000"]}'
    assert decode_request(line) == m.Submit(b"null", "a.b", "1", b"\0", 0x65000001, 0, None)


def test_case_10_other_members_such_as_jsonrpc_are_ignored() -> None:
    line = b'{"jsonrpc":"2.0","params":[],"id":3,"extra":{"deep":[1]},"method":"mining.ping","worker":"x"}'
    assert decode_request(line) == m.Ping(b"3")


def test_case_10_a_batch_is_refused_by_name() -> None:
    for line in (b'[{"id":1,"method":"mining.ping","params":[]}]', b"[]", b" [[]]"):
        with pytest.raises(RemoteProtocolError, match="batches") as caught:
            decode_request(line)
        assert json.loads(caught.value.reply) == {"id": None, "result": None, "error": [20, caught.value.reason, None]}


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b'{"id":1,"method":"mining.ping"',
        b'{"id":1}{"id":2}',
        b'{"id":01}',
        b"{'id':1}",
        b'{"id":1,}',
        b'{"method":"\xff"}',
        b'{"method":"\xed\xa0\x80"}',
        b'{"method":"\\ud800"}',
        b'{"id":1,"method":"mining.ping\x00"}',
        b'{"id":1,"method":"mining.suggest_difficulty","params":[NaN]}',
        b'{"id":1,"method":"mining.suggest_difficulty","params":[Infinity]}',
    ],
)
def test_case_11_what_is_no_json_breaks_the_connection(line: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="not JSON") as caught:
        decode_request(line)
    assert json.loads(caught.value.reply)["id"] is None


def test_case_11_deep_nesting_breaks_the_connection_wherever_it_is() -> None:
    deep = b"[" * 8000 + b"]" * 8000
    for line in (
        b'{"x":' + deep + b"}",
        b'{"id":1,"method":"mining.submit","params":' + deep + b"}",
        b'{"id":' + deep + b',"method":"mining.submit","params":[]}',
    ):
        with pytest.raises(RemoteProtocolError, match="nested too deep"):
            decode_request(line)


def test_case_11_of_duplicate_keys_the_last_one_counts() -> None:
    assert decode_request(b'{"id":1,"method":"x","id":2,"method":"mining.ping"}') == m.Ping(b"2")


def test_case_11_text_that_is_not_utf8_inside_parameters_is_a_bad_request() -> None:
    for method in (b"mining.subscribe", b"mining.authorize"):
        line = b'{"id":1,"method":"' + method + b'","params":["a\xff","x"]}'
        assert refusal(decode_request(line)) == "parameters are not UTF-8 text"


@pytest.mark.parametrize("line", [b"5", b'"x"', b"null", b"true"])
def test_json_that_is_no_object_breaks_the_connection(line: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="must be a JSON object"):
        decode_request(line)


@pytest.mark.parametrize("method", [5, True, ["mining.ping"], {}])
def test_a_method_that_is_no_text_is_a_bad_request_with_its_id(method: object) -> None:
    event = request(method, [], 7)
    assert isinstance(event, m.BadRequest)
    assert (event.id, event.method) == (b"7", "")
    event = request(method, [], {})
    assert isinstance(event, m.BadRequest)
    assert event.id == b"null"


@pytest.mark.parametrize("line", [b'{"id": 4, "method":0"mining.authorize", "params": []}', b'{"method":5,'])
def test_a_method_that_is_no_text_before_something_that_is_no_json_breaks_the_connection(line: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="not JSON"):
        decode_request(line)


def test_an_object_without_method_and_result_is_a_bad_request() -> None:
    assert refusal(decode_request(b"{}")) == "neither a method nor a result"
    assert refusal(decode_request(b'{"id":3,"params":[]}')) == "neither a method nor a result"


# ---- answers to what we asked


@pytest.mark.parametrize(
    ("line", "accepted"),
    [
        (b'{"id":1,"result":"pong","error":null}', True),
        (b'{"id":1,"result":true}', True),
        (b'{"id":1,"result":{},"error":null}', True),
        (b'{"id":1,"result":false,"error":null}', False),
        (b'{"id":1,"result":null,"error":null}', False),
        (b'{"id":1,"result":null,"error":[20,"no",null]}', False),
        (b'{"id":1,"error":"no"}', False),
    ],
)
def test_answers_say_yes_or_no(line: bytes, accepted: bool) -> None:
    assert decode_request(line) == m.Answer(b"1", accepted)


def test_the_answer_to_get_version_is_printable_text() -> None:
    assert decode_request(b'{"id":2,"result":"cgminer/4.11.1\\n","error":null}') == m.VersionAnswer("cgminer/4.11.1?")
    assert decode_request(b'{"id":2,"result":null,"error":[-3,"Method not found",null]}') == m.Answer(b"2", accepted=False)
    assert decode_request(b'{"id":2,"result":"\xff"}') == m.BadRequest(b"2", "", 20, "result is not UTF-8")
