"""The running site as the HTTP side sees it: one object that reads from every part and hands control actions to the right one.

It joins what is known of a unit from its device, its Stratum connection and its work. It decides nothing itself.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

import msgspec
import structlog

from protocol.v2.identity import ServerIdentity
from proxy import config
from proxy.events import Event, EventLog
from proxy.heat.control import HeatControl
from proxy.heat.demand import DemandAccepted, DemandRefused, HeatDemand, MeterAccepted, MeterReading, accepted
from proxy.heat.forecast import ForecastRefused, ForecastTaken, Sent, TankReading, TankTaken
from proxy.heat.outlook import Outlook
from proxy.heat.proof import SharePower, effective_shares
from proxy.heat.settling import Settling
from proxy.heat.signals.board import SignalBoard
from proxy.heat.signals.forecasts import decode_forecast, decode_prices, decode_tank
from proxy.heat.signals.rest import decode_demand, decode_meter
from proxy.heat.signals.schedules import decode_schedule
from proxy.heat.totals import SettlementDocument, scopes, totals
from proxy.ledger.ledger import Ledger
from proxy.ledger.records import HASHES_PER_DIFFICULTY, AuditRecord
from proxy.telemetry.lag import LoopLag
from proxy.units.fleet import Fleet
from proxy.upstream.pool import Pool
from proxy.views import PlanBlocks, SiteView, UnitView
from proxy.witness import ShareWitness
from proxy.work import vardiff
from proxy.work.router import Router

# A site whose loop is late by more than this is not ready for more work.
MAX_LOOP_LAG_S = 1.0
PLANNER_OFF = ForecastRefused(409, "this site does not plan ahead", "set heat.planner.enabled in the site file and restart")
REST_OFF = DemandRefused(409, "demands by REST are off", "set signals.rest.enabled in the site file and restart")
REFUSED_KEYS = {"api.refused": "unknown key", "api.forbidden": "its role does not allow it"}

log = structlog.get_logger()


class LiveSite:
    """Implements proxy.web.site.Site over the parts of this process."""

    def __init__(
        self,
        *,
        name: str,
        version: str,
        api: config.Api,
        rest: config.RestSignal,
        events: EventLog,
        ledger: Ledger,
        router: Router,
        pools: Sequence[Pool],
        fleet: Fleet,
        heat: HeatControl,
        outlook: Outlook | None,
        signals: SignalBoard,
        settling: Settling,
        witness: ShareWitness,
        lag: LoopLag,
        certificate: ServerIdentity | None,
        reload: Callable[[], Awaitable[list[str]]],
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
    ) -> None:
        self.api = api
        self.events = events
        self._rest = rest
        self._name = name
        self._version = version
        self._ledger = ledger
        self._router = router
        self._pools = pools
        self._fleet = fleet
        self._heat = heat
        self._outlook = outlook
        self._signals = signals
        self._settling = settling
        self._witness = witness
        self._lag = lag
        self._certificate = certificate
        self._reload = reload
        self._clock = clock
        self._wall_clock = wall_clock
        self._started_s = clock()
        events.listen(self._audit_refused_key)
        events.listen(self._audit_hold)

    # -- reading

    def view(self) -> SiteView:
        """See Site."""
        now_s = self._clock()
        working = Counter(channel.session.pool for channel in self._router.channels if channel.session is not None)
        return SiteView(
            name=self._name,
            version=self._version,
            now_unix_s=self._wall_clock(),
            uptime_s=now_s - self._started_s,
            miners_connected=len(self._router.channels),
            hashrate_hps=self._hashrate_hps(now_s),
            shares=self._ledger.totals(),
            heat=self._heat.view(),
            plan=None if self._outlook is None else self._outlook.view(),
            pools=[pool.view(active=working[pool.name] > 0, units=working[pool.name]) for pool in self._pools],
            unit_states=dict(Counter(unit.state for unit in self._fleet.views(now_s))),
            ledger_state="degraded" if self._ledger.is_degraded else "ok",
            loop_lag_s=self._lag.worst_s,
            signals=self._signals.views(),
            alarms=self._heat.alarm_views(now_s),
            loops=self._heat.loops(),
            ahead=self._heat.ahead(),
            settlement=self._settling.view(),
            proven_now=self._witness.now,
            meters=self._heat.bank.views(self._wall_clock()),
            v2_certificate_expires_s=self._certificate.seconds_to_expiry(self._wall_clock()) if self._certificate else None,
        )

    def units(self) -> list[UnitView]:
        """See Site."""
        now_s, doubts = self._clock(), self._heat.doubts()
        return [self._joined(unit, now_s, doubts.get(unit.id)) for unit in self._fleet.views(now_s)]

    def unit(self, unit_id: str) -> UnitView | None:
        """See Site."""
        return next((unit for unit in self.units() if unit.id == unit_id), None)

    def health(self) -> list[str]:
        """See Site."""
        problems = []
        if not any(pool.is_ready for pool in self._pools):
            reasons = "; ".join(f"{pool.name}: {pool.health().reason or 'connecting'}" for pool in self._pools)
            problems.append(f"no pool is ready ({reasons}); check the pools' address, user and password")
        if self._ledger.is_degraded:
            problems.append(f"the ledger cannot write: {self._ledger.degraded_reason}; shares are refused until it can")
        if self._lag.worst_s is not None and self._lag.worst_s > MAX_LOOP_LAG_S:
            problems.append(f"the event loop was late by {self._lag.worst_s:.1f} s; the machine is overloaded")
        return problems

    async def settlement(self, start_unix_s: int, end_unix_s: int) -> SettlementDocument:
        """See Site."""
        records = await self._ledger.reports.periods(start_unix_s, end_unix_s)
        plan = self._settling
        sums = [totals(records, scope, plan.efficiency, plan.max_disagreement) for scope in scopes(records)]
        return SettlementDocument(plan.view(), sums, records)

    # -- control

    def submit_demand(self, body: bytes, actor: str) -> tuple[int, msgspec.Struct]:
        """See Site."""
        now_unix_s = self._wall_clock()
        demand = decode_demand(body, actor, now_unix_s) if self._rest.enabled else REST_OFF
        answer = self._heat.submit_demand(demand, now_unix_s) if isinstance(demand, HeatDemand) else demand
        self._signals.note_rest(answer)
        if isinstance(answer, DemandAccepted):
            return 200, answer
        self._audit(actor, "heat.demand", "site", "refused", answer.reason)
        return answer.code, answer

    def put_schedule(self, body: bytes, actor: str) -> tuple[int, msgspec.Struct]:
        """See Site."""
        now_unix_s = self._wall_clock()
        blocks = decode_schedule(body, actor, now_unix_s) if self._rest.enabled else REST_OFF
        answer = blocks if isinstance(blocks, DemandRefused) else self._heat.submit_schedule(blocks, now_unix_s)
        if not isinstance(blocks, DemandRefused) and not isinstance(answer, DemandRefused):
            present = next((block for block in blocks if block.valid_until_unix_s > now_unix_s), blocks[-1])
            self._signals.note_rest(accepted(present, now_unix_s))
            return 200, answer
        assert isinstance(answer, DemandRefused)
        self._signals.note_rest(answer)
        self._audit(actor, "heat.schedule", "site", "refused", answer.reason)
        return answer.code, answer

    def set_outdoor(self, outdoor_c: float, actor: str) -> str | None:
        """See Site."""
        problem = self._heat.set_outdoor(outdoor_c, actor, self._wall_clock())
        if problem is not None:
            self._audit(actor, "heat.outdoor", "site", "refused", problem)
        return problem

    def set_stop(self, stop: bool, actor: str) -> None:
        """See Site."""
        if stop == (actor in self._heat.stop_sources()):
            self._audit(actor, "heat.stop", "site", "held" if stop else "released", "it was already")
        self._heat.set_emergency_stop(stop, actor)  # `_audit_hold` hears of it

    def release_stop(self, source: str, name: str, reason: str, actor: str) -> str | None:
        """See Site."""
        problem = self._heat.release_stop(source, name, reason)
        self._audit(actor, "heat.stop_release", source, f"by {name}: {reason}", problem or "done")
        return problem

    def acknowledge_alarms(self, actor: str) -> list[str]:
        """See Site."""
        names = self._heat.acknowledge_alarms(actor)
        self._audit(actor, "heat.acknowledge", "site", ", ".join(names), "done")
        return names

    def push_meter(self, body: bytes, actor: str) -> tuple[int, msgspec.Struct]:
        """See Site."""
        reading = decode_meter(body)
        answer = self._heat.meter(reading) if isinstance(reading, MeterReading) else reading
        return (200, answer) if isinstance(answer, MeterAccepted) else (answer.code, answer)

    def put_prices(self, body: bytes, actor: str) -> tuple[int, msgspec.Struct]:
        """See Site."""
        now_unix_s = self._wall_clock()
        return self._take_forecasts("prices", decode_prices(body, now_unix_s), actor, now_unix_s)

    def put_forecast(self, body: bytes, actor: str) -> tuple[int, msgspec.Struct]:
        """See Site."""
        now_unix_s = self._wall_clock()
        return self._take_forecasts("heat.forecast", decode_forecast(body, now_unix_s), actor, now_unix_s)

    def put_tank(self, body: bytes, actor: str) -> tuple[int, msgspec.Struct]:
        """See Site."""
        now_unix_s = self._wall_clock()
        if self._outlook is None:
            return PLANNER_OFF.code, PLANNER_OFF
        reading = decode_tank(body, now_unix_s)
        answer = self._outlook.take_tank(reading, now_unix_s) if isinstance(reading, TankReading) else reading
        if isinstance(answer, TankTaken):
            return 200, answer
        self._audit(actor, "heat.tank", "site", "refused", answer.reason)
        return answer.code, answer

    def plan_blocks(self) -> PlanBlocks | None:
        """See Site."""
        return None if self._outlook is None else self._outlook.blocks()

    def _take_forecasts(
        self, action: str, sent: Sent | ForecastRefused, actor: str, now_unix_s: float
    ) -> tuple[int, msgspec.Struct]:
        if self._outlook is None:
            return PLANNER_OFF.code, PLANNER_OFF
        answer = self._outlook.take_forecasts(sent, now_unix_s) if isinstance(sent, Sent) else sent
        if isinstance(answer, ForecastTaken):
            self._audit(actor, action, "site", "taken", "done")
            return 200, answer
        self._audit(actor, action, "site", "refused", answer.reason)
        return answer.code, answer

    def set_manual_limit(self, power_w: float | None, actor: str) -> None:
        """See Site."""
        self._heat.set_manual_limit(power_w, actor)
        self._audit(actor, "heat.limit", "site", _watts(power_w), "done")

    def set_service(self, unit_id: str, in_service: bool, note: str, actor: str) -> str | None:
        """See Site."""
        problem = self._fleet.set_service(unit_id, in_service, note)
        after = f"{'in' if in_service else 'out of'} service: {note}"
        self._audit(actor, "unit.service", unit_id, after, problem or "done")
        return problem

    def withhold_work(self, unit_id: str, for_s: float | None, actor: str) -> str | None:
        """See Site."""
        problem = self._fleet.withhold(unit_id, for_s)
        after = "given back" if for_s is None else f"withheld for {for_s:.0f} s"
        self._audit(actor, "unit.work", unit_id, after, problem or "done")
        return problem

    def command_unit(self, unit_id: str, level: int, actor: str) -> str | None:
        """See Site."""
        problem = self._heat.command_unit(unit_id, level, actor, self._clock())
        self._audit(actor, "unit.level", unit_id, str(level), problem or "done")
        return problem

    def accept_serial(self, unit_id: str, actor: str) -> str | None:
        """See Site."""
        problem = self._fleet.accept_serial(unit_id)
        self._audit(actor, "unit.accept_serial", unit_id, "", problem or "done")
        return problem

    def clear_fault(self, unit_id: str, actor: str) -> str | None:
        """See Site."""
        problem = self._fleet.clear_fault(unit_id)
        self._audit(actor, "unit.clear_fault", unit_id, "", problem or "done")
        return problem

    async def reload(self, actor: str) -> list[str]:
        """See Site."""
        problems = await self._reload()
        for problem in problems:
            log.error("reload.refused", problem=problem)
        self._audit(actor, "site.reload", "site", "", "; ".join(problems) or "done")
        return problems

    # -- inside

    def _audit_refused_key(self, event: Event) -> None:
        """Who came to the API with a wrong key, or with one that may not do this, is in the ledger too."""
        if event.name in REFUSED_KEYS:
            actor, path = event.facts.get("actor") or f"stranger at {event.facts.get('address')}", event.facts.get("path")
            self._ledger.record_audit(
                AuditRecord(event.at_unix_s, str(actor), event.name, str(path), None, None, REFUSED_KEYS[event.name])
            )

    def _audit_hold(self, event: Event) -> None:
        """Stops and import limits are in the ledger whichever way they came; what a person releases, `release_stop` writes.

        A limit that is only told again for longer is not written again: a sender may do that each minute, for ever.
        """
        facts, before, after = event.facts, None, None
        if event.name == "heat.stop_held" or (event.name == "heat.stop_released" and "reason" not in facts):
            action, after = "heat.stop", event.name.removeprefix("heat.stop_")
        elif event.name == "heat.import_limit_set" and facts["power_w"] != facts["before_w"]:
            action, before, after = "heat.import_limit", _watts(facts["before_w"]), _watts(facts["power_w"])
        else:
            return
        self._ledger.record_audit(AuditRecord(event.at_unix_s, str(facts["source"]), action, "site", before, after, "done"))

    def _audit(self, actor: str, action: str, subject: str, after: str, result: str) -> None:
        self._ledger.record_audit(
            AuditRecord(
                at_unix_s=self._wall_clock(), actor=actor, action=action, subject=subject, before="", after=after, result=result
            )
        )
        self.events.publish("audit.recorded", actor=actor, action=action, subject=subject, after=after, result=result)

    def _hashrate_hps(self, now_s: float) -> float | None:
        proven = [vardiff.proven_hps(channel.vardiff, self._router.policy, now_s) for channel in self._router.channels]
        known = [hps for hps in proven if hps is not None]
        return sum(known) if known else None

    def _joined(self, unit: UnitView, now_s: float, doubt: str | None) -> UnitView:
        """The device's facts, with those of its connection and of its work."""
        work = self._router.memory.known(unit.id)
        channel = self._router.by_unit.get(unit.id)
        hashrate_hps = vardiff.proven_hps(channel.vardiff, self._router.policy, now_s) if channel is not None else None
        proven = (
            None if channel is None or hashrate_hps is None else self._share_power(unit.id, channel.vardiff, hashrate_hps, now_s)
        )
        last_share_s = channel.last_share_s if channel is not None else None
        if last_share_s is None and work is not None:
            last_share_s = work.last_share_s
        return msgspec.structs.replace(
            unit,
            connected=channel is not None,
            pool=channel.session.pool if channel is not None and channel.session is not None else None,
            hashrate_shares_hps=hashrate_hps,
            difficulty=channel.current.difficulty if channel is not None and channel.current is not None else None,
            share_age_s=now_s - last_share_s if last_share_s is not None else None,
            accepted=work.accepted if work is not None else 0,
            rejected=work.rejected + work.refused if work is not None else 0,
            user_agent=channel.user_agent if channel is not None else None,
            stratum_version=channel.stratum_version if channel is not None else None,
            power_shares_w=None if proven is None else float(round(proven.power_w)),
            power_shares_low_w=None if proven is None else float(round(proven.low_w)),
            power_shares_high_w=None if proven is None else float(round(proven.high_w)),
            doubt=doubt,
        )

    def _share_power(self, unit_id: str, known: vardiff.Vardiff, hashrate_hps: float, now_s: float) -> SharePower | None:
        """What its shares prove of a unit's power: an estimate that fades with the policy's time constant."""
        rate_per_s = hashrate_hps / (known.difficulty * HASHES_PER_DIFFICULTY)
        shares = effective_shares(rate_per_s, self._router.policy.tau_s, now_s - known.started_s)
        return self._settling.share_power(unit_id, hashrate_hps, shares)


def _watts(power_w: object) -> str:
    return f"{power_w:.0f} W" if isinstance(power_w, int | float) else "none"
