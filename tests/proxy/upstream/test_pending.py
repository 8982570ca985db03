"""Every share that went out ends somewhere, with a reason."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from proxy.ledger.records import ShareState
from proxy.upstream.pending import RESUME_WINDOW_S, PendingShares, PoolAccount
from proxy.work.jobs import ForwardedShare

WORK = 2.0**32


def share(share_id: int) -> ForwardedShare:
    return ForwardedShare(share_id, "unit-1", "job", b"\x00" * 4, 1, 2, None, 0x20000000, WORK, False)


class Book:
    """Where shares ended."""

    def __init__(self) -> None:
        self.ends: list[tuple[int, ShareState, str | None]] = []
        self.told: list[tuple[str, bool]] = []
        self.account = PoolAccount()
        self.lost_blocks: list[tuple[int, str]] = []
        self.pending = PendingShares(
            self.account,
            lambda *end: self.ends.append(end),
            lambda *told: self.told.append(told),
            lambda share, reason: self.lost_blocks.append((share.share_id, reason)),
        )


def test_an_accepted_share_counts_its_work() -> None:
    book = Book()
    book.pending.sent(1, share(10), 0.0)
    assert book.pending.answer(1, True, None, None, 0.2)
    assert book.ends == [(10, ShareState.ACCEPTED, None)]
    assert book.told == [("unit-1", True)]
    assert (book.account.accepted, book.account.accepted_work, book.account.median_latency_s()) == (1, WORK, 0.2)
    assert len(book.pending) == 0


def test_case_62_an_answer_that_comes_twice_or_for_nobody_changes_nothing() -> None:
    book = Book()
    book.pending.sent(1, share(10), 0.0)
    assert book.pending.answer(1, False, 21, "stale", 0.1)
    assert not book.pending.answer(1, True, None, None, 0.2)
    assert not book.pending.answer(99, True, None, None, 0.2)
    assert book.ends == [(10, ShareState.REFUSED, "stale")]
    assert book.account.refused == {"stale": 1}


def test_refusals_with_codes_nobody_knows_stay_few_labels() -> None:
    book = Book()
    for number in range(500):
        book.pending.sent(number, share(number), 0.0)
        book.pending.answer(number, False, number * 7, "?", 0.1)
    assert set(book.account.refused) <= {"other", "stale", "duplicate", "low-difficulty", "unauthorized", "not-subscribed"}


def test_a_lost_connection_leaves_shares_in_doubt_until_the_window_has_passed() -> None:
    book = Book()
    book.pending.sent(1, share(10), 0.0)
    book.pending.connection_lost(5.0)
    book.pending.give_up("session-lost", 5.0 + RESUME_WINDOW_S - 1)
    assert book.ends == []
    book.pending.give_up("session-lost", 5.0 + RESUME_WINDOW_S)
    assert book.ends == [(10, ShareState.UNKNOWN, "session-lost")]
    assert book.account.unknown == {"session-lost": 1}


def test_duplicate_proves_that_a_share_sent_again_had_arrived() -> None:
    book = Book()
    book.pending.sent(1, share(10), 0.0)
    book.pending.connection_lost(1.0)
    for again in book.pending.take_doubtful():
        book.pending.sent(2, again.share, 2.0, resent=again.was_sent)
    book.pending.answer(2, False, 22, "duplicate", 2.5)
    assert book.ends == [(10, ShareState.ACCEPTED, "duplicate-after-resume")]


def test_a_stale_share_that_was_sent_again_may_have_been_accepted_before() -> None:
    book = Book()
    book.pending.sent(1, share(10), 0.0)
    book.pending.connection_lost(1.0)
    for again in book.pending.take_doubtful():
        book.pending.sent(2, again.share, 2.0, resent=again.was_sent)
    assert book.pending.answer(2, False, 21, "Stale", 2.5)
    assert book.ends == [(10, ShareState.UNKNOWN, "refused-after-resume")]
    assert (book.account.refused, book.account.unknown) == ({}, {"refused-after-resume": 1})
    assert book.account.recent(3.0) == (0, 0.0, 0.0)


def test_a_kept_block_that_is_sent_for_the_first_time_is_refused_where_the_pool_says_so() -> None:
    book = Book()
    book.pending.keep(share(10), 0.0)
    for waiting in book.pending.take_doubtful():
        book.pending.sent(1, waiting.share, 2.0, resent=waiting.was_sent)
    book.pending.answer(1, False, 21, "Stale", 2.5)
    assert book.ends == [(10, ShareState.REFUSED, "stale")]


def test_a_block_that_is_not_acknowledged_is_told_with_the_pools_words() -> None:
    book = Book()
    for number, block in enumerate((True, False, True, True)):
        book.pending.sent(number, msgspec.structs.replace(share(number), block=block), 0.0)
    book.pending.answer(0, False, 23, "H-not-zero", 0.1)
    book.pending.answer(1, False, 21, "Stale", 0.1)
    book.pending.answer(2, True, None, None, 0.1)
    book.pending.connection_lost(1.0)
    book.pending.give_up("session-lost")
    assert book.lost_blocks == [(0, "refused: H-not-zero"), (3, "session-lost")]


def test_a_bad_version_is_not_called_a_low_difficulty_though_the_code_is_the_same() -> None:
    book = Book()
    for number, reason in enumerate(("bad-version", "Above target", "Difficulty too low", None)):
        book.pending.sent(number, share(number), 0.0)
        book.pending.answer(number, False, 23, reason, 0.1)
    assert book.account.refused == {"bad-version": 1, "low-difficulty": 3}


def test_a_kept_block_that_nobody_came_back_for_was_never_sent() -> None:
    book = Book()
    book.pending.sent(1, share(10), 0.0)
    book.pending.connection_lost(1.0)
    book.pending.keep(share(11), 2.0)
    book.pending.give_up("session-lost")
    assert book.ends == [(10, ShareState.UNKNOWN, "session-lost"), (11, ShareState.UNKNOWN, "never-sent")]


def test_a_duplicate_that_was_sent_once_is_refused() -> None:
    book = Book()
    book.pending.sent(1, share(10), 0.0)
    book.pending.answer(1, False, 22, "duplicate", 0.5)
    assert book.ends[0][1] is ShareState.REFUSED


@given(st.lists(st.sampled_from(["send", "answer", "refuse", "lose", "resume", "give up", "wait"]), max_size=80))
def test_nothing_is_ever_lost_or_ended_twice(steps: list[str]) -> None:
    book = Book()
    sent = 0
    requests: list[int] = []
    now_s = 0.0
    for step in steps:
        if step == "send":
            sent += 1
            requests.append(sent)
            book.pending.sent(sent, share(sent), now_s)
        elif step in ("answer", "refuse") and requests:
            book.pending.answer(requests.pop(0), step == "answer", None, None, now_s)
        elif step == "lose":
            book.pending.connection_lost(now_s)
            requests.clear()
        elif step == "resume":
            for number, again in enumerate(book.pending.take_doubtful(), start=10_000 + sent):
                book.pending.sent(number, again.share, now_s, resent=again.was_sent)
                requests.append(number)
                sent += 1
        elif step == "give up":
            book.pending.give_up("session-lost", now_s)
        else:
            now_s += 20.0
    ended = [end[0] for end in book.ends]
    assert len(ended) == len(set(ended))
    issued = steps.count("send")
    assert len(ended) + len(book.pending) == issued
