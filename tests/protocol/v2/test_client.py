"""Our role towards a pool: what is asked comes back as events, in whatever order a pool sends it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.bitcoin.hashes import sha256d
from protocol.bitcoin.merkle import root_from_path
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.v2 import client_events as events
from protocol.v2.client import ClientConnection
from protocol.v2.client_channel import MAX_FUTURE_JOBS, MAX_MERKLE_BRANCHES
from protocol.v2.client_state import CLIENT, ClientState, ClientStep, advance
from protocol.v2.messages import common, extensions, job_declaration, mining
from protocol.v2.messages.base import Message, Unknown
from protocol.v2.transport import Frame
from tests.support.v2 import frame_of, messages_in

TARGET = 1 << 240
PREFIX = b"\xaa\xbb\xcc"
NBITS = 0x1D00FFFF
HASH = bytes(range(32))


def connected(flags: int = 0, **ways: int) -> ClientConnection:
    """A connection that is set up."""
    client = ClientConnection(**ways)
    client.setup("pool.example", 3336)
    client.receive(frame_of(common.SetupConnectionSuccess(2, flags)))
    return client


def opened(
    client: ClientConnection, channel_id: int = 7, *, size: int = 8, group_id: int = 1, prefix: bytes = PREFIX
) -> list[events.ClientEvent]:
    """Let the server open an extended channel."""
    request_id, _ = client.open_extended("account", 0.0, 2**256 - 1, 4)
    return client.receive(frame_of(mining.OpenExtendedMiningChannelSuccess(request_id, channel_id, TARGET, size, prefix, group_id)))


def with_channel(**ways: int) -> ClientConnection:
    """A connection with the extended channel 7."""
    client = connected(**ways)
    opened(client)
    return client


def job(job_id: int, *, channel_id: int = 7, min_ntime: int | None = None, **fields: object) -> Frame:
    values: dict[str, object] = {
        "version": 0x20000000,
        "version_rolling_allowed": True,
        "merkle_path": (HASH,),
        "coinbase_tx_prefix": b"\x01\x00\x00\x00\x01 prefix",
        "coinbase_tx_suffix": b"suffix \x00\x00\x00\x00",
    }
    return frame_of(
        mining.NewExtendedMiningJob(channel_id=channel_id, job_id=job_id, min_ntime=min_ntime, **{**values, **fields})  # type: ignore[arg-type]
    )


def tip(job_id: int, *, channel_id: int = 7, min_ntime: int = 1_000, nbits: int = NBITS, prev_hash: bytes = HASH) -> Frame:
    return frame_of(mining.SetNewPrevHash(channel_id, job_id, prev_hash, min_ntime, nbits))


def work(found: list[events.ClientEvent]) -> events.JobReceived:
    (event,) = found
    assert isinstance(event, events.JobReceived)
    return event


# -- the connection


@pytest.mark.parametrize("state", ClientState)
@pytest.mark.parametrize("step", ClientStep)
def test_every_step_in_every_state_is_in_the_table_or_refused(state: ClientState, step: ClientStep) -> None:
    after = CLIENT[state].get(step)
    if after is not None:
        assert advance(state, step) is after
    else:
        with pytest.raises(LocalProtocolError, match=state.value):
            advance(state, step)


def test_the_first_message_is_the_setup_of_a_mining_connection_of_version_2() -> None:
    (message,) = messages_in(ClientConnection().setup("pool.example", 3336, flags=4, firmware="f/1"))
    assert isinstance(message, common.SetupConnection)
    assert (message.protocol, message.min_version, message.max_version, message.flags) == (0, 2, 2, 4)
    assert (message.endpoint_host, message.endpoint_port) == (b"pool.example", 3336)
    assert message.vendor
    assert message.device_id == b""


def test_setup_tells_what_the_server_requires() -> None:
    client = ClientConnection()
    client.setup("pool.example", 3336)
    assert client.receive(frame_of(common.SetupConnectionSuccess(2, 3))) == [events.SetUp(True, True)]
    assert client.is_version_fixed


def test_a_refused_setup_is_an_event_and_the_end() -> None:
    client = ClientConnection()
    client.setup("pool.example", 3336)
    assert client.receive(frame_of(common.SetupConnectionError(4, b"unsupported-feature-flags"))) == [
        events.SetupRefused(4, b"unsupported-feature-flags")
    ]
    with pytest.raises(LocalProtocolError):
        client.open_extended("account", 0.0, TARGET, 4)


@pytest.mark.parametrize(
    "message",
    [common.SetupConnectionSuccess(3, 0), mining.SetTarget(7, TARGET), common.Reconnect(b"", 0)],
    ids=["another version", "a target", "a redirect"],
)
def test_anything_but_the_answer_to_setup_breaks_a_connection_that_waits_for_it(message: Message) -> None:
    client = ClientConnection()
    client.setup("pool.example", 3336)
    with pytest.raises(RemoteProtocolError):
        client.receive(frame_of(message))
    assert client.receive(frame_of(common.SetupConnectionSuccess(2, 0))) == []
    with pytest.raises(LocalProtocolError, match="broken"):
        client.open_extended("account", 0.0, TARGET, 4)


def test_a_second_answer_to_setup_breaks_the_connection() -> None:
    with pytest.raises(RemoteProtocolError):
        connected().receive(frame_of(common.SetupConnectionSuccess(2, 0)))


def test_x0001_extensions_are_those_asked_for_and_granted_and_nothing_is_sent_meanwhile() -> None:
    client = connected()
    (request,) = messages_in(client.request_extensions([2, 5]))
    assert isinstance(request, extensions.RequestExtensions)
    with pytest.raises(LocalProtocolError):
        client.open_extended("account", 0.0, TARGET, 4)
    assert client.receive(frame_of(extensions.RequestExtensionsSuccess(request.request_id, (2, 9)))) == [
        events.ExtensionsAgreed(frozenset({2}))
    ]
    assert client.agreed == {2}
    opened(client)


def test_x0001_an_answer_with_another_request_id_is_no_answer() -> None:
    client = connected()
    client.request_extensions([2])
    (event,) = client.receive(frame_of(extensions.RequestExtensionsSuccess(999, (2,))))
    assert isinstance(event, events.Refused)
    assert client.agreed == frozenset()


def test_x0001_a_refusal_tells_what_is_required() -> None:
    client = connected()
    (request,) = messages_in(client.request_extensions([2]))
    assert client.receive(frame_of(extensions.RequestExtensionsError(request.request_id, (2,), (1,)))) == [
        events.ExtensionsRefused((2,), (1,))
    ]
    client.request_extensions([1])


def test_what_nobody_agreed_on_is_ignored_whatever_its_channel_bit() -> None:
    client = with_channel()
    for unknown in (Unknown(0x4001, True, 1, b"1234"), Unknown(5, False, 0, b""), Unknown(0, False, 0x77, b"")):
        (event,) = client.receive(Frame(unknown.extension_type, unknown.is_channel, unknown.message_type, unknown.payload))
        assert isinstance(event, events.Ignored)
    (event,) = client.receive(frame_of(mining.SetCustomMiningJobSuccess(7, 1, 1)))
    assert isinstance(event, events.Ignored)


def test_a_redirect_says_where_or_nothing() -> None:
    client = connected()
    assert client.receive(frame_of(common.Reconnect(b"", 0))) == [events.ReconnectAsked(None, None)]
    assert client.receive(frame_of(common.Reconnect(b"b.example", 9))) == [events.ReconnectAsked("b.example", 9)]
    (event,) = client.receive(frame_of(common.Reconnect(b"b\xc3\xa4.example", 9)))
    assert isinstance(event, events.Refused)


# -- channels


def test_an_opened_channel_carries_the_request_it_answers() -> None:
    client = connected()
    request_id, frame = client.open_extended("account.unit", 1e12, TARGET, 4)
    (asked,) = messages_in(frame)
    assert asked == mining.OpenExtendedMiningChannel(request_id, b"account.unit", pytest.approx(1e12), TARGET, 4)
    (event,) = client.receive(frame_of(mining.OpenExtendedMiningChannelSuccess(request_id, 3, TARGET, 6, PREFIX, 1)))
    assert event == events.ChannelOpened(request_id, 3, True, TARGET, PREFIX, 6, 1)
    assert client.channels == {3}


def test_a_refused_channel_is_an_event() -> None:
    client = connected()
    request_id, _ = client.open_extended("nobody", 0.0, TARGET, 4)
    assert client.receive(frame_of(mining.OpenMiningChannelError(request_id, b"unknown-user"))) == [
        events.ChannelRefused(request_id, b"unknown-user")
    ]
    (again,) = client.receive(frame_of(mining.OpenMiningChannelError(request_id, b"unknown-user")))
    assert isinstance(again, events.Refused)


@pytest.mark.parametrize(("prefix", "size"), [(PREFIX, 3), (bytes(30), 8), (PREFIX, 65_535)], ids=["too small", "33", "huge"])
def test_coordinates_that_cannot_be_break_the_connection(prefix: bytes, size: int) -> None:
    with pytest.raises(RemoteProtocolError, match="extranonce"):
        opened(connected(), prefix=prefix, size=size)


def test_a_channel_id_that_is_in_use_breaks_the_connection() -> None:
    with pytest.raises(RemoteProtocolError, match="open already"):
        opened(with_channel())


def test_an_answer_of_the_wrong_kind_opens_nothing() -> None:
    client = connected()
    request_id, _ = client.open_extended("account", 0.0, TARGET, 4)
    (event,) = client.receive(frame_of(mining.OpenStandardMiningChannelSuccess(request_id, 3, TARGET, PREFIX, 1)))
    assert isinstance(event, events.Refused)
    assert client.channels == frozenset()


def test_a_hashrate_above_what_the_field_holds_is_the_largest() -> None:
    _, frame = connected().open_extended("account", 1e300, TARGET, 4)
    (asked,) = messages_in(frame)
    assert isinstance(asked, mining.OpenExtendedMiningChannel)
    assert 3e38 < asked.nominal_hash_rate < 3.5e38


def test_updates_go_to_open_channels_only() -> None:
    client = with_channel()
    assert messages_in(client.update_channel(7, 5.0, TARGET)) == [mining.UpdateChannel(7, 5.0, TARGET)]
    with pytest.raises(LocalProtocolError, match="not open"):
        client.update_channel(8, 5.0, TARGET)
    assert client.receive(frame_of(mining.UpdateChannelError(7, b"max-target-out-of-range"))) == [
        events.UpdateRefused(7, b"max-target-out-of-range")
    ]


def test_after_we_closed_a_channel_what_was_on_its_way_is_silence() -> None:
    client = with_channel()
    assert messages_in(client.close_channel(7, "bye")) == [mining.CloseChannel(7, b"bye")]
    assert client.receive(job(1)) == []
    (event,) = client.receive(job(1, channel_id=99))
    assert isinstance(event, events.Refused)
    assert event.channel_id is None


def test_a_closed_channel_is_told_once_and_a_closed_group_closes_its_members() -> None:
    client = connected()
    for channel_id in (7, 8):
        opened(client, channel_id, group_id=100)
    opened(client, 9, group_id=101)
    assert client.receive(frame_of(mining.CloseChannel(100, b"maintenance"))) == [
        events.ChannelClosed(7, b"maintenance"),
        events.ChannelClosed(8, b"maintenance"),
    ]
    assert client.channels == {9}
    assert client.receive(frame_of(mining.CloseChannel(9, b""))) == [events.ChannelClosed(9, b"")]
    assert client.receive(frame_of(mining.SetTarget(9, TARGET))) == []


# -- jobs


def test_a_future_job_is_work_when_its_tip_comes() -> None:
    client = with_channel()
    assert client.receive(job(1)) == []
    received = work(client.receive(tip(1, min_ntime=1_234)))
    assert (received.job_id, received.prev_hash, received.nbits, received.min_ntime) == (1, HASH, NBITS, 1_234)
    assert (received.target, received.extranonce_prefix, received.clean) == (TARGET, PREFIX, True)
    assert received.merkle_root is None


def test_a_tip_that_overtook_its_job_waits_for_it_and_says_so() -> None:
    client = with_channel()
    assert client.receive(tip(1)) == [events.TipWithoutJob(7, 1)]
    assert work(client.receive(job(1))).clean


def test_a_job_for_now_with_another_id_ends_the_wait_for_the_tips_job() -> None:
    client = with_channel()
    client.receive(tip(1))
    assert work(client.receive(job(2, min_ntime=1_001))).clean
    assert not work(client.receive(job(3, min_ntime=1_002))).clean


def test_a_job_for_now_is_on_the_last_tip_and_leaves_earlier_ones_valid() -> None:
    client = with_channel()
    client.receive(job(1))
    client.receive(tip(1, prev_hash=bytes(32)))
    received = work(client.receive(job(2, min_ntime=2_000)))
    assert (received.prev_hash, received.min_ntime, received.clean) == (bytes(32), 2_000, False)


def test_a_first_job_for_now_without_a_tip_waits_for_it() -> None:
    client = with_channel()
    assert client.receive(job(1, min_ntime=900)) == []
    assert work(client.receive(tip(1, min_ntime=1_000))).min_ntime == 1_000


def test_a_tip_drops_all_other_future_jobs() -> None:
    client = with_channel()
    for job_id in (1, 2, 3):
        client.receive(job(job_id))
    work(client.receive(tip(2)))
    assert client.receive(tip(3)) == [events.TipWithoutJob(7, 3)]


def test_of_a_flood_of_future_jobs_the_newest_stay() -> None:
    client = with_channel()
    for job_id in range(MAX_FUTURE_JOBS + 1):
        client.receive(job(job_id))
    assert client.receive(tip(0)) == [events.TipWithoutJob(7, 0)]
    client = with_channel()
    for job_id in range(1_000):
        client.receive(job(job_id))
    assert work(client.receive(tip(1_000 - MAX_FUTURE_JOBS))).job_id == 1_000 - MAX_FUTURE_JOBS


def test_m_st_2_a_target_is_for_stored_and_later_jobs_never_for_the_active_one() -> None:
    client = with_channel()
    client.receive(job(1))
    first = work(client.receive(tip(1)))
    client.receive(job(2))
    assert client.receive(frame_of(mining.SetTarget(7, TARGET // 2))) == [events.TargetSet(7, TARGET // 2)]
    assert first.target == TARGET
    assert work(client.receive(job(3, min_ntime=1_001))).target == TARGET // 2
    assert work(client.receive(tip(2))).target == TARGET // 2


def test_m_sep_1_a_prefix_is_for_jobs_that_are_sent_after_it() -> None:
    client = with_channel()
    client.receive(job(1))
    assert client.receive(frame_of(mining.SetExtranoncePrefix(7, b"\x01\x02"))) == [events.PrefixSet(7, b"\x01\x02")]
    client.receive(job(2))
    assert work(client.receive(tip(1))).extranonce_prefix == PREFIX
    assert work(client.receive(job(3, min_ntime=1_001))).extranonce_prefix == b"\x01\x02"


def test_a_prefix_for_a_group_or_too_long_for_the_channel_changes_nothing() -> None:
    client = with_channel()
    for message in (mining.SetExtranoncePrefix(1, b"\x01"), mining.SetExtranoncePrefix(7, bytes(25))):
        (event,) = client.receive(frame_of(message))
        assert isinstance(event, events.Refused)
    client.receive(job(1))
    assert work(client.receive(tip(1))).extranonce_prefix == PREFIX


def test_jobs_tips_and_targets_of_a_group_are_each_members() -> None:
    client = connected()
    for channel_id in (7, 8):
        opened(client, channel_id, group_id=100, prefix=bytes([channel_id]))
    opened(client, 9, group_id=101)
    client.receive(frame_of(mining.SetGroupChannel(100, (9,))))
    client.receive(job(1, channel_id=100))
    assert {event.channel_id for event in client.receive(frame_of(mining.SetTarget(100, 5)))} == {7, 8, 9}  # type: ignore[union-attr]
    found = client.receive(tip(1, channel_id=100))
    assert [(event.channel_id, event.extranonce_prefix, event.target) for event in found] == [  # type: ignore[union-attr]
        (7, b"\x07", 5),
        (8, b"\x08", 5),
        (9, PREFIX, 5),
    ]


@pytest.mark.parametrize(
    "bad",
    [
        job(2, min_ntime=1_001, merkle_path=(HASH,) * (MAX_MERKLE_BRANCHES + 1)),
        job(2, min_ntime=1_001, coinbase_tx_prefix=bytes(8_001)),
        job(2, min_ntime=1_001, coinbase_tx_prefix=b"\x01\x00\x00\x00\x00\x02" + bytes(40)),
        tip(2, nbits=0),
        tip(2, nbits=0x1D80FFFF),
        frame_of(mining.SetTarget(7, 0)),
        frame_of(mining.NewMiningJob(7, 2, None, 1, HASH)),
    ],
    ids=["branches", "coinbase", "no transaction", "nbits 0", "nbits negative", "target 0", "standard job"],
)
def test_what_cannot_be_used_is_refused_and_the_last_good_value_stays(bad: Frame) -> None:
    client = with_channel()
    client.receive(job(1))
    client.receive(tip(1, prev_hash=bytes(32)))
    (event,) = client.receive(bad)
    assert isinstance(event, events.Refused)
    assert event.channel_id == 7
    received = work(client.receive(job(3, min_ntime=1_001)))
    assert (received.prev_hash, received.target) == (bytes(32), TARGET)


def test_version_rolling_is_allowed_by_the_server_and_by_the_job() -> None:
    for flags, allowed, expected in ((0, True, True), (0, False, False), (1, True, False)):
        client = connected(flags)
        opened(client)
        client.receive(job(1, version_rolling_allowed=allowed))
        assert work(client.receive(tip(1))).is_version_rolling_allowed is expected


def test_an_unstripped_coinbase_is_stripped() -> None:
    client = with_channel()
    prefix = b"\x02\x00\x00\x00\x00\x01\x01" + bytes(36)
    suffix = b"\xff\xff\xff\xff\x00" + b"\x01\x20" + bytes(32) + b"lock"
    client.receive(job(1, coinbase_tx_prefix=prefix, coinbase_tx_suffix=suffix))
    received = work(client.receive(tip(1)))
    assert received.coinbase_prefix == b"\x02\x00\x00\x00\x01" + bytes(36)
    assert received.coinbase_suffix == b"\xff\xff\xff\xff\x00lock"


# -- standard channels, which our simulated devices open


def standard(client: ClientConnection, channel_id: int = 7) -> None:
    request_id, _ = client.open_standard("unit", 1e6, TARGET)
    client.receive(frame_of(mining.OpenStandardMiningChannelSuccess(request_id, channel_id, TARGET, PREFIX, 100)))


def test_a_standard_channel_gets_roots_from_its_own_jobs_and_from_its_groups() -> None:
    client = connected()
    standard(client)
    client.receive(frame_of(mining.NewMiningJob(7, 1, None, 0x20000000, HASH)))
    assert work(client.receive(tip(1))).merkle_root == HASH
    received = work(client.receive(job(2, channel_id=100, min_ntime=1_001)))
    assert received.merkle_root == root_from_path(
        sha256d(received.coinbase_prefix + PREFIX + received.coinbase_suffix), received.merkle_path
    )


def test_shares_are_of_the_channels_kind() -> None:
    client = connected()
    standard(client)
    opened(client, 8)
    sequence, frame = client.submit_standard(7, 1, nonce=2, ntime=3, version=4)
    assert messages_in(frame) == [mining.SubmitSharesStandard(7, sequence, 1, 2, 3, 4)]
    with pytest.raises(LocalProtocolError):
        client.submit_standard(8, 1, nonce=2, ntime=3, version=4)
    with pytest.raises(LocalProtocolError):
        client.submit_extended(7, 1, nonce=2, ntime=3, version=4, extranonce=b"")


# -- shares


def submit(client: ClientConnection, channel_id: int = 7, **fields: object) -> tuple[int, mining.SubmitSharesExtended]:
    values: dict[str, object] = {"nonce": 2, "ntime": 3, "version": 4, "extranonce": bytes(8)}
    sequence, frame = client.submit_extended(channel_id, 1, **{**values, **fields})  # type: ignore[arg-type]
    (message,) = messages_in(frame)
    assert isinstance(message, mining.SubmitSharesExtended)
    return sequence, message


def test_sequence_numbers_rise_by_one_on_each_channel_and_wrap() -> None:
    client = with_channel(first_sequence=2**32 - 2)
    opened(client, 8)
    assert [submit(client)[0] for _ in range(4)] == [2**32 - 2, 2**32 - 1, 0, 1]
    sequence, message = submit(client, 8)
    assert sequence == message.sequence_number == 2**32 - 2


@pytest.mark.parametrize("size", [0, 7, 9])
def test_an_extranonce_of_another_size_is_our_mistake(size: int) -> None:
    with pytest.raises(LocalProtocolError, match="8 bytes"):
        submit(with_channel(), extranonce=bytes(size))


def test_the_finder_of_a_share_is_told_where_that_was_agreed_on() -> None:
    client = with_channel()
    assert submit(client, user_identity="unit-1")[1].rest == b""
    client = connected()
    (request,) = messages_in(client.request_extensions([2]))
    assert isinstance(request, extensions.RequestExtensions)
    client.receive(frame_of(extensions.RequestExtensionsSuccess(request.request_id, (2,))))
    opened(client)
    assert submit(client, user_identity="unit-1")[1].rest == b"\x02\x00\x01\x06\x00unit-1"
    assert submit(client, user_identity="ü" * 40)[1].rest == b"\x02\x00\x01\x20\x00" + "ü".encode() * 16


def test_answers_to_shares_are_events_of_their_channel() -> None:
    client = with_channel()
    assert client.receive(frame_of(mining.SubmitSharesSuccess(7, 4, 3, 90))) == [events.SharesAccepted(7, 4, 3, 90)]
    assert client.receive(frame_of(mining.SubmitSharesError(7, 5, b"stale-share"))) == [events.ShareRefused(7, 5, b"stale-share")]


# -- whatever comes


@given(
    st.lists(
        st.tuples(st.integers(0, 0x7FFF) | st.sampled_from([0, 1, 2]), st.integers(0, 255), st.binary(max_size=120)), max_size=8
    )
)
def test_no_frame_makes_anything_but_events_or_a_broken_protocol(frames: list[tuple[int, int, bytes]]) -> None:
    client = with_channel()
    for extension, kind, payload in frames:
        try:
            client.receive(Frame(extension, False, kind, payload))
        except RemoteProtocolError:
            assert client.state is ClientState.BROKEN


@given(st.integers(0, 60), st.sampled_from(["job", "tip"]))
def test_a_frame_cut_short_breaks_the_protocol(cut: int, kind: str) -> None:
    whole = job(1) if kind == "job" else tip(1)
    client = with_channel()
    with pytest.raises(RemoteProtocolError):
        client.receive(Frame(0, True, whole.message_type, whole.payload[: min(cut, len(whole.payload) - 1)]))


@given(st.lists(st.sampled_from(["future", "now", "tip", "old tip", "target", "prefix"]), max_size=40))
def test_whatever_the_order_a_job_has_what_was_in_force_when_it_became_work(steps: list[str]) -> None:
    client = with_channel()
    job_id, target, prefix = 0, TARGET, PREFIX
    prefixes: dict[int, bytes] = {}
    for step in steps:
        found: list[events.ClientEvent] = []
        if step in ("future", "now"):
            job_id += 1
            prefixes[job_id] = prefix
            found = client.receive(job(job_id, min_ntime=1_000 if step == "now" else None))
        elif step == "tip":
            found = client.receive(tip(job_id))
        elif step == "old tip":
            found = client.receive(tip(max(0, job_id - 1)))
        elif step == "target":
            target -= 1
            client.receive(frame_of(mining.SetTarget(7, target)))
        else:
            prefix = bytes([prefix[0] ^ 1]) + prefix[1:]
            client.receive(frame_of(mining.SetExtranoncePrefix(7, prefix)))
        for event in found:
            if isinstance(event, events.JobReceived):
                assert (event.target, event.extranonce_prefix) == (target, prefixes[event.job_id])


def test_messages_of_other_protocols_are_ignored() -> None:
    (event,) = connected().receive(frame_of(job_declaration.ProvideMissingTransactions(1, ())))
    assert isinstance(event, events.Ignored)
