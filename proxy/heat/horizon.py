"""What is known of the time ahead, put together for the planner: blocks of demand and prices, and what the fleet can do in them.

Pure. It ends where nobody says any more what heat will be wanted, and invents nothing: a price that no forecast names is the one of
the site file, and a tank of unknown content is left out. Not here: how forecasts come (forecast), the plan itself (planner).
"""

import itertools
from collections.abc import Callable, Sequence

import msgspec

from proxy import config
from proxy.heat import curve
from proxy.heat.forecast import Forecasts
from proxy.heat.plan import Block, Boiler, Fleet, Learned, Problem, Segment, Tank, clock_text
from proxy.units.unit import LevelFact, UnitImage, UnitState

# Pieces that the fleet's power is cut into at most; more make the plan slower and not better.
MAX_SEGMENTS = 16
# A plan begins now, but not for a rest of a block shorter than this.
SHORTEST_BLOCK_S = 60.0

_OUT = frozenset({UnitState.OFFLINE, UnitState.FAULT, UnitState.SERVICE, UnitState.LOCKED_OUT})


class Now(msgspec.Struct, frozen=True):
    """The plant at this moment. `demand_w` is heat asked for, `cap_w` the lowest cap on the site.

    `power_w`: what the units draw once they are where they were told to be; a plan made while they move does not tell them back.

    `demand_at`: heat that demands taken already ask for at a later time (unix seconds), None where they ask for nothing.
    """

    unix_s: float
    demand_w: float | None
    learned: Learned
    cap_w: float | None
    demand_at: Callable[[float], float | None]


class Horizon(msgspec.Struct, frozen=True):
    """The problem to solve, and what an operator should know of how it came about."""

    problem: Problem
    notes: tuple[str, ...]


def horizon(heat: config.Heat, forecasts: Forecasts, fleet: Fleet, now: Now) -> Horizon:
    """The planning problem as of now. Its blocks are aligned to `step_s` of UTC; without any known demand it has none."""
    notes: list[str] = []
    planner = heat.planner
    blocks = _blocks(heat, forecasts, now, notes)
    tank = None
    if planner.tank_capacity_wh > 0:
        content_wh = forecasts.tank_wh(now.unix_s)
        tank = Tank(planner.tank_capacity_wh, planner.tank_max_charge_w, planner.tank_loss_per_day, content_wh)
        if content_wh is None:
            notes.append("what the tank holds is unknown, so it is left alone: send PUT /api/v1/heat/tank")
    boiler = None
    if planner.backup_max_w > 0:
        boiler = Boiler(planner.backup_max_w, planner.backup_per_kwh, is_last=not planner.backup_follows_plan)
    caps_w = [cap_w for cap_w in (heat.max_power_w, now.cap_w) if cap_w is not None]
    learned = now.learned
    problem = Problem(
        blocks=tuple(blocks),
        fleet=fleet,
        thermal_efficiency=learned.efficiency,
        min_power_w=heat.min_power_w,
        max_power_w=min(caps_w, default=None),
        ramp_w_per_min=heat.ramp_w_per_min,
        # Where the units are on their way to, and as heat: a plan made while they move does not tell them back, and one made from
        # power that gives a little less than its efficiency says would ask for a little more each time.
        power_now_w=None if learned.heat_w is None else learned.heat_w / learned.efficiency,
        tank=tank,
        boiler=boiler,
        reserve=heat.reserve,
        change_per_kw=0.0 if fleet.step_w is None else heat.costs.switch / (fleet.step_w / 1000),
    )
    return Horizon(problem, tuple(notes))


