"""Collects what is wrong with a site file and says where: file, line and key path of every mistake.

It judges nothing. Paths are those of the merged configuration (`pools[1].url`); a unit that came from the CSV file is shown by its
line there, because that is where the person has to look.
"""

import difflib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

_HEADER = re.compile(r"^\s*(\[{1,2})\s*([^\[\]]+?)\s*\]{1,2}\s*(?:#.*)?$")
_KEY = re.compile(r"""^\s*((?:"[^"]*"|'[^']*'|[A-Za-z0-9_-]+)(?:\s*\.\s*(?:"[^"]*"|'[^']*'|[A-Za-z0-9_-]+))*)\s*=""")
_PART = re.compile(r""""([^"]*)"|'([^']*)'|([A-Za-z0-9_-]+)""")
_UNIT = re.compile(r"^units\[(\d+)\](?:\.(.+))?$")


class Report:
    """The mistakes (fatal) and warnings of one site file, in the order found."""

    def __init__(self, file: Path, text: str = "") -> None:
        self._file = file.name
        self._lines = index_lines(text)
        self._paths: set[str] = set()
        self._units_file = ""
        self._first_unit_of_file = 0
        self._unit_lines: list[int] = []
        self._problems: list[tuple[bool, int, str]] = []  # from the units file, line, text
        self._warnings: list[tuple[bool, int, str]] = []

    @property
    def problems(self) -> list[str]:
        """One line a mistake, in the order of the files."""
        return [text for _, _, text in sorted(self._problems, key=lambda each: each[:2])]

    @property
    def warnings(self) -> list[str]:
        """One line a warning, in the order of the files."""
        return [text for _, _, text in sorted(self._warnings, key=lambda each: each[:2])]

    def add_units_file(self, name: str, first_unit: int, lines: list[int]) -> None:
        """From `units[first_unit]` on, units are the rows of `name` that stand on `lines`."""
        self._units_file, self._first_unit_of_file, self._unit_lines = name, first_unit, lines

    def mistake(self, path: str, text: str) -> None:
        """Note a mistake, unless the key or a table around it already has one: its consequences would only confuse."""
        if self.is_wrong(path):
            return
        self._paths.add(path)
        self._problems.append(self._entry(path, text))

    def mistake_in_file(self, where: str, text: str) -> None:
        """Note a mistake that has no key: syntax, a file that cannot be read."""
        self._problems.append((False, 0, f"{where}: {text}"))

    def warn(self, path: str, text: str) -> None:
        """Note what works but is probably not meant."""
        self._warnings.append(self._entry(path, text))

    def unique(self, places: Iterable[tuple[str, str | None]], remedy: str) -> None:
        """Report each value of (path, value) that an earlier place has; None is no value."""
        first: dict[str, str] = {}
        for path, value in places:
            if not value:
                continue
            if value in first:
                self.mistake(path, f'"{value}" is already at {self.place(first[value])}; {remedy}')
            else:
                first[value] = path

    def exists(self, path: str, value: str, known: Sequence[str], what: str) -> None:
        """Report a name that stands for nothing. `what` is how such things are written in the file."""
        if value in known:
            return
        some = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
        others = nearest(value, known) or (f"; there are: {some}" if known else "; there is none at all")
        self.mistake(path, f'there is no {what} "{value}"{others}')

    def ordered(self, lower: tuple[str, float | None], upper: tuple[str, float | None], *, is_strict: bool = False) -> None:
        """Report the lower (path, value) when it is above the upper one, or, if strict, equal to it. None is no limit."""
        if lower[1] is None or upper[1] is None or self.is_wrong(upper[0]):
            return
        if lower[1] > upper[1] or (is_strict and lower[1] == upper[1]):
            word = "below" if is_strict else "at most"
            self.mistake(lower[0], f"{lower[1]:,g} must be {word} {upper[0]} ({upper[1]:,g})")

    def is_wrong(self, path: str) -> bool:
        """Whether this key or any table around it has a mistake."""
        return any(prefix in self._paths for prefix in prefixes(path))

    def place(self, path: str) -> str:
        """Where a person finds `path`: `site.toml:14: pools[1].url` or `units.csv:7: loop`."""
        file, line, key = self._locate(path)
        return f"{file}:{line}: {key}" if line else f"{file}: {key}"

    def _entry(self, path: str, text: str) -> tuple[bool, int, str]:
        file, line, _ = self._locate(path)
        return file != self._file, line, f"{self.place(path)}: {text}"

    def _locate(self, path: str) -> tuple[str, int, str]:
        """File, line (0 unknown) and key as it is called there."""
        unit = _UNIT.match(path)
        if unit and self._unit_lines and int(unit[1]) >= self._first_unit_of_file:
            return self._units_file, self._unit_lines[int(unit[1]) - self._first_unit_of_file], unit[2] or "row"
        for prefix in reversed(prefixes(path)):
            if prefix in self._lines:
                return self._file, self._lines[prefix], path
        return self._file, 0, path


def prefixes(path: str) -> list[str]:
    """`pools[1].url` -> `pools`, `pools[1]`, `pools[1].url`."""
    return [path[: match.start()] for match in re.finditer(r"[.\[]", path)] + [path]


def nearest(word: str, known: Iterable[str]) -> str:
    """` Did you mean "x"?` for the most similar known word, else the empty string."""
    close = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=0.6)
    return f'; did you mean "{close[0]}"?' if close else ""


def index_lines(text: str) -> dict[str, int]:
    """Line number of each table header and key of a TOML text, by key path.

    Best effort, for messages only: the parser of the standard library keeps no positions. Keys inside inline tables are found at
    the line of the key that holds them.
    """
    lines: dict[str, int] = {}
    counts: dict[str, int] = {}
    table = ""
    inside: str | None = None  # the quotes of a multi-line string that is still open
    for number, line in enumerate(text.splitlines(), 1):
        if inside is not None:
            inside = None if inside in line else inside
            continue
        header = _HEADER.match(line)
        if header:
            table = _resolve(_parts(header[2]), counts, is_item=header[1] == "[[")
            lines.setdefault(table, number)
        elif key := _KEY.match(line):
            lines.setdefault(".".join(filter(None, [table, *_parts(key[1])])), number)
            inside = next((quotes for quotes in ('"""', "'''") if line.count(quotes) == 1), None)
    return lines


def _parts(dotted: str) -> list[str]:
    return [double or single or bare for double, single, bare in _PART.findall(dotted)]


def _resolve(parts: list[str], counts: dict[str, int], *, is_item: bool) -> str:
    """The path of a header, with the index of every array of tables on the way; an item header opens the next one."""
    path = ""
    for position, part in enumerate(parts):
        path = f"{path}.{part}" if path else part
        if is_item and position == len(parts) - 1:
            counts[path] = counts.get(path, -1) + 1
        if path in counts:
            path = f"{path}[{counts[path]}]"
    return path
