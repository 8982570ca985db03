"""One new job to many channels in slices: each gets the newest, once, and nobody who waits is forgotten."""

from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from proxy.work.channel import Channel, ChannelLink
from proxy.work.fanout import FanOut
from proxy.work.jobs import JobIds, WireJob, first_wire_job
from tests.support.jobs import FakeSession

IDS = JobIds(0)


class Hall:
    """Channels of one session, and what was sent to whom in which order."""

    def __init__(self, count: int, session: FakeSession | None = None) -> None:
        self.session = session or FakeSession()
        self.channels = [Channel(cast(ChannelLink, None), f"unit-{n}", "", "", n.to_bytes(2, "big"), 2) for n in range(count)]
        for channel in self.channels:
            channel.session = self.session
        self.sent: list[tuple[Channel, WireJob]] = []
        self.fan_out = FanOut(lambda channel, wire: self.sent.append((channel, wire)))

    def wire(self, number: int) -> WireJob:
        return first_wire_job(self.session.job(number), IDS)

    def finish(self, step: int = 7) -> None:
        while self.fan_out.is_pending:
            self.fan_out.step(step)

    def last(self) -> dict[str, str]:
        """The newest job of every unit that was sent one."""
        return {channel.unit: wire.upstream.upstream_id for channel, wire in self.sent}


def test_a_step_sends_to_so_many_in_the_order_given() -> None:
    hall = Hall(5)
    wire = hall.wire(1)
    hall.fan_out.start(hall.session, wire, hall.channels)
    hall.fan_out.step(2)
    assert hall.sent == [(channel, wire) for channel in hall.channels[:2]]
    assert hall.fan_out.is_pending
    hall.fan_out.step(100)
    assert hall.sent == [(channel, wire) for channel in hall.channels]
    assert not hall.fan_out.is_pending


def test_a_newer_job_of_the_session_replaces_the_one_that_runs() -> None:
    hall = Hall(5)
    hall.fan_out.start(hall.session, hall.wire(1), hall.channels)
    hall.fan_out.step(2)
    hall.fan_out.start(hall.session, hall.wire(2), hall.channels)
    hall.finish()
    assert [wire.upstream.upstream_id for _, wire in hall.sent] == ["up1"] * 2 + ["up2"] * 5


def test_those_who_join_come_first_and_those_who_wait_get_the_same_job() -> None:
    hall = Hall(6)
    hall.fan_out.start(hall.session, hall.wire(1), hall.channels[:4])
    hall.fan_out.step(2)
    hall.fan_out.join(hall.session, hall.wire(2), hall.channels[4:])
    hall.finish()
    order = [channel.unit for channel, _ in hall.sent]
    assert order == ["unit-0", "unit-1", "unit-4", "unit-5", "unit-2", "unit-3"]
    assert list(hall.last().values()) == ["up1"] * 2 + ["up2"] * 4


def test_a_session_that_is_stopped_sends_no_more() -> None:
    hall = Hall(5)
    hall.fan_out.start(hall.session, hall.wire(1), hall.channels)
    hall.fan_out.step(2)
    hall.fan_out.stop(hall.session)
    hall.fan_out.stop(hall.session)
    assert not hall.fan_out.is_pending
    hall.fan_out.step(100)
    assert len(hall.sent) == 2


def test_sessions_do_not_disturb_each_other() -> None:
    hall, other = Hall(3), FakeSession("pool-b", 2)
    hall.channels[2].session = other
    hall.fan_out.start(hall.session, hall.wire(1), hall.channels[:2])
    hall.fan_out.start(other, first_wire_job(other.job(9), IDS), hall.channels[2:])
    hall.finish(1)
    assert hall.last() == {"unit-0": "up1", "unit-1": "up1", "unit-2": "up9"}


def test_who_has_left_or_moved_meanwhile_is_passed_over_and_costs_no_turn() -> None:
    hall = Hall(6)
    hall.fan_out.start(hall.session, hall.wire(1), hall.channels)
    hall.channels[0].is_open = False
    hall.channels[1].session = None
    hall.channels[2].session = FakeSession("pool-b", 2)
    hall.fan_out.step(3)
    assert list(hall.last()) == ["unit-3", "unit-4", "unit-5"]


acts = st.one_of(
    st.tuples(st.just("start"), st.integers(0, 9), st.integers(0, 9)),
    st.tuples(st.just("join"), st.integers(0, 9), st.integers(0, 9)),
    st.tuples(st.just("step"), st.integers(1, 5), st.just(0)),
)


@given(st.lists(acts, max_size=20))
def test_whoever_was_to_get_a_job_ends_on_one_at_least_as_new(script: list[tuple[str, int, int]]) -> None:
    hall = Hall(10)
    owed: dict[str, int] = {}
    number = 0
    for act, low, high in script:
        if act == "step":
            hall.fan_out.step(low)
            continue
        number += 1
        chosen = hall.channels[low : high + 1]
        if act == "start":
            # The router starts a fan-out for everybody who works for the session.
            chosen = hall.channels
            hall.fan_out.start(hall.session, hall.wire(number), chosen)
        else:
            hall.fan_out.join(hall.session, hall.wire(number), chosen)
        owed.update({channel.unit: number for channel in chosen})
    hall.finish()
    last = hall.last()
    assert all(int(last[unit][2:]) >= wanted for unit, wanted in owed.items())
    jobs: dict[str, list[int]] = {}
    for channel, wire in hall.sent:
        jobs.setdefault(channel.unit, []).append(int(wire.upstream.upstream_id[2:]))
    assert all(ids == sorted(ids) for ids in jobs.values())