def _blocks(heat: config.Heat, forecasts: Forecasts, now: Now, notes: list[str]) -> list[Block]:
    """Blocks up to the horizon, or to where the demand is not known."""
    step_s, costs = heat.planner.step_s, heat.costs
    last_unix_s = now.unix_s + heat.planner.horizon_h * 3600
    blocks: list[Block] = []
    start_unix_s, end_unix_s = now.unix_s, (now.unix_s // step_s + 1) * step_s
    if end_unix_s - start_unix_s < SHORTEST_BLOCK_S:
        end_unix_s += step_s
    priced_until: float | None = None
    while start_unix_s < last_unix_s:
        demand_w = demand_in(heat, forecasts, now, start_unix_s, end_unix_s)
        if demand_w is None:
            known_h = (start_unix_s - now.unix_s) / 3600
            notes.append(
                f"the demand is known for {known_h:.1f} of {heat.planner.horizon_h:g} h: send a schedule or an outdoor temperature "
                "(PUT /api/v1/heat/forecast) for more"
            )
            break
        electricity = forecasts.mean("electricity_per_kwh", start_unix_s, end_unix_s, now.unix_s)
        if electricity is None and priced_until is None:
            priced_until = start_unix_s
        work = forecasts.mean("work_per_th_day", start_unix_s, end_unix_s, now.unix_s)
        blocks.append(
            Block(
                start_unix_s=start_unix_s,
                length_s=end_unix_s - start_unix_s,
                demand_w=demand_w,
                electricity_per_kwh=costs.electricity_per_kwh if electricity is None else electricity,
                work_per_th_day=costs.work_per_th_day if work is None else work,
            )
        )
        start_unix_s, end_unix_s = end_unix_s, end_unix_s + step_s
    if priced_until is not None:
        notes.append(
            f"no electricity price is known from {clock_text(priced_until)} UTC on: heat.costs.electricity_per_kwh holds; "
            "send PUT /api/v1/prices for better"
        )
    return blocks


def demand_in(heat: config.Heat, forecasts: Forecasts, now: Now, start_unix_s: float, end_unix_s: float) -> float | None:
    """Heat wanted in a block: now what rules; later the schedule, else demands taken already, else the heat curve, else None."""
    if start_unix_s <= now.unix_s and now.demand_w is not None:
        return now.demand_w
    scheduled_w = forecasts.mean("demand_w", start_unix_s, end_unix_s, now.unix_s)
    if scheduled_w is not None:
        return scheduled_w
    asked_w = now.demand_at((start_unix_s + end_unix_s) / 2)
    if asked_w is not None:
        return asked_w
    outdoor_c = forecasts.mean("outdoor_c", start_unix_s, end_unix_s, now.unix_s)
    return None if outdoor_c is None else curve.at(heat.curve.points, outdoor_c)


def fleet_of(images: Sequence[UnitImage], learned: Learned) -> Fleet:
    """The units that can run, as segments of falling hashrate for a watt: all a loop's cap lets through, with real power."""
    scale = learned.power_scale
    groups: dict[str, dict[tuple[LevelFact, ...], int]] = {}
    for image in images:
        if image.may_command and image.state not in _OUT:
            loop = groups.setdefault(image.loop, {})
            loop[image.levels] = loop.get(image.levels, 0) + 1
    asleep_w = steps_w = changes = 0.0
    pieces: list[Segment] = []
    for loop_name, kinds in groups.items():
        loop_asleep_w = sum(levels[0].power_w * count for levels, count in kinds.items()) * scale
        asleep_w += loop_asleep_w
        for levels, count in kinds.items():
            # Waking is dearer and adds more: for a kW the two cost about the same.
            awake = [level.power_w for level in (levels[1:] if len(levels) > 2 else levels)]
            steps_w += count * (max(awake) - min(awake)) * scale
            changes += count * (len(awake) - 1)
        of_loop = _by_worth(
            [
                Segment(step.power_w * count * scale, step.hashrate_hps * count)
                for levels, count in kinds.items()
                for step in _steps(levels)
            ]
        )
        cap_w = learned.loop_caps_w.get(loop_name)
        pieces += of_loop if cap_w is None else _cut(of_loop, cap_w - loop_asleep_w)
    return Fleet(asleep_w, tuple(_merged(_by_worth(pieces))), steps_w / changes if steps_w > 0 else None)


def _steps(levels: Sequence[LevelFact]) -> list[Segment]:
    """The steps from asleep upward that are worth taking: each gives less hashrate for a watt than the one before.

    A level under the line between two others is left out; a mix of units on those two gives more for the same power.
    """
    hull: list[LevelFact] = []
    for level in sorted(levels, key=lambda fact: (fact.power_w, -fact.hashrate_hps)):
        while len(hull) > 1 and _rise(hull[-1], level) >= _rise(hull[-2], hull[-1]):
            hull.pop()
        if not hull or level.power_w > hull[-1].power_w:
            hull.append(level)
    return [Segment(b.power_w - a.power_w, b.hashrate_hps - a.hashrate_hps) for a, b in itertools.pairwise(hull)]


def _rise(below: LevelFact, above: LevelFact) -> float:
    step_w = above.power_w - below.power_w
    return (above.hashrate_hps - below.hashrate_hps) / step_w if step_w > 0 else 0.0


def _worth(segment: Segment) -> float:
    return segment.hashrate_hps / segment.power_w


def _by_worth(segments: Sequence[Segment]) -> list[Segment]:
    return sorted(segments, key=_worth, reverse=True)


def _cut(segments: Sequence[Segment], room_w: float) -> list[Segment]:
    """The best of the segments that fit into the room, the last one in part."""
    kept = []
    for segment in segments:
        if room_w <= 0:
            break
        part = min(1.0, room_w / segment.power_w)
        kept.append(Segment(segment.power_w * part, segment.hashrate_hps * part))
        room_w -= segment.power_w
    return kept


def _merged(segments: list[Segment]) -> list[Segment]:
    """At most MAX_SEGMENTS, by joining neighbours that differ least."""
    merged = list(segments)
    while len(merged) > 1:
        gaps = [_worth(a) - _worth(b) for a, b in itertools.pairwise(merged)]
        least = min(range(len(gaps)), key=gaps.__getitem__)
        if len(merged) <= MAX_SEGMENTS and gaps[least] > 1e-9 * abs(_worth(merged[least])):
            break
        one, other = merged[least], merged.pop(least + 1)
        merged[least] = Segment(one.power_w + other.power_w, one.hashrate_hps + other.hashrate_hps)
    return merged
