"""The data types of Stratum V2 (specification 3.1) as strict construct types, with what the code generator must know of each.

Names are the specification's, split where the wire is the same and the meaning is not: U256 is TARGET (an int) or HASH (32 bytes in
internal order), STR0_255 is STR0_255 (any bytes) or CODE (what we send is printable ASCII). It does NOT know messages (layouts) and
is not on the fast path: the generated codecs are, and the tests hold them against these types.
"""

import enum
import math
from collections.abc import Callable, Sequence
from typing import Protocol

import construct  # type: ignore[import-untyped]  # ships no annotations; only this module sees it
import msgspec

MAX_U24 = 0xFFFFFF


class Construct(Protocol):
    """What we use of a construct: strict both ways; a Struct takes and gives mappings of field names."""

    def parse(self, data: bytes) -> object:
        """The value at the start of `data`; what follows it is left alone. Raises ConstructError."""

    def build(self, value: object) -> bytes:
        """The bytes of `value`. Raises ConstructError, or TypeError for a value of another kind."""


class Form(enum.Enum):
    """How a value lies on the wire; the generator has one template for each."""

    INT = "int"
    BOOL = "bool"
    F32 = "f32"
    TARGET = "target"
    HASH = "hash"
    BYTES = "bytes"
    CODE = "code"
    OPTION = "option"
    INTS = "ints"
    HASHES = "hashes"
    BLOBS = "blobs"


class WireType(msgspec.Struct, frozen=True):
    """One data type.

    name: as the specification writes it. annotation: its Python type. code: the struct code of the value, or of the length where
    there is one; element: that of one element of INTS and OPTION. min_size, max_size: bytes on the wire; max_length: the most a
    BYTES may hold. construct: the strict declaration, the oracle.
    """

    name: str
    form: Form
    annotation: str
    code: str
    min_size: int
    max_size: int
    construct: Construct
    element: str = ""
    max_length: int = 0


def is_printable_ascii(code: bytes) -> bool:
    """Whether every byte is printable ASCII: what error and reason codes must be (specification 3.5)."""
    return code.isascii() and code.decode("ascii").isprintable()


def is_hash_rate(value: float) -> bool:
    """Whether an F32 may be sent or taken: not NaN, infinite or negative; -0.0 counts as negative."""
    return math.isfinite(value) and math.copysign(1.0, value) > 0


def _checked(inner: Construct, is_valid: Callable[[object], bool], *, when_parsing: bool = True) -> Construct:
    """`inner`, refusing values that are not valid: always when building, when parsing only if told so."""

    def check(value: object, context: object) -> object:
        if not is_valid(value):
            raise construct.ValidationError(f"{value!r} is not allowed")
        return value

    checked: Construct = construct.ExprAdapter(inner, check if when_parsing else lambda value, context: value, check)
    return checked


def _is_bytes(value: object) -> bool:
    # construct's Bytes takes an int too, and writes it big-endian.
    return isinstance(value, bytes)


def _prefixed(length: Construct, max_length: int) -> Construct:
    """Length, then that many bytes. The length may be able to say more than the type allows (B0_32)."""
    prefixed = construct.Prefixed(length, construct.GreedyBytes)
    return _checked(prefixed, lambda value: isinstance(value, bytes) and len(value) <= max_length)


def _sequence(count: Construct, element: Construct) -> Construct:
    """Count, then that many elements, as a tuple."""
    array = construct.PrefixedArray(count, element)
    as_tuple: Construct = construct.ExprAdapter(array, lambda items, context: tuple(items), lambda items, context: items)
    return as_tuple


def _only(items: Sequence[int], context: object) -> int | None:
    """The element of an OPTION. PrefixedArray alone would take two."""
    if len(items) > 1:
        raise construct.ValidationError("OPTION holds at most one element")
    return items[0] if items else None


def _int(name: str, code: str, size: int, inner: Construct) -> WireType:
    return WireType(name, Form.INT, "int", code, size, size, inner)


