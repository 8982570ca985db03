"""Compares a decoded TOML document with the Structs of `config` and finds every difference, not only the first.

Generic: it knows types, ranges and descriptions, but no key by name. What keys mean to each other is `rules`. The library's
own decoder stays the judge of a file without mistakes (`checks`); this walk exists to explain.
"""

import difflib
import math
import re
from collections.abc import Callable
from functools import cache
from typing import TypeVar

import msgspec
from msgspec import inspect

from proxy.checks.report import Report, nearest

# What the last part of a key's name means: every key carries its unit.
UNITS = {
    "s": "seconds",
    "w": "watts",
    "c": "degrees Celsius",
    "hps": "hashes per second",
    "bytes": "bytes",
    "days": "days",
    "w_per_min": "watts per minute",
}
_NOUNS: dict[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "a table",
}
_SECRETS = ("password", "sha256")

S = TypeVar("S", bound=msgspec.Struct)


def walk(raw: object, shape: type[S], report: Report) -> S:
    """The document as a `shape`, with a mistake in `report` for each difference.

    Where a value cannot be used its default (or an empty value) stands in, so that the rules can still judge the rest.
    """
    root = inspect.type_info(shape)
    value = _Walker(report, _owners(shape)).check(raw, root, "", "")
    assert isinstance(value, shape)
    return value


def unwrap(kind: inspect.Type) -> tuple[inspect.Type, str, bool]:
    """A field's type without its wrapping: (type, description, whether it may be left unset)."""
    description, is_optional = "", False
    while True:
        if isinstance(kind, inspect.Metadata):
            description = str((kind.extra_json_schema or {}).get("description", description))
            kind = kind.type
        elif isinstance(kind, inspect.UnionType):
            is_optional = True
            kind = next(each for each in kind.types if not isinstance(each, inspect.NoneType))
        else:
            return kind, description, is_optional


def unit_of(key: str) -> str:
    """The unit in a key's name, in words; empty when it has none."""
    return next((UNITS[suffix] for suffix in sorted(UNITS, key=len, reverse=True) if key.endswith(f"_{suffix}")), "")


def allowed(kind: inspect.Type) -> str:
    """What a value of this (unwrapped) type may be, in words."""
    if isinstance(kind, inspect.LiteralType):
        return ", ".join(str(each) for each in sorted(kind.values, key=str))
    if isinstance(kind, inspect.IntType | inspect.FloatType):
        return _range(kind)
    if isinstance(kind, inspect.StrType):
        return _text_limits(kind)
    if isinstance(kind, inspect.BoolType):
        return "true or false"
    if isinstance(kind, inspect.ListType):
        item, _, _ = unwrap(kind.item_type)
        return f"a list of {'tables' if isinstance(item, inspect.StructType) else allowed(item)}" + _count(kind)
    if isinstance(kind, inspect.TupleType):
        return f"[{', '.join(allowed(unwrap(each)[0]) for each in kind.item_types)}]"
    return "a table"


def _range(kind: inspect.IntType | inspect.FloatType) -> str:
    noun = "a whole number" if isinstance(kind, inspect.IntType) else "a number"
    low = f"from {kind.ge:,.15g}" if kind.ge is not None else f"above {kind.gt:,.15g}" if kind.gt is not None else ""
    high = f"to {kind.le:,.15g}" if kind.le is not None else f"and below {kind.lt:,.15g}" if kind.lt is not None else ""
    return " ".join(filter(None, [noun, low, f"up {high}" if kind.gt is not None and high else high]))


def _text_limits(kind: inspect.StrType) -> str:
    if kind.min_length and kind.max_length:
        return f"text of {kind.min_length} to {kind.max_length} characters"
    if kind.max_length:
        return f"text of at most {kind.max_length} characters"
    return "text"


def _count(kind: inspect.ListType) -> str:
    if kind.min_length and kind.max_length:
        return f", {kind.min_length} to {kind.max_length:,} of them"
    return f", at most {kind.max_length:,}" if kind.max_length else ""


def tables_of(kind: inspect.Type, label: str = "") -> dict[str, inspect.StructType]:
    """Every table of a shape by its header as written in a file: `[heat.meter]`, `[[pools]]`, `[models.NAME]`."""
    found: dict[str, inspect.StructType] = {}
    kind, _, _ = unwrap(kind)
    if isinstance(kind, inspect.StructType):
        found[label] = kind
        for field in kind.fields:
            inner, _, _ = unwrap(field.type)
            path = ".".join(filter(None, [label.strip("[]"), field.encode_name]))
            if isinstance(inner, inspect.StructType):
                found |= tables_of(inner, f"[{path}]")
            elif isinstance(inner, inspect.ListType):
                found |= tables_of(inner.item_type, f"[[{path}]]")
            elif isinstance(inner, inspect.DictType):
                found |= tables_of(inner.value_type, f"[{path}.NAME]")
    return found


