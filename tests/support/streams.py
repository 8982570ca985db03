"""Streams that change what passes through them."""

import trio


class Through(trio.abc.Stream):
    """The stream below, unchanged; a test overrides what it changes."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """See Stream."""
        await self._stream.send_all(data)

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """See Stream."""
        return await self._stream.receive_some(max_bytes)

    async def wait_send_all_might_not_block(self) -> None:
        """See Stream."""
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """See Stream."""
        await self._stream.aclose()
