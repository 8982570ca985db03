"""A unit that speaks Stratum V1 works for a pool that speaks Stratum V2, and notices nothing."""

from collections.abc import Iterator

import pytest

from protocol.bitcoin.target import target_from_difficulty
from protocol.errors import RemoteProtocolError
from protocol.v2.messages import common, extensions, mining
from proxy.errors import PoolError
from proxy.ledger.records import ShareState
from proxy.upstream.v2 import V2Session
from proxy.upstream.v2_link import Again
from proxy.work.jobs import ForwardedShare
from proxy.work.load import Load
from tests.support.jobs import EASY, NTIME
from tests.support.mine import solve
from tests.support.v2_pool import COINBASE_1, COINBASE_2, EASY_TARGET, ScriptedPool, is_work, job, tip, tlv_values
from tests.support.wire import Unit, Wire


class Site:
    """A pool of version 2 with one channel, and a unit of version 1 on it."""

    def __init__(self, wire: Wire, pool: ScriptedPool, session: V2Session) -> None:
        self.wire = wire
        self.pool = pool
        self.session = session
        self.unit = self.add_unit("unit-1")

    def add_unit(self, name: str, *, rolls_version: bool = True) -> Unit:
        self.wire.session = self.session
        unit = self.wire.connect()
        unit.shakes_hands(name, rolls_version=rolls_version)
        lines = unit.lines()
        unit.hello = next(line for line in lines if isinstance(line.get("result"), list))  # type: ignore[attr-defined]
        unit.told = [line for line in lines if line.get("method") == "mining.notify"]  # type: ignore[attr-defined]
        unit.methods = {line["method"] for line in lines if "method" in line}  # type: ignore[attr-defined]
        return unit

    def hears(self, unit: Unit | None = None) -> list[dict[str, object]]:
        """The unit's new jobs."""
        unit = unit or self.unit
        lines = unit.lines()
        unit.methods |= {line["method"] for line in lines if "method" in line}  # type: ignore[attr-defined]
        new = [line for line in lines if line.get("method") == "mining.notify"]
        unit.told += new  # type: ignore[attr-defined]
        return new

    def shares(self, unit: Unit | None = None, *, of: int = -1, first: int = 0, difficulty: float = EASY) -> list[object]:
        """Solve a job as the unit knows it and submit it; what the pool heard."""
        unit = unit or self.unit
        params = solve(unit.hello, unit.told[of], difficulty, first=first)  # type: ignore[attr-defined]
        unit.says("mining.submit", "unit-1", *params)
        return list(self.pool.heard())


@pytest.fixture
def site() -> Iterator[Site]:
    wire = Wire()
    pool = ScriptedPool(wire)
    yield Site(wire, pool, pool.mining())
    wire.close()


def test_a_share_of_a_v1_unit_is_valid_at_the_v2_pool_and_settled_by_its_batch(site):
    (share,) = site.shares()
    assert is_work(share)
    assert tlv_values(share) == [b"unit-1"]
    assert len(share.extranonce) == 8
    assert share.sequence_number == 1
    site.pool.accepts(last=1, count=1)
    assert site.pool.settled == [(1, ShareState.ACCEPTED, None)]
    assert site.pool.answered == [("unit-1", True)]
    assert site.pool.account.mismatched_batches == 0


def test_the_connection_is_set_up_for_version_rolling_and_the_channel_for_our_geometry(site):
    other = ScriptedPool(site.wire, load=Load(2e15, 4.0))
    other.shakes_hands()
    (setup,) = other.heard()
    assert (setup.flags, setup.endpoint_host, setup.endpoint_port) == (4, b"192.0.2.9", 3336)
    other.says(common.SetupConnectionSuccess(2, 0))
    (request,) = other.heard()
    assert request.requested_extensions == (2,)
    other.says(extensions.RequestExtensionsSuccess(request.request_id, (2,)))
    asked = other.opens(other.session())
    assert (asked.user_identity, asked.min_extranonce_size) == (b"account", 4)
    assert asked.nominal_hash_rate == pytest.approx(2e15)
    assert asked.max_target == target_from_difficulty(4.0)


@pytest.mark.parametrize("prefix", [b"", b"\x01", bytes(range(24))])
@pytest.mark.parametrize("size", [4, 5, 8])
def test_any_coordinates_of_a_pool_enclose_ours(prefix, size):
    wire = Wire()
    pool = ScriptedPool(wire)
    wire.session = session = pool.mining(prefix=prefix, size=size)
    site = Site(wire, pool, session)
    (share,) = site.shares()
    assert len(share.extranonce) == size
    assert is_work(share, prefix=prefix)
    wire.close()


