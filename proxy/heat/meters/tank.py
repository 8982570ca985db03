"""What the storage tank holds, from temperature sensors over its height: which readings are believed, and the heat they come to.

Pure. Every sensor stands for an equal part of the volume, the first one at the top. One that fails is made up for by its neighbours
and told. More are not, nor water that stands upside down or moved faster than pumps can: then the last good reading counts until it
is stale. Standing still is no fault here: a tank that nobody moves reads the same for hours, and were it not believed for that,
nobody would ever move it again. Not here: registers (modbus), and what to do with the heat (horizon, planner).
"""

import itertools
from collections.abc import Callable, Sequence

from proxy.config import Meter, Planner
from proxy.heat.demand import MeterAccepted, MeterRefused
from proxy.heat.forecast import TankReading
from proxy.heat.meters.guard import HIGHEST_C, LOWEST_C
from proxy.heat.meters.water import WATER_J_PER_KG_K, density_kg_per_l
from proxy.views import MeterView

# So many refusals in a row are a fault, fewer are noise on the line.
REFUSALS_TO_TELL = 3
# Warm water stays above cold. Where it is charged it mixes for minutes, but not by more than this.
INVERSION_K = 10.0
# Content moves with what pumps bring, by so many times the configured power and this part of the capacity (layers pass sensors).
PUMP_FACTOR = 2.0
LAYER = 0.1
# So many readings in a row that agree outvote the one believed before: the configured power was wrong, or the tank was refilled.
OUTVOTE = 3


