"""Makes docs/reference/config.md from the annotations of proxy/config.py, so that the page cannot differ from the program."""

import sys
from pathlib import Path

import msgspec
from msgspec import inspect

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from generated import publish

from proxy.checks.shape import allowed, tables_of, unit_of, unwrap
from proxy.config import SiteConfig

INTRODUCTION = """\
# Site file

<!-- Made by docs/tools/config_reference.py from proxy/config.py: change it there, then `make docs`. -->

One TOML file describes a site. `thermostratum check SITE.toml` finds every mistake in it at once, with file, line and key. An
unknown key is a mistake. Paths are relative to the file. A key's name ends with its unit: `_s` seconds, `_w` watts, `_c` degrees
Celsius, `_hps` hashes per second. *required* keys have no default; a default of - means that the key is not set.
"""


def page() -> str:
    """The whole page."""
    parts = [INTRODUCTION]
    tables = tables_of(inspect.type_info(SiteConfig))
    for label, table in tables.items():
        rows = [_row(field, label, tables) for field in table.fields]
        rows = [row for row in rows if row]
        if rows:
            parts.append("\n".join([f"## {label or 'Top of the file'}\n", *_about(table), _HEAD, *rows]) + "\n")
    return "\n".join(parts)


_HEAD = "| key | default | allowed | what for |\n|---|---|---|---|"


def _about(table: inspect.StructType) -> list[str]:
    """What the Struct's docstring says beyond its own header."""
    text = (table.cls.__doc__ or "").strip()
    about = text.partition("]: ")[2] if text.startswith("[") else text
    return [f"{about[0].upper()}{about[1:]}\n"] if about else []


def _row(field: inspect.Field, label: str, tables: dict[str, inspect.StructType]) -> str:
    kind, description, _ = unwrap(field.type)
    path = ".".join(filter(None, [label.strip("[]"), field.encode_name]))
    if not tables.keys().isdisjoint({f"[{path}]", f"[[{path}]]", f"[{path}.NAME]"}):
        return ""  # a table of its own
    unit = unit_of(field.encode_name)
    limits = allowed(kind) + (f" {unit}" if unit else "")
    cells = [f"`{field.encode_name}`", _default(field), limits, description]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _default(field: inspect.Field) -> str:
    if field.required:
        return "*required*"
    value = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "`true`" if value else "`false`"
    if isinstance(value, int | float):
        return f"`{value:g}`" if abs(value) >= 1e9 else f"`{value:,g}`".replace(",", "_") if value == int(value) else f"`{value}`"
    return f'`"{value}"`' if isinstance(value, str) else f"`{value}`"


if __name__ == "__main__":
    sys.exit(publish("config.md", page(), sys.argv[1:]))
