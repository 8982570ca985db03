"""Settlement while the site runs: looks at the plant every few seconds, keeps minutes, closes periods, judges the proof of heat.

The maths is in `settlement`, `spans` and `proof`; the chain is the ledger's. What was not closed when the process ended is closed
after the next start from what the ledger has; time without a process is a gap and is called one. Nothing here moves a unit.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

import msgspec
import structlog
import trio

from proxy import config
from proxy.errors import StoreError
from proxy.events import EventLog
from proxy.heat import proof, settlement
from proxy.heat.keeping import keep_factors, recall_factors
from proxy.heat.looks import FleetPort, HeatPort, MeterPort, looks_of
from proxy.heat.minutes import Minutes, UnitEnergy
from proxy.heat.proof import Curve, Evidence, Learned, SharePower
from proxy.heat.settlement import SITE, Lines, Place, Plan
from proxy.heat.spans import MEASURED, SUMMED, swing_w
from proxy.ledger.records import MemoryRecord, MeteringRecord, PeriodRecord, UnitWork
from proxy.ledger.reports import PeriodInputs, Reports
from proxy.units.unit import ProvenPower
from proxy.views import ProofView, SettlementView
from proxy.work.evidence import Counted

log = structlog.get_logger()

LOOK_S: Final = 5.0
# A period is closed when meters that are read each minute have been read once after its end.
CLOSE_DELAY_S: Final = 120.0
# Periods computed in one go, and looked at again for late records: a day of quarter hours.
BATCH: Final = 96
# Periods right before the newest one: what was slow to arrive shows up in them.
RECHECK: Final = 4
# Longer without a process, and the oldest minutes are gone from the ledger anyway.
CATCH_UP_S: Final = 62 * 86_400.0
# Less than this part of what a scope can draw is not judged: pumps and sleeping units drown it.
PROOF_FLOOR: Final = 0.05
# Control that missed so many cycles is dead, and what it said last is old.
DEAD_CYCLES: Final = 3
METERED: Final = frozenset({MEASURED, SUMMED})


class LedgerPort(Protocol):
    """What settlement needs of the ledger."""

    @property
    def reports(self) -> Reports: ...
    def record_metering(self, record: MeteringRecord) -> bool: ...
    def record_period(self, record: PeriodRecord) -> bool: ...
    def record_memory(self, record: MemoryRecord) -> bool: ...
    def memories(self) -> dict[str, MemoryRecord]: ...
    async def flush(self) -> bool: ...


class _Closing(msgspec.Struct):
    """What one computation brought: new records and revisions by time, what late records may change, and what judging needs."""

    records: list[PeriodRecord]
    lines: dict[str, Lines]
    work: dict[int, list[UnitWork]]
    doubtful: set[int]


def plan_of(site: config.SiteConfig) -> Plan:
    """What settlement must know of a site file."""
    curves = {name: proof.curve_of(model) for name, model in site.models.items()}
    tops = {name: max(level.power_w for level in model.levels) for name, model in site.models.items()}
    names = dict.fromkeys([*(loop.name for loop in site.loops), *(unit.loop for unit in site.units)])
    places = [
        Place(
            name,
            sum(tops[unit.model] for unit in site.units if unit.loop == name),
            {unit.id: curves[unit.model] for unit in site.units if unit.loop == name},
        )
        for name in names
    ]
    whole = Place(SITE, sum(place.max_w for place in places), {unit.id: curves[unit.model] for unit in site.units})
    return Plan(site.settlement.period_s, whole, tuple(places))


class Settling:
    """One for a site. `run` does the work; everything else is a plain call on the trio thread."""

    def __init__(
        self,
        site: config.SiteConfig,
        *,
        heat: HeatPort,
        meters: MeterPort,
        fleet: FleetPort,
        ledger: LedgerPort,
        events: EventLog,
        wall_clock: Callable[[], float],
    ) -> None:
        """Takes up what an earlier process learned of the units; `run` asks the ledger where it left off."""
        self.plan = plan_of(site)
        self.efficiency = site.heat.thermal_efficiency
        self.max_disagreement = site.settlement.max_disagreement
        self._supply_tolerance_k = site.settlement.supply_tolerance_k
        self._plant_tau_s = site.heat.plant_tau_s
        self._heat = heat
        self._meters = meters
        self._fleet = fleet
        self._ledger = ledger
        self._events = events
        self._wall_clock = wall_clock
        self._minutes = {place.name: Minutes(place.name) for place in self.plan.places}
        self._unit_energy = UnitEnergy()
        self._alive = (-1, 0.0)  # control's counter of cycles, and when it last moved
        self._dead_after_s = max(LOOK_S, DEAD_CYCLES * site.heat.control_period_s)
        self._curves: Mapping[str, Curve] = self.plan.site.units
        self._learned = recall_factors(ledger, self._curves, events, wall_clock)
        self._next: int | None = None  # the oldest period that is not closed
        self._patient_until_unix_s = 0.0  # after a start, meters speak first: their counters close the gap
        self._doubtful: set[int] = set()  # closed periods that a late record could make better
        self._proofs: dict[str, ProofView] = {}
        self._view = SettlementView(self.plan.period_s)

    # What others ask.

    def view(self) -> SettlementView:
        """Where settlement stands."""
        due = 0.0 if self._next is None else self._wall_clock() - (self._next + self.plan.period_s + CLOSE_DELAY_S)
        return msgspec.structs.replace(
            self._view,
            overdue_s=max(0.0, due),
            proofs=[self._proofs[place.name] for place in self.plan.places if place.name in self._proofs],
        )

    def alarms(self) -> tuple[str, ...]:
        """Scopes whose work, electricity and heat disagree, one line each."""
        return tuple(
            f"proof of heat, {view.scope}: {abs(view.disagreement or 0.0):.0%} between {view.between}; {view.cause}"
            for view in self._proofs.values()
            if view.agrees is False
        )

    def share_power(self, unit_id: str, hashrate_hps: float, shares: float) -> SharePower | None:
        """Power that `shares` at this rate prove of a unit; None for a unit that is not of this site."""
        curve = self._curves.get(unit_id)
        if curve is None:
            return None
        known = self._learned.get(unit_id, Learned())
        return proof.share_power(curve, known.factor, hashrate_hps, shares, known.is_settled)

    def proven_power(self, unit_id: str, found: Counted) -> ProvenPower | None:
        """The same for heat control, from shares counted over a window; None for a unit that is not of this site."""
        curve = self._curves.get(unit_id)
        if curve is None:
            return None
        known = self._learned.get(unit_id)
        factor, is_learned = (1.0, False) if known is None else (known.factor, known.is_settled)
        return proof.proven_power(curve, factor, found, is_learned)

    # The task.

    async def run(self) -> None:
        """Look, keep minutes and close periods until cancelled; then the open minute is handed to the ledger."""
        try:
            while True:
                self.look()
                try:
                    await self.close_due()
                except StoreError as error:
                    log.error("settlement.delayed", reason=str(error))
                await trio.sleep(LOOK_S)
        finally:
            self.end()

    def look(self) -> None:
        """Take one look at the plant; completed minutes go to the ledger."""
        now_unix_s = self._wall_clock()
        images = self._fleet.image(trio.current_time())
        alive = self._heat.report(now_unix_s).alive
        if alive != self._alive[0]:
            self._alive = alive, now_unix_s
        looks = looks_of(
            self.plan,
            self._heat,
            self._meters,
            images,
            self.efficiency,
            self._supply_tolerance_k,
            now_unix_s,
            is_alive=now_unix_s - self._alive[1] <= self._dead_after_s,
        )
        for name, seen in looks.items():
            for record in self._minutes[name].add(seen, now_unix_s):
                self._ledger.record_metering(record)
        powers = {image.id: image.power_w for image in images if image.power_w is not None}
        self._unit_energy.add(powers, now_unix_s, self.plan.period_s)

    def end(self) -> None:
        """Hand the open minutes to the ledger, as far as they got."""
        for minutes in self._minutes.values():
            for record in minutes.close():
                self._ledger.record_metering(record)

    async def close_due(self) -> None:
        """Close every period that is over, oldest first, and revise what late records changed. StoreError: try again later."""
        if self._next is None:
            await self._begin()
        assert self._next is not None
        period_s = self.plan.period_s
        if self._wall_clock() < self._patient_until_unix_s:
            return
        while self._next + period_s + CLOSE_DELAY_S <= self._wall_clock():
            over = int((self._wall_clock() - CLOSE_DELAY_S - self._next) // period_s)
            fresh = [self._next + k * period_s for k in range(min(over, BATCH))]
            oldest = fresh[0] - BATCH * period_s
            again = {start for start in self._doubtful if start >= oldest} | {
                fresh[0] - k * period_s for k in range(1, RECHECK + 1)
            }
            if not await self._close([*sorted(again), *fresh], set(fresh)):
                return
            self._doubtful = {start for start in self._doubtful if start >= oldest}
            self._next = fresh[-1] + period_s

    async def _begin(self) -> None:
        """Find out where an earlier run left off."""
        period_s = self.plan.period_s
        closed_until, first_minute = await self._ledger.reports.period_bounds()
        now_unix_s = self._wall_clock()
        self._patient_until_unix_s = now_unix_s + CLOSE_DELAY_S
        if closed_until is not None:
            start = -(-closed_until // period_s) * period_s
        else:
            start = settlement.period_start(now_unix_s if first_minute is None else first_minute, period_s)
        self._next = max(start, settlement.period_start(now_unix_s - CATCH_UP_S, period_s))
        rows, head = await self._ledger.reports.period_head()
        self._view = msgspec.structs.replace(self._view, closed_until_unix_s=closed_until, rows=rows, head=head.hex())
        # Records that waited for a sick disk, or a counter that speaks again, may have come since.
        self._doubtful = {self._next - k * period_s for k in range(1, BATCH + 1)}

    async def _close(self, starts: list[int], fresh: set[int]) -> bool:
        """Compute these periods and record what is new in them. False when the ledger could not promise it."""
        if not await self._ledger.flush():
            return False  # the minutes themselves are not safe yet
        inputs = await self._ledger.reports.period_inputs(starts, self.plan.period_s)
        factors = {unit: known.factor for unit, known in self._learned.items()}
        closing = await trio.to_thread.run_sync(
            compute, self.plan, starts, fresh, inputs, factors, self._wall_clock(), abandon_on_cancel=True
        )
        for record in closing.records:
            self._ledger.record_period(record)
        if not await self._ledger.flush():
            return False
        rows, head = await self._ledger.reports.period_head()
        self._note(closing.records, rows, head)
        self._doubtful = self._doubtful.difference(starts) | closing.doubtful
        if max(fresh) + 2 * self.plan.period_s + CLOSE_DELAY_S > self._wall_clock():
            self._judge(max(fresh), closing)
        return True

    def _note(self, records: Sequence[PeriodRecord], rows: int, head: bytes) -> None:
        """Tell of what was recorded, and remember what may still become better."""
        view = self._view
        closed_until = max([view.closed_until_unix_s or 0, *(record.end_unix_s for record in records)])
        first = [record for record in records if record.revision == 1]
        later = [record for record in records if record.revision > 1]
        gaps = [record for record in first if record.heat_missing_s or record.electric_missing_s]
        self._view = msgspec.structs.replace(
            view,
            closed_until_unix_s=closed_until or None,
            closed=view.closed + len(first),
            revised=view.revised + len(later),
            incomplete=view.incomplete + len(gaps),
            rows=rows,
            head=head.hex(),
        )
        for record in later:
            self._events.publish(
                "settlement.revised",
                "warning",
                scope=record.scope,
                start_unix_s=record.start_unix_s,
                revision=record.revision,
                reason=record.reason,
            )
        newest = [record for record in first if record.scope == SITE][-1:]
        for record in newest:
            self._events.publish(
                "settlement.closed",
                start_unix_s=record.start_unix_s,
                demand_wh=record.demand_wh,
                heat_wh=record.heat_wh,
                quality=record.heat_quality,
                missing_s=record.heat_missing_s,
                periods=len(first) // len(self.plan.places),
            )

    # Proof of heat.

    def _judge(self, start_unix_s: int, closing: _Closing) -> None:
        """Judge the newest period, tell what changed, and learn from it where nothing disagreed."""
        records = {record.scope: record for record in closing.records if record.start_unix_s == start_unix_s}
        for place in self.plan.places:
            record = records.get(place.name)
            if record is not None:
                self._tell(place, self._proof(place, record, closing.lines[place.name]))
        if not self.alarms():
            self._learn(start_unix_s, closing.work.get(start_unix_s, []))

    def _proof(self, place: Place, record: PeriodRecord, lines: Lines) -> ProofView:
        start, end = record.start_unix_s, record.end_unix_s
        under_way_w = swing_w(lines.heat, start - self._plant_tau_s, end) if place.units else 0.0
        is_learned = 2 * sum(self._learned.get(unit, Learned()).is_settled for unit in place.units) > len(place.units)
        evidence = Evidence(
            work_wh=record.work_wh,
            work_sigma=record.work_sigma,
            is_learned=is_learned,
            electric_wh=record.electric_wh if record.electric_quality in METERED else None,
            reported_wh=record.reported_wh,
            heat_wh=record.heat_wh if record.heat_quality in METERED else None,
            stored_wh=under_way_w * self._plant_tau_s / 3_600.0,
        )
        floor_wh = PROOF_FLOOR * place.max_w * self.plan.period_s / 3_600.0
        return proof_view(record, evidence, self.efficiency, self.max_disagreement, floor_wh)

    def _tell(self, place: Place, view: ProofView) -> None:
        before = self._proofs.get(place.name)
        self._proofs[place.name] = view
        was_apart = before is not None and before.agrees is False
        if view.agrees is False and not was_apart:
            self._events.publish(
                "heat.proof_disagrees",
                "error",
                scope=view.scope,
                between=view.between,
                disagreement=view.disagreement,
                interval=view.interval,
                cause=view.cause,
            )
        elif view.agrees and was_apart:
            self._events.publish("heat.proof_agrees", scope=view.scope, disagreement=view.disagreement)

    def _learn(self, start_unix_s: int, work: Sequence[UnitWork]) -> None:
        sums: dict[str, tuple[int, float]] = {}
        for part in work:
            shares, hashes = sums.get(part.unit, (0, 0.0))
            sums[part.unit] = shares + part.shares, hashes + part.work
        period_s = self.plan.period_s
        for unit, (wh, seconds) in self._unit_energy.sums.get(start_unix_s, {}).items():
            if unit in self._curves and unit in sums and seconds > 0.95 * period_s:
                shares, hashes = sums[unit]
                known = self._learned.setdefault(unit, Learned())
                proof.learn(known, self._curves[unit], wh * period_s / seconds, hashes, shares, period_s)
        keep_factors(self._ledger, self._curves, self._learned, self._wall_clock())


def compute(
    plan: Plan,
    starts: Sequence[int],
    fresh: set[int],
    inputs: PeriodInputs,
    factors: Mapping[str, float],
    now_unix_s: float,
) -> _Closing:
    """The records that the inputs make: first revisions, and the next revision of what comes out differently now."""
    lines = settlement.lines_of(plan, inputs.metering)
    closed = {(record.start_unix_s, record.scope): record for record in inputs.closed if record.period_s == plan.period_s}
    records = []
    doubtful = set()
    for start, work in zip(starts, inputs.work, strict=True):
        for record in settlement.close(plan, lines, inputs.demands, work, factors, start, now_unix_s):
            if settlement.may_improve(record, lines[record.scope]):
                doubtful.add(start)
            known = closed.get((start, record.scope))
            if known is not None:
                later = settlement.revised(known, record)
                if later is not None:
                    records.append(later)
            elif start in fresh:
                records.append(record)
    return _Closing(records, lines, dict(zip(starts, inputs.work, strict=True)), doubtful)


def proof_view(record: PeriodRecord, evidence: Evidence, efficiency: float, limit: float, floor_wh: float) -> ProofView:
    """The proof of one period of one scope, judged, as people and metrics see it."""
    judgement = proof.judge(evidence, efficiency, limit, floor_wh)
    worst = judgement.worst
    half_wh = None
    if evidence.work_wh is not None:
        own = proof.LEARNED_SIGMA if evidence.is_learned else proof.MODEL_SIGMA
        half_wh = proof.Z * evidence.work_wh * ((evidence.work_sigma or 0.0) ** 2 + own**2) ** 0.5
    return ProofView(
        scope=record.scope,
        start_unix_s=record.start_unix_s,
        period_s=record.period_s,
        work_wh=evidence.work_wh,
        work_low_wh=None if evidence.work_wh is None or half_wh is None else max(0.0, evidence.work_wh - half_wh),
        work_high_wh=None if evidence.work_wh is None or half_wh is None else evidence.work_wh + half_wh,
        electric_wh=record.electric_wh,
        electric_quality=record.electric_quality,
        reported_wh=record.reported_wh,
        heat_wh=record.heat_wh,
        heat_quality=record.heat_quality,
        disagreement=None if worst is None else worst.part,
        interval=None if worst is None else worst.interval,
        between=None if worst is None else f"{worst.first}, {worst.second}",
        agrees=judgement.agrees,
        cause=judgement.cause,
    )
