"""Reads the units of a site from a CSV file: the columns of [[units]], one machine a row.

It returns undecoded tables, as TOML would: the shape and the rules are checked in one place for both. Spreadsheets write CSV in
many ways, so a byte-order mark, semicolons and empty rows are taken; everything else that does not fit is a mistake with its line.
"""

import csv
from collections.abc import Callable
from functools import cache
from pathlib import Path

from msgspec import inspect

from proxy.checks.report import Report, nearest
from proxy.checks.shape import unwrap
from proxy.config import Unit

_TRUE = frozenset({"true", "yes", "1"})
_FALSE = frozenset({"false", "no", "0", ""})


def read_units(path: Path, report: Report, first_unit: int) -> list[dict[str, object]]:
    """The rows of `path` as tables; [] when it cannot be used. Rows that do not fit are reported and left out."""
    try:
        # Spreadsheets put a byte-order mark in front: utf-8-sig takes it away.
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        report.mistake("units_file", f"{path} cannot be read: {error.strerror}")
        return []
    except UnicodeDecodeError as error:
        report.mistake("units_file", f"{path} is not UTF-8 (byte {error.start}); save it as CSV UTF-8")
        return []
    if not lines:
        report.mistake("units_file", f"{path} is empty; its first line names the columns: {', '.join(_columns())}")
        return []
    delimiter = ";" if ";" in lines[0] and "," not in lines[0] else ","
    rows = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
    header = [name.strip() for name in next(rows)]
    if not _check_header(path.name, header, report):
        return []
    try:
        numbered = [(rows.line_num, cells) for cells in rows]
    except csv.Error as error:
        report.mistake_in_file(f"{path.name}:{rows.line_num}", f"is not CSV: {error}")
        return []
    tables: list[dict[str, object]] = []
    numbers: list[int] = []
    for number, cells in numbered:
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            report.mistake_in_file(f"{path.name}:{number}", f"has {len(cells)} cells, the first line has {len(header)}")
            continue
        tables.append(_table(header, cells))
        numbers.append(number)
    report.add_units_file(path.name, first_unit, numbers)
    return tables


@cache
def _columns() -> dict[str, inspect.Type]:
    shape = inspect.type_info(Unit)
    assert isinstance(shape, inspect.StructType)
    return {field.encode_name: unwrap(field.type)[0] for field in shape.fields}


def _check_header(name: str, header: list[str], report: Report) -> bool:
    """Report unknown and doubled columns; True when the rows can be read."""
    known = _columns()
    wrong = [column for column in header if column not in known]
    for column in wrong:
        hint = nearest(column, known)
        report.mistake_in_file(f"{name}:1", f'unknown column "{column}"{hint or "; allowed: " + ", ".join(known)}')
    doubled = sorted({column for column in header if header.count(column) > 1 and column in known})
    for column in doubled:
        report.mistake_in_file(f"{name}:1", f'column "{column}" is there twice')
    return not wrong and not doubled


def _table(header: list[str], cells: list[str]) -> dict[str, object]:
    """One row as TOML would give it. An empty cell is an absent key; what cannot be converted stays text and is refused later."""
    kinds = _columns()
    converters: dict[type[inspect.Type], Callable[[str], object]] = {
        inspect.IntType: _whole,
        inspect.FloatType: _number,
        inspect.BoolType: _flag,
    }
    row: dict[str, object] = {}
    for column, cell in zip(header, (cell.strip() for cell in cells), strict=True):
        if cell:
            row[column] = converters.get(type(kinds[column]), str)(cell)
    return row


def _whole(cell: str) -> object:
    return int(cell) if cell.lstrip("-").isascii() and cell.lstrip("-").isdigit() else cell


def _number(cell: str) -> object:
    try:
        return float(cell)
    except ValueError:
        return cell


def _flag(cell: str) -> object:
    word = cell.lower()
    return True if word in _TRUE else False if word in _FALSE else cell
