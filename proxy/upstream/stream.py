"""The bytes between us and a pool: a connection that opens in time, an outbox with a bound, and two halves that break together.

It knows no protocol and does NOT connect again: see reconnect.py.
"""

import ssl
from collections.abc import Awaitable, Callable

import trio

from protocol.errors import RemoteProtocolError
from proxy.config import Pool as PoolConfig
from proxy.errors import PoolError

# Some 30,000 shares: what a burst of all units makes between two turns of the loop, never what a pool that does not read leaves.
MAX_UNSENT_BYTES = 4 * 1_048_576

# What a pool, a network or a firewall in between can cause. Everything else is our bug and must be seen as one.
EXPECTED = (PoolError, RemoteProtocolError, OSError, ssl.SSLError, trio.BrokenResourceError, trio.ClosedResourceError)


class Outbox:
    """Bytes that wait to be sent. It takes what it is given: who has a choice asks `has_room` first."""

    __slots__ = ("_bytes", "_wake")

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._wake = trio.Event()

    @property
    def has_room(self) -> bool:
        """The pool reads what it is sent."""
        return len(self._bytes) < MAX_UNSENT_BYTES

    def put(self, data: bytes) -> None:
        """Queue for sending, in the order of the calls."""
        self._bytes += data
        self._wake.set()

    def take(self) -> bytes:
        """Everything that waits."""
        self._wake = trio.Event()
        data = bytes(self._bytes)
        self._bytes.clear()
        return data

    async def write(self, stream: trio.abc.Stream, timeout_s: float) -> None:
        """Send what comes until cancelled. Raises PoolError when the pool takes nothing for `timeout_s`."""
        while True:
            await self._wake.wait()
            data = self.take()
            with trio.move_on_after(timeout_s) as scope:
                await stream.send_all(data)
            if scope.cancelled_caught:
                raise PoolError(f"the pool took no bytes for {timeout_s:g} s")


async def connect(config: PoolConfig, host: str, port: int, tls: ssl.SSLContext | None = None) -> trio.abc.Stream:
    """A stream to this address within `connect_timeout_s`, secured where `tls` is given. Raises PoolError."""
    try:
        with trio.fail_after(config.connect_timeout_s):
            stream: trio.abc.Stream = await trio.open_tcp_stream(host, port)
            if tls is not None:
                name = config.tls_server_name or host
                secure = trio.SSLStream(stream, tls, server_hostname=name, https_compatible=True)
                await secure.do_handshake()
                stream = secure
    except trio.TooSlowError:
        raise PoolError(f"no connection within {config.connect_timeout_s:g} s") from None
    except (OSError, trio.BrokenResourceError) as error:
        raise PoolError(f"cannot connect: {innermost(error)}") from error
    return stream


async def first_failure(stream: trio.abc.Stream, *halves: Callable[[trio.abc.Stream], Awaitable[None]]) -> PoolError:
    """Run the halves of a connection until one of them breaks, which ends the others: why it broke. A bug is raised."""
    failures: list[Exception] = []

    async def until_it_breaks(half: Callable[[trio.abc.Stream], Awaitable[None]]) -> None:
        try:
            await half(stream)
        except EXPECTED as error:
            failures.append(error)
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for half in halves:
            nursery.start_soon(until_it_breaks, half)
    return as_pool_error(failures[0])


async def close(stream: trio.abc.Stream) -> None:
    """Close without a farewell, for a second at the most even when cancelled."""
    with trio.CancelScope(shield=True, deadline=trio.current_time() + 1):
        await trio.aclose_forcefully(stream)


def as_pool_error(error: Exception) -> PoolError:
    """Any of EXPECTED, in words for the operator."""
    if isinstance(error, PoolError):
        return error
    if isinstance(error, RemoteProtocolError):
        return PoolError(f"the pool broke the protocol: {error.reason}")
    return PoolError(f"connection lost: {innermost(error) or type(error).__name__}")


def innermost(error: BaseException) -> str:
    """What the operator can act on: of several addresses tried, the last one's reason, not that all failed."""
    cause = error.__cause__ or error
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[-1]
    return str(cause)
