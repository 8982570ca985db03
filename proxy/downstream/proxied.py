"""The first bytes of a connection that comes through a load balancer: learn the miner's address, then make its session.

The header comes before everything else, TLS included: a balancer that passes TLS through writes it in plain text.
"""

from collections.abc import Callable

from protocol.errors import RemoteProtocolError
from proxy.downstream.connection import Connection, Session
from proxy.downstream.guard import Guard
from proxy.downstream.proxy_protocol import parse_proxy_header


class ProxiedStart:
    """Stands in for the session until the header is complete."""

    __slots__ = ("_begin", "_connection", "_data", "_guard", "_make_session")

    is_ready = False
    may_be_silent = False

    def __init__(
        self,
        connection: Connection,
        guard: Guard,
        make_session: Callable[[Connection], Session],
        begin: Callable[[Connection, bytes], None],
    ) -> None:
        """`begin` gets what follows the header, once the connection has its session."""
        self._connection = connection
        self._guard = guard
        self._make_session = make_session
        self._begin = begin
        self._data = b""

    def receive(self, data: bytes) -> None:
        """Collect the header; then hand the connection, and what follows the header, to its session."""
        self._data += data
        header = parse_proxy_header(self._data)
        if header is None:
            return
        connection = self._connection
        if header.address is not None:
            now_s = connection.last_read_s
            refusal = self._guard.admit(header.address, now_s)
            if refusal is not None:
                raise RemoteProtocolError(refusal)
            # From here on the miner's own address counts, not the balancer's.
            self._guard.leave(connection.address, now_s)
            connection.address = header.address
        connection.session = self._make_session(connection)
        self._begin(connection, self._data[header.size :])

    def closed(self, reason: str) -> None:
        """Nothing was begun."""
