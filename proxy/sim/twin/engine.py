"""The twin: one site in virtual time. The heat control and the unit lives are the product's own; all else is simulated here.

Each step of a few seconds: what goes wrong, the utility, machines, water, meters, telemetry and commands, the control cycle, one
row of the record. Same scenario and same seed, same run. No sockets, no disk, no clock.
"""

import random
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from proxy.events import Event, EventLog
from proxy.heat.control import HeatControl
from proxy.heat.demand import HeatDemand, MeterReading
from proxy.sim.plant import Plant
from proxy.sim.tank import Tank
from proxy.sim.twin.ahead import Ahead
from proxy.sim.twin.books import Books
from proxy.sim.twin.faults import Faults
from proxy.sim.twin.fleet import TwinFleet
from proxy.sim.twin.gauges import Gauges
from proxy.sim.twin.machines import Machines, Phase
from proxy.sim.twin.mining import Mining
from proxy.sim.twin.record import Record
from proxy.sim.twin.room import Room
from proxy.sim.twin.scenario import Loaded, loop_names, plant_of, start_unix_s
from proxy.sim.twin.utility import Utility
from proxy.sim.twin.weather import Weather

# A twin's event log must not forget the first fault of a day.
EVENTS_KEPT = 20_000
RUNGS = ("LIVE", "HOLD", "FALLBACK", "LIMIT", "STOP")
OUTDOOR_PERIOD_S = 300.0
IMPORT_LIMIT_S = 604_800.0


