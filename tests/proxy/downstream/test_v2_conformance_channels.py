"""The conformance catalogue against the real listener: opening, updating and closing channels. See test_v2_conformance_setup.py."""

import random
from pathlib import Path

import pytest

from protocol.v2.messages import mining
from protocol.v2.messages.base import Message
from protocol.v2.offer import Offer
from protocol.v2.server import ServerConnection
from proxy.sim.pool import PoolSpec
from tests.support.rig import EASY, until
from tests.support.v2 import EASIEST, Opened, frame_of, messages_in, open_extended, open_standard, setup
from tests.support.v2_rig import RigV2, running_v2

STILL = PoolSpec(difficulty=EASY, refresh_s=1e6, block_interval_s=1e6)
MAKERS = pytest.mark.parametrize("make", [open_standard, open_extended])


async def with_pool(rig: RigV2) -> None:
    """Until there is work."""
    await until(lambda: rig.app.pools[0].is_ready)


def success_kind(make: object) -> type[Message]:
    return mining.OpenStandardMiningChannelSuccess if make is open_standard else mining.OpenExtendedMiningChannelSuccess


@MAKERS
@pytest.mark.parametrize("bits", [0, 240])
async def test_m_osmc_1_m_oemc_2_the_target_is_never_above_what_the_device_takes(tmp_path: Path, make: object, bits: int) -> None:
    async with running_v2(tmp_path, [STILL]) as rig:
        await with_pool(rig)
        device = await rig.ready()
        limit = 2**bits + 12_345 % 2**bits
        await device.send(make(max_target=limit))  # type: ignore[operator]
        success = await device.expect(success_kind(make))
        assert 0 < success.target <= limit  # type: ignore[attr-defined]


@MAKERS
async def test_m_osmc_3_m_oemc_1_m_oemc_3_a_valid_request_is_granted_with_or_without_work(tmp_path: Path, make: object) -> None:
    async with running_v2(tmp_path, [STILL]) as rig:
        early = await rig.ready()
        await early.send(make())  # type: ignore[operator]
        await early.expect(success_kind(make))
        await with_pool(rig)
        late = await rig.ready()
        await late.open(make(user_identity=b"account.late"))  # type: ignore[operator]
        # The one that came before there was a pool hears of its target only behind its first job (M-NMJ-1, M-NEMJ-1).
        await early.expect(mining.SetNewPrevHash)
        (channel,) = early.channels.values()
        await early.send(channel.solve())
        await early.expect(mining.SubmitSharesSuccess)


@MAKERS
async def test_m_nmj_1_m_nemj_1_a_channel_that_was_open_before_any_pool_hears_of_a_job_first(tmp_path: Path, make: object) -> None:
    async with running_v2(tmp_path, [STILL], before=lambda pools: pools[0].stop_listening()) as rig:
        device = await rig.ready()
        await device.send(make(max_target=2**256 - 1))  # type: ignore[operator]
        await device.expect(success_kind(make))
        (channel,) = rig.app.router.channels
        channel.floor_difficulty = EASY * 4  # its first job brings another target than its opening did
        rig.pools[0].listen_again()
        await device.expect(mining.SetNewPrevHash)
        order = [type(message).__name__ for message in device.heard[2:]]
        assert order in (["NewMiningJob", "SetTarget", "SetNewPrevHash"], ["NewExtendedMiningJob", "SetTarget", "SetNewPrevHash"])


@MAKERS
async def test_m_osmcs_1_m_oemcs_1_the_request_id_is_echoed(tmp_path: Path, make: object) -> None:
    async with running_v2(tmp_path, [STILL], plaintext=True) as rig:
        await with_pool(rig)
        device = await rig.ready()
        rng = random.Random(3)
        wanted = [0, 0xFFFF_FFFF, *(rng.getrandbits(32) for _ in range(6))]
        for number, request_id in enumerate(wanted):
            await device.send(make(request_id, user_identity=b"account.u%d" % number))  # type: ignore[operator]
        await device.expect(success_kind(make), len(wanted))
        assert [message.request_id for message in device.of(success_kind(make))] == wanted  # type: ignore[attr-defined]


