"""The conformance catalogue against the real listener: jobs, chain tips, targets, shares. See test_v2_conformance_setup.py."""

import time
from pathlib import Path

import pytest

from protocol.bitcoin.target import difficulty_from_target
from protocol.v2.acknowledge import MAX_WAIT_S, Acknowledgements, Batch
from protocol.v2.constants import VERSION_MASK_BIP323
from protocol.v2.messages import mining
from proxy.sim.pool import PoolSpec
from proxy.sim.pool_v2 import PoolSpecV2
from tests.support.rig import EASY, until
from tests.support.v2 import Device, Opened, open_extended, open_standard
from tests.support.v2_rig import RigV2, running_v2

QUIET = {"difficulty": EASY, "refresh_s": 1e6, "block_interval_s": 1e6}
STILL = PoolSpec(**QUIET)
V2 = PoolSpecV2(**QUIET)
FIXED = PoolSpec(**QUIET, version_mask=0)
MAKERS = pytest.mark.parametrize("make", [open_standard, open_extended])
PAIRS = pytest.mark.parametrize("pair", [(open_standard, open_standard), (open_extended, open_extended)])
ANY = 2**256 - 1
Share = mining.SubmitSharesStandard | mining.SubmitSharesExtended


async def working(rig: RigV2, make: object) -> tuple[Device, Opened]:
    """A device with a channel and its first job."""
    await until(lambda: rig.app.pools[0].is_ready)
    device = await rig.ready()
    return device, await device.open(make())  # type: ignore[operator]


async def refused(device: Device, share: Share) -> bytes:
    """The code that a share is refused with; the answer names it."""
    count = len(device.of(mining.SubmitSharesError)) + 1
    await device.send(share)
    error = await device.expect(mining.SubmitSharesError, count)
    assert isinstance(error, mining.SubmitSharesError)
    assert (error.channel_id, error.sequence_number) == (share.channel_id, share.sequence_number), "M-SSERR-1, M-SSERR-2"
    assert not device.of(mining.SubmitSharesSuccess)
    return error.error_code


def changed(share: Share, **fields: object) -> Share:
    """The share with other fields."""
    values = {name: getattr(share, name) for name in share.__struct_fields__ if name != "rest"}
    return type(share)(**{**values, **fields})


# -- shares


@MAKERS
@pytest.mark.parametrize("spec", [STILL, V2])
async def test_m_sss_1_m_sse_1_a_share_that_meets_its_target_is_accepted(tmp_path: Path, make: object, spec: object) -> None:
    async with running_v2(tmp_path, [spec]) as rig:  # type: ignore[list-item]
        device, channel = await working(rig, make)
        for first in (0, 1_000_000):
            await device.send(channel.solve(first=first))
        await until(lambda: rig.app.ledger.totals().received == 2)
        await until(lambda: rig.pools[0].totals.accepted == 2)
        assert not rig.pools[0].totals.rejected


