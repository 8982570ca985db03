"""What a run of the twin came to, in one record: tracking, wear, energy, money, alarms.

Figures come from the plant's truth, not from what control believes; those of the meter are given beside them. It judges nothing.
"""

from collections import Counter

import msgspec
import numpy as np

from proxy.sim import score
from proxy.sim.twin.engine import RUNGS, Twin

# A room is not warm the moment its thermostat says so.
WARMING_H = 2.0


class RoomFigures(msgspec.Struct, frozen=True, kw_only=True):
    """How warm the room was by day, from two hours after the night's set-back has ended."""

    rms_k: float
    coldest_k: float  # below the set-point at worst
    warmest_k: float


class Summary(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of JSON. Parts are fractions; None is unknown."""

    scenario: str
    seed: int
    hours: float
    units: int
    rms: float | None
    rms_metered: float | None
    within_1: float | None
    within_2: float | None
    worst: float | None
    energy_error_mean: float | None
    energy_error_p95: float | None
    energy_error_max: float | None
    energy_error_total: float | None
    changes_per_unit_day: float
    sleeps_per_unit_day: float
    decision_ms_median: float | None
    decision_ms_p95: float | None
    decision_ms_max: float | None
    demand_mwh: float
    heat_mwh: float
    electricity_mwh: float
    electricity_cost: float
    work_revenue: float
    currency: str
    hottest_outlet_c: float
    died: int
    demands_refused: int
    rungs: dict[str, float]
    alarms: dict[str, int]
    short_mwh: float | None = None
    room: RoomFigures | None = None
    supply_rms_k: float | None = None
    wall_s: float = 0.0


def summarize(twin: Twin, seed: int, wall_s: float) -> Summary:
    """Add up a finished run. A run shorter than three hours counts from its first third."""
    record, step_s = twin.record, twin.step_s
    warm_up_s = min(score.WARM_UP_S, twin.hours * 1_200.0)
    demand_w = record["demand_w"]
    # With a tank the town is served from it, and the units follow the plan.
    true = score.tracking(step_s, demand_w, record["served_w"], warm_up_s)
    metered = None if twin.tank is not None else score.tracking(step_s, demand_w, record["metered_w"], warm_up_s)
    days = twin.hours / 24.0
    count = len(twin.machines)
    decisions_ms = [1_000.0 * each for each in record.decisions_s]
    rungs = Counter(record["rung"].astype(int).tolist())
    short_w = record["short_w"]
    return Summary(
        scenario=twin.loaded.name,
        seed=seed,
        hours=twin.hours,
        units=count,
        rms=_round(true.rms),
        rms_metered=None if metered is None else _round(metered.rms),
        within_1=_round(true.within_1, 4),
        within_2=_round(true.within_2, 4),
        worst=_round(true.worst),
        energy_error_mean=_round(true.energy_error_mean),
        energy_error_p95=_round(true.energy_error_p95),
        energy_error_max=_round(true.energy_error_max),
        energy_error_total=_round(true.energy_error_total),
        changes_per_unit_day=round(float(twin.machines.changes.sum()) / count / days, 2),
        sleeps_per_unit_day=round(float(twin.machines.sleeps.sum()) / count / days, 3),
        decision_ms_median=_round(score.percentile(decisions_ms, 0.5), 2),
        decision_ms_p95=_round(score.percentile(decisions_ms, 0.95), 2),
        decision_ms_max=_round(score.percentile(decisions_ms, 1.0), 2),
        demand_mwh=round(float(np.nansum(demand_w)) * step_s / 3.6e9, 3),
        heat_mwh=round(float(record["heat_w"].sum()) * step_s / 3.6e9, 3),
        electricity_mwh=round(twin.energy_wh / 1e6, 3),
        electricity_cost=round(twin.cost, 2),
        work_revenue=round(twin.revenue, 2),
        currency=twin.site.heat.costs.currency,
        hottest_outlet_c=round(float(record["hottest_c"].max()), 1),
        died=twin.deaths,
        demands_refused=twin.books.demands_refused,
        rungs={name: round(rungs[k] / record.length, 4) for k, name in enumerate(RUNGS) if rungs[k]},
        alarms=dict(sorted(Counter(event.name for event in twin.told).items())),
        short_mwh=None if twin.tank is None else round(float(np.nansum(short_w)) * step_s / 3.6e9, 3),
        room=_room(twin),
        supply_rms_k=_supply_rms_k(twin, warm_up_s),
        wall_s=round(wall_s, 1),
    )


def _room(twin: Twin) -> RoomFigures | None:
    if twin.room is None:
        return None
    off_k = twin.record["room_c"] - twin.record["room_set_c"]
    hour = twin.record.hours % 24.0
    by_day = (hour >= twin.room.spec.day_from_h + WARMING_H) & (hour < twin.room.spec.night_from_h)
    kept = off_k[by_day] if by_day.any() else off_k
    return RoomFigures(
        rms_k=round(float(np.sqrt(np.mean(kept**2))), 2),
        coldest_k=round(max(0.0, -float(kept.min())), 2),
        warmest_k=round(max(0.0, float(kept.max())), 2),
    )


def _supply_rms_k(twin: Twin, warm_up_s: float) -> float | None:
    if twin.loaded.scenario.demand.kind != "supply":
        return None
    off_k = (twin.record["supply_c"] - twin.record["supply_asked_c"])[round(warm_up_s / twin.step_s) :]
    return round(float(np.sqrt(np.mean(off_k**2))), 2)


def _round(value: float | None, digits: int = 5) -> float | None:
    return None if value is None else round(value, digits)