async def test_m_osmcs_2_m_osmcs_3_m_oemcs_2_m_oemcs_4_m_oemcs_5_m_sgc_2_ids_prefixes_and_sizes_of_many_channels(
    tmp_path: Path,
) -> None:
    async with running_v2(tmp_path, [STILL], plaintext=True) as rig:
        await with_pool(rig)
        device = await rig.ready()
        for number in range(24):
            make = open_standard if number % 3 == 0 else open_extended
            await device.open(make(number, user_identity=b"account.u%d" % number))
            if number % 5 == 4:
                await device.send(mining.CloseChannel(next(iter(device.channels)), b""))
        opened = [channel.success for channel in device.channels.values()]
        assert len({success.channel_id for success in opened}) == 24, "no id comes back"
        groups = {success.group_channel_id for success in opened}
        assert len(groups) == 2
        assert not groups & set(device.channels)
        assert len({channel.prefix for channel in device.channels.values()}) == 24
        assert len({len(channel.prefix) + channel.size for channel in device.channels.values()}) == 1
        # Also across connections: the site deals out one space.
        other = await (await rig.ready()).open(open_extended(1, user_identity=b"account.other"))
        assert not any(channel.prefix.startswith(other.prefix) for channel in device.channels.values())


@pytest.mark.parametrize("wanted", [2, 3, 33])
async def test_m_oemcs_3_m_oemcs_6_the_extranonce_is_long_enough_or_the_request_is_refused(tmp_path: Path, wanted: int) -> None:
    async with running_v2(tmp_path, [STILL]) as rig:
        await with_pool(rig)
        device = await rig.ready()
        await device.send(open_extended(4, min_extranonce_size=wanted))
        await device.barrier()
        if wanted <= 2:
            (success,) = device.of(mining.OpenExtendedMiningChannelSuccess)
            assert wanted <= success.extranonce_size <= 32  # type: ignore[attr-defined]
        else:
            (error,) = device.of(mining.OpenMiningChannelError)
            assert error == mining.OpenMiningChannelError(4, b"min-extranonce-size-too-large")


@pytest.mark.parametrize("bad", [{"max_target": 0}, {"user_identity": b""}])
@MAKERS
async def test_m_omce_1_a_refusal_names_its_request_and_none_comes_unasked(
    tmp_path: Path, make: object, bad: dict[str, object]
) -> None:
    async with running_v2(tmp_path, [STILL], plaintext=True) as rig:
        await with_pool(rig)
        device = await rig.ready()
        await device.send(make(77, **bad), make(78))  # type: ignore[operator]
        await device.expect(success_kind(make))
        await device.barrier()
        (error,) = device.of(mining.OpenMiningChannelError)
        assert error.request_id == 77  # type: ignore[attr-defined]


# -- UpdateChannel


@MAKERS
async def test_m_uc_1_a_lower_target_is_followed_by_a_set_target_that_honours_it(tmp_path: Path, make: object) -> None:
    async with running_v2(tmp_path, [STILL]) as rig:
        await with_pool(rig)
        device = await rig.ready()
        channel = await device.open(make())  # type: ignore[operator]
        for number, part in enumerate((2, 7, 1_000), start=1):
            limit = channel.success.target // part
            await device.send(mining.UpdateChannel(channel.channel_id, 0.0, limit))
            told = await device.expect(mining.SetTarget, number)
            assert told.maximum_target <= limit  # type: ignore[attr-defined]
        assert not device.of(mining.UpdateChannelError)


