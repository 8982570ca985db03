"""TLV fields, with both byte orders of the user identity."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.v2.tlv import Tlv, decode_tlvs, encode_tlvs, find_user_identity, user_identity_tlv

VECTORS = {
    vector["name"]: vector
    for vector in json.loads((Path(__file__).parents[2] / "vectors" / "sv2_constants.json").read_text())["vectors"]
}
TLVS = st.lists(st.builds(Tlv, st.integers(3, 0x7FFF), st.integers(0, 255), st.binary(max_size=40)), max_size=5)


def test_big_endian_example_of_the_specification_is_read() -> None:
    vector = VECTORS["tlv_user_identity_spec_example"]
    assert find_user_identity(decode_tlvs(bytes.fromhex(vector["spec_bytes"]))) == vector["text"].encode()


def test_reference_implementation_is_read_and_written() -> None:
    vector = VECTORS["tlv_sri_wire"]
    data = bytes.fromhex(vector["sri_bytes"])
    assert decode_tlvs(data) == (user_identity_tlv(vector["text"]),)
    assert encode_tlvs([user_identity_tlv(vector["text"])]) == data


@given(TLVS)
def test_fields_come_back_ordered_by_extension(tlvs: list[Tlv]) -> None:
    assert decode_tlvs(encode_tlvs(tlvs)) == tuple(sorted(tlvs, key=lambda tlv: tlv.extension_type))


@given(TLVS, st.binary(min_size=1, max_size=32))
def test_big_endian_identity_is_found_behind_other_fields(tlvs: list[Tlv], name: bytes) -> None:
    data = encode_tlvs(tlvs) + b"\x00\x02\x01\x00" + bytes([len(name)]) + name
    assert find_user_identity(decode_tlvs(data)) == name


@given(st.binary(max_size=32))
def test_little_endian_identity_of_any_bytes_is_found(name: bytes) -> None:
    assert find_user_identity(decode_tlvs(encode_tlvs([Tlv(2, 1, name)]))) == name


@given(st.binary(max_size=80))
def test_random_bytes_are_fields_or_refused(data: bytes) -> None:
    try:
        tlvs = decode_tlvs(data)
    except RemoteProtocolError:
        return
    assert sum(5 + len(tlv.value) for tlv in tlvs) == len(data)


@pytest.mark.parametrize("cut", range(1, 9))
def test_cut_fields_are_refused(cut: int) -> None:
    with pytest.raises(RemoteProtocolError, match="truncated"):
        decode_tlvs(encode_tlvs([Tlv(2, 1, b"name")])[:cut])


@pytest.mark.parametrize("data", [b"\x02\x00\x01\x21\x00" + bytes(33), b"\x00\x02\x01\x00\x21" + bytes(33)])
def test_identity_of_33_bytes_is_refused_in_both_orders(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="33 bytes"):
        decode_tlvs(data)


def test_no_bytes_are_no_fields() -> None:
    assert decode_tlvs(b"") == ()
    assert find_user_identity(()) is None
    assert find_user_identity([Tlv(2, 2, b"x"), Tlv(3, 1, b"y")]) is None


@pytest.mark.parametrize("tlv", [Tlv(2, 1, bytes(33)), Tlv(3, 1, bytes(65536)), Tlv(65536, 1, b""), Tlv(3, 256, b"")])
def test_what_does_not_fit_is_our_own_mistake(tlv: Tlv) -> None:
    with pytest.raises(LocalProtocolError, match="TLV"):
        encode_tlvs([tlv])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("", b""),
        ("unit-7", b"unit-7"),
        ("x" * 40, b"x" * 32),
        ("x" * 31 + "ä", b"x" * 31),
        ("x" * 30 + "ä", b"x" * 30 + "ä".encode()),
        ("x" * 29 + "😀", b"x" * 29),
        ("a\ud800b", b"a?b"),
    ],
)
def test_names_are_cut_between_characters(name: str, value: bytes) -> None:
    assert user_identity_tlv(name).value == value


@given(st.text())
def test_cut_names_are_always_text_that_fits(name: str) -> None:
    value = user_identity_tlv(name).value
    assert len(value) <= 32
    assert name.encode("utf-8", "replace").startswith(value)
    value.decode()
