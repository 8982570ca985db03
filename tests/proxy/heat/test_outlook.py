"""The planner as a task: plans on time and on news, guides the units, keeps a plan that cannot be renewed until it expires."""

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from proxy import config
from proxy.config_heat import Heat, HeatCosts, Planner
from proxy.events import Event, EventLog
from proxy.heat.forecast import ForecastRefused, Sent, Series, TankReading
from proxy.heat.guidance import Guidance
from proxy.heat.outlook import GUIDE_PERIOD_S, PAUSE_S, Outlook
from proxy.heat.plan import Learned, NoPlan, Plan, Problem
from proxy.heat.planner import solve
from proxy.units.unit import UnitImage
from proxy.views import HeatView
from tests.support.plans import START_UNIX_S, UNSEEN, make_image

PLANNER = Planner(
    enabled=True,
    horizon_h=4,
    period_s=900,
    max_age_s=2_000,
    tank_capacity_wh=40_000,
    tank_max_charge_w=20_000,
    tank_stale_s=3_600,
)
HEAT = Heat(planner=PLANNER, costs=HeatCosts(work_per_th_day=0.0))
# Ten units give some 83 kW.
DEMAND_W = 40_000.0
CHEAP_THEN_DEAR = Series(START_UNIX_S, 3_600.0, (0.02, 0.30, 0.30, 0.02))
STEADY = Series(START_UNIX_S, 3_600.0, (DEMAND_W,) * 4)


class Fleet:
    """Ten units at rest."""

    swept_all = True

    def image(self, now_s: float) -> tuple[UnitImage, ...]:
        return tuple(make_image(k) for k in range(10))


class Control:
    """Heat control with a demand, and the guidance it was given."""

    demand_w: float | None = DEMAND_W

    def __init__(self) -> None:
        self.guidance: Guidance | None = None
        self.known = UNSEEN

    def view(self) -> HeatView:
        fields = dict.fromkeys(HeatView.__struct_fields__) | {"demand_w": self.demand_w, "headroom_up_w": 0.0}
        return HeatView(**fields)  # type: ignore[arg-type]  # nothing else is looked at

    def learned(self) -> Learned:
        return self.known

    def demand_at(self, unix_s: float) -> float | None:
        return None

    def cap_w(self) -> float | None:
        return None

    def set_guidance(self, guidance: Guidance | None) -> None:
        self.guidance = guidance


class Rig:
    """An outlook over the fakes, on a clock that stands still until it is moved."""

    def __init__(
        self,
        clock: MockClock,
        heat: Heat = HEAT,
        solver: Callable[[Problem], Plan | NoPlan] = solve,
        path: Path | None = None,
    ) -> None:
        self.clock = clock
        self.fleet, self.control = Fleet(), Control()
        self.events = EventLog(self.now)
        self.events.listen(self._heard)
        self._news = trio.Event()
        level = config.Level(name="full", power_w=8_700.0, hashrate_hps=480e12)
        units = [config.Unit(id=f"u{k}", address="127.0.0.1", model="m", loop="a") for k in range(10)]
        site = config.SiteConfig(pools=[], heat=heat, models={"m": config.Model(levels=[level])}, units=units)
        self.outlook = Outlook(site, self.fleet, self.control, self.events, self.now, solver=solver, path=path)

    def now(self) -> float:
        return START_UNIX_S + trio.current_time()

    def _heard(self, event: Event) -> None:
        if event.name in ("heat.planned", "heat.plan_failed", "heat.plan_expired"):
            self._news.set()

    def count(self, name: str) -> int:
        return sum(event.name == name for event in self.events.since(0))

    def tell(self, tank_wh: float | None = 10_000.0) -> None:
        """Prices, a schedule and what the tank holds."""
        self.outlook.take_forecasts(Sent(self.now(), None, electricity_per_kwh=CHEAP_THEN_DEAR, demand_w=STEADY), self.now())
        if tank_wh is not None:
            self.outlook.take_tank(TankReading(self.now(), tank_wh), self.now())

    def guidance(self) -> Guidance:
        assert self.control.guidance is not None
        return self.control.guidance

    async def jump(self, seconds: float) -> None:
        """Move the clock and let everybody act on it."""
        await wait_all_tasks_blocked()
        self.clock.jump(seconds)
        await wait_all_tasks_blocked()

    async def planned(self, after_s: float) -> None:
        """Move the clock and wait for the plan (or the failure, or its expiry) that follows."""
        self._news = trio.Event()
        await self.jump(after_s)
        await self._news.wait()
        await wait_all_tasks_blocked()

    async def let_be(self, condition: Callable[[], object]) -> None:
        """Wait in real time for what a thread does."""
        while not condition():
            await trio.to_thread.run_sync(threading.Event().wait, 0.001)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The outlook as a task, from its first plan on."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self.outlook.run)
            await self._news.wait()
            await self.jump(PAUSE_S)
            yield
            nursery.cancel_scope.cancel()