async def test_m_uc_1_it_is_followed_without_a_pool_too(tmp_path: Path) -> None:
    async with running_v2(tmp_path, [STILL], before=lambda pools: pools[0].stop_listening()) as rig:
        device = await rig.ready()
        await device.send(open_extended())
        success = await device.expect(mining.OpenExtendedMiningChannelSuccess)
        limit = success.target // 3  # type: ignore[attr-defined]
        channel_id = success.channel_id  # type: ignore[attr-defined]
        await device.send(mining.UpdateChannel(channel_id, 0.0, limit))
        await device.barrier()
        # M-NMJ-1 allows nothing before the first job; it is told with that.
        assert not device.of(mining.SetTarget)
        rig.pools[0].listen_again()
        await device.expect(mining.SetNewPrevHash)
        assert device.of(mining.SetTarget)[-1].maximum_target <= limit  # type: ignore[attr-defined]


async def test_m_uce_1_an_update_of_no_channel_of_the_device_is_refused(tmp_path: Path) -> None:
    async with running_v2(tmp_path, [STILL]) as rig:
        await with_pool(rig)
        device, other = await rig.ready(), await rig.ready()
        channel = await device.open(open_extended())
        foreign = await other.open(open_extended(1, user_identity=b"account.other"))
        await other.open(open_extended(2, user_identity=b"account.more"))
        await device.send(mining.CloseChannel(channel.channel_id, b""))
        wanted = [channel.channel_id, foreign.channel_id + 1, 0, 0xFFFF_FFFF]
        for count, channel_id in enumerate(wanted, start=1):
            await device.send(mining.UpdateChannel(channel_id, 1.0, 1))
            error = await device.expect(mining.UpdateChannelError, count)
            assert error == mining.UpdateChannelError(channel_id, b"invalid-channel-id")


@pytest.mark.parametrize("rate", [0.0, 3.4e38])
async def test_m_uce_2_a_valid_update_is_not_answered(tmp_path: Path, rate: float) -> None:
    async with running_v2(tmp_path, [STILL], plaintext=True) as rig:
        await with_pool(rig)
        device = await rig.ready()
        channel = await device.open(open_extended())
        await device.send(mining.UpdateChannel(channel.channel_id, rate, EASIEST))
        await device.barrier()
        assert not device.of(mining.UpdateChannelError)


# -- CloseChannel


@MAKERS
async def test_m_cc_1_jobs_targets_and_answers_stop_with_the_channel(tmp_path: Path, make: object) -> None:
    async with running_v2(tmp_path, [STILL]) as rig:
        await with_pool(rig)
        device = await rig.ready()
        channel = await device.open(make())  # type: ignore[operator]
        await device.send(channel.solve(), mining.CloseChannel(channel.channel_id, b"bye"))
        await device.barrier()
        before = len(device.heard)
        await until(lambda: rig.app.ledger.totals().accepted == 1)
        rig.pools[0].refresh()
        rig.pools[0].new_block()
        await device.barrier()
        assert len(device.heard) == before + 1, "the answer to the barrier alone"
        assert not rig.app.router.channels


def test_m_cc_2_a_server_that_closes_a_channel_says_why_and_it_can_be_opened_again() -> None:
    server = ServerConnection(Offer())
    server.receive(frame_of(setup()))
    wanted = server.receive(frame_of(open_extended(1)))
    channel_id, _ = server.open_extended(wanted, 5, b"ab", 4)  # type: ignore[arg-type]
    assert messages_in(server.close_channel(channel_id, b"unit-removed")) == [mining.CloseChannel(channel_id, b"unit-removed")]
    again = server.receive(frame_of(open_extended(1)))
    assert server.open_extended(again, 5, b"ab", 4)[0] != channel_id  # type: ignore[arg-type]


async def test_m_cc_3_closing_a_group_closes_its_members_and_no_other(tmp_path: Path) -> None:
    async with running_v2(tmp_path, [STILL]) as rig:
        await with_pool(rig)
        device = await rig.ready()
        members = [await device.open(open_extended(number, user_identity=b"account.u%d" % number)) for number in (1, 2)]
        other = await device.open(open_standard(3, user_identity=b"account.u3"))
        await device.send(mining.CloseChannel(members[0].success.group_channel_id, b"all"))
        await device.barrier()
        assert [channel.unit for channel in rig.app.router.channels] == ["account.u3"]
        await device.send(other.solve())
        await device.expect(mining.SubmitSharesSuccess)


