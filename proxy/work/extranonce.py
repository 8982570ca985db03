"""Local ids: which extranonce prefix belongs to which connection.

All prefixes of one allocator have the same length, so none can be the beginning of another and no two units ever search the same
space. A released prefix rests in quarantine: shares of old jobs may still arrive for it, and its next owner would repeat the work
of the previous one on a job that is still open.

Rules
- A prefix is in exactly one place: never used, in use, resting, or free again.
- Never-used prefixes go out first, in an order that starts at random, so that a restarted proxy does not deal the same ids to
  other units on a session which the pool resumed. Then the free ones, longest free first.
- A unit that comes back may get its old prefix (`wanted`) at once, out of quarantine too. Whether it *is* that unit is for the
  caller to know. It rolls again from zero, so the caller sends it a job with a newer ntime, or it repeats its own work.

Cost: constant time for each call over any long run; memory for the prefixes in use, resting or free again, nothing for never-used
ones (three bytes are 16 million). Not thread-safe, and not the place where the pool's own extranonce lies (geometry.py).
"""

import math
from collections import OrderedDict
from collections.abc import Callable

# Without a clean job for so long, work on the jobs of then is as good as gone. Ten minutes is the mean distance of two blocks.
DEFAULT_QUARANTINE_S = 600.0
MAX_SIZE_BYTES = 4


class PrefixAllocator:
    """Deals out prefixes of `size_bytes` (1..4; ValueError for others). rng(n) gives n random bytes and is asked once."""

    def __init__(self, size_bytes: int, rng: Callable[[int], bytes], quarantine_s: float = DEFAULT_QUARANTINE_S) -> None:
        if not 1 <= size_bytes <= MAX_SIZE_BYTES:
            raise ValueError(f"a prefix is 1 to {MAX_SIZE_BYTES} bytes long, not {size_bytes}")
        self.size_bytes = size_bytes
        self.capacity = 1 << (8 * size_bytes)
        self._quarantine_s = quarantine_s
        # The n-th never-used prefix is (multiplier * n + offset) mod capacity: a permutation, because the multiplier is odd.
        seed = int.from_bytes(rng(2 * MAX_SIZE_BYTES), "big")
        self._multiplier = (seed % self.capacity) | 1
        self._inverse = pow(self._multiplier, -1, self.capacity)
        self._offset = (seed >> (8 * MAX_SIZE_BYTES)) % self.capacity
        self._dealt = 0  # positions of the permutation already passed
        self._ahead: set[int] = set()  # positions taken by `wanted` before their turn
        self._in_use: set[int] = set()
        self._resting: OrderedDict[int, float] = OrderedDict()  # prefix -> released at, oldest first
        self._free: OrderedDict[int, None] = OrderedDict()  # used before, longest free first

    @property
    def in_use(self) -> int:
        """How many prefixes connections hold now."""
        return len(self._in_use)

    @property
    def quarantined(self) -> int:
        """How many were resting at the last call that took a time."""
        return len(self._resting)

    @property
    def free_count(self) -> int:
        """How many `allocate` could hand out at the last call that took a time."""
        return self.capacity - len(self._in_use) - len(self._resting)

    def allocate(self, now_s: float, wanted: bytes | None = None) -> bytes | None:
        """A prefix nobody else has; None when all are in use or resting.

        wanted: the prefix this unit had before. It gets that one where it is free, resting or never used, else any other.
        """
        self._wake(now_s)
        number = self._take_wanted(wanted) if wanted is not None else None
        if number is None:
            number = self._take_next()
        if number is None:
            return None
        self._in_use.add(number)
        return number.to_bytes(self.size_bytes, "big")

    def release(self, prefix: bytes, now_s: float) -> None:
        """Put a prefix to rest. Raises ValueError when it is not in use: releasing twice would deal it twice."""
        number = int.from_bytes(prefix, "big")
        if len(prefix) != self.size_bytes or number not in self._in_use:
            raise ValueError(f"prefix {prefix.hex()} is not in use")
        self._in_use.remove(number)
        self._resting[number] = now_s
        self._wake(now_s)

    def flush_quarantine(self, released_before_s: float = math.inf) -> int:
        """End the rest of every prefix released before that time and say how many there were.

        For when a clean job replaced all older jobs of every rung: work on them is worthless, so nobody can repeat it.
        """
        count = 0
        while self._resting and next(iter(self._resting.values())) < released_before_s:
            self._free_oldest()
            count += 1
        return count

    def _wake(self, now_s: float) -> None:
        # Oldest first; where the clock stepped back, a prefix behind a later one rests longer, never shorter.
        while self._resting and now_s - next(iter(self._resting.values())) >= self._quarantine_s:
            self._free_oldest()

    def _free_oldest(self) -> None:
        number, _ = self._resting.popitem(last=False)
        self._free[number] = None

    def _take_wanted(self, wanted: bytes) -> int | None:
        number = int.from_bytes(wanted, "big")
        if len(wanted) != self.size_bytes or number in self._in_use:
            return None
        if number in self._resting:
            del self._resting[number]
        elif number in self._free:
            del self._free[number]
        else:  # never used: remember to skip its turn
            self._ahead.add((number - self._offset) * self._inverse % self.capacity)
        return number

    def _take_next(self) -> int | None:
        while self._dealt < self.capacity:
            position = self._dealt
            self._dealt += 1
            if position in self._ahead:
                self._ahead.remove(position)  # its turn is over: from now on it is tracked like any other
                continue
            return (position * self._multiplier + self._offset) % self.capacity
        return self._free.popitem(last=False)[0] if self._free else None
