"""CompactSize: shortest forms only."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.bitcoin.varint import decode_compact_size, encode_compact_size


@given(st.integers(0, (1 << 64) - 1), st.binary(max_size=4), st.binary(max_size=4))
def test_a_count_survives_the_way_over_the_wire(value: int, before: bytes, after: bytes) -> None:
    encoded = encode_compact_size(value)
    assert decode_compact_size(before + encoded + after, len(before)) == (value, len(before) + len(encoded))


@pytest.mark.parametrize(
    ("value", "size"), [(0, 1), (0xFC, 1), (0xFD, 3), (0xFFFF, 3), (0x10000, 5), (0xFFFFFFFF, 5), (1 << 32, 9), ((1 << 64) - 1, 9)]
)
def test_the_shortest_form_is_written(value: int, size: int) -> None:
    assert len(encode_compact_size(value)) == size


@pytest.mark.parametrize("data", ["", "fd", "fdfc00", "fe0000", "feffff0000", "ff00000000", "ffffffffff00000000"])
def test_missing_bytes_and_longer_forms_are_refused(data: str) -> None:
    with pytest.raises(ValueError, match="CompactSize"):
        decode_compact_size(bytes.fromhex(data))