async def test_units_make_what_the_demand_and_the_tank_take(mock_clock: MockClock) -> None:
    rig = Rig(mock_clock)
    rig.tell()
    async with rig.running():
        block = rig.outlook.block(rig.now())
        assert block is not None
        assert block.tank_charge_w == pytest.approx(20_000)
        assert rig.guidance().heat_now_w == pytest.approx(60_000)
        assert rig.outlook.view().heat_income == pytest.approx(40.0 * 4 * HEAT.costs.heat_per_kwh)
        assert rig.guidance().electricity_per_kwh == 0.02
        assert rig.guidance().price_of_heat_per_kwh == block.price_of_heat_per_kwh
        rig.control.demand_w = 41_000.0
        await rig.jump(GUIDE_PERIOD_S)
        assert rig.guidance().heat_now_w == pytest.approx(60_000), "a small difference is the tank's"
        rig.control.demand_w = 43_000.0
        await rig.jump(GUIDE_PERIOD_S)
        assert rig.guidance().heat_now_w == pytest.approx(61_000), "the rest is followed"
    assert rig.control.guidance is None, "nobody plans any more"


async def test_the_tank_gives_in_dear_hours(mock_clock: MockClock) -> None:
    rig = Rig(mock_clock)
    rig.tell()
    async with rig.running():
        await rig.planned(900)
        await rig.planned(2_700 + PAUSE_S)
        rig.outlook.take_tank(TankReading(rig.now(), 30_000.0), rig.now())
        await rig.planned(PAUSE_S)
        assert rig.guidance().heat_now_w == pytest.approx(30_000, rel=0.01), "evenly over both dear hours"


async def test_a_lost_loop_is_planned_with_at_once(mock_clock: MockClock) -> None:
    rig = Rig(mock_clock)
    rig.control.known = msgspec.structs.replace(UNSEEN, heat_w=40_000.0)
    rig.tell()
    async with rig.running():
        before = rig.count("heat.planned")
        rig.control.known = msgspec.structs.replace(UNSEEN, heat_w=37_000.0)
        await rig.jump(61)
        assert rig.count("heat.planned") == before, "a few units are no news"
        rig.control.known = Learned(efficiency=0.95, power_scale=1.0, heat_w=20_000.0, loop_caps_w={"a": 30_000.0})
        await rig.planned(GUIDE_PERIOD_S)
        block = rig.outlook.block(rig.now())
        assert block is not None
        assert block.units_heat_w == pytest.approx(28_500), "no more than the loop's cap gives"


async def test_an_unknown_tank_moves_no_unit(mock_clock: MockClock) -> None:
    rig = Rig(mock_clock)
    rig.tell(tank_wh=None)
    async with rig.running():
        assert rig.guidance().heat_now_w is None
        assert rig.guidance().electricity_per_kwh == 0.02


async def test_a_tank_that_is_not_told_any_more_is_left_alone_at_once(mock_clock: MockClock) -> None:
    heat = msgspec.structs.replace(HEAT, planner=msgspec.structs.replace(PLANNER, tank_stale_s=600.0))
    rig = Rig(mock_clock, heat)
    rig.tell()
    async with rig.running():
        assert rig.guidance().heat_now_w is not None
        await rig.jump(600)
        assert rig.guidance().heat_now_w is None


