"""The site's outlook: what is known of the next two days, and the plan made of it every period and whenever something new is known.

The solver runs in a worker thread; everything here is plain calls on the trio thread and never waits for it. A plan that cannot be
made leaves the last one in force until that expires, then there is none and units follow the demand alone. The plan reaches the
units only as Guidance to heat control: what they make beyond (or below) the demand is what the tank takes (or gives).
Not here: decoding, what a plan is made of (horizon, planner), which unit does it.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol

import trio

from proxy import config
from proxy.errors import StoreError
from proxy.events import EventLog
from proxy.heat.forecast import ForecastRefused, Forecasts, ForecastTaken, Limits, Sent, TankReading, TankTaken
from proxy.heat.forecast_file import read, write
from proxy.heat.guidance import Guidance
from proxy.heat.horizon import Now, fleet_of, horizon
from proxy.heat.plan import Learned, NoPlan, Plan, PlannedBlock, Problem
from proxy.heat.planner import solve
from proxy.heat.steer import guidance_of
from proxy.units.unit import UnitImage
from proxy.views import HeatView, PlanBlocks, PlanView

# Guidance is renewed so often, and is none when it was not renewed for a while: then nobody plans any more.
GUIDE_PERIOD_S = 5.0
GUIDANCE_S = 60.0
# However much news comes, the solver rests between two plans.
PAUSE_S = 1.0
# A demand that is off the planned one by this part of what is installed is news, but not more often than that.
DEMAND_NEWS = 0.02
DEMAND_NEWS_S = 60.0
# Heat that the units could give less than when the plan was made (a loop was lost), as part of what is installed, is news as well.
ABILITY_NEWS = 0.05
# A tank reading that is off the plan by this part of the capacity is news.
TANK_NEWS = 0.02
# A shortage that begins sooner than this is an alarm; one that begins later may still be averted.
ALARM_AHEAD_S = 3 * 3_600.0


class FleetPort(Protocol):
    """What planning needs of the fleet."""

    @property
    def swept_all(self) -> bool:
        """Every unit was asked at least once."""
        ...

    def image(self, now_s: float) -> tuple[UnitImage, ...]:
        """All units as known now."""
        ...


class ControlPort(Protocol):
    """What planning needs of heat control."""

    def view(self) -> HeatView:
        """Demand against delivery as of the last cycle."""
        ...

    def demand_at(self, unix_s: float) -> float | None:
        """Heat that demands taken already ask for at a later time; None where they ask for nothing."""
        ...

    def cap_w(self) -> float | None:
        """The lowest cap on the site's electrical power now; None without any."""
        ...

    def learned(self) -> Learned:
        """What was found out about the plant, and what it is on its way to."""
        ...

    def set_guidance(self, guidance: Guidance | None) -> None:
        """What the units should make now; None: follow the demand."""
        ...