class Twin:
    """One run. `run` to the end, or `step` by hand; `control`, `machines`, `plant` and `record` may be looked at between steps."""

    def __init__(self, loaded: Loaded, *, seed: int | None = None, hours: float | None = None) -> None:
        """Settled at the first demand; control has seen nothing yet. Raises ConfigError for a start that is no time."""
        scenario, site = loaded.scenario, loaded.site
        self.loaded = loaded
        self.site = site
        self.hours = scenario.scenario.hours if hours is None else hours
        self.step_s = scenario.scenario.step_s
        self.now_s = 0.0
        self.start_unix_s = start_unix_s(scenario)
        master = random.Random(scenario.scenario.seed if seed is None else seed)
        # Each part draws from its own stream: one fault more changes nobody else's chance.
        streams = [random.Random(master.getrandbits(64)) for _ in range(9)]
        self._rng = streams[0]
        self.weather = Weather(scenario.weather, scenario.prices, self.hours, streams[1])
        self.utility = Utility(scenario.demand, self.weather, self.start_unix_s, streams[2])
        self.events = EventLog(lambda: self.now_unix_s, EVENTS_KEPT)
        self.told: list[Event] = []
        self.events.listen(self._hear)
        self.books = Books()
        self.machines = Machines(site.units, site.models, scenario.machines, scenario.plant.efficiency, streams[3])
        self.unit_loops = [unit.loop for unit in site.units]
        self._loops = loop_names(site)
        self._loop_of: npt.NDArray[np.int64] = np.array([self._loops.index(loop) for loop in self.unit_loops])
        self.room = None if scenario.room is None else Room(scenario.room)
        if self.room is not None and scenario.demand.kind == "room":
            self.utility.thermostat = self._thermostat
        self._start(streams[4])
        self.fleet = TwinFleet(site, self.machines, self.events, streams[5])
        self.mining = Mining(site, self.machines, streams[8])
        self.gauges = Gauges(self.plant, scenario.plant.loop_meters, streams[6])
        self.tank = None if scenario.tank is None else Tank(scenario.tank, self.plant.supply_c, self.plant.spec.return_c)
        self._meter_names = {meter.place: meter.name for meter in site.meters if meter.measures == "heat"}
        planned = site.heat.planner.enabled
        self.ahead = Ahead(site, self.start_unix_s, self.weather, self.utility) if planned else None
        self.is_control_stopped = False
        self.control = self._new_control()
        self.faults = Faults(list(scenario.faults), self, streams[7])
        steps = round(self.hours * 3_600.0 / self.step_s)
        self.record = Record(steps, self.step_s, max(len(model.levels) for model in site.models.values()) + 1)
        self.demands_met_late: list[float] = []
        self._next_tick_s = self._next_meter_s = self._next_outdoor_s = 0.0
        self._next_death_s = scenario.failures.dead_every_s or float("inf")
        self._repairs: list[tuple[float, int]] = []
        self.deaths = 0
        self.energy_wh = self.cost = self.revenue = 0.0

    @property
    def now_unix_s(self) -> float:
        """Virtual wall clock."""
        return self.start_unix_s + self.now_s

    # Levers for faults.

    def submit(self, demand: HeatDemand, now_unix_s: float) -> object:
        """A demand by the utility; nobody hears it while control stands."""
        return None if self.is_control_stopped else self.control.submit_demand(demand, now_unix_s)

    def set_emergency_stop(self, stop: bool) -> None:
        """The red button."""
        self.control.set_emergency_stop(stop, "twin")
        self._next_tick_s = self.now_s  # a limit does not wait for its cycle

    def set_import_limit(self, power_w: float | None) -> None:
        """The grid's word."""
        self.control.set_import_limit(power_w, self.now_unix_s + IMPORT_LIMIT_S, "grid")
        self._next_tick_s = self.now_s

    def set_manual_limit(self, power_w: float | None) -> None:
        """The operator's word."""
        self.control.set_manual_limit(power_w, "operator")
        self._next_tick_s = self.now_s

    def restart_control(self) -> None:
        """The proxy's process ends and starts again: nothing is left but the ledger, and units are looked at anew."""
        self.fleet = TwinFleet(self.site, self.machines, self.events, random.Random(self._rng.getrandbits(64)))
        self.control = self._new_control()
        self._next_tick_s = self.now_s

    # Time.

    def run(self, progress: Callable[[float], None] | None = None) -> Record:
        """To the end; `progress` hears the part done, some hundred times."""
        total = len(self.record.levels)
        every = max(1, total // 200)
        while self.record.length < total:
            self.step()
            if progress is not None and self.record.length % every == 0:
                progress(self.record.length / total)
        return self.record

    def step(self) -> None:
        """One step of everything."""
        dt_s = self.step_s
        self.now_s += dt_s
        now_s = self.now_s
        self.faults.step(now_s)
        self._fail(now_s)
        self.utility.step(now_s, self.submit)
        power_w = self._live(dt_s, now_s)
        self._measure(dt_s, now_s)
        if not self.is_control_stopped:
            self.fleet.step(now_s, dt_s)
            self.mining.step(self.fleet, now_s, dt_s)
            if self.ahead is not None:
                self.ahead.step(now_s, self.control, self.fleet, self._tank_wh())
            if now_s < self._next_tick_s:
                self.control.guard(now_s, self.now_unix_s)
            else:
                self._next_tick_s = now_s + self.site.heat.control_period_s
                began_s = time.perf_counter()
                self.control.tick(now_s, self.now_unix_s)
                self.record.decisions_s.append(time.perf_counter() - began_s)
        self._note(dt_s, now_s, power_w)

    def _start(self, rng: random.Random) -> None:
        """Machines settled on a mix of levels that gives the first demand, water warmed by them."""
        loaded = self.loaded
        efficiency = loaded.scenario.plant.efficiency
        wanted_w = self.utility.wanted_w(0.0) / efficiency
        order = list(range(len(self.machines)))
        rng.shuffle(order)
        levels = [0] * len(order)
        left_w = wanted_w - float(self.machines.sleep_w.sum())
        depth = int(self.machines.tops.max())
        for level in range(1, depth + 1):
            for k in order:
                gain_w = float(self.machines.levels_w[k, level] - self.machines.levels_w[k, levels[k]])
                if level <= self.machines.tops[k] and gain_w <= left_w and levels[k] == level - 1:
                    levels[k] = level
                    left_w -= gain_w
        spec = plant_of(loaded)
        self.plant = Plant(spec, 1.0, wanted_w - max(left_w, 0.0))
        inlet_c = [self.plant.loops[loop].cold_c for loop in self.unit_loops]
        self.machines.settle(levels, 0.0, inlet_c)

    def _new_control(self) -> HeatControl:
        return HeatControl(self.site, self.fleet, self.books, self.events, lambda: self.now_unix_s)

    def _live(self, dt_s: float, now_s: float) -> npt.NDArray[np.float64]:
        """Machines and water; the power of each machine."""
        loops = [self.plant.loops[name] for name in self._loops]
        cold_c = np.array([loop.cold_c for loop in loops])[self._loop_of]
        pump = np.array([loop.pump for loop in loops])[self._loop_of]
        self.machines.advance(now_s, dt_s, cold_c, pump)
        power_w = self.machines.power_w
        sums = np.bincount(self._loop_of, power_w, len(self._loops)).tolist()
        self.plant.load_w = self.utility.wanted_w(now_s)
        if self.tank is not None:
            self._flow = self.tank.step(
                dt_s,
                sum(loop.network_w_per_k for loop in loops),
                self.plant.supply_c,
                self.utility.wanted_w(now_s),
                self.plant.spec.return_c,
            )
            self.plant.return_c = self._flow.plant_return_c
        self.plant.advance(dt_s, dict(zip(self._loops, sums, strict=True)))
        if self.room is not None:
            self.room.step(dt_s, self.plant.delivered_w, self.weather.outdoor_c(now_s), now_s / 3_600.0)
        return power_w

    def _measure(self, dt_s: float, now_s: float) -> None:
        self.gauges.step(dt_s)
        if self.is_control_stopped:
            return
        if now_s >= self._next_meter_s:
            self._next_meter_s = now_s + self.loaded.scenario.plant.meter_period_s
            self.gauges.read(self.now_unix_s, self._take)
        if now_s >= self._next_outdoor_s:
            self._next_outdoor_s = now_s + OUTDOOR_PERIOD_S
            self.control.set_outdoor(round(self.weather.outdoor_c(now_s), 2), "twin", self.now_unix_s)

    def _take(self, place: str, reading: MeterReading) -> None:
        if place == "boundary":
            self.control.meter(reading)
        elif place in self._meter_names:
            self.control.bank.take(self._meter_names[place], reading, self.now_unix_s)

    def _tank_wh(self) -> float | None:
        return None if self.tank is None else self.tank.stored_wh(self.plant.spec.return_c)

    def _fail(self, now_s: float) -> None:
        """Units die by themselves now and then, and are repaired."""
        failures = self.loaded.scenario.failures
        while self._repairs and self._repairs[0][0] <= now_s:
            self.machines.repair(self._repairs.pop(0)[1], now_s)
        if now_s >= self._next_death_s:
            self._next_death_s += failures.dead_every_s
            alive = np.flatnonzero(~self.machines.is_dead).tolist()
            if alive:
                k = self._rng.choice(alive)
                self.machines.die(k)
                self.deaths += 1
                self._repairs.append((now_s + failures.repaired_after_s, k))

    def _thermostat(self, now_s: float) -> float:
        assert self.room is not None
        most_w = sum(model.levels[-1].power_w for model in self.machines.models) * self.loaded.scenario.plant.efficiency
        return self.room.demand_w(self.weather.outdoor_c(now_s), now_s / 3_600.0, most_w)

    def _hear(self, event: Event) -> None:
        if event.level in ("warning", "error"):
            self.told.append(event)

    def _note(self, dt_s: float, now_s: float, power_w: npt.NDArray[np.float64]) -> None:
        view = self.control.view()
        machines, plant = self.machines, self.plant
        total_w, spot = float(power_w.sum()), self.weather.spot_per_kwh(now_s)
        hashrate = float(machines.hashrate_hps.sum())
        hours = dt_s / 3_600.0
        self.energy_wh += total_w * hours
        self.cost += total_w / 1_000.0 * hours * spot
        self.revenue += hashrate / 1e12 / 24.0 * hours * self.site.heat.costs.work_per_th_day
        shown = np.where(machines.phase == Phase.RUNNING, machines.level, 0)
        shown = np.where(machines.is_dead, self.record.levels.shape[1] - 1, shown)
        room = self.room
        self.record.add(
            np.bincount(shown, minlength=self.record.levels.shape[1]),
            demand_w=self.utility.wanted_w(now_s) if self.utility.thermostat is None else view.demand_w,
            heat_w=plant.delivered_w,
            metered_w=view.heat_w,
            power_w=total_w,
            setpoint_w=view.setpoint_power_w,
            outdoor_c=self.weather.outdoor_c(now_s),
            spot_per_kwh=spot,
            marginal_price_per_kwh=view.marginal_price_per_kwh,
            supply_c=plant.supply_c,
            supply_asked_c=self.loaded.scenario.demand.supply_c if self.loaded.scenario.demand.kind == "supply" else None,
            return_c=plant.return_c,
            hottest_c=float(machines.outlet_c.max()),
            inlet_c=float(machines.inlet_c.mean()),
            stored_wh=self._tank_wh(),
            served_w=plant.delivered_w if self.tank is None else self._flow.delivered_w,
            short_w=None if self.tank is None else self._flow.short_w,
            room_c=None if room is None else room.air_c,
            room_set_c=None if room is None else room.set_c(now_s / 3_600.0),
            hashrate_hps=hashrate,
            rung=float(RUNGS.index(view.ladder)),
        )
