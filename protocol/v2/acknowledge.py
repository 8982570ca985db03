"""Which accepted shares of one channel SubmitShares.Success is still to tell of: many in one message, none for long.

Pure: it counts, and says when a batch is due. An idle channel gets its answer at once; a busy one is told every `MAX_WAIT_S`, after
so many shares, or at once when a block was among them. Refused shares never come here: each has a message of its own.
"""

from typing import Final

import msgspec

MAX_WAIT_S: Final = 1.0
_MAX_U64: Final = (1 << 64) - 1


class Batch(msgspec.Struct, frozen=True, gc=False):
    """The numbers of one SubmitShares.Success; count and sum are of this batch alone. shares_sum: difficulties, rounded down."""

    last_sequence_number: int
    count: int
    shares_sum: int


class Acknowledgements:
    """The shares accepted since the last batch. `last_sequence_number` is that of the latest one: numbers wrap, so no maximum."""

    __slots__ = ("_count", "_is_urgent", "_last_sequence_number", "_sum", "_taken_s")

    def __init__(self) -> None:
        self._count = 0
        self._sum = 0.0
        self._last_sequence_number = 0
        self._taken_s = -MAX_WAIT_S
        self._is_urgent = False

    def add(self, sequence_number: int, difficulty: float, *, is_block: bool = False) -> None:
        """One share of a job with this difficulty was accepted."""
        self._count += 1
        self._sum += difficulty
        self._last_sequence_number = sequence_number
        self._is_urgent = self._is_urgent or is_block

    def is_due(self, now_s: float, max_count: int) -> bool:
        """Whether a batch is to be sent now."""
        if not self._count:
            return False
        return self._is_urgent or self._count >= max_count or now_s - self._taken_s >= MAX_WAIT_S

    def take(self, now_s: float) -> Batch | None:
        """The batch, which begins anew; None when there is nothing to tell."""
        if not self._count:
            return None
        batch = Batch(self._last_sequence_number, self._count, min(int(self._sum), _MAX_U64))
        self._count, self._sum, self._is_urgent, self._taken_s = 0, 0.0, False, now_s
        return batch
