"""Who gets no work: the actuator of last resort for a unit that was told to sleep and does not obey.

Pure bookkeeping. Which units these are is `units`' to say (told, not obeying, recorded to be safe without work); what is done with
their jobs and connections is the router's. A gate only ever takes work away from a unit that should make no heat, so a mistake here
costs work, never heat that somebody asked for.
"""

from collections.abc import Set as AbstractSet

import msgspec


class GateChange(msgspec.Struct, frozen=True):
    """What an update changed, in the order of names."""

    closed: tuple[str, ...]
    opened: tuple[str, ...]


class Gate:
    """The units from which work is withheld now."""

    __slots__ = ("_closed",)

    def __init__(self) -> None:
        self._closed: frozenset[str] = frozenset()

    @property
    def units(self) -> frozenset[str]:
        """Those without work."""
        return self._closed

    def is_closed(self, unit: str) -> bool:
        """Whether `unit` is to get no job."""
        return unit in self._closed

    def update(self, starved: AbstractSet[str]) -> GateChange | None:
        """Take the units that are to starve from now on; None when they are those of before."""
        if starved == self._closed:
            return None
        before, self._closed = self._closed, frozenset(starved)
        return GateChange(tuple(sorted(self._closed - before)), tuple(sorted(before - self._closed)))
