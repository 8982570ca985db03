"""What is remembered of a unit's work between its connections: hashrate, counters. Bounded, because anybody may name himself."""

import msgspec

# Enough for the largest site many times over.
MAX_REMEMBERED = 65_536


class UnitWork(msgspec.Struct):
    """expected_hps: of the power level it was commanded to (0 asleep, None never commanded). remembered_hps: what its shares
    proved.
    """

    expected_hps: float | None = None
    remembered_hps: float | None = None
    last_share_s: float | None = None
    accepted: int = 0  # by the pool
    refused: int = 0  # by the pool
    rejected: int = 0  # by us
    valid_work: float = 0.0


class WorkMemory:
    """UnitWork by unit; when there are too many, the one first heard of is dropped."""

    def __init__(self, limit: int = MAX_REMEMBERED) -> None:
        self._limit = limit
        self._works: dict[str, UnitWork] = {}

    def of(self, unit: str) -> UnitWork:
        """The memory of `unit`, made when there is none."""
        work = self._works.get(unit)
        if work is None:
            if len(self._works) >= self._limit:
                del self._works[next(iter(self._works))]
            work = self._works[unit] = UnitWork()
        return work

    def known(self, unit: str) -> UnitWork | None:
        """The memory of `unit`, if there is one."""
        return self._works.get(unit)