@cache
def _owners(shape: type[msgspec.Struct]) -> dict[str, list[str]]:
    """Which tables have a key of this name: for a key written into the wrong one."""
    owners: dict[str, list[str]] = {}
    for label, table in tables_of(inspect.type_info(shape)).items():
        for field in table.fields:
            owners.setdefault(field.encode_name, []).append(label or "the top of the file")
    return owners


class _Walker:
    """One walk. `check` returns a usable value of the asked type, whatever it was given."""

    def __init__(self, report: Report, owners: dict[str, list[str]]) -> None:
        self._report = report
        self._owners = owners
        self._checks: dict[type[inspect.Type], Callable[..., object]] = {
            inspect.StructType: self._table,
            inspect.ListType: self._list,
            inspect.TupleType: self._tuple,
            inspect.DictType: self._named,
            inspect.StrType: self._text,
            inspect.IntType: self._number,
            inspect.FloatType: self._number,
            inspect.BoolType: self._flag,
            inspect.LiteralType: self._choice,
        }

    def check(self, value: object, kind: inspect.Type, path: str, description: str) -> object:
        bare, own_description, is_optional = unwrap(kind)
        if value is None and is_optional:
            return None
        return self._checks[type(bare)](value, bare, path, own_description or description)

    def _table(self, value: object, kind: inspect.StructType, path: str, _description: str) -> object:
        if not isinstance(value, dict):
            self._report.mistake(path, f"must be a table, not {_noun(value)}")
            return blank(kind)
        meant = {self._unknown_key(str(key), kind, path) for key in value if key not in {f.encode_name for f in kind.fields}}
        values = {}
        for field in kind.fields:
            key = f"{path}.{field.encode_name}" if path else field.encode_name
            if field.encode_name in value:
                values[field.name] = self.check(value[field.encode_name], field.type, key, "")
                continue
            if field.required and field.encode_name not in meant:
                bare, description, _ = unwrap(field.type)
                self._report.mistake(key, f"is missing; allowed: {_allowed_here(bare, field.encode_name, description)}")
            values[field.name] = default_of(field)
        return kind.cls(**values)

    def _unknown_key(self, key: str, kind: inspect.StructType, path: str) -> str | None:
        """Report an unknown key and return the key that was probably meant."""
        known = [field.encode_name for field in kind.fields]
        # Kilo-units are the usual slip (max_power_kw, timeout_ms): compare without the prefix first.
        base = re.sub(r"_(k|m|M|G|T|P)(w|s|hps)$", r"_\2", key)
        close = [base] if base in known else difflib.get_close_matches(key.lower(), known, n=1, cutoff=0.6)
        full = f"{path}.{key}" if path else key
        if close:
            unit = unit_of(close[0])
            suffix = f" (in {unit})" if unit else ""
            self._report.mistake(full, f'unknown key; did you mean "{close[0]}"{suffix}?')
            return close[0]
        if owners := self._owners.get(key):
            self._report.mistake(full, f"unknown key here; it belongs into {' or '.join(owners)}")
        else:
            self._report.mistake(full, f"unknown key; allowed here: {', '.join(known)}")
        return None

    def _list(self, value: object, kind: inspect.ListType, path: str, description: str) -> object:
        if not isinstance(value, list):
            self._report.mistake(path, f"must be a list, not {_noun(value)}; allowed: {_with(allowed(kind), description)}")
            return []
        if not (kind.min_length or 0) <= len(value) <= (kind.max_length or len(value)):
            self._report.mistake(path, f"has {len(value)} entries; allowed: {_with(allowed(kind), description)}")
        return [self.check(each, kind.item_type, f"{path}[{index}]", description) for index, each in enumerate(value)]

    def _tuple(self, value: object, kind: inspect.TupleType, path: str, description: str) -> object:
        """A list of so many values, each with its own type, such as the [x, y] of a curve."""
        if not isinstance(value, list):
            return self._wrong_type(value, kind, path, description)
        if len(value) != len(kind.item_types):
            self._report.mistake(path, f"has {len(value)} values; allowed: {_with(allowed(kind), description)}")
            return blank(kind)
        pairs = enumerate(zip(value, kind.item_types, strict=True))
        return tuple(self.check(each, of_type, f"{path}[{index}]", description) for index, (each, of_type) in pairs)

    def _named(self, value: object, kind: inspect.DictType, path: str, description: str) -> object:
        if not isinstance(value, dict):
            self._report.mistake(path, f"must hold named tables, not {_noun(value)}: [{path}.NAME]")
            return {}
        return {str(key): self.check(each, kind.value_type, f"{path}.{key}", description) for key, each in value.items()}

    def _text(self, value: object, kind: inspect.StrType, path: str, description: str) -> object:
        if not isinstance(value, str):
            return self._wrong_type(value, kind, path, description)
        too_long = kind.max_length is not None and len(value) > kind.max_length
        if too_long or len(value) < (kind.min_length or 0):
            self._refuse(value, kind, path, description, f"has {len(value)} characters")
        elif kind.pattern is not None and not re.search(kind.pattern, value):
            self._refuse(value, kind, path, description, "does not fit")
        return value

    def _number(self, value: object, kind: inspect.IntType | inspect.FloatType, path: str, description: str) -> object:
        is_whole = isinstance(kind, inspect.IntType)
        if isinstance(value, bool) or not isinstance(value, int | float) or (is_whole and not isinstance(value, int)):
            return self._wrong_type(value, kind, path, description)
        if not math.isfinite(value):
            self._refuse(value, kind, path, description, "is not a number anything can be set to")
            return blank(kind)
        if (
            (kind.ge is not None and value < kind.ge)
            or (kind.gt is not None and value <= kind.gt)
            or (kind.le is not None and value > kind.le)
            or (kind.lt is not None and value >= kind.lt)
        ):
            self._refuse(value, kind, path, description, "is out of range")
        return value if is_whole else float(value)

    def _flag(self, value: object, kind: inspect.BoolType, path: str, description: str) -> object:
        return value if isinstance(value, bool) else self._wrong_type(value, kind, path, description)

    def _choice(self, value: object, kind: inspect.LiteralType, path: str, description: str) -> object:
        if isinstance(value, str | int) and not isinstance(value, bool) and value in kind.values:
            return value
        hint = nearest(str(value), (str(each) for each in kind.values))
        self._report.mistake(path, f"{_shown(value, path)} is not one of {allowed(kind)}{hint}")
        return blank(kind)

    def _wrong_type(self, value: object, kind: inspect.Type, path: str, description: str) -> object:
        key = path.rpartition(".")[2]
        shown = _shown(value, path)
        self._report.mistake(path, f"{shown} is {_noun(value)}; allowed: {_allowed_here(kind, key, description)}")
        return blank(kind)

    def _refuse(self, value: object, kind: inspect.Type, path: str, description: str, why: str) -> None:
        key = path.rpartition(".")[2]
        self._report.mistake(path, f"{_shown(value, path)} {why}; allowed: {_allowed_here(kind, key, description)}")


