"""Work is withheld from exactly the units that are named, however it would have reached them, and given back."""

from proxy.work.gate import Gate, GateChange
from proxy.work.router import WITHHELD
from tests.support.jobs import EASY, FakeSession
from tests.support.routing import Bench


def working() -> tuple[Bench, FakeSession]:
    bench = Bench()
    session = FakeSession()
    session.job(1, difficulty=EASY)
    bench.session = session
    return bench, session


def test_a_gate_tells_what_changed_and_nothing_when_nothing_did() -> None:
    gate = Gate()
    assert gate.update(frozenset()) is None
    assert gate.update({"b", "a"}) == GateChange(closed=("a", "b"), opened=())
    assert gate.update({"a", "b"}) is None
    assert gate.update({"b", "c"}) == GateChange(closed=("c",), opened=("a",))
    assert (gate.is_closed("b"), gate.is_closed("a"), gate.units) == (True, False, {"b", "c"})


def test_a_unit_without_work_is_hung_up_on_and_gets_no_job_when_it_comes_back() -> None:
    bench, session = working()
    bad, good = bench.unit("bad"), bench.unit("good")
    closed: list[str] = []
    bench.links[bad].close = closed.append
    bench.links[good].close = closed.append
    bench.router.withhold({"bad"})
    assert len(closed) == 1
    bench.router.close_channel(bad)
    again = bench.unit("bad")
    bench.router.publish(session.job(2, difficulty=EASY))
    bench.now_s += 100
    bench.router.upkeep([again, good], 50.0)
    assert bench.jobs(again) == []
    assert len(bench.jobs(good)) >= 2
    assert bench.names("unit.work_withheld") == [{"unit": "bad", "cause": WITHHELD}]


def test_work_is_given_back_at_once() -> None:
    bench, session = working()
    bench.router.withhold({"bad"})
    unit = bench.unit("bad")
    bench.router.publish(session.job(2, difficulty=EASY))
    assert bench.jobs(unit) == []
    bench.router.withhold(set())
    (told,) = bench.jobs(unit)
    assert told.sent.wire.upstream is session.current
    assert bench.names("unit.work_resumed") == [{"unit": "bad"}]


def test_a_v2_connection_is_kept_because_it_may_carry_others() -> None:
    bench, session = working()
    unit = bench.unit("bad")
    unit.stratum_version = 2
    closed: list[str] = []
    bench.links[unit].close = closed.append
    before = len(bench.jobs(unit))
    bench.router.withhold({"bad"})
    bench.router.publish(session.job(2, difficulty=EASY))
    assert (closed, len(bench.jobs(unit))) == ([], before)