@pytest.mark.parametrize("reason", [b"", bytes(range(255))])
async def test_m_cc_4_m_cc_5_any_reason_of_a_device_is_taken(tmp_path: Path, reason: bytes) -> None:
    async with running_v2(tmp_path, [STILL], plaintext=True) as rig:
        await with_pool(rig)
        device = await rig.ready()
        channel = await device.open(open_extended())
        payload = channel.channel_id.to_bytes(4, "little") + bytes([len(reason)]) + reason
        await device.raw(b"\x00\x80\x18" + len(payload).to_bytes(3, "little") + payload)
        await device.barrier()
        assert not rig.app.router.channels


@pytest.mark.parametrize("pair", [(open_standard, open_standard), (open_extended, open_extended), (open_standard, open_extended)])
async def test_m_cc_6_closing_one_channel_leaves_the_others_at_work(tmp_path: Path, pair: tuple[object, object]) -> None:
    async with running_v2(tmp_path, [STILL]) as rig:
        await with_pool(rig)
        device = await rig.ready()
        first = await device.open(pair[0](1, user_identity=b"account.a"))  # type: ignore[operator]
        second = await device.open(pair[1](2, user_identity=b"account.b"))  # type: ignore[operator]
        await device.send(mining.CloseChannel(first.channel_id, b""), second.solve())
        await device.expect(mining.SubmitSharesSuccess)
        assert not device.of(mining.SubmitSharesError)


# -- groups and custom jobs


async def test_m_sgc_1_m_nemj_4_a_connection_of_standard_jobs_hears_of_no_group(tmp_path: Path) -> None:
    async with running_v2(tmp_path, [STILL]) as rig:
        await with_pool(rig)
        device = await rig.ready(1)
        channels = [await device.open(open_standard(number, user_identity=b"account.u%d" % number)) for number in range(3)]
        rig.pools[0].new_block()
        await device.expect(mining.SetNewPrevHash, 6)
        groups = {channel.success.group_channel_id for channel in channels}
        assert not [message for message in device.heard if getattr(message, "channel_id", None) in groups]
        assert not device.of(mining.NewExtendedMiningJob)
        await device.send(open_extended(9))
        error = await device.expect(mining.OpenMiningChannelError)
        assert error.error_code == b"extended-channels-not-supported-for-standard-jobs"  # type: ignore[attr-defined]


@pytest.mark.parametrize("addressed", ["channel", "group", "bogus"])
async def test_m_scmj_1_m_scmj_2_a_custom_job_is_refused_and_reaches_nobody(tmp_path: Path, addressed: str) -> None:
    async with running_v2(tmp_path, [STILL], plaintext=True) as rig:
        await with_pool(rig)
        device = await rig.ready()
        channel = await device.open(open_extended(1, user_identity=b"account.a"))
        await device.open(open_standard(2, user_identity=b"account.b"))
        jobs = len(device.of(mining.NewMiningJob))
        ids = {"channel": channel.channel_id, "group": channel.success.group_channel_id, "bogus": 0x1234}
        custom = mining.SetCustomMiningJob(ids[addressed], 5, b"token", 1, bytes(32), 1, 1, 1, b"p", 1, b"o", 1, ())
        await device.send(custom)
        error = await device.expect(mining.SetCustomMiningJobError)
        assert (error.channel_id, error.request_id) == (ids[addressed], 5)  # type: ignore[attr-defined]
        await device.barrier()
        assert len(device.of(mining.NewMiningJob)) == jobs
        assert isinstance(channel, Opened)
        await device.send(channel.solve())
        await device.expect(mining.SubmitSharesSuccess)
