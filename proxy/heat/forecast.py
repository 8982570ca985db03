"""What others say of the time ahead: prices, the demand schedule, the outdoor temperature, and what the storage tank holds now.

Pure. Each is judged as it comes, kept until it expires and replaced by a newer one; a refused one changes nothing. Unknown is None
and stays so: nothing is filled in here. Not here: decoding (signals/forecasts), and what follows from it (horizon, planner).
"""

import math
from collections.abc import Callable, Mapping

import msgspec

# A week in steps of five minutes.
MAX_VALUES = 2_016
SHORTEST_STEP_S, LONGEST_STEP_S = 60.0, 86_400.0
# Nobody knows more than two weeks ahead; further is a mistake in a time.
FURTHEST_S = 14 * 86_400.0
# As the ranges of [heat.costs]: a price beyond them is one of a MWh, or of a PH/s.
MAX_ELECTRICITY_PER_KWH = 10.0
MAX_WORK_PER_TH_DAY = 100.0
LOWEST_OUTDOOR_C, HIGHEST_OUTDOOR_C = -60.0, 60.0
# A demand of more than this many times the installed capacity is a mistake of units.
ABSURD_FACTOR = 2.0
ABSURD_POWER_W = 1e9
# Sensors of a full tank read a little more than its usable heat.
OVERFULL = 1.05


