"""Writes the straight-line codecs of protocol/v2/generated from the declaration in layouts.

Text in, text out: docs/tools/sv2_codecs.py stores it, a test holds the stored files against it. Runs of fixed fields, together with
the length of the field behind them, become one struct call; nothing is looked up or looped over that the declaration already knows.
"""

import itertools
import re

import msgspec

from protocol.v2.layouts import LAYOUTS, Layout, Subprotocol
from protocol.v2.types import Form, WireType

_FIXED = {Form.INT, Form.BOOL, Form.F32, Form.TARGET, Form.HASH}
Field = tuple[str, WireType]


class Segment(msgspec.Struct, frozen=True):
    """A run of fixed fields and the variable one that ends it; `name` is that of its struct.Struct."""

    name: str
    run: tuple[Field, ...]
    tail: Field | None

    @property
    def codes(self) -> list[str]:
        """Struct codes of the run and of the tail's length."""
        return [wire_type.code for _, wire_type in self.run] + ([self.tail[1].code] if self.tail else [])

    @property
    def size(self) -> int:
        """Bytes of the run and of the tail's length."""
        return sum(wire_type.min_size for _, wire_type in self.run) + (self.tail[1].min_size if self.tail else 0)


def source(subprotocol: Subprotocol) -> str:
    """The module of one subprotocol: valid Python, not formatted."""
    layouts = [layout for layout in LAYOUTS if layout.subprotocol is subprotocol]
    structs, functions, entries = [], [], []
    for layout in layouts:
        segments = _segments(layout)
        name, verb = layout.message_class.__name__, _snake(layout.message_class.__name__)
        structs += [f'{segment.name} = Struct("{_struct_format(segment.codes)}")' for segment in segments]
        functions += [_encoder(layout, verb, segments), _decoder(layout, verb, segments)]
        entries.append(f"codec({name}, encode_{verb}, decode_{verb}),")
    body = "\n".join([*structs, "", *functions, "", "CODECS = (", *entries, ")"])
    return "\n".join([_heading(subprotocol), *_imports(subprotocol, layouts, body), "", body, ""])


def _heading(subprotocol: Subprotocol) -> str:
    title = subprotocol.value.replace("_", " ")
    return (
        f'"""Codecs of the {title} messages, made by protocol/v2/codegen.py from protocol/v2/layouts.py. Not to be edited.\n\n'
        "Call them through protocol/v2/codec.py, which knows what their exceptions mean.\n"
        '"""\n'
    )


def _imports(subprotocol: Subprotocol, layouts: list[Layout], body: str) -> list[str]:
    """The imports that `body` needs, in the order of the project's formatter."""
    helpers = ["TRUNCATED", "check_code", "check_f32", "codec"]
    helpers += [f"{verb}_{what}" for verb in ("read", "write") for what in ("blobs", "hashes", "ints", "option")]
    used = [helper for helper in helpers if re.search(rf"\b{helper}\b", body)]
    classes = sorted(layout.message_class.__name__ for layout in layouts)
    return [
        "from struct import Struct",
        "",
        f"from protocol.v2.messages.{subprotocol.value} import (",
        *[f"    {name}," for name in classes],
        ")",
        f"from protocol.v2.primitives import {', '.join(used)}",
    ]


def _segments(layout: Layout) -> list[Segment]:
    """Cut the fields after each variable one."""
    segments: list[Segment] = []
    run: list[Field] = []
    constant = "_" + _snake(layout.message_class.__name__).upper()
    for field in layout.fields:
        if field[1].form in _FIXED:
            run.append(field)
            continue
        segments.append(Segment(f"{constant}_{len(segments)}", tuple(run), field))
        run = []
    if run:
        segments.append(Segment(f"{constant}_{len(segments)}", tuple(run), None))
    return segments


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def _struct_format(codes: list[str]) -> str:
    """Little-endian, without padding; repeated one-letter codes are counted."""
    parts = []
    for code, group in itertools.groupby(codes):
        count = len(list(group))
        parts.append(code * count if count == 1 or len(code) > 1 else f"{count}{code}")
    return "<" + "".join(parts)


# ---- encoding


def _encoder(layout: Layout, verb: str, segments: list[Segment]) -> str:
    guards = [line for name, wire_type in layout.fields for line in _guard(name, wire_type)]
    parts = []
    for segment in segments:
        values = [_packed(name, wire_type) for name, wire_type in segment.run]
        if segment.tail:
            values.append(_length(*segment.tail))
        parts.append(f"{segment.name}.pack({', '.join(values)})")
        if segment.tail:
            parts.append(_body(*segment.tail))
    joined = " + ".join(parts) if len(parts) <= 2 else f'b"".join(({", ".join(parts)},))'
    head = f"def encode_{verb}(message: {layout.message_class.__name__}) -> bytes:"
    return _function(head, f"The payload of {layout.name}.", [*guards, f"return {joined}"])


