"""Random Stratum V2 messages, and the construct oracle that the generated codecs are held against."""

from collections.abc import Mapping
from typing import cast

from hypothesis import strategies as st

from protocol.v2.layouts import Layout
from protocol.v2.messages.base import Message
from protocol.v2.types import Form, WireType

_INT_BITS = {"B": 8, "H": 16, "I": 32, "Q": 64}
_HASHES = st.binary(min_size=32, max_size=32)
# Long enough to cross a length byte, short enough to stay quick.
_MANY = 300


def values(wire_type: WireType) -> st.SearchStrategy[object]:
    """All that the type can hold; long ones cut for speed."""
    match wire_type.form:
        case Form.INT:
            return _ints(wire_type.code)
        case Form.BOOL:
            return st.booleans()
        case Form.F32:
            return st.floats(min_value=0.0, width=32, allow_nan=False, allow_infinity=False).map(abs)
        case Form.TARGET:
            return st.integers(0, 2**256 - 1)
        case Form.HASH:
            return _HASHES
        case Form.BYTES:
            return st.binary(max_size=min(wire_type.max_length, _MANY))
        case Form.CODE:
            return st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=255).map(str.encode)
        case Form.OPTION:
            return st.none() | _ints(wire_type.element)
        case Form.INTS:
            return st.lists(_ints(wire_type.element), max_size=8).map(tuple)
        case Form.HASHES:
            return st.lists(_HASHES, max_size=14).map(tuple)
        case Form.BLOBS:
            return st.lists(st.binary(max_size=_MANY), max_size=4).map(tuple)


def messages(layout: Layout) -> st.SearchStrategy[Message]:
    """Messages of one layout."""
    return st.builds(layout.message_class, *(values(wire_type) for _, wire_type in layout.fields))


SAMPLES: dict[Form, object] = {
    Form.INT: 7,
    Form.BOOL: True,
    Form.F32: 1.5,
    Form.TARGET: 1 << 200,
    Form.HASH: bytes(range(32)),
    Form.BYTES: b"some bytes",
    Form.CODE: b"some-code",
    Form.OPTION: 9,
    Form.INTS: (1, 2),
    Form.HASHES: (bytes(range(32)), bytes(32)),
    Form.BLOBS: (b"one", b"", b"three"),
}


def sample(layout: Layout) -> Message:
    """One message in which no field is empty."""
    return layout.message_class(*(SAMPLES[wire_type.form] for _, wire_type in layout.fields))


def unfit(wire_type: WireType) -> object:
    """A value that the type must refuse to send. There is none for BOOL: everything is true or false."""
    match wire_type.form:
        case Form.F32:
            return -1.0
        case Form.HASH:
            return bytes(31)
        case Form.BYTES:
            return bytes(wire_type.max_length + 1)
        case Form.CODE:
            return b"two\nlines"
        case Form.INTS:
            return (-1,)
        case Form.HASHES:
            return (bytes(32), bytes(31))
        case Form.BLOBS:
            return (bytes(0x1000000),)
        case _:
            return -1


def build(layout: Layout, message: Message) -> bytes:
    """The payload as construct makes it."""
    return layout.construct.build({name: getattr(message, name) for name, _ in layout.fields})


def parse(layout: Layout, payload: bytes) -> Message:
    """The message as construct reads it; trailing bytes are left alone."""
    container = cast("Mapping[str, object]", layout.construct.parse(payload))
    return layout.message_class(*(container[name] for name, _ in layout.fields))


def _ints(code: str) -> st.SearchStrategy[int]:
    return st.integers(0, 2 ** _INT_BITS[code] - 1)
