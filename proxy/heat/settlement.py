"""Closes settlement periods: what was asked, delivered, drawn and worked between two UTC quarter hours, from the minutes kept.

Pure: the same minutes, demands and work always make the same record, today or after a restart. A period is [start, start + length)
in seconds since 1970, which know no summer time, so the days with 23 and 25 hours have 92 and 100 quarters and no special case.
It decides no correction by itself beyond `revised`: who asks for one, when, and where records lie is `settling`'s business.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import msgspec

from proxy.heat.proof import Curve, work_energy
from proxy.heat.spans import (
    ESTIMATED,
    MEASURED,
    MISSING,
    SUMMED,
    CounterPoint,
    Figure,
    Span,
    counter_spans,
    figure,
    filled,
    layered,
    together,
)
from proxy.ledger.records import DemandRecord, MeteringRecord, PeriodRecord, PoolWork, UnitWork

SITE = "site"
# Sums of the same numbers in another order differ by less; a real correction does not.
SAME_WH = 0.5
SAME_PART = 1e-6
SAME_S = 1.0
# Minutes are at most this long, wherever they were cut.
MARGIN_S = 120.0


class Place(msgspec.Struct, frozen=True):
    """A scope of the site: how much can pass through it, and its units' curves by id."""

    name: str
    max_w: float
    units: dict[str, Curve]


class Plan(msgspec.Struct, frozen=True):
    """What settlement must know of the site. `site` holds all units, `loops` each its own; the length of a period in seconds."""

    period_s: int
    site: Place
    loops: tuple[Place, ...]

    @property
    def places(self) -> tuple[Place, ...]:
        """The site, then its loops."""
        return (self.site, *self.loops)


class Lines(msgspec.Struct, frozen=True):
    """One scope's energies over the time asked for, and the minutes they came from."""

    heat: list[Span]
    electric: list[Span]
    metering: list[MeteringRecord]


