"""What a unit was sent is what its shares are judged against."""

from typing import cast

import msgspec

from protocol.bitcoin.target import MAX_TARGET, target_from_difficulty
from protocol.mining.job import VERSION_MASK_BIP320
from protocol.mining.share import Verdict
from proxy.work.channel import MAX_LIVE_JOBS, Channel, ChannelLink, ShareCoordinates
from proxy.work.jobs import JobIds, SentJob, UpstreamJob, first_wire_job, later_wire_job, sent_job
from tests.support.jobs import EASY, FakeSession, shares

IDS = JobIds(0)


def channel(session: FakeSession) -> Channel:
    made = Channel(cast(ChannelLink, None), "unit-1", "account.unit-1", "192.0.2.1", b"\x00\x07", 2)
    made.session = session
    return made


def send(to: Channel, upstream: UpstreamJob, *, clean: bool, difficulty: float = EASY, mask: int = VERSION_MASK_BIP320) -> SentJob:
    sent = sent_job(first_wire_job(upstream, IDS), difficulty, mask)
    to.remember(sent, clean=clean, now_s=0.0)
    return sent


def share_of(sent: SentJob, to: Channel, **changes: object) -> ShareCoordinates:
    found = next(shares(sent.wire.job, sent.wire.wire_id, to.prefix, target=sent.target))
    return cast(ShareCoordinates, msgspec.structs.replace(found, **changes))


def verdict(of: Channel, share: ShareCoordinates) -> Verdict:
    return of.judge(share)[0].verdict


def test_a_good_share_is_valid_once_and_a_duplicate_after_that() -> None:
    unit = channel(session := FakeSession())
    share = share_of(send(unit, session.job(1), clean=True), unit)
    assert verdict(unit, share) is Verdict.VALID
    assert verdict(unit, share) is Verdict.DUPLICATE


def test_case_57_the_same_nonce_with_another_ntime_is_another_share() -> None:
    unit = channel(session := FakeSession())
    sent = send(unit, session.job(1), clean=True)
    first = next(shares(sent.wire.job, sent.wire.wire_id, unit.prefix))
    later = next(shares(sent.wire.job, sent.wire.wire_id, unit.prefix, ntime=sent.wire.job.ntime + 1))
    assert verdict(unit, first) is Verdict.VALID
    assert verdict(unit, later) is Verdict.VALID


def test_case_58_a_low_share_sent_again_is_low_again_not_a_duplicate() -> None:
    unit = channel(session := FakeSession())
    sent = send(unit, session.job(1), clean=True, difficulty=2.0**-10)
    low = next(shares(sent.wire.job, sent.wire.wire_id, unit.prefix, target=MAX_TARGET))
    assert verdict(unit, low) is Verdict.LOW_DIFFICULTY
    assert verdict(unit, low) is Verdict.LOW_DIFFICULTY


def test_case_28_a_share_from_before_the_clean_job_is_stale() -> None:
    unit = channel(session := FakeSession())
    share = share_of(send(unit, session.job(1), clean=True), unit)
    send(unit, session.job(2), clean=True)
    assert verdict(unit, share) is Verdict.STALE


def test_case_29_a_share_of_the_previous_job_counts_when_the_new_one_was_not_clean() -> None:
    unit = channel(session := FakeSession())
    share = share_of(send(unit, session.job(1), clean=True), unit)
    send(unit, session.job(2, clean=False), clean=False)
    assert verdict(unit, share) is Verdict.VALID


def test_case_33_what_this_unit_was_told_decides_not_what_the_pool_meant() -> None:
    unit = channel(session := FakeSession())
    share = share_of(send(unit, session.job(1), clean=True), unit)
    session.job(2)  # clean at the pool, but not on its way to this unit yet
    assert verdict(unit, share) is Verdict.VALID


def test_case_32_a_job_never_sent_to_this_unit_is_unknown() -> None:
    unit, other = channel(session := FakeSession()), channel(FakeSession("pool-b", 2))
    foreign = share_of(send(other, FakeSession("pool-b", 2).job(3), clean=True), unit)
    send(unit, session.job(1), clean=True)
    assert verdict(unit, foreign) is Verdict.UNKNOWN_JOB
    assert verdict(unit, msgspec.structs.replace(foreign, job_id="")) is Verdict.UNKNOWN_JOB
    assert verdict(unit, msgspec.structs.replace(foreign, job_id="f" * 4096)) is Verdict.UNKNOWN_JOB


