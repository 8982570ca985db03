"""The server role: what a client may ask, what it is answered, and what we may not send."""

import struct

import pytest

from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.v2 import constants, error_codes
from protocol.v2.acknowledge import Batch
from protocol.v2.codec import encode_frame
from protocol.v2.messages import common, extensions, mining
from protocol.v2.messages.base import Message
from protocol.v2.offer import Offer
from protocol.v2.server import MAX_OPENING, TOO_MANY_CHANNELS, ServerConnection
from protocol.v2.server_events import (
    ChannelUpdated,
    ChannelWanted,
    ConnectionSetUp,
    ExtensionsAgreed,
    Refused,
    ShareSubmitted,
)
from protocol.v2.state import State
from protocol.v2.tlv import Tlv, user_identity_tlv
from protocol.v2.transport import Frame
from tests.support.v2 import frame_of, messages_in, open_extended, open_standard, setup
from tests.support.v2_server import (
    extended,
    extended_job,
    extended_share,
    ready,
    refusal,
    standard,
    standard_share,
)

# -- the connection


@pytest.mark.parametrize(
    "message", [open_extended(), extended_share(1), extensions.RequestExtensions(request_id=1, requested_extensions=(2,))]
)
def test_nothing_is_taken_before_setup(message: Message) -> None:
    connection = ServerConnection(Offer())
    with pytest.raises(RemoteProtocolError, match="before SetupConnection") as caught:
        connection.receive(frame_of(message))
    assert caught.value.reply == b""
    assert connection.state is State.CLOSED
    assert connection.receive(frame_of(setup())) is None