def period_start(at_unix_s: float, period_s: int) -> int:
    """When the period that holds this moment began."""
    return int(at_unix_s // period_s) * period_s


def lines_of(plan: Plan, metering: Iterable[MeteringRecord]) -> dict[str, Lines]:
    """The best known heat and electricity of every scope, from minutes by time."""
    rows: dict[str, list[MeteringRecord]] = defaultdict(list)
    for row in metering:
        rows[row.scope].append(row)
    counted = {place.name: _counted(rows[place.name], place.max_w) for place in plan.places}
    if len(plan.loops) == 1 and not any(counted[plan.loops[0].name]):
        counted[plan.loops[0].name] = counted[SITE]  # the only loop of a site is what its boundary measures
    lines = {}
    for place in plan.places:
        heat: list[Iterable[Span]] = [counted[place.name][0]]
        electric: list[Iterable[Span]] = [counted[place.name][1]]
        if place is plan.site and plan.loops:
            heat.append(together([counted[loop.name][0] for loop in plan.loops]))
            electric.append(together([counted[loop.name][1] for loop in plan.loops]))
        here = rows[place.name]
        heat.append(Span(r.start_unix_s, r.end_unix_s, r.heat_wh, r.heat_quality) for r in here if r.heat_wh is not None)
        electric.append(
            Span(r.start_unix_s, r.end_unix_s, r.electric_wh, r.electric_quality) for r in here if r.electric_wh is not None
        )
        lines[place.name] = Lines(filled(layered(heat)), filled(layered(electric)), here)
    return lines


def _counted(rows: Sequence[MeteringRecord], max_w: float) -> tuple[list[Span], list[Span]]:
    """Differences of the heat and the electricity counter of one scope."""
    heat, electric = [], []
    for row in rows:
        if row.heat_register_wh is not None and row.heat_register_unix_s is not None:
            heat.append(CounterPoint(row.heat_meter or "", row.heat_register_unix_s, row.heat_register_wh))
        if row.electric_register_wh is not None and row.electric_register_unix_s is not None:
            electric.append(CounterPoint(row.electric_meter or "", row.electric_register_unix_s, row.electric_register_wh))
    return layered([counter_spans(heat, max_w)]), layered([counter_spans(electric, max_w)])


def demand_at(demands: Sequence[DemandRecord], at_unix_s: float) -> DemandRecord | None:
    """The accepted demand that ruled at a moment, by the rules of the docket: windows, order, and a new epoch ends the old one."""
    known = [demand for demand in demands if demand.accepted and demand.issued_unix_s <= at_unix_s]
    epochs: dict[str, int] = {}
    for demand in known:
        epochs[demand.source] = max(demand.epoch, epochs.get(demand.source, demand.epoch))
    valid = [
        demand
        for demand in known
        if demand.valid_from_unix_s <= at_unix_s < demand.valid_until_unix_s and demand.epoch == epochs[demand.source]
    ]
    return max(valid, key=lambda demand: (demand.epoch, demand.sequence), default=None)


def windows(demands: Sequence[DemandRecord], start: float, end: float) -> list[Span]:
    """The heat demanded between two moments, as spans with one power each. It was demanded whether or not we were running."""
    moments = {start, end}
    for demand in demands:
        moments |= {demand.issued_unix_s, demand.valid_from_unix_s, demand.valid_until_unix_s}
    borders = sorted(moment for moment in moments if start <= moment <= end)
    found = []
    for begin, finish in pairwise(borders):
        ruling = demand_at(demands, begin)
        if ruling is not None and ruling.power_w is not None:
            found.append(Span(begin, finish, ruling.power_w * (finish - begin) / 3_600.0, MEASURED))
    return found


def demanded(demands: Sequence[DemandRecord], metering: Sequence[MeteringRecord], start: float, end: float) -> Figure:
    """What was asked for: demands in their windows exactly, and beside them what control held or took from the heat curve.

    missing_s is for how long nothing was asked; that is no gap.
    """
    asked = windows(demands, start, end)
    held = [Span(row.start_unix_s, row.end_unix_s, row.held_wh, ESTIMATED) for row in metering if row.held_wh is not None]
    held_wh = 0.0
    covered_s = sum(span.end - span.start for span in asked)
    for part in layered([asked, held]):
        if part.quality != ESTIMATED or part.end <= start or part.start >= end:
            continue
        covered_s += min(part.end, end) - max(part.start, start)
    for span in held:  # its energy lies outside the windows already: whole, not the part that layering left of it
        if span.end > start and span.start < end:
            held_wh += span.part(max(span.start, start), min(span.end, end)).wh
    if covered_s <= 0.0:
        return Figure(None, MISSING, end - start)
    return Figure(sum(span.wh for span in asked) + held_wh, MEASURED, max(0.0, end - start - covered_s))


def close(
    plan: Plan,
    lines: Mapping[str, Lines],
    demands: Sequence[DemandRecord],
    work: Sequence[UnitWork],
    factors: Mapping[str, float],
    start_unix_s: int,
    now_unix_s: float,
) -> list[PeriodRecord]:
    """The records of one period, the site's and each loop's, as first revisions.

    `factors`: what each unit's power was found to be of what its model says (1 where nothing was learnt).
    """
    end = start_unix_s + plan.period_s
    records = []
    for place in plan.places:
        line = lines[place.name]
        heat = figure(line.heat, start_unix_s, end)
        electric = figure(line.electric, start_unix_s, end)
        minutes = _minutes(line.metering, start_unix_s, end)
        asked = demanded(demands if place is plan.site else (), minutes, start_unix_s, end)
        proven = work_energy(place.units, factors, work, plan.period_s)
        here = [(row, share) for row in minutes if (share := _share_of(row, start_unix_s, end)) > 0.0]
        reported = [row.reported_wh * share for row, share in here if row.reported_wh is not None]
        records.append(
            PeriodRecord(
                scope=place.name,
                start_unix_s=start_unix_s,
                period_s=plan.period_s,
                revision=1,
                reason=None,
                closed_unix_s=now_unix_s,
                demand_wh=asked.wh,
                demand_s=plan.period_s - asked.missing_s,
                heat_wh=heat.wh,
                heat_quality=heat.quality,
                heat_missing_s=heat.missing_s,
                electric_wh=electric.wh,
                electric_quality=electric.quality,
                electric_missing_s=electric.missing_s,
                reported_wh=sum(reported) if reported else None,
                work=pool_work(place, work),
                work_wh=None if proven is None else proven.wh,
                work_sigma=None if proven is None or proven.wh <= 0.0 else proven.sigma_wh / proven.wh,
                supply_asked_s=sum(row.supply_asked_s * share for row, share in here),
                supply_kept_s=sum(row.supply_kept_s * share for row, share in here),
                available_s=sum(row.available_s * share for row, share in here),
            )
        )
    return records


def pool_work(place: Place, work: Iterable[UnitWork]) -> tuple[PoolWork, ...]:
    """Work by pool: of the units of a loop, or (for the site) of everybody, guests too."""
    sums: dict[str, tuple[int, float]] = {}
    for part in work:
        if place.name == SITE or part.unit in place.units:
            shares, hashes = sums.get(part.pool, (0, 0.0))
            sums[part.pool] = shares + part.shares, hashes + part.work
    return tuple(PoolWork(pool, *sums[pool]) for pool in sorted(sums))


def revised(known: PeriodRecord, again: PeriodRecord) -> PeriodRecord | None:
    """The next revision of a closed period when it comes out differently now, with the reason; None when it does not.

    Energy proven by work changes only with the work: what was learnt about the units since is no correction.
    """
    causes = []
    for name in ("demand", "heat", "electric"):
        before, after = getattr(known, f"{name}_wh"), getattr(again, f"{name}_wh")
        quality = (getattr(known, f"{name}_quality", None), getattr(again, f"{name}_quality", None))
        if _differs(before, after) or quality[0] != quality[1]:
            causes.append(_cause(name, before, after, quality))
    is_same_work = _is_same_work(known.work, again.work)
    if not is_same_work:
        shares = sum(part.shares for part in again.work) - sum(part.shares for part in known.work)
        causes.append(f"work: {shares:+,} shares came into the ledger later")
    if abs(known.supply_kept_s - again.supply_kept_s) > SAME_S or abs(known.supply_asked_s - again.supply_asked_s) > SAME_S:
        causes.append("supply temperature: minutes came into the ledger later")
    if not causes:
        return None
    if is_same_work:
        again = msgspec.structs.replace(again, work_wh=known.work_wh, work_sigma=known.work_sigma)
    return msgspec.structs.replace(again, revision=known.revision + 1, reason="; ".join(causes))


def may_improve(record: PeriodRecord, lines: Lines) -> bool:
    """Whether records that come later may make the period better: it has a gap, or a counter that was silent may speak again."""
    if MISSING in (record.heat_quality, record.electric_quality):
        return True
    has_counter = (
        any(row.heat_register_wh is not None for row in lines.metering),
        any(row.electric_register_wh is not None for row in lines.metering),
    )
    pairs = zip((record.heat_quality, record.electric_quality), has_counter, strict=True)
    return any(is_counted and quality == ESTIMATED for quality, is_counted in pairs)


_NAMES = {"demand": "demand", "heat": "heat", "electric": "electricity"}


def _cause(name: str, before: float | None, after: float | None, quality: tuple[str | None, str | None]) -> str:
    change = f"{_kwh(before)} to {_kwh(after)}"
    if quality[0] == quality[1] or quality[0] is None:
        return f"{_NAMES[name]}: {change}, records came into the ledger later"
    return f"{_NAMES[name]}: {quality[0]} {_kwh(before)} to {quality[1]} {_kwh(after)}{_why(quality[1])}"


def _why(quality: str | None) -> str:
    if quality in (MEASURED, SUMMED):
        return ", the counter was read again"
    return ", known in sum and divided by time" if quality != MISSING else ", what stood for it was withdrawn"


def _kwh(wh: float | None) -> str:
    return "nothing" if wh is None else f"{wh / 1000:,.3f} kWh"


def _differs(before: float | None, after: float | None) -> bool:
    if before is None or after is None:
        return before is not after
    return abs(before - after) > max(SAME_WH, SAME_PART * abs(before))


def _is_same_work(before: Sequence[PoolWork], after: Sequence[PoolWork]) -> bool:
    return {part.pool: part.shares for part in before} == {part.pool: part.shares for part in after}


def _minutes(metering: Sequence[MeteringRecord], start: float, end: float) -> Sequence[MeteringRecord]:
    """The minutes, by their end, that may touch the period. Set clocks may put a few in another order: a little more is taken."""
    first = bisect_left(metering, start - MARGIN_S, key=lambda row: row.end_unix_s)
    last = bisect_right(metering, end + MARGIN_S, key=lambda row: row.end_unix_s)
    return metering[first:last]


def _share_of(row: MeteringRecord, start: float, end: float) -> float:
    """Which part of a minute lies in the period."""
    return max(0.0, min(row.end_unix_s, end) - max(row.start_unix_s, start)) / (row.end_unix_s - row.start_unix_s)
