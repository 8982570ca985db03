"""The conformance catalogue against the real listener: framing, setting up a connection, extensions.

Names carry the ids of the public catalogue of interoperability scenarios. What holds for every conversation (GEN-1 to GEN-6,
GEN-10, GEN-13, GEN-14 and more) is checked in all of them, see tests/support/v2_rules.py; here each id has the conversation that
provokes it.
"""

import os
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from protocol.errors import RemoteProtocolError
from protocol.v2.codec import encode_frame
from protocol.v2.constants import (
    REQUIRES_EXTENDED_CHANNELS,
    REQUIRES_FIXED_VERSION,
    REQUIRES_STANDARD_JOBS,
    REQUIRES_VERSION_ROLLING,
)
from protocol.v2.messages import common, extensions, mining
from protocol.v2.messages.base import Unknown
from protocol.v2.offer import Offer
from protocol.v2.server import ServerConnection
from protocol.v2.tlv import Tlv
from proxy.sim.pool import PoolSpec
from tests.support.rig import EASY, pass_time, until
from tests.support.v2 import frame_of, messages_in, open_extended, open_standard, setup
from tests.support.v2_rig import RigV2, running_v2

STILL = PoolSpec(difficulty=EASY, refresh_s=1e6, block_interval_s=1e6)
FIXED = PoolSpec(difficulty=EASY, refresh_s=1e6, block_interval_s=1e6, version_mask=0)
PATIENT = [{"job_timeout_s": 36_000.0}]


async def with_pool(rig: RigV2) -> None:
    """Until there is work."""
    await until(lambda: rig.app.pools[0].is_ready)


