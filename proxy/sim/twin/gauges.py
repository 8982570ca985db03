"""The heat meters of the twin: what they say of the water, with noise and faults, handed to heat control as readings.

Energy counters always rise with the truth unless a fault says otherwise. It judges nothing: that is the meter bank's.
"""

import math
import random
from collections.abc import Callable
from typing import Literal

import msgspec

from proxy.heat.demand import MeterReading
from proxy.sim.plant import WATER_J_PER_KG_K, WATER_KG_PER_L, Plant

GaugeFault = Literal["lost", "stuck", "lying", "jumps", "nonsense"]
# A jumping meter is off by up to this factor now and then.
JUMP = 4.0
JUMP_PART = 0.3


class GaugeTrouble(msgspec.Struct):
    """What is wrong with one meter; None: nothing."""

    kind: GaugeFault | None = None
    factor: float = 1.0


class Gauges:
    """One meter at the boundary (network side), one in each loop (its own water, between units and exchanger)."""

    def __init__(self, plant: Plant, with_loops: bool, rng: random.Random) -> None:
        """`rng` is theirs alone, so that a fault changes no other chance."""
        self._plant = plant
        self._rng = rng
        self.places = ["boundary", *(plant.loops if with_loops else ())]
        self.troubles = {place: GaugeTrouble() for place in ("boundary", *plant.loops)}
        self._last: dict[str, MeterReading] = {}
        self._loop_wh = dict.fromkeys(plant.loops, 0.0)

    def step(self, dt_s: float) -> None:
        """Let the loops' counters run; the boundary's is the plant's."""
        for name in self._plant.loops:
            self._loop_wh[name] += self._plant.loop_heat_w(name) * dt_s / 3_600.0

    def read(self, now_unix_s: float, take: Callable[[str, MeterReading], object]) -> None:
        """Hand every meter's reading to `take`."""
        for place in self.places:
            trouble = self.troubles[place]
            if trouble.kind == "lost":
                continue
            reading = self._last.get(place) if trouble.kind == "stuck" else None
            if reading is None:
                reading = self._true(place, now_unix_s)
                self._last[place] = reading
            else:
                reading = msgspec.structs.replace(reading, at_unix_s=now_unix_s)
            take(place, self._garble(reading, trouble))

    def _true(self, place: str, now_unix_s: float) -> MeterReading:
        plant = self._plant
        noise = 1.0 + plant.spec.meter_noise * self._rng.gauss(0.0, 1.0)
        if place == "boundary":
            heat_w, energy_wh = plant.metered_w, plant.delivered_j / 3_600.0
            supply_c, return_c = plant.supply_c, plant.return_c
            # The calculator multiplies flow by temperatures: it cannot disagree with itself.
            flow_kg_s = heat_w / (WATER_J_PER_KG_K * max(supply_c - return_c, 0.1))
        else:
            loop = plant.loops[place]
            heat_w, energy_wh = plant.loop_heat_w(place), self._loop_wh[place]
            supply_c, return_c = loop.hot_c, loop.cold_c
            flow_kg_s = plant.loop_flow_l_per_min(place) * WATER_KG_PER_L / 60.0
        return MeterReading(
            at_unix_s=now_unix_s,
            heat_w=max(0.0, round(heat_w * noise, 1)),
            supply_c=round(supply_c, 2),
            return_c=round(return_c, 2),
            flow_kg_s=round(max(0.0, flow_kg_s * noise), 4),
            energy_wh=round(energy_wh, 0),
        )

    def _garble(self, reading: MeterReading, trouble: GaugeTrouble) -> MeterReading:
        if trouble.kind == "lying":
            flow_kg_s = None if reading.flow_kg_s is None else reading.flow_kg_s * trouble.factor
            return msgspec.structs.replace(reading, heat_w=reading.heat_w * trouble.factor, flow_kg_s=flow_kg_s)
        if trouble.kind == "jumps" and self._rng.random() < JUMP_PART:
            return msgspec.structs.replace(reading, heat_w=reading.heat_w * self._rng.uniform(0.0, JUMP))
        if trouble.kind == "nonsense":
            return msgspec.structs.replace(reading, heat_w=self._rng.choice((math.nan, -1e6, math.inf, 1e12)))
        return reading
