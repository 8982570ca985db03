"""What heat control leaves behind: demands, decisions, commands and energies, in the ledger and (for people) as events.

It decides nothing and reads back only what the next run of the process must know: demands.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import msgspec

from proxy.events import EventLog
from proxy.heat import arbitrate
from proxy.heat.delivery import Delivered
from proxy.heat.demand import DemandAccepted, DemandRefused, HeatDemand, check_finite
from proxy.heat.energy import Meter, Powers
from proxy.heat.schedule import ScheduleAccepted, ahead
from proxy.ledger.records import CommandRecord, DemandRecord, EnergyRecord, MemoryRecord, SetpointRecord
from proxy.units.unit import UnitImage


class LedgerPort(Protocol):
    """What heat control needs of the ledger. The records are queued; False: not taken."""

    def record_demand(self, record: DemandRecord) -> bool: ...
    def record_setpoint(self, record: SetpointRecord) -> bool: ...
    def record_command(self, record: CommandRecord) -> bool: ...
    def record_energy(self, record: EnergyRecord) -> bool: ...
    def record_memory(self, record: MemoryRecord) -> bool: ...
    def memories(self) -> dict[str, MemoryRecord]:
        """The newest memory of every name, over restarts."""
        ...

    def newest_demands(self) -> dict[str, DemandRecord]:
        """The newest accepted demand of every source, over restarts, expired ones too."""
        ...

    def planned_demands(self) -> list[DemandRecord]:
        """Accepted demands of earlier runs that had not expired when this one began, oldest first."""
        ...


class Decision(msgspec.Struct, frozen=True):
    """What one cycle saw and decided. Setpoint, planned and measured power are electrical, everything else thermal.

    demand_w: heat asked for, by itself or by what the supply temperature that was asked needs. marginal_price_per_kwh: of heat.
    """

    now_s: float
    now_unix_s: float
    ruling: arbitrate.Ruling
    demand_w: float | None
    supply_asked_c: float | None
    setpoint_w: float | None
    planned_w: float
    measured_w: float | None
    delivered: Delivered
    limiter: str | None
    headroom_up_w: float
    headroom_down_w: float
    marginal_price_per_kwh: float | None
    efficiency: float
    plant_tau_s: float
    disturbance_w: float
    lead_w: float
    duration_s: float


# While the set-point leads and comes back it moves a little in every cycle: that is no news for people.
NEWS = 0.02


class Journal:
    """The records of one HeatControl. Energies are integrated here between cycles."""

    def __init__(
        self, ledger: LedgerPort, events: EventLog, wall_clock: Callable[[], float], loops: Iterable[str], dead_band: float
    ) -> None:
        """`dead_band`: a set-point that moved by less than this part is no news."""
        self._ledger = ledger
        self._events = events
        self._wall_clock = wall_clock
        self._dead_band = dead_band
        self._meters = {name: Meter(name) for name in ("site", *loops)}
        self._told: Decision | None = None
        self.setpoint_changes = 0
        self.demand_wh = 0.0
        self.heat_wh = 0.0

    def demands(self) -> list[HeatDemand]:
        """From earlier runs: what was planned ahead, and the newest accepted demand of every source; in the order of sending."""
        newest = self._ledger.newest_demands()
        planned = [
            record
            for record in self._ledger.planned_demands()
            if record.source not in newest or record.epoch >= newest[record.source].epoch
        ]
        every = dict.fromkeys(_demand_of(record) for record in (*planned, *newest.values()))
        return sorted(every, key=lambda demand: demand.order)

    def demand(self, demand: HeatDemand, answer: DemandAccepted | DemandRefused) -> None:
        """Record a demand and what became of it."""
        refusal = answer.reason if isinstance(answer, DemandRefused) else None
        # What is no number cannot be stored; the event still tells of it.
        if check_finite(demand) is None:
            self._ledger.record_demand(_demand_record(demand, refusal))
        if refusal is None:
            self._events.publish(
                "heat.demand_accepted",
                source=demand.source,
                sequence=demand.sequence,
                power_w=demand.power_w,
                supply_c=demand.supply_c,
            )
        else:
            self._events.publish("heat.demand_refused", "warning", source=demand.source, sequence=demand.sequence, reason=refusal)

    def schedule(self, blocks: Sequence[HeatDemand], answer: ScheduleAccepted | DemandRefused, now_unix_s: float) -> None:
        """Record a schedule: each block that lies ahead where it was taken, else one row with the reason. One event either way."""
        first, refusal = blocks[0], answer.reason if isinstance(answer, DemandRefused) else None
        if refusal is not None:
            if check_finite(first) is None:
                self._ledger.record_demand(_demand_record(first, refusal))
            self._events.publish("heat.schedule_refused", "warning", source=first.source, sequence=first.sequence, reason=refusal)
            return
        for block in ahead(blocks, now_unix_s):
            self._ledger.record_demand(_demand_record(block, None))
        self._events.publish("heat.schedule_accepted", source=first.source, sequence=first.sequence, blocks=len(blocks))

    def command(self, image: UnitImage, before: int | None, to: int, reason: str, refusal: str | None) -> None:
        """Record a command and what the fleet said to it."""
        self._ledger.record_command(
            CommandRecord(
                at_unix_s=self._wall_clock(),
                unit=image.id,
                level_from=before,
                level_to=to,
                power_w=image.levels[to].power_w,
                reason=reason,
                result="taken" if refusal is None else refusal,
            )
        )

    def integrate(self, decision: Decision, last: Decision | None, by_loop_w: dict[str, float]) -> None:
        """Add the energies since the last cycle; completed quarters go to the ledger. `by_loop_w` is electrical, now."""
        asked_w = None if last is None else last.demand_w
        is_known = decision.measured_w is not None
        if last is not None:
            hours = (decision.now_s - last.now_s) / 3_600.0
            self.demand_wh += (asked_w or 0.0) * hours
            self.heat_wh += (decision.delivered.heat_w or 0.0) * hours
        site = Powers(asked_w, decision.delivered.heat_w, decision.delivered.quality, sum(by_loop_w.values()) if is_known else None)
        self._add("site", site, decision.now_unix_s)
        for name, drawn_w in by_loop_w.items():
            self._add(name, Powers(None, None, "unknown", drawn_w if is_known else None), decision.now_unix_s)

    def close(self) -> None:
        """Hand the open periods to the ledger, as far as they got."""
        for meter in self._meters.values():
            self._store(meter.close())

    def tell(self, decision: Decision) -> None:
        """One event and one ledger row for each change of rung or set-point; none for a cycle that changed nothing."""
        if not self._is_news(decision):
            return
        ruling = decision.ruling
        facts: dict[str, str | float | None] = {
            "ladder": ruling.rung.value,
            "cause": ruling.cause,
            "source": None if ruling.demand is None else ruling.demand.source,
            "demand_w": decision.demand_w,
            "setpoint_w": decision.setpoint_w,
            "planned_w": decision.planned_w,
            "measured_w": decision.measured_w,
            "heat_w": decision.delivered.heat_w,
            "limiter": decision.limiter,
            "marginal_price_per_kwh": decision.marginal_price_per_kwh,
        }
        self._events.publish("heat.setpoint_changed", "info" if ruling.rung is arbitrate.Rung.LIVE else "warning", **facts)
        self._ledger.record_setpoint(
            SetpointRecord(
                at_unix_s=decision.now_unix_s,
                ladder=ruling.rung.value,
                demand_w=decision.demand_w,
                setpoint_power_w=decision.setpoint_w,
                commanded_power_w=decision.planned_w,
                measured_power_w=decision.measured_w,
                heat_w=decision.delivered.heat_w,
                heat_quality=decision.delivered.quality,
                limiter=decision.limiter,
            )
        )
        self.setpoint_changes += 1
        self._told = decision

    def _add(self, scope: str, powers: Powers, now_unix_s: float) -> None:
        self._store(self._meters[scope].add(powers, now_unix_s))

    def _store(self, records: Sequence[EnergyRecord]) -> None:
        for record in records:
            self._ledger.record_energy(record)

    def _is_news(self, decision: Decision) -> bool:
        told = self._told
        if told is None or told.ruling.rung is not decision.ruling.rung:
            return True
        if told.setpoint_w is None or decision.setpoint_w is None:
            return told.setpoint_w is not decision.setpoint_w
        return abs(decision.setpoint_w - told.setpoint_w) > max(NEWS, self._dead_band) * max(told.setpoint_w, 1.0)


def _demand_record(demand: HeatDemand, refusal: str | None) -> DemandRecord:
    return DemandRecord(
        source=demand.source,
        epoch=demand.epoch,
        sequence=demand.sequence,
        issued_unix_s=demand.issued_unix_s,
        valid_from_unix_s=demand.valid_from_unix_s,
        valid_until_unix_s=demand.valid_until_unix_s,
        power_w=demand.power_w,
        accepted=refusal is None,
        reason=refusal,
        supply_c=demand.supply_c,
        ramp_w_per_min=demand.ramp_w_per_min,
    )


def _demand_of(record: DemandRecord) -> HeatDemand:
    return HeatDemand(
        source=record.source,
        epoch=record.epoch,
        sequence=record.sequence,
        issued_unix_s=record.issued_unix_s,
        valid_from_unix_s=record.valid_from_unix_s,
        valid_until_unix_s=record.valid_until_unix_s,
        power_w=record.power_w,
        supply_c=record.supply_c,
        ramp_w_per_min=record.ramp_w_per_min,
    )
