"""The site file in the terms of heat control's parts: one record of fixed numbers for each of them.

Built once at start. Nothing is decided here, and nothing in it changes while the site runs.
"""

import math

import msgspec

from proxy import config
from proxy.heat import aim, arbitrate, dispatch, model, observe, planning, swings, tracker
from proxy.heat.demand import Envelope
from proxy.heat.guidance import Guidance
from proxy.heat.interlocks import LoopFacts

# Work of one kWh at 16.8 J/TH: the scale for a fleet whose hashrate is not of this world (a demo's machines hash far less).
REFERENCE_TH_PER_KWH = 3_600_000.0 / 16.8
ABSURD_TH_PER_KWH = 3_600_000.0 / 1e6


class Policies(msgspec.Struct, frozen=True):
    """All of them. `capacity_w` is installed heat (thermal)."""

    capacity_w: float
    envelope: Envelope
    ladder: arbitrate.Policy
    aim: aim.Policy
    fleet: observe.Policy
    plant: model.Policy
    tracking: tracker.Policy
    planning: planning.Plant
    swings: swings.Policy
    loops: dict[str, LoopFacts]
    loop_capacity_w: dict[str, float]
    th_per_kwh: float
    costs: config.HeatCosts

    def prices(self, guidance: Guidance | None) -> dispatch.Prices:
        """What dispatch weighs now: the planner's prices of this hour, else those of the site file."""
        work = self.costs.work_per_th_day
        power = self.costs.electricity_per_kwh
        if guidance is not None:
            work = work if guidance.work_per_th_day is None else guidance.work_per_th_day
            power = power if guidance.electricity_per_kwh is None else guidance.electricity_per_kwh
        return dispatch.Prices(
            revenue_per_kwh=work / 86_400.0 * self.th_per_kwh, power_per_kwh=power, change=self.costs.switch, start=self.costs.start
        )


def policies_of(site: config.SiteConfig) -> Policies:
    """The fixed numbers of a site."""
    heat = site.heat
    tops = {name: max(model.levels, key=lambda level: level.power_w) for name, model in site.models.items()}
    loop_caps = {loop.name: loop.max_power_w for loop in site.loops}
    names = list(dict.fromkeys([*loop_caps, *(unit.loop for unit in site.units)]))
    installed = {name: sum(tops[unit.model].power_w for unit in site.units if unit.loop == name) for name in names}
    sizes = [sum(unit.loop == name for unit in site.units) for name in names]
    capacity_w = sum(installed.values()) * heat.thermal_efficiency
    described = {loop.name: loop for loop in site.loops}
    loops = [described.get(name, config.Loop(name=name)) for name in names]
    return Policies(
        capacity_w=capacity_w,
        envelope=Envelope(
            capacity_w=capacity_w,
            max_validity_s=site.signals.rest.max_validity_s,
            max_clock_skew_s=site.signals.rest.max_clock_skew_s,
            max_step=heat.max_demand_step,
        ),
        ladder=arbitrate.Policy(
            hold_after_s=heat.hold_after_s,
            fallback_after_s=heat.fallback_after_s,
            limit_after_s=heat.limit_after_s,
            fallback_power_w=heat.fallback_power_w,
            limit_power_w=heat.min_power_w if heat.limit_power_w is None else heat.limit_power_w,
        ),
        aim=aim.Policy(rules_supply=heat.mode == "supply_temperature", capacity_w=capacity_w),
        fleet=observe.Policy(heat.correction_tau_s, heat.max_correction),
        plant=model.Policy(
            thermal_efficiency=heat.thermal_efficiency,
            plant_tau_s=heat.plant_tau_s,
            disturbance_tau_s=heat.disturbance_tau_s,
            max_disturbance=heat.max_correction,
            capacity_w=capacity_w,
            fits_tau=heat.fit_plant_tau,
        ),
        tracking=tracker.Policy(
            reference_tau_s=heat.reference_tau_s,
            max_lead_w=heat.max_lead * capacity_w,
            ramp_w_per_min=heat.ramp_w_per_min,
            dead_band=heat.dead_band,
            min_power_w=heat.min_power_w,
        ),
        planning=planning.Plant(
            loop_caps_w={name: loop_caps.get(name) for name in names},
            loop_changes=tuple(max(1, math.ceil(heat.max_transition * size)) for size in sizes),
            wakes_per_min=heat.wakes_per_min,
            dead_band=heat.dead_band,
            reserve=heat.reserve,
        ),
        swings=swings.Policy(heat.swing_size, heat.max_swings_per_h, capacity_w),
        loops={
            loop.name: LoopFacts(loop.name, loop.design_flow_l_per_min, loop.shed_supply_c, loop.trip_supply_c) for loop in loops
        },
        loop_capacity_w={name: power_w * heat.thermal_efficiency for name, power_w in installed.items()},
        th_per_kwh=_th_per_kwh(site),
        costs=heat.costs,
    )


def _th_per_kwh(site: config.SiteConfig) -> float:
    """Work of one kWh at the fleet's nameplate, in TH."""
    tops = [site.models[unit.model].levels[-1] for unit in site.units]
    power_w, hashrate_hps = sum(top.power_w for top in tops), sum(top.hashrate_hps for top in tops)
    found = hashrate_hps / 1e12 * 3_600_000.0 / power_w if power_w > 0 else 0.0
    return found if found >= ABSURD_TH_PER_KWH else REFERENCE_TH_PER_KWH
