"""Energy by quarter hour: integrals of demand, heat and electricity between control cycles, cut at UTC quarters.

Pure. It knows no meter counters (powers are integrated) and signs nothing: settlement does, from these records.
"""

import msgspec

from proxy.ledger.records import EnergyRecord

PERIOD_S = 900.0
# Two cycles further apart than this: the process slept or the clock jumped. What flowed meanwhile is not known.
MAX_GAP_S = 300.0


class Powers(msgspec.Struct, frozen=True, gc=False):
    """What holds since the last cycle, in watts; None is unknown. `quality` is of the heat: measured, estimated or unknown."""

    demand_w: float | None
    heat_w: float | None
    quality: str
    electric_w: float | None


class Meter(msgspec.Struct):
    """One open period of one scope. A period begins where knowledge begins, so a restart never overwrites what came before."""

    scope: str
    start_unix_s: float | None = None
    end_unix_s: float = 0.0
    demand_wh: float | None = None
    heat_wh: float | None = None
    electric_wh: float | None = None
    is_estimated: bool = False

    def add(self, powers: Powers, until_unix_s: float) -> list[EnergyRecord]:
        """Integrate `powers` from the last call to now; the periods that were completed on the way."""
        if self.start_unix_s is None:
            self._open(until_unix_s)
            return []
        closed: list[EnergyRecord] = []
        if not 0.0 <= until_unix_s - self.end_unix_s <= MAX_GAP_S:
            closed = self.close()
            self._open(until_unix_s)
            return closed
        while self.end_unix_s < until_unix_s:
            quarter_end = (self.end_unix_s // PERIOD_S + 1) * PERIOD_S
            stop = min(quarter_end, until_unix_s)
            self._integrate(powers, (stop - self.end_unix_s) / 3_600.0)
            self.end_unix_s = stop
            if stop == quarter_end:
                closed += self.close()
                self._open(stop)
        return closed

    def close(self) -> list[EnergyRecord]:
        """The record of the open period, if it has any length; nothing is open after it."""
        if self.start_unix_s is None or self.end_unix_s <= self.start_unix_s:
            return []
        quality = "unknown" if self.heat_wh is None else "estimated" if self.is_estimated else "measured"
        record = EnergyRecord(
            period_start_unix_s=self.start_unix_s,
            period_s=self.end_unix_s - self.start_unix_s,
            scope=self.scope,
            heat_demand_wh=self.demand_wh,
            heat_wh=self.heat_wh,
            quality=quality,
            electric_wh=self.electric_wh,
        )
        self.start_unix_s = None
        return [record]

    def _open(self, at_unix_s: float) -> None:
        self.start_unix_s = self.end_unix_s = at_unix_s
        self.demand_wh = self.heat_wh = self.electric_wh = None
        self.is_estimated = False

    def _integrate(self, powers: Powers, hours: float) -> None:
        self.demand_wh = _plus(self.demand_wh, powers.demand_w, hours)
        self.heat_wh = _plus(self.heat_wh, powers.heat_w, hours)
        self.electric_wh = _plus(self.electric_wh, powers.electric_w, hours)
        self.is_estimated = self.is_estimated or powers.quality != "measured"


def _plus(sum_wh: float | None, power_w: float | None, hours: float) -> float | None:
    return sum_wh if power_w is None else (sum_wh or 0.0) + power_w * hours
