"""A site of 228 units in four loops for tests of the HTTP side: deterministic, with every state and every unknown in it."""

import hashlib
import math
from collections import Counter
from collections.abc import Callable

import msgspec

from proxy import config
from proxy.errors import StoreError
from proxy.events import EventLog
from proxy.heat.demand import DemandAccepted, DemandRefused, MeterAccepted, MeterRefused
from proxy.heat.forecast import ForecastRefused, Forecasts, ForecastTaken, Limits, Sent, TankReading, TankTaken
from proxy.heat.plan import Plan
from proxy.heat.schedule import answer_to
from proxy.heat.signals.forecasts import decode_forecast, decode_prices, decode_tank
from proxy.heat.signals.rest import decode_demand, decode_meter
from proxy.heat.signals.schedules import decode_schedule
from proxy.heat.totals import SettlementDocument, scopes, totals
from proxy.views import (
    AlarmView,
    DemandAhead,
    HeatView,
    HoldView,
    LoopView,
    MeterView,
    PlanBlocks,
    PlanView,
    PoolView,
    ProvenNowView,
    SettlementView,
    ShareTotals,
    SignalView,
    SiteView,
    UnitView,
)
from tests.support.plans import fake_plan
from tests.support.settled import fake_periods, fake_proofs

KEYS = {"viewer": "viewer-key-1", "utility": "utility-key-2", "operator": "operator-key-3"}
LOOPS = (("loop-1", 60), ("loop-2", 60), ("loop-3", 60), ("loop-4", 48))
LEVELS_W = (15.0, 4_230.0, 5_150.0, 6_080.0, 7_020.0)
LEVELS_HPS = (0.0, 125e12, 150e12, 172e12, 195e12)
EFFICIENCY = 0.95
START_UNIX_S = 1_790_000_000.0


def api_table(open_reads: bool = True, with_keys: bool = True, unit_metrics: bool = True) -> config.Api:
    """[api] with one key of each role."""
    keys = [
        config.ApiKey(name=f"{role}-key", role=role, sha256=hashlib.sha256(key.encode()).hexdigest())  # type: ignore[arg-type]
        for role, key in KEYS.items()
    ]
    return config.Api(keys=keys if with_keys else [], open_reads=open_reads, unit_metrics=unit_metrics)


