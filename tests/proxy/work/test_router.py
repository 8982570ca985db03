"""Jobs down: what a unit is told, when, and at which difficulty."""

import msgspec
import pytest

from protocol.bitcoin.target import HASHES_PER_DIFFICULTY
from protocol.mining.job import VERSION_MASK_BIP320
from protocol.mining.share import Verdict
from proxy.config import Vardiff
from proxy.work.router import FAN_OUT_AT_ONCE
from tests.support.jobs import EASY, NTIME, FakeSession
from tests.support.routing import Bench, wires

# At six shares a minute this hashrate gives difficulty EASY.
EASY_HPS = EASY * HASHES_PER_DIFFICULTY / 10.0


def working(settings: Vardiff | None = None, *, asks: float = EASY, through: bool = False) -> tuple[Bench, FakeSession]:
    """A bench whose session has a job of the difficulty that its pool asks."""
    bench = Bench(settings, passes_difficulty_through=through)
    session = FakeSession()
    session.job(1, difficulty=asks)
    bench.session = session
    return bench, session


# -- difficulty


def test_feed_forward_sends_exactly_one_difficulty_and_one_job() -> None:
    bench, _ = working(asks=1.0)
    unit = bench.unit(typical_hps=EASY_HPS)
    assert len(bench.jobs(unit)) == 1
    for _ in range(3):
        bench.router.expect_hashrate("unit-1", EASY_HPS * 8)
    first, second = bench.jobs(unit)
    assert (first.difficulty, second.difficulty) == (EASY, EASY * 8)
    assert not second.clean
    assert second.sent.wire.upstream is first.sent.wire.upstream
    assert second.sent.wire.ntime_ahead_s > first.sent.wire.ntime_ahead_s


def test_a_sleeping_unit_is_held_and_wakes_with_the_right_difficulty() -> None:
    bench, _ = working(asks=1.0)
    unit = bench.unit(typical_hps=EASY_HPS)
    bench.router.expect_hashrate("unit-1", 0.0)
    for bench.now_s in range(10, 600, 10):
        bench.router.upkeep([unit], keepalive_s=1e9)
    assert len(bench.jobs(unit)) == 1
    bench.router.expect_hashrate("unit-1", EASY_HPS * 16)
    assert [told.difficulty for told in bench.jobs(unit)] == [EASY, EASY * 16]


def test_a_unit_that_was_commanded_while_away_comes_back_to_the_right_difficulty() -> None:
    bench, _ = working(asks=1.0)
    bench.router.expect_hashrate("unit-1", EASY_HPS * 4)
    assert bench.jobs(bench.unit())[0].difficulty == EASY * 4


def test_what_a_unit_proved_is_remembered_over_its_reconnect() -> None:
    bench, _ = working(asks=1.0)
    unit = bench.unit(typical_hps=EASY_HPS * 64)
    bench.router.close_channel(unit)
    assert bench.jobs(bench.unit())[0].difficulty == EASY * 64


def test_a_unit_is_never_told_more_than_its_pool_asks() -> None:
    bench, session = working(asks=1.0)
    unit = bench.unit(typical_hps=EASY_HPS * 64)
    bench.router.publish(session.job(2, difficulty=EASY * 3))
    bench.router.publish(session.job(3, difficulty=EASY * 1024))
    assert [told.sent.difficulty for told in bench.jobs(unit)] == [EASY * 64, EASY * 2, EASY * 64]


def test_case_45_a_pool_below_the_sites_least_difficulty_makes_no_storm_of_shares() -> None:
    bench, session = working(Vardiff(min_difficulty=EASY, start_difficulty=EASY))
    unit = bench.unit()
    for number in range(2, 5):
        bench.router.publish(session.job(number, difficulty=1e-300))
    assert {told.sent.difficulty for told in bench.jobs(unit)} == {EASY}
    assert [facts["pool"] for facts in bench.names("pool.difficulty_low")] == ["pool-a"]


def test_without_vardiff_the_pools_own_difficulty_is_passed_through() -> None:
    bench, session = working(Vardiff(enabled=False, min_difficulty=2.0**-32), through=True)
    unit = bench.unit()
    bench.router.publish(session.job(2, difficulty=EASY * 5))
    assert [told.difficulty for told in bench.jobs(unit)] == [EASY, EASY * 5]


def test_a_suggestion_is_followed_once_a_minute_until_the_hashrate_is_known() -> None:
    bench, _ = working(asks=1.0)
    unit = bench.unit()
    for _ in range(5):
        bench.router.suggest_difficulty(unit, EASY * 4)
        bench.router.suggest_difficulty(unit, EASY * 2)
    assert [told.difficulty for told in bench.jobs(unit)] == [EASY, EASY * 4]


