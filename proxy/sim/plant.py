"""The water side of the twin: hydraulic loops, their exchangers, and the heat meter at the site's boundary.

Each loop has a hot and a cold node; units heat the water between them, an exchanger hands heat to the district network, whose flow
a self-acting valve opens as the loop gets warmer. Pure: time steps and chance are arguments. It controls nothing and knows no unit.
"""

import math
import random
from collections import deque

import msgspec

WATER_J_PER_KG_K = 4_186.0
WATER_KG_PER_L = 0.985  # at about 55 C
# Integration step before scaling. The fastest lag (the meter, 10 s) is twice that; larger steps would make it ring.
_STEP_S = 5.0
_HOT_PART = 0.6  # of a loop's thermal mass; the cold node has the rest


class PlantSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A site's water side, before time is scaled.

    efficiency: heat into the water per wall power, the true one (a controller only has a belief). mass_kg: water equivalent of one
    unit's part of the loop. flow_l_per_min: through one unit. approach_k: exchanger's UA is nominal power over this.
    valve_closed_c, valve_open_c: hot node at which the network's flow is least and nominal.
    """

    loops: tuple[str, ...]
    units_per_loop: int
    unit_power_w: float
    efficiency: float = 0.94
    mass_kg: float = 25.0
    flow_l_per_min: float = 8.0
    approach_k: float = 3.0
    return_c: float = 45.0
    nominal_supply_c: float = 75.0
    valve_closed_c: float = 65.0
    valve_open_c: float = 75.0
    pipe_delay_s: float = 30.0
    meter_lag_s: float = 10.0
    meter_noise: float = 0.005


class LoopState(msgspec.Struct):
    """One loop now. heat_w is what its exchanger hands over."""

    hot_c: float
    cold_c: float
    heat_w: float
    network_w_per_k: float


class MeterSample(msgspec.Struct, frozen=True):
    """One look at the boundary meter, noise included. energy_wh is its register since the start, always rising."""

    heat_w: float
    supply_c: float
    return_c: float
    energy_wh: float


class Plant:
    """Advances all loops. `time_scale` divides every thermal mass and lag: the same plant, living so many times faster.

    Power and energy stay in real watts and real seconds, so the energy balance holds whatever the scale.
    """

    def __init__(self, spec: PlantSpec, time_scale: float = 1.0, power_w: float = 0.0) -> None:
        """Starts settled at `power_w` of electrical power for the whole site, spread evenly."""
        self.spec = spec
        self._scale = time_scale
        nominal_w = spec.units_per_loop * spec.unit_power_w
        self._loop_w_per_k = spec.units_per_loop * spec.flow_l_per_min / 60.0 * WATER_KG_PER_L * WATER_J_PER_KG_K
        self._exchanger_w_per_k = nominal_w / spec.approach_k
        self._network_w_per_k = nominal_w / (spec.nominal_supply_c - spec.return_c)
        self._mass_j_per_k = spec.units_per_loop * spec.mass_kg * WATER_J_PER_KG_K / time_scale
        self._step_s = _STEP_S / time_scale
        each_w = power_w * spec.efficiency / len(spec.loops)
        self.loops = {name: self._settled(each_w) for name in spec.loops}
        self._in_pipe: deque[float] = deque([self._exchanged_w()] * max(1, round(spec.pipe_delay_s / _STEP_S)))
        self._metered_w = self._in_pipe[0]
        self._left_over_s = 0.0
        self.input_j = 0.0
        self.exchanged_j = 0.0
        self.delivered_j = 0.0

    def advance(self, dt_s: float, power_w: dict[str, float]) -> None:
        """Let `dt_s` real seconds pass at this electrical power of each loop (a loop not named gets none).

        Time is taken in whole steps; what is left over counts the next time. Raises ValueError for negative time.
        """
        if dt_s < 0:
            raise ValueError(f"time cannot go back by {-dt_s} s")
        self._left_over_s += dt_s
        while self._left_over_s >= self._step_s:
            self._left_over_s -= self._step_s
            self._step(self._step_s, power_w)

    def unit_temperatures_c(self, loop: str, unit_power_w: float) -> tuple[float, float]:
        """(inlet, outlet) of a unit of this loop that draws `unit_power_w`."""
        inlet_c = self.loops[loop].cold_c
        return inlet_c, inlet_c + unit_power_w * self.spec.efficiency * self.spec.units_per_loop / self._loop_w_per_k

    def read_meter(self, rng: random.Random) -> MeterSample:
        """The boundary meter now: first-order lag, noise of `meter_noise` (relative, one sigma)."""
        noise = 1.0 + self.spec.meter_noise * rng.gauss(0.0, 1.0)
        return MeterSample(self._metered_w * noise, self._supply_c(), self.spec.return_c, self.delivered_j / 3_600.0)

    @property
    def delivered_w(self) -> float:
        """Heat at the boundary now, without the meter's lag and noise."""
        return self._in_pipe[0]

    @property
    def stored_j(self) -> float:
        """Heat in the water above the network's return temperature (for the energy balance)."""
        return sum(
            self._mass_j_per_k
            * (_HOT_PART * (loop.hot_c - self.spec.return_c) + (1.0 - _HOT_PART) * (loop.cold_c - self.spec.return_c))
            for loop in self.loops.values()
        )

    @property
    def in_pipe_j(self) -> float:
        """Heat that left the exchangers and has not passed the boundary meter yet."""
        return sum(self._in_pipe) * self._step_s

    def _step(self, step_s: float, power_w: dict[str, float]) -> None:
        for name, loop in self.loops.items():
            heating_w = power_w.get(name, 0.0) * self.spec.efficiency
            carried_w = self._loop_w_per_k * (loop.hot_c - loop.cold_c)
            loop.network_w_per_k = self._valve(loop.hot_c)
            loop.heat_w = self._exchanger(loop.hot_c, loop.network_w_per_k)
            loop.hot_c += (heating_w - carried_w) * step_s / (_HOT_PART * self._mass_j_per_k)
            loop.cold_c += (carried_w - loop.heat_w) * step_s / ((1.0 - _HOT_PART) * self._mass_j_per_k)
            self.input_j += heating_w * step_s
        self._in_pipe.append(self._exchanged_w())
        self.exchanged_j += self._in_pipe[-1] * step_s
        arriving_w = self._in_pipe.popleft()
        self.delivered_j += arriving_w * step_s
        lag_s = self.spec.meter_lag_s / self._scale
        self._metered_w += (arriving_w - self._metered_w) * (1.0 - math.exp(-step_s / lag_s))

    def _valve(self, hot_c: float) -> float:
        """Heat capacity flow of the network through one exchanger: proportional, never shut, at most 30 % above nominal."""
        part = (hot_c - self.spec.valve_closed_c) / (self.spec.valve_open_c - self.spec.valve_closed_c)
        return self._network_w_per_k * min(max(part, 0.05), 1.3)

    def _exchanger(self, hot_c: float, network_w_per_k: float) -> float:
        """Counter-flow, effectiveness-NTU method; heat never flows back into the loop."""
        least, most = sorted((network_w_per_k, self._loop_w_per_k))
        ratio, transfer_units = least / most, self._exchanger_w_per_k / least
        if ratio > 0.999:  # the general formula is 0/0 there
            effectiveness = transfer_units / (1.0 + transfer_units)
        else:
            decay = math.exp(-transfer_units * (1.0 - ratio))
            effectiveness = (1.0 - decay) / (1.0 - ratio * decay)
        return max(0.0, effectiveness * least * (hot_c - self.spec.return_c))

    def _settled(self, heat_w: float) -> LoopState:
        """The steady state in which one loop hands over `heat_w`: bisection on the hot node, which heat rises with."""
        low_c, high_c = self.spec.return_c, 150.0
        for _ in range(60):
            middle_c = (low_c + high_c) / 2.0
            if self._exchanger(middle_c, self._valve(middle_c)) < heat_w:
                low_c = middle_c
            else:
                high_c = middle_c
        return LoopState(high_c, high_c - heat_w / self._loop_w_per_k, heat_w, self._valve(high_c))

    def _exchanged_w(self) -> float:
        return sum(loop.heat_w for loop in self.loops.values())

    def _supply_c(self) -> float:
        """Mixed supply temperature of the network, from its energy balance over all exchangers."""
        flow_w_per_k = sum(loop.network_w_per_k for loop in self.loops.values())
        return self.spec.return_c + self._exchanged_w() / flow_w_per_k
