"""How late the loop is, measured by a task that wants to wake on time."""

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from proxy.telemetry.lag import PERIOD_S, WINDOW_S, LoopLag


async def beats(clock: MockClock, count: int) -> None:
    """So many wake-ups, each on time."""
    for _ in range(count):
        await trio.testing.wait_all_tasks_blocked()
        clock.jump(PERIOD_S)
    await trio.testing.wait_all_tasks_blocked()


async def test_it_is_unknown_before_the_first_sample(nursery: trio.Nursery, mock_clock: MockClock) -> None:
    lag = LoopLag()
    nursery.start_soon(lag.run)
    await trio.testing.wait_all_tasks_blocked()
    assert lag.worst_s is None


async def test_a_loop_on_time_shows_none(nursery: trio.Nursery, mock_clock: MockClock) -> None:
    lag = LoopLag()
    nursery.start_soon(lag.run)
    await beats(mock_clock, 20)
    assert lag.worst_s == pytest.approx(0.0, abs=1e-6)


async def test_a_stall_shows_in_full_and_is_forgotten_after_the_window(nursery: trio.Nursery, mock_clock: MockClock) -> None:
    lag = LoopLag()
    nursery.start_soon(lag.run)
    await beats(mock_clock, 5)
    mock_clock.jump(PERIOD_S + 2.5)  # as if a call had blocked the loop
    await beats(mock_clock, 3)
    assert lag.worst_s == pytest.approx(2.5)
    await beats(mock_clock, int(WINDOW_S / PERIOD_S))
    assert lag.worst_s == pytest.approx(0.0, abs=1e-6)
