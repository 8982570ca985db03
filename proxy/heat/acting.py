"""The one place from which heat control commands units: every command is recorded, and a unit that refuses is left alone.

What to command was decided and limited before; whether a unit takes it is the fleet's word.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from proxy.heat import planning, wear
from proxy.heat.journal import Journal
from proxy.units.unit import UnitImage
from proxy.units.wear import Wear

# A unit that refused a command is left alone for so long, so that the next plan uses others.
REFUSED_S = 60.0


class FleetPort(Protocol):
    """What heat control needs of the fleet."""

    @property
    def swept_all(self) -> bool:
        """Every unit was asked at least once."""
        ...

    def image(self, now_s: float) -> tuple[UnitImage, ...]:
        """All units as known now."""
        ...

    def command(self, unit_id: str, level: int, reason: str, now_s: float, *, urgent: bool = False) -> str | None:
        """Have a unit go to a level; None when taken, else why not. `urgent` only lowers and heeds no dwell."""
        ...

    def worn(self) -> Mapping[str, Wear]:
        """Dwell times and starts of every unit, to be kept over a restart."""
        ...


class Hands:
    """Commands to one fleet. `level_changes` counts what the fleet took."""

    def __init__(self, fleet: FleetPort, journal: Journal, memory: planning.Memory) -> None:
        self._fleet = fleet
        self._journal = journal
        self._memory = memory
        self.level_changes = 0

    def carry_out(
        self, images: Sequence[UnitImage], before: Sequence[int | None], planned: planning.Planned, usual: str, now_s: float
    ) -> int:
        """Command what differs from `before`; how many commands were taken. A unit nobody knows is only ever told to sleep."""
        taken = 0
        for image, level, to in zip(images, before, planned.levels, strict=True):
            cause = planned.lowered.get(image.id)
            if to == level or (level is None and cause is None):
                continue
            is_urgent = cause is not None and (level is None or to < level)
            taken += self.command(image, level, to, cause or usual, now_s, urgent=is_urgent) is None
        return taken

    def command(self, image: UnitImage, before: int | None, to: int, reason: str, now_s: float, *, urgent: bool) -> str | None:
        """Command one unit; None when taken, else why not."""
        refusal = self._fleet.command(image.id, to, reason, now_s, urgent=urgent)
        self._journal.command(image, before, to, reason, refusal)
        if refusal is not None:
            self._memory.blocked_until_s[image.id] = now_s + REFUSED_S
            return refusal
        self.level_changes += 1
        self._memory.blocked_until_s.pop(image.id, None)
        if before == 0 and to > 0:
            self._memory.tokens.spend(image.loop)
            wear.started(self._memory.worn, image.id)
        return None
