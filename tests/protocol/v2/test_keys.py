"""Keys, their text form, and pool addresses that carry one."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import LocalProtocolError
from protocol.v2 import base58, secp256k1
from protocol.v2.keys import (
    PoolAddress,
    abbreviate_authority_key,
    authority_key_from,
    decode_authority_key,
    encode_authority_key,
    new_authority_key,
    new_noise_key,
    noise_key_from,
    parse_pool_url,
)
from tests.support.noise_pair import counting_rng

VECTORS = Path(__file__).parents[2] / "vectors"
CONSTANTS = {vector["name"]: vector for vector in json.loads((VECTORS / "sv2_constants.json").read_text())["vectors"]}
PAIR = CONSTANTS["authority_key_base58check"]
KEY, TEXT = bytes.fromhex(PAIR["raw"]), PAIR["base58check"]


def test_the_published_authority_key_goes_both_ways() -> None:
    assert encode_authority_key(KEY) == TEXT
    assert decode_authority_key(TEXT) == KEY
    assert abbreviate_authority_key(KEY) == "9bXiEd8b..."


def test_the_reference_implementations_test_secret_gives_its_public_key() -> None:
    pair = CONSTANTS["sri_test_authority_keypair"]
    key = authority_key_from(base58.decode_check(pair["base58check_secret"]))
    assert encode_authority_key(key.public_x) == pair["base58check_public"]


def test_the_older_form_without_a_version_is_read() -> None:
    assert decode_authority_key(base58.encode_check(KEY)) == KEY


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"\x02\x00" + KEY, "key type 02 00, not 01 00"),
        (b"\x00\x01" + KEY, "key type 00 01, not 01 00"),
        (b"\x01\x00" + KEY[1:], "33 bytes inside, not 34"),
        (b"\x01\x00" + KEY + b"\x00", "35 bytes inside, not 34"),
        (b"", "0 bytes inside"),
        (b"\x01\x00" + bytes(32), "no point of secp256k1"),
        (b"\x01\x00" + b"\xff" * 32, "no point of secp256k1"),
    ],
)
def test_what_is_no_authority_key_is_refused_with_its_reason(payload: bytes, reason: str) -> None:
    text = base58.encode_check(payload)
    with pytest.raises(ValueError, match=f"^authority key: {reason}") as caught:
        decode_authority_key(text)
    assert text not in str(caught.value) or not text


def test_a_typing_error_is_told_without_quoting_the_key() -> None:
    with pytest.raises(ValueError, match=r"^authority key: the checksum does not match") as caught:
        decode_authority_key(TEXT[:-1] + "i")
    assert TEXT[:10] not in str(caught.value)


def test_fresh_keys_differ_and_know_their_public_half() -> None:
    rng = counting_rng("keys")
    one, other = new_noise_key(rng), new_noise_key(rng)
    assert one != other
    assert one.public_x == secp256k1.public_x(one.secret)
    assert new_authority_key(rng).public_x != new_authority_key(rng).public_x


def test_a_stored_secret_gives_the_same_key_under_another_encoding() -> None:
    rng = counting_rng("keys")
    key = new_noise_key(rng)
    again = noise_key_from(key.secret, rng)
    assert again.ellswift != key.ellswift
    assert again.public_x == key.public_x


def test_a_random_source_that_gives_zeros_gives_no_key() -> None:
    with pytest.raises(LocalProtocolError, match="random source"):
        new_noise_key(bytes)
    with pytest.raises(LocalProtocolError, match="random source"):
        new_authority_key(bytes)


@pytest.mark.parametrize("secret", [b"", bytes(32), b"\x01" * 33])
def test_a_stored_secret_that_is_none_is_refused(secret: bytes) -> None:
    with pytest.raises(ValueError):
        noise_key_from(secret, counting_rng("keys"))
    with pytest.raises(ValueError):
        authority_key_from(secret)


def test_no_repr_shows_a_secret() -> None:
    rng = counting_rng("keys")
    for key in (new_noise_key(rng), new_authority_key(rng)):
        for shown in (repr(key), str(key), f"{key}", repr([key]), repr({"key": key})):
            assert key.secret.hex() not in shown
            assert repr(key.secret) not in shown
    assert encode_authority_key(authority_key_from(b"\x01" * 32).public_x) in repr(authority_key_from(b"\x01" * 32))


# ---- addresses


@pytest.mark.parametrize(
    ("url", "address"),
    [
        (f"stratum2+tcp://pool.example:34254/{TEXT}", PoolAddress("pool.example", 34254, KEY)),
        (f"STRATUM2+TCP://Pool.Example:1/{TEXT}", PoolAddress("pool.example", 1, KEY)),
        ("stratum2+tcp://192.0.2.7:65535", PoolAddress("192.0.2.7", 65535, None)),
        ("stratum2+tcp://192.0.2.7:3336/", PoolAddress("192.0.2.7", 3336, None)),
        (f"stratum2+tcp://[2001:DB8::0:7]:3336/{TEXT}", PoolAddress("2001:db8::7", 3336, KEY)),
        ("stratum2+tcp://pool_1.internal.:3336", PoolAddress("pool_1.internal.", 3336, None)),
        ("stratum2+tcp://x:3336", PoolAddress("x", 3336, None)),
    ],
)
def test_a_pool_url_is_taken_apart(url: str, address: PoolAddress) -> None:
    assert parse_pool_url(url) == address


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "not of the form"),
        ("stratum+tcp://pool.example:3333", "not of the form"),
        ("stratum2+ssl://pool.example:3333", "not of the form"),
        ("pool.example:3333", "not of the form"),
        ("stratum2+tcp://pool.example:3333/" + "1" * 600, "not of the form"),
        ("stratum2+tcp://pool.example:3333/\n", "not of the form"),
        (f"stratum2+tcp://pool.example/{TEXT}", "the port is missing"),
        ("stratum2+tcp://[2001:db8::7]", "the port is missing"),
        ("stratum2+tcp://pool.example:/", "port '' is not a number"),
        ("stratum2+tcp://pool.example:0", "port '0' is not a number from 1 to 65535"),
        ("stratum2+tcp://pool.example:65536", "port '65536'"),
        ("stratum2+tcp://pool.example:٣", "port"),
        ("stratum2+tcp://pool.example:+1", "port"),
        ("stratum2+tcp://2001:db8::7:3336", "port 'db8::7:3336'"),
        ("stratum2+tcp://:3336", "the host is missing"),
        ("stratum2+tcp://user@pool.example:3336", "is not a host name"),
        ("stratum2+tcp://pool example:3336", "is not a host name"),
        ("stratum2+tcp://-pool:3336", "is not a host name"),
        ("stratum2+tcp://" + "a" * 254 + ":3336", "is not a host name"),
        ("stratum2+tcp://[pool]:3336", r"\[pool\] is not an IPv6 address"),
        ("stratum2+tcp://[]:3336", r"\[\] is not an IPv6 address"),
        (f"stratum2+tcp://pool.example:3336/{TEXT}/", "authority key: character 52 \\('/'\\)"),
        (f"stratum2+tcp://pool.example:3336/{TEXT[:-1]}", "authority key: the checksum"),
        (f"stratum2+tcp://pool.example:3336/{TEXT}?x=1", "authority key: character 52"),
    ],
)
def test_a_pool_url_that_is_wrong_is_refused_with_what_to_correct(url: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_pool_url(url)


@given(st.text(max_size=60))
def test_any_url_gives_an_address_or_a_value_error(text: str) -> None:
    for url in (text, "stratum2+tcp://" + text, f"stratum2+tcp://pool:1/{text}"):
        try:
            address = parse_pool_url(url)
        except ValueError:
            continue
        assert address.host
        assert 1 <= address.port <= 65535