def _guard(name: str, wire_type: WireType) -> list[str]:
    """What struct would not refuse by itself: it pads short hashes, and a length may say more than its type allows."""
    if wire_type.form is Form.HASH:
        return [f"if len(message.{name}) != 32:", f'    raise ValueError("{name}: not 32 bytes")']
    if _needs_length_check(wire_type):
        return [
            f"if len(message.{name}) > {wire_type.max_length}:",
            f'    raise ValueError("{name}: more than {wire_type.max_length} bytes")',
        ]
    return []


def _needs_length_check(wire_type: WireType) -> bool:
    return wire_type.form is Form.BYTES and wire_type.max_length not in (0xFF, 0xFFFF)


def _packed(name: str, wire_type: WireType) -> str:
    value = f"message.{name}"
    match wire_type.form:
        case Form.BOOL:
            return f"1 if {value} else 0"
        case Form.F32:
            return f'check_f32("{name}", {value})'
        case Form.TARGET:
            return f'{value}.to_bytes(32, "little")'
        case _:
            return value


def _length(name: str, wire_type: WireType) -> str:
    return f"message.{name} is not None" if wire_type.form is Form.OPTION else f"len(message.{name})"


def _body(name: str, wire_type: WireType) -> str:
    value = f"message.{name}"
    match wire_type.form:
        case Form.CODE:
            return f'check_code("{name}", {value})'
        case Form.OPTION:
            return f"write_option({value})"
        case Form.INTS:
            return f'write_ints({value}, "{wire_type.element}")'
        case Form.HASHES:
            return f'write_hashes("{name}", {value})'
        case Form.BLOBS:
            return f'write_blobs("{name}", {value})'
        case _:
            return value


# ---- decoding


def _decoder(layout: Layout, verb: str, segments: list[Segment]) -> str:
    name = layout.message_class.__name__
    head = f"def decode_{verb}(data: bytes) -> tuple[{name}, int]:"
    doc = f"{layout.name}, and the offset of what follows it."
    if len(segments) == 1 and segments[0].tail is None and all(_parsed(*field) == field[0] for field in segments[0].run):
        return _function(head, doc, [f"return {name}(*{segments[0].name}.unpack_from(data)), {segments[0].size}"])
    lines: list[str] = []
    offset = "0"
    for segment in segments:
        targets = [field for field, _ in segment.run] + ([f"n_{segment.tail[0]}"] if segment.tail else [])
        place = "data" if offset == "0" else f"data, {offset}"
        unpacked = ", ".join(targets) if len(targets) > 1 else f"({targets[0]},)"
        lines.append(f"{unpacked} = {segment.name}.unpack_from({place})")
        start = str(segment.size) if offset == "0" else f"{offset} + {segment.size}"
        if segment.tail is None:
            offset = start
        else:
            lines += _read_tail(*segment.tail, start)
            offset = "at"
    last = segments[-1].tail
    if last and last[1].form in (Form.BYTES, Form.CODE):
        # A slice beyond the end is short, not an error; offsets only grow, so one look at the end is enough.
        lines += ["if at > len(data):", "    raise ValueError(TRUNCATED)"]
    values = ", ".join(_parsed(*field) for field in layout.fields)
    return _function(head, doc, [*lines, f"return {name}({values}), {offset}"])


def _read_tail(name: str, wire_type: WireType, start: str) -> list[str]:
    """The statements that set `name`, and `at` to the offset behind it."""
    match wire_type.form:
        case Form.OPTION:
            return [f"{name}, at = read_option(data, {start}, n_{name})"]
        case Form.INTS:
            return [f'{name}, at = read_ints(data, {start}, n_{name}, "{wire_type.element}")']
        case Form.HASHES:
            return [f"{name}, at = read_hashes(data, {start}, n_{name})"]
        case Form.BLOBS:
            return [f"{name}, at = read_blobs(data, {start}, n_{name})"]
    check = [f"if n_{name} > {wire_type.max_length}:", f'    raise ValueError("{name}: more than {wire_type.max_length} bytes")']
    lines = check if _needs_length_check(wire_type) else []
    if start.isdigit():
        return [*lines, f"at = {start} + n_{name}", f"{name} = data[{start}:at]"]
    return [*lines, f"start = {start}", f"at = start + n_{name}", f"{name} = data[start:at]"]


def _parsed(name: str, wire_type: WireType) -> str:
    """The field's value out of what struct gave."""
    match wire_type.form:
        case Form.BOOL:
            return f"{name} & 1 == 1"
        case Form.F32:
            return f'check_f32("{name}", {name})'
        case Form.TARGET:
            return f'int.from_bytes({name}, "little")'
        case _:
            return name


def _function(head: str, doc: str, lines: list[str]) -> str:
    return "\n".join(["", "", head, f'    """{doc}"""', *[f"    {line}" for line in lines]])