def test_a_unit_that_could_run_out_of_work_is_named_with_the_remedy() -> None:
    bench, _ = working()
    bench.unit("rolls", mask=VERSION_MASK_BIP320, typical_hps=250e12)
    bench.unit("small", typical_hps=1e9)
    assert not bench.names("unit.search_space_small")
    bench.unit("plain", typical_hps=250e12)
    (facts,) = bench.names("unit.search_space_small")
    assert facts["unit"] == "plain"
    assert facts["seconds_to_exhaust"] == pytest.approx(1.126, abs=0.001)
    assert "version rolling" in str(facts["remedy"])


# -- jobs to many


def test_a_job_goes_to_the_units_of_its_own_session_only() -> None:
    bench, session = working()
    mine = bench.unit("mine")
    bench.session = other = FakeSession("pool-b", 2)
    other.job(1)
    others = bench.unit("others")
    bench.router.publish(session.job(2))
    assert [told.sent.wire.upstream.session.pool for told in bench.jobs(mine)] == ["pool-a", "pool-a"]
    assert [told.sent.wire.upstream.session.pool for told in bench.jobs(others)] == ["pool-b"]


def test_many_units_get_a_job_in_slices_the_largest_first() -> None:
    bench, session = working()
    units = [bench.unit(f"unit-{number}", typical_hps=EASY_HPS * 2 ** (number % 4)) for number in range(FAN_OUT_AT_ONCE + 20)]
    bench.router.publish(session.job(2, difficulty=1.0))
    assert bench.wakes == 1
    assert all(len(bench.jobs(unit)) == 1 for unit in units)
    bench.router.fan_out_step(30)
    assert {unit.vardiff.difficulty for unit in units if len(bench.jobs(unit)) == 2} == {EASY * 8}
    bench.fan_out()
    assert all(len(bench.jobs(unit)) == 2 for unit in units)


def test_case_41_a_newer_job_replaces_one_that_is_still_being_handed_out() -> None:
    bench, session = working()
    units = [bench.unit(f"unit-{number}") for number in range(FAN_OUT_AT_ONCE + 72)]
    bench.router.publish(session.job(2))
    bench.router.fan_out_step(50)
    bench.router.publish(session.job(3))
    bench.fan_out()
    seen = [[told.sent.wire.upstream.upstream_id for told in bench.jobs(unit)] for unit in units]
    assert all(jobs[-1] == "up3" and jobs.count("up3") == 1 for jobs in seen)
    assert sum("up2" in jobs for jobs in seen) == 50


def test_nobody_is_sent_an_older_job_after_a_newer_one_when_the_fleet_shrinks_meanwhile() -> None:
    bench, session = working()
    units = [bench.unit(f"unit-{number}") for number in range(FAN_OUT_AT_ONCE + 1)]
    bench.router.publish(session.job(2))
    bench.router.fan_out_step(10)
    bench.router.close_channel(units.pop(0))
    bench.router.publish(session.job(3))
    bench.fan_out()
    assert {bench.jobs(unit)[-1].sent.wire.upstream.upstream_id for unit in units} == {"up3"}


def test_a_unit_that_went_and_came_back_gets_each_job_once() -> None:
    bench, session = working()
    units = [bench.unit(f"unit-{number}") for number in range(FAN_OUT_AT_ONCE + 10)]
    bench.router.publish(session.job(2))
    bench.fan_out()
    other = FakeSession("pool-b", 2)
    other.job(1)
    bench.router.attach(units[0], other)
    bench.router.attach(units[0], session)
    before = len(bench.jobs(units[0]))
    bench.router.publish(session.job(3))
    bench.fan_out()
    assert len(bench.jobs(units[0])) == before + 1


def test_a_unit_with_fresh_work_of_a_job_is_not_sent_the_same_job_again_by_its_fan_out() -> None:
    bench, session = working()
    units = [bench.unit(f"unit-{number}", typical_hps=EASY_HPS) for number in range(FAN_OUT_AT_ONCE + 10)]
    bench.router.publish(session.job(2, difficulty=1.0))
    bench.router.expect_hashrate("unit-7", EASY_HPS * 8)
    bench.fan_out()
    told = bench.jobs(units[7])
    assert [wire.upstream.upstream_id for wire in wires(told)] == ["up1", "up2"]
    assert told[-1].difficulty == EASY * 8
    assert told[-1].clean


def test_a_whole_fleet_that_moves_gets_one_job_each_and_those_who_wait_get_theirs() -> None:
    bench, _ = working()
    units = [bench.unit(f"unit-{number}") for number in range(FAN_OUT_AT_ONCE + 72)]
    other = FakeSession("pool-b", 2)
    other.job(1)
    first, second = units[: FAN_OUT_AT_ONCE + 2], units[FAN_OUT_AT_ONCE + 2 :]
    bench.router.attach_many(list(first), other)
    bench.router.fan_out_step(50)
    bench.router.attach_many(list(second), other)
    assert bench.router.is_fan_out_pending
    bench.fan_out()
    for unit in units:
        assert [(told.sent.wire.upstream.session.pool, told.clean) for told in bench.jobs(unit)] == [
            ("pool-a", True),
            ("pool-b", True),
        ]


