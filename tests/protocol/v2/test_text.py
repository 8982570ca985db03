"""Bytes of a peer as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.v2.text import printable


@pytest.mark.parametrize(
    ("data", "text"),
    [(b"stale-share", "stale-share"), ("größe".encode(), "größe"), (b"a\nb\x1b[0m", "a?b?[0m"), (b"\xffx", "\\xffx"), (b"", "")],
)
def test_known_strings(data: bytes, text: str) -> None:
    assert printable(data) == text


@given(st.binary(max_size=255))
def test_every_string_is_shown_on_one_line(data: bytes) -> None:
    text = printable(data)
    assert text.isprintable()
    assert len(text) <= 4 * len(data)
