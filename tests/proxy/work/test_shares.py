"""Shares up: what a pool is given, what the ledger keeps, and what becomes of a share that nobody can take."""

import msgspec
import pytest

from protocol.bitcoin.target import HASHES_PER_DIFFICULTY, MAX_TARGET
from protocol.mining.job import VERSION_MASK_BIP320
from protocol.mining.share import Verdict
from proxy.work.jobs import ForwardedShare
from tests.support.jobs import EASY, FakeSession
from tests.support.routing import Bench


class BlockTakingSession(FakeSession):
    """A block is taken even by a session that is dead or choked, as the real one does."""

    def submit(self, share: ForwardedShare) -> bool:
        if share.block:
            self.taken.append(share)
            return True
        return super().submit(share)


def working() -> tuple[Bench, FakeSession]:
    """A bench whose session has a job."""
    bench = Bench()
    session = BlockTakingSession()
    session.job(1, difficulty=EASY)
    bench.session = session
    return bench, session


def test_a_share_goes_to_its_pool_and_to_the_ledger_and_is_answered_only_when_it_is_durable() -> None:
    bench, session = working()
    unit = bench.unit()
    assert bench.shares.submit(unit, next(bench.finds(unit)), "answer-1") is None
    assert [(share.upstream_job, share.unit) for share in session.taken] == [("up1", "unit-1")]
    assert not bench.links[unit].accepted
    bench.shares.on_durable(bench.ledger.tokens)
    assert bench.links[unit].accepted == ["answer-1"]
    assert bench.links[unit].flushes == 1


def test_the_pool_gets_padding_id_and_rolled_bytes_as_its_extranonce2() -> None:
    bench, session = working()
    bench.unit("first")
    unit = bench.unit("second")
    share = next(bench.finds(unit))
    bench.shares.submit(unit, share, 0)
    assert session.taken[0].extranonce2 == bytes(4) + b"\x00\x01" + share.extranonce2


def test_a_share_below_the_pools_target_stays_here_and_counts_as_work() -> None:
    bench, session = working()
    session.job(2, difficulty=EASY * 2**40)
    unit = bench.unit()
    assert bench.shares.submit(unit, next(bench.finds(unit)), 0) is None
    assert not session.taken
    assert not bench.ledger.records[0].forwarded
    assert bench.router.memory.of("unit-1").valid_work == EASY * HASHES_PER_DIFFICULTY


def test_a_degraded_ledger_refuses_shares_and_the_same_share_is_good_later() -> None:
    bench, session = working()
    unit = bench.unit()
    share = next(bench.finds(unit))
    bench.ledger.is_degraded = True
    assert bench.shares.submit(unit, share, 0) is Verdict.UNLEDGERED
    assert not session.taken
    bench.ledger.is_degraded = False
    assert bench.shares.submit(unit, share, 0) is None
    assert bench.shares.submit(unit, share, 0) is Verdict.DUPLICATE
    assert bench.ledger.rejected == [("unit-1", "pool-a", "ledger-unavailable"), ("unit-1", "pool-a", "duplicate")]


def test_a_choked_pool_is_busy_and_the_same_share_is_good_later() -> None:
    bench, session = working()
    unit = bench.unit()
    share = next(bench.finds(unit))
    session.has_room = False
    assert bench.shares.submit(unit, share, 0) is Verdict.BUSY
    assert not bench.ledger.records
    session.has_room = True
    assert bench.shares.submit(unit, share, 0) is None


def test_a_share_of_a_pool_that_is_gone_is_refused_and_never_sent_elsewhere() -> None:
    bench, session = working()
    unit = bench.unit()
    share = next(bench.finds(unit))
    other = FakeSession("pool-b", 2)
    other.job(1)
    session.is_alive = False
    bench.router.attach(unit, other)
    assert bench.shares.submit(unit, share, 0) is Verdict.POOL_GONE
    assert not other.taken


