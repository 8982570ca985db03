"""Newline framing with a hard bound: bytes in, whole lines out.

It does NOT look into a line or decode: an empty line is a line, unless the caller skips it. The bound holds before any decoder sees
the bytes.
"""

import re

from protocol.errors import RemoteProtocolError

_NOT_BLANK = re.compile(rb"[^ \t\r\n]")


class LineBuffer:
    """Holds what was fed and not yet taken; idle it owns no buffer at all (one shared empty `bytes`).

    A rest of an unfinished line is copied by each `feed`. With the bound that is at most `limit` bytes a packet, which costs less
    than the packet did, and it keeps an idle connection free of a bytearray.
    """

    __slots__ = ("_data", "_limit", "_searched", "_start")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._data = b""
        self._start = 0  # where the next line begins
        self._searched = 0  # no newline before this index: a peer that sends single bytes is not searched from the start each time

    def feed(self, data: bytes | bytearray) -> None:
        """Append what was received. The caller bounds one read; take all lines before feeding again."""
        if self._start < len(self._data):
            self._searched -= self._start
            self._data = self._data[self._start :] + data  # bytes, whatever `data` is
        else:
            self._searched = 0
            self._data = bytes(data)  # no copy of what is bytes already
        self._start = 0

    def next_line(self) -> bytes | None:
        """The next whole line without its newline and without one trailing CR; None when more bytes are needed.

        Raises RemoteProtocolError as soon as more than `limit` bytes came without a newline (a CR counts), and again on each
        later call: the buffer never recovers.
        """
        data = self._data
        start = self._start
        end = data.find(b"\n", self._searched)
        if (end if end >= 0 else len(data)) - start > self._limit:
            raise RemoteProtocolError(f"line longer than {self._limit} bytes")
        if end < 0:
            if start:  # let go of the lines already taken: an idle connection holds its unfinished line and no more
                self._data = data[start:]
                self._start = 0
            self._searched = len(self._data)
            return None
        self._start = self._searched = end + 1
        if self._start == len(data):
            self._data = b""
            self._start = self._searched = 0
        return data[start : end - 1] if end > start and data[end - 1] == 13 else data[start:end]

    def skip_blank(self) -> None:
        """Drop spaces, tabs, CRs and newlines before the next line, all at once: a flood of them must not cost a call each."""
        found = _NOT_BLANK.search(self._data, self._start)
        if found is None:
            self._data = b""
            self._start = self._searched = 0
        else:
            self._start = found.start()
            self._searched = max(self._searched, self._start)

    def peek(self) -> int | None:
        """The first byte of the next (perhaps unfinished) line, None when nothing is buffered."""
        return self._data[self._start] if self._start < len(self._data) else None

    @property
    def buffered(self) -> int:
        """Bytes held."""
        return len(self._data) - self._start
