"""The PROXY protocol, versions 1 and 2: who the miner really is when a load balancer stands before us. Pure.

Source: HAProxy's proxy-protocol.txt, sections 2.1 (v1, at most 107 bytes) and 2.2 (v2).
"""

import ipaddress
import struct

import msgspec

from protocol.errors import RemoteProtocolError

V2_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
V1_MAX_BYTES = 107
# Addresses of both families fit in 36 bytes; TLVs may follow. More than this is no load balancer.
V2_MAX_PAYLOAD = 2_048


class ProxyHeader(msgspec.Struct, frozen=True, gc=False):
    """address: the miner's, None when the balancer speaks for itself (LOCAL, UNKNOWN). size: bytes of the header."""

    address: str | None
    size: int


def parse_proxy_header(data: bytes) -> ProxyHeader | None:
    """The header at the start of `data`; None: more bytes are needed. Raises RemoteProtocolError for anything else."""
    if data.startswith(V2_SIGNATURE):
        return _parse_v2(data)
    if V2_SIGNATURE.startswith(data) or b"PROXY ".startswith(data):
        return None
    if data.startswith(b"PROXY "):
        return _parse_v1(data)
    raise RemoteProtocolError("no PROXY protocol header, which listen.proxy_protocol = 'required' demands")


def plain_address(text: str) -> str:
    """An address as units are configured: ::ffff:10.0.0.1, which a dual-stack socket shows, is 10.0.0.1.

    Raises ValueError for what is no address.
    """
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _parse_v1(data: bytes) -> ProxyHeader | None:
    end = data.find(b"\r\n", 0, V1_MAX_BYTES)
    if end < 0:
        if len(data) >= V1_MAX_BYTES:
            raise RemoteProtocolError("PROXY header longer than 107 bytes")
        return None
    words = data[:end].decode("ascii", "replace").split(" ")
    if words[1:2] == ["UNKNOWN"]:
        return ProxyHeader(None, end + 2)
    if len(words) != 6 or words[1] not in ("TCP4", "TCP6") or not (words[4].isdigit() and words[5].isdigit()):
        raise RemoteProtocolError("malformed PROXY v1 header")
    try:
        address = plain_address(words[2])
    except ValueError:
        raise RemoteProtocolError("malformed address in PROXY v1 header") from None
    return ProxyHeader(address, end + 2)


def _parse_v2(data: bytes) -> ProxyHeader | None:
    if len(data) < 16:
        return None
    version_command, family, length = struct.unpack_from("!BBH", data, 12)
    if version_command >> 4 != 2 or version_command & 0x0F > 1 or length > V2_MAX_PAYLOAD:
        raise RemoteProtocolError("malformed PROXY v2 header")
    if len(data) < 16 + length:
        return None
    size = 16 + length
    if version_command & 0x0F == 0 or family >> 4 == 0:
        return ProxyHeader(None, size)
    address_size = {1: 4, 2: 16}.get(family >> 4)
    if address_size is None or length < 2 * address_size + 4:
        raise RemoteProtocolError("PROXY v2 header of an unknown address family")
    return ProxyHeader(plain_address(str(ipaddress.ip_address(data[16 : 16 + address_size]))), size)
