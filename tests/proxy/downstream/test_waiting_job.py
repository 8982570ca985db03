"""A job that waits for a miner which does not read is replaced by the newer one, and nothing that it would have told is lost."""

from collections.abc import Iterator

import msgspec
import pytest

from tests.support.jobs import EASY, FakeSession
from tests.support.wire import Unit, Wire


@pytest.fixture
def wire() -> Iterator[Wire]:
    made = Wire()
    yield made
    made.close()


def choked(wire: Wire, *, rolls_version: bool = False) -> tuple[Unit, FakeSession]:
    """A unit on work, whose socket takes no more bytes."""
    wire.session = session = FakeSession()
    session.job(1, difficulty=1.0)
    unit = wire.connect()
    unit.shakes_hands("unit-1", rolls_version=rolls_version)
    unit.heard()
    unit.transport.room = 0
    return unit, session


def freed(unit: Unit) -> list[tuple[object, object]]:
    """What comes once the socket takes bytes again."""
    unit.transport.room = 1 << 30
    unit.connection.writable()
    return [(line["method"], line["params"]) for line in unit.lines()]


def test_case_41_only_the_newest_job_waits_and_it_brings_the_difficulty_of_the_one_it_replaced(wire: Wire) -> None:
    unit, session = choked(wire)
    wire.router.expect_hashrate("unit-1", EASY * 8 * 2**32 / 10)
    wire.router.publish(session.job(2, difficulty=1.0, clean=False))
    wire.router.publish(session.job(3, difficulty=1.0, clean=False))
    (_, difficulty), (_, job) = freed(unit)
    assert difficulty == [EASY * 8]
    assert job[0] == next(reversed(wire.router.by_unit["unit-1"].jobs))  # type: ignore[index]


def test_case_33_a_clean_job_that_was_never_sent_makes_its_successor_clean(wire: Wire) -> None:
    unit, session = choked(wire)
    wire.router.publish(session.job(2, difficulty=1.0, clean=True))
    wire.router.publish(session.job(3, difficulty=1.0, clean=False))
    ((_, job),) = freed(unit)
    assert job[8] is True  # type: ignore[index]
    wire.router.publish(session.job(4, difficulty=1.0, clean=False))
    (line,) = unit.lines()
    assert line["params"][8] is False  # type: ignore[index]


def test_case_7_a_mask_that_waits_with_a_replaced_job_is_told_with_the_newer(wire: Wire) -> None:
    unit, session = choked(wire, rolls_version=True)
    for number in (2, 3):
        upstream = session.job(number, difficulty=1.0, clean=False)
        upstream.job = msgspec.structs.replace(upstream.job, version_mask=0x2000)
        wire.router.publish(upstream)
    assert freed(unit)[0] == ("mining.set_version_mask", ["00002000"])


def test_a_job_that_makes_no_bytes_any_more_is_waited_for_by_nobody(wire: Wire) -> None:
    unit, _ = choked(wire)
    unit.connection.send_job(b"first")
    unit.connection.send_job(lambda: b"")  # whom it was for has left before it could
    unit.transport.room = 1 << 30
    unit.connection.writable()
    unit.connection.writable()
    assert not unit.connection.wants_write
