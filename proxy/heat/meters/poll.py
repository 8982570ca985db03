"""Asks every configured meter in turn, one task each, and tells people when one is lost, found wrong, or good again.

What a reading is worth is the bank's business. A meter that cannot be reached is asked on: less often, never given up.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import structlog
import trio

from proxy.config import Meter
from proxy.events import EventLog
from proxy.heat.demand import MeterRefused
from proxy.heat.meters.bank import MeterBank, MeterSample, Trouble
from proxy.heat.meters.line import Connect, Line, LineError
from proxy.heat.meters.mbus import MbusReader
from proxy.heat.meters.modbus import ModbusReader

log = structlog.get_logger()

# A meter that does not answer is asked at most so much less often than one that does.
SLOWEST_FACTOR = 8
LONGEST_PAUSE_S = 60.0
# How often the bank is asked what is wrong.
WATCH_PERIOD_S = 5.0


class Reader(Protocol):
    """A meter that can be read."""

    async def read(self, at_unix_s: float) -> MeterSample:
        """Everything it gives now. Raises LineError."""
        ...


class MeterPoller:
    """All meters of a site that are asked by us."""

    def __init__(
        self,
        meters: Sequence[Meter],
        bank: MeterBank,
        events: EventLog,
        wall_clock: Callable[[], float],
        connect: Connect = trio.open_tcp_stream,
    ) -> None:
        """Asks nothing yet. Meters of one address share a line."""
        self._bank = bank
        self._events = events
        self._wall_clock = wall_clock
        self._told: dict[str, Trouble] = {}
        lines: dict[str, Line] = {}
        self._readers: list[tuple[Meter, Reader]] = []
        for meter in meters:
            host, _, port = meter.address.rpartition(":")
            line = lines.setdefault(meter.address, Line(host.strip("[]"), int(port), connect))
            self._readers.append((meter, ModbusReader(meter, line) if meter.protocol == "modbus" else MbusReader(meter, line)))
        self._lines = list(lines.values())

    async def run(self) -> None:
        """Ask until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                for meter, reader in self._readers:
                    nursery.start_soon(self._poll, meter, reader, name=f"meter {meter.name}")
                nursery.start_soon(self._watch, name="meters")
        finally:
            with trio.move_on_after(1) as scope:
                scope.shield = True
                for line in self._lines:
                    await line.close()

    async def _poll(self, meter: Meter, reader: Reader) -> None:
        pause_s = meter.period_s
        due_s = trio.current_time()
        while True:
            is_answered = await self._ask(meter, reader)
            slowest_s = max(meter.period_s, min(SLOWEST_FACTOR * meter.period_s, LONGEST_PAUSE_S))
            pause_s = meter.period_s if is_answered else min(2 * pause_s, slowest_s)
            due_s = max(due_s + pause_s, trio.current_time())
            await trio.sleep_until(due_s)

    async def _ask(self, meter: Meter, reader: Reader) -> bool:
        """Whether it answered, believed or not."""
        try:
            sample = await reader.read(self._wall_clock())
        except LineError as error:
            self._bank.fail(meter.name, str(error), self._wall_clock())
            return False
        except Exception:
            # A bug in one meter's decoding must not take the others with it.
            log.exception("meter.bug", meter=meter.name)
            self._bank.fail(meter.name, "its answer cannot be decoded (see the log)", self._wall_clock())
            return False
        answer = self._bank.take_sample(meter.name, sample, self._wall_clock())
        if isinstance(answer, MeterRefused):
            log.debug("meter.refused", meter=meter.name, reason=answer.reason)
        return True

    async def _watch(self) -> None:
        while True:
            self.tell()
            await trio.sleep(WATCH_PERIOD_S)

    def tell(self) -> None:
        """Publish what changed since the last call: `meter.failed` and `meter.recovered`."""
        standing = {trouble.subject: trouble for trouble in self._bank.troubles(self._wall_clock())}
        for subject, trouble in standing.items():
            if subject not in self._told or self._told[subject].kind != trouble.kind:
                self._events.publish("meter.failed", "warning", subject=subject, kind=trouble.kind, reason=trouble.reason)
        for subject in self._told:
            if subject not in standing:
                self._events.publish("meter.recovered", subject=subject)
        self._told = standing
