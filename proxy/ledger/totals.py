"""Running totals of this process, from counters that do not derive from each other, so that a lost share shows.

Lives on the trio thread and touches no database. Labels that a pool can choose are bounded.
"""

from proxy.ledger.records import HASHES_PER_DIFFICULTY, ShareRecord, ShareState
from proxy.views import ShareTotals

LABELS = 32  # different reasons kept apart; later ones are added up as OTHER
OTHER = "other"


class Totals:
    """Counts what enters and, apart from that, where it ends. `delta` is 0 as long as no share was lost or counted twice."""

    def __init__(self) -> None:
        self.received = 0
        self.rejected: dict[str, int] = {}
        self.below_pool_target = 0
        self.accepted = 0
        self.refused: dict[str, int] = {}
        self.unknown: dict[str, int] = {}
        self.blocks = 0
        self.anomalies: dict[str, int] = {}
        self._valid_difficulty = 0.0
        self._accepted_difficulty = 0.0

    def enter(self, record: ShareRecord) -> None:
        """A valid share came in; one that is not forwarded has ended with that."""
        self.received += 1
        self._valid_difficulty += record.difficulty
        if record.block:
            self.blocks += 1
        if not record.forwarded:
            self.below_pool_target += 1

    def reject(self, verdict: str) -> None:
        """A share came in and was refused by us."""
        self.received += 1
        add(self.rejected, verdict, 1)

    def end(self, state: ShareState, reason: str | None, pool_difficulty: float, by: int = 1) -> None:
        """A forwarded share ended (by=-1: it turned out to have been counted before)."""
        if state is ShareState.ACCEPTED:
            self.accepted += by
            self._accepted_difficulty += by * pool_difficulty
        elif state is ShareState.REFUSED:
            add(self.refused, reason or OTHER, by)
        else:
            add(self.unknown, reason or OTHER, by)

    def leave(self, record: ShareRecord) -> None:
        """Undo `enter`: the same work is in the ledger from an earlier run."""
        self.received -= 1
        self._valid_difficulty -= record.difficulty
        if record.block:
            self.blocks -= 1
        if not record.forwarded:
            self.below_pool_target -= 1

    def view(self, pending: int) -> ShareTotals:
        """A frozen copy; `pending` is how many forwarded shares wait for their pool."""
        ended = self.below_pool_target + self.accepted
        ended += sum(self.rejected.values()) + sum(self.refused.values()) + sum(self.unknown.values())
        return ShareTotals(
            received=self.received,
            rejected=dict(self.rejected),
            below_pool_target=self.below_pool_target,
            accepted=self.accepted,
            refused=dict(self.refused),
            unknown=dict(self.unknown),
            pending=pending,
            blocks=self.blocks,
            valid_work=self._valid_difficulty * HASHES_PER_DIFFICULTY,
            accepted_work=self._accepted_difficulty * HASHES_PER_DIFFICULTY,
            conservation_delta=self.received - ended - pending,
        )


def add(counts: dict[str, int], label: str, by: int) -> None:
    """Add to `label`, or to OTHER once there are LABELS of them."""
    if label not in counts and len(counts) >= LABELS:
        label = OTHER
    counts[label] = counts.get(label, 0) + by
