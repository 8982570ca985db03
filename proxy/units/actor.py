"""One task per unit: reads it, sends what is due, one request in flight, and comes back after a bug.

What a reading means and what is due is `lifecycle`'s; how a machine is spoken to is its driver's.
"""

import math
from collections.abc import Callable

import msgspec
import structlog
import trio

from proxy.errors import UnitError
from proxy.units.drivers.base import Driver
from proxy.units.identity import SerialBook
from proxy.units.lifecycle import UnitLife
from proxy.units.pace import Pace

log = structlog.get_logger()

# Telemetry lags the command; asking at once would only see the old state.
READ_BACK_S = 2.0
# Readings give way while commands wait for a place, but not for longer: a reading must not expire over it.
GIVE_WAY_S, GLANCE_S = 5.0, 0.1
# After a bug in our own code: wait this long, then twice as long, up to the limit.
FIRST_BACK_OFF_S, LAST_BACK_OFF_S = 1.0, 60.0


class Lanes(msgspec.Struct, frozen=True):
    """How many exchanges at once. A silent machine holds its place for seconds: such ones wait for each other, nobody for them."""

    answering: trio.CapacityLimiter
    silent: trio.CapacityLimiter


class Shared(msgspec.Struct):
    """What all units of a fleet share."""

    sweep: Lanes  # readings in flight
    broadcast: Lanes  # commands in flight; urgent ones do not queue in `pace` before
    pace: Pace
    book: SerialBook
    period_s: float
    on_swept: Callable[[str], None]  # unit id: it was asked once, whatever came of it
    on_bug: Callable[[str, str], None]


class UnitActor:
    """The task of one unit. `nudge` after each command."""

    def __init__(self, life: UnitLife, driver: Driver, shared: Shared, *, phase: float = 1.0) -> None:
        """`phase` (0 to 1): the part of a period from the first reading to the second, so that a fleet's readings lie evenly."""
        self._phase = phase
        self._life = life
        self._driver = driver
        self._shared = shared
        self._nudged = trio.Event()
        self._patient: trio.CancelScope | None = None  # around what an urgent command may interrupt
        self._next_read_s = -math.inf
        self._was_read = False
        self._is_silent = False  # it gave no answer to the latest question

    def nudge(self) -> None:
        """Something may be due: look again. An urgent command interrupts a reading or a wait for its turn, never a write."""
        self._nudged.set()
        wanted = self._life.wanted
        if wanted is not None and wanted.is_urgent and self._patient is not None:
            self._patient.cancel()

    def read_soon(self) -> None:
        """Read at the next opportunity instead of at the next sweep."""
        self._next_read_s = -math.inf
        self._nudged.set()

    async def run(self) -> None:
        """Until cancelled. A bug is logged with its traceback, told, and followed by a fresh start."""
        back_off_s = FIRST_BACK_OFF_S
        while True:
            started_s = trio.current_time()
            try:
                await self._work()
            except Exception as bug:
                log.exception("unit.bug", unit=self._life.unit.id)
                self._shared.on_bug(self._life.unit.id, f"{type(bug).__name__}: {bug}")
            if trio.current_time() - started_s > LAST_BACK_OFF_S:
                back_off_s = FIRST_BACK_OFF_S
            await trio.sleep(back_off_s)
            back_off_s = min(2 * back_off_s, LAST_BACK_OFF_S)

    async def _work(self) -> None:
        while True:
            now_s = trio.current_time()
            if self._life.due_level(now_s) is not None:
                await self._send()
            elif now_s >= self._next_read_s:
                await self._read()
            else:
                wanted = self._life.wanted
                until_s = self._next_read_s if wanted is None else min(self._next_read_s, wanted.not_before_s)
                self._nudged = trio.Event()
                with trio.move_on_at(max(until_s, now_s)):
                    await self._nudged.wait()

    async def _read(self) -> None:
        started_s = trio.current_time()
        with trio.CancelScope() as self._patient:
            async with self._lane(self._shared.sweep):
                await self._give_way()
                await self._read_once()
        interrupted = self._patient.cancelled_caught
        self._patient = None
        if interrupted:
            return
        is_first, self._was_read = not self._was_read, True
        if is_first:
            self._shared.on_swept(self._life.unit.id)
        # Until it shows that it took a command we look closer; else the sweep's period, counted from the start so that the
        # fleet stays spread.
        proof = self._life.proof
        is_awaited = proof is not None and not proof.is_obeyed
        period_s = min(READ_BACK_S, self._shared.period_s) if is_awaited else self._shared.period_s
        if is_first:
            period_s *= self._phase
        self._next_read_s = max(started_s + period_s, trio.current_time())

    async def _give_way(self) -> None:
        """Telling thousands of units to sleep goes before looking whether the first of them do. At most a lane of units looks."""
        commands = self._shared.broadcast.answering
        with trio.move_on_after(GIVE_WAY_S):
            while commands.statistics().tasks_waiting:  # noqa: ASYNC110 - a limiter has no event for an empty queue
                await trio.sleep(GLANCE_S)

    async def _read_once(self) -> None:
        life = self._life
        try:
            reading = await self._driver.read()
        except UnitError as problem:
            self._is_silent = True
            life.lost(str(problem), trio.current_time())
            return
        self._is_silent = False
        now_s = trio.current_time()
        life.check_identity(self._shared.book.check(life.unit.id, reading.serial), reading.serial is not None, now_s)
        life.saw(reading, now_s)

    def _lane(self, lanes: Lanes) -> trio.CapacityLimiter:
        return lanes.silent if self._is_silent else lanes.answering

    async def _send(self) -> None:
        life, shared = self._life, self._shared
        wanted = life.wanted
        if wanted is not None and not wanted.is_urgent:
            with trio.CancelScope() as self._patient:
                await shared.pace.slot()
            self._patient = None
        async with self._lane(shared.broadcast):
            now_s = trio.current_time()
            # What is wanted may have changed while we waited for our turn.
            level, wanted = life.due_level(now_s), life.wanted
            if level is None or wanted is None:
                return
            life.sent(now_s)
            outcome = await self._driver.set_level(level)
        now_s = trio.current_time()
        life.answered(wanted, outcome, now_s)
        self._next_read_s = now_s + min(READ_BACK_S, shared.period_s)
