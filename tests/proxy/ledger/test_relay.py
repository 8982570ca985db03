"""From the writer's thread to the trio thread, and who waits for a flush."""

import threading

import trio
import trio.testing

from proxy.ledger.relay import FlushWait, FlushWaits, Relay, guarded
from proxy.ledger.trouble import Trouble
from proxy.ledger.writer import Committed


async def test_reports_of_a_thread_arrive_on_the_trio_thread_in_their_order() -> None:
    told: list[tuple[str, int]] = []
    ended = trio.Event()
    here = threading.get_ident()

    def note(name: str) -> None:
        assert threading.get_ident() == here
        told.append((name, len(told)))

    relay = Relay(
        committed=lambda done: note("committed"),
        failed=lambda trouble: note(str(trouble)),
        dropped=lambda item, reason: note(reason),
        recovered=ended.set,
    )
    relay.begin()

    def write() -> None:
        relay.committed(Committed([], [], []))
        relay.failed(Trouble("disk full", "free space"))
        relay.committed(Committed([], [], []))
        relay.recovered()

    await trio.to_thread.run_sync(write)
    await ended.wait()
    assert told == [("committed", 0), ("disk full; free space", 1), ("committed", 2)]


async def test_everybody_who_waits_is_told_once_and_what_was_told_first_stays() -> None:
    waits = FlushWaits()
    marks: list[FlushWait] = []
    fates: list[bool] = []

    async def wait() -> None:
        fates.append(await waits.wait(marks.append))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        marks[0].finish(is_durable=True)
        waits.fail_all()
    assert sorted(fates) == [False, True]
    assert [mark.is_durable for mark in marks] == [True, False]
    waits.fail_all()


def test_a_bug_in_somebody_elses_callback_is_not_ours() -> None:
    heard: list[int] = []

    def explode(number: int) -> None:
        heard.append(number)
        raise KeyError(number)

    guarded(explode, 7)
    assert heard == [7]