class Series(msgspec.Struct, frozen=True):
    """Values that hold for `step_s` each, from `start_unix_s` on; None where unknown."""

    start_unix_s: float
    step_s: float
    values: tuple[float | None, ...]

    @property
    def end_unix_s(self) -> float:
        """When the last value ends."""
        return self.start_unix_s + self.step_s * len(self.values)

    def mean(self, start_unix_s: float, end_unix_s: float) -> float | None:
        """Mean over a stretch of time, None when any part of it is unknown."""
        if start_unix_s < self.start_unix_s or end_unix_s > self.end_unix_s or end_unix_s <= start_unix_s:
            return None
        first = int((start_unix_s - self.start_unix_s) // self.step_s)
        total = 0.0
        for position in range(first, len(self.values)):
            begin = self.start_unix_s + position * self.step_s
            length_s = min(end_unix_s, begin + self.step_s) - max(start_unix_s, begin)
            if length_s <= 0:
                break
            value = self.values[position]
            if value is None:
                return None
            total += value * length_s
        return total / (end_unix_s - start_unix_s)


class Sent(msgspec.Struct, frozen=True):
    """One message with forecasts, decoded. A series that is None is left as it was; one without values is taken away."""

    issued_unix_s: float
    valid_until_unix_s: float | None
    electricity_per_kwh: Series | None = None
    work_per_th_day: Series | None = None
    demand_w: Series | None = None
    outdoor_c: Series | None = None


class TankReading(msgspec.Struct, frozen=True, gc=False):
    """What the tank holds, usable heat above its empty state."""

    at_unix_s: float
    content_wh: float


class ForecastTaken(msgspec.Struct, frozen=True, gc=False):
    """The message was taken. What is known now: until when each series reaches (None: there is none)."""

    electricity_until_unix_s: float | None
    work_until_unix_s: float | None
    demand_until_unix_s: float | None
    outdoor_until_unix_s: float | None


class TankTaken(msgspec.Struct, frozen=True, gc=False):
    """The reading was taken and holds until `valid_until_unix_s`."""

    content_wh: float
    valid_until_unix_s: float


class ForecastRefused(msgspec.Struct, frozen=True, gc=False):
    """Nothing was taken. `code` has the meaning of the HTTP status of that number."""

    code: int
    reason: str
    remedy: str


class Limits(msgspec.Struct, frozen=True, gc=False):
    """What a message must fit. `capacity_w` is the installed heat, `tank_capacity_wh` 0 without a tank."""

    capacity_w: float
    max_clock_skew_s: float
    tank_capacity_wh: float
    tank_stale_s: float


class Kept(msgspec.Struct, frozen=True):
    """A series that was believed, and until when it holds."""

    series: Series
    issued_unix_s: float
    valid_until_unix_s: float


_KINDS: dict[str, tuple[str, Callable[[float, Limits], bool], str]] = {
    "electricity_per_kwh": (
        "electricity price",
        lambda value, _: abs(value) <= MAX_ELECTRICITY_PER_KWH,
        f"a price of a kWh between -{MAX_ELECTRICITY_PER_KWH:g} and {MAX_ELECTRICITY_PER_KWH:g}: divide a price of a MWh by 1000",
    ),
    "work_per_th_day": (
        "hash price",
        lambda value, _: 0 <= value <= MAX_WORK_PER_TH_DAY,
        f"what 1 TH/s earns in a day, 0 to {MAX_WORK_PER_TH_DAY:g}: divide a price of a PH/s by 1000",
    ),
    "demand_w": (
        "demand",
        lambda value, limits: 0 <= value <= (limits.capacity_w * ABSURD_FACTOR if limits.capacity_w > 0 else ABSURD_POWER_W),
        "heat in kW, 0 to twice what is installed",
    ),
    "outdoor_c": ("outdoor temperature", lambda value, _: LOWEST_OUTDOOR_C <= value <= HIGHEST_OUTDOOR_C, "degrees Celsius"),
}


class Forecasts:
    """What is known of the time ahead, by kind. All calls are plain and never raise for any value."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._kept: dict[str, Kept] = {}
        self._tank: TankReading | None = None

    def take(self, sent: Sent, now_unix_s: float) -> ForecastTaken | ForecastRefused:
        """Take all series of a message, or none of them."""
        series = {kind: getattr(sent, kind) for kind in _KINDS if getattr(sent, kind) is not None}
        refusal = self._check_times(sent, now_unix_s)
        for kind, given in series.items():
            refusal = refusal or self._check(kind, given, sent, now_unix_s)
        if refusal is not None:
            return refusal
        for kind, given in series.items():
            if given.values:
                until = given.end_unix_s if sent.valid_until_unix_s is None else min(given.end_unix_s, sent.valid_until_unix_s)
                self._kept[kind] = Kept(given, sent.issued_unix_s, until)
            else:
                self._kept.pop(kind, None)
        return self.known(now_unix_s)

    def kept(self) -> dict[str, Kept]:
        """All series by kind, for keeping them over a restart."""
        return dict(self._kept)

    def restore(self, kept: Mapping[str, Kept], now_unix_s: float) -> None:
        """Take up what was kept by an earlier run and has not expired; what could not be sent today is left out."""
        for kind, old in kept.items():
            sent = Sent(old.issued_unix_s, old.valid_until_unix_s)
            if kind in _KINDS and now_unix_s < old.valid_until_unix_s and self._check(kind, old.series, sent, now_unix_s) is None:
                self._kept[kind] = old

    def known(self, now_unix_s: float) -> ForecastTaken:
        """Until when each kind is known."""
        until = [self._until(kind, now_unix_s) for kind in _KINDS]
        return ForecastTaken(*until)

    def take_tank(self, reading: TankReading, now_unix_s: float) -> TankTaken | ForecastRefused:
        """Take a reading of the tank's content."""
        limits = self._limits
        capacity_wh = limits.tank_capacity_wh
        if capacity_wh <= 0:
            return ForecastRefused(409, "this site has no storage tank", "set heat.planner.tank_capacity_wh")
        if not math.isfinite(reading.content_wh) or not 0 <= reading.content_wh <= capacity_wh * OVERFULL:
            return ForecastRefused(
                422,
                f"{reading.content_wh / 1000:,.1f} kWh is no content of a tank of {capacity_wh / 1000:,.1f} kWh",
                "send usable heat in kWh, from 0 to heat.planner.tank_capacity_wh",
            )
        if not math.isfinite(reading.at_unix_s) or reading.at_unix_s > now_unix_s + limits.max_clock_skew_s:
            return ForecastRefused(422, "the reading is from the future", "compare both clocks (NTP)")
        if reading.at_unix_s <= now_unix_s - limits.tank_stale_s:
            age_s = now_unix_s - reading.at_unix_s
            return ForecastRefused(422, f"the reading is {age_s:,.0f} s old", f"send one younger than {limits.tank_stale_s:,.0f} s")
        if self._tank is not None and reading.at_unix_s < self._tank.at_unix_s:
            return ForecastRefused(409, "a newer reading is known already", "send readings in the order of their times")
        kept = TankReading(reading.at_unix_s, min(reading.content_wh, capacity_wh))
        self._tank = kept
        return TankTaken(kept.content_wh, kept.at_unix_s + limits.tank_stale_s)

    def tank_wh(self, now_unix_s: float) -> float | None:
        """What the tank holds by the last reading; None when that is stale or there never was one."""
        if self._tank is None or now_unix_s - self._tank.at_unix_s >= self._limits.tank_stale_s:
            return None
        return self._tank.content_wh

    def mean(self, kind: str, start_unix_s: float, end_unix_s: float, now_unix_s: float) -> float | None:
        """Mean of a kind over a stretch of time; None where it is unknown or expired."""
        kept = self._kept.get(kind)
        if kept is None or now_unix_s >= kept.valid_until_unix_s:
            return None
        return kept.series.mean(start_unix_s, end_unix_s)

    def _until(self, kind: str, now_unix_s: float) -> float | None:
        kept = self._kept.get(kind)
        return None if kept is None or now_unix_s >= kept.valid_until_unix_s else kept.valid_until_unix_s

    def _check_times(self, sent: Sent, now_unix_s: float) -> ForecastRefused | None:
        times = (sent.issued_unix_s, 0.0 if sent.valid_until_unix_s is None else sent.valid_until_unix_s)
        if not all(math.isfinite(moment) for moment in times):
            return ForecastRefused(422, "a time is no number", "send finite numbers")
        if sent.issued_unix_s > now_unix_s + self._limits.max_clock_skew_s:
            return ForecastRefused(422, "it was issued in the future", "compare both clocks (NTP)")
        if sent.valid_until_unix_s is not None and sent.valid_until_unix_s <= now_unix_s:
            return ForecastRefused(422, "it has expired already", "send one that is still valid; compare both clocks (NTP)")
        return None

    def _check(self, kind: str, series: Series, sent: Sent, now_unix_s: float) -> ForecastRefused | None:
        name, is_possible, remedy = _KINDS[kind]
        kept = self._kept.get(kind)
        if kept is not None and sent.issued_unix_s < kept.issued_unix_s:
            return ForecastRefused(409, f"{name}: one issued later is known already", "send forecasts in the order of issued_at")
        if not series.values:
            return None
        problem = _problem_of(series, now_unix_s)
        if problem is not None:
            return ForecastRefused(422, f"{name}: {problem[0]}", problem[1])
        for position, value in enumerate(series.values):
            if value is not None and not (math.isfinite(value) and is_possible(value, self._limits)):
                return ForecastRefused(422, f"{name}: value {position} ({value:g}) cannot be", remedy)
        return None


def _problem_of(series: Series, now_unix_s: float) -> tuple[str, str] | None:
    """What is wrong with the times of a series: reason and remedy."""
    if not math.isfinite(series.start_unix_s) or not math.isfinite(series.step_s):
        return "a time is no number", "send finite numbers"
    if not SHORTEST_STEP_S <= series.step_s <= LONGEST_STEP_S:
        return f"a step of {series.step_s:g} s cannot be", f"step_s is {SHORTEST_STEP_S:g} to {LONGEST_STEP_S:g}"
    if len(series.values) > MAX_VALUES:
        return f"{len(series.values)} values are too many", f"send at most {MAX_VALUES}"
    if series.end_unix_s <= now_unix_s:
        return "it is all in the past", "send one that reaches ahead; compare both clocks (NTP)"
    if series.end_unix_s > now_unix_s + FURTHEST_S:
        return "it reaches too far ahead", f"send at most {FURTHEST_S / 86_400:.0f} days; times are seconds, not milliseconds"
    if all(value is None for value in series.values):
        return "every value is unknown", "leave it out, or send no values to take the old ones away"
    return None
