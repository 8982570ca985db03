"""The district-heating company of the twin: how much heat a town wants over a winter day, and the client that asks for it.

`LoadCurve` is pure. `Utility` talks to the product's public HTTP API like any utility's gateway would, with a key, a sequence and a
validity, and keeps what it was answered. It meters nothing itself: a meter reading is handed to it.
"""

import math
import random

import msgspec

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