async def test_a_full_tank_is_not_filled_whatever_the_plan_said(mock_clock: MockClock) -> None:
    rig = Rig(mock_clock)
    rig.tell()
    async with rig.running():
        rig.outlook.take_tank(TankReading(rig.now(), 40_000.0), rig.now())
        rig.outlook.guide(rig.now())
        assert rig.guidance().heat_now_w is None


@pytest.mark.parametrize("follows", [False, True])
async def test_units_leave_the_boiler_its_share_only_where_it_follows_the_plan(follows: bool, mock_clock: MockClock) -> None:
    planner = Planner(enabled=True, horizon_h=1, backup_max_w=30_000, backup_per_kwh=0.01, backup_follows_plan=follows)
    rig = Rig(mock_clock, Heat(planner=planner, costs=HeatCosts(work_per_th_day=0.0)))
    async with rig.running():
        assert rig.guidance().heat_now_w == (pytest.approx(10_000) if follows else None)


async def test_nothing_is_planned_before_every_unit_was_asked(mock_clock: MockClock) -> None:
    rig = Rig(mock_clock)
    rig.fleet.swept_all = False
    async with trio.open_nursery() as nursery:
        await nursery.start(rig.outlook.run)
        await rig.jump(60)
        assert (rig.count("heat.planned"), rig.control.guidance) == (0, None)
        rig.fleet.swept_all = True
        await rig.planned(GUIDE_PERIOD_S)
        assert rig.control.guidance is not None
        nursery.cancel_scope.cancel()


async def test_news_is_planned_with_at_once(mock_clock: MockClock) -> None:
    rig = Rig(mock_clock)
    async with rig.running():
        assert rig.outlook.view().notes
        await rig.jump(PAUSE_S)
        rig.tell()
        await rig.planned(0)
        assert rig.guidance().heat_now_w == pytest.approx(60_000)
        assert rig.outlook.view().tank_charge_w == pytest.approx(20_000)


async def test_a_plan_is_made_each_period(mock_clock: MockClock) -> None:
    rig = Rig(mock_clock)
    rig.tell()
    async with rig.running():
        await rig.jump(PAUSE_S)
        before = rig.count("heat.planned")
        await rig.jump(890)
        assert rig.count("heat.planned") == before
        await rig.planned(10)
        assert rig.count("heat.planned") == before + 1


async def test_a_demand_that_left_the_plan_is_planned_with(mock_clock: MockClock) -> None:
    rig = Rig(mock_clock)
    rig.tell()
    async with rig.running():
        await rig.jump(61)
        rig.control.demand_w = 55_000.0
        await rig.planned(GUIDE_PERIOD_S)
        block = rig.outlook.block(rig.now())
        assert block is not None
        assert block.demand_w == 55_000.0


async def test_a_reading_of_the_tank_that_was_expected_is_no_news(mock_clock: MockClock) -> None:
    rig = Rig(mock_clock)
    rig.tell()
    async with rig.running():
        await rig.jump(300)
        before = rig.count("heat.planned")
        planned_wh = rig.outlook.planned_tank_wh(rig.now())
        assert planned_wh == pytest.approx(10_000 + 20_000 * 300 / 3_600, rel=0.01)
        rig.outlook.take_tank(TankReading(rig.now(), planned_wh), rig.now())
        await rig.jump(PAUSE_S)
        assert rig.count("heat.planned") == before
        rig.outlook.take_tank(TankReading(rig.now(), 20_000.0), rig.now())
        await rig.planned(PAUSE_S)


async def test_a_plan_that_fails_keeps_the_last_one_until_it_expires(mock_clock: MockClock) -> None:
    answers: list[NoPlan] = []

    def solver(problem: Problem) -> Plan | NoPlan:
        return answers[0] if answers else solve(problem)

    rig = Rig(mock_clock, solver=solver)
    rig.tell()
    async with rig.running():
        answers.append(NoPlan(("the solver found no plan: time limit reached",)))
        await rig.planned(900)
        view = rig.outlook.view()
        assert (view.state, view.reasons) == ("kept", answers[0].reasons)
        assert rig.guidance().heat_now_w == pytest.approx(60_000)
        await rig.planned(1_100)
        assert rig.count("heat.plan_failed") == 1, "told once"
        view = rig.outlook.view()
        assert (view.state, view.price_of_heat_per_kwh, view.reasons) == ("none", None, answers[0].reasons)
        assert rig.control.guidance is None
        assert rig.count("heat.plan_expired") == 1
        assert all(column == [] for column in msgspec.structs.astuple(rig.outlook.blocks()))


