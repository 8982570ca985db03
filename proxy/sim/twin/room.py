"""A room that one heater keeps warm, and the thermostat on its wall: the smallest site there is.

Two masses (air with furniture, walls), losses to the outdoors, a proportional thermostat with a night set-back that asks for watts.
Pure.
"""

from typing import Annotated

from msgspec import Meta

from proxy.config_base import Table


class RoomSpec(Table, frozen=True, kw_only=True):
    """[room]: for demand.kind = "room"."""

    loss_w_per_k: Annotated[float, Meta(gt=0, le=1_000, description="walls to the outdoors")] = 18.0
    air_j_per_k: Annotated[float, Meta(gt=0, description="air, furniture and the first centimetre of wall")] = 600_000.0
    wall_j_per_k: Annotated[float, Meta(gt=0, description="the rest of the walls")] = 8_000_000.0
    wall_w_per_k: Annotated[float, Meta(gt=0, le=10_000, description="between air and walls")] = 90.0
    day_c: Annotated[float, Meta(ge=5, le=30, description="thermostat by day")] = 21.0
    night_c: Annotated[float, Meta(ge=5, le=30, description="thermostat by night")] = 18.5
    day_from_h: Annotated[float, Meta(ge=0, le=24, description="hour at which the day begins")] = 6.0
    night_from_h: Annotated[float, Meta(ge=0, le=24, description="and ends")] = 22.5
    gain_w_per_k: Annotated[float, Meta(gt=0, le=10_000, description="of the thermostat")] = 450.0
    free_w: Annotated[float, Meta(ge=0, le=10_000, description="people, lamps, other devices, by day")] = 120.0


class Room:
    """Advance it with `step`; ask `demand_w` what the thermostat wants."""

    def __init__(self, spec: RoomSpec) -> None:
        """Starts at the night's temperature."""
        self.spec = spec
        self.air_c = spec.night_c
        self.wall_c = spec.night_c - 1.0

    def set_c(self, hour: float) -> float:
        """What the thermostat is set to."""
        spec = self.spec
        return spec.day_c if spec.day_from_h <= hour % 24.0 < spec.night_from_h else spec.night_c

    def step(self, dt_s: float, heat_w: float, outdoor_c: float, hour: float) -> None:
        """Let `dt_s` pass with this heat."""
        spec = self.spec
        free_w = spec.free_w if spec.day_from_h <= hour % 24.0 < spec.night_from_h else 0.3 * spec.free_w
        to_wall_w = spec.wall_w_per_k * (self.air_c - self.wall_c)
        self.air_c += (heat_w + free_w - to_wall_w) * dt_s / spec.air_j_per_k
        self.wall_c += (to_wall_w - spec.loss_w_per_k * (self.wall_c - outdoor_c)) * dt_s / spec.wall_j_per_k

    def demand_w(self, outdoor_c: float, hour: float, most_w: float) -> float:
        """Heat the thermostat asks for: what the room loses at its set-point, and more the colder it is."""
        spec = self.spec
        wanted_c = self.set_c(hour)
        base_w = spec.loss_w_per_k * (wanted_c - outdoor_c) * spec.wall_w_per_k / (spec.wall_w_per_k + spec.loss_w_per_k)
        return min(max(base_w + spec.gain_w_per_k * (wanted_c - self.air_c), 0.0), most_w)