def _bytes(name: str, code: str, prefix_size: int, length: Construct, max_length: int) -> WireType:
    inner = _prefixed(length, max_length)
    return WireType(name, Form.BYTES, "bytes", code, prefix_size, prefix_size + max_length, inner, max_length=max_length)


U8 = _int("U8", "B", 1, construct.Int8ul)
U16 = _int("U16", "H", 2, construct.Int16ul)
U32 = _int("U32", "I", 4, construct.Int32ul)
U64 = _int("U64", "Q", 8, construct.Int64ul)

# Only the least significant bit speaks; construct's Flag reads every value but 0 as true.
BOOL = WireType(
    "BOOL",
    Form.BOOL,
    "bool",
    "B",
    1,
    1,
    construct.ExprAdapter(construct.Int8ul, lambda value, context: value & 1 == 1, lambda value, context: 1 if value else 0),
)
F32 = WireType(
    "F32",
    Form.F32,
    "float",
    "f",
    4,
    4,
    _checked(construct.Float32l, lambda value: isinstance(value, int | float) and is_hash_rate(value)),
)
TARGET = WireType("U256", Form.TARGET, "int", "32s", 32, 32, construct.BytesInteger(32, swapped=True))
HASH = WireType("U256", Form.HASH, "bytes", "32s", 32, 32, _checked(construct.Bytes(32), _is_bytes))

# STR is bytes: the specification calls user_identity an unconstrained sequence, and a pool must not lose a unit for its encoding.
STR0_255 = _bytes("STR0_255", "B", 1, construct.Int8ul, 255)
CODE = WireType(
    "STR0_255",
    Form.CODE,
    "bytes",
    "B",
    1,
    256,
    _checked(STR0_255.construct, lambda value: isinstance(value, bytes) and is_printable_ascii(value), when_parsing=False),
    max_length=255,
)
B0_32 = _bytes("B0_32", "B", 1, construct.Int8ul, 32)
B0_255 = _bytes("B0_255", "B", 1, construct.Int8ul, 255)
B0_64K = _bytes("B0_64K", "H", 2, construct.Int16ul, 0xFFFF)
B0_16M = _bytes("B0_16M", "", 3, construct.Int24ul, MAX_U24)

OPTION_U32 = WireType(
    "OPTION[U32]",
    Form.OPTION,
    "int | None",
    "B",
    1,
    5,
    construct.ExprAdapter(
        construct.PrefixedArray(construct.Int8ul, construct.Int32ul),
        _only,
        lambda value, context: [] if value is None else [value],
    ),
    element="I",
)
SEQ0_255_HASH = WireType(
    "SEQ0_255[U256]", Form.HASHES, "tuple[bytes, ...]", "B", 1, 1 + 255 * 32, _sequence(construct.Int8ul, HASH.construct)
)
SEQ0_64K_HASH = WireType(
    "SEQ0_64K[U256]", Form.HASHES, "tuple[bytes, ...]", "H", 2, 2 + 0xFFFF * 32, _sequence(construct.Int16ul, HASH.construct)
)
SEQ0_64K_U16 = WireType(
    "SEQ0_64K[U16]",
    Form.INTS,
    "tuple[int, ...]",
    "H",
    2,
    2 + 0xFFFF * 2,
    _sequence(construct.Int16ul, construct.Int16ul),
    element="H",
)
SEQ0_64K_U32 = WireType(
    "SEQ0_64K[U32]",
    Form.INTS,
    "tuple[int, ...]",
    "H",
    2,
    2 + 0xFFFF * 4,
    _sequence(construct.Int16ul, construct.Int32ul),
    element="I",
)
SEQ0_64K_BLOB = WireType(
    "SEQ0_64K[B0_16M]",
    Form.BLOBS,
    "tuple[bytes, ...]",
    "H",
    2,
    2 + 0xFFFF * B0_16M.max_size,
    _sequence(construct.Int16ul, B0_16M.construct),
)


def struct_of(fields: Sequence[tuple[str, WireType]]) -> Construct:
    """The construct Struct of these fields, in this order."""
    declared: Construct = construct.Struct(*[construct.Renamed(wire_type.construct, newname=name) for name, wire_type in fields])
    return declared
