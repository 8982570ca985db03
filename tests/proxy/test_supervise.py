"""A task with a bug comes back, ever more slowly, and takes nobody with it."""

from pathlib import Path

import pytest
import structlog
import trio
import trio.testing
from trio.testing import MockClock

from proxy import config
from proxy.events import EventLog
from proxy.supervise import FIRST_PAUSE_S, GOOD_RUN_S, LONGEST_PAUSE_S, supervised
from proxy.units.fleet import Fleet
from tests.support.mine import solve
from tests.support.rig import EASY, passing, running, until


class Failing:
    """A task that raises after `lives_s` seconds, each time it is run."""

    def __init__(self, lives_s: float = 0.0, failures: int = 1_000) -> None:
        self.lives_s = lives_s
        self.failures = failures
        self.begun_s: list[float] = []

    async def __call__(self) -> None:
        self.begun_s.append(trio.current_time())
        await trio.sleep(self.lives_s)
        if len(self.begun_s) <= self.failures:
            raise ZeroDivisionError("a bug of ours")


async def test_pauses_double_up_to_half_a_minute(autojump_clock: MockClock) -> None:
    task = Failing()
    with trio.move_on_after(150):
        await supervised("test", task)
    pauses = [after - before for before, after in zip(task.begun_s, task.begun_s[1:], strict=False)]
    assert pauses[:6] == pytest.approx([FIRST_PAUSE_S, 2, 4, 8, 16, LONGEST_PAUSE_S])
    assert set(pauses[5:]) == {LONGEST_PAUSE_S}


async def test_after_a_good_run_it_comes_back_at_once_again(autojump_clock: MockClock) -> None:
    task = Failing(lives_s=GOOD_RUN_S + 1)
    with trio.move_on_after(5 * (GOOD_RUN_S + 10)):
        await supervised("test", task)
    pauses = [after - before - task.lives_s for before, after in zip(task.begun_s, task.begun_s[1:], strict=False)]
    assert pauses == pytest.approx([FIRST_PAUSE_S] * len(pauses))


async def test_a_task_that_ends_is_not_begun_again(autojump_clock: MockClock) -> None:
    task = Failing(failures=2)
    await supervised("test", task)
    assert len(task.begun_s) == 3


async def test_each_failure_is_in_the_log_with_its_traceback(autojump_clock: MockClock) -> None:
    with structlog.testing.capture_logs() as logs:
        await supervised("some part", Failing(failures=2))
    assert [(line["event"], line["task"], line["again_in_s"]) for line in logs] == [
        ("task.bug", "some part", 1.0),
        ("task.bug", "some part", 2.0),
    ]
    assert all(line["exc_info"] for line in logs)


async def test_cancellation_ends_it_at_once(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervised, "sleeper", trio.sleep_forever)
        await trio.testing.wait_all_tasks_blocked()
        before_s = trio.current_time()
        nursery.cancel_scope.cancel()
    assert nursery.cancel_scope.cancelled_caught
    assert trio.current_time() == before_s


async def test_a_pool_that_fell_over_its_own_bug_works_again(
    tmp_path: Path, mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path) as rig:
        pool = rig.app.pools[0]
        miner = await rig.miner()
        hello = await miner.hello()
        await miner.expect("mining.notify")
        with monkeypatch.context() as patched:
            patched.setattr(pool, "_tidy", lambda: 1 // 0)
            await passing(mock_clock, lambda: not pool.is_ready, limit_s=10.0)
        await passing(mock_clock, lambda: pool.is_ready, limit_s=60.0)
        job = await miner.expect("mining.notify", 2)
        params = solve(hello, job, EASY)
        assert (await miner.answer(await miner.send("mining.submit", "account.unit", *params)))["result"] is True
        await until(lambda: rig.pools[0].totals.accepted == 1)


async def test_a_pool_that_was_stopped_before_it_ran_never_connects(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        connections = rig.pools[0].totals.connections
        pool = rig.app.make_pool(rig.app.pools[0].config)
        pool.stop()
        await pool.run()
        assert rig.pools[0].totals.connections == connections


async def test_a_fleet_may_run_again_after_a_bug_and_not_after_it_was_stopped(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = Fleet([], {}, config.Heat(), EventLog(lambda: 0.0))
    with monkeypatch.context() as patched:
        patched.setattr(trio, "sleep_forever", Failing())
        with pytest.RaisesGroup(ZeroDivisionError):
            await fleet.run()
    async with trio.open_nursery() as nursery:
        await nursery.start(fleet.run)
        await fleet.stop()
    before_s = trio.current_time()
    await fleet.run()
    assert trio.current_time() == before_s