def default_of(field: inspect.Field) -> object:
    """The field's default, or an empty value where it has none."""
    if field.default is not msgspec.NODEFAULT:
        return field.default
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return blank(field.type)


def blank(kind: inspect.Type) -> object:
    """An empty value of a type, to stand in for one that cannot be used. It need not be in range."""
    bare, _, is_optional = unwrap(kind)
    if is_optional:
        return None
    if isinstance(bare, inspect.StructType):
        return bare.cls(**{field.name: default_of(field) for field in bare.fields})
    if isinstance(bare, inspect.LiteralType):
        return bare.values[0]
    if isinstance(bare, inspect.TupleType):
        return tuple(blank(each) for each in bare.item_types)
    empty: dict[type[inspect.Type], Callable[[], object]] = {
        inspect.ListType: list,
        inspect.DictType: dict,
        inspect.IntType: int,
        inspect.FloatType: float,
        inspect.BoolType: bool,
    }
    return empty.get(type(bare), str)()


def _allowed_here(kind: inspect.Type, key: str, description: str) -> str:
    unit = unit_of(key)
    # A pattern says nothing to an operator; its description does.
    if isinstance(kind, inspect.StrType) and kind.pattern is not None and description:
        return description
    return _with(f"{allowed(kind)} {unit}" if unit else allowed(kind), description)


def _with(text: str, description: str) -> str:
    return f"{text} ({description})" if description else text


def _shown(value: object, path: str) -> str:
    """A value as it may be printed: short, and never a secret."""
    if path.rpartition(".")[2] in _SECRETS:
        return "the value"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _noun(value: object) -> str:
    """What a TOML value is, in words."""
    return _NOUNS.get(type(value), "a date or time")
