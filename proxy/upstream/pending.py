"""Shares on their way to a pool: sent, not answered yet. Nothing is forgotten: each ends accepted, refused or unknown, with a
reason.

A connection that breaks leaves its shares in doubt. If the pool gives the next connection the same coordinates within
`RESUME_WINDOW_S`, they are sent again: "true" counts, and so does "duplicate", because it proves that the pool had it. Any other
refusal proves nothing: pools look for staleness before they look for duplicates, so the share may have been accepted the first
time. It ends unknown, and says nothing about the pool's health.
"""

import itertools
from collections import deque
from collections.abc import Callable

import msgspec

from protocol.bitcoin.target import HASHES_PER_DIFFICULTY
from proxy.ledger.records import ShareState
from proxy.work.jobs import ForwardedShare

RESUME_WINDOW_S = 30.0
# More unanswered shares than this, and the pool is not taking them: new ones are refused as busy.
MAX_PENDING = 50_000
DUPLICATE_CODE = 22
LOW_DIFFICULTY_CODE = 23
LATENCY_SAMPLES = 100
# Answers that the reject rate looks at.
RATE_WINDOW_S = 180.0
RATE_SAMPLES = 5_000
_U32 = 0xFFFF_FFFF
_HALF_U32 = 1 << 31


class Sent(msgspec.Struct, gc=False):
    """A share under a request id. resent: it had been sent before and was in doubt."""

    share: ForwardedShare
    sent_s: float
    resent: bool


class InDoubt(msgspec.Struct, frozen=True, gc=False):
    """A share that waits for the next connection. was_sent: the pool may have it already."""

    share: ForwardedShare
    was_sent: bool


class Batch(msgspec.Struct, frozen=True, gc=False):
    """What one acknowledgement of a Stratum V2 pool covered: the shares that waited up to its number, and what was accepted of
    them."""

    covered: int
    accepted: int
    difficulty_sum: float  # of the accepted


