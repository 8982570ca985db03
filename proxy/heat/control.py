"""The heat cycle: read image, decide who rules, track, dispatch, limit, act. The only part of heat control that has effects.

A cycle is one plain function, `tick`; `run` only calls it on time. It never talks to a machine (the fleet does), never decides by
money alone, and does nothing before the fleet was looked at once: units are taken over as they are.
"""

import math
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog
import trio

from proxy import config
from proxy.events import EventLog
from proxy.heat import arbitrate, planning, safety, tracker
from proxy.heat.demand import (
    DemandAccepted,
    DemandBook,
    DemandRefused,
    Envelope,
    HeatDemand,
    MeterAccepted,
    MeterReading,
    MeterRefused,
    accepted,
)
from proxy.heat.guidance import Guidance
from proxy.heat.inputs import Inputs
from proxy.heat.journal import Decision, Journal, LedgerPort
from proxy.heat.meters.bank import BOUNDARY, MeterBank
from proxy.heat.signals.port import Report
from proxy.units.unit import UnitImage
from proxy.views import HeatView

log = structlog.get_logger()

# A unit that refused a command is left alone for so long, so that the next plan uses others.
REFUSED_S = 60.0


class FleetPort(Protocol):
    """What heat control needs of the fleet."""

    @property
    def swept_all(self) -> bool:
        """Every unit was asked at least once."""
        ...

    def image(self, now_s: float) -> tuple[UnitImage, ...]:
        """All units as known now."""
        ...

    def command(self, unit_id: str, level: int, reason: str, now_s: float, *, urgent: bool = False) -> str | None:
        """Have a unit go to a level; None when taken, else why not. `urgent` only lowers and heeds no dwell."""
        ...


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
        self._ledger = ledger
        self._events = events
        self._wall_clock = wall_clock
        heat = site.heat
        self.installed_w = sum(max(level.power_w for level in site.models[unit.model].levels) for unit in site.units)
        self._envelope = Envelope(
            capacity_w=self.installed_w * heat.thermal_efficiency,
            max_validity_s=site.signals.rest.max_validity_s,
            max_clock_skew_s=site.signals.rest.max_clock_skew_s,
            max_step=heat.max_demand_step,
        )
        self._ladder = arbitrate.Policy(
            hold_after_s=heat.hold_after_s,
            fallback_after_s=heat.fallback_after_s,
            limit_after_s=heat.limit_after_s,
            fallback_power_w=heat.fallback_power_w,
            limit_power_w=heat.min_power_w if heat.limit_power_w is None else heat.limit_power_w,
        )
        self._tracking = tracker.Policy(
            thermal_efficiency=heat.thermal_efficiency,
            correction_tau_s=heat.correction_tau_s,
            max_correction=heat.max_correction,
            ramp_w_per_min=heat.ramp_w_per_min,
            dead_band=heat.dead_band,
            min_power_w=heat.min_power_w,
        )
        names = dict.fromkeys([*(loop.name for loop in site.loops), *(unit.loop for unit in site.units)])
        caps = {loop.name: loop.max_power_w for loop in site.loops}
        sizes = [sum(unit.loop == name for unit in site.units) for name in names]
        self._plant = planning.Plant(
            loop_caps_w={name: caps.get(name) for name in names},
            loop_changes=tuple(max(1, math.ceil(heat.max_transition * size)) for size in sizes),
        )
        self._journal = Journal(ledger, events, wall_clock, names, heat.dead_band)
        self._book = DemandBook()
        self._docket = arbitrate.Docket()
        self._state = tracker.TrackerState()
        self._memory = safety.Memory()
        # Fed by the meter pollers and by `meter`; read by settlement and by whoever shows meters.
        self.bank = MeterBank(site.meters, [loop.name for loop in site.loops], self._envelope.capacity_w, heat.meter.stale_s)
        self._meter_agrees = True
        self._blocked_until_s: dict[str, float] = {}
        self._inputs = Inputs()
        self._alarm_sources: list[Callable[[], Sequence[str]]] = [lambda: self.bank.alarms(wall_clock())]
        self._cycles = 0
        self._last: Decision | None = None
        self._wake = trio.Event()
        self._level_changes = 0
        self.failed_cycles = 0
        self._restore(wall_clock())

    # What others ask.

    def submit_demand(self, demand: HeatDemand, now_unix_s: float) -> DemandAccepted | DemandRefused:
        """Judge a demand and, when it is good, put it on the docket and into the ledger before it has any effect."""
        known = self._book.answered(demand)
        if known is not None:
            return known
        in_force = arbitrate.in_force(self._docket, now_unix_s)
        answer = self._book.judge(demand, self._envelope, in_force, now_unix_s)
        if isinstance(answer, DemandAccepted) and not arbitrate.admit(self._docket, demand, now_unix_s):
            answer = DemandRefused(
                429, f"{arbitrate.MAX_WAITING} demands wait already", "plan less far ahead, or raise the epoch to start a new plan"
            )
        self._journal.demand(demand, answer)
        if isinstance(answer, DemandAccepted):
            self._book.note(demand, answer)
        return answer

    def meter(self, reading: MeterReading) -> MeterAccepted | MeterRefused:
        """Believe or refuse a reading of the boundary meter. It moves no unit: it is for reporting and for the slow efficiency."""
        answer = self.bank.take(BOUNDARY, reading, self._wall_clock())
        if isinstance(answer, MeterRefused):
            self._events.publish("heat.meter_refused", "warning", reason=answer.reason)
        return answer

    def set_manual_limit(self, power_w: float | None, who: str) -> None:
        """Cap the site's electrical power from the next moment on; 0 stops it, None takes the cap away.

        Raises ValueError for a number that is no limit.
        """
        if power_w is not None and not 0.0 <= power_w < math.inf:
            raise ValueError("a limit is 0 W or more")
        self._events.publish("heat.limit_set", "warning" if power_w is not None else "info", power_w=power_w, who=who)
        self._inputs.manual_w = power_w
        self._wake.set()

    def set_outdoor(self, outdoor_c: float, source: str, now_unix_s: float) -> str | None:
        """Take an outdoor temperature for the heat curve; None when believed, else why not."""
        return self._inputs.set_outdoor(outdoor_c, source, now_unix_s)

    def set_import_limit(self, power_w: float | None, until_unix_s: float, source: str) -> str | None:
        """Cap the site's electrical power until a time (None takes this source's cap away); None when taken, else why not."""
        refusal = self._inputs.set_import_limit(power_w, until_unix_s, source)
        if refusal is None:
            self._events.publish("heat.import_limit_set", "warning", power_w=power_w, source=source)
            self._wake.set()
        return refusal

    def set_emergency_stop(self, stop: bool, source: str) -> None:
        """Everything asleep at once, until this same source takes it back."""
        if self._inputs.set_stop(stop, source):
            self._events.publish("heat.stop_held" if stop else "heat.stop_released", "error" if stop else "warning", source=source)
            self._wake.set()

    def set_guidance(self, guidance: Guidance | None) -> None:
        """The planner's word on what to make now, and at which prices; None takes it away."""
        self._inputs.guidance = guidance

    def demand_at(self, unix_s: float) -> float | None:
        """Heat that demands taken already ask for at that time; None where they ask for none. For planning ahead."""
        demand = arbitrate.ruling_at(self._docket, unix_s)
        return None if demand is None else demand.power_w

    def cap_w(self) -> float | None:
        """The lowest cap on the site's electrical power now; None without any. For planning ahead."""
        return self._site_cap().power_w

    def add_alarm_source(self, source: Callable[[], Sequence[str]]) -> None:
        """`source` is asked for standing alarms, one line each, at each report."""
        self._alarm_sources.append(source)

    def alarms(self) -> tuple[str, ...]:
        """Standing alarms of control and of everything that added a source."""
        return tuple(line for source in self._alarm_sources for line in source())

    def report(self, now_unix_s: float) -> Report:
        """The plant as the utility is told."""
        view = self.view()
        demand = arbitrate.ruling_at(self._docket, now_unix_s)
        return Report(
            alive=self._cycles,
            at_unix_s=now_unix_s,
            ladder=view.ladder,
            demand_w=view.demand_w,
            supply_asked_c=None if demand is None else demand.supply_c,
            heat_w=view.heat_w,
            quality=view.heat_quality,
            power_w=view.measured_power_w,
            headroom_up_w=view.headroom_up_w,
            headroom_down_w=view.headroom_down_w,
            supply_c=view.supply_c,
            return_c=view.return_c,
            flow_l_per_min=self.bank.flow_l_per_min(BOUNDARY, now_unix_s),
            energy_wh=self.bank.energy_wh(BOUNDARY, now_unix_s),
            alarms=self.alarms(),
        )

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
        snapshot = tracker.observe(self._state, self._tracking, images, now_s, 0.0)
        refusal = planning.refusal_by_hand(
            self._plant, self._site_cap(), images, snapshot, position, level, self._memory, self._scale(), now_s
        )
        if refusal is not None:
            return f"safety forbids it: {refusal}"
        return self._command(images[position], snapshot.level[position], level, f"by hand: {who}", now_s, urgent=False)

    def view(self) -> HeatView:
        """Demand against delivery as of the last cycle."""
        last = self._last
        now_unix_s = self._wall_clock()
        demand = arbitrate.ruling_at(self._docket, now_unix_s) or self._docket.last
        demand_w = None if last is None else last.ruling.heat_w
        heat_w = None if last is None else last.heat_w
        supply_c, return_c = self.bank.temperatures(BOUNDARY, now_unix_s)
        return HeatView(
            ladder=self._docket.rung.value,
            source=None if demand is None else demand.source,
            demand_w=demand_w,
            demand_age_s=None if demand is None else max(0.0, now_unix_s - demand.issued_unix_s),
            demand_valid_for_s=None if demand is None else max(0.0, demand.valid_until_unix_s - now_unix_s),
            setpoint_power_w=None if last is None else last.setpoint_w,
            commanded_power_w=0.0 if last is None else last.planned_w,
            measured_power_w=None if last is None else last.measured_w,
            heat_w=heat_w,
            heat_quality="unknown" if last is None else last.heat_quality,
            supply_c=supply_c,
            return_c=return_c,
            headroom_up_w=0.0 if last is None else last.headroom_up_w,
            headroom_down_w=0.0 if last is None else last.headroom_down_w,
            marginal_price_per_kwh=None if last is None else last.marginal_price_per_kwh,
            limiter=None if last is None else last.limiter,
            tracking_error=(heat_w - demand_w) / demand_w if demand_w and heat_w is not None else None,
            setpoint_changes=self._journal.setpoint_changes,
            level_changes=self._level_changes,
            demand_energy_wh=self._journal.demand_wh,
            heat_energy_wh=self._journal.heat_wh,
            decision_s=None if last is None else last.duration_s,
        )

    # The cycle.

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Call `tick` each control period, and at once when a limit was set, until cancelled.

        A bug in a cycle is logged and counted; the units keep their levels and the next cycle runs.
        """
        task_status.started()
        due_s = trio.current_time()
        try:
            while True:
                self._wake = trio.Event()
                self.guarded_tick(trio.current_time(), self._wall_clock())
                due_s = max(due_s + self._heat.control_period_s, trio.current_time())
                with trio.move_on_at(due_s):
                    await self._wake.wait()
        finally:
            self._journal.close()

    def guarded_tick(self, now_s: float, now_unix_s: float) -> None:
        """One cycle that never raises."""
        try:
            self.tick(now_s, now_unix_s)
        except Exception:
            self.failed_cycles += 1
            log.exception("heat.cycle_failed", failed_cycles=self.failed_cycles)
            self._events.publish("heat.cycle_failed", "error", failed_cycles=self.failed_cycles)

    def tick(self, now_s: float, now_unix_s: float) -> None:
        """One cycle. `now_s` is monotonic, `now_unix_s` wall time. Raises only for a bug."""
        began_s = time.perf_counter()
        self._cycles += 1
        images = self._fleet.image(now_s)
        dt_s = 0.0 if self._last is None else now_s - self._last.now_s
        ruling = arbitrate.rule(self._docket, self._ladder, now_unix_s, self._stop())
        snapshot = tracker.observe(self._state, self._tracking, images, now_s, dt_s)
        heat_w, quality = self._heat_now(snapshot, now_unix_s, dt_s)
        setpoint = self._setpoint(ruling, snapshot, dt_s)
        planned = planning.plan(
            self._plant,
            self._site_cap(),
            images,
            snapshot,
            None if setpoint is None else setpoint.power_w,
            self._tracking,
            self._memory,
            self._scale(),
            self._blocked_until_s,
            now_s,
        )
        if not self._may_act():
            # The ramp starts from the plant as it is when acting begins.
            self._state.reference_w = None
        elif planned.is_moving:
            tracker.yield_to(self._state, self._tracking, planned.power_w)
        self._act(images, snapshot.level, planned, setpoint, now_s)
        decision = Decision(
            now_s=now_s,
            now_unix_s=now_unix_s,
            ruling=ruling,
            setpoint_w=None if setpoint is None else setpoint.power_w,
            planned_w=planned.power_w,
            measured_w=snapshot.measured_w,
            heat_w=heat_w,
            heat_quality=quality,
            limiter=self._limiter(setpoint, planned),
            headroom_up_w=planned.headroom_up_w,
            headroom_down_w=max(0.0, min(planned.headroom_down_w, planned.power_w - self._heat.min_power_w)),
            marginal_price_per_kwh=planned.marginal_price_per_kwh,
            duration_s=time.perf_counter() - began_s,
        )
        by_loop_w = dict.fromkeys(self._plant.loop_caps_w, 0.0)
        for image, drawn_w in zip(images, snapshot.drawn_w, strict=True):
            by_loop_w[image.loop] += drawn_w
        self._journal.integrate(decision, self._last, by_loop_w)
        self._journal.tell(decision)
        self._last = decision

    def _stop(self) -> str | None:
        return self._inputs.stop_reason()

    def _site_cap(self) -> planning.SiteCap:
        cap = self._inputs.cap(self._heat.max_power_w, self._wall_clock())
        return planning.SiteCap(cap.power_w, cap.name)

    def _may_act(self) -> bool:
        return self._heat.enabled and self._fleet.swept_all

    def _scale(self) -> float:
        return 1.0 if self._state.correction is None else self._state.correction

    def _heat_now(self, snapshot: tracker.Snapshot, now_unix_s: float, dt_s: float) -> tuple[float | None, str]:
        """Heat delivered now: metered while the meter is fresh, else estimated from power."""
        metered = self.bank.site_heat(now_unix_s)
        metered_w = metered.value
        drawn_w = sum(snapshot.drawn_w)
        agrees = tracker.learn_efficiency(self._state, self._tracking, drawn_w, metered_w, dt_s)
        if agrees != self._meter_agrees:
            self._meter_agrees = agrees
            name, level = ("heat.meter_agrees", "info") if agrees else ("heat.meter_disagrees", "error")
            self._events.publish(name, level, metered_w=metered_w, drawn_w=drawn_w)
        if metered_w is not None:
            return metered_w, metered.quality
        if snapshot.measured_w is None:
            return None, "unknown"
        return drawn_w * tracker.efficiency(self._state, self._tracking), "estimated"

    def _setpoint(self, ruling: arbitrate.Ruling, snapshot: tracker.Snapshot, dt_s: float) -> tracker.Setpoint | None:
        """The electrical set-point, or None to leave every unit as it is."""
        if ruling.power_w is not None:
            target_w = ruling.power_w
        elif ruling.heat_w is not None:
            target_w = ruling.heat_w / tracker.efficiency(self._state, self._tracking)
        else:
            return None
        cap = self._site_cap()
        return tracker.setpoint(self._state, self._tracking, target_w, cap.power_w, cap.name, snapshot.total_w, dt_s)

    def _limiter(self, setpoint: tracker.Setpoint | None, planned: planning.Planned) -> str | None:
        if not self._heat.enabled:
            return "heat control is off"
        if not self._fleet.swept_all:
            return "the first look at the fleet is not done"
        if setpoint is None:
            return None
        return setpoint.limiter or planned.limiter

    def _act(
        self,
        images: Sequence[UnitImage],
        before: Sequence[int | None],
        planned: planning.Planned,
        setpoint: tracker.Setpoint | None,
        now_s: float,
    ) -> None:
        """Command what differs. Nothing before the first sweep, and nothing at all while heat control is off."""
        if not self._may_act():
            return
        usual = "limits" if setpoint is None else f"set-point {setpoint.power_w / 1000:.1f} kW"
        for image, level, to in zip(images, before, planned.levels, strict=True):
            if level is None or to == level:
                continue
            cause = planned.lowered.get(image.id)
            self._command(image, level, to, cause or usual, now_s, urgent=cause is not None and to < level)

    def _command(self, image: UnitImage, before: int | None, to: int, reason: str, now_s: float, *, urgent: bool) -> str | None:
        refusal = self._fleet.command(image.id, to, reason, now_s, urgent=urgent)
        self._journal.command(image, before, to, reason, refusal)
        if refusal is None:
            self._level_changes += 1
            self._blocked_until_s.pop(image.id, None)
        else:
            self._blocked_until_s[image.id] = now_s + REFUSED_S
        return refusal

    def _restore(self, now_unix_s: float) -> None:
        """Take up what was asked before the restart: what still is valid rules on, and no old demand can be played again."""
        demands = self._journal.demands()
        for demand in demands:
            self._book.note(demand, accepted(demand, now_unix_s))
        arbitrate.restore(self._docket, demands, now_unix_s)