def test_units_that_left_or_moved_are_passed_over() -> None:
    bench, session = working()
    units = [bench.unit(f"unit-{number}") for number in range(FAN_OUT_AT_ONCE + 10)]
    bench.router.publish(session.job(2))
    bench.router.close_channel(units[0])
    bench.router.attach(units[1], None)
    bench.fan_out()
    assert [len(bench.jobs(unit)) for unit in units[:3]] == [1, 1, 2]


# -- fresh work


def test_case_42_a_unit_never_gets_the_same_work_twice_however_often_it_needs_a_job() -> None:
    """Firmware that starts at extranonce2 zero with each notify would find the same shares again."""
    bench, session = working()
    units = [bench.unit(f"unit-{number}", typical_hps=EASY_HPS) for number in range(FAN_OUT_AT_ONCE + 2)]
    unit = units[0]
    other = FakeSession("pool-b", 2)
    other.job(1)
    bench.router.publish(session.job(2, difficulty=1.0))
    for turn in range(4):
        bench.router.expect_hashrate("unit-0", EASY_HPS * 8 ** (1 + turn % 2))
        bench.router.renew(unit)
        bench.router.attach_many(list(units), other)
        bench.fan_out()
        bench.router.attach_many(list(units), session)
        bench.fan_out()
        bench.router.attach(unit, other)
        bench.router.attach(unit, session)
        bench.now_s += 0.25
    work = [(wire.upstream.session.pool, wire.upstream.upstream_id, wire.ntime_ahead_s) for wire in wires(bench.jobs(unit))]
    assert len(work) == len(set(work))


def test_case_42_the_same_work_under_another_id_begins_where_the_search_ended_and_a_copy_is_a_copy() -> None:
    bench, session = working()
    unit = bench.unit()
    bench.router.renew(unit)
    first = session.current
    share = next(bench.finds(unit, bench.jobs(unit)[0]))
    assert bench.shares.submit(unit, share, 0) is None
    again = session.job(1)
    assert first is not None
    again.continues(first)
    bench.router.publish(again)
    late = bench.unit("late")
    told = bench.jobs(unit)[-1]
    assert told.sent.wire.upstream is bench.jobs(late)[-1].sent.wire.upstream is again
    assert [wire.job.ntime - NTIME for wire in wires(bench.jobs(unit))] == [0, 1, 2]
    assert [wire.job.ntime - NTIME for wire in wires(bench.jobs(late))] == [2]
    copy = msgspec.structs.replace(share, job_id=told.sent.wire.wire_id)
    assert bench.shares.submit(unit, copy, 0) is Verdict.DUPLICATE


def test_case_40_a_quiet_pool_is_bridged_with_fresh_work_and_then_with_the_last_job_again() -> None:
    bench, _ = working(Vardiff(enabled=False, min_difficulty=EASY, start_difficulty=EASY))
    unit = bench.unit()
    for bench.now_s in range(1, 2_000):
        bench.router.upkeep([unit], keepalive_s=55.0)
    ahead = [wire.ntime_ahead_s for wire in wires(bench.jobs(unit))]
    fresh, again = ahead[:11], ahead[11:]
    assert fresh == sorted(set(fresh))
    assert fresh[-1] <= 600
    # A unit hangs up where nothing comes for 120 s, and then makes no heat.
    assert again == [fresh[-1]] * (1_999 // 55 - 10)


@pytest.mark.parametrize("holds_work", [False, True])
def test_work_that_no_pool_pays_for_goes_on_only_where_the_site_says_so(holds_work: bool) -> None:
    bench, session = working(Vardiff(enabled=False, min_difficulty=EASY, start_difficulty=EASY))
    bench.router.holds_work = holds_work
    unit = bench.unit()
    before = len(bench.jobs(unit))
    session.is_alive = False
    bench.session = None
    for bench.now_s in range(1, 600):
        bench.router.upkeep([unit], keepalive_s=55.0)
    assert (len(bench.jobs(unit)) > before) is holds_work


# -- who is who


def test_the_older_of_two_connections_of_one_unit_is_found_again_when_the_newer_one_goes() -> None:
    bench, _ = working(asks=1.0)
    left: list[str] = []
    bench.router.on_left = left.append
    old, new = bench.unit(typical_hps=EASY_HPS), bench.unit(typical_hps=EASY_HPS)
    bench.router.close_channel(new)
    assert not left
    bench.router.expect_hashrate("unit-1", EASY_HPS * 8)
    assert bench.jobs(old)[-1].difficulty == EASY * 8
    bench.router.close_channel(old)
    assert left == ["unit-1"]
    bench.router.close_channel(old)
    assert left == ["unit-1"]


def test_a_dead_connection_of_a_unit_that_is_back_takes_nothing_with_it() -> None:
    bench, _ = working()
    left: list[str] = []
    bench.router.on_left = left.append
    dead, back = bench.unit(), bench.unit()
    bench.router.close_channel(dead)
    assert not left
    assert bench.router.by_unit["unit-1"] is back
    bench.router.close_channel(back)
    assert left == ["unit-1"]
    assert not bench.router.by_unit
