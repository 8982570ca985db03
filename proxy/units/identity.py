"""Which machine stands where: the serial that each unit has, as configured or as learned at first contact.

Notices a swapped machine and says so; what then happens to the unit is `lifecycle`'s. Where a worker name belongs is
`inventory`'s. The book itself does no I/O; load and save are for the fleet.
"""

import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from proxy import config
from proxy.errors import StoreError


class _Learned(msgspec.Struct):
    serial: str
    instead_of: str | None = None  # the configured serial that an operator's word overruled


class _File(msgspec.Struct):
    serials: dict[str, _Learned]


class SerialBook:
    """Serial of each unit. Order of belief: an operator's word, the configuration, what was learned."""

    def __init__(self, units: Iterable[config.Unit]) -> None:
        self._configured = {unit.id: unit.serial.strip().lower() for unit in units if unit.serial}
        self._learned: dict[str, _Learned] = {}
        self._present: dict[str, str] = {}
        self.is_changed = False  # there is something to save

    def expected(self, unit_id: str) -> str | None:
        """The serial that this unit must have; None while nobody knows."""
        configured, learned = self._configured.get(unit_id), self._learned.get(unit_id)
        if configured is None:
            return learned.serial if learned else None
        # The operator's word holds until the configuration says something new.
        return learned.serial if learned and learned.instead_of == configured else configured

    def check(self, unit_id: str, serial: str | None) -> str | None:
        """Note the serial just seen; None when it is right, else the fault and its remedy for an operator.

        A machine that tells no serial is not suspected: its firmware may have none.
        """
        if serial is None:
            return None
        serial = serial.strip().lower()
        self._present[unit_id] = serial
        expected = self.expected(unit_id)
        if expected is None:
            self._learn(unit_id, _Learned(serial))
            return None
        if serial == expected:
            return None
        owner = self._owner(serial, unit_id)
        known = f", which is unit {owner}" if owner else ""
        return (
            f"another machine answers here: serial {serial}{known}, expected {expected}. "
            "Put the right machine back, or accept this one (its serial becomes the unit's)"
        )

    def accept(self, unit_id: str) -> str | None:
        """Take the machine now present for this unit; its serial, or None when none was seen yet."""
        serial = self._present.get(unit_id)
        if serial is not None:
            self._learn(unit_id, _Learned(serial, self._configured.get(unit_id)))
        return serial

    def present(self, unit_id: str) -> str | None:
        """The serial last seen at this unit's address."""
        return self._present.get(unit_id)

    def _learn(self, unit_id: str, learned: _Learned) -> None:
        self._learned[unit_id] = learned
        self.is_changed = True

    def _owner(self, serial: str, not_unit: str) -> str | None:
        units = self._configured.keys() | self._learned.keys()
        return next((unit for unit in sorted(units) if unit != not_unit and self.expected(unit) == serial), None)

    def load(self, path: Path) -> None:
        """Read what earlier runs learned; a missing file is an empty book. Raises StoreError for a broken one."""
        try:
            self._learned = msgspec.json.decode(path.read_bytes(), type=_File).serials
        except FileNotFoundError:
            return
        except (OSError, msgspec.DecodeError) as problem:
            raise StoreError(
                f"the learned serials in {path} cannot be read ({problem}): repair it, or remove it to learn them anew"
            ) from problem

    def encoded(self) -> bytes:
        """The file's content now; clears `is_changed`."""
        self.is_changed = False
        return msgspec.json.format(msgspec.json.encode(_File(self._learned), order="sorted")) + b"\n"


def save(path: Path, content: bytes) -> None:
    """Replace the file at once or not at all (blocking; call it in a thread). Raises StoreError."""
    fresh = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with fresh.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as problem:
        raise StoreError(f"the learned serials cannot be written to {path} ({problem}): check space and permissions") from problem