class TankGauge:
    """The tank of a site that is measured. All methods are plain and never raise for any value; `now_unix_s` is wall time."""

    def __init__(self, meter: Meter, planner: Planner, stale_s: float) -> None:
        """Nothing is known yet. A reading older than `stale_s` is no reading (the planner counts with it for longer)."""
        self.name = meter.name
        self._meter = meter
        self._planner = planner
        self._stale_s = stale_s
        self._begun_unix_s: float | None = None
        self._last: TankReading | None = None
        self._ends_c: tuple[float, float] | None = None
        self._jumped_wh: list[float] = []
        self._failed: tuple[int, ...] = ()
        self._refused_in_row = 0
        self._fault: tuple[str, str] | None = None
        self._failure: str | None = None
        self._readings = self._refused = self._failures = 0
        self._listener: Callable[[TankReading, float], object] = lambda reading, now_unix_s: None

    def listen(self, listener: Callable[[TankReading, float], object]) -> None:
        """Have every believed reading told to `listener`, with the time of now."""
        self._listener = listener

    def take(self, at_unix_s: float, sensors_c: Sequence[float | None], now_unix_s: float) -> MeterAccepted | MeterRefused:
        """Believe a reading, or refuse it with reason and remedy. Sensors from the top down, None where one gives nothing."""
        self._begin(now_unix_s)
        self._failure = None
        filled_c = _filled(sensors_c)
        if filled_c is None:
            bad = ", ".join(str(k + 1) for k in _failed(sensors_c))
            return self._refuse(
                "impossible", f"sensors {bad} of {len(sensors_c)} give no temperature", "check their wiring and scale"
            )
        upside_down = [k for k, (upper_c, lower_c) in enumerate(itertools.pairwise(filled_c)) if lower_c - upper_c > INVERSION_K]
        if upside_down:
            k = upside_down[0]
            reason = f"sensor {k + 2} is {filled_c[k + 1] - filled_c[k]:.0f} K warmer than sensor {k + 1} above it"
            return self._refuse("lying", reason, "name the registers from the top of the tank down, and check both sensors")
        content_wh = min(_content_wh(filled_c, self._planner), self._planner.tank_capacity_wh)
        last = self._last
        if last is not None and at_unix_s <= last.at_unix_s <= now_unix_s:
            return self._refuse("order", "the reading is not newer than the last one", "send readings in order, each once")
        if last is not None and now_unix_s - last.at_unix_s < self._stale_s and not self._can_follow(last, at_unix_s, content_wh):
            reason = f"the content jumps from {last.content_wh / 1000:,.1f} to {content_wh / 1000:,.1f} kWh"
            return self._refuse("jumping", reason, "if it is true, the next readings will say so too and be believed")
        self._last = TankReading(at_unix_s, content_wh)
        self._ends_c = filled_c[0], filled_c[-1]
        self._failed = _failed(sensors_c)
        self._jumped_wh, self._fault, self._refused_in_row = [], None, 0
        self._readings += 1
        self._listener(self._last, now_unix_s)
        return MeterAccepted(at_unix_s, content_wh)

    def fail(self, reason: str, now_unix_s: float) -> None:
        """It was asked and gave no usable answer."""
        self._begin(now_unix_s)
        self._failure = reason
        self._failures += 1

    def state(self, now_unix_s: float) -> tuple[str, str] | None:
        """Kind and reason why it is not believed now; None: it is, or was just started."""
        self._begin(now_unix_s)
        if self._fault is not None and self._refused_in_row >= REFUSALS_TO_TELL and self._fault[0] != "order":
            kind, reason = self._fault
            return ("lying" if kind == "impossible" else kind), reason
        since_s = now_unix_s - (self._last.at_unix_s if self._last is not None else self._begun_unix_s or now_unix_s)
        if since_s < self._stale_s:
            return None
        why = self._failure or (self._fault[1] if self._fault is not None else "nothing came")
        return "lost", f"no good reading for {since_s:,.0f} s ({why})"

    def troubles(self, now_unix_s: float) -> list[tuple[str, str, str]]:
        """What people should look at: subject, kind and reason; a failed sensor too, while its neighbours stand in for it."""
        found = self.state(now_unix_s)
        if found is not None:
            return [(f"meter {self.name}", *found)]
        return [
            (f"meter {self.name}, sensor {k + 1}", "lost", "it gives no temperature, its neighbours stand in; check its wiring")
            for k in self._failed
        ]

    def view(self, now_unix_s: float) -> MeterView:
        """For people: its energy is what the tank holds, supply and return are its top and its bottom."""
        found = self.state(now_unix_s)
        last = self._last
        fresh = last if last is not None and now_unix_s - last.at_unix_s < self._stale_s else None
        return MeterView(
            name=self.name,
            place=self._meter.place,
            measures="tank",
            protocol=self._meter.protocol,
            state=found[0] if found is not None else "waiting" if fresh is None else "ok",
            reason=None if found is None else found[1],
            is_used=fresh is not None and found is None,
            age_s=None if last is None else max(0.0, now_unix_s - last.at_unix_s),
            power_w=None,
            supply_c=None if fresh is None or self._ends_c is None else self._ends_c[0],
            return_c=None if fresh is None or self._ends_c is None else self._ends_c[1],
            flow_l_per_min=None,
            energy_wh=None if fresh is None else fresh.content_wh,
            readings=self._readings,
            refused=self._refused,
            failures=self._failures,
        )

    def _begin(self, now_unix_s: float) -> None:
        if self._begun_unix_s is None:
            self._begun_unix_s = now_unix_s

    def _can_follow(self, last: TankReading, at_unix_s: float, content_wh: float) -> bool:
        planner = self._planner
        pumped_wh = PUMP_FACTOR * planner.tank_max_charge_w * max(at_unix_s - last.at_unix_s, 0.0) / 3600
        layer_wh = LAYER * planner.tank_capacity_wh
        if abs(content_wh - last.content_wh) <= pumped_wh + layer_wh:
            return True
        self._jumped_wh = [*self._jumped_wh, content_wh][-OUTVOTE:]
        return len(self._jumped_wh) == OUTVOTE and max(self._jumped_wh) - min(self._jumped_wh) <= layer_wh

    def _refuse(self, kind: str, reason: str, remedy: str) -> MeterRefused:
        self._fault = kind, f"{reason}; {remedy}"
        self._refused += 1
        self._refused_in_row += 1
        return MeterRefused(422, reason, remedy)


def _failed(sensors_c: Sequence[float | None]) -> tuple[int, ...]:
    """Positions of sensors without a possible temperature."""
    return tuple(k for k, c in enumerate(sensors_c) if c is None or not LOWEST_C <= c <= HIGHEST_C)


def _filled(sensors_c: Sequence[float | None]) -> list[float] | None:
    """Every sensor's temperature, one of at least three made up for by its neighbours; None where too many fail."""
    failed = _failed(sensors_c)
    if len(failed) > (1 if len(sensors_c) > 2 else 0) or not sensors_c:
        return None
    filled: list[float] = []
    for k, c in enumerate(sensors_c):
        beside = [sensors_c[j] for j in (k - 1, k + 1) if 0 <= j < len(sensors_c)] if k in failed else [c]
        known = [each for each in beside if each is not None]
        filled.append(sum(known) / len(known))
    return filled


def _content_wh(sensors_c: Sequence[float], planner: Planner) -> float:
    """Heat above the temperature at which the tank counts as empty."""
    litres = (planner.tank_volume_m3 or 0.0) * 1_000.0 / len(sensors_c)
    empty_c = planner.tank_empty_c or 0.0
    joules = sum(litres * density_kg_per_l(c) * WATER_J_PER_KG_K * max(0.0, c - empty_c) for c in sensors_c)
    return joules / 3_600.0
