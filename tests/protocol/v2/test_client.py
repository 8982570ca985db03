"""Our role towards a pool: what is asked comes back as events, in whatever order a pool sends it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.states import advance
from protocol.v2 import client_events as events
from protocol.v2.client import ClientConnection
from protocol.v2.client_state import CLIENT, ClientState, ClientStep
from protocol.v2.messages import common, extensions, job_declaration, mining
from protocol.v2.messages.base import Message, Unknown
from protocol.v2.transport import Frame
from tests.support.v2 import frame_of, messages_in
from tests.support.v2_client import TARGET, connected, job, opened, standard, tip, with_channel

# -- the connection


@pytest.mark.parametrize("state", ClientState)
@pytest.mark.parametrize("step", ClientStep)
def test_every_step_in_every_state_is_in_the_table_or_refused(state: ClientState, step: ClientStep) -> None:
    after = CLIENT[state].get(step)
    if after is not None:
        assert advance(CLIENT, state, step) is after
    else:
        with pytest.raises(LocalProtocolError, match=state.value):
            advance(CLIENT, state, step)


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


def test_messages_of_other_protocols_are_ignored() -> None:
    (event,) = connected().receive(frame_of(job_declaration.ProvideMissingTransactions(1, ())))
    assert isinstance(event, events.Ignored)
