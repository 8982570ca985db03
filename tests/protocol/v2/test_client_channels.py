"""Channels of the client role: asked for, opened, updated and closed, by either side."""

import pytest

from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.v2 import client_events as events
from protocol.v2.messages import mining
from tests.support.v2 import frame_of, messages_in
from tests.support.v2_client import PREFIX, TARGET, connected, job, opened, with_channel


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
