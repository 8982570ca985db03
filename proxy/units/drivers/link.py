"""One exchange with a machine on a connection of its own: deadlines, the cap, and whether anything can have reached it.

Every vendor's framing (`cgminer`, `whatsminer`, `http`) talks inside of it. What is said is theirs; nothing is ever sent twice
here.
"""

import ipaddress
from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from proxy.errors import UnitError
from proxy.units.drivers.base import Connect

T = TypeVar("T")

# A1566HA estats are 6-12 kB and the largest seen anywhere stay below 40 kB; this is a fence against a peer that never stops.
REPLY_LIMIT_BYTES = 256 * 1024
# A healthy controller on a site network answers in 10-50 ms. A rebooting one accepts and is silent: do not wait for it.
CONNECT_TIMEOUT_S = 2.0
REPLY_TIMEOUT_S = 4.0


class NotSent(UnitError):
    """The request never left this machine: asking again repeats nothing."""


class NoAnswer(UnitError):
    """The request may have been carried out, but no whole answer came back."""


async def connect_tcp(address: str, port: int) -> trio.abc.Stream:
    """Straight to a numeric address; a name goes the long way. Raises OSError; the caller sets the deadline.

    Half the cost of trio.open_tcp_stream, which resolves and races addresses: a sweep opens a connection a unit.
    """
    try:
        version = ipaddress.ip_address(address).version
    except ValueError:
        return await trio.open_tcp_stream(address, port)
    sock = trio.socket.socket(trio.socket.AF_INET if version == 4 else trio.socket.AF_INET6, trio.socket.SOCK_STREAM)
    try:
        await sock.connect((address, port))
    except BaseException:
        sock.close()
        raise
    return trio.SocketStream(sock)


async def converse(connect: Connect, address: str, port: int, talk: Callable[[trio.abc.Stream], Awaitable[T]]) -> T:
    """Let `talk` have its exchange on a new connection, and give back what it returns.

    Raises NotSent or NoAnswer (both UnitError); ends within CONNECT_TIMEOUT_S + REPLY_TIMEOUT_S.
    """
    try:
        with trio.fail_after(CONNECT_TIMEOUT_S):
            stream = await connect(address, port)
    except (OSError, trio.TooSlowError) as problem:
        raise NotSent(f"no connection to {address}:{port} ({_cause(problem)}): is it powered and on the network?") from problem
    try:
        with trio.fail_after(REPLY_TIMEOUT_S):
            return await talk(stream)
    except trio.TooSlowError as problem:
        raise NoAnswer(f"{address}:{port} took the request and was silent for {REPLY_TIMEOUT_S:g} s") from problem
    except (OSError, trio.BrokenResourceError, trio.ClosedResourceError) as problem:
        raise NoAnswer(f"{address}:{port} broke the connection ({_cause(problem)})") from problem
    finally:
        # Not a polite close: the exchange is over, and a peer must not be able to hold us here.
        await trio.aclose_forcefully(stream)


def _cause(problem: BaseException) -> str:
    if isinstance(problem, trio.TooSlowError):
        return "timed out"
    return str(problem) or type(problem).__name__
