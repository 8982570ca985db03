"""Channels of the server role: ids, groups, what may be sent to whom in which order, and what is closed."""

import pytest

from protocol.errors import LocalProtocolError
from protocol.v2.acknowledge import Batch
from protocol.v2.messages import mining
from protocol.v2.server_events import (
    ChannelsClosed,
    ChannelWanted,
)
from protocol.v2.shared import share
from tests.support.v2 import frame_of, messages_in, open_extended, open_standard
from tests.support.v2_server import TARGET, extended, extended_job, extended_share, ready, refusal, standard, standard_job, tip


def test_ids_are_unique_among_channels_and_groups_and_the_request_is_echoed() -> None:
    connection = ready()
    seen: list[int] = []
    groups = set()
    for number in range(6):
        make = open_extended if number % 2 else open_standard
        wanted = connection.receive(frame_of(make(100 + number)))
        assert isinstance(wanted, ChannelWanted)
        if number % 2:
            channel_id, data = connection.open_extended(wanted, TARGET, bytes(2), 2)
        else:
            channel_id, data = connection.open_standard(wanted, TARGET, bytes(4))
        (success,) = messages_in(data)
        assert (success.request_id, success.channel_id) == (100 + number, channel_id)  # type: ignore[attr-defined]
        seen.append(channel_id)
        groups.add(success.group_channel_id)  # type: ignore[attr-defined]
    assert len({*seen, *groups}) == 8
    assert list(connection.channel_ids) == seen


def test_a_closed_channel_is_sent_nothing_but_answers_to_what_still_names_it() -> None:
    connection = ready()
    channel_id = extended(connection)
    closed = connection.receive(frame_of(mining.CloseChannel(channel_id=channel_id, reason_code=b"bye")))
    assert closed == ChannelsClosed((channel_id,), b"bye")
    assert connection.receive(frame_of(mining.CloseChannel(channel_id=channel_id, reason_code=b"bye"))) is None
    update = mining.UpdateChannel(channel_id=channel_id, nominal_hash_rate=1.0, maximum_target=1)
    assert refusal(connection.receive(frame_of(update)), mining.UpdateChannelError)
    assert refusal(connection.receive(frame_of(extended_share(channel_id))), mining.SubmitSharesError)
    for send in (
        lambda: connection.send(channel_id, share(extended_job(1))),
        lambda: connection.set_target(channel_id, 1),
        lambda: connection.set_extranonce_prefix(channel_id, b"x"),
        lambda: connection.accept_shares(channel_id, Batch(1, 1, 1)),
        lambda: connection.refuse_share(channel_id, 1, b"stale-share"),
        lambda: connection.refuse_update(channel_id, b"no"),
        lambda: connection.close_channel(channel_id, b"bye"),
    ):
        with pytest.raises(LocalProtocolError, match="not open"):
            send()
    assert extended(connection, 2) > channel_id, "ids do not come back"


def test_closing_a_group_closes_its_members_alone() -> None:
    connection = ready()
    members = [extended(connection, number) for number in (1, 2)]
    other = standard(connection, 3)
    group = connection.group_of(members[0])
    assert group == connection.group_of(members[1]) != connection.group_of(other)
    event = connection.receive(frame_of(mining.CloseChannel(channel_id=group, reason_code=b"")))
    assert event == ChannelsClosed(tuple(members), b"")
    assert list(connection.channel_ids) == [other]
    assert connection.group_of(extended(connection, 4)) not in (group, other)


def test_our_own_close_is_one_message_for_a_channel_or_a_group() -> None:
    connection = ready()
    first, second = (extended(connection, number) for number in (1, 2))
    assert messages_in(connection.close_channel(first, b"a")) == [mining.CloseChannel(channel_id=first, reason_code=b"a")]
    group = connection.group_of(second)
    assert messages_in(connection.close_channel(group, b"b")) == [mining.CloseChannel(channel_id=group, reason_code=b"b")]
    assert not list(connection.channel_ids)


def test_a_close_of_nothing_is_ignored() -> None:
    assert ready().receive(frame_of(mining.CloseChannel(channel_id=42, reason_code=b""))) is None


def test_a_future_job_comes_first_and_only_an_announced_one_is_activated() -> None:
    connection = ready()
    channel_id = extended(connection)
    with pytest.raises(LocalProtocolError, match="waiting for a chain tip"):
        connection.send(channel_id, share(extended_job(1, min_ntime=5)))
    with pytest.raises(LocalProtocolError, match="not sent as a future job"):
        connection.send(channel_id, share(tip(1)))
    for message in (extended_job(1), tip(1), extended_job(2, min_ntime=5)):
        (sent,) = messages_in(connection.send(channel_id, share(message)))
        assert sent == type(message)(
            **{**{name: getattr(message, name) for name in message.__struct_fields__}, "channel_id": channel_id}
        )
    with pytest.raises(LocalProtocolError, match="not sent as a future job"):
        connection.send(channel_id, share(tip(2)))


def test_each_kind_of_job_goes_to_its_own_kind_of_channel() -> None:
    connection = ready()
    extended_id, standard_id = extended(connection, 1), standard(connection, 2)
    for channel_id, message in ((extended_id, standard_job(1)), (standard_id, extended_job(1))):
        with pytest.raises(LocalProtocolError, match="kind"):
            connection.send(channel_id, share(message))
    assert messages_in(connection.send(standard_id, share(standard_job(1))))


def test_one_message_to_a_group_reaches_all_of_it() -> None:
    connection = ready()
    members = [extended(connection, number) for number in (1, 2)]
    group = connection.group_of(members[0])
    (job,) = messages_in(connection.send(group, share(extended_job(1))))
    assert job.channel_id == group  # type: ignore[attr-defined]
    connection.send(group, share(tip(1)))
    late = extended(connection, 3)
    with pytest.raises(LocalProtocolError, match="waiting"):
        connection.send(group, share(extended_job(2, min_ntime=5)))
    connection.send(members[0], share(extended_job(2, min_ntime=5)))
    connection.send(late, share(extended_job(1)))


def test_old_future_jobs_are_forgotten() -> None:
    connection = ready()
    channel_id = extended(connection)
    for number in range(20):
        connection.send(channel_id, share(extended_job(number)))
    with pytest.raises(LocalProtocolError, match="not sent"):
        connection.send(channel_id, share(tip(3)))
    connection.send(channel_id, share(tip(4)))


def test_a_job_and_its_tip_in_one_call_are_what_they_are_in_two() -> None:
    one, other = ready(), ready()
    first, second = extended(one), extended(other)
    for connection, channel_id in ((one, first), (other, second)):
        connection.send(channel_id, share(extended_job(1)))
    together = one.send_activated(first, share(extended_job(2)), share(tip(2)))
    assert together == other.send(second, share(extended_job(2))) + other.send(second, share(tip(2)))
    with pytest.raises(LocalProtocolError, match="was not sent as a future job"):
        one.send(first, share(tip(1)))
    for job, names in ((standard_job(3), tip(3)), (extended_job(3), tip(4))):
        with pytest.raises(LocalProtocolError):
            one.send_activated(first, share(job), share(names))
    one.send(first, share(extended_job(5, min_ntime=9)))
