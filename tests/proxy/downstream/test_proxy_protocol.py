"""PROXY protocol headers, whole and cut at every byte."""

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import RemoteProtocolError
from proxy.downstream.proxy_protocol import V2_SIGNATURE, ProxyHeader, parse_proxy_header

V1 = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 3333\r\n"


def v2(family: int, payload: bytes, command: int = 1) -> bytes:
    return V2_SIGNATURE + struct.pack("!BBH", 0x20 | command, family, len(payload)) + payload


V2_INET = v2(0x11, socket.inet_aton("192.0.2.7") + socket.inet_aton("198.51.100.1") + struct.pack("!HH", 56324, 3333))
V2_INET6 = v2(
    0x21,
    socket.inet_pton(socket.AF_INET6, "2001:db8::7") + socket.inet_pton(socket.AF_INET6, "2001:db8::1") + struct.pack("!HH", 1, 2),
)


@pytest.mark.parametrize(
    ("header", "address"),
    [
        (V1, "192.0.2.7"),
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 1 2\r\n", "2001:db8::7"),
        (b"PROXY UNKNOWN\r\n", None),
        (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", None),
        (V2_INET, "192.0.2.7"),
        (V2_INET6, "2001:db8::7"),
        (v2(0x00, b""), None),
        (v2(0x00, b"", command=0), None),
        (v2(0x11, V2_INET[16:] + b"\x03\x00\x04abcd"), "192.0.2.7"),
    ],
)
def test_a_header_gives_the_miners_address_and_its_own_size(header: bytes, address: str | None) -> None:
    assert parse_proxy_header(header + b'{"id":1') == ProxyHeader(address, len(header))


@pytest.mark.parametrize("header", [V1, V2_INET, V2_INET6])
def test_every_prefix_of_a_header_asks_for_more(header: bytes) -> None:
    for size in range(len(header)):
        assert parse_proxy_header(header[:size]) is None


@pytest.mark.parametrize(
    "data",
    [
        b'{"id":1,"method":"mining.subscribe","params":[]}\n',
        b"PROXY TCP4 192.0.2.7 198.51.100.1 56324\r\n",
        b"PROXY TCP4 not-an-ip 198.51.100.1 1 2\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 x 2\r\n",
        b"PROXY " + b"x" * 107,
        V2_SIGNATURE + b"\x31\x11\x00\x0c" + bytes(12),
        V2_SIGNATURE + b"\x22\x11\x00\x0c" + bytes(12),
        V2_SIGNATURE + b"\x21\x11\xff\xff",
        v2(0x31, bytes(216)),
        v2(0x11, bytes(8)),
    ],
)
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        parse_proxy_header(data)


@given(st.binary(max_size=300), st.sampled_from([b"", b"PROXY ", V2_SIGNATURE]))
def test_random_bytes_never_raise_anything_else(data: bytes, start: bytes) -> None:
    try:
        header = parse_proxy_header(start + data)
    except RemoteProtocolError:
        return
    assert header is None or 0 < header.size <= len(start + data)
