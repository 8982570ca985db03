"""Lines that can be JSON objects, and a helpful word when a peer speaks something else.

A TLS hello or a Noise handshake may never contain a newline, so the first byte of a line is judged as soon as it is here. Because
only that byte is used, the verdict does not depend on how the bytes were cut into segments.
"""

from typing import Final

from protocol.errors import RemoteProtocolError
from protocol.v1.lines import LineBuffer

_OBJECT: Final = 0x7B
# "[" so that a batch is refused by name.
_STARTS: Final = frozenset(b"{[")

_HTTP_ANSWER: Final = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n"
    b"This port speaks Stratum V1 to miners. The dashboard is on another port.\n"
)


def next_json_line(lines: LineBuffer) -> bytes | None:
    """The next line that is not blank, from its first visible byte; None when more bytes are needed.

    Raises RemoteProtocolError for a line that is too long or cannot be a JSON object; then the buffer is of no further use.
    """
    first = lines.peek()
    if first != _OBJECT:
        lines.skip_blank()  # blank lines are used as keepalives
        first = lines.peek()
        if first is None:
            return None
        if first not in _STARTS:
            raise _foreign(first)
    return lines.next_line()


def _foreign(first: int) -> RemoteProtocolError:
    if first == 0x16:
        return RemoteProtocolError("TLS on a plain-text port (a ClientHello)")
    if first == 0x15:
        return RemoteProtocolError("TLS on a plain-text port (an alert)")
    if first in b"GPHOCDT":
        return RemoteProtocolError("HTTP on a Stratum port", _HTTP_ANSWER)
    if first == 0xEF:
        return RemoteProtocolError("a byte order mark before the JSON")
    return RemoteProtocolError(f"not JSON: first byte 0x{first:02x} (Stratum V2 or another binary protocol?)")
