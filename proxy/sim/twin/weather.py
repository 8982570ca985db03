"""Outdoor temperature, heat load and spot price of the twin's days.

The load follows outdoor temperature and hour as a district's does: heating below 17 C, a morning and an evening peak, a quiet
night. Pure: chance is an argument.
"""

import math
import random
from typing import Annotated

from msgspec import Meta

from proxy.config_base import Table

HEATING_LIMIT_C = 17.0
# No district draws less than this part of its design load: hot water.
LEAST_LOAD = 0.12
_NOISE_STEP_S = 900.0
_NOISE_MEMORY = 0.97


class WeatherSpec(Table, frozen=True, kw_only=True):
    """[weather]: a day of `mean_c`, coldest at three in the night."""

    mean_c: Annotated[float, Meta(ge=-50, le=40, description="mean outdoor temperature")] = -8.0
    swing_k: Annotated[float, Meta(ge=0, le=20, description="by the hour, up and down")] = 5.0
    noise_k: Annotated[float, Meta(ge=0, le=10, description="slow noise, one sigma")] = 0.6
    design_c: Annotated[float, Meta(ge=-50, le=15, description="outdoor temperature of the design heat load")] = -15.0


class PriceSpec(Table, frozen=True, kw_only=True):
    """[prices]: spot price per kWh with two peaks a day."""

    spot_mean: Annotated[float, Meta(ge=-1, le=10, description="around which it moves")] = 0.045
    spot_swing: Annotated[float, Meta(ge=0, le=10, description="of the peaks")] = 0.02
    spot_noise: Annotated[float, Meta(ge=0, le=10, description="by the hour, one sigma")] = 0.004


class Weather:
    """Everything that depends on the day, fixed at the start so that two runs of one seed see the same."""

    def __init__(self, spec: WeatherSpec, prices: PriceSpec, hours: float, rng: random.Random) -> None:
        """Enough for `hours` and two days more (a planner looks ahead)."""
        self.spec = spec
        self.prices = prices
        steps = math.ceil((hours + 49.0) * 3_600.0 / _NOISE_STEP_S) + 2
        kick = math.sqrt(1.0 - _NOISE_MEMORY**2)
        self._noise = [0.0]
        self._price_noise = [0.0]
        for _ in range(steps):
            self._noise.append(_NOISE_MEMORY * self._noise[-1] + kick * rng.gauss(0.0, spec.noise_k))
            self._price_noise.append(rng.gauss(0.0, prices.spot_noise))

    def outdoor_c(self, now_s: float) -> float:
        """Outdoor temperature `now_s` after midnight of the first day."""
        hour = now_s / 3_600.0
        return self.spec.mean_c + self.spec.swing_k * math.cos(2 * math.pi * (hour - 15.0) / 24.0) + _between(self._noise, now_s)

    def load(self, now_s: float) -> float:
        """Heat load as part of the design load."""
        by_cold = (HEATING_LIMIT_C - self.outdoor_c(now_s)) / (HEATING_LIMIT_C - self.spec.design_c)
        hour = (now_s / 3_600.0) % 24.0
        by_hour = 1.0 + 0.10 * _bump(hour, 7.0, 1.3) + 0.07 * _bump(hour, 19.0, 2.0) - 0.08 * _bump(hour, 2.5, 2.0)
        return min(max(by_cold, LEAST_LOAD), 1.0) * by_hour

    def spot_per_kwh(self, now_s: float) -> float:
        """Spot price; constant within an hour."""
        hour = math.floor(now_s / 3_600.0)
        day = hour % 24 + 0.5
        shape = _bump(day, 8.0, 2.0) + 0.9 * _bump(day, 18.5, 2.2) - 0.8 * _bump(day, 3.0, 2.5)
        noise = self._price_noise[min(int(hour * 4), len(self._price_noise) - 1)]
        return self.prices.spot_mean + self.prices.spot_swing * shape + noise


def _bump(hour: float, middle: float, width: float) -> float:
    return math.exp(-(((hour - middle) / width) ** 2))


def _between(noise: list[float], now_s: float) -> float:
    place = max(0.0, now_s / _NOISE_STEP_S)
    k = min(int(place), len(noise) - 2)
    return noise[k] + (place - k) * (noise[k + 1] - noise[k]) if place < len(noise) - 1 else noise[-1]
