"""The water side of the twin: hydraulic loops, their exchangers, and the heat meter at the site's boundary.

Each loop has a hot and a cold node; units heat the water between them, an exchanger hands heat to the district network. The
network's flow is constant, as its customers draw, opened by a self-acting valve as the loop gets warmer, or pumped so that the
supply temperature is held. Pumps fail and exchangers foul. Pure: time steps and chance are arguments. It controls no unit and
knows none.
"""

import math
import random
from collections import deque
from typing import Literal

import msgspec

WATER_J_PER_KG_K = 4_186.0
WATER_KG_PER_L = 0.985  # at about 55 C
# Integration step before scaling. The fastest lag (the meter, 10 s) is twice that; larger steps would make it ring.
_STEP_S = 5.0
_HOT_PART = 0.6  # of a loop's thermal mass; the cold node has the rest
# What still circulates by itself when a pump stands.
NATURAL_FLOW = 0.02
LEAST_NETWORK_FLOW, MOST_NETWORK_FLOW = 0.05, 1.3  # of nominal
# The network's pump, where it holds the supply temperature: part of nominal flow for each K, and its integral time, which is beyond
# the lag of a loop (some 400 s): a faster one lets the heat ring for half an hour after each step, and no site is left like that.
_PUMP_GAIN_PER_K = 0.04
_PUMP_INTEGRAL_S = 600.0
_LEAST_SPREAD_K = 5.0  # customers draw no more flow for water that is cooler than this above the return


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
    network: Literal["valve", "constant", "supply", "load"] = "valve"
    sizes: tuple[int, ...] | None = None  # units of each loop, where they are not all units_per_loop


