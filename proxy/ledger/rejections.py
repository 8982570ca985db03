"""Adds up the shares we refuse ourselves, by period, unit, pool and verdict, until the writer takes them.

In memory only, on the trio thread, and bounded: a flood of bad shares under ever new names ends in one row.
"""

from proxy.ledger.records import HASHES_PER_DIFFICULTY, RejectionCount

KEYS_PER_PERIOD = 20_000  # rows one period may fill; a site of 5,000 units with four verdicts each
FLOOD_UNIT = "(others)"

_Key = tuple[int, str, str, str]


class RejectionCounts:
    """Rejections since the last `take`."""

    def __init__(self, period_s: int) -> None:
        self._period_s = period_s
        self._counts: dict[_Key, list[float]] = {}
        self._period = 0
        self._seen: set[_Key] = set()

    def count(self, unit: str, pool: str, verdict: str, at_unix_s: float, difficulty: float) -> None:
        """Add one rejected share."""
        start = int(at_unix_s // self._period_s) * self._period_s
        if start != self._period:
            self._period = start
            self._seen.clear()
        key = (start, unit, pool, verdict)
        entry = self._counts.get(key)
        if entry is None:
            if key not in self._seen:
                if max(len(self._seen), len(self._counts)) >= KEYS_PER_PERIOD:
                    key = (start, FLOOD_UNIT, pool, verdict)
                else:
                    self._seen.add(key)
            entry = self._counts.setdefault(key, [0, 0.0])
        entry[0] += 1
        entry[1] += difficulty

    def take(self) -> list[RejectionCount]:
        """What was added up since the last call, in rows of the ledger."""
        taken = [
            RejectionCount(start, self._period_s, unit, pool, verdict, int(count), total * HASHES_PER_DIFFICULTY)
            for (start, unit, pool, verdict), (count, total) in self._counts.items()
        ]
        self._counts.clear()
        return taken