class PoolAccount:
    """Counters of one pool over all its connections. mismatched_batches: acknowledgements whose numbers are not ours."""

    def __init__(self) -> None:
        self.accepted = 0
        self.mismatched_batches = 0
        self.refused: dict[str, int] = {}
        self.unknown: dict[str, int] = {}
        self.last_refusal: str | None = None
        self.accepted_work = 0.0
        self.latencies_s: deque[float] = deque(maxlen=LATENCY_SAMPLES)
        self.answers: deque[tuple[float, bool, float]] = deque(maxlen=RATE_SAMPLES)

    def recent(self, now_s: float) -> tuple[int, float, float]:
        """(answers, refused work, all work) of the last three minutes."""
        while self.answers and now_s - self.answers[0][0] > RATE_WINDOW_S:
            self.answers.popleft()
        refused = sum(work for _, accepted, work in self.answers if not accepted)
        return len(self.answers), refused, sum(work for _, _, work in self.answers)

    def median_latency_s(self) -> float | None:
        """Of the last hundred answers."""
        return sorted(self.latencies_s)[len(self.latencies_s) // 2] if self.latencies_s else None


class PendingShares:
    """The shares of one pool slot that wait for an answer, over reconnects."""

    def __init__(
        self,
        account: PoolAccount,
        settle: Callable[[int, ShareState, str | None], None],
        answered: Callable[[str, bool], None],
        block_lost: Callable[[ForwardedShare, str], None] = lambda share, reason: None,
    ) -> None:
        """block_lost: told of each block that the pool did not acknowledge, with the reason."""
        self._account = account
        self._settle = settle
        self._answered = answered
        self._block_lost = block_lost
        self._sent: dict[int, Sent] = {}
        self._doubt: list[InDoubt] = []
        self._doubt_until_s = 0.0

    def __len__(self) -> int:
        return len(self._sent) + len(self._doubt)

    @property
    def is_full(self) -> bool:
        """No more can be taken."""
        return len(self) >= MAX_PENDING

    def oldest_s(self) -> float | None:
        """When the oldest unanswered share was sent."""
        return next(iter(self._sent.values())).sent_s if self._sent else None

    @property
    def in_flight(self) -> int:
        """Sent on the present connection and not answered."""
        return len(self._sent)

    def sent(self, request_id: int, share: ForwardedShare, now_s: float, *, resent: bool = False) -> None:
        """A share went out under this request id."""
        self._sent[request_id] = Sent(share, now_s, resent)

    def keep(self, share: ForwardedShare, now_s: float) -> None:
        """A share that could not be sent (a block, while the pool is away): tried again with the next connection."""
        self._doubt.append(InDoubt(share, was_sent=False))
        self._doubt_until_s = max(self._doubt_until_s, now_s + RESUME_WINDOW_S)

    def answer(self, request_id: int, accepted: bool, code: int | None, reason: str | None, now_s: float) -> bool:
        """The pool's word on a share; False when there is no such share (answered twice, or never sent)."""
        sent = self._sent.pop(request_id, None)
        if sent is None:
            return False
        share = sent.share
        account = self._account
        if not accepted and sent.resent:
            if code != DUPLICATE_CODE:
                self._end_unknown(share, "refused-after-resume")
                return True
            accepted, reason = True, "duplicate-after-resume"
        account.answers.append((now_s, accepted, share.work))
        account.latencies_s.append(now_s - sent.sent_s)
        if accepted:
            self._end_accepted(share, reason)
        else:
            label = _label(code, reason)
            account.refused[label] = account.refused.get(label, 0) + 1
            account.last_refusal = reason or label
            self._settle(share.share_id, ShareState.REFUSED, label)
            if share.block:
                self._block_lost(share, f"refused: {reason or label}")
        self._answered(share.unit, accepted)
        return True

    def accept_through(self, last_sequence: int, count: int, now_s: float) -> Batch:
        """A Stratum V2 pool has settled everything up to this sequence number (request ids here), `count` of it accepted.

        What was refused has had its own answer. Where fewer were accepted than wait, the oldest count and the rest end unknown:
        nobody can say which they were, and the sums agree with the pool's. Numbers wrap at 2**32.
        """
        covered = list(itertools.takewhile(lambda sequence: (last_sequence - sequence) & _U32 < _HALF_U32, self._sent))
        work = 0.0
        for place, sequence in enumerate(covered):
            sent = self._sent.pop(sequence)
            share = sent.share
            self._account.latencies_s.append(now_s - sent.sent_s)
            if place >= count:
                self._end_unknown(share, "batch-mismatch")
                continue
            work += share.work
            self._account.answers.append((now_s, True, share.work))
            self._end_accepted(share, None)
            self._answered(share.unit, True)
        return Batch(len(covered), min(count, len(covered)), work / HASHES_PER_DIFFICULTY)

    def count_mismatch(self) -> None:
        """The numbers of an acknowledgement are not those of the shares it covers."""
        self._account.mismatched_batches += 1

    def connection_lost(self, now_s: float) -> None:
        """Everything unanswered is in doubt for a while."""
        if self._sent:
            self._doubt.extend(InDoubt(sent.share, was_sent=True) for sent in self._sent.values())
            self._sent.clear()
            self._doubt_until_s = now_s + RESUME_WINDOW_S

    def take_doubtful(self) -> list[InDoubt]:
        """The shares in doubt, to be sent (again): the pool gave us the same coordinates."""
        doubt, self._doubt = self._doubt, []
        return doubt

    def give_up(self, reason: str, now_s: float | None = None) -> None:
        """Shares in doubt become unknown: at once, or with `now_s` when their window has passed.

        Those that never went out end as `never-sent`, whatever `reason` is: of these it is certain that the pool has not got them.
        """
        if not self._doubt or (now_s is not None and now_s < self._doubt_until_s):
            return
        doubt, self._doubt = self._doubt, []
        for waiting in doubt:
            self._end_unknown(waiting.share, reason if waiting.was_sent else "never-sent")

    def _end_accepted(self, share: ForwardedShare, reason: str | None) -> None:
        self._account.accepted += 1
        self._account.accepted_work += share.work
        self._settle(share.share_id, ShareState.ACCEPTED, reason)

    def _end_unknown(self, share: ForwardedShare, reason: str) -> None:
        self._account.unknown[reason] = self._account.unknown.get(reason, 0) + 1
        self._settle(share.share_id, ShareState.UNKNOWN, reason)
        if share.block:
            self._block_lost(share, reason)


def _label(code: int | None, reason: str | None) -> str:
    """A bounded name for a pool's refusal. Code 23 stands for more than a low difficulty; only the words tell."""
    if code == LOW_DIFFICULTY_CODE and reason is not None and "version" in reason.lower():
        return "bad-version"
    known = {20: "other", 21: "stale", 22: "duplicate", 23: "low-difficulty", 24: "unauthorized", 25: "not-subscribed"}
    return known.get(code, "other") if code is not None else "other"