def test_m_oemcs_a_pool_that_gives_too_little_room_has_broken_the_protocol(site):
    pool = ScriptedPool(site.wire)
    pool.welcomes()
    with pytest.raises(RemoteProtocolError, match="extranonce of 3 bytes"):
        pool.opens(pool.session(), size=3)
    assert not pool.link.is_up


# -- jobs


def test_a_new_tip_is_one_clean_job_and_nothing_else(site):
    site.pool.says(job(2, 2), tip(2, 2))
    (told,) = site.hears()
    assert told["params"][8] is True
    (share,) = site.shares()
    assert share.job_id == 2
    assert is_work(share, number=2)
    assert site.unit.methods == {"mining.set_difficulty", "mining.notify"}


def test_a_job_for_now_is_one_job_that_is_not_clean_and_the_old_one_still_counts(site):
    site.pool.says(job(2, 2, min_ntime=NTIME + 5))
    (told,) = site.hears()
    assert told["params"][8] is False
    (late,) = site.shares(of=0)
    assert late.job_id == 1


def test_future_jobs_are_not_shown_to_units_before_their_tip(site):
    site.pool.says(job(2, 2), job(3, 3))
    assert site.hears() == []
    site.pool.says(tip(3, 3))
    assert len(site.hears()) == 1


def test_a_tip_that_overtakes_its_job_stops_shares_until_the_job_comes(site):
    site.pool.says(tip(2, 2))
    assert site.shares() == []
    assert site.unit.lines()[-1]["result"] is not True
    site.pool.says(job(2, 2))
    assert len(site.hears()) == 1
    (share,) = site.shares()
    assert is_work(share, number=2)


def test_a_tip_whose_job_never_comes_costs_the_channel(site):
    site.pool.says(tip(2, 2))
    site.wire.now_s += 29.0
    site.session.tick(site.pool.load)
    assert site.session.is_alive
    site.wire.now_s += 2.0
    site.session.tick(site.pool.load)
    assert not site.session.is_alive


def test_x_set_target_is_frozen_with_each_job(site):
    harder = EASY_TARGET // 64
    site.pool.says(mining.SetTarget(7, harder))
    (share,) = site.shares()
    assert is_work(share)
    assert site.hears() == []
    site.pool.says(job(2, 1, min_ntime=NTIME + 1))
    site.hears()
    found = [share for first in range(0, 4000, 400) for share in site.shares(first=first)]
    assert all(is_work(share, target=harder) for share in found if share.job_id == 2)
    assert site.session.difficulty == pytest.approx(EASY * 64)