def test_shares_that_the_ledger_loses_are_answered_with_its_error() -> None:
    bench, _ = working()
    unit, gone = bench.unit("stays"), bench.unit("leaves")
    bench.shares.submit(unit, next(bench.finds(unit)), "a")
    bench.shares.submit(gone, next(bench.finds(gone)), "b")
    bench.router.close_channel(gone)
    bench.shares.on_failed(bench.ledger.tokens)
    assert bench.links[unit].rejected == [("a", Verdict.UNLEDGERED)]
    assert bench.links[unit].flushes == 1
    assert not bench.links[gone].rejected


@pytest.mark.parametrize("trouble", ["ledger", "queue", "connection", "below-target"])
def test_case_59_a_block_passes_whatever_is_in_the_way(trouble: str) -> None:
    bench, session = working()
    unit = bench.unit()
    session.job(2, network_target=MAX_TARGET, difficulty=2.0**10 if trouble == "below-target" else EASY)
    bench.router.publish(session.current)  # type: ignore[arg-type]  # it was made just now
    bench.ledger.is_degraded = trouble == "ledger"
    session.has_room = trouble != "queue"
    session.is_alive = trouble != "connection"
    assert bench.shares.submit(unit, next(bench.finds(unit)), 0) is None
    assert [share.block for share in session.taken] == [True]
    assert [record.block for record in bench.ledger.records] == [True]
    assert [facts["pool"] for facts in bench.names("block.found")] == ["pool-a"]


def test_a_pool_that_lets_us_roll_gets_the_bits_of_units_that_do_not_roll_too() -> None:
    """BIP 310; DATUM refuses a share without them as bad-version."""
    bench, session = working()
    upstream = session.job(2)
    upstream.job = msgspec.structs.replace(upstream.job, version=0x20004000)
    unit = bench.unit()
    bench.shares.submit(unit, next(bench.finds(unit)), 0)
    assert (session.taken[-1].version_bits, session.taken[-1].version) == (0x4000, 0x20004000)


def test_version_bits_go_up_only_to_a_pool_that_lets_us_roll() -> None:
    """Some firmware always sends the sixth parameter; a pool that never granted it refuses a share that has one."""
    bench, session = working()
    unit = bench.unit(mask=VERSION_MASK_BIP320)
    bench.shares.submit(unit, next(bench.finds(unit, version_bits=0)), 0)
    assert session.taken[-1].version_bits == 0
    job = session.job(2)
    job.job = msgspec.structs.replace(job.job, version_mask=0)
    bench.router.publish(job)
    bench.shares.submit(unit, next(bench.finds(unit, version_bits=0)), 0)
    assert session.taken[-1].version_bits is None


def test_a_share_that_reached_no_channel_is_counted_for_nobody_and_one_of_a_channel_for_its_unit() -> None:
    bench, _ = working()
    unit = bench.unit()
    bench.shares.refuse(None, Verdict.NOT_SUBSCRIBED)
    bench.shares.refuse(unit, Verdict.MALFORMED)
    assert bench.ledger.rejected == [("", "", "not-subscribed"), ("unit-1", "", "malformed")]
    assert unit.rejected == 1


def test_what_pools_answer_is_counted_for_the_unit_that_found_it() -> None:
    bench, _ = working()
    for accepted in (True, True, False):
        bench.shares.answered("unit-1", accepted)
    work = bench.router.memory.of("unit-1")
    assert (work.accepted, work.refused) == (2, 1)


def test_the_work_of_a_share_is_credited_to_the_pool_it_was_found_for() -> None:
    bench, _ = working()
    credited: list[tuple[str, float]] = []
    bench.shares.on_credited = lambda pool, work: credited.append((pool, work))
    unit = bench.unit()
    bench.shares.submit(unit, next(bench.finds(unit)), 0)
    assert credited == [("pool-a", EASY * HASHES_PER_DIFFICULTY)]
