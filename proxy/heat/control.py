"""The heat cycle: read image, decide who rules, track, dispatch, limit, act. The only part of heat control that has effects.

A cycle is one plain function, `tick`, and the interlocks' second one, `guard`; `run` only calls them on time. It never talks to a
machine (the fleet does), never decides by money alone, and does nothing before the fleet was looked at once: units are taken over
as they are.
"""

import time
from collections.abc import Callable, Sequence

import msgspec
import structlog
import trio

from proxy import config
from proxy.events import EventLog
from proxy.heat import (
    aim,
    arbitrate,
    doubt,
    model,
    observe,
    planning,
    remember,
    reporting,
    schedule,
    tracker,
    wear,
)
from proxy.heat.acting import FleetPort, Hands
from proxy.heat.alarms import Alarms
from proxy.heat.delivery import Delivered, Delivery
from proxy.heat.demand import (
    DemandAccepted,
    DemandRefused,
    HeatDemand,
    MeterAccepted,
    MeterReading,
    MeterRefused,
)
from proxy.heat.desk import Desk
from proxy.heat.guidance import Guidance
from proxy.heat.holds import Holds
from proxy.heat.inputs import Cap, Inputs
from proxy.heat.journal import Decision, Journal, LedgerPort
from proxy.heat.keeping import Keeping
from proxy.heat.loop_watch import LoopWatch
from proxy.heat.meters.bank import BOUNDARY, MeterBank
from proxy.heat.plan import Learned
from proxy.heat.policies import policies_of
from proxy.heat.signals.port import Report
from proxy.units.unit import UnitImage
from proxy.views import AlarmView, DemandAhead, HeatView, LoopView

log = structlog.get_logger()

# Interlocks are judged that often; what they need is in memory.
GUARD_PERIOD_S = 1.0