class LoopState(msgspec.Struct):
    """One loop now. heat_w is what its exchanger hands over.

    pump: its flow as part of design; exchanger: its UA as part of clean. Both may be set from outside.
    """

    hot_c: float
    cold_c: float
    heat_w: float
    network_w_per_k: float
    units: int
    pump: float = 1.0
    exchanger: float = 1.0
    network_integral: float = 1.0


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
        # Of one unit; a loop has as many of each as it has units.
        self._unit_flow_w_per_k = spec.flow_l_per_min / 60.0 * WATER_KG_PER_L * WATER_J_PER_KG_K
        self._unit_exchanger_w_per_k = spec.unit_power_w / spec.approach_k
        self._unit_network_w_per_k = spec.unit_power_w / (spec.nominal_supply_c - spec.return_c)
        self._unit_mass_j_per_k = spec.mass_kg * WATER_J_PER_KG_K / time_scale
        self._step_s = _STEP_S / time_scale
        self.return_c = spec.return_c  # of the network; may be moved
        self._drawn_part = 1.0  # of nominal flow, with network "load"
        self.load_w = power_w * spec.efficiency  # what the network's customers draw, with network "load"
        self.supply_set_c = spec.nominal_supply_c  # what the network's pump holds, with network "supply"
        sizes = spec.sizes or (spec.units_per_loop,) * len(spec.loops)
        each_w = power_w * spec.efficiency / sum(sizes)
        self.loops = {name: self._settled(each_w * units, units) for name, units in zip(spec.loops, sizes, strict=True)}
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
        state = self.loops[loop]
        return state.cold_c, state.cold_c + unit_power_w * self.spec.efficiency * state.units / self._flow_w_per_k(state)

    def read_meter(self, rng: random.Random) -> MeterSample:
        """The boundary meter now: first-order lag, noise of `meter_noise` (relative, one sigma)."""
        noise = 1.0 + self.spec.meter_noise * rng.gauss(0.0, 1.0)
        return MeterSample(self._metered_w * noise, self.supply_c, self.return_c, self.delivered_j / 3_600.0)

    @property
    def metered_w(self) -> float:
        """What the boundary meter shows, without noise."""
        return self._metered_w

    @property
    def delivered_w(self) -> float:
        """Heat at the boundary now, without the meter's lag and noise."""
        return self._in_pipe[0]

    @property
    def stored_j(self) -> float:
        """Heat in the water above the network's return temperature (for the energy balance)."""
        return sum(
            loop.units
            * self._unit_mass_j_per_k
            * (_HOT_PART * (loop.hot_c - self.spec.return_c) + (1.0 - _HOT_PART) * (loop.cold_c - self.spec.return_c))
            for loop in self.loops.values()
        )

    @property
    def in_pipe_j(self) -> float:
        """Heat that left the exchangers and has not passed the boundary meter yet."""
        return sum(self._in_pipe) * self._step_s

    def loop_heat_w(self, loop: str) -> float:
        """Heat that a loop's water carries from its units to its exchanger."""
        state = self.loops[loop]
        return self._flow_w_per_k(state) * (state.hot_c - state.cold_c)

    def loop_flow_l_per_min(self, loop: str) -> float:
        """Water that circulates through a loop's units."""
        state = self.loops[loop]
        return self.spec.flow_l_per_min * state.units * max(state.pump, NATURAL_FLOW)

    def _step(self, step_s: float, power_w: dict[str, float]) -> None:
        if self.spec.network == "load":
            self._draw()
        for name, loop in self.loops.items():
            mass_j_per_k = loop.units * self._unit_mass_j_per_k
            heating_w = power_w.get(name, 0.0) * self.spec.efficiency
            carried_w = self._flow_w_per_k(loop) * (loop.hot_c - loop.cold_c)
            loop.network_w_per_k = self._network(loop, step_s)
            loop.heat_w = self._exchanger(loop, loop.network_w_per_k)
            loop.hot_c += (heating_w - carried_w) * step_s / (_HOT_PART * mass_j_per_k)
            loop.cold_c += (carried_w - loop.heat_w) * step_s / ((1.0 - _HOT_PART) * mass_j_per_k)
            self.input_j += heating_w * step_s
        self._in_pipe.append(self._exchanged_w())
        self.exchanged_j += self._in_pipe[-1] * step_s
        arriving_w = self._in_pipe.popleft()
        self.delivered_j += arriving_w * step_s
        lag_s = self.spec.meter_lag_s / self._scale
        self._metered_w += (arriving_w - self._metered_w) * (1.0 - math.exp(-step_s / lag_s))

    def _draw(self) -> None:
        """The customers' valves open until they have what they draw, the colder the water the more.

        Their flow is shared by the loops whose own pumps run: one that makes more heat than the others gets warmer and gives more.
        """
        running = [loop for loop in self.loops.values() if loop.pump > NATURAL_FLOW]
        if running:
            spread_k = sum(loop.heat_w for loop in running) / sum(loop.network_w_per_k for loop in running)
            flow_w_per_k = self.load_w / max(spread_k, _LEAST_SPREAD_K)
            self._drawn_part = flow_w_per_k / (sum(loop.units for loop in running) * self._unit_network_w_per_k)

    def _flow_w_per_k(self, loop: LoopState) -> float:
        return loop.units * self._unit_flow_w_per_k * max(loop.pump, NATURAL_FLOW)

    def _network(self, loop: LoopState, step_s: float) -> float:
        """Heat capacity flow of the network through one exchanger, never shut, at most 30 % above nominal."""
        if self.spec.network == "constant":
            part = 1.0
        elif self.spec.network == "load":
            part = self._drawn_part if loop.pump > NATURAL_FLOW else 0.0
        elif self.spec.network == "valve":
            part = (loop.hot_c - self.spec.valve_closed_c) / (self.spec.valve_open_c - self.spec.valve_closed_c)
        else:
            above_k = self.return_c + loop.heat_w / loop.network_w_per_k - self.supply_set_c
            moved = loop.network_integral + _PUMP_GAIN_PER_K * above_k * step_s * self._scale / _PUMP_INTEGRAL_S
            loop.network_integral = min(max(moved, LEAST_NETWORK_FLOW), MOST_NETWORK_FLOW)
            part = loop.network_integral + _PUMP_GAIN_PER_K * above_k
        return loop.units * self._unit_network_w_per_k * min(max(part, LEAST_NETWORK_FLOW), MOST_NETWORK_FLOW)

    def _exchanger(self, loop: LoopState, network_w_per_k: float) -> float:
        """Counter-flow, effectiveness-NTU method; heat never flows back into the loop."""
        least, most = sorted((network_w_per_k, self._flow_w_per_k(loop)))
        ratio, transfer_units = least / most, loop.units * self._unit_exchanger_w_per_k * loop.exchanger / least
        if ratio > 0.999:  # the general formula is 0/0 there
            effectiveness = transfer_units / (1.0 + transfer_units)
        else:
            decay = math.exp(-transfer_units * (1.0 - ratio))
            effectiveness = (1.0 - decay) / (1.0 - ratio * decay)
        return max(0.0, effectiveness * least * (loop.hot_c - self.return_c))

    def _settled(self, heat_w: float, units: int) -> LoopState:
        """The steady state in which one loop hands over `heat_w`: bisection on the hot node, which heat rises with."""
        low_c, high_c = self.spec.return_c, 150.0
        loop = LoopState(high_c, low_c, heat_w, units * self._unit_network_w_per_k, units)
        for _ in range(60):
            loop.hot_c = (low_c + high_c) / 2.0
            loop.network_w_per_k = self._settled_network(loop, heat_w)
            if self._exchanger(loop, loop.network_w_per_k) < heat_w:
                low_c = loop.hot_c
            else:
                high_c = loop.hot_c
        loop.hot_c = high_c
        loop.network_w_per_k = self._settled_network(loop, heat_w)
        loop.cold_c = high_c - heat_w / self._flow_w_per_k(loop)
        loop.network_integral = loop.network_w_per_k / (units * self._unit_network_w_per_k)
        return loop

    def _settled_network(self, loop: LoopState, heat_w: float) -> float:
        if self.spec.network not in ("supply", "load"):
            return self._network(loop, 0.0)
        nominal = loop.units * self._unit_network_w_per_k
        return min(max(heat_w / (self.supply_set_c - self.return_c), LEAST_NETWORK_FLOW * nominal), MOST_NETWORK_FLOW * nominal)

    def _exchanged_w(self) -> float:
        return sum(loop.heat_w for loop in self.loops.values())

    @property
    def supply_c(self) -> float:
        """Mixed supply temperature of the network, from its energy balance over all exchangers."""
        flow_w_per_k = sum(loop.network_w_per_k for loop in self.loops.values())
        return self.return_c + self._exchanged_w() / flow_w_per_k
