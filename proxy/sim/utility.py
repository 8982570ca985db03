"""The district-heating company of the twin: how much heat a town wants over a winter day, and the client that asks for it.

`LoadCurve` is pure. `Utility` talks to the product's public HTTP API like any utility's gateway would, with a key, a sequence and a
validity, and keeps what it was answered. It meters nothing itself: a meter reading is handed to it.
"""

import math
import random
from collections import deque
from collections.abc import Callable

import msgspec
import trio

from proxy.sim.plant import MeterSample
from proxy.sim.site_client import SiteClient

# Hours of the day's two peaks and of its valley, with part and width (hours): showers, evening, night setback.
_SHAPE = ((7.0, 0.10, 1.3), (19.0, 0.07, 2.0), (2.5, -0.08, 2.0))
_WARMEST_HOUR = 15.0


class LoadCurve(msgspec.Struct, frozen=True, kw_only=True):
    """Heat load of a town: linear in outdoor temperature (degree-hours to 17 C), shaped by the time of day.

    capacity_w: thermal load at the design temperature. A clear winter day swings by 9 K about its mean.
    """

    capacity_w: float
    design_c: float = -15.0
    mean_c: float = -3.0
    swing_k: float = 9.0
    least_part: float = 0.12
    heating_limit_c: float = 17.0

    def outdoor_c(self, hour: float) -> float:
        """Outdoor temperature at this hour (0..24, wraps), without weather noise."""
        return self.mean_c + self.swing_k * math.cos(2.0 * math.pi * (hour - _WARMEST_HOUR) / 24.0)

    def demand_w(self, hour: float, weather_k: float = 0.0) -> float:
        """Thermal demand at this hour; `weather_k` is how much warmer it is than the curve says."""
        cold = (self.heating_limit_c - self.outdoor_c(hour) - weather_k) / (self.heating_limit_c - self.design_c)
        part = min(max(cold, self.least_part), 1.0)
        shape = 1.0 + sum(height * math.exp(-((_hours_apart(hour, at) / width) ** 2)) for at, height, width in _SHAPE)
        return min(self.capacity_w * part * shape, self.capacity_w)


class Weather:
    """First-order autoregressive noise on the outdoor temperature: one `step` a set-point."""

    def __init__(self, rng: random.Random, sigma_k: float = 0.5, memory: float = 0.9) -> None:
        self._rng = rng
        self._sigma_k = sigma_k
        self._memory = memory
        self.now_k = 0.0

    def step(self) -> float:
        """The next value, K; its standard deviation in the long run is sigma_k, and it never leaves three of them."""
        kick = self._sigma_k * math.sqrt(1.0 - self._memory**2)
        value = self._memory * self.now_k + kick * self._rng.gauss(0.0, 1.0)
        self.now_k = min(max(value, -3.0 * self._sigma_k), 3.0 * self._sigma_k)
        return self.now_k


def _hours_apart(hour: float, other: float) -> float:
    """Around the clock: 23 and 1 are two hours apart."""
    apart = abs(hour - other) % 24.0
    return min(apart, 24.0 - apart)


class UtilitySpec(msgspec.Struct, frozen=True, kw_only=True):
    """How the utility works. Seconds are of the clock, not of the plant's faster life; start_hour is an hour of the day."""

    start_hour: float
    time_scale: float
    setpoint_s: float
    meter_s: float
    validity_s: float
    retry_s: float = 1.0


class Utility:
    """Asks for heat and hands over meter readings, over HTTP, until cancelled. What it asked and was refused can be read here."""

    def __init__(
        self,
        spec: UtilitySpec,
        client: SiteClient,
        curve: LoadCurve,
        read_meter: Callable[[], MeterSample],
        rng: random.Random,
        wall_clock: Callable[[], float],
    ) -> None:
        self.spec = spec
        self.demand_w: float | None = None  # the last one that was taken
        self.demands_sent = 0
        self.refused = 0
        self.refusals: deque[str] = deque(maxlen=20)
        self.meter_refusals: deque[str] = deque(maxlen=20)
        self._client = client
        self._curve = curve
        self._read_meter = read_meter
        self._weather = Weather(rng)
        self._wall_clock = wall_clock
        self._began_s: float | None = None
        # A utility that restarts has lost count of its sequence: a new epoch says so.
        self._epoch = int(wall_clock())
        self._sequence = 0

    def hour(self) -> float:
        """The plant's hour of day now, 0..24."""
        lived_s = 0.0 if self._began_s is None else trio.current_time() - self._began_s
        return (self.spec.start_hour + lived_s * self.spec.time_scale / 3_600.0) % 24.0

    def outdoor_c(self) -> float:
        """Outdoor temperature now."""
        return self._curve.outdoor_c(self.hour()) + self._weather.now_k

    async def run_demand(self) -> None:
        """A set-point every `setpoint_s`, repeated until it is taken or the next one is due."""
        self._began_s = due_s = trio.current_time()
        while True:
            due_s += self.spec.setpoint_s
            # What the town needs in the middle of the period the set-point is for.
            middle_hour = self.hour() + self.spec.setpoint_s / 2.0 * self.spec.time_scale / 3_600.0
            power_w = self._curve.demand_w(middle_hour, self._weather.step())
            with trio.move_on_at(due_s):
                await self._ask(power_w)
            await trio.sleep_until(due_s)

    async def run_meter(self) -> None:
        """A meter reading every `meter_s`."""
        while True:
            sample = self._read_meter()
            answer = await self._client.put_meter(
                self._wall_clock(), sample.heat_w, sample.supply_c, sample.return_c, sample.energy_wh
            )
            if not answer.is_ok:
                self.meter_refusals.append(f"{answer.status}: {answer.reason}")
            await trio.sleep(self.spec.meter_s)

    async def _ask(self, power_w: float) -> None:
        """Send one demand until it is taken. A refusal is kept; the next try counts on, so that it is never an old sequence."""
        while True:
            self._sequence += 1
            self.demands_sent += 1
            answer = await self._client.put_demand(self._epoch, self._sequence, power_w, self.spec.validity_s)
            if answer.is_ok:
                self.demand_w = power_w
                return
            self.refused += 1
            self.refusals.append(f"{answer.status}: {answer.reason}")
            await trio.sleep(self.spec.retry_s)
