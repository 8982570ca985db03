"""Newline framing: whole lines, one bound, no matter how the bytes are cut."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import RemoteProtocolError
from protocol.v1.framing import next_json_line
from protocol.v1.lines import LineBuffer


def lines_of(buffer: LineBuffer) -> list[bytes]:
    return list(iter(buffer.next_line, None))


def test_case_11_two_objects_in_one_segment_are_two_lines() -> None:
    buffer = LineBuffer(100)
    buffer.feed(b'{"a":1}\n{"b":2}\n')
    assert lines_of(buffer) == [b'{"a":1}', b'{"b":2}']
    assert buffer.buffered == 0


def test_case_11_one_object_over_twenty_segments_is_one_line() -> None:
    buffer = LineBuffer(100)
    line = b'{"id":1,"method":"mining.subscribe","params":[]}\n'
    for start in range(0, len(line), 3):
        assert buffer.next_line() is None
        buffer.feed(line[start : start + 3])
    assert buffer.next_line() == line[:-1]


def test_case_11_one_carriage_return_before_the_newline_goes_and_a_second_stays() -> None:
    buffer = LineBuffer(100)
    buffer.feed(b"a\r\nb\r\r\n\r\n\n\rc\n")
    assert lines_of(buffer) == [b"a", b"b\r", b"", b"", b"\rc"]


def test_a_line_of_exactly_the_limit_passes_and_one_byte_more_is_refused() -> None:
    buffer = LineBuffer(8)
    buffer.feed(b"12345678\n")
    assert buffer.next_line() == b"12345678"
    buffer.feed(b"123456789\n")
    with pytest.raises(RemoteProtocolError, match="longer than 8 bytes"):
        buffer.next_line()


def test_case_11_an_overlong_line_is_refused_before_its_newline_comes_and_for_ever() -> None:
    buffer = LineBuffer(8)
    buffer.feed(b"good\n")
    buffer.feed(b"1234")
    buffer.feed(b"56789")
    assert buffer.next_line() == b"good"
    for _ in range(2):
        with pytest.raises(RemoteProtocolError, match="longer than 8 bytes"):
            buffer.next_line()


def test_a_rest_is_kept_over_lines_taken_in_between() -> None:
    buffer = LineBuffer(100)
    buffer.feed(bytearray(b"one\ntw"))
    assert buffer.next_line() == b"one"
    assert buffer.next_line() is None
    assert (buffer.peek(), buffer.buffered) == (ord("t"), 2)
    buffer.feed(bytearray(b"o\nthree\nfo"))
    assert lines_of(buffer) == [b"two", b"three"]
    buffer.feed(b"ur\n")
    assert lines_of(buffer) == [b"four"]
    assert buffer.peek() is None


def test_what_is_fed_is_kept_even_when_the_callers_buffer_changes() -> None:
    buffer = LineBuffer(100)
    received = bytearray(b"line\n")
    buffer.feed(received)
    received[:] = b"?????"
    assert buffer.next_line() == b"line"


@given(st.binary(max_size=200), st.lists(st.integers(0, 200)))
def test_cutting_the_stream_anywhere_changes_no_line(data: bytes, cuts: list[int]) -> None:
    def outcome(segments: list[bytes]) -> list[bytes | str]:
        buffer = LineBuffer(20)
        found: list[bytes | str] = []
        for segment in segments:
            buffer.feed(segment)
            try:
                found += iter(buffer.next_line, None)
            except RemoteProtocolError as error:
                return [*found, error.reason]
        return found

    edges = [0, *sorted(cut for cut in cuts if cut <= len(data)), len(data)]
    segments = [data[a:b] for a, b in itertools.pairwise(edges)]
    assert outcome(segments) == outcome([data])


@pytest.mark.parametrize(
    ("greeting", "reason"),
    [
        (bytes.fromhex("1603010200010001fc0303"), "ClientHello"),
        (bytes.fromhex("15030300020228"), "an alert"),
        (b"GET / HTTP/1.1\r\nHost: proxy\r\n\r\n", "HTTP"),
        (b"POST /api/v1/heat/demand HTTP/1.1\r\n", "HTTP"),
        (b"\xef\xbb\xbf{}\n", "byte order mark"),
        (b"\x00{}\n", "0x00"),
        (bytes(range(0x80, 0xC0)), "Stratum V2"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "0x53"),
    ],
)
def test_case_15_another_protocol_is_named_from_its_first_byte(greeting: bytes, reason: str) -> None:
    for fed in (greeting[:1], greeting, b" \n" + greeting):
        buffer = LineBuffer(1000)
        buffer.feed(fed)
        with pytest.raises(RemoteProtocolError, match=reason):
            next_json_line(buffer)


def test_case_15_a_browser_is_told_where_it_landed() -> None:
    buffer = LineBuffer(1000)
    buffer.feed(b"GET / HTTP/1.1\r\n")
    with pytest.raises(RemoteProtocolError) as caught:
        next_json_line(buffer)
    assert caught.value.reply.startswith(b"HTTP/1.1 400 Bad Request\r\n")


def test_blank_lines_and_leading_white_space_are_skipped() -> None:
    buffer = LineBuffer(1000)
    buffer.feed(b"\n\r\n  \t\n {}\n")
    assert next_json_line(buffer) == b"{}"
    assert next_json_line(buffer) is None
    buffer.feed(b"  ")
    assert next_json_line(buffer) is None
    buffer.feed(b'\t{"a"')
    assert next_json_line(buffer) is None
    buffer.feed(b":1 }\r\n\n")
    assert next_json_line(buffer) == b'{"a":1 }'
    assert next_json_line(buffer) is None


def test_any_number_of_blank_lines_holds_no_memory_and_breaks_no_limit() -> None:
    buffer = LineBuffer(10)
    for _ in range(3):
        buffer.feed(b" \r\n" * 10_000)
        assert next_json_line(buffer) is None
        assert buffer.buffered == 0


def test_lines_taken_are_not_held_together_with_an_unfinished_one() -> None:
    buffer = LineBuffer(100)
    buffer.feed(b"x" * 90 + b"\n" + b"y")
    assert buffer.next_line() == b"x" * 90
    assert buffer.next_line() is None
    assert (buffer.buffered, len(buffer._data)) == (1, 1)
    buffer.feed(b"\n")
    assert buffer.next_line() == b"y"
