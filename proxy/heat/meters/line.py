"""One TCP connection to a meter or to the gateway of several: opened when needed, one question at a time, closed after a fault.

Several meters behind one gateway share a line, so that their questions never mix on its bus. It knows no protocol: the caller
brings the bytes and recognises the answer.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

READ_BYTES = 4_096

Answer = TypeVar("Answer")
Connect = Callable[[str, int], Awaitable[trio.abc.Stream]]


class LineError(Exception):
    """No usable answer; the text says why. The line is closed and opens again with the next question."""


class Line:
    """The connection to one address."""

    def __init__(self, host: str, port: int, connect: Connect = trio.open_tcp_stream) -> None:
        """Opens nothing yet."""
        self._host = host
        self._port = port
        self._connect = connect
        self._stream: trio.abc.Stream | None = None
        self._turn = trio.Lock()

    async def ask(self, question: bytes, take: Callable[[bytes], Answer | None], timeout_s: float) -> Answer:
        """Send `question` and give received bytes to `take` until it returns an answer.

        Waiting for one's turn does not count into `timeout_s`. Raises LineError, also for a ValueError of `take`. When cancelled,
        the line is closed: a late answer must not be taken for that of the next question.
        """
        async with self._turn:
            answered = False
            try:
                with trio.fail_after(timeout_s):
                    answer = await self._exchange(question, take)
                answered = True
            except trio.TooSlowError as error:
                raise LineError(f"no answer from {self._host}:{self._port} in {timeout_s:g} s") from error
            except (OSError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise LineError(f"no connection to {self._host}:{self._port} ({_cause(error)})") from error
            except ValueError as error:
                raise LineError(str(error)) from error
            finally:
                if not answered:
                    await self._drop()
            return answer

    async def close(self) -> None:
        """Let the peer go."""
        await self._drop()

    async def _exchange(self, question: bytes, take: Callable[[bytes], Answer | None]) -> Answer:
        stream = self._stream
        if stream is None:
            stream = self._stream = await self._connect(self._host, self._port)
        await stream.send_all(question)
        while True:
            received = await stream.receive_some(READ_BYTES)
            if not received:
                raise trio.BrokenResourceError("closed by the other end")
            answer = take(bytes(received))
            if answer is not None:
                return answer

    async def _drop(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            await trio.aclose_forcefully(stream)


def _cause(error: BaseException) -> str:
    # Several addresses of one name fail as a group.
    while isinstance(error, OSError) and error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()
