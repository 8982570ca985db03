"""The construct types against the traps that plain construct has where the specification is strict."""

import struct

import construct
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.v2 import types
from protocol.v2.types import WireType, is_hash_rate, is_printable_ascii, struct_of
from tests.support.sv2 import values

ALL = [value for value in vars(types).values() if isinstance(value, WireType)]
REFUSED = (construct.ConstructError, TypeError)


def refuses_to_parse(wire_type: WireType, data: bytes) -> None:
    with pytest.raises(REFUSED):
        wire_type.construct.parse(data)


def refuses_to_build(wire_type: WireType, value: object) -> None:
    with pytest.raises((*REFUSED, OverflowError, struct.error)):
        wire_type.construct.build(value)


@given(st.sampled_from([wire_type for wire_type in ALL if wire_type is not types.B0_16M]), st.data())
def test_every_value_comes_back_within_the_declared_sizes(wire_type: WireType, data: st.DataObject) -> None:
    value = data.draw(values(wire_type))
    encoded = wire_type.construct.build(value)
    assert wire_type.construct.parse(encoded) == value
    assert type(wire_type.construct.parse(encoded)) is type(value)
    assert wire_type.min_size <= len(encoded) <= wire_type.max_size
    if encoded:
        refuses_to_parse(wire_type, encoded[:-1])


@pytest.mark.parametrize(
    ("wire_type", "value", "encoded"),
    [
        (types.U8, 0x12, "12"),
        (types.U16, 0x1234, "3412"),
        (types.U32, 0x12345678, "78563412"),
        (types.U64, 0x123456789ABCDEF0, "f0debc9a78563412"),
        (types.BOOL, True, "01"),
        (types.BOOL, False, "00"),
        (types.F32, 1.0, "0000803f"),
        (types.TARGET, 1, "01" + 31 * "00"),
        (types.TARGET, 0xFFFF << 208, 26 * "00" + "ffff" + 4 * "00"),
        (types.HASH, bytes(range(32)), bytes(range(32)).hex()),
        (types.STR0_255, b"ab", "026162"),
        (types.CODE, b"ab", "026162"),
        (types.B0_32, b"", "00"),
        (types.B0_255, b"\xff", "01ff"),
        (types.B0_64K, b"ab", "02006162"),
        (types.B0_16M, b"ab", "0200006162"),
        (types.OPTION_U32, None, "00"),
        (types.OPTION_U32, 0, "0100000000"),
        (types.SEQ0_255_HASH, (bytes(32),), "01" + 32 * "00"),
        (types.SEQ0_64K_HASH, (bytes(32),), "0100" + 32 * "00"),
        (types.SEQ0_64K_U16, (1, 2), "020001000200"),
        (types.SEQ0_64K_U32, (1, 2), "02000100000002000000"),
        (types.SEQ0_64K_BLOB, (b"a", b""), "020001000061000000"),
    ],
)
def test_known_encodings(wire_type: WireType, value: object, encoded: str) -> None:
    assert wire_type.construct.build(value).hex() == encoded
    assert wire_type.construct.parse(bytes.fromhex(encoded)) == value


@pytest.mark.parametrize("octet", range(256))
def test_bool_is_its_lowest_bit(octet: int) -> None:
    assert types.BOOL.construct.parse(bytes([octet])) is (octet & 1 == 1)


def test_construct_flag_would_be_wrong() -> None:
    assert construct.Flag.parse(b"\x02") is True


@pytest.mark.parametrize("count", [2, 3, 255])
def test_option_holds_at_most_one(count: int) -> None:
    refuses_to_parse(types.OPTION_U32, bytes([count]) + bytes(4 * count))


def test_b0_32_holds_32_bytes_and_no_more() -> None:
    assert types.B0_32.construct.parse(b"\x20" + bytes(32)) == bytes(32)
    refuses_to_parse(types.B0_32, b"\x21" + bytes(33))
    refuses_to_build(types.B0_32, bytes(33))


@pytest.mark.parametrize("wire_type", [types.STR0_255, types.B0_255, types.CODE])
def test_lengths_end_at_255(wire_type: WireType) -> None:
    assert len(wire_type.construct.build(b"x" * 255)) == 256
    refuses_to_build(wire_type, b"x" * 256)


def test_strings_are_bytes_of_any_kind() -> None:
    assert types.STR0_255.construct.parse(b"\x02\xff\xfe") == b"\xff\xfe"
    refuses_to_build(types.STR0_255, "text")


def test_codes_are_sent_printable_and_taken_as_they_come() -> None:
    assert types.CODE.construct.parse(b"\x02\n\xff") == b"\n\xff"
    for code in (b"\n", b"\x7f", b"\xc3\xa4"):
        refuses_to_build(types.CODE, code)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), -1.0, -0.0])
def test_f32_is_finite_and_not_negative_both_ways(value: float) -> None:
    refuses_to_build(types.F32, value)
    refuses_to_parse(types.F32, struct.pack("<f", value))


def test_f32_too_large_for_32_bits_is_refused() -> None:
    refuses_to_build(types.F32, 1e39)


@pytest.mark.parametrize("value", [-1, 2**256, b"x" * 32])
def test_targets_are_ints_of_256_bits(value: object) -> None:
    refuses_to_build(types.TARGET, value)


@pytest.mark.parametrize("value", [5, bytes(31), bytes(33), "x" * 32])
def test_hashes_are_32_bytes(value: object) -> None:
    refuses_to_build(types.HASH, value)


def test_construct_bytes_would_take_an_int_big_endian() -> None:
    assert construct.Bytes(32).build(1) == bytes(31) + b"\x01"


def test_trailing_bytes_are_left_alone() -> None:
    fields = struct_of([("a", types.U8), ("b", types.STR0_255)])
    assert fields.build({"a": 1, "b": b"x"}) == b"\x01\x01x"
    assert fields.parse(b"\x01\x01xmore") == construct.Container(a=1, b=b"x")


def test_predicates() -> None:
    assert is_hash_rate(0.0)
    assert is_hash_rate(3.4e38)
    assert not is_hash_rate(-0.0)
    assert is_printable_ascii(b"")
    assert is_printable_ascii(b"stale-share ~")
    assert not is_printable_ascii(b"tab\t")
