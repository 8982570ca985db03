"""Minutes of metering: powers, counters and facts of one moment, held until the next and added up into records for settlement.

Pure. A minute is cut where knowledge changes, so that a record never mixes known and unknown time; a restart loses at most the open
minute, and a pause (the process slept, the clock jumped) is left out. What the minutes mean is `settlement`'s business.
"""

from collections.abc import Mapping

import msgspec

from proxy.heat.spans import CounterPoint
from proxy.ledger.records import MeteringRecord

MINUTE_S = 60.0
# Two looks further apart than this: what was seen first no longer holds.
MAX_GAP_S = 30.0


class Look(msgspec.Struct, frozen=True, gc=False):
    """What one look at one scope found, in watts; None is unknown.

    held_w: heat asked for outside any demand's window. supply: whether the supply temperature is as asked, None where none is asked
    or measured. available: part of the installed power that could run.
    """

    heat_w: float | None
    heat_quality: str
    heat_counter: CounterPoint | None
    electric_w: float | None
    electric_quality: str
    electric_counter: CounterPoint | None
    reported_w: float | None
    held_w: float | None
    supply: bool | None
    available: float

    @property
    def knowledge(self) -> tuple[object, ...]:
        """What must not change within one record."""
        known = (self.heat_w, self.electric_w, self.reported_w, self.held_w)
        return (*(value is None for value in known), self.heat_quality, self.electric_quality)


class Minutes(msgspec.Struct):
    """The open minute of one scope, and the look that holds."""

    scope: str
    look: Look | None = None
    start_unix_s: float = 0.0
    end_unix_s: float = 0.0
    heat_wh: float = 0.0
    electric_wh: float = 0.0
    reported_wh: float = 0.0
    held_wh: float = 0.0
    supply_asked_s: float = 0.0
    supply_kept_s: float = 0.0
    available_s: float = 0.0

    def add(self, look: Look, now_unix_s: float) -> list[MeteringRecord]:
        """Let the look before hold until now, and `look` from now on; the records that were completed on the way."""
        before = self.look
        done: list[MeteringRecord] = []
        if before is None or not 0.0 <= now_unix_s - self.end_unix_s <= MAX_GAP_S:
            done = self.close()
            self._open(now_unix_s)
        else:
            while self.end_unix_s < now_unix_s:
                minute_end = (self.end_unix_s // MINUTE_S + 1) * MINUTE_S
                self._hold(before, min(minute_end, now_unix_s))
                if self.end_unix_s == minute_end:
                    # The counters just read are nearer to the border than those of the look before.
                    done += self._record(before, look)
            if before.knowledge != look.knowledge:
                done += self._record(before, look)
        self.look = look
        return done

    def close(self) -> list[MeteringRecord]:
        """The record of the open minute, as far as it got; nothing is open after it."""
        done = [] if self.look is None else self._record(self.look, self.look)
        self.look = None
        return done

    def _open(self, at_unix_s: float) -> None:
        self.start_unix_s = self.end_unix_s = at_unix_s
        self.heat_wh = self.electric_wh = self.reported_wh = self.held_wh = 0.0
        self.supply_asked_s = self.supply_kept_s = self.available_s = 0.0

    def _hold(self, look: Look, until: float) -> None:
        seconds = until - self.end_unix_s
        hours = seconds / 3_600.0
        self.heat_wh += (look.heat_w or 0.0) * hours
        self.electric_wh += (look.electric_w or 0.0) * hours
        self.reported_wh += (look.reported_w or 0.0) * hours
        self.held_wh += (look.held_w or 0.0) * hours
        if look.supply is not None:
            self.supply_asked_s += seconds
            self.supply_kept_s += seconds if look.supply else 0.0
        self.available_s += look.available * seconds
        self.end_unix_s = until

    def _record(self, held: Look, latest: Look) -> list[MeteringRecord]:
        if self.end_unix_s <= self.start_unix_s:
            return []
        heat, electric = latest.heat_counter, latest.electric_counter
        record = MeteringRecord(
            scope=self.scope,
            start_unix_s=self.start_unix_s,
            end_unix_s=self.end_unix_s,
            heat_wh=None if held.heat_w is None else self.heat_wh,
            heat_quality=held.heat_quality,
            heat_meter=None if heat is None else heat.meter,
            heat_register_wh=None if heat is None else heat.wh,
            heat_register_unix_s=None if heat is None else heat.at_unix_s,
            electric_wh=None if held.electric_w is None else self.electric_wh,
            electric_quality=held.electric_quality,
            electric_meter=None if electric is None else electric.meter,
            electric_register_wh=None if electric is None else electric.wh,
            electric_register_unix_s=None if electric is None else electric.at_unix_s,
            reported_wh=None if held.reported_w is None else self.reported_wh,
            held_wh=None if held.held_w is None else self.held_wh,
            supply_asked_s=self.supply_asked_s,
            supply_kept_s=self.supply_kept_s,
            available_s=self.available_s,
        )
        self._open(self.end_unix_s)
        return [record]


class UnitEnergy(msgspec.Struct):
    """Telemetry of single units added up over a period: what is learnt from. Seconds known, and watt hours in them."""

    last_unix_s: float | None = None
    power_w: dict[str, float] = {}
    sums: dict[int, dict[str, tuple[float, float]]] = {}

    def add(self, power_w: Mapping[str, float], now_unix_s: float, period_s: int) -> None:
        """Let the powers before hold until now. Only the newest two periods are kept."""
        last = self.last_unix_s
        if last is not None and 0.0 < now_unix_s - last <= MAX_GAP_S:
            start = int(last // period_s) * period_s
            known = self.sums.setdefault(start, {})
            seconds = now_unix_s - last
            for unit, watts in self.power_w.items():
                wh, length = known.get(unit, (0.0, 0.0))
                known[unit] = wh + watts * seconds / 3_600.0, length + seconds
            for old in sorted(self.sums)[:-2]:
                del self.sums[old]
        self.last_unix_s, self.power_w = now_unix_s, dict(power_w)
