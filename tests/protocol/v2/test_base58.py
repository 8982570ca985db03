"""Base58Check: published pairs, every changed character, leading zeros, bounds."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.v2 import base58

VECTORS = Path(__file__).parents[2] / "vectors"
CONSTANTS = {vector["name"]: vector for vector in json.loads((VECTORS / "sv2_constants.json").read_text())["vectors"]}
PAIR = CONSTANTS["authority_key_base58check"]
TEXT = PAIR["base58check"]
ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def test_the_published_pair_goes_both_ways() -> None:
    payload = bytes.fromhex(PAIR["prefix"] + PAIR["raw"])
    assert base58.encode_check(payload) == TEXT
    assert base58.decode_check(TEXT) == payload


@given(st.binary(max_size=80))
def test_whatever_is_encoded_is_decoded_again(payload: bytes) -> None:
    text = base58.encode_check(payload)
    assert set(text) <= set(ALPHABET)
    assert base58.decode_check(text) == payload


@pytest.mark.parametrize("zeros", range(4))
def test_leading_zero_bytes_are_leading_ones(zeros: int) -> None:
    text = base58.encode_check(bytes(zeros) + b"\x07")
    assert len(text) - len(text.lstrip("1")) == zeros
    with pytest.raises(ValueError, match="checksum"):
        base58.decode_check("1" + text)


@pytest.mark.parametrize("place", range(len(TEXT)))
def test_another_character_anywhere_is_noticed(place: int) -> None:
    for character in ALPHABET.replace(TEXT[place], ""):
        with pytest.raises(ValueError, match="checksum does not match"):
            base58.decode_check(TEXT[:place] + character + TEXT[place + 1 :])


@pytest.mark.parametrize("character", ["0", "O", "I", "l", " ", "\n", "é", "٣", "+"])
def test_a_character_outside_the_alphabet_is_named_with_its_place(character: str) -> None:
    with pytest.raises(ValueError, match=r"character 4 .* is not in the base58 alphabet"):
        base58.decode_check(TEXT[:3] + character + TEXT[3:])


@pytest.mark.parametrize("text", ["", "1", "111", "2", "zzzz", TEXT[:-1], TEXT[1:]])
def test_too_short_a_text_has_no_checksum_that_matches(text: str) -> None:
    with pytest.raises(ValueError, match="checksum"):
        base58.decode_check(text)


def test_a_text_beyond_the_bound_is_not_even_looked_at() -> None:
    with pytest.raises(ValueError, match="longer than 128"):
        base58.decode_check("0" * 129)


@given(st.text(max_size=140))
def test_any_text_gives_bytes_or_a_value_error(text: str) -> None:
    try:
        payload = base58.decode_check(text)
    except ValueError:
        return
    assert base58.encode_check(payload) == text
