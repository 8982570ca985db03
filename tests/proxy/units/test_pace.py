"""The pace of commands."""

import trio

from proxy.units.pace import Pace


async def test_slots_come_at_the_rate_and_in_order(autojump_clock):
    pace, times = Pace(10.0), []

    async def take(name):
        await pace.slot()
        times.append((name, trio.current_time()))

    await trio.sleep(5)
    start_s = trio.current_time()
    for name in range(21):
        await take(name)
    assert [name for name, _ in times] == list(range(21))
    assert 1.8 <= times[-1][1] - start_s <= 2.05


async def test_an_idle_time_saves_up_no_more_than_a_short_burst(autojump_clock):
    pace = Pace(100.0)
    await trio.sleep(60)
    start_s = trio.current_time()
    for _ in range(200):
        await pace.slot()
    assert trio.current_time() - start_s >= 1.85