def test_setup_tells_what_the_client_said_and_is_answered() -> None:
    connection = ServerConnection(Offer())
    event = connection.receive(frame_of(setup(constants.REQUIRES_STANDARD_JOBS, vendor=b"V", device_id=b"d" * 255)))
    assert isinstance(event, ConnectionSetUp)
    assert (event.requires_standard_jobs, event.requires_version_rolling) == (True, False)
    assert (event.vendor, event.firmware, event.device_id) == (b"V", b"test/1.0", b"d" * 255)
    assert messages_in(event.reply) == [common.SetupConnectionSuccess(used_version=2, flags=0)]
    assert not connection.uses_groups


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"protocol": 1}, error_codes.UNSUPPORTED_PROTOCOL),
        ({"protocol": 3}, error_codes.UNSUPPORTED_PROTOCOL),
        ({"min_version": 3, "max_version": 9}, error_codes.PROTOCOL_VERSION_MISMATCH),
        ({"max_version": 1, "min_version": 0}, error_codes.PROTOCOL_VERSION_MISMATCH),
        ({"min_version": 4, "max_version": 1}, error_codes.PROTOCOL_VERSION_MISMATCH),
    ],
)
def test_another_protocol_or_version_is_refused_with_a_framed_error(fields: dict[str, object], code: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        ServerConnection(Offer()).receive(frame_of(setup(**fields)))
    assert messages_in(caught.value.reply) == [common.SetupConnectionError(flags=0, error_code=code)]


@pytest.mark.parametrize(("fixed_version", "unsupported"), [(False, 0xFFFFFFFA), (True, 0xFFFFFFFE)])
def test_a_probe_with_all_flags_learns_exactly_those_we_lack(fixed_version: bool, unsupported: int) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        ServerConnection(Offer(fixed_version=fixed_version)).receive(frame_of(setup(0xFFFFFFFF)))
    error = common.SetupConnectionError(flags=unsupported, error_code=error_codes.UNSUPPORTED_FEATURE_FLAGS)
    assert messages_in(caught.value.reply) == [error]


def test_our_own_flags_say_fixed_version_and_extended_only() -> None:
    event = ServerConnection(Offer(fixed_version=True, extended_only=True)).receive(frame_of(setup()))
    assert isinstance(event, ConnectionSetUp)
    assert messages_in(event.reply) == [common.SetupConnectionSuccess(used_version=2, flags=3)]


def test_a_second_setup_ends_the_connection() -> None:
    with pytest.raises(RemoteProtocolError, match="second"):
        ready().receive(frame_of(setup()))


@pytest.mark.parametrize("is_channel", [False, True])
@pytest.mark.parametrize(("extension_type", "message_type"), [(0, 0x7F), (0x4001, 0), (2, 1), (1, 9)])
def test_what_is_unknown_is_ignored_after_setup(extension_type: int, message_type: int, is_channel: bool) -> None:
    assert ready().receive(Frame(extension_type, is_channel, message_type, b"whatever")) is None


def test_a_servers_own_messages_are_ignored() -> None:
    assert ready().receive(frame_of(extended_job(1))) is None


def test_a_wrong_channel_bit_changes_nothing() -> None:
    connection = ready()
    channel_id = extended(connection)
    frame = frame_of(extended_share(channel_id))
    assert isinstance(connection.receive(Frame(0, False, frame.message_type, frame.payload)), ShareSubmitted)


# -- extensions


def ask(connection: ServerConnection, *wanted: int, request_id: int = 5) -> object:
    return connection.receive(frame_of(extensions.RequestExtensions(request_id=request_id, requested_extensions=wanted)))


def test_x0001_granted_extensions_are_listed_and_in_force() -> None:
    connection = ready()
    event = ask(connection, 9, 2, 2)
    assert isinstance(event, ExtensionsAgreed)
    assert messages_in(event.reply) == [extensions.RequestExtensionsSuccess(request_id=5, supported_extensions=(2,))]
    assert connection.extensions == {2}


def test_x0001_none_supported_is_an_error_and_no_end() -> None:
    connection = ready()
    error = extensions.RequestExtensionsError(request_id=5, unsupported_extensions=(9, 7), required_extensions=())
    assert refusal(ask(connection, 9, 7), extensions.RequestExtensionsError) == error
    assert isinstance(ask(connection, 2), ExtensionsAgreed)


def test_x0001_a_required_extension_must_be_asked_for_again_or_the_connection_ends() -> None:
    offer = Offer(extensions=frozenset({2, 3}), required_extensions=frozenset({3}))
    connection = ready(offer)
    error = extensions.RequestExtensionsError(request_id=5, unsupported_extensions=(), required_extensions=(3,))
    assert refusal(ask(connection, 2), extensions.RequestExtensionsError) == error
    assert connection.state is State.EXTENSIONS_DUE
    assert isinstance(ask(connection, 2, 3), ExtensionsAgreed)
    stubborn = ready(offer)
    ask(stubborn, 2)
    with pytest.raises(RemoteProtocolError, match="required extension"):
        stubborn.receive(frame_of(open_extended()))


# -- channels


def test_a_request_id_in_use_ends_the_connection() -> None:
    connection = ready()
    connection.receive(frame_of(open_extended(3)))
    with pytest.raises(RemoteProtocolError, match="twice"):
        connection.receive(frame_of(open_standard(3)))


@pytest.mark.parametrize("rate", [float("nan"), float("inf"), -1.0])
@pytest.mark.parametrize("make", [open_extended, open_standard])
def test_a_hash_rate_that_is_none_is_refused_and_the_connection_lives(make: object, rate: float) -> None:
    connection = ready()
    good = frame_of(make(1))  # type: ignore[operator]
    at = 5 + good.payload[4]
    bad = Frame(0, False, good.message_type, good.payload[:at] + struct.pack("<f", rate) + good.payload[at + 4 :])
    error = mining.OpenMiningChannelError(request_id=1, error_code=error_codes.INVALID_NOMINAL_HASHRATE)
    assert refusal(connection.receive(bad), mining.OpenMiningChannelError) == error
    assert isinstance(connection.receive(good), ChannelWanted)


@pytest.mark.parametrize(
    ("offer", "flags", "request_", "code"),
    [
        (Offer(), 0, open_extended(max_target=0), error_codes.MAX_TARGET_OUT_OF_RANGE),
        (Offer(), 1, open_extended(), error_codes.EXTENDED_CHANNELS_NOT_SUPPORTED_FOR_STANDARD_JOBS),
        (Offer(extended_only=True), 0, open_standard(), error_codes.STANDARD_CHANNELS_NOT_SUPPORTED_FOR_CUSTOM_WORK),
        (Offer(max_channels=0), 0, open_standard(), TOO_MANY_CHANNELS),
    ],
)
def test_requests_that_cannot_be_are_refused(offer: Offer, flags: int, request_: Message, code: bytes) -> None:
    error = mining.OpenMiningChannelError(request_id=1, error_code=code)
    assert refusal(ready(offer, flags).receive(frame_of(request_)), mining.OpenMiningChannelError) == error


def test_only_so_many_requests_wait_for_an_answer() -> None:
    connection = ready()
    waiting = [connection.receive(frame_of(open_extended(number))) for number in range(MAX_OPENING)]
    refusal(connection.receive(frame_of(open_extended(99))), mining.OpenMiningChannelError)
    assert isinstance(waiting[0], ChannelWanted)
    (error,) = messages_in(connection.refuse_channel(waiting[0], b"unknown-user"))
    assert error == mining.OpenMiningChannelError(request_id=0, error_code=b"unknown-user")
    assert isinstance(connection.receive(frame_of(open_extended(99))), ChannelWanted)


def test_a_target_easier_than_the_client_takes_is_never_sent() -> None:
    connection = ready()
    wanted = connection.receive(frame_of(open_extended(max_target=1000)))
    assert isinstance(wanted, ChannelWanted)
    with pytest.raises(LocalProtocolError, match="easy"):
        connection.open_extended(wanted, 1001, b"", 2)
    with pytest.raises(LocalProtocolError, match="longer"):
        connection.open_extended(wanted, 1000, b"", 1)
    channel_id, _ = connection.open_extended(wanted, 1000, b"", 2)
    with pytest.raises(LocalProtocolError, match="easy"):
        connection.set_target(channel_id, 1001)
    with pytest.raises(LocalProtocolError, match="waits"):
        connection.refuse_channel(wanted, b"unknown-user")


def test_an_update_is_told_and_a_bogus_channel_is_answered() -> None:
    connection = ready()
    channel_id = extended(connection)
    update = mining.UpdateChannel(channel_id=channel_id, nominal_hash_rate=5.0, maximum_target=77)
    assert connection.receive(frame_of(update)) == ChannelUpdated(channel_id, 5.0, 77)
    assert connection.max_target(channel_id) == 77
    bogus = mining.UpdateChannel(channel_id=99, nominal_hash_rate=5.0, maximum_target=77)
    error = mining.UpdateChannelError(channel_id=99, error_code=error_codes.INVALID_CHANNEL_ID)
    assert refusal(connection.receive(frame_of(bogus)), mining.UpdateChannelError) == error
    frame = frame_of(update)
    bad = Frame(0, True, frame.message_type, frame.payload[:4] + struct.pack("<f", -1.0) + frame.payload[8:])
    error = mining.UpdateChannelError(channel_id=channel_id, error_code=error_codes.INVALID_NOMINAL_HASHRATE)
    assert refusal(connection.receive(bad), mining.UpdateChannelError) == error
    impossible = mining.UpdateChannel(channel_id=channel_id, nominal_hash_rate=5.0, maximum_target=0)
    error = mining.UpdateChannelError(channel_id=channel_id, error_code=error_codes.MAX_TARGET_OUT_OF_RANGE)
    assert refusal(connection.receive(frame_of(impossible)), mining.UpdateChannelError) == error
    assert connection.max_target(channel_id) == 77
    (error_message,) = messages_in(connection.refuse_update(channel_id, b"no"))
    assert error_message == mining.UpdateChannelError(channel_id=channel_id, error_code=b"no")


# -- shares


def test_shares_come_as_they_were_sent_and_their_answers_are_framed() -> None:
    connection = ready()
    channel_id, standard_id = extended(connection), standard(connection, 2)
    event = connection.receive(frame_of(extended_share(channel_id, 2**32 - 1)))
    assert event == ShareSubmitted(channel_id, 2**32 - 1, 1, 2, 3, 4, b"ab", None)
    event = connection.receive(frame_of(standard_share(standard_id)))
    assert event == ShareSubmitted(standard_id, 7, 1, 2, 3, 4, b"", None)
    (success,) = messages_in(connection.accept_shares(channel_id, Batch(0, 3, 12)))
    expected = {"channel_id": channel_id, "last_sequence_number": 0, "new_submits_accepted_count": 3, "new_shares_sum": 12}
    assert success == mining.SubmitSharesSuccess(**expected)
    (error,) = messages_in(connection.refuse_share(channel_id, 9, b"stale-share"))
    assert error == mining.SubmitSharesError(channel_id=channel_id, sequence_number=9, error_code=b"stale-share")


def test_shares_for_no_channel_or_of_the_wrong_kind_are_answered() -> None:
    connection = ready()
    extended_id, standard_id = extended(connection), standard(connection, 2)
    for message, code in (
        (extended_share(999), error_codes.INVALID_CHANNEL_ID),
        (extended_share(0), error_codes.INVALID_CHANNEL_ID),
        (extended_share(standard_id), error_codes.INVALID_SHARE),
        (standard_share(extended_id), error_codes.INVALID_SHARE),
    ):
        event = connection.receive(frame_of(message))
        error = mining.SubmitSharesError(channel_id=message.channel_id, sequence_number=7, error_code=code)
        assert refusal(event, mining.SubmitSharesError) == error
        assert isinstance(event, Refused)
        assert event.is_share


def test_the_workers_name_counts_only_where_it_was_agreed_on() -> None:
    connection = ready()
    channel_id = extended(connection)
    named = frame_of(extended_share(channel_id), (user_identity_tlv("worker.7"),))
    event = connection.receive(named)
    assert isinstance(event, ShareSubmitted)
    assert event.user_identity is None
    ask(connection, 2)
    event = connection.receive(named)
    assert isinstance(event, ShareSubmitted)
    assert event.user_identity == b"worker.7"


def test_an_overlong_name_is_refused_where_it_was_agreed_on_and_ignored_elsewhere() -> None:
    connection = ready()
    channel_id = extended(connection)
    frame = frame_of(extended_share(channel_id))
    long = Frame(0, True, frame.message_type, frame.payload + struct.pack("<HBH", 2, 1, 33) + b"x" * 33)
    assert isinstance(connection.receive(long), ShareSubmitted)
    ask(connection, 2)
    refusal(connection.receive(long), mining.SubmitSharesError)
    assert isinstance(connection.receive(frame), ShareSubmitted)


def test_tlvs_of_other_extensions_are_skipped() -> None:
    connection = ready()
    ask(connection, 2)
    event = connection.receive(frame_of(extended_share(extended(connection)), (Tlv(0x4000, 1, b"?"), user_identity_tlv("w"))))
    assert isinstance(event, ShareSubmitted)
    assert event.user_identity == b"w"


def test_custom_jobs_are_refused() -> None:
    connection = ready()
    channel_id = extended(connection)
    message = mining.SetCustomMiningJob(
        channel_id=channel_id,
        request_id=4,
        mining_job_token=b"",
        version=1,
        prev_hash=bytes(32),
        min_ntime=1,
        nbits=1,
        coinbase_tx_version=1,
        coinbase_prefix=b"",
        coinbase_tx_input_n_sequence=1,
        coinbase_tx_outputs=b"",
        coinbase_tx_locktime=0,
        merkle_path=(),
    )
    error = mining.SetCustomMiningJobError(channel_id=channel_id, request_id=4, error_code=error_codes.JD_NOT_SUPPORTED)
    assert refusal(connection.receive(frame_of(message)), mining.SetCustomMiningJobError) == error


def test_every_truncation_ends_the_connection_or_is_refused() -> None:
    for message in (setup(), open_extended(), open_standard(), extended_share(1), standard_share(1)):
        frame = frame_of(message)
        for cut in range(len(frame.payload)):
            connection = ServerConnection(Offer()) if isinstance(message, common.SetupConnection) else ready()
            with pytest.raises(RemoteProtocolError):
                connection.receive(Frame(0, frame.is_channel, frame.message_type, frame.payload[:cut]))
            assert connection.state is State.CLOSED


def test_core_messages_carry_the_right_channel_bit() -> None:
    connection = ready()
    channel_id = extended(connection)
    assert connection.set_target(channel_id, 5)[:2] == b"\x00\x80"
    assert connection.reconnect(b"", 0)[:2] == b"\x00\x00"
    assert encode_frame(setup())[:2] == b"\x00\x00"
