"""The six bytes before every payload."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.v2.header import FrameHeader, pack_header, unpack_header


@given(st.integers(0, 0xFFFF), st.integers(0, 0xFF), st.integers(0, 0xFFFFFF))
def test_header_comes_back(extension_type: int, message_type: int, length: int) -> None:
    packed = pack_header(extension_type, message_type, length)
    assert len(packed) == 6
    header = unpack_header(packed + b"payload")
    assert header == FrameHeader(extension_type, message_type, length)
    assert header.is_channel is (extension_type >= 0x8000)


def test_order_of_the_bytes() -> None:
    assert pack_header(0x8001, 0x1B, 0x030201) == bytes.fromhex("0180 1b 010203")


@pytest.mark.parametrize("values", [(0x10000, 0, 0), (0, 256, 0), (0, 0, 2**24), (0, 0, -1)])
def test_what_does_not_fit_is_refused(values: tuple[int, int, int]) -> None:
    with pytest.raises(struct.error):
        pack_header(*values)


def test_short_header_is_refused() -> None:
    with pytest.raises(struct.error):
        unpack_header(bytes(5))
