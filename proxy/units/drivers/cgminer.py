"""The CGMiner API as a line: one TCP connection, one request, one NUL-terminated reply.

What a request means and what a reply says is the driver's affair; deadlines and the cap are `link`'s.
"""

import trio

from proxy.units.drivers.base import Connect
from proxy.units.drivers.link import REPLY_LIMIT_BYTES, NoAnswer, converse


async def exchange(connect: Connect, address: str, port: int, request: bytes, *, ends_at_close: bool = False) -> bytes:
    """One request on a connection of its own; the reply without its NUL.

    `ends_at_close`: firmware that may close instead of sending the NUL; whether the reply is whole is then for its parser.
    Raises NotSent or NoAnswer (both UnitError), as `converse` does.
    """

    async def talk(stream: trio.abc.Stream) -> bytes:
        await stream.send_all(request)
        return await _receive(stream, ends_at_close)

    return await converse(connect, address, port, talk)


async def _receive(stream: trio.abc.Stream, ends_at_close: bool) -> bytes:
    reply = bytearray()
    while True:
        chunk = await stream.receive_some(65_536)
        if not chunk and reply and ends_at_close:
            return bytes(reply)
        if not chunk:
            raise NoAnswer("nothing came back" if not reply else f"only the first {len(reply)} bytes of an answer came")
        start = len(reply)
        reply += chunk
        end = reply.find(0, start)
        if end > REPLY_LIMIT_BYTES or (end < 0 and len(reply) > REPLY_LIMIT_BYTES):
            raise NoAnswer(f"an answer of more than {REPLY_LIMIT_BYTES} bytes: this is no miner's API")
        if end >= 0:
            return bytes(reply[:end])