def test_case_67_a_late_share_belongs_to_the_old_pool_until_its_own_clean_job() -> None:
    old, new = FakeSession("pool-a", 1), FakeSession("pool-b", 2)
    unit = channel(old)
    sent = send(unit, old.job(1), clean=True)
    found = shares(sent.wire.job, sent.wire.wire_id, unit.prefix)
    unit.session = new
    send(unit, new.job(2), clean=True)
    judgement, owner = unit.judge(next(found))
    assert judgement.verdict is Verdict.VALID
    assert owner is sent
    old.job(3)
    assert verdict(unit, next(found)) is Verdict.STALE


def test_case_43_the_difficulty_of_a_job_is_the_one_it_was_sent_with() -> None:
    unit = channel(session := FakeSession())
    easy = send(unit, session.job(1), clean=True, difficulty=2.0**-28)
    send(unit, session.job(2, clean=False), clean=False, difficulty=2.0**-20)
    in_flight = share_of(easy, unit)
    assert verdict(unit, in_flight) is Verdict.VALID


def test_a_lower_difficulty_counts_for_the_job_that_is_already_worked_on() -> None:
    unit = channel(session := FakeSession())
    hard = send(unit, session.job(1), clean=True, difficulty=2.0**-20)
    send(unit, session.job(2, clean=False), clean=False, difficulty=2.0**-28)
    early = next(shares(hard.wire.job, hard.wire.wire_id, unit.prefix, target=target_from_difficulty(2.0**-28)))
    assert verdict(unit, early) is Verdict.VALID


def test_case_17_an_extranonce2_of_the_wrong_length_is_refused() -> None:
    unit = channel(session := FakeSession())
    share = share_of(send(unit, session.job(1), clean=True), unit)
    assert verdict(unit, msgspec.structs.replace(share, extranonce2=b"")) is Verdict.BAD_EXTRANONCE
    assert verdict(unit, msgspec.structs.replace(share, extranonce2=share.extranonce2 + b"\x00")) is Verdict.BAD_EXTRANONCE


def test_case_56_version_bits_need_the_mask_this_unit_was_given() -> None:
    unit = channel(session := FakeSession())
    sent = send(unit, session.job(1), clean=True, mask=0)
    rolled = next(shares(sent.wire.job, sent.wire.wire_id, unit.prefix, version_bits=0x2000))
    assert verdict(unit, rolled) is Verdict.BAD_VERSION
    granted = send(unit, session.job(2), clean=True)
    rolled = next(shares(granted.wire.job, granted.wire.wire_id, unit.prefix, version_bits=0x2000))
    assert verdict(unit, rolled) is Verdict.VALID


def test_case_59_a_block_counts_whatever_its_time_says() -> None:
    unit = channel(session := FakeSession())
    sent = send(unit, session.job(1, network_target=target_from_difficulty(EASY)), clean=True)
    block = next(shares(sent.wire.job, sent.wire.wire_id, unit.prefix, ntime=sent.wire.job.max_ntime + 100))
    assert verdict(unit, block) is Verdict.BLOCK


def test_case_59_a_block_on_a_stale_job_is_still_a_block() -> None:
    unit = channel(session := FakeSession())
    sent = send(unit, session.job(1, network_target=target_from_difficulty(EASY)), clean=True)
    send(unit, session.job(2), clean=True)
    block = next(shares(sent.wire.job, sent.wire.wire_id, unit.prefix))
    assert verdict(unit, block) is Verdict.BLOCK
    assert verdict(unit, block) is Verdict.DUPLICATE


def test_case_42_variants_of_one_job_share_what_was_seen() -> None:
    unit = channel(session := FakeSession())
    upstream = session.job(1)
    sent = send(unit, upstream, clean=True)
    variant = later_wire_job(upstream, IDS, 30.0, 0)
    assert variant is not None
    assert (variant.job.ntime, variant.job.clean) == (upstream.job.ntime + 30, False)
    unit.remember(sent_job(variant, EASY, VERSION_MASK_BIP320), clean=False, now_s=30.0)
    share = next(shares(variant.job, variant.wire_id, unit.prefix))
    assert verdict(unit, share) is Verdict.VALID
    assert verdict(unit, msgspec.structs.replace(share, job_id=sent.wire.wire_id)) is Verdict.DUPLICATE


def test_case_40_a_job_is_not_stretched_for_ever() -> None:
    upstream = FakeSession().job(1)
    assert later_wire_job(upstream, IDS, 600.0, 0) is not None
    assert later_wire_job(upstream, IDS, 601.0, 0) is None


def test_memory_of_jobs_is_bounded() -> None:
    unit = channel(session := FakeSession())
    for number in range(200):
        send(unit, session.job(number, clean=False), clean=False)
    assert len(unit.jobs) == MAX_LIVE_JOBS
    assert len(unit.stale) <= 16
