"""What a planner tells the control cycle: heat to make now (the tank takes the difference to the demand), and today's prices.

A plain record that expires. Control heeds it only while it is valid and a live demand rules; without one it follows the demand and
the prices of the site file. Nothing is planned here.
"""

import math

import msgspec


class Guidance(msgspec.Struct, frozen=True, gc=False):
    """Valid until `valid_until_unix_s`. None: the planner has no opinion, and what the site file says holds.

    heat_now_w: heat the units should make, before caps and limits. price_of_heat_per_kwh: what one more kWh of heat is worth to the
    plan. electricity_per_kwh, work_per_th_day: prices of this hour, for dispatch.
    """

    valid_until_unix_s: float
    heat_now_w: float | None = None
    price_of_heat_per_kwh: float | None = None
    electricity_per_kwh: float | None = None
    work_per_th_day: float | None = None

    def is_valid_at(self, now_unix_s: float) -> bool:
        """Whether it may still be heeded, and holds only numbers that can be."""
        numbers = (self.heat_now_w, self.price_of_heat_per_kwh, self.electricity_per_kwh, self.work_per_th_day)
        if not math.isfinite(self.valid_until_unix_s) or any(n is not None and not math.isfinite(n) for n in numbers):
            return False
        return now_unix_s < self.valid_until_unix_s and (self.heat_now_w is None or self.heat_now_w >= 0)