class HeatControl:
    """One for a site. All methods are plain calls on the trio thread; only `run` waits."""

    def __init__(
        self,
        site: config.SiteConfig,
        fleet: FleetPort,
        ledger: LedgerPort,
        events: EventLog,
        wall_clock: Callable[[], float],
    ) -> None:
        """Takes up the demands of earlier runs from the ledger; commands nothing."""
        self._heat = site.heat
        self._fleet = fleet
        self._events = events
        self._wall_clock = wall_clock
        self._policies = policies = policies_of(site)
        self._alarms = Alarms()
        # Fed by the meter pollers and by `meter`; read by settlement and by whoever shows meters.
        self.bank = MeterBank(
            site.meters, policies.loop_capacity_w, policies.capacity_w, site.heat.meter.stale_s, site.heat.planner
        )
        self._delivery = Delivery(self.bank, policies.plant, events, self._alarms)
        self._journal = Journal(ledger, events, wall_clock, policies.loops, site.heat.dead_band)
        self._memory = planning.Memory(worn=wear.State(most_per_day=site.heat.max_changes_per_day))
        self._units = len(site.units)
        self._hands = Hands(fleet, self._journal, self._memory)
        self._desk = Desk(policies, self._journal, wall_clock())
        self._inputs = Inputs()
        self._holds = Holds(self._inputs, ledger, events, wall_clock)
        self._observed = observe.State()
        self._aim = aim.State()
        self._tracking = tracker.State()
        self._loops = LoopWatch(policies.loops, policies.planning.loop_caps_w, self.bank)
        self._keeping = Keeping(self._parts(site), ledger, events)
        self._alarm_sources: list[Callable[[], Sequence[str]]] = [lambda: self.bank.alarms(wall_clock())]
        self._cycles = 0
        self._last: Decision | None = None
        self._wake = trio.Event()
        self.failed_cycles = 0

    # What others ask.

    def submit_demand(self, demand: HeatDemand, now_unix_s: float) -> DemandAccepted | DemandRefused:
        """Judge a demand and, when it is good, put it on the docket and into the ledger before it has any effect."""
        return self._desk.submit(demand, now_unix_s)

    def submit_schedule(self, blocks: Sequence[HeatDemand], now_unix_s: float) -> schedule.ScheduleAccepted | DemandRefused:
        """Judge a schedule (one block or more, in order of time) as a whole: all of it goes on the docket, or nothing."""
        return self._desk.submit_schedule(blocks, now_unix_s)

    def meter(self, reading: MeterReading) -> MeterAccepted | MeterRefused:
        """Believe or refuse a reading of the boundary meter."""
        answer = self.bank.take(BOUNDARY, reading, self._wall_clock())
        if isinstance(answer, MeterRefused):
            self._events.publish("heat.meter_refused", "warning", reason=answer.reason)
        return answer

    def set_manual_limit(self, power_w: float | None, who: str) -> None:
        """Cap the site's electrical power from the next moment on; 0 stops it, None takes the cap away.

        Raises ValueError for a number that is no limit.
        """
        self._holds.set_manual_limit(power_w, who)
        self._wake.set()

    def set_outdoor(self, outdoor_c: float, source: str, now_unix_s: float) -> str | None:
        """Take an outdoor temperature for the heat curve; None when believed, else why not."""
        return self._inputs.set_outdoor(outdoor_c, source, now_unix_s)

    def set_import_limit(self, power_w: float | None, until_unix_s: float, source: str) -> str | None:
        """Cap the site's electrical power until a time (None takes this source's cap away); None when taken, else why not."""
        refusal = self._holds.set_import_limit(power_w, until_unix_s, source)
        self._wake.set()
        return refusal

    def set_emergency_stop(self, stop: bool, source: str) -> None:
        """Everything asleep at once, until this same source takes it back or a person releases it; over restarts."""
        if self._holds.set_stop(stop, source):
            self._wake.set()

    def stop_sources(self) -> tuple[str, ...]:
        """Whose emergency stops are held."""
        return self._holds.stop_sources()

    def release_stop(self, source: str, name: str, reason: str) -> str | None:
        """A person takes back the stop of a sender that may never speak again; None when done, else why not."""
        refusal = self._holds.release_stop(source, name, reason)
        self._wake.set()
        return refusal

    def set_guidance(self, guidance: Guidance | None) -> None:
        """The planner's word on what to make now, and at which prices; None takes it away."""
        self._inputs.guidance = guidance

    def demand_at(self, unix_s: float) -> float | None:
        """Heat that demands taken already ask for at that time; None where they ask for none. For planning ahead."""
        return self._desk.heat_at(unix_s)

    def cap_w(self) -> float | None:
        """The lowest cap on the site's electrical power now; None without any. For planning ahead."""
        return self._site_cap(self._wall_clock()).power_w

    def learned(self) -> Learned:
        """What was found out about the plant, and what it is on its way to. For planning ahead."""
        commanded_w = None if self._last is None else self._last.planned_w
        efficiency = self._delivery.efficiency
        return Learned(
            efficiency=efficiency,
            power_scale=self._observed.scale,
            heat_w=None if commanded_w is None else commanded_w * efficiency + model.disturbance_w(self._delivery.plant),
            loop_caps_w=planning.loop_caps_w(self._policies.planning, self._loops.verdicts),
        )

    def add_alarm_source(self, source: Callable[[], Sequence[str]]) -> None:
        """`source` is asked for standing alarms, one line each, at each report."""
        self._alarm_sources.append(source)

    def alarms(self) -> tuple[str, ...]:
        """Standing alarms of control and of everything that added a source, interlocks first."""
        return (*self._alarms.lines(), *(line for source in self._alarm_sources for line in source()))

    def acknowledge_alarms(self, who: str) -> list[str]:
        """Forget latched alarms that are over, and let loops that tripped too often come back. What was acknowledged."""
        done = [*self._alarms.acknowledge(), *(f"loop {name}" for name in self._loops.acknowledge())]
        self._events.publish("heat.alarms_acknowledged", "info", who=who, count=len(done))
        return done

    def command_unit(self, unit_id: str, level: int, who: str, now_s: float) -> str | None:
        """Command one unit by hand, through the same safety as everything else; None when taken, else why not.

        The next cycle may command it again once its dwell time has passed: to keep a unit out, put it in service.
        """
        if not self._heat.enabled:
            return "heat control is off ([heat] enabled = false): units are watched, not commanded"
        if not self._fleet.swept_all:
            return "the fleet has not been looked at once since the start"
        images = self._fleet.image(now_s)
        position = next((k for k, image in enumerate(images) if image.id == unit_id), None)
        if position is None:
            return f"no unit {unit_id}"
        if not 0 <= level < len(images[position].levels):
            return f"it has levels 0 to {len(images[position].levels) - 1}, not {level}"
        snapshot = self._observe(images, now_s, self._wall_clock(), 0.0)
        refusal = planning.refusal_by_hand(self._scene(images, snapshot, now_s), self._memory, position, level)
        if refusal is not None:
            return f"safety forbids it: {refusal}"
        before = snapshot.level[position]
        return self._hands.command(images[position], before, level, f"by hand: {who}", now_s, urgent=False)

    def view(self) -> HeatView:
        """Demand against delivery as of the last cycle."""
        return reporting.view_of(self._standing(self._wall_clock()))

    def alarm_views(self, now_s: float) -> list[AlarmView]:
        """The standing alarms as people see them; see `alarms`."""
        return [*self._alarms.views(now_s), *(AlarmView(line) for source in self._alarm_sources for line in source())]

    def loops(self) -> list[LoopView]:
        """Every hydraulic loop: its water, its power, and what its interlock says."""
        return self._loops.views(self._wall_clock())

    def doubts(self) -> dict[str, str]:
        """Why the word of a unit is not believed, by unit."""
        return {unit: found.text for unit, found in self._observed.doubts.doubts.items()}

    def ahead(self) -> list[DemandAhead]:
        """The demands that were taken and wait for their time, next first."""
        return reporting.ahead_of(self._desk.docket, self._wall_clock())

    def report(self, now_unix_s: float) -> Report:
        """The plant as the utility is told."""
        return reporting.report_of(self._standing(now_unix_s))

    # The cycle.

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Call `guard` each second and `tick` each control period, and both at once when a limit was set, until cancelled.

        A bug in a cycle is logged and counted; the units keep their levels and the next cycle runs.
        """
        task_status.started()
        due_s = trio.current_time()
        try:
            while True:
                woken = self._wake.is_set()
                self._wake = trio.Event()
                now_s = trio.current_time()
                if woken or now_s >= due_s:
                    self.guarded_tick(now_s, self._wall_clock())
                    due_s = max(due_s, now_s) + self._heat.control_period_s
                else:
                    self._guarded(self.guard, now_s, self._wall_clock())
                with trio.move_on_at(min(due_s, trio.current_time() + GUARD_PERIOD_S)):
                    await self._wake.wait()
        finally:
            self._journal.close()
            self._keeping.keep(trio.current_time(), self._wall_clock())

    def guarded_tick(self, now_s: float, now_unix_s: float) -> None:
        """One cycle that never raises."""
        self._guarded(self.tick, now_s, now_unix_s)

    def _guarded(self, cycle: Callable[[float, float], None], now_s: float, now_unix_s: float) -> None:
        try:
            cycle(now_s, now_unix_s)
        except Exception:
            self.failed_cycles += 1
            log.exception("heat.cycle_failed", failed_cycles=self.failed_cycles)
            self._events.publish("heat.cycle_failed", "error", failed_cycles=self.failed_cycles)

    def guard(self, now_s: float, now_unix_s: float) -> None:
        """The interlocks' second: judge every loop by what is known, and bring down at once what has to come down. Only lowers."""
        if not self._judge(now_s, now_unix_s) or not self._may_act():
            return
        images = self._fleet.image(now_s)
        snapshot = self._observe(images, now_s, now_unix_s, 0.0)
        planned = planning.enforce(self._scene(images, snapshot, now_s), self._memory)
        self._hands.carry_out(images, snapshot.level, planned, "interlock", now_s)

    def tick(self, now_s: float, now_unix_s: float) -> None:
        """One cycle. `now_s` is monotonic, `now_unix_s` wall time. Raises only for a bug."""
        began_s = time.perf_counter()
        self._cycles += 1
        self._judge(now_s, now_unix_s)
        images = self._fleet.image(now_s)
        dt_s = 0.0 if self._last is None else max(0.0, now_s - self._last.now_s)
        ruling = self._desk.rule(self._heat.curve, self._inputs, now_unix_s)
        snapshot = self._observe(images, now_s, now_unix_s, dt_s)
        self._note_doubts(now_s)
        self._loops.note(images, snapshot)
        if not self._fleet.swept_all:
            # Half a fleet is no plant: what it draws would be taken for a fall of power, and heat would be made up for.
            self._delivery.forget()
        delivered = self._delivery.advance(snapshot, self._fleet.swept_all, now_s, now_unix_s, dt_s)
        guidance = self._inputs.guidance_at(now_unix_s)
        wanted = self._wanted(ruling, delivered, guidance, now_unix_s, dt_s)
        setpoint = self._setpoint(ruling, wanted, snapshot, now_unix_s, dt_s)
        self._memory.tokens.refill(list(self._policies.loops), self._policies.planning.wakes_per_min, dt_s)
        scene = self._scene(images, snapshot, now_s)
        planned = planning.plan(scene, self._memory, setpoint, self._policies.prices(guidance))
        changes = self._act(images, snapshot, planned, setpoint, now_s)
        wear.advance(self._memory.worn, images, snapshot.drawn_w, changes, dt_s)
        decision = self._decision(
            (now_s, now_unix_s), ruling, wanted, setpoint, planned, snapshot, delivered, time.perf_counter() - began_s
        )
        self._journal.integrate(decision, self._last, self._loops.drawn_w)
        self._journal.tell(decision)
        self._last = decision

    # Inside.

    def _judge(self, now_s: float, now_unix_s: float) -> bool:
        """Interlocks and alarms, from what meters and the last cycle said, and from what the last process knew.

        Whether a loop must come down.
        """
        self._keeping.recall(now_s, now_unix_s)
        must_lower = self._loops.judge(self._alarms, now_s, now_unix_s)
        self._alarms.set("stop", self._holds.alarm(), now_s, severity=3)
        self._desk.tell(self._alarms, now_s, now_unix_s)
        self._alarms.set("changes-spent", wear.alarm(self._memory.worn, self._units, now_s), now_s, severity=1)
        for name, words, began in self._alarms.news():
            event, level = ("heat.alarm_raised", "error") if began else ("heat.alarm_cleared", "info")
            self._events.publish(event, level, alarm=name, text=words)
        self._keeping.keep_if_due(now_s, now_unix_s)
        return must_lower

    def _observe(self, images: Sequence[UnitImage], now_s: float, now_unix_s: float, dt_s: float) -> observe.Snapshot:
        """The fleet, with each loop's own heat meter as a witness for units that do not answer."""
        known = {name: self.bank.loop_heat(name, now_unix_s).value for name in self._policies.loops}
        efficiency = self._delivery.efficiency
        loop_power_w = {name: heat_w / efficiency for name, heat_w in known.items() if heat_w is not None}
        return observe.observe(self._observed, self._policies.fleet, images, now_s, dt_s, loop_power_w)

    def _note_doubts(self, now_s: float) -> None:
        """Tell of units whose word and shares are apart."""
        doubt.tell(self._observed.doubts, self._alarms, now_s)
        for found in self._observed.doubts.news():
            if isinstance(found, str):
                self._events.publish("unit.believed_again", unit=found)
            else:
                self._events.publish("unit.not_believed", "warning", unit=found.unit, cause=found.text, believed_w=found.believed_w)

    def _wanted(
        self, ruling: arbitrate.Ruling, delivered: Delivered, guidance: Guidance | None, now_unix_s: float, dt_s: float
    ) -> aim.Wanted:
        water = aim.Water(delivered.heat_w, delivered.supply_c, delivered.return_c)
        can_follow = self._last is None or self._last.limiter is None
        soon_w = self._desk.heat_at(now_unix_s + self._heat.preview_s)
        return aim.wanted(self._aim, self._policies.aim, ruling, water, guidance, can_follow, dt_s, soon_w)

    def _setpoint(
        self, ruling: arbitrate.Ruling, wanted: aim.Wanted, snapshot: observe.Snapshot, now_unix_s: float, dt_s: float
    ) -> tracker.Setpoint | None:
        """The electrical set-point, or None to leave every unit as it is.

        Half a fleet has none either: reference and ramp would start from what half of it draws.
        """
        if not self._fleet.swept_all:
            return None
        plant, policy = self._delivery.plant, self._policies.plant
        if ruling.power_w is not None:
            aimed = tracker.aim_at_power(self._tracking, plant, policy, ruling.power_w)
        elif wanted.heat_w is not None and wanted.supply_c is not None:
            # The boundary's heat is what customers draw, not what is made: what is made beyond it warms the water, which the loop
            # around the temperature sees. To correct for it here as well would answer every change twice.
            aimed = tracker.aim_at_power(self._tracking, plant, policy, wanted.heat_w / self._delivery.efficiency)
        elif wanted.heat_w is not None:
            ramp = None if ruling.demand is None else ruling.demand.ramp_w_per_min
            # A tank between units and town needs no lead: it would move units up and down again for nothing.
            most_w = 0.0 if wanted.cause == aim.BY_PLAN else self._policies.tracking.max_lead_w
            tracking = msgspec.structs.replace(self._policies.tracking, max_lead_w=most_w)
            aimed = tracker.aim_at_heat(self._tracking, tracking, plant, policy, wanted.heat_w, ramp, dt_s)
        else:
            return None
        cap = self._site_cap(now_unix_s)
        return tracker.setpoint(self._tracking, self._policies.tracking, aimed, cap.power_w, cap.name, snapshot.total_w, dt_s)

    def _act(
        self,
        images: Sequence[UnitImage],
        snapshot: observe.Snapshot,
        planned: planning.Planned,
        setpoint: tracker.Setpoint | None,
        now_s: float,
    ) -> int:
        """Command what differs. Nothing before the first sweep, and nothing at all while heat control is off."""
        if not self._may_act():
            tracker.release(self._tracking)
            return 0
        if planned.is_moving:
            tracker.yield_to(self._tracking, self._policies.tracking, planned.power_w)
        usual = "limits" if setpoint is None else f"set-point {setpoint.power_w / 1000:.1f} kW"
        return self._hands.carry_out(images, snapshot.level, planned, usual, now_s)

    def _decision(
        self,
        now: tuple[float, float],
        ruling: arbitrate.Ruling,
        wanted: aim.Wanted,
        setpoint: tracker.Setpoint | None,
        planned: planning.Planned,
        snapshot: observe.Snapshot,
        delivered: Delivered,
        duration_s: float,
    ) -> Decision:
        plant, efficiency = self._delivery.plant, self._delivery.efficiency
        price = planned.marginal_price_per_kwh
        down_w = max(0.0, min(planned.headroom_down_w, planned.power_w - self._heat.min_power_w))
        return Decision(
            now_s=now[0],
            now_unix_s=now[1],
            ruling=ruling,
            demand_w=wanted.heat_w if wanted.supply_c is not None else ruling.heat_w,
            supply_asked_c=ruling.supply_c,
            setpoint_w=None if setpoint is None else setpoint.power_w,
            planned_w=planned.power_w,
            measured_w=snapshot.measured_w,
            delivered=delivered,
            limiter=self._limiter(setpoint, planned),
            headroom_up_w=planned.headroom_up_w * efficiency,
            headroom_down_w=down_w * efficiency,
            marginal_price_per_kwh=None if price is None else price / efficiency,
            efficiency=efficiency,
            plant_tau_s=plant.tau_s,
            disturbance_w=plant.disturbance_w or 0.0,
            lead_w=self._tracking.lead_w,
            duration_s=duration_s,
        )

    def _scene(self, images: Sequence[UnitImage], snapshot: observe.Snapshot, now_s: float) -> planning.Scene:
        cap = self._site_cap(self._wall_clock())
        return planning.Scene(self._policies.planning, cap, self._loops.verdicts, images, snapshot, self._observed.scale, now_s)

    def _site_cap(self, now_unix_s: float) -> Cap:
        return self._inputs.cap(self._heat.max_power_w, now_unix_s)

    def _may_act(self) -> bool:
        return self._heat.enabled and self._fleet.swept_all

    def _limiter(self, setpoint: tracker.Setpoint | None, planned: planning.Planned) -> str | None:
        if not self._heat.enabled:
            return "heat control is off"
        if not self._fleet.swept_all:
            return "the first look at the fleet is not done"
        if setpoint is None:
            return None
        return setpoint.limiter or (self._loops.holding() if planned.limiter is not None else None) or planned.limiter

    def _standing(self, now_unix_s: float) -> reporting.Standing:
        outdoor = self._inputs.outdoor_at(now_unix_s, self._heat.curve.outdoor_stale_s)
        return reporting.Standing(
            now_unix_s=now_unix_s,
            docket=self._desk.docket,
            journal=self._journal,
            last=self._last,
            cycles=self._cycles,
            level_changes=self._hands.level_changes,
            changes_per_day=self._memory.worn.changes_per_day,
            outdoor_c=None if outdoor is None else outdoor[0],
            alarms=self.alarms(),
            holds=self._holds.views(now_unix_s),
            swings_per_h=self._desk.swings_per_h(now_unix_s),
            units_resting=len(self._memory.worn.full),
        )

    def _parts(self, site: config.SiteConfig) -> remember.Parts:
        """Whose states outlive the process."""
        return remember.Parts(
            policies=self._policies,
            loops=self._loops.memory,
            alarms=self._alarms,
            docket=self._desk.docket,
            memory=self._memory,
            observed=self._observed,
            delivery=self._delivery,
            units=frozenset(unit.id for unit in site.units),
            fleet=self._fleet,
            plant_fit=remember.plant_fit(site),
            fleet_fit=remember.fleet_fit(site),
        )
