"""A room that one heater keeps warm, and the thermostat on its wall: the smallest site there is.

Two masses (air with furniture, walls), losses to the outdoors, a proportional thermostat with a night set-back that asks for watts.
Pure.
"""

import msgspec


class RoomSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[room]"""

    loss_w_per_k: float = 18.0  # walls to the outdoors
    air_j_per_k: float = 600_000.0  # air, furniture and the first centimetre of wall
    wall_j_per_k: float = 8_000_000.0
    wall_w_per_k: float = 90.0  # between air and walls
    day_c: float = 21.0
    night_c: float = 18.5
    day_from_h: float = 6.0
    night_from_h: float = 22.5
    gain_w_per_k: float = 450.0  # of the thermostat
    free_w: float = 120.0  # people, lamps, other devices, by day
    other_heat_w: float = 0.0  # what another heater gives when asked for more than ours has


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
