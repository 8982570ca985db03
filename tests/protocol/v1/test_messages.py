"""The lines we send unasked, read back with a plain JSON parser."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import LocalProtocolError
from protocol.mining.job import VERSION_MASK_BIP320, Job
from protocol.mining.share import Verdict
from protocol.v1 import messages as m

JOB = Job(
    prev_hash=bytes(range(32)),
    version=0x20000000,
    nbits=0x1D00FFFF,
    ntime=0x65000000,
    coinbase_prefix=b"\x01\x02",
    coinbase_suffix=b"\x03\x04",
    merkle_path=(b"\xaa" * 32, b"\xbb" * 32),
    target=1,
    network_target=1,
    version_mask=VERSION_MASK_BIP320,
    min_ntime=0,
    max_ntime=1,
    clean=False,
)


def params_of(line: bytes, method: str) -> list:
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    message = json.loads(line)
    assert (message["id"], message["method"]) == (None, method)
    return message["params"]


@pytest.mark.parametrize("clean", [True, False])
def test_notify_is_what_miners_expect(clean: bool) -> None:
    assert params_of(m.encode_notify("1f", JOB, clean), "mining.notify") == [
        "1f",
        "0302010007060504" + "0b0a09080f0e0d0c" + "1312111017161514" + "1b1a19181f1e1d1c",
        "0102",
        "0304",
        ["aa" * 32, "bb" * 32],
        "20000000",
        "1d00ffff",
        "65000000",
        clean,
    ]


def test_the_clean_flag_of_the_line_is_the_one_asked_for_and_not_the_jobs() -> None:
    assert params_of(m.encode_notify("1", JOB, clean=True), "mining.notify")[8] is True


@given(st.binary(min_size=32, max_size=32))
def test_case_36_swapping_words_twice_gives_the_hash_back(prev_hash: bytes) -> None:
    assert m.swap_words(m.swap_words(prev_hash)) == prev_hash


@pytest.mark.parametrize(
    ("difficulty", "text"),
    [
        (1, "1"),
        (1.0, "1"),
        (512.0, "512"),
        (0.001, "0.001"),
        (2.0**-20, "0.00000095367431640625"),
        (1e-9, "0.000000001"),
        (16383.75, "16383.75"),
        (2.0**63, "9223372036854775808"),
        (1e22, "10000000000000000000000"),
    ],
)
def test_case_45_difficulties_are_plain_decimals_and_whole_ones_are_ints(difficulty: float, text: str) -> None:
    line = m.encode_set_difficulty(difficulty)
    assert params_of(line, "mining.set_difficulty") == [difficulty]
    assert f'"params":[{text}]'.encode() in line


@given(st.floats(min_value=1e-30, max_value=1e30))
def test_a_difficulty_is_read_back_exactly_and_without_an_exponent(difficulty: float) -> None:
    text = m.plain_decimal(difficulty)
    assert float(text) == difficulty
    assert b"e" not in text.lower()


@pytest.mark.parametrize("difficulty", [0, -1.0, math.nan, math.inf])
def test_a_difficulty_that_is_none_is_never_sent(difficulty: float) -> None:
    with pytest.raises(LocalProtocolError, match="difficulty"):
        m.encode_set_difficulty(difficulty)


def test_the_other_lines() -> None:
    assert params_of(m.encode_set_version_mask(0x1FFFE000), "mining.set_version_mask") == ["1fffe000"]
    assert params_of(m.encode_set_version_mask(0), "mining.set_version_mask") == ["00000000"]
    assert params_of(m.encode_set_extranonce(b"\x01\xff", 4), "mining.set_extranonce") == ["01ff", 4]
    assert params_of(m.encode_show_message('say "hi"\n'), "client.show_message") == ['say "hi"\n']
    assert params_of(m.encode_reconnect("pool.example", 3333, 2.5), "client.reconnect") == ["pool.example", 3333, 3]
    assert params_of(m.encode_reconnect(None, None, 0), "client.reconnect") == []


def test_every_refusal_has_a_code_that_firmware_knows() -> None:
    assert set(m.VERDICT_ERRORS) == set(Verdict) - {Verdict.VALID, Verdict.BLOCK}
    assert {code for code, _ in m.VERDICT_ERRORS.values()} == {20, 21, 22, 23, 24, 25}
