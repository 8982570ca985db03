"""Addresses as they are written in a site file: `host:port`, and which of them the network can reach.

Nothing is resolved or opened here.
"""

import ipaddress

import msgspec


class Endpoint(msgspec.Struct, frozen=True):
    """Where something listens or is reached. `host` is without the brackets of IPv6; port 0 is any free port."""

    host: str
    port: int

    def overlaps(self, other: "Endpoint") -> bool:
        """Whether both cannot listen on one machine at the same time."""
        if self.port != other.port or self.port == 0:
            return False
        return self.host == other.host or is_wildcard(self.host) or is_wildcard(other.host)


def parse_endpoint(text: str) -> Endpoint | None:
    """`127.0.0.1:3333`, `[::]:3333` or `pool.example:3333` as an Endpoint; None when it is nothing of the kind."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        return None
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:  # an IPv6 address without brackets: which colon ends it cannot be told
        return None
    return Endpoint(host, int(port)) if host and not any(letter.isspace() for letter in host) else None


def is_wildcard(host: str) -> bool:
    """Whether listening on `host` means every address of the machine."""
    return host in ("", "0.0.0.0", "::")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`. A name other than localhost counts as reachable from elsewhere."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