async def provoke_everything(rig: RigV2) -> None:
    """One conversation in which the proxy has reason to send each kind of message it knows."""
    device = await rig.ready()
    await device.send(extensions.RequestExtensions(1, (2,)), extensions.RequestExtensions(2, (0x4000,)))
    channels = [await device.open(make(number, user_identity=b"account.u%d" % number)) for number, make in KINDS]
    for channel in channels:
        await device.send(channel.solve(), channel.solve(above=channel.target, target=2**256 - 1))
        await device.send(mining.UpdateChannel(channel.channel_id, 5.0, channel.target // 4))
    await device.send(open_extended(9, min_extranonce_size=33), mining.UpdateChannel(0x7777, 1.0, 1), custom_job(0x7777))
    rig.pools[0].refresh()
    rig.pools[0].new_block()
    kinds = [mining.SubmitSharesSuccess, mining.SubmitSharesError, mining.SetTarget, mining.UpdateChannelError]
    kinds += [extensions.RequestExtensionsSuccess, extensions.RequestExtensionsError, mining.SetCustomMiningJobError]
    for kind in [*kinds, mining.OpenMiningChannelError, mining.NewMiningJob, mining.NewExtendedMiningJob, mining.SetNewPrevHash]:
        await device.expect(kind)
    await device.barrier()


KINDS = [(3, open_extended), (4, open_extended), (5, open_standard)]


def custom_job(channel_id: int) -> mining.SetCustomMiningJob:
    return mining.SetCustomMiningJob(channel_id, 1, b"token", 1, bytes(32), 1, 1, 1, b"p", 1, b"o", 1, ())


@pytest.mark.parametrize("plaintext", [False, True])
async def test_gen_1_gen_2_gen_3_gen_4_gen_6_frames_bits_codes_and_ids_are_right_in_a_conversation_of_everything(
    tmp_path: Path, plaintext: bool
) -> None:
    async with running_v2(tmp_path, [STILL], plaintext=plaintext) as rig:
        await with_pool(rig)
        await provoke_everything(rig)


async def test_gen_5_m_cc_1_nothing_is_sent_to_a_channel_once_it_is_closed(tmp_path: Path) -> None:
    async with running_v2(tmp_path, [STILL]) as rig:
        await with_pool(rig)
        device = await rig.ready()
        first, second = await device.open(open_extended(1)), await device.open(open_extended(2, user_identity=b"account.other"))
        await device.send(mining.CloseChannel(first.channel_id, b"done"))
        await device.barrier()
        before = len(device.heard)
        rig.pools[0].refresh()
        rig.pools[0].new_block()
        await device.expect(mining.SetNewPrevHash, 3)
        assert {message.channel_id for message in device.heard[before:]} <= {  # type: ignore[attr-defined]
            second.channel_id
        }, "nor to its group: one member is told by its own id"
        assert not device.of(mining.CloseChannel), "a close is never echoed"


async def test_gen_7_a_device_gets_fresh_jobs_even_of_a_pool_that_has_none(tmp_path: Path, mock_clock: MockClock) -> None:
    async with running_v2(tmp_path, [STILL], pool_tables=PATIENT) as rig:
        await with_pool(rig)
        device = await rig.ready()
        await device.open(open_extended())
        for count in (2, 3):
            await pass_time(mock_clock, 60, 5)
            job = await device.expect(mining.NewExtendedMiningJob, count)
            assert job.min_ntime is not None  # type: ignore[attr-defined]
        await pass_time(mock_clock, 2)


@pytest.mark.parametrize("is_channel", [False, True])
async def test_gen_8_a_message_of_an_unknown_extension_is_discarded(tmp_path: Path, is_channel: bool) -> None:
    async with running_v2(tmp_path, [STILL], plaintext=True) as rig:
        await with_pool(rig)
        device = await rig.ready()
        channel = await device.open(open_extended())
        for extension_type, message_type in ((0x0003, 0x00), (0x4000, 0x1B), (0x7FFF, 0xFF)):
            payload = channel.channel_id.to_bytes(4, "little") + os.urandom(20)
            await device.raw(encode_frame(Unknown(extension_type, is_channel, message_type, payload)))
        await device.send(channel.solve())
        await device.expect(mining.SubmitSharesSuccess)


@pytest.mark.parametrize("agreed", [(), (2,)])
async def test_gen_9_a_share_with_tlvs_that_nobody_agreed_on_counts_as_any_other(tmp_path: Path, agreed: tuple[int, ...]) -> None:
    async with running_v2(tmp_path, [STILL]) as rig:
        await with_pool(rig)
        device = await rig.ready()
        if agreed:
            await device.send(extensions.RequestExtensions(1, agreed))
        channel = await device.open(open_extended())
        await device.send(channel.solve(), tlvs=(Tlv(0x0300, 7, bytes(100)), Tlv(0x7FFE, 1, b"")))
        success = await device.expect(mining.SubmitSharesSuccess)
        assert success.new_submits_accepted_count == 1  # type: ignore[attr-defined]


async def test_gen_10_what_the_proxy_sends_carries_no_tlv_even_where_one_was_agreed_on(tmp_path: Path) -> None:
    async with running_v2(tmp_path, [STILL]) as rig:
        await with_pool(rig)
        await provoke_everything(rig)
        assert not any(message.rest for message in rig.devices[0].heard)


@pytest.mark.parametrize("size", [33, 255])
async def test_gen_11_a_user_identity_of_more_than_32_bytes_is_refused_with_its_share(tmp_path: Path, size: int) -> None:
    async with running_v2(tmp_path, [STILL]) as rig:
        await with_pool(rig)
        device = await rig.ready()
        await device.send(extensions.RequestExtensions(1, (2,)))
        channel = await device.open(open_extended())
        share = channel.solve()
        overlong = encode_frame(share)[6:] + b"\x02\x00\x01" + size.to_bytes(2, "little") + b"x" * size
        await device.raw(encode_frame(Unknown(0, True, 0x1B, overlong)))
        error = await device.expect(mining.SubmitSharesError)
        assert error.sequence_number == share.sequence_number  # type: ignore[attr-defined]
        assert not device.of(mining.SubmitSharesSuccess)
        await device.send(share)  # the same one without: it was not used up
        await device.expect(mining.SubmitSharesSuccess)


async def test_gen_12_a_message_of_an_unknown_extension_ends_here_because_each_channel_does(tmp_path: Path) -> None:
    # A device's channel has no counterpart at a pool: its unit may work for any of them, so there is nobody to forward to.
    async with running_v2(tmp_path, [STILL]) as rig:
        await with_pool(rig)
        device = await rig.ready()
        channel = await device.open(open_extended())
        payload = channel.channel_id.to_bytes(4, "little") + b"private"
        await device.raw(encode_frame(Unknown(0x4001, True, 0x01, payload)))
        await device.barrier()
        assert not rig.pools[0].protocol_errors
        assert not rig.pools[0].unknown_methods


async def test_gen_13_nothing_of_an_extension_comes_before_it_was_asked_for(tmp_path: Path) -> None:
    async with running_v2(tmp_path, [STILL]) as rig:
        await with_pool(rig)
        device = await rig.ready()
        channel = await device.open(open_extended())
        await device.send(channel.solve())
        await device.expect(mining.SubmitSharesSuccess)
        assert not device.of(extensions.RequestExtensionsSuccess)
        assert not device.of(extensions.RequestExtensionsError)


async def test_gen_14_each_request_has_one_answer(tmp_path: Path) -> None:
    async with running_v2(tmp_path, [STILL]) as rig:
        await with_pool(rig)
        device = await rig.ready()
        await device.send(
            extensions.RequestExtensions(1, (2, 3)), open_extended(2), open_standard(3), open_extended(4, min_extranonce_size=99)
        )
        await device.barrier()
        answers = [message.request_id for message in device.heard if hasattr(message, "request_id")]
        assert sorted(answers) == [1, 2, 3, 4, 0xB001]


# -- SetupConnection


async def test_c_sc_1_nothing_is_sent_before_setup_was_answered(tmp_path: Path) -> None:
    async with running_v2(tmp_path, [STILL]) as rig:
        await with_pool(rig)
        device = await rig.device()
        await device.shake_hands()
        rig.pools[0].new_block()
        await device.send(setup())
        assert isinstance(await device.read(), common.SetupConnectionSuccess)


@pytest.mark.parametrize("text", [b"", b"\xff" * 255])
async def test_c_sc_2_empty_names_and_the_longest_ones_are_taken(tmp_path: Path, text: bytes) -> None:
    async with running_v2(tmp_path, [STILL]) as rig:
        device = await rig.device()
        await device.shake_hands()
        names = ("endpoint_host", "vendor", "hardware_version", "firmware", "device_id")
        await device.send(setup(**dict.fromkeys(names, text)))
        assert isinstance(await device.read(), common.SetupConnectionSuccess)


async def test_c_sc_3_c_sc_6_m_nemj_8_who_needs_version_rolling_is_refused_where_there_is_none(tmp_path: Path) -> None:
    async with running_v2(tmp_path, [STILL], listen={"version_mask": "00000000"}) as rig:
        await with_pool(rig)
        device = await rig.device()
        await device.shake_hands()
        await device.send(setup(REQUIRES_VERSION_ROLLING))
        answer = (await device.hung_up())[-1]
        assert isinstance(answer, common.SetupConnectionError)
        assert answer.flags == REQUIRES_VERSION_ROLLING
        other = await rig.ready()
        assert other.of(common.SetupConnectionSuccess)[0].flags & REQUIRES_FIXED_VERSION  # type: ignore[attr-defined]
        await other.open(open_extended())  # the rules see that its jobs forbid rolling


async def test_c_sc_3_where_it_is_allowed_it_is_promised_and_every_job_keeps_the_promise(tmp_path: Path) -> None:
    async with running_v2(tmp_path, [STILL]) as rig:
        await with_pool(rig)
        device = await rig.ready(REQUIRES_VERSION_ROLLING)
        assert not device.of(common.SetupConnectionSuccess)[0].flags & REQUIRES_FIXED_VERSION  # type: ignore[attr-defined]
        await device.open(open_extended())


async def test_m_nemj_8_a_pool_that_forbids_rolling_costs_the_connection_not_the_promise(tmp_path: Path) -> None:
    async with running_v2(tmp_path, [FIXED]) as rig:
        await with_pool(rig)
        device = await rig.ready(REQUIRES_VERSION_ROLLING)
        await device.send(open_extended())
        heard = await device.hung_up()
        assert not [message for message in heard if isinstance(message, mining.NewExtendedMiningJob)]


async def test_c_sc_4_a_device_that_knows_only_standard_jobs_is_taken_and_mines(tmp_path: Path) -> None:
    async with running_v2(tmp_path, [STILL]) as rig:
        await with_pool(rig)
        device = await rig.ready(REQUIRES_STANDARD_JOBS)
        channel = await device.open(open_standard())
        await device.send(channel.solve())
        await device.expect(mining.SubmitSharesSuccess)


async def test_c_sc_5_standard_channels_are_open_because_nobody_said_otherwise(tmp_path: Path) -> None:
    async with running_v2(tmp_path, [STILL]) as rig:
        await with_pool(rig)
        device = await rig.ready()
        assert not device.of(common.SetupConnectionSuccess)[0].flags & REQUIRES_EXTENDED_CHANNELS  # type: ignore[attr-defined]
        await device.open(open_standard())


def test_c_sc_5_a_server_that_requires_extended_channels_refuses_standard_ones() -> None:
    server = ServerConnection(Offer(extended_only=True))
    (success,) = messages_in(server.receive(frame_of(setup())).reply)  # type: ignore[union-attr]
    assert success.flags == REQUIRES_EXTENDED_CHANNELS  # type: ignore[attr-defined]
    (error,) = messages_in(server.receive(frame_of(open_standard(7))).reply)  # type: ignore[union-attr]
    assert isinstance(error, mining.OpenMiningChannelError)
    assert error.request_id == 7
    with pytest.raises(RemoteProtocolError) as refused:
        ServerConnection(Offer(extended_only=True)).receive(frame_of(setup(REQUIRES_STANDARD_JOBS)))
    expected = common.SetupConnectionError(REQUIRES_STANDARD_JOBS, b"unsupported-feature-flags")
    assert messages_in(refused.value.reply) == [expected]


@pytest.mark.parametrize("protocol", [1, 3])
async def test_c_sc_7_c_scs_1_another_protocol_is_answered_by_a_framed_error(tmp_path: Path, protocol: int) -> None:
    async with running_v2(tmp_path, [STILL]) as rig:
        device = await rig.device()
        await device.shake_hands()
        await device.send(setup(protocol=protocol))
        (answer,) = await device.hung_up()
        assert answer == common.SetupConnectionError(0, b"unsupported-protocol")


@pytest.mark.parametrize("versions", [(3, 3), (3, 2), (1, 1)])
async def test_c_sc_8_a_range_without_version_2_is_answered_by_a_framed_error(tmp_path: Path, versions: tuple[int, int]) -> None:
    async with running_v2(tmp_path, [STILL]) as rig:
        device = await rig.device()
        await device.shake_hands()
        await device.send(setup(min_version=versions[0], max_version=versions[1]))
        (answer,) = await device.hung_up()
        assert answer == common.SetupConnectionError(0, b"protocol-version-mismatch")


@pytest.mark.parametrize("versions", [(2, 2), (0, 65_535)])
async def test_c_scs_2_the_version_is_one_that_was_offered(tmp_path: Path, versions: tuple[int, int]) -> None:
    async with running_v2(tmp_path, [STILL]) as rig:
        device = await rig.device()
        await device.shake_hands()
        await device.send(setup(min_version=versions[0], max_version=versions[1]))
        answer = await device.read()
        assert isinstance(answer, common.SetupConnectionSuccess)
        assert answer.used_version == 2


async def test_c_sce_1_c_sce_2_a_probe_with_all_flags_learns_exactly_what_is_missing_each_time(tmp_path: Path) -> None:
    async with running_v2(tmp_path, [STILL]) as rig:
        await with_pool(rig)
        for _ in range(3):
            device = await rig.device()
            await device.shake_hands()
            await device.send(setup(0xFFFF_FFFF))
            (answer,) = await device.hung_up()
            assert isinstance(answer, common.SetupConnectionError)
            assert answer.flags == 0xFFFF_FFFF & ~(REQUIRES_STANDARD_JOBS | REQUIRES_VERSION_ROLLING)


async def test_m_osmc_2_a_connection_that_opens_no_channel_is_closed(tmp_path: Path, mock_clock: MockClock) -> None:
    async with running_v2(tmp_path, [STILL], pool_tables=PATIENT, listen={"handshake_timeout_s": 10.0}) as rig:
        await with_pool(rig)
        idle, working = await rig.ready(), await rig.ready()
        await working.open(open_extended())
        await pass_time(mock_clock, 12, 1)
        await idle.hung_up()
        with trio.fail_after(60):
            await working.barrier()


# -- extension 0x0001


def required(offered: frozenset[int] = frozenset({2}), needed: frozenset[int] = frozenset({2})) -> ServerConnection:
    """A server that insists on extensions."""
    server = ServerConnection(Offer(extensions=offered, required_extensions=needed))
    server.receive(frame_of(setup()))
    return server


def test_x0001_req_1_who_does_not_ask_again_for_what_is_required_is_hung_up_on() -> None:
    server = required()
    (error,) = messages_in(server.receive(frame_of(extensions.RequestExtensions(9, (3,)))).reply)  # type: ignore[union-attr]
    assert error == extensions.RequestExtensionsError(9, (3,), (2,))
    with pytest.raises(Exception, match="was not asked for again"):
        server.receive(frame_of(open_extended()))


def test_x0001_req_1_who_asks_again_goes_on() -> None:
    server = required()
    server.receive(frame_of(extensions.RequestExtensions(9, (3,))))
    (success,) = messages_in(server.receive(frame_of(extensions.RequestExtensions(10, (2,)))).reply)  # type: ignore[union-attr]
    assert success == extensions.RequestExtensionsSuccess(10, (2,))
    assert server.receive(frame_of(open_extended())) is not None


@pytest.mark.parametrize("request_id", [0, 0xFFFF])
async def test_x0001_reqs_1_x0001_reqe_3_the_request_id_is_echoed(tmp_path: Path, request_id: int) -> None:
    async with running_v2(tmp_path, [STILL], plaintext=True) as rig:
        device = await rig.ready()
        await device.send(extensions.RequestExtensions(request_id, (2,)), extensions.RequestExtensions(request_id ^ 1, (9,)))
        success = await device.expect(extensions.RequestExtensionsSuccess)
        error = await device.expect(extensions.RequestExtensionsError)
        assert (success.request_id, error.request_id) == (request_id, request_id ^ 1)  # type: ignore[attr-defined]


async def test_x0001_reqs_2_negotiation_is_framed_as_extension_1(tmp_path: Path) -> None:
    async with running_v2(tmp_path, [STILL]) as rig:
        device = await rig.ready()
        await device.send(extensions.RequestExtensions(1, (2,)), extensions.RequestExtensions(2, (9,)))
        await device.expect(extensions.RequestExtensionsError)
        found = {frame.extension_type for frame in device.log if hasattr(frame, "payload")}
        assert found == {0, 1}  # SetupConnection.Success and the two answers, see the rules


@pytest.mark.parametrize("wanted", [(2, 2, 0x7FFF), ()])
async def test_x0001_reqs_3_what_is_granted_was_asked_for(tmp_path: Path, wanted: tuple[int, ...]) -> None:
    async with running_v2(tmp_path, [STILL], plaintext=True) as rig:
        device = await rig.ready()
        await device.send(extensions.RequestExtensions(1, wanted))
        success = await device.expect(extensions.RequestExtensionsSuccess)
        assert success.supported_extensions == tuple({2} & set(wanted))  # type: ignore[attr-defined]


async def test_x0001_reqe_1_x0001_reqe_2_nothing_that_we_have_is_an_error_that_names_it_all(tmp_path: Path) -> None:
    async with running_v2(tmp_path, [STILL]) as rig:
        device = await rig.ready()
        await device.send(extensions.RequestExtensions(1, (3, 0x4000)))
        error = await device.expect(extensions.RequestExtensionsError)
        assert error == extensions.RequestExtensionsError(1, (3, 0x4000), ())
        await device.barrier()


def test_x0001_reqe_2_of_a_mixture_the_error_names_what_is_missing_on_either_side() -> None:
    server = required(frozenset({2, 5}), frozenset({5}))
    (error,) = messages_in(server.receive(frame_of(extensions.RequestExtensions(1, (2, 3, 4)))).reply)  # type: ignore[union-attr]
    assert error == extensions.RequestExtensionsError(1, (3, 4), (5,))