async def test_without_any_demand_the_reason_is_told(mock_clock: MockClock) -> None:
    rig = Rig(mock_clock)
    rig.control.demand_w = None
    async with rig.running():
        view = rig.outlook.view()
        assert view.state == "none"
        assert "send a demand" in view.reasons[0]
        assert rig.control.guidance is None


async def test_a_near_shortage_is_an_alarm_and_a_far_one_is_not(mock_clock: MockClock) -> None:
    rig = Rig(mock_clock)
    rig.tell(tank_wh=None)
    schedule = Series(START_UNIX_S, 900.0, (*(DEMAND_W,) * 14, 95_000.0))
    rig.outlook.take_forecasts(Sent(rig.now(), None, demand_w=schedule), rig.now())
    async with rig.running():
        assert rig.outlook.view().state == "short"
        assert rig.outlook.alarms() == ()
        for _ in range(3):
            await rig.planned(900)
        (alarm,) = rig.outlook.alarms()
        assert alarm.startswith("plan: heat is short by up to ")


async def test_the_loop_goes_on_while_the_solver_works_and_a_stop_does_not_wait_for_it(mock_clock: MockClock) -> None:
    release, began = threading.Event(), threading.Event()

    def solver(problem: Problem) -> Plan | NoPlan:
        began.set()
        release.wait(30)
        return NoPlan(("late",))

    rig = Rig(mock_clock, solver=solver)
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(rig.outlook.run)
            await trio.to_thread.run_sync(began.wait, 30)
            assert rig.outlook.view().state == "none"
            nursery.cancel_scope.cancel()
        assert not release.is_set()
    finally:
        release.set()


async def test_what_cannot_be_is_refused_and_told(mock_clock: MockClock) -> None:
    rig = Rig(mock_clock)
    prices = Sent(rig.now(), None, electricity_per_kwh=Series(START_UNIX_S, 3_600.0, (45.0,)))
    assert isinstance(rig.outlook.take_forecasts(prices, rig.now()), ForecastRefused)
    assert isinstance(rig.outlook.take_tank(TankReading(rig.now(), -5.0), rig.now()), ForecastRefused)
    assert (rig.count("heat.forecast_refused"), rig.count("heat.tank_refused")) == (1, 1)


async def test_forecasts_outlive_a_restart_until_they_expire(mock_clock: MockClock, tmp_path: Path) -> None:
    path = tmp_path / "data" / "forecasts.json"
    first = Rig(mock_clock, path=path)
    first.tell()
    async with first.running():
        await first.let_be(path.exists)
    second = Rig(mock_clock, path=path)
    async with second.running():
        plan = second.outlook.plan(second.now())
        assert plan is not None
        assert plan.end_unix_s == START_UNIX_S + 4 * 3_600
        assert second.guidance().electricity_per_kwh == 0.02
        assert second.outlook.view().tank_wh is None
    await second.jump(5 * 3_600)
    third = Rig(mock_clock, path=path)
    async with third.running():
        assert third.guidance().electricity_per_kwh == HEAT.costs.electricity_per_kwh


async def test_a_broken_file_of_forecasts_is_told_and_replaced(mock_clock: MockClock, tmp_path: Path) -> None:
    path = tmp_path / "forecasts.json"
    path.write_text("{")
    rig = Rig(mock_clock, path=path)
    async with rig.running():
        assert rig.count("heat.forecasts_not_read") == 1
        rig.tell()
        await rig.planned(PAUSE_S)
        await rig.let_be(lambda: path.read_text() != "{")
    assert rig.count("heat.forecasts_not_saved") == 0
