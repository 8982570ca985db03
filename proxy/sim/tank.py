"""A stratified storage tank between the plant's exchangers and the district network.

Layers of equal volume, hot on top; what the plant circulates and the network does not draw charges it from the top, and the other
way round. Energy is kept exactly. Pure; who charges it when is the planner's business.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from proxy.config_base import Table
from proxy.sim.plant import WATER_J_PER_KG_K

LAYERS = 20
# Water that is warmer than the return by less than this serves nobody.
LEAST_WARMTH_K = 5.0


class TankSpec(Table, frozen=True, kw_only=True):
    """[tank]: between the plant and the network."""

    volume_m3: Annotated[float, Meta(gt=0, le=100_000, description="of water")]
    loss_per_day: Annotated[float, Meta(ge=0, le=1, description="part of its content lost in a day")] = 0.02
    max_discharge_w: Annotated[float, Meta(gt=0, description="out of it, by its pipes and pumps")] = 1e9
    start_part: Annotated[float, Meta(ge=0, le=1, description="of its layers that are hot at the start")] = 0.5


class TankFlow(msgspec.Struct, frozen=True, gc=False):
    """One step's outcome: heat that reached the network, heat that did not (for the boiler), and what comes back to the plant."""

    delivered_w: float
    short_w: float
    plant_return_c: float
    supply_c: float


class Tank:
    """Advance it with `step`."""

    def __init__(self, spec: TankSpec, hot_c: float, return_c: float) -> None:
        """Starts with a sharp border between hot and cold water."""
        self.spec = spec
        hot_layers = round(spec.start_part * LAYERS)
        self.layers_c = [hot_c if k < hot_layers else return_c for k in range(LAYERS)]
        self._layer_j_per_k = spec.volume_m3 * 985.0 * WATER_J_PER_KG_K / LAYERS
        self.lost_j = 0.0

    def stored_wh(self, return_c: float) -> float:
        """Heat above the network's return temperature."""
        return sum(self._layer_j_per_k * (c - return_c) for c in self.layers_c) / 3_600.0

    def step(self, dt_s: float, plant_w_per_k: float, plant_supply_c: float, load_w: float, return_c: float) -> TankFlow:
        """Let `dt_s` pass with the plant's water (`plant_w_per_k` at `plant_supply_c`) and a network that asks `load_w`."""
        plant_part_w = plant_w_per_k * max(plant_supply_c - return_c, 0.0)
        if plant_part_w >= load_w:
            # Served by the plant alone; what it circulates beyond that charges the tank from the top.
            drawn_w_per_k = load_w / max(plant_supply_c - return_c, 1e-9)
            surplus = plant_w_per_k - drawn_w_per_k
            bottom_c = self._push(surplus * dt_s, plant_supply_c, range(LAYERS))
            delivered_w, served_c = load_w, plant_supply_c
            plant_return_c = (drawn_w_per_k * return_c + surplus * bottom_c) / max(plant_w_per_k, 1e-9)
        else:
            # The rest comes from the tank's top, while it is warm: the network's pumps draw it, whatever the plant circulates.
            warmth_k = max(self.layers_c[0] - return_c, LEAST_WARMTH_K)
            from_tank = min(load_w - plant_part_w, self.spec.max_discharge_w) / warmth_k
            risen_c = self._push(from_tank * dt_s, return_c, range(LAYERS - 1, -1, -1))
            delivered_w = plant_part_w + from_tank * max(risen_c - return_c, 0.0)
            served_c = return_c + delivered_w / max(plant_w_per_k + from_tank, 1e-9)
            plant_return_c = return_c
        self._lose(dt_s, return_c)
        return TankFlow(delivered_w, max(0.0, load_w - delivered_w), plant_return_c, served_c)

    def _push(self, heat_j_per_k: float, entering_c: float, order: range) -> float:
        """Let water of `entering_c` in at the first layer of `order`; the mean temperature of what leaves at the last one."""
        left_j_per_k, leaving_j = heat_j_per_k, 0.0
        last = order[-1]
        while left_j_per_k > 0.0:
            moved = min(left_j_per_k, self._layer_j_per_k)
            part = moved / self._layer_j_per_k
            leaving_j += moved * self.layers_c[last]
            above_c = entering_c
            for k in order:
                before_c = self.layers_c[k]
                self.layers_c[k] = before_c + part * (above_c - before_c)
                above_c = before_c
            left_j_per_k -= moved
        return leaving_j / heat_j_per_k if heat_j_per_k > 0 else self.layers_c[last]

    def _lose(self, dt_s: float, return_c: float) -> None:
        part = self.spec.loss_per_day * dt_s / 86_400.0
        for k, c in enumerate(self.layers_c):
            lost_c = part * (c - return_c)
            self.layers_c[k] = c - lost_c
            self.lost_j += lost_c * self._layer_j_per_k
