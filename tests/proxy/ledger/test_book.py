"""The shares in memory, in any order of events: nothing lost, nothing counted twice, one answer a token."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from proxy.ledger.book import ShareBook
from proxy.ledger.records import ShareRecord, ShareState
from proxy.ledger.rejections import FLOOD_UNIT, KEYS_PER_PERIOD, RejectionCounts

ENDS = st.sampled_from(
    [(ShareState.ACCEPTED, None), (ShareState.REFUSED, "21"), (ShareState.UNKNOWN, "lost"), (ShareState.REFUSED, None)]
)


def record(share_id, forwarded, block=False):
    key = share_id.to_bytes(16, "big")
    return ShareRecord(share_id, 0.0, "unit", "worker", "pool", 1, "job", 4.0, 8.0, key, forwarded, block)


class BookMachine(RuleBasedStateMachine):
    """Entries, commits, failures and answers in any order, against a model that only knows each share's end."""

    def __init__(self):
        super().__init__()
        self.book = ShareBook()
        self.next_id = 1
        self.ends = {}  # share id -> how it stands
        self.untold = set()
        self.anomalies = 0
        self.rejected = 0
        self.now_s = 0.0

    queued = Bundle("queued")
    committed_shares = Bundle("committed")

    @rule(target=queued, forwarded=st.booleans(), block=st.booleans())
    def enter(self, forwarded, block):
        share = record(self.next_id, forwarded or block, block)
        self.next_id += 1
        self.now_s += 1.0
        self.book.enter(share, share.share_id, self.now_s)
        self.ends[share.share_id] = "pending" if share.forwarded else "local"
        self.untold.add(share.share_id)
        return share

    @rule()
    def reject(self):
        self.book.reject("stale")
        self.rejected += 1

    @rule(target=committed_shares, share=consumes(queued))
    def commit(self, share):
        self.tell(self.book.committed([share], []))
        assert share.share_id not in self.untold
        return share

    @rule(target=committed_shares, share=consumes(queued))
    def commit_finds_it_there_already(self, share):
        self.tell(self.book.committed([share], [share]))
        del self.ends[share.share_id]
        self.anomalies += 1
        return share

    @rule(share=queued, end=ENDS)
    def settle_before_the_commit(self, share, end):
        self.settle(share.share_id, end)

    @rule(share=committed_shares, end=ENDS)
    def settle_after_the_commit(self, share, end):
        self.settle(share.share_id, end)

    @rule(share_id=st.integers(-1, 0), end=ENDS)
    def settle_what_never_was(self, share_id, end):
        self.settle(share_id, end)

    def settle(self, share_id, end):
        written = self.book.settle(share_id, *end)
        if self.ends.get(share_id) == "pending":
            assert written is not None
            assert (written[0], written[2]) == (end[0].value, share_id)
            assert (written[1] is None) == (end[0] is ShareState.ACCEPTED)
            self.ends[share_id] = end[0].name
        else:
            assert written is None
            self.anomalies += 1

    @rule()
    def everything_fails(self):
        self.tell(self.book.fail_all())
        assert not self.untold

    def tell(self, tokens):
        assert len(set(tokens)) == len(tokens)
        assert set(tokens) <= self.untold
        self.untold -= set(tokens)

    @invariant()
    def nothing_is_lost(self):
        totals = self.book.totals()
        stands = list(self.ends.values())
        assert totals.conservation_delta == 0
        assert totals.received == len(stands) + self.rejected
        assert totals.pending == stands.count("pending") == self.book.pending
        assert totals.below_pool_target == stands.count("local")
        assert totals.accepted == stands.count("ACCEPTED")
        assert sum(totals.refused.values()) == stands.count("REFUSED")
        assert sum(totals.unknown.values()) == stands.count("UNKNOWN")
        assert totals.accepted_work == totals.accepted * 8.0 * 2**32
        assert totals.valid_work == len(stands) * 4.0 * 2**32
        assert sum(self.book.anomalies.values()) == self.anomalies


BookMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
TestBook = BookMachine.TestCase


def test_overdue_shares_are_the_oldest_unanswered_ones():
    book = ShareBook()
    for share_id in range(1, 6):
        book.enter(record(share_id, True), None, float(share_id))
    book.settle(2, ShareState.ACCEPTED, None)
    assert book.overdue(4.0) == [1, 3]


def test_a_flood_of_new_names_ends_in_one_row():
    counts = RejectionCounts(900)
    for number in range(KEYS_PER_PERIOD + 500):
        counts.count(f"unit-{number}", "", "unauthorized", 1_000.0, 0.0)
    first = counts.take()
    assert len(first) == KEYS_PER_PERIOD + 1
    assert next(row.count for row in first if row.unit == FLOOD_UNIT) == 500
    counts.count("another", "", "unauthorized", 1_000.0, 0.0)
    counts.count("unit-1", "", "unauthorized", 1_000.0, 0.0)
    assert {row.unit for row in counts.take()} == {FLOOD_UNIT, "unit-1"}
    counts.count("another", "", "unauthorized", 2_000.0, 0.0)
    assert [row.unit for row in counts.take()] == ["another"]
