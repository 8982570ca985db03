"""A schedule of demands, block after block, taken as a whole: every block is a demand like any other, or none of them is.

Pure. All blocks have one epoch and sequence, so one number answers for the schedule: a repeat is known by it, a newer schedule or
demand rules wherever it reaches. Not here: decoding (signals/schedules), which block rules now (arbitrate).
"""

from collections.abc import Sequence

import msgspec

from proxy.heat import arbitrate
from proxy.heat.demand import DemandBook, DemandRefused, Envelope, HeatDemand, accepted


class ScheduleAccepted(msgspec.Struct, frozen=True, gc=False):
    """The schedule was taken. `blocks` counts all that were sent; those that are over already have no effect."""

    source: str
    epoch: int
    sequence: int
    blocks: int
    valid_from_unix_s: float
    valid_until_unix_s: float


def answer_to(blocks: Sequence[HeatDemand]) -> ScheduleAccepted:
    """The answer to a schedule that is taken, the same for its repeats."""
    first, last = blocks[0], blocks[-1]
    return ScheduleAccepted(
        first.source, first.epoch, first.sequence, len(blocks), first.valid_from_unix_s, last.valid_until_unix_s
    )


def ahead(blocks: Sequence[HeatDemand], now_unix_s: float) -> list[HeatDemand]:
    """The blocks that are not over yet."""
    return [block for block in blocks if not block.valid_until_unix_s <= now_unix_s]


def take(
    docket: arbitrate.Docket,
    book: DemandBook,
    envelope: Envelope,
    blocks: Sequence[HeatDemand],
    in_force: HeatDemand | None,
    now_unix_s: float,
) -> ScheduleAccepted | DemandRefused:
    """Judge every block (at least one, in order of time) and put them on the docket; with one refused, nothing changes."""
    coming = ahead(blocks, now_unix_s) or list(blocks[-1:])
    refusal = _judge(book, envelope, coming, in_force, now_unix_s, over=len(blocks) - len(coming))
    if refusal is not None:
        return refusal
    if not _admit(docket, coming, now_unix_s):
        return DemandRefused(
            429, f"more than {arbitrate.MAX_WAITING} demands would wait", "plan less far ahead, or in longer blocks"
        )
    book.note(coming[-1], accepted(coming[-1], now_unix_s))
    return answer_to(blocks)


def _judge(
    book: DemandBook,
    envelope: Envelope,
    coming: Sequence[HeatDemand],
    in_force: HeatDemand | None,
    now_unix_s: float,
    over: int,
) -> DemandRefused | None:
    """Each block steps from the one before it, the first one from what is in force."""
    before = in_force
    for number, block in enumerate(coming, start=over + 1):
        answer = book.judge(block, envelope, before, now_unix_s)
        if isinstance(answer, DemandRefused):
            return msgspec.structs.replace(answer, reason=f"block {number} of {over + len(coming)}: {answer.reason}")
        before = block
    return None


def _admit(docket: arbitrate.Docket, coming: Sequence[HeatDemand], now_unix_s: float) -> bool:
    """Put the blocks in the place of what their source had planned for the same time; False when too many would wait."""
    source, epoch = coming[0].source, coming[0].epoch
    start, end = coming[0].valid_from_unix_s, coming[-1].valid_until_unix_s

    def is_replaced(other: HeatDemand) -> bool:
        is_within = start <= other.valid_from_unix_s and other.valid_until_unix_s <= end
        return other.source == source and (other.epoch < epoch or is_within)

    kept = [other for other in docket.waiting if other.valid_until_unix_s > now_unix_s and not is_replaced(other)]
    if len(kept) + len(coming) > arbitrate.MAX_WAITING:
        return False
    docket.waiting = [*kept, *coming]
    return True
