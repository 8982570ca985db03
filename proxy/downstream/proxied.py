"""The first bytes of a connection that comes through a load balancer: learn the miner's address, then make its session."""

from collections.abc import Callable

from protocol.errors import RemoteProtocolError
from proxy.downstream.connection import Connection, Session
from proxy.downstream.guard import Guard
from proxy.downstream.proxy_protocol import parse_proxy_header


class ProxiedStart:
    """Stands in for the session until the header is complete."""

    __slots__ = ("_connection", "_data", "_guard", "_make_session")

    is_ready = False

    def __init__(self, connection: Connection, guard: Guard, make_session: Callable[[Connection], Session]) -> None:
        self._connection = connection
        self._guard = guard
        self._make_session = make_session
        self._data = b""

    def receive(self, data: bytes) -> None:
        """Collect the header; then hand the connection, and what follows the header, to its session."""
        if not self._guard.trusts_proxy(self._connection.address):
            raise RemoteProtocolError(f"{self._connection.address} may not send PROXY headers (listen.proxy_protocol_from)")
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
        rest = self._data[header.size :]
        if rest:
            connection.session.receive(rest)

    def closed(self, reason: str) -> None:
        """Nothing was begun."""