@MAKERS
async def test_m_sss_2_m_sse_2_a_hash_just_above_the_target_is_refused(tmp_path: Path, make: object) -> None:
    async with running_v2(tmp_path, [STILL]) as rig:
        device, channel = await working(rig, make)
        share = channel.solve(above=channel.target, target=channel.target + channel.target // 8)
        assert await refused(device, share) == b"difficulty-too-low"


@MAKERS
@pytest.mark.parametrize("offset_s", [-1, 7_201])
async def test_m_sss_3_m_sse_4_a_time_outside_the_window_is_refused(tmp_path: Path, make: object, offset_s: int) -> None:
    async with running_v2(tmp_path, [STILL]) as rig:
        device, channel = await working(rig, make)
        assert channel.tip is not None
        assert await refused(device, channel.solve(ntime=channel.tip.min_ntime + offset_s)) == b"invalid-share"


@MAKERS
@pytest.mark.parametrize("offset_s", [6_000])
async def test_m_sss_4_m_sse_5_a_rolled_time_inside_the_window_is_accepted(tmp_path: Path, make: object, offset_s: int) -> None:
    async with running_v2(tmp_path, [STILL]) as rig:
        device, channel = await working(rig, make)
        assert channel.tip is not None
        await device.send(channel.solve(ntime=channel.tip.min_ntime + offset_s))
        await device.expect(mining.SubmitSharesSuccess)


@MAKERS
async def test_m_sss_5_m_sse_6_the_same_share_counts_once(tmp_path: Path, make: object) -> None:
    async with running_v2(tmp_path, [STILL]) as rig:
        device, channel = await working(rig, make)
        share = channel.solve()
        await device.send(share, changed(share, sequence_number=2))
        error = await device.expect(mining.SubmitSharesError)
        assert error == mining.SubmitSharesError(channel.channel_id, 2, b"duplicate-share")
        success = await device.expect(mining.SubmitSharesSuccess)
        assert (success.last_sequence_number, success.new_submits_accepted_count) == (1, 1)  # type: ignore[attr-defined]


@MAKERS
async def test_m_sss_6_m_sse_7_bogus_ids_are_answered(tmp_path: Path, make: object) -> None:
    async with running_v2(tmp_path, [STILL]) as rig:
        device, channel = await working(rig, make)
        other = await device.open(make(2, user_identity=b"account.other"))  # type: ignore[operator]
        share, foreign = channel.solve(), other.solve()
        await device.send(mining.CloseChannel(other.channel_id, b""))
        for bogus in (0, 0xFFFF_FFFF, channel.success.group_channel_id, other.channel_id + 1):
            assert await refused(device, changed(share, channel_id=bogus)) == b"invalid-channel-id"
        assert await refused(device, foreign) == b"invalid-channel-id", "a closed one"
        for bogus in (0, 0xFFFF_FFFF, share.job_id ^ 1):
            assert await refused(device, changed(share, job_id=bogus)) == b"invalid-job-id"
        await device.send(share)
        await device.expect(mining.SubmitSharesSuccess)


@PAIRS
async def test_m_sss_7_m_sse_8_a_share_of_the_other_kind_is_refused(tmp_path: Path, pair: tuple[object, object]) -> None:
    async with running_v2(tmp_path, [STILL]) as rig:
        device, channel = await working(rig, pair[0])
        share = channel.solve()
        fields = {name: getattr(share, name) for name in share.__struct_fields__ if name not in ("rest", "extranonce")}
        other: Share = mining.SubmitSharesStandard(**fields)
        if isinstance(share, mining.SubmitSharesStandard):
            other = mining.SubmitSharesExtended(**fields, extranonce=b"\0\0")
        assert await refused(device, other) == b"invalid-share"
        await device.send(share)
        await device.expect(mining.SubmitSharesSuccess)


@MAKERS
async def test_m_sss_8_m_nemj_9_rolled_bits_are_refused_where_none_may_be_rolled(tmp_path: Path, make: object) -> None:
    async with running_v2(tmp_path, [FIXED], listen={"version_mask": "00000000"}) as rig:
        device, channel = await working(rig, make)
        rolled = channel.solve(version=current_job(channel).version ^ 0x2000)
        assert await refused(device, rolled) == b"version-rolling-not-allowed"
        await device.send(channel.solve())
        await device.expect(mining.SubmitSharesSuccess)


async def test_m_nemj_9_a_job_that_forbids_rolling_where_others_allowed_it_is_obeyed(tmp_path: Path) -> None:
    async with running_v2(tmp_path, [FIXED]) as rig:
        device, channel = await working(rig, open_extended)
        job = current_job(channel)
        assert isinstance(job, mining.NewExtendedMiningJob)
        assert job.version_rolling_allowed is False
        assert await refused(device, channel.solve(version=job.version ^ 0x2000)) == b"version-rolling-not-allowed"


@pytest.mark.parametrize("size", [1, 3])
async def test_m_sse_3_an_extranonce_of_another_length_is_refused(tmp_path: Path, size: int) -> None:
    async with running_v2(tmp_path, [STILL]) as rig:
        device, channel = await working(rig, open_extended)
        assert await refused(device, channel.solve(extranonce=bytes(size))) == b"bad-extranonce-size"
        await device.send(channel.solve(extranonce=b"\xff" * channel.size))
        await device.expect(mining.SubmitSharesSuccess)


# -- answers


@MAKERS
async def test_m_ssok_1_m_ssok_2_each_batch_counts_its_own_shares_alone(tmp_path: Path, make: object) -> None:
    async with running_v2(tmp_path, [STILL], listen={"v2_share_batch": 3}) as rig:
        device, channel = await working(rig, make)
        shares = [channel.solve(first=100_000 * number) for number in range(10)]
        await device.send(shares[0])
        await device.expect(mining.SubmitSharesSuccess)
        await device.send(*shares[1:7], changed(shares[1], sequence_number=900), *shares[7:])
        answers: list[mining.SubmitSharesSuccess] = []
        while sum(answer.new_submits_accepted_count for answer in answers) < 10:
            answer = await device.expect(mining.SubmitSharesSuccess, len(answers) + 1)
            assert isinstance(answer, mining.SubmitSharesSuccess)
            answers.append(answer)
        confirmed = 0
        for answer in answers:
            confirmed += answer.new_submits_accepted_count
            assert answer.last_sequence_number == shares[confirmed - 1].sequence_number
            difficulty = answer.new_submits_accepted_count * difficulty_from_target(channel.target)
            assert answer.new_shares_sum == int(difficulty)
        assert confirmed == 10


def test_m_ssok_1_the_sum_is_of_the_difficulties_of_the_batch() -> None:
    book = Acknowledgements()
    for number, difficulty in enumerate([1_000.0, 2_048.0, 0.5, 0.75]):
        book.add(number, difficulty)
    assert book.take(0.0) == Batch(3, 4, 3_049)
    book.add(4, 7.0)
    assert not book.is_due(0.5, 100)
    assert book.is_due(MAX_WAIT_S, 100)
    assert book.take(MAX_WAIT_S) == Batch(4, 1, 7), "counters begin anew with each batch"


@MAKERS
async def test_m_sserr_1_m_sserr_2_every_bad_share_has_its_own_answer_with_its_number(tmp_path: Path, make: object) -> None:
    async with running_v2(tmp_path, [STILL]) as rig:
        device, channel = await working(rig, make)
        share = channel.solve()
        numbers = [7, 7, 0, 0xFFFF_FFFF, 3, 4]  # what a device counts is its own affair
        await device.send(*(changed(share, job_id=1, sequence_number=number) for number in numbers), share)
        await device.expect(mining.SubmitSharesSuccess)
        errors = device.of(mining.SubmitSharesError)
        assert [error.sequence_number for error in errors] == numbers  # type: ignore[attr-defined]


# -- jobs and chain tips


def current_job(channel: Opened) -> mining.NewMiningJob | mining.NewExtendedMiningJob:
    """The newest job of a channel."""
    job, _ = channel.jobs[next(reversed(channel.jobs))]
    assert isinstance(job, mining.NewMiningJob | mining.NewExtendedMiningJob)
    return job


@MAKERS
async def test_m_nmj_1_m_nmj_2_m_nemj_1_m_nemj_2_a_future_job_is_the_first_that_a_new_channel_hears_of(
    tmp_path: Path, make: object
) -> None:
    async with running_v2(tmp_path, [STILL]) as rig:
        device, _ = await working(rig, make)
        opened = next(index for index, message in enumerate(device.heard) if hasattr(message, "group_channel_id"))
        first, second = device.heard[opened + 1 : opened + 3]
        assert isinstance(first, mining.NewMiningJob | mining.NewExtendedMiningJob)
        assert first.min_ntime is None
        assert isinstance(second, mining.SetNewPrevHash)
        assert second.job_id == first.job_id


async def test_m_nmj_3_m_nmj_4_m_nemj_3_m_nemj_6_m_snph_1_jobs_of_many_turns_reach_the_right_kind_under_new_ids(
    tmp_path: Path,
) -> None:
    async with running_v2(tmp_path, [STILL]) as rig:
        device, first = await working(rig, open_extended)
        second = await device.open(open_extended(2, user_identity=b"account.b"))
        third = await device.open(open_standard(3, user_identity=b"account.c"))
        pool = rig.pools[0]
        for turn in range(6):
            jobs = len(device.of(mining.NewMiningJob))
            pool.new_block() if turn % 3 == 2 else pool.refresh()
            await device.expect(mining.NewMiningJob, jobs + 1)
            await device.barrier()
            for channel in (first, second, third):
                await device.send(channel.solve())
        await until(lambda: rig.app.ledger.totals().received == 18)
        assert not rig.app.ledger.totals().rejected


@pytest.mark.parametrize("bits", [VERSION_MASK_BIP323])
@MAKERS
async def test_m_nmj_5_m_nemj_7_all_bits_of_bip_323_may_be_rolled(tmp_path: Path, make: object, bits: int) -> None:
    async with running_v2(tmp_path, [V2]) as rig:
        device, channel = await working(rig, make)
        await device.send(channel.solve(version=current_job(channel).version ^ bits))
        await device.expect(mining.SubmitSharesSuccess)
        await until(lambda: rig.pools[0].totals.accepted == 1)


@pytest.mark.parametrize("bits", [0x2000_0000])
@MAKERS
async def test_m_nmj_5_m_nemj_7_bits_outside_of_bip_323_may_not(tmp_path: Path, make: object, bits: int) -> None:
    async with running_v2(tmp_path, [V2], plaintext=True) as rig:
        device, channel = await working(rig, make)
        share = channel.solve(version=current_job(channel).version ^ bits)
        assert await refused(device, share) == b"invalid-non-rollable-version-bit"


async def test_m_nemj_5_the_coinbase_of_a_job_has_no_witness_even_where_the_pool_left_it_in(tmp_path: Path) -> None:
    async with running_v2(tmp_path, [V2], before=lambda pools: setattr(pools[0].faults, "keeps_witness", True)) as rig:
        device, channel = await working(rig, open_extended)
        job = current_job(channel)
        assert isinstance(job, mining.NewExtendedMiningJob)
        assert job.coinbase_tx_prefix[4:6] != b"\x00\x01"
        await device.send(channel.solve())
        await until(lambda: rig.pools[0].totals.accepted == 1)


@MAKERS
async def test_m_snph_2_a_share_of_a_job_that_a_new_tip_replaced_is_stale(tmp_path: Path, make: object) -> None:
    async with running_v2(tmp_path, [STILL]) as rig:
        device, channel = await working(rig, make)
        late = channel.solve()
        rig.pools[0].new_block()
        await device.expect(mining.SetNewPrevHash, 2)
        assert await refused(device, late) == b"stale-share"
        await device.send(channel.solve())
        await device.expect(mining.SubmitSharesSuccess)


@MAKERS
async def test_m_snph_2_an_earlier_job_of_the_same_tip_still_counts(tmp_path: Path, make: object) -> None:
    async with running_v2(tmp_path, [STILL]) as rig:
        device, channel = await working(rig, make)
        earlier = channel.solve()
        rig.pools[0].refresh()
        await until_jobs(device, channel, 2)
        await device.send(earlier)
        await device.expect(mining.SubmitSharesSuccess)


async def test_m_snph_3_the_time_of_a_tip_is_of_this_hour(tmp_path: Path) -> None:
    async with running_v2(tmp_path, [STILL]) as rig:
        _, channel = await working(rig, open_extended)
        assert channel.tip is not None
        assert abs(channel.tip.min_ntime - time.time()) < 3_600


async def until_jobs(device: Device, channel: Opened, count: int) -> None:
    """Until so many jobs are valid at a time."""
    while len(channel.jobs) < count:
        await device.read()


# -- targets


@MAKERS
async def test_m_st_1_no_target_is_above_the_devices_own_limit_whatever_the_pool_does(tmp_path: Path, make: object) -> None:
    async with running_v2(tmp_path, [STILL]) as rig:
        await until(lambda: rig.app.pools[0].is_ready)
        device = await rig.ready()
        probe = await device.open(make(1))  # type: ignore[operator]
        limit = probe.success.target // 5
        channel = await device.open(make(2, user_identity=b"account.b", max_target=limit))  # type: ignore[operator]
        rig.pools[0].set_difficulty(EASY / 4)
        rig.pools[0].refresh()
        await until_jobs(device, channel, 2)
        assert channel.target <= limit


@MAKERS
async def test_m_st_2_a_lower_target_is_not_for_jobs_that_are_out(tmp_path: Path, make: object) -> None:
    async with running_v2(tmp_path, [STILL]) as rig:
        device, channel = await working(rig, make)
        old, target = next(iter(channel.jobs)), channel.target
        await device.send(mining.UpdateChannel(channel.channel_id, 0.0, target // 64))
        await until_jobs(device, channel, 2)
        assert channel.target <= target // 64
        await device.send(channel.solve(job_id=old, above=channel.target, target=target))
        await device.expect(mining.SubmitSharesSuccess)
        share = channel.solve(above=channel.target, target=target)
        await device.send(share)
        error = await device.expect(mining.SubmitSharesError)
        assert error == mining.SubmitSharesError(channel.channel_id, share.sequence_number, b"difficulty-too-low")


@MAKERS
async def test_m_st_2_a_higher_target_is_not_for_jobs_that_are_out_either(tmp_path: Path, make: object) -> None:
    async with running_v2(tmp_path, [STILL]) as rig:
        await until(lambda: rig.app.pools[0].is_ready)
        device = await rig.ready()
        (probe,) = [await device.open(make(1))]  # type: ignore[operator]
        hard = probe.success.target // 64
        channel = await device.open(make(2, user_identity=b"account.b", max_target=hard))  # type: ignore[operator]
        old, limit = next(iter(channel.jobs)), channel.target
        await device.send(mining.UpdateChannel(channel.channel_id, 0.0, ANY))
        rig.pools[0].refresh()
        await until_jobs(device, channel, 2)
        assert channel.target > limit
        share = channel.solve(job_id=old, above=limit, target=channel.target)
        assert await refused(device, share) == b"difficulty-too-low"


@PAIRS
async def test_m_st_3_a_target_is_of_one_channel(tmp_path: Path, pair: tuple[object, object]) -> None:
    async with running_v2(tmp_path, [STILL]) as rig:
        device, first = await working(rig, pair[0])
        second = await device.open(pair[1](2, user_identity=b"account.b"))  # type: ignore[operator]
        await device.send(mining.UpdateChannel(first.channel_id, 0.0, first.target // 1_000))
        await device.expect(mining.SetTarget)
        await device.send(second.solve(above=first.target))
        success = await device.expect(mining.SubmitSharesSuccess)
        assert success.channel_id == second.channel_id  # type: ignore[attr-defined]


async def test_m_sep_1_a_new_prefix_of_the_pool_is_no_news_to_a_device_and_its_old_job_still_counts(tmp_path: Path) -> None:
    async with running_v2(tmp_path, [V2]) as rig:
        device, channel = await working(rig, open_extended)
        old = next(iter(channel.jobs))
        rig.pools[0].set_prefix()
        rig.pools[0].refresh()
        await until_jobs(device, channel, 2)
        await device.send(channel.solve(job_id=old), channel.solve())
        await until(lambda: rig.pools[0].totals.accepted == 2)
        assert not device.of(mining.SetExtranoncePrefix)
