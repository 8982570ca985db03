"""The plant as people and utilities are told: one decision of the cycle turned into views and a report. It decides nothing."""

from collections.abc import Mapping

import msgspec

from proxy.heat import arbitrate, interlocks
from proxy.heat.journal import Decision, Journal
from proxy.heat.meters.bank import MeterBank
from proxy.heat.signals.port import Report
from proxy.views import DemandAhead, HeatView, HoldView, LoopView


class Standing(msgspec.Struct, frozen=True):
    """What goes into both besides the last decision."""

    now_unix_s: float
    docket: arbitrate.Docket
    journal: Journal
    last: Decision | None
    cycles: int
    level_changes: int
    changes_per_day: float
    outdoor_c: float | None
    alarms: tuple[str, ...]
    holds: tuple[HoldView, ...]
    swings_per_h: int
    units_resting: int


def view_of(standing: Standing) -> HeatView:
    """Demand against delivery as of the last cycle."""
    last, docket, now_unix_s = standing.last, standing.docket, standing.now_unix_s
    demand = arbitrate.ruling_at(docket, now_unix_s) or docket.last
    demand_w = None if last is None else last.demand_w
    heat_w = None if last is None else last.delivered.heat_w
    return HeatView(
        ladder=docket.rung.value,
        source=None if demand is None else demand.source,
        demand_w=demand_w,
        demand_age_s=None if demand is None else max(0.0, now_unix_s - demand.issued_unix_s),
        demand_valid_for_s=None if demand is None else max(0.0, demand.valid_until_unix_s - now_unix_s),
        setpoint_power_w=None if last is None else last.setpoint_w,
        commanded_power_w=0.0 if last is None else last.planned_w,
        measured_power_w=None if last is None else last.measured_w,
        heat_w=heat_w,
        heat_quality="unknown" if last is None else last.delivered.quality,
        supply_c=None if last is None else last.delivered.supply_c,
        return_c=None if last is None else last.delivered.return_c,
        headroom_up_w=0.0 if last is None else last.headroom_up_w,
        headroom_down_w=0.0 if last is None else last.headroom_down_w,
        marginal_price_per_kwh=None if last is None else last.marginal_price_per_kwh,
        limiter=None if last is None else last.limiter,
        tracking_error=(heat_w - demand_w) / demand_w if demand_w and heat_w is not None else None,
        setpoint_changes=standing.journal.setpoint_changes,
        level_changes=standing.level_changes,
        demand_energy_wh=standing.journal.demand_wh,
        heat_energy_wh=standing.journal.heat_wh,
        decision_s=None if last is None else last.duration_s,
        supply_asked_c=None if last is None else last.supply_asked_c,
        outdoor_c=standing.outdoor_c,
        efficiency=None if last is None else last.efficiency,
        plant_tau_s=None if last is None else last.plant_tau_s,
        disturbance_w=None if last is None else last.disturbance_w,
        lead_w=None if last is None else last.lead_w,
        changes_per_unit_day=standing.changes_per_day,
        alarms=standing.alarms,
        cause=None if last is None else last.ruling.cause,
        stale_s=None if last is None else last.ruling.stale_s,
        holds=standing.holds,
        swings_per_h=standing.swings_per_h,
        units_resting=standing.units_resting,
    )


class LoopsSeen(msgspec.Struct, frozen=True):
    """What is known of the loops, by name. `drawn_w` is empty before the first cycle."""

    facts: Mapping[str, interlocks.LoopFacts]
    caps_w: Mapping[str, float | None]
    memory: Mapping[str, interlocks.LoopMemory]
    verdicts: Mapping[str, interlocks.LoopVerdict]
    drawn_w: Mapping[str, float]
    outlets_c: Mapping[str, float | None]
    bank: MeterBank


def loops_of(seen: LoopsSeen, now_unix_s: float) -> list[LoopView]:
    """Every loop: its water, what it draws and may draw, and what holds it."""
    views = []
    for name, fact in seen.facts.items():
        verdict = seen.verdicts[name]
        supply_c, return_c = seen.bank.temperatures(name, now_unix_s)
        outlet_c = seen.outlets_c.get(name)
        caps_w = [cap_w for cap_w in (seen.caps_w.get(name), verdict.cap_w) if cap_w is not None]
        views.append(
            LoopView(
                name=name,
                state=seen.memory[name].state.value if name in seen.memory else interlocks.LoopState.RUNNING.value,
                may_wake=verdict.may_wake,
                reason=verdict.reason,
                cap_w=min(caps_w, default=None),
                drawn_w=seen.drawn_w.get(name),
                heat_w=seen.bank.loop_heat(name, now_unix_s).value,
                supply_c=outlet_c if supply_c is None else supply_c,
                supply_from="meter" if supply_c is not None else None if outlet_c is None else "machines",
                shed_supply_c=fact.shed_supply_c,
                return_c=return_c,
                flow_l_per_min=seen.bank.flow_l_per_min(name, now_unix_s),
                design_flow_l_per_min=fact.design_flow_l_per_min,
                is_locked=name in seen.memory and seen.memory[name].is_locked,
            )
        )
    return views


def ahead_of(docket: arbitrate.Docket, now_unix_s: float) -> list[DemandAhead]:
    """The demands that wait, next first."""
    waiting = sorted((d for d in docket.waiting if d.valid_from_unix_s > now_unix_s), key=lambda d: d.valid_from_unix_s)
    return [DemandAhead(d.source, d.valid_from_unix_s, d.valid_until_unix_s, d.power_w, d.supply_c) for d in waiting]


def report_of(standing: Standing) -> Report:
    """What goes back to the utility. The numbers are those of the last cycle; `alive` shows whether cycles still run."""
    view, last = view_of(standing), standing.last
    return Report(
        alive=standing.cycles,
        at_unix_s=standing.now_unix_s,
        ladder=view.ladder,
        demand_w=view.demand_w,
        supply_asked_c=view.supply_asked_c,
        heat_w=view.heat_w,
        quality=view.heat_quality,
        power_w=view.measured_power_w,
        headroom_up_w=view.headroom_up_w,
        headroom_down_w=view.headroom_down_w,
        supply_c=view.supply_c,
        return_c=view.return_c,
        flow_l_per_min=None if last is None else last.delivered.flow_l_per_min,
        energy_wh=None if last is None else last.delivered.energy_wh,
        alarms=standing.alarms,
    )