def test_only_what_is_below_the_target_goes_up_and_the_rest_is_ours_alone(site):
    site.pool.says(mining.SetTarget(7, EASY_TARGET // 8), job(2, 1, min_ntime=NTIME + 1))
    site.hears()
    first, taken = 0, 0
    for _ in range(32):
        params = solve(site.unit.hello, site.unit.told[-1], EASY, first=first)
        first = int(params[3], 16) + 1
        site.unit.says("mining.submit", "unit-1", *params)
        for share in site.pool.heard():
            taken += 1
            assert is_work(share, target=EASY_TARGET // 8)
    assert taken == sum(record.forwarded for record in site.wire.ledger.records)
    assert len(site.wire.ledger.records) == 32
    assert 0 < taken < 32


def test_a_new_prefix_of_the_pool_is_absorbed_by_the_next_job_and_old_shares_keep_the_old_one(site):
    site.pool.says(mining.SetExtranoncePrefix(7, b"\x01\x02\x03\x04"))
    assert site.hears() == []
    site.pool.says(job(2, 2, min_ntime=NTIME + 1))
    assert len(site.hears()) == 1
    (old,) = site.shares(of=0)
    assert is_work(old)
    (new,) = site.shares()
    assert is_work(new, prefix=b"\x01\x02\x03\x04", number=2) is False  # the tip is still the first
    txid_prefix = site.session.extranonce1
    assert txid_prefix == b"\x01\x02\x03\x04"
    assert site.unit.methods == {"mining.set_difficulty", "mining.notify"}


def test_bip_141_bytes_that_a_pool_left_in_are_not_hashed(site):
    prefix = COINBASE_1[:4] + b"\x00\x01" + COINBASE_1[4:]
    suffix = COINBASE_2[:-4] + b"\x01\x20" + bytes(32) + COINBASE_2[-4:]
    site.pool.says(job(2, 1, coinbase_tx_prefix=prefix, coinbase_tx_suffix=suffix), tip(2, 1))
    site.hears()
    (share,) = site.shares()
    assert share.job_id == 2
    assert is_work(share)


@pytest.mark.parametrize("min_ntime", [0, NTIME - 10_000, NTIME + 10_000, 2**32 - 1])
def test_a_job_of_another_time_is_refused_and_the_last_good_one_stays(site, min_ntime):
    site.pool.says(job(2, 2), tip(2, 2, min_ntime=min_ntime))
    assert site.hears() == []
    (share,) = site.shares()
    assert share.job_id == 1


def test_ten_unusable_jobs_in_a_row_cost_the_channel_not_the_connection(site):
    for job_id in range(2, 12):
        site.pool.says(job(job_id, 2, min_ntime=0))
    assert not site.session.is_alive
    assert site.pool.link.is_up
    assert any(isinstance(message, mining.CloseChannel) for message in site.pool.heard())


# -- version rolling


def test_a_pool_with_a_fixed_version_gets_shares_that_were_not_rolled():
    wire = Wire()
    pool = ScriptedPool(wire)
    pool.shakes_hands()
    pool.heard()
    pool.says(common.SetupConnectionSuccess(2, 1))
    (request,) = pool.heard()
    pool.says(extensions.RequestExtensionsSuccess(request.request_id, (2,)))
    wire.session = session = pool.session()
    pool.opens(session)
    pool.says(job(1), tip(1))
    assert session.version_mask == 0
    assert session.current.job.version_mask == 0
    wire.close()


def test_a_pool_that_cannot_promise_rolling_is_asked_again_without_it(site):
    pool = ScriptedPool(site.wire)
    pool.shakes_hands()
    pool.heard()
    with pytest.raises(Again):
        pool.says(common.SetupConnectionError(4, b"unsupported-feature-flags"))
    pool.shakes_hands()
    (setup,) = pool.heard()
    assert setup.flags == 0
    with pytest.raises(PoolError, match="unsupported-protocol"):
        pool.says(common.SetupConnectionError(0, b"unsupported-protocol"))


def test_rolled_bits_are_in_the_shares_whole_version(site):
    params = solve(site.unit.hello, site.unit.told[-1], EASY, version_bits=0x00006000)
    site.unit.says("mining.submit", "unit-1", *params)
    (share,) = site.pool.heard()
    assert share.version == 0x20006000
    assert is_work(share)


def test_a_job_that_forbids_rolling_takes_the_bits_from_nobody(site):
    site.pool.says(job(2, 1, version_rolling_allowed=False), tip(2, 1))
    site.hears()
    params = solve(site.unit.hello, site.unit.told[-1], EASY, version_bits=0x00006000)
    site.unit.says("mining.submit", "unit-1", *params)
    assert site.pool.heard() == []


# -- settlement


def many(site, count: int) -> list[mining.SubmitSharesExtended]:
    first, sent = 0, []
    for _ in range(count):
        params = solve(site.unit.hello, site.unit.told[-1], EASY, first=first)
        first = int(params[3], 16) + 1
        site.unit.says("mining.submit", "unit-1", *params)
        sent += site.pool.heard()
    assert len(sent) == count
    return sent


def states(pool: ScriptedPool) -> list[tuple[ShareState, str | None]]:
    return [(state, reason) for _, state, reason in pool.settled]


ACCEPTED = (ShareState.ACCEPTED, None)


def test_a_batch_settles_everything_up_to_its_number_but_what_was_refused(site):
    many(site, 5)
    site.pool.says(mining.SubmitSharesError(7, 2, b"stale-share"))
    site.pool.accepts(last=4, count=3)
    assert states(site.pool) == [(ShareState.REFUSED, "stale"), ACCEPTED, ACCEPTED, ACCEPTED]
    site.pool.accepts(last=5, count=1)
    assert len(site.pool.settled) == 5
    assert site.pool.account.mismatched_batches == 0
    assert site.pool.account.accepted == 4


def test_fewer_accepted_than_sent_leaves_the_rest_unknown_and_is_told_once(site):
    many(site, 4)
    site.pool.accepts(last=2, count=1)
    site.pool.accepts(last=4, count=1)
    assert states(site.pool) == [ACCEPTED, (ShareState.UNKNOWN, "batch-mismatch")] * 2
    assert site.pool.account.mismatched_batches == 2
    (told,) = site.wire.names("pool.batch_mismatch")
    assert (told["waiting"], told["count"]) == (2, 1)


def test_more_accepted_than_sent_accepts_what_was_sent_and_is_told(site):
    many(site, 2)
    site.pool.accepts(last=2, count=9)
    assert states(site.pool) == [ACCEPTED] * 2
    assert site.pool.account.mismatched_batches == 1


def test_a_sum_of_other_work_is_told(site):
    many(site, 2)
    site.pool.accepts(last=2, count=2, work_sum=4_000)
    assert states(site.pool) == [ACCEPTED] * 2
    (told,) = site.wire.names("pool.batch_mismatch")
    assert told["pool_sum"] == 4_000


def test_an_answer_that_comes_twice_or_for_nobody_changes_nothing(site):
    many(site, 1)
    site.pool.says(mining.SubmitSharesError(7, 1, b"invalid-share"))
    site.pool.says(mining.SubmitSharesError(7, 1, b"invalid-share"), mining.SubmitSharesError(7, 99, b"stale-share"))
    site.pool.accepts(last=2**31, count=0)
    assert states(site.pool) == [(ShareState.REFUSED, "other")]


def test_shares_of_a_channel_that_is_lost_are_in_doubt_and_end_unknown_with_the_next(site):
    many(site, 2)
    site.pool.link.down(PoolError("connection lost"))
    assert not site.session.is_alive
    site.session._pending.connection_lost(1.0)
    site.pool.shakes_hands()
    assert not site.session.submit(ForwardedShare(9, "unit-1", "1", bytes(8), NTIME, 1, None, 1, 1.0, False))


# -- many channels


def test_each_unit_has_its_own_channel_on_one_connection():
    wire = Wire()
    pool = ScriptedPool(wire, mode="per_unit")
    pool.welcomes()
    first, second = pool.session("account.unit-1"), pool.session("account.unit-2")
    assert pool.opens(first, 7, prefix=b"\x07").user_identity == b"account.unit-1"
    assert pool.opens(second, 8, prefix=b"\x08").user_identity == b"account.unit-2"
    pool.says(job(1, channel_id=1), tip(1, channel_id=1))
    one, two = Site(wire, pool, first), Site(wire, pool, second)
    (of_one,), (of_two,) = one.shares(), two.shares()
    assert (of_one.channel_id, of_two.channel_id) == (7, 8)
    assert (of_one.sequence_number, of_two.sequence_number) == (1, 1)
    assert is_work(of_one, prefix=b"\x07")
    assert is_work(of_two, prefix=b"\x08")
    pool.says(mining.CloseChannel(7, b"go away"))
    assert (first.is_alive, second.is_alive) == (False, True)
    (again,) = two.shares(first=100_000)
    assert again.channel_id == 8
    wire.close()


def test_a_refused_channel_says_why_and_leaves_the_others(site):
    other = site.pool.session("account.nobody")
    other.open()
    (asked,) = site.pool.heard()
    site.pool.says(mining.OpenMiningChannelError(asked.request_id, b"unknown-user"))
    assert "unknown-user" in str(other._end)
    assert site.session.is_alive


def test_a_channel_that_is_opened_after_its_session_left_is_closed_again(site):
    other = site.pool.session("account.unit-9")
    other.open()
    (asked,) = site.pool.heard()
    site.pool.link.leave(other)
    site.pool.says(mining.OpenExtendedMiningChannelSuccess(asked.request_id, 9, EASY_TARGET, 8, b"", 1))
    assert site.pool.heard() == [mining.CloseChannel(9, b"")]


# -- load


def test_a_changed_load_is_told_and_a_small_change_is_not(site):
    assert site.pool.heard() == []
    site.session.tick(Load(1e15, EASY))
    (update,) = site.pool.heard()
    assert (update.channel_id, update.maximum_target) == (7, target_from_difficulty(EASY))
    assert update.nominal_hash_rate == pytest.approx(1e15)
    site.session.tick(Load(1.005e15, EASY))
    assert site.pool.heard() == []
    site.session.tick(Load(1.02e15, EASY))
    assert len(site.pool.heard()) == 1
    site.session.tick(Load(0.0, EASY))
    (asleep,) = site.pool.heard()
    assert asleep.nominal_hash_rate == 0.0
    site.session.tick(Load(0.0, EASY / 2))
    assert len(site.pool.heard()) == 1


def test_a_refused_update_changes_nothing(site):
    site.session.tick(Load(1e15, EASY))
    site.pool.heard()
    before = (site.session.difficulty, site.session.current)
    site.pool.says(mining.UpdateChannelError(7, b"invalid-nominal-hashrate"))
    site.session.tick(Load(1e15, EASY))
    assert site.session.is_alive
    assert (site.session.difficulty, site.session.current) == before
    assert site.pool.heard() == [], "what was refused is not asked for again"
