"""Acknowledgements of a Stratum V2 pool: up to a number, with a count; numbers wrap, errors come in between."""

from hypothesis import given
from hypothesis import strategies as st

from protocol.bitcoin.target import HASHES_PER_DIFFICULTY
from proxy.ledger.records import ShareState
from proxy.upstream.pending import Batch, PendingShares, PoolAccount
from proxy.work.jobs import ForwardedShare

U32 = 2**32
DIFFICULTY = 3.0


class Book:
    """Where shares ended; `first` is the number of the first."""

    def __init__(self, first: int = U32 - 10) -> None:
        self.ends: dict[int, tuple[ShareState, str | None]] = {}
        self.told: list[tuple[str, bool]] = []
        self.account = PoolAccount()
        self.pending = PendingShares(self.account, self._end, lambda *told: self.told.append(told))
        self.first = first
        self.sent = 0

    def _end(self, share_id: int, state: ShareState, reason: str | None) -> None:
        assert share_id not in self.ends
        self.ends[share_id] = (state, reason)

    def send(self, count: int) -> None:
        """So many shares; their ids count from 0."""
        for _ in range(count):
            work = DIFFICULTY * HASHES_PER_DIFFICULTY
            share = ForwardedShare(self.sent, "unit-1", "1", bytes(4), 1, 2, None, 0x20000000, work, False)
            self.pending.sent(self.number(self.sent), share, 0.0)
            self.sent += 1

    def number(self, share_id: int) -> int:
        """The sequence number of a share."""
        return (self.first + share_id) % U32

    def states(self) -> list[ShareState]:
        """Of all that have ended, in order of sending."""
        return [self.ends[share_id][0] for share_id in sorted(self.ends)]


def test_a_batch_across_the_wrap_settles_both_sides_of_it() -> None:
    book = Book()
    book.send(25)
    assert book.pending.accept_through(book.number(14), 15, 1.0) == Batch(15, 15, 45.0)
    assert book.pending.in_flight == 10
    assert book.pending.accept_through(book.number(24), 10, 1.0) == Batch(10, 10, 30.0)
    assert book.states() == [ShareState.ACCEPTED] * 25
    assert book.account.accepted_work == 75 * HASHES_PER_DIFFICULTY


def test_a_number_from_before_the_wrap_settles_nothing_after_it() -> None:
    book = Book()
    book.send(12)
    assert book.pending.accept_through(book.number(9), 10, 1.0).covered == 10
    assert book.pending.accept_through(book.number(9), 0, 1.0).covered == 0
    assert book.pending.in_flight == 2


def test_a_number_that_was_refused_still_bounds_the_batch() -> None:
    book = Book()
    book.send(5)
    book.pending.answer(book.number(2), False, 21, "stale-share", 1.0)
    assert book.pending.accept_through(book.number(2), 2, 1.0) == Batch(2, 2, 6.0)
    assert book.pending.in_flight == 2


def test_what_a_batch_leaves_out_is_the_newest_and_ends_unknown() -> None:
    book = Book()
    book.send(4)
    assert book.pending.accept_through(book.number(3), 3, 1.0) == Batch(4, 3, 9.0)
    assert book.ends[3] == (ShareState.UNKNOWN, "batch-mismatch")
    assert book.account.unknown == {"batch-mismatch": 1}


def test_each_share_of_a_batch_has_its_own_latency() -> None:
    book = Book()
    book.send(3)
    book.pending.accept_through(book.number(2), 3, 0.4)
    assert list(book.account.latencies_s) == [0.4] * 3
    assert book.told == [("unit-1", True)] * 3


steps = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.integers(1, 6)),
        st.tuples(st.just("batch"), st.integers(0, 30)),
        st.tuples(st.just("refuse"), st.integers(0, 30)),
        st.tuples(st.just("lose"), st.just(0)),
    ),
    max_size=60,
)


@given(steps, st.integers(U32 - 40, U32 + 5))
def test_every_share_ends_once_and_what_the_pool_counted_is_what_was_accepted(story: list[tuple[str, int]], first: int) -> None:
    book = Book(first % U32)
    waiting: list[int] = []
    counted = 0
    for step, number in story:
        if step == "send":
            waiting += range(book.sent, book.sent + number)
            book.send(number)
        elif step == "batch" and waiting:
            last = waiting[number % len(waiting)]
            covered = [share_id for share_id in waiting if share_id <= last]
            waiting = waiting[len(covered) :]
            counted += len(covered)
            assert book.pending.accept_through(book.number(last), len(covered), 1.0).covered == len(covered)
        elif step == "refuse" and waiting:
            share_id = waiting.pop(number % len(waiting))
            assert book.pending.answer(book.number(share_id), False, 23, "difficulty-too-low", 1.0)
        elif step == "lose":
            book.pending.connection_lost(1.0)
            book.pending.give_up("session-lost")
            waiting.clear()
            book.first = (book.first - book.sent + 1_000) % U32
    assert book.account.accepted == counted
    assert book.account.accepted_work == counted * DIFFICULTY * HASHES_PER_DIFFICULTY
    assert len(book.ends) + book.pending.in_flight == book.sent
