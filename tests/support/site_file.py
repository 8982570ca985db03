"""Site files for tests that start the product from one, in this process or as a process of its own."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

EASY = 2.0**-28


def toml_value(value: object) -> str:
    """A value as TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {toml_value(item)}" for key, item in value.items()) + " }"
    if isinstance(value, Sequence):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    return repr(value)


def toml_table(header: str, table: Mapping[str, object]) -> str:
    """A table with its header."""
    return "\n".join([header, *(f"{key} = {toml_value(value)}" for key, value in table.items()), ""])


def api_key(name: str, role: str, key: str) -> dict[str, object]:
    """A row of [[api.keys]]."""
    return {"name": name, "role": role, "sha256": hashlib.sha256(key.encode()).hexdigest()}


def pool(name: str, port: int, **keys: object) -> dict[str, object]:
    """A row of [[pools]] on loopback."""
    return {"name": name, "url": f"stratum+tcp://127.0.0.1:{port}", "user": "account", **keys}


def write_site(
    path: Path,
    pools: Sequence[Mapping[str, object]],
    *,
    listen: Mapping[str, object] | None = None,
    api: Mapping[str, object] | None = None,
    keys: Sequence[Mapping[str, object]] = (),
    units: Sequence[Mapping[str, object]] = (),
    loops: Sequence[str] = (),
    tables: Mapping[str, Mapping[str, object]] | None = None,
) -> Path:
    """A site with easy shares. `tables` adds or replaces tables by their name."""
    every: dict[str, Mapping[str, object]] = {
        "listen": {"v1": "127.0.0.1:0", "max_connections": 2_000, "max_connections_per_address": 2_000, **(listen or {})},
        "vardiff": {"min_difficulty": 2.0**-30, "start_difficulty": EASY},
        "api": {"listen": "127.0.0.1:0", **(api or {})},
        **(tables or {}),
    }
    parts = [toml_table(f"[{name}]", table) for name, table in every.items()]
    parts += [toml_table("[[pools]]", table) for table in pools]
    parts += [toml_table("[[loops]]", {"name": loop}) for loop in loops]
    parts += [toml_table("[[units]]", table) for table in units]
    parts += [toml_table("[[api.keys]]", table) for table in keys]
    path.write_text("\n".join(parts))
    return path