class Outlook:
    """One for a site whose planner is enabled."""

    def __init__(
        self,
        site: config.SiteConfig,
        fleet: FleetPort,
        control: ControlPort,
        events: EventLog,
        wall_clock: Callable[[], float],
        *,
        path: Path | None = None,
        solver: Callable[[Problem], Plan | NoPlan] = solve,
    ) -> None:
        """`path` keeps forecasts over restarts (None: they are not kept), `solver` is called in a worker thread."""
        self._heat = site.heat
        self._fleet = fleet
        self._control = control
        self._events = events
        self._wall_clock = wall_clock
        self._solver = solver
        installed_w = sum(max(level.power_w for level in site.models[unit.model].levels) for unit in site.units)
        self._capacity_w = installed_w * site.heat.thermal_efficiency
        self._forecasts = Forecasts(
            Limits(
                capacity_w=self._capacity_w,
                max_clock_skew_s=site.signals.rest.max_clock_skew_s,
                tank_capacity_wh=site.heat.planner.tank_capacity_wh,
                tank_stale_s=site.heat.planner.tank_stale_s,
            )
        )
        self._plan: Plan | None = None
        self._made_unix_s = 0.0
        self._able_w = 0.0
        self._notes: tuple[str, ...] = ()
        self._reasons: tuple[str, ...] = ("the first plan is not made yet",)
        self._solve_s: float | None = None
        self._path = path
        self._is_unsaved = False
        self._has_news = True
        self._wake = trio.Event()
        self._limiter = trio.CapacityLimiter(1)

    # News.

    def take_forecasts(self, sent: Sent, now_unix_s: float) -> ForecastTaken | ForecastRefused:
        """Believe or refuse prices, a demand schedule or an outdoor forecast; what is believed is planned with at once."""
        answer = self._forecasts.take(sent, now_unix_s)
        if isinstance(answer, ForecastTaken):
            self._events.publish(
                "heat.forecast_taken",
                electricity_h=_hours_to(answer.electricity_until_unix_s, now_unix_s),
                work_h=_hours_to(answer.work_until_unix_s, now_unix_s),
                demand_h=_hours_to(answer.demand_until_unix_s, now_unix_s),
                outdoor_h=_hours_to(answer.outdoor_until_unix_s, now_unix_s),
            )
            self._is_unsaved = True
            self._poke()
        else:
            self._events.publish("heat.forecast_refused", "warning", reason=answer.reason)
        return answer

    def take_tank(self, reading: TankReading, now_unix_s: float) -> TankTaken | ForecastRefused:
        """Believe or refuse a reading of the tank. One that the plan did not expect is planned with at once."""
        before_wh = self._forecasts.tank_wh(now_unix_s)
        answer = self._forecasts.take_tank(reading, now_unix_s)
        if isinstance(answer, ForecastRefused):
            self._events.publish("heat.tank_refused", "warning", reason=answer.reason)
            return answer
        planned_wh = self.planned_tank_wh(now_unix_s)
        is_off = planned_wh is None or abs(answer.content_wh - planned_wh) > TANK_NEWS * self._heat.planner.tank_capacity_wh
        if before_wh is None or is_off:
            self._poke()
        return answer

    def _poke(self) -> None:
        self._has_news = True
        self._wake.set()

    # What others ask.

    def plan(self, now_unix_s: float) -> Plan | None:
        """The plan in force, None when there is none or it has expired."""
        if self._plan is None or now_unix_s >= self._expires_unix_s():
            return None
        return self._plan

    def block(self, now_unix_s: float) -> PlannedBlock | None:
        """The block of the plan in force that holds this moment."""
        plan = self.plan(now_unix_s)
        return None if plan is None else plan.block_at(now_unix_s)

    def planned_tank_wh(self, now_unix_s: float) -> float | None:
        """What the tank should hold now by the plan in force."""
        block = self.block(now_unix_s)
        if block is None or block.tank_wh is None:
            return None
        rest_s = block.start_unix_s + block.length_s - now_unix_s
        return min(max(block.tank_wh - block.tank_charge_w * rest_s / 3600, 0.0), self._heat.planner.tank_capacity_wh)

    def alarms(self) -> tuple[str, ...]:
        """Shortages of the plan in force that are near."""
        now_unix_s = self._wall_clock()
        plan = self.plan(now_unix_s)
        if plan is None:
            return ()
        near_unix_s = now_unix_s + ALARM_AHEAD_S
        return tuple(
            f"plan: {off.text}" for off in plan.shortfalls if off.start_unix_s < near_unix_s and off.end_unix_s > now_unix_s
        )

    def view(self) -> PlanView:
        """The plan in force, without its blocks, for the page and the metrics."""
        now_unix_s = self._wall_clock()
        plan, block = self.plan(now_unix_s), self.block(now_unix_s)
        planner = self._heat.planner
        return PlanView(
            state="none" if plan is None else "kept" if self._reasons else "short" if plan.shortfalls else "good",
            made_unix_s=None if plan is None else self._made_unix_s,
            valid_until_unix_s=None if plan is None else self._expires_unix_s(),
            end_unix_s=None if plan is None else plan.end_unix_s,
            reasons=self._reasons,
            shortfalls=() if plan is None else tuple(off.text for off in plan.shortfalls),
            notes=self._notes,
            currency=self._heat.costs.currency,
            price_of_heat_per_kwh=None if block is None else block.price_of_heat_per_kwh,
            electricity_per_kwh=None if block is None else block.electricity_per_kwh,
            units_heat_w=None if block is None else block.units_heat_w,
            tank_charge_w=None if block is None or block.tank_wh is None else block.tank_charge_w,
            backup_w=None if block is None else block.backup_w,
            tank_capacity_wh=planner.tank_capacity_wh,
            tank_planned_wh=self.planned_tank_wh(now_unix_s),
            tank_wh=self._forecasts.tank_wh(now_unix_s),
            electricity_cost=None if plan is None else plan.electricity_cost,
            work_revenue=None if plan is None else plan.work_revenue,
            backup_cost=None if plan is None else plan.backup_cost,
            heat_income=None if plan is None else plan.heat_kwh * self._heat.costs.heat_per_kwh,
            solve_s=self._solve_s,
        )

    def blocks(self) -> PlanBlocks:
        """The blocks of the plan in force in columns; empty columns without one."""
        plan = self.plan(self._wall_clock())
        blocks = () if plan is None else plan.blocks
        return PlanBlocks(
            **{name: [getattr(block, name) for block in blocks] for name in PlanBlocks.__struct_fields__},
        )

    # Planning.

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Plan each period and on news, and renew the guidance, until cancelled; then there is no guidance any more."""
        task_status.started()
        await self._restore()
        due_s = trio.current_time()
        try:
            while True:
                self._wake = trio.Event()
                wait_s = GUIDE_PERIOD_S
                if self._fleet.swept_all:
                    if self._has_news or trio.current_time() >= due_s:
                        self._has_news = False
                        await self._renew()
                        due_s = trio.current_time() + self._heat.planner.period_s
                        self.guide(self._wall_clock())
                        await self._save()
                        await trio.sleep(PAUSE_S)
                        continue
                    wait_s = min(wait_s, due_s - trio.current_time())
                with trio.move_on_after(wait_s):
                    await self._wake.wait()
                self.guide(self._wall_clock())
        finally:
            self._control.set_guidance(None)

    async def _restore(self) -> None:
        """Take up the forecasts of an earlier run, once; what came since is newer."""
        path, kept = self._path, self._forecasts.kept()
        if path is None or kept:
            return
        try:
            found = await trio.to_thread.run_sync(read, path, abandon_on_cancel=True)
        except StoreError as problem:
            self._events.publish("heat.forecasts_not_read", "warning", cause=str(problem))
            return
        self._forecasts.restore(
            {kind: old for kind, old in found.items() if kind not in self._forecasts.kept()}, self._wall_clock()
        )

    async def _save(self) -> None:
        """Keep the forecasts for a restart. Not fatal: said again at each try."""
        if self._path is None or not self._is_unsaved:
            return
        self._is_unsaved = False
        try:
            await trio.to_thread.run_sync(write, self._path, self._forecasts.kept())
        except StoreError as problem:
            self._is_unsaved = True
            self._events.publish("heat.forecasts_not_saved", "error", cause=str(problem))

    async def _renew(self) -> None:
        """Make a new plan from what is known now. Cancelled: the solver's answer is thrown away."""
        began_s = trio.current_time()
        in_thread = partial(trio.to_thread.run_sync, limiter=self._limiter, abandon_on_cancel=True)
        # A frozen picture of a hundred thousand units takes a tenth of a second to sum up.
        learned = self._control.learned()
        fleet = await in_thread(fleet_of, self._fleet.image(began_s), learned)
        now_unix_s, view = self._wall_clock(), self._control.view()
        now = Now(now_unix_s, view.demand_w, learned, self._control.cap_w(), self._control.demand_at)
        ahead = horizon(self._heat, self._forecasts, fleet, now)
        self._notes = ahead.notes
        solved = await in_thread(self._solver, ahead.problem)
        self._solve_s = trio.current_time() - began_s
        if isinstance(solved, NoPlan):
            self._failed(solved)
            return
        self._plan, self._made_unix_s, self._reasons = solved, now_unix_s, ()
        self._able_w = _able_w(view, learned)
        self._events.publish(
            "heat.planned",
            "warning" if solved.shortfalls else "info",
            blocks=len(solved.blocks),
            until_h=round((solved.end_unix_s - now_unix_s) / 3600, 2),
            solve_s=self._solve_s,
            short=solved.shortfalls[0].text if solved.shortfalls else None,
        )

    def _failed(self, why: NoPlan) -> None:
        """Told once for the same reasons; the last plan stays in force."""
        if why.reasons != self._reasons:
            self._events.publish("heat.plan_failed", "warning", reason="; ".join(why.reasons))
        self._reasons = why.reasons

    def guide(self, now_unix_s: float) -> None:
        """Tell heat control what the plan in force means for this moment, and look whether the demand has left the plan."""
        if self._plan is not None and now_unix_s >= self._expires_unix_s():
            self._plan = None
            self._events.publish("heat.plan_expired", "warning", reason="; ".join(self._reasons) or "it was not renewed in time")
        block = self.block(now_unix_s)
        if block is None:
            self._control.set_guidance(None)
            return
        view = self._control.view()
        demand_w = view.demand_w
        is_off = demand_w is not None and abs(demand_w - block.demand_w) > DEMAND_NEWS * self._capacity_w
        if is_off or self._able_w - _able_w(view, self._control.learned()) > ABILITY_NEWS * self._capacity_w:
            self._has_news = self._has_news or now_unix_s - self._made_unix_s >= DEMAND_NEWS_S
        valid_until_unix_s = min(now_unix_s + GUIDANCE_S, self._expires_unix_s())
        tank_wh = self._forecasts.tank_wh(now_unix_s)
        self._control.set_guidance(guidance_of(self._heat.planner, block, demand_w, tank_wh, valid_until_unix_s))

    def _expires_unix_s(self) -> float:
        end_unix_s = self._made_unix_s if self._plan is None else self._plan.end_unix_s
        return min(self._made_unix_s + self._heat.planner.max_age_s, end_unix_s)


def _able_w(view: HeatView, learned: Learned) -> float:
    """Heat the units could give within their caps."""
    return 0.0 if learned.heat_w is None else learned.heat_w + view.headroom_up_w


def _hours_to(until_unix_s: float | None, now_unix_s: float) -> float | None:
    return None if until_unix_s is None else round((until_unix_s - now_unix_s) / 3600, 1)