class FakeSite:
    """Implements `Site`. `clock` is the wall clock; everything else is a function of it, so two looks at one time agree."""

    def __init__(self, clock: Callable[[], float], api: config.Api | None = None) -> None:
        self._clock = clock
        self._api = api or api_table()
        self.events = EventLog(clock)
        self.events.publish("site.started", version="0.1.0")
        self.actions: list[tuple[str, str]] = []  # (what, actor)
        self.problems: list[str] = []
        self.has_meter = True
        self.refusal: str | None = None
        self.last_sequence = 41
        self.limit_w: float | None = None
        self.breaks = False
        self.has_ledger = True
        self.proofs = fake_proofs()[:1]
        self.step_at_unix_s: float | None = None
        self.plan: Plan | None = fake_plan(START_UNIX_S + 6_300.0)
        self.plans = True
        self.alarms: tuple[str, ...] = ()
        self.holds: tuple[HoldView, ...] = ()
        self.over_alarms: tuple[str, ...] = ()  # waiting to be acknowledged
        self.has_modbus = False
        self.doubt: str | None = None  # of the 21st unit
        self.ladder = "LIVE"
        self.loop_state = "running"  # of loop-2
        self.meters: list[MeterView] = []
        self.forecasts = Forecasts(Limits(capacity_w=1.6e6, max_clock_skew_s=60.0, tank_capacity_wh=6e6, tank_stale_s=1_800.0))

    @property
    def api(self) -> config.Api:
        return self._api

    def _demand_w(self, now: float) -> float:
        hour = int((now - START_UNIX_S) // 900)
        return (1_020e3, 1_130e3, 1_080e3, 1_180e3, 960e3)[hour % 5]

    def _load(self, now: float) -> float:
        """Watts of a unit that runs, following the demand with a lag of a minute."""
        phase = (now - START_UNIX_S) % 900
        before, wanted = self._demand_w(now - 900), self._demand_w(now)
        settled = wanted + (before - wanted) * math.exp(-phase / 70)
        return settled / EFFICIENCY / 224

    def units(self) -> list[UnitView]:
        now = self._clock()
        load = self._load(now)
        views: list[UnitView] = []
        for loop, count in LOOPS:
            for slot in range(count):
                views.append(self._unit(loop, slot, len(views), load, now))
        return views

    def _unit(self, loop: str, slot: int, index: int, load: float, now: float) -> UnitView:
        noise = ((index * 7919) % 101) / 101
        level = max(0, min(4, math.floor(1 + (load - LEVELS_W[1]) / 930 + noise)))
        state, fault, connected, reading_age_s = "RUN", None, True, 3.0 + noise * 12
        if index in (17, 141):
            state, fault, level = "FAULT", "fan 2 stopped", 0
        elif index in (60, 61):
            state, connected, reading_age_s = "OFFLINE", False, 3_900.0
        elif index == 100:
            state, level = "SERVICE", 0
        elif index in (30, 31, 32):
            state = "RAMPING"
        elif index in (180, 181):
            state, level = "WAKING", 1
        elif level == 0:
            state = "SLEEPING"
        known = state != "OFFLINE"
        power = LEVELS_W[level] * (0.99 + 0.02 * noise)
        hashrate = LEVELS_HPS[level]
        return UnitView(
            id=f"{loop}-r{slot // 12 + 1}-s{slot % 12 + 1:02}",
            loop=loop,
            model="A1566HA",
            address=f"10.0.{index // 200}.{index % 200 + 10}",
            worker=f"site.{index:04}",
            serial=None if index == 5 else f"A15{index:08}",
            state=state,
            state_since_s=1_800.0 + index,
            in_service=state == "SERVICE",
            fault=fault,
            connected=connected,
            pool="north" if index % 5 else "south",
            level_commanded=level,
            level_observed=level if known else None,
            power_commanded_w=LEVELS_W[level],
            power_max_w=max(LEVELS_W),
            power_w=power if known else None,
            hashrate_expected_hps=hashrate,
            hashrate_reported_hps=hashrate * (0.985 + 0.03 * noise) if known else None,
            hashrate_shares_hps=hashrate * (0.95 + 0.1 * noise) if known else None,
            difficulty=16384.0 * 8,
            inlet_c=61.0 + noise if known else None,
            outlet_c=61.0 + noise + level * 1.6 if known and index != 9 else None,
            chip_c=66.0 + level * 5 + noise * 6 if known else None,
            reading_age_s=reading_age_s,
            share_age_s=None if state == "SERVICE" else (3_800.0 if not known else 2 + noise * 18),
            accepted=4_000 + index,
            rejected=index % 7,
            user_agent="=cmgr/1.0" if index == 3 else "cgminer/4.11.1",
            doubt=self.doubt if index == 20 else None,
        )

    def unit(self, unit_id: str) -> UnitView | None:
        return next((unit for unit in self.units() if unit.id == unit_id), None)

    def _shares(self, now: float) -> ShareTotals:
        age_s = now - START_UNIX_S
        received = int(age_s * 22.8 + 40 * math.sin(age_s / 47))
        stale, low = int(age_s * 0.02), int(age_s * 0.006)
        below = int(age_s * 3.1)
        refused, unknown, pending = int(age_s * 0.01), 4, 3
        accepted = received - stale - low - below - refused - unknown - pending
        return ShareTotals(
            received=received,
            rejected={"stale": stale, "low_difficulty": low},
            below_pool_target=below,
            accepted=accepted,
            refused={"21 job not found": refused},
            unknown={"restart": unknown},
            pending=pending,
            blocks=0,
            valid_work=age_s * 4.1e16,
            accepted_work=age_s * 4.0e16,
        )

    def view(self) -> SiteView:
        if self.breaks:
            raise RuntimeError("a mistake for the tests")
        now = self._clock()
        units = self.units()
        measured = sum(unit.power_w or 0.0 for unit in units)
        demand = self._demand_w(now)
        heat = self._load(now) * 224 * EFFICIENCY + 3_000 * math.sin(now / 23) if self.has_meter else None
        age_s = now - START_UNIX_S
        return SiteView(
            name="harbour-east",
            version="0.1.0",
            now_unix_s=now,
            uptime_s=age_s,
            miners_connected=226,
            hashrate_hps=sum(unit.hashrate_shares_hps or 0.0 for unit in units),
            shares=self._shares(now),
            heat=HeatView(
                ladder=self.ladder,
                cause="demand valid" if self.ladder == "LIVE" else "no valid demand",
                stale_s=0.0 if self.ladder == "LIVE" else 400.0,
                source="rest:city-heat",
                demand_w=demand,
                demand_age_s=(now * 7 % 60) / 7,
                demand_valid_for_s=900.0 - age_s % 900,
                setpoint_power_w=demand / EFFICIENCY,
                commanded_power_w=sum(unit.power_commanded_w or 0.0 for unit in units),
                measured_power_w=measured,
                heat_w=heat,
                heat_quality="measured" if self.has_meter else "unknown",
                supply_c=72.4 if self.has_meter else None,
                return_c=58.1 if self.has_meter else None,
                headroom_up_w=max(0.0, 228 * LEVELS_W[-1] * EFFICIENCY - demand),
                headroom_down_w=demand,
                marginal_price_per_kwh=0.0412,
                limiter=None,
                alarms=self.alarms,
                holds=self.holds,
                tracking_error=None if heat is None else (heat - demand) / demand,
                setpoint_changes=12,
                level_changes=311,
                demand_energy_wh=age_s / 3600 * 1_080e3,
                heat_energy_wh=age_s / 3600 * 1_071e3,
                decision_s=0.0041,
            ),
            plan=self._plan(now) if self.plans else None,
            settlement=self._settled(),
            proven_now=ProvenNowView(1.0e6, 0.94e6, 1.06e6, 1.02e6, 214, 228),
            pools=self._pools(now),
            unit_states=dict(Counter(unit.state for unit in units)),
            ledger_state="ok",
            loop_lag_s=0.0012,
            meters=self.meters,
            alarms=[AlarmView(text, 3 - k % 3, 75.0) for k, text in enumerate(self.alarms)]
            + [AlarmView(text, 2, 900.0, is_over=True) for text in self.over_alarms],
            loops=[self._loop(name) for name, _ in LOOPS],
            signals=self._signals(now),
            ahead=self._ahead(now),
        )

    def _loop(self, name: str) -> LoopView:
        is_held = name == "loop-2" and self.loop_state != "running"
        return LoopView(
            name=name,
            state=self.loop_state if is_held else "running",
            may_wake=not is_held,
            reason=f"loop {name}: flow lost" if is_held else None,
            cap_w=0.0 if is_held else None,
            drawn_w=280e3,
            heat_w=None if name == "loop-4" else 266e3,
            supply_c=72.4,
            supply_from="machines" if name == "loop-4" else "meter",
            shed_supply_c=88.0,
            return_c=None if name == "loop-4" else 58.1,
            flow_l_per_min=300.0 if is_held else 640.0,
            design_flow_l_per_min=650.0,
        )

    def _signals(self, now: float) -> list[SignalView]:
        start = now - (now - START_UNIX_S) % 900
        rest = SignalView(
            name="rest",
            peer="PUT /api/v1/heat/demand",
            connected=True,
            reason=None,
            since_s=600.0,
            message_age_s=4.0,
            report_age_s=None,
            accepted=31,
            refused=2,
            reconnects=0,
            last_refusal="the sequence number is old",
            source="rest:city-heat",
            sequence=41,
            asked_w=self._demand_w(now),
            asked_from_unix_s=start,
            asked_until_unix_s=start + 900,
        )
        lost = SignalView(
            "modbus", "0.0.0.0:502", False, "no master is connected", 600.0, None, None, 0, 0, 0, None, is_alive=False
        )
        return [rest, lost] if self.has_modbus else [rest]

    def _ahead(self, now: float) -> list[DemandAhead]:
        start = now - (now - START_UNIX_S) % 900
        times = [start + 900 * k for k in (1, 2, 3, 4)]
        return [DemandAhead("rest:city-heat", at, at + 900, self._demand_w(at), None) for at in times]

    def _settled(self) -> SettlementView:
        return SettlementView(
            900, int(START_UNIX_S), closed=40, revised=2, incomplete=1, rows=42, head="ab" * 32, proofs=self.proofs
        )

    def _plan(self, now: float) -> PlanView:
        plan = self.plan
        block = None if plan is None else plan.block_at(now)
        return PlanView(
            state="none" if plan is None else "short" if plan.shortfalls else "good",
            made_unix_s=None if plan is None else plan.blocks[0].start_unix_s,
            valid_until_unix_s=None if plan is None else plan.blocks[0].start_unix_s + 3_600,
            end_unix_s=None if plan is None else plan.end_unix_s,
            reasons=("nothing is known of the time ahead: send a demand or a demand schedule",) if plan is None else (),
            shortfalls=() if plan is None else tuple(short.text for short in plan.shortfalls),
            notes=() if plan is None else ("no electricity price is known from 06:00 UTC on",),
            currency="EUR",
            price_of_heat_per_kwh=None if block is None else block.price_of_heat_per_kwh,
            electricity_per_kwh=None if block is None else block.electricity_per_kwh,
            units_heat_w=None if block is None else block.units_heat_w,
            tank_charge_w=None if block is None else block.tank_charge_w,
            backup_w=None if block is None else block.backup_w,
            tank_capacity_wh=6e6,
            tank_planned_wh=None if block is None else block.tank_wh,
            tank_wh=None if block is None or block.tank_wh is None else block.tank_wh * 0.97,
            electricity_cost=None if plan is None else plan.electricity_cost,
            work_revenue=None if plan is None else plan.work_revenue,
            backup_cost=None if plan is None else plan.backup_cost,
            heat_income=None if plan is None else plan.heat_kwh * 0.03,
            solve_s=None if plan is None else 0.013,
        )

    def plan_blocks(self) -> PlanBlocks | None:
        if not self.plans:
            return None
        blocks = () if self.plan is None else self.plan.blocks
        return PlanBlocks(**{name: [getattr(block, name) for block in blocks] for name in PlanBlocks.__struct_fields__})

    def _pools(self, now: float) -> list[PoolView]:
        def pool(name: str, priority: int, state: str, reason: str | None, units: int, age_s: float | None) -> PoolView:
            return PoolView(
                name=name,
                url=f"stratum+ssl://{name}.pool.example:3333",
                transport="tls",
                mode="aggregated",
                state=state,
                reason=reason,
                priority=priority,
                weight=4.0 if name == "north" else 1.0,
                active=units > 0,
                sessions=1 if state == "ready" else 0,
                units=units,
                difficulty=262_144.0 if state == "ready" else None,
                extranonce1_bytes=4 if state == "ready" else None,
                extranonce2_bytes=8 if state == "ready" else None,
                version_mask="1fffe000",
                last_job_age_s=age_s,
                submit_latency_s=0.041 if state == "ready" else None,
                accepted=int((now - START_UNIX_S) * 0.08 * units),
                refused={"21 job not found": 31} if units else {},
                unknown={},
                pending=2 if units else 0,
                accepted_work=(now - START_UNIX_S) * 1.7e14 * units,
                reconnects=1,
                last_message=None,
            )

        return [
            pool("north", 0, "ready", None, 181, now % 31),
            pool("south", 0, "ready", None, 45, now % 17),
            pool("reserve", 1, "down", "connection refused; next try in 12 s", 0, None),
        ]

    def submit_demand(self, body: bytes, actor: str) -> tuple[int, msgspec.Struct]:
        now = self._clock()
        demand = decode_demand(body, actor, now)
        if isinstance(demand, DemandRefused):
            return demand.code, demand
        if demand.sequence <= self.last_sequence:
            refused = DemandRefused(409, "the sequence number is old", "count on", last_sequence=self.last_sequence)
            return refused.code, refused
        self.last_sequence = demand.sequence
        self.actions.append((f"demand {demand.power_w:g}", actor))
        self.events.publish("heat.demanded", actor=actor, power_w=demand.power_w)
        return 200, DemandAccepted(
            demand.source, demand.epoch, demand.sequence, demand.power_w, now, demand.valid_until_unix_s, "live"
        )

    def put_schedule(self, body: bytes, actor: str) -> tuple[int, msgspec.Struct]:
        blocks = decode_schedule(body, actor, self._clock())
        if isinstance(blocks, DemandRefused):
            return blocks.code, blocks
        self.actions.append((f"schedule {len(blocks)}", actor))
        return 200, answer_to(blocks)

    def set_outdoor(self, outdoor_c: float, actor: str) -> str | None:
        self.actions.append((f"outdoor {outdoor_c:g}", actor))
        return self.refusal

    def set_stop(self, stop: bool, actor: str) -> None:
        self.actions.append((f"stop {stop}", actor))

    def release_stop(self, source: str, name: str, reason: str, actor: str) -> str | None:
        self.actions.append((f"release {source} by {name}: {reason}", actor))
        if self.refusal is None:
            self.holds = tuple(hold for hold in self.holds if hold.source != source)
        return self.refusal

    def acknowledge_alarms(self, actor: str) -> list[str]:
        self.actions.append(("acknowledge", actor))
        done, self.over_alarms = list(self.over_alarms), ()
        return done

    def push_meter(self, body: bytes, actor: str) -> tuple[int, msgspec.Struct]:
        reading = decode_meter(body)
        if isinstance(reading, MeterRefused):
            return reading.code, reading
        self.actions.append((f"meter {reading.heat_w:g}", actor))
        return 200, MeterAccepted(reading.at_unix_s, reading.heat_w)

    def put_prices(self, body: bytes, actor: str) -> tuple[int, msgspec.Struct]:
        return self._take("prices", decode_prices(body, self._clock()), actor)

    def put_forecast(self, body: bytes, actor: str) -> tuple[int, msgspec.Struct]:
        return self._take("forecast", decode_forecast(body, self._clock()), actor)

    def _take(self, what: str, sent: Sent | ForecastRefused, actor: str) -> tuple[int, msgspec.Struct]:
        answer = self.forecasts.take(sent, self._clock()) if isinstance(sent, Sent) else sent
        if not isinstance(answer, ForecastTaken):
            return answer.code, answer
        self.actions.append((what, actor))
        return 200, answer

    def put_tank(self, body: bytes, actor: str) -> tuple[int, msgspec.Struct]:
        reading = decode_tank(body, self._clock())
        answer = self.forecasts.take_tank(reading, self._clock()) if isinstance(reading, TankReading) else reading
        if not isinstance(answer, TankTaken):
            return answer.code, answer
        self.actions.append((f"tank {answer.content_wh:g}", actor))
        return 200, answer

    def set_manual_limit(self, power_w: float | None, actor: str) -> None:
        self.limit_w = power_w
        self.actions.append((f"limit {power_w}", actor))

    def set_service(self, unit_id: str, in_service: bool, note: str, actor: str) -> str | None:
        self.actions.append((f"service {unit_id} {in_service} {note}", actor))
        return self.refusal

    def withhold_work(self, unit_id: str, for_s: float | None, actor: str) -> str | None:
        self.actions.append((f"work {unit_id} {for_s}", actor))
        return self.refusal

    def command_unit(self, unit_id: str, level: int, actor: str) -> str | None:
        self.actions.append((f"level {unit_id} {level}", actor))
        return self.refusal

    def accept_serial(self, unit_id: str, actor: str) -> str | None:
        self.actions.append((f"serial {unit_id}", actor))
        return self.refusal

    def clear_fault(self, unit_id: str, actor: str) -> str | None:
        self.actions.append((f"fault {unit_id}", actor))
        return self.refusal

    def health(self) -> list[str]:
        return list(self.problems)

    async def reload(self, actor: str) -> list[str]:
        self.actions.append(("reload", actor))
        return list(self.problems)

    async def settlement(self, start_unix_s: int, end_unix_s: int) -> SettlementDocument:
        if not self.has_ledger:
            raise StoreError("ledger cannot be read: database is locked")
        records = fake_periods(start_unix_s, min(end_unix_s, int(self._clock())))
        return SettlementDocument(self._settled(), [totals(records, scope, EFFICIENCY, 0.1) for scope in scopes(records)], records)
