"""Planning in the twin: the real forecasts, horizon and planner, in virtual time and without threads.

It stands where `heat.outlook` stands: gives the planner prices, load and the tank's content each period, and tells heat control
what the plan means for now. Forecasts are perfect: what a wrong one costs is not its subject.
"""

import math

from proxy import config
from proxy.heat.control import HeatControl
from proxy.heat.forecast import Forecasts, Limits, Sent, Series, TankReading
from proxy.heat.guidance import Guidance
from proxy.heat.horizon import Now, fleet_of, horizon
from proxy.heat.plan import Plan
from proxy.heat.planner import solve
from proxy.heat.steer import guidance_of
from proxy.sim.twin.fleet import TwinFleet
from proxy.sim.twin.utility import Utility
from proxy.sim.twin.weather import Weather

GUIDE_PERIOD_S = 60.0
GUIDANCE_S = 180.0
HOUR_S = 3_600.0


class Ahead:
    """One for a site whose planner is enabled. Call `step` each step."""

    def __init__(self, site: config.SiteConfig, start_unix_s: float, weather: Weather, utility: Utility) -> None:
        """Plans at once."""
        self._heat = site.heat
        self._start_unix_s = start_unix_s
        self._weather = weather
        self._utility = utility
        installed_w = sum(max(level.power_w for level in site.models[unit.model].levels) for unit in site.units)
        planner = site.heat.planner
        self._forecasts = Forecasts(
            Limits(
                capacity_w=installed_w * site.heat.thermal_efficiency,
                max_clock_skew_s=site.signals.rest.max_clock_skew_s,
                tank_capacity_wh=planner.tank_capacity_wh,
                tank_stale_s=planner.tank_stale_s,
            )
        )
        self.plan: Plan | None = None
        self.failures: list[str] = []
        self._next_plan_s = self._next_guide_s = 0.0

    def step(self, now_s: float, control: HeatControl, fleet: TwinFleet, tank_wh: float | None) -> None:
        """Plan when it is time, and renew the guidance."""
        if now_s < self._next_guide_s or not fleet.swept_all:
            return
        self._next_guide_s = now_s + GUIDE_PERIOD_S
        now_unix_s = self._start_unix_s + now_s
        if tank_wh is not None:
            capacity_wh = self._heat.planner.tank_capacity_wh
            self._forecasts.take_tank(TankReading(now_unix_s, min(max(tank_wh, 0.0), capacity_wh)), now_unix_s)
        if now_s >= self._next_plan_s:
            self._next_plan_s = now_s + self._heat.planner.period_s
            self._forecasts.take(self._sent(now_s), now_unix_s)
            self._renew(now_s, now_unix_s, control, fleet)
        control.set_guidance(self._guidance(now_unix_s, control, tank_wh))

    def _sent(self, now_s: float) -> Sent:
        """Prices by the hour and the load by the block, from now on."""
        planner, now_unix_s = self._heat.planner, self._start_unix_s + now_s
        hour_s = math.floor(now_s / HOUR_S) * HOUR_S
        hours = math.ceil(planner.horizon_h) + 1
        prices = tuple(round(self._weather.spot_per_kwh(hour_s + k * HOUR_S), 5) for k in range(hours))
        block_s = math.floor(now_s / planner.step_s) * planner.step_s
        blocks = math.ceil(planner.horizon_h * HOUR_S / planner.step_s) + 1
        load = tuple(self._utility.wanted_w(block_s + k * planner.step_s) for k in range(blocks))
        return Sent(
            issued_unix_s=now_unix_s,
            valid_until_unix_s=None,
            electricity_per_kwh=Series(self._start_unix_s + hour_s, HOUR_S, prices),
            demand_w=Series(self._start_unix_s + block_s, planner.step_s, load),
        )

    def _renew(self, now_s: float, now_unix_s: float, control: HeatControl, fleet: TwinFleet) -> None:
        learned = control.learned()
        now = Now(now_unix_s, control.view().demand_w, learned, control.cap_w(), control.demand_at)
        problem = horizon(self._heat, self._forecasts, fleet_of(fleet.image(now_s), learned), now).problem
        answer = solve(problem)
        if isinstance(answer, Plan):
            self.plan = answer
        else:
            self.failures.append("; ".join(answer.reasons))

    def _guidance(self, now_unix_s: float, control: HeatControl, tank_wh: float | None) -> Guidance | None:
        block = None if self.plan is None else self.plan.block_at(now_unix_s)
        demand_w = control.view().demand_w
        if block is None or demand_w is None:
            return None
        return guidance_of(self._heat.planner, block, demand_w, tank_wh, now_unix_s + GUIDANCE_S)
