"""Forecasts on disk, so that a restart does not wait for the next auction. The tank is not kept: minutes make its content old.

Blocking; call it in a thread. What is still worth something is judged by forecast.Forecasts.
"""

import os
from pathlib import Path

import msgspec

from proxy.errors import StoreError
from proxy.heat.forecast import Kept


def read(path: Path) -> dict[str, Kept]:
    """What was kept; nothing when there is no file. Raises StoreError for a broken one."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Kept])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError) as problem:
        raise StoreError(
            f"the forecasts in {path} cannot be read ({problem}): send them again; the file is replaced then"
        ) from problem


def write(path: Path, kept: dict[str, Kept]) -> None:
    """Replace the file at once or not at all. Raises StoreError."""
    fresh = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with fresh.open("wb") as file:
            file.write(msgspec.json.encode(kept, order="sorted"))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as problem:
        raise StoreError(f"the forecasts cannot be written to {path} ({problem}): check space and permissions") from problem
