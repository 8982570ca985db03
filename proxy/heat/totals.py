"""Settlement periods added up: one scope over a span of time, and the proof of heat over all of it.

Pure. Sums are of what is known; what is missing is counted beside them and never taken for 0.
"""

from collections.abc import Iterable, Sequence

import msgspec

from proxy.heat import proof
from proxy.heat.proof import Evidence, Gap
from proxy.heat.spans import MEASURED, QUALITIES, SUMMED
from proxy.ledger.records import PeriodRecord, PoolWork
from proxy.views import SettlementView

METERED = frozenset({MEASURED, SUMMED})


class Totals(msgspec.Struct, frozen=True):
    """One scope over some periods. None: not known in any of them.

    compared_*: demand and delivery of the periods in which both are whole; deviation_part is between these. *_qualities: periods by
    quality. heat_per_electric: kWh of heat for a kWh of electricity, where both are whole.
    """

    scope: str
    periods: int
    demand_wh: float | None
    heat_wh: float | None
    heat_missing_s: float
    heat_qualities: dict[str, int]
    compared_demand_wh: float | None
    compared_heat_wh: float | None
    deviation_part: float | None
    electric_wh: float | None
    electric_missing_s: float
    electric_qualities: dict[str, int]
    heat_per_electric: float | None
    work: list[PoolWork]
    work_wh: float | None
    work_low_wh: float | None
    work_high_wh: float | None
    supply_asked_s: float
    supply_kept_s: float
    availability: float | None
    proof_agrees: bool | None
    proof_difference: float | None
    proof_interval: float | None
    proof_between: str | None
    proof_cause: str | None


class SettlementDocument(msgspec.Struct, frozen=True):
    """Newest revisions of the periods that begin in [from, to), by time and scope; totals for the site and each loop.

    `state` is where settlement stands now: `head` is the newest digest of the chain of all records, and `proofs` judges the newest
    closed period.
    """

    state: SettlementView
    totals: list[Totals]
    periods: list[PeriodRecord]


def is_whole(record: PeriodRecord) -> bool:
    """Its heat is known for all of it, and something was asked for in all of it."""
    return record.heat_wh is not None and record.heat_missing_s == 0 and record.demand_wh is not None


def totals(records: Sequence[PeriodRecord], scope: str, efficiency: float, limit: float) -> Totals:
    """Add up the records of `scope`."""
    here = [record for record in records if record.scope == scope]
    compared = [record for record in here if is_whole(record)]
    asked_wh = _sum(record.demand_wh for record in compared)
    given_wh = _sum(record.heat_wh for record in compared)
    both = [r for r in here if r.heat_wh is not None and r.electric_wh is not None and not r.heat_missing_s + r.electric_missing_s]
    fed_wh = sum(record.electric_wh or 0.0 for record in both)
    seconds = sum(record.period_s for record in here)
    evidence = evidence_of(here)
    judgement = proof.judge(evidence, efficiency, limit, 1.0)
    half_wh = proof.Z * (evidence.work_wh or 0.0) * ((evidence.work_sigma or 0.0) ** 2 + proof.MODEL_SIGMA**2) ** 0.5
    worst: Gap | None = judgement.worst
    return Totals(
        scope=scope,
        periods=len(here),
        demand_wh=_sum(record.demand_wh for record in here),
        heat_wh=_sum(record.heat_wh for record in here),
        heat_missing_s=sum(record.heat_missing_s for record in here),
        heat_qualities=_counts(record.heat_quality for record in here),
        compared_demand_wh=asked_wh,
        compared_heat_wh=given_wh,
        deviation_part=(given_wh - asked_wh) / asked_wh if asked_wh and given_wh is not None else None,
        electric_wh=_sum(record.electric_wh for record in here),
        electric_missing_s=sum(record.electric_missing_s for record in here),
        electric_qualities=_counts(record.electric_quality for record in here),
        heat_per_electric=sum(record.heat_wh or 0.0 for record in both) / fed_wh if fed_wh > 0 else None,
        work=pools(here),
        work_wh=evidence.work_wh,
        work_low_wh=None if evidence.work_wh is None else max(0.0, evidence.work_wh - half_wh),
        work_high_wh=None if evidence.work_wh is None else evidence.work_wh + half_wh,
        supply_asked_s=sum(record.supply_asked_s for record in here),
        supply_kept_s=sum(record.supply_kept_s for record in here),
        availability=sum(record.available_s for record in here) / seconds if seconds else None,
        proof_agrees=judgement.agrees,
        proof_difference=None if worst is None else worst.part,
        proof_interval=None if worst is None else worst.interval,
        proof_between=None if worst is None else f"{worst.first}, {worst.second}",
        proof_cause=judgement.cause,
    )


def evidence_of(records: Sequence[PeriodRecord]) -> Evidence:
    """The witnesses over periods known whole: those in which both are metered, else those in which one is; guesses are silent."""
    whole = [
        r for r in records if r.heat_wh is not None and r.electric_wh is not None and not r.heat_missing_s + r.electric_missing_s
    ]
    fed = [record for record in whole if record.electric_quality in METERED]
    both = [record for record in fed if record.heat_quality in METERED]
    heated = [record for record in whole if record.heat_quality in METERED]
    here = both or fed or heated or whole
    work_wh = sum(record.work_wh or 0.0 for record in here)
    variance = sum(((record.work_sigma or 0.0) * (record.work_wh or 0.0)) ** 2 for record in here)
    return Evidence(
        work_wh=work_wh if here and all(record.work_wh is not None for record in here) else None,
        work_sigma=variance**0.5 / work_wh if work_wh > 0 else None,
        is_learned=False,
        electric_wh=_sum(record.electric_wh for record in here) if both or fed else None,
        reported_wh=_sum(record.reported_wh for record in here) if all(r.reported_wh is not None for r in here) else None,
        heat_wh=_sum(record.heat_wh for record in here) if both or (heated and not fed) else None,
    )


def scopes(records: Iterable[PeriodRecord]) -> list[str]:
    """The scopes that occur, the site first."""
    names = dict.fromkeys(record.scope for record in records)
    return sorted(names, key=lambda name: (name != "site", name))


def pools(records: Iterable[PeriodRecord]) -> list[PoolWork]:
    """Work by pool over all records."""
    sums: dict[str, tuple[int, float]] = {}
    for record in records:
        for part in record.work:
            shares, work = sums.get(part.pool, (0, 0.0))
            sums[part.pool] = shares + part.shares, work + part.work
    return [PoolWork(pool, *sums[pool]) for pool in sorted(sums)]


def _sum(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _counts(qualities: Iterable[str]) -> dict[str, int]:
    found = list(qualities)
    return {quality: found.count(quality) for quality in QUALITIES}
