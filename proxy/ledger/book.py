"""The shares of this process in memory: who waits for a commit, who waits for a pool, and the running totals.

Plain calls on the trio thread, no database and no clock. It survives any order of "durable" and "answered by the pool", and notices
what should never happen (an answer to a share that is not pending, the same work twice) instead of counting it.
"""

from collections.abc import Sequence
from typing import Final

from proxy.ledger.batch import Settlement
from proxy.ledger.records import ShareRecord, ShareState
from proxy.ledger.text import LABEL_LIMIT, clean_text
from proxy.ledger.totals import Totals, add
from proxy.views import ShareTotals

UNSPECIFIED: Final = "unspecified"  # the pool refused without a word
_TOLD: Final = object()  # stands for a token that had its answer


class ShareBook:
    """Every share between `enter` and its two ends: durable (or failed) here, answered by its pool there."""

    def __init__(self) -> None:
        self._totals = Totals()
        self._waiting: dict[int, object] = {}  # shares not yet durable, with their tokens
        self._pending: dict[int, tuple[float, float]] = {}  # forwarded, unanswered: pool difficulty, since when
        self._answered_early: dict[int, tuple[ShareState, str | None, float]] = {}  # answered before they were durable

    @property
    def pending(self) -> int:
        """Forwarded shares that no pool has answered."""
        return len(self._pending)

    @property
    def anomalies(self) -> dict[str, int]:
        """What should never happen, by kind."""
        return dict(self._totals.anomalies)

    def totals(self) -> ShareTotals:
        """Every share so far, by where it ended."""
        return self._totals.view(len(self._pending))

    def enter(self, record: ShareRecord, token: object, now_s: float) -> None:
        """A valid share came in and goes to the writer."""
        share_id = record.share_id
        self._totals.enter(record)
        self._waiting[share_id] = token
        if record.forwarded:
            self._pending[share_id] = (record.pool_difficulty, now_s)

    def reject(self, verdict: str) -> None:
        """A share came in and was refused by us."""
        self._totals.reject(verdict)

    def settle(self, share_id: int, state: ShareState, reason: str | None) -> Settlement | None:
        """A forwarded share ended. Returns what to write; None when it was not pending (counted as an anomaly)."""
        if state is ShareState.SENT or state is ShareState.LOCAL:
            raise ValueError(f"{state} is no end of a forwarded share")
        pending = self._pending.pop(share_id, None)
        if pending is None:
            self.note("settle-not-pending")
            return None
        if state is ShareState.ACCEPTED:
            reason = None
        elif reason is None or not (reason := clean_text(reason, LABEL_LIMIT)):
            reason = UNSPECIFIED
        self._totals.end(state, reason, pending[0])
        if share_id in self._waiting:
            self._answered_early[share_id] = (state, reason, pending[0])
        return (state.value, reason, share_id)

    def committed(self, records: Sequence[ShareRecord], repeated: Sequence[ShareRecord]) -> list[object]:
        """These shares are durable, the repeated ones since an earlier time. Returns the tokens to be told."""
        for record in repeated:
            self._retract(record)
        waiting = self._waiting
        tokens = []
        for record in records:
            token = waiting.pop(record.share_id, _TOLD)
            if token is not _TOLD:
                tokens.append(token)
        if self._answered_early:
            for record in records:
                self._answered_early.pop(record.share_id, None)
        return tokens

    def fail(self, share_id: int) -> list[object]:
        """One share can never be written. Returns its token, if nobody was told yet."""
        self._answered_early.pop(share_id, None)
        token = self._waiting.pop(share_id, _TOLD)
        return [] if token is _TOLD else [token]

    def fail_all(self) -> list[object]:
        """Nothing that waits can be promised. Returns the tokens to be told; the shares themselves stay in the totals."""
        tokens = [token for token in self._waiting.values() if token is not _TOLD]
        self._waiting = dict.fromkeys(self._waiting, _TOLD)
        return tokens

    def overdue(self, before_s: float) -> list[int]:
        """Forwarded shares that entered before `before_s` and were never answered, oldest first."""
        found = []
        for share_id, (_, since_s) in self._pending.items():  # in order of entry
            if since_s >= before_s:
                break
            found.append(share_id)
        return found

    def note(self, anomaly: str) -> None:
        """Count something that should never happen."""
        add(self._totals.anomalies, anomaly, 1)

    def _retract(self, record: ShareRecord) -> None:
        """The ledger had this work already: it counts once."""
        self.note("repeated-key")
        self._totals.leave(record)
        if record.forwarded and self._pending.pop(record.share_id, None) is None:
            early = self._answered_early.get(record.share_id)
            if early is not None:
                self._totals.end(*early, by=-1)
