"""The fault campaign: for every fault a small site whose plant is drawn at random, and what must become of it.

A run is a scenario of less than an hour with one fault; its seed draws the plant's parameters (within 40 % of nominal), the
biases, the units that are hit and the moment. The verdict is a list of complaints, empty when the fault ended in its named
fallback and nothing unsafe happened on the way. It prints nothing: the tests and the bench do.
"""

import random
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np

from proxy import config
from proxy.sim import score
from proxy.sim.twin.engine import RUNGS, Twin
from proxy.sim.twin.machines import MachineSpec
from proxy.sim.twin.scenario import DemandSpec, Fault, FaultKind, FleetSpec, Header, PlantTable, Scenario, complete
from proxy.views import HeatView

UNITS, LOOPS = 32, 4
UNITS_PER_LOOP = UNITS // LOOPS
FAULT_S = 1_500.0  # by then the controller knows its plant
HOLD_S, FALLBACK_S, LIMIT_S = 60.0, 180.0, 480.0
VALID_S = 120.0
VARIED = 0.4
LOOK_S = 30.0
LEVELS = (
    config.Level(name="eco", power_w=4_435, hashrate_hps=297.6e12, setting=-2),
    config.Level(name="low", power_w=5_645, hashrate_hps=367.2e12, setting=-1),
    config.Level(name="medium", power_w=6_854, hashrate_hps=424.8e12, setting=0),
    config.Level(name="full", power_w=8_064, hashrate_hps=480e12, setting=1),
    config.Level(name="boost", power_w=8_709, hashrate_hps=504e12, setting=2),
)
TOP_W = UNITS * LEVELS[-1].power_w
DEMAND_W = 0.66 * UNITS * LEVELS[-2].power_w
LIMIT_W = 0.5 * TOP_W


class Look(msgspec.Struct, frozen=True):
    """What control said of itself at one moment."""

    at_s: float
    view: HeatView
    alarms: tuple[str, ...]


class Run(msgspec.Struct, frozen=True):
    """A finished run and what is asked of it in checks."""

    twin: Twin
    at_s: float
    until_s: float
    looks: list[Look]

    def rung(self, at_s: float) -> str:
        """The ladder at a moment."""
        return RUNGS[int(self.twin.record["rung"][self._row(at_s)])]

    def rungs(self, from_s: float, to_s: float) -> set[str]:
        """All rungs in a stretch."""
        return {RUNGS[int(k)] for k in np.unique(self.twin.record["rung"][self._row(from_s) : self._row(to_s)])}

    def error(self, from_s: float, to_s: float) -> float:
        """Largest error of the heat, averaged over a minute, as part of the demand."""
        record = self.twin.record
        rows = slice(self._row(from_s), self._row(to_s))
        error_w = record["heat_w"] - record["demand_w"]
        width = max(1, round(60.0 / self.twin.step_s))
        smooth = np.convolve(error_w, np.ones(width) / width, mode="same")[rows]
        return float(np.abs(smooth / record["demand_w"][rows]).max())

    def power_w(self, from_s: float, to_s: float) -> float:
        """Largest electrical power."""
        return float(self.twin.record["power_w"][self._row(from_s) : self._row(to_s)].max())

    def look(self, at_s: float) -> Look:
        """The last look before a moment."""
        return [look for look in self.looks if look.at_s <= at_s][-1]

    def _row(self, at_s: float) -> int:
        return min(max(0, round(at_s / self.twin.step_s) - 1), self.twin.record.length - 1)


Check = Callable[[Run], list[str]]


class Case(msgspec.Struct, frozen=True):
    """One fault. `fallback` is what it must end in, in words; `length_s` the fault's, `after_s` what is watched afterwards."""

    name: str
    kinds: tuple[FaultKind, ...]
    fallback: str
    check: Check
    length_s: float = 600.0
    after_s: float = 300.0
    part: float = 0.06
    values: tuple[float, ...] = ()
    every_meter: bool = False


def seeds(count: int, first: int = 0) -> list[tuple[Case, int]]:
    """`count` runs, the cases in turn."""
    return [(CASES[seed % len(CASES)], seed) for seed in range(first, first + count)]


def run_case(case: Case, seed: int) -> list[str]:
    """Run one case with one seed; what is wrong with it, nothing when all is well."""
    run = play(case, seed)
    complaints = _unsafe(run) + case.check(run)
    return [f"{case.name}, seed {seed}: {complaint}" for complaint in complaints]


def play(case: Case, seed: int) -> Run:
    """Let a case happen."""
    rng = random.Random(f"{case.name} {seed}")
    at_s = FAULT_S + rng.uniform(0.0, 60.0)
    twin = Twin(complete("campaign", scenario_of(case, at_s, rng), Path("campaign")), seed=seed)
    looks: list[Look] = []
    total = round(twin.hours * 3_600.0 / twin.step_s)
    for _ in range(total):
        twin.step()
        if not looks or twin.now_s >= looks[-1].at_s + LOOK_S:
            looks.append(Look(twin.now_s, twin.control.view(), twin.control.alarms()))
    return Run(twin, at_s, at_s + case.length_s, looks)


def scenario_of(case: Case, at_s: float, rng: random.Random) -> Scenario:
    """The site of one run: nothing of the plant is as control believes."""

    def varied(nominal: float) -> float:
        return nominal * rng.uniform(1.0 - VARIED, 1.0 + VARIED)

    bias = rng.uniform(0.97, 1.05)
    return Scenario(
        scenario=Header(title=case.name, hours=(at_s + case.length_s + case.after_s) / 3_600.0, step_s=10.0),
        fleet=FleetSpec(units=UNITS, loops=LOOPS, model="A1566HA"),
        models={"A1566HA": config.Model(levels=list(LEVELS), sleep_power_w=48.0, settle_s=300.0, wake_s=330.0, max_outlet_c=88.0)},
        loops=[config.Loop(name=f"L{k + 1}", design_flow_l_per_min=8.0 * UNITS_PER_LOOP) for k in range(LOOPS)],
        heat=config.Heat(
            thermal_efficiency=0.97,
            telemetry_period_s=20.0,
            hold_after_s=HOLD_S,
            fallback_after_s=FALLBACK_S,
            limit_after_s=LIMIT_S,
            limit_power_w=LIMIT_W,
        ),
        demand=DemandSpec(kind="constant", peak_w=DEMAND_W * rng.uniform(0.95, 1.05), valid_s=VALID_S, alive_s=30.0),
        plant=PlantTable(
            efficiency=rng.uniform(0.91, 0.97),
            mass_kg=varied(25.0),
            approach_k=varied(3.0),
            pipe_delay_s=varied(30.0),
            meter_lag_s=varied(10.0),
        ),
        machines=MachineSpec(
            nameplate_bias=bias,
            telemetry_bias=bias,
            lost_commands=0.01,
            ramp_up_s=varied(180.0),
            ramp_down_s=varied(20.0),
        ),
        faults=_faults(case, at_s, rng),
    )


def _faults(case: Case, at_s: float, rng: random.Random) -> list[Fault]:
    loop = f"L{rng.randrange(LOOPS) + 1}"
    found = []
    for kind in case.kinds:
        value = rng.choice(case.values) if case.values and kind == case.kinds[0] else None
        if kind in ("import_limit", "manual_limit"):
            value = 0.6 * DEMAND_W
        needs_loop = kind in ("loop_trip", "pump_fails", "exchanger_fouls")
        # A second fault is what makes the first one matter: a few seconds later, and for good.
        is_first = kind == case.kinds[0]
        found.append(
            Fault(
                kind=kind,
                at_s=at_s if is_first else at_s + 30.0,
                for_s=case.length_s if is_first else None,
                part=case.part,
                loop=loop if needs_loop else None,
                value=value if is_first else 0.9,
            )
        )
    if case.every_meter:
        found += [msgspec.structs.replace(found[0], loop=f"L{k + 1}") for k in range(LOOPS)]
    return found


def _unsafe(run: Run) -> list[str]:
    """What must never happen, whatever the fault."""
    twin = run.twin
    complaints = []
    if twin.control.failed_cycles:
        complaints.append(f"{twin.control.failed_cycles} cycles ended in a bug")
    if twin.machines.firmware_trips:
        complaints.append(f"{twin.machines.firmware_trips} machines had to save themselves from the heat")
    if not np.isfinite(twin.record["heat_w"]).all():
        complaints.append("the plant's heat is no number")
    return complaints


def _kept(run: Run, part: float, from_s: float | None = None, to_s: float | None = None) -> list[str]:
    """The heat stayed within `part` of the demand."""
    begin_s = run.at_s if from_s is None else from_s
    end_s = run.twin.now_s if to_s is None else to_s
    error = run.error(begin_s, end_s)
    return [] if error <= part else [f"heat was off by {error:.1%} between {begin_s:.0f} s and {end_s:.0f} s (allowed {part:.0%})"]


def _expect(holds: bool, complaint: str) -> list[str]:
    return [] if holds else [complaint]


# One check for each named fallback.


def _signal_lost(run: Run) -> list[str]:
    stale_s = run.at_s + VALID_S
    held_s = run.at_s + HOLD_S
    return (
        _kept(run, 0.04, run.at_s, run.at_s + FALLBACK_S)
        + _expect("LIVE" in run.rungs(run.at_s - 60, run.at_s), "it was not LIVE before")
        + _expect("HOLD" in run.rungs(held_s, stale_s + FALLBACK_S + 60), "it never went to HOLD")
        + _expect("FALLBACK" in run.rungs(held_s, stale_s + LIMIT_S + 60), "it never went to FALLBACK")
        + _expect(run.rung(stale_s + LIMIT_S + 60) == "LIMIT", f"it was on {run.rung(stale_s + LIMIT_S + 60)}, not on LIMIT")
        + _expect(run.power_w(run.until_s - 60, run.until_s) <= 1.06 * LIMIT_W, "LIMIT drew more than its power")
        + _expect(run.rung(run.twin.now_s) == "LIVE", "it did not come back to LIVE")
    )


def _signal_refused(run: Run) -> list[str]:
    return (
        _expect(run.twin.utility.refused > 0 or run.twin.books.demands_refused > 0, "nothing was refused")
        + _expect(bool(run.twin.utility.last_refusal), "the refusal had no reason")
        + _expect(run.rungs(run.at_s, run.until_s) <= {"LIVE", "HOLD", "FALLBACK"}, "it fell further than FALLBACK")
        + _expect(run.rung(run.twin.now_s) == "LIVE", "it did not come back to LIVE")
        + _kept(run, 0.04)
    )


def _one_master(run: Run) -> list[str]:
    return (
        _expect(run.twin.utility.refused > 0, "the second master was not refused")
        + _expect(run.rungs(run.at_s, run.twin.now_s) == {"LIVE"}, "it left LIVE")
        + _kept(run, 0.03)
    )


def _contained(run: Run) -> list[str]:
    changes = float(run.twin.machines.changes.sum()) / len(run.twin.machines)
    told = [look.at_s for look in run.looks if any("the demand of utility swings" in line for line in look.alarms)]
    return (
        _expect(changes <= 12.0, f"{changes:.1f} level changes a unit in less than an hour")
        + _expect(bool(told), "nobody was told that the demand swings")
        + _expect(all(at_s >= run.at_s for at_s in told), "a calm demand was called swinging")
        + _kept(run, 0.2)
    )


def _substituted(run: Run) -> list[str]:
    look = run.look(run.until_s - 10.0)
    return (
        _expect(look.view.heat_quality != "measured", f"the heat was still called {look.view.heat_quality}")
        + _expect(run.rungs(run.at_s, run.twin.now_s) == {"LIVE"}, "it left LIVE")
        + _kept(run, 0.05)
    )


def _excluded(run: Run) -> list[str]:
    told = any(look.alarms for look in run.looks if look.at_s > run.at_s)
    return _expect(told, "no alarm was raised") + _kept(run, 0.08) + _kept(run, 0.04, run.until_s - 120.0, run.until_s)


def _ridden_out(run: Run) -> list[str]:
    return _kept(run, 0.04)


def _replaced(run: Run) -> list[str]:
    return _kept(run, 0.15) + _kept(run, 0.025, run.at_s + 900.0, run.until_s)


def _not_believed(run: Run) -> list[str]:
    """Hung machines that say they run: who they are is known in the end, and nobody else is accused."""
    ids = {run.twin.site.units[k].id for k in run.twin.faults.hit[0]}
    accused = {str(event.facts["unit"]) for event in run.twin.told if event.name == "unit.not_believed"}
    told = any("shares prove" in alarm for alarm in run.look(run.until_s - 10.0).alarms)
    return (
        _expect(accused == ids, f"{sorted(accused)} were named, not {sorted(ids)}")
        + _expect(told, "no alarm was raised")
        + _worked_around(run)
    )


def _worked_around(run: Run) -> list[str]:
    return _kept(run, 0.15) + _kept(run, 0.03, run.until_s - 300.0, run.until_s)


def _blinded(run: Run) -> list[str]:
    twin = run.twin
    hit = twin.faults.hit[0]
    now = [int(twin.machines.level[k]) for k in hit]
    return _expect(max(now) <= 1, f"units without an outlet temperature run on levels {now}") + _worked_around(run)


def _tripped(run: Run) -> list[str]:
    record = run.twin.record
    took_s = score.recovery_s(run.twin.step_s, record["demand_w"], record["heat_w"], run.at_s, 0.02, run.until_s)
    return _expect(took_s is not None and took_s <= 480.0, f"within 2 % only after {took_s} s")


def _dried(run: Run) -> list[str]:
    """The loop without flow sleeps; its machines never had to save themselves (checked for every run)."""
    twin = run.twin
    loop = next(fault.loop for fault in twin.loaded.scenario.faults)
    members = [k for k, name in enumerate(twin.unit_loops) if name == loop]
    rows = slice(run._row(run.at_s + 120.0), run._row(run.until_s))
    others_w = float(record_max(twin, rows))
    return _expect(others_w <= TOP_W * (LOOPS - 1) / LOOPS * 1.06 + 48 * len(members), "the loop without flow went on heating")


def record_max(twin: Twin, rows: slice) -> float:
    """Largest power in some rows."""
    return float(twin.record["power_w"][rows].max())


def _stepped(run: Run) -> list[str]:
    record = run.twin.record
    row = run._row(run.at_s) + 1
    steps = np.flatnonzero(np.diff(record["demand_w"][row - 3 : row + 3])) + row - 2
    step = score.step_response(run.twin.step_s, record["demand_w"], record["heat_w"], float(steps[0]) * run.twin.step_s)
    return _expect(
        step.within_2_s is not None and step.within_2_s <= 540.0, f"within 2 % only after {step.within_2_s} s"
    ) + _expect(step.overshoot <= 0.04, f"it overshot by {step.overshoot:.1%}")


def _stopped(run: Run) -> list[str]:
    return (
        _expect(run.rungs(run.at_s + 30, run.until_s - 10) == {"STOP"}, "it was not on STOP all the time")
        # A unit whose command was lost is told again after it was read back.
        + _expect(run.power_w(run.at_s + 90.0, run.until_s - 10) <= 0.1 * TOP_W, "units went on after 90 s")
        + _expect(run.power_w(run.at_s + 180.0, run.until_s - 10) <= 0.02 * TOP_W, "units went on after 180 s")
        + _expect(run.rung(run.twin.now_s) != "STOP", "it never left STOP")
    )


def _capped(run: Run) -> list[str]:
    cap_w = run.twin.loaded.scenario.faults[0].value or 0.0
    # Machines tell more or less than they draw; the cap is kept by what they tell.
    most_w = run.power_w(run.at_s + 120.0, run.until_s - 10.0)
    return _expect(most_w <= 1.05 * cap_w, f"{most_w:.0f} W against a cap of {cap_w:.0f} W")


def _bumpless(run: Run) -> list[str]:
    return _kept(run, 0.04) + _expect(run.rung(run.twin.now_s) == "LIVE", "it is not LIVE")


def _left_alone(run: Run) -> list[str]:
    return _kept(run, 0.04) + _expect(run.rung(run.twin.now_s) == "LIVE", "it is not LIVE again")


CASES: tuple[Case, ...] = (
    Case("meter lost", ("meter_lost",), "sum of the loop meters, flagged", _substituted),
    Case("all meters lost", ("meter_lost",), "power times efficiency, flagged", _substituted, every_meter=True),
    Case("meter stuck", ("meter_stuck",), "found and left out", _excluded, length_s=1_300.0),
    Case("meter lying", ("meter_lying",), "alarm, correction frozen", _excluded, length_s=900.0, values=(0.5, 0.7, 1.4, 2.0)),
    Case("meter jumping", ("meter_jumps",), "jumps refused", _ridden_out),
    Case("meter nonsense", ("meter_nonsense",), "refused", _ridden_out),
    Case("signal lost", ("signal_lost",), "HOLD, FALLBACK, LIMIT, and LIVE again", _signal_lost, length_s=840.0),
    Case("signal nonsense", ("signal_nonsense",), "refused with a reason, HOLD", _signal_refused, length_s=240.0),
    Case("signal replayed", ("signal_replayed",), "refused with a reason, HOLD", _signal_refused, length_s=240.0),
    Case("signal oscillates", ("signal_oscillates",), "contained by filter, ramp and dwell; told", _contained),
    Case("second master", ("second_master",), "refused; the first one rules on", _one_master),
    Case("units mute", ("units_mute",), "OFFLINE, replaced by others", _replaced, length_s=1_200.0),
    Case("units dead", ("units_dead",), "OFFLINE, replaced by others", _replaced, length_s=1_200.0),
    Case("OK without effect", ("units_ignore", "demand_step"), "second try, FAULT, replaced", _worked_around, length_s=1_200.0),
    Case("runs in words only", ("units_pretend",), "not believed, named, replaced", _not_believed, length_s=1_500.0, after_s=60.0),
    Case("units refuse", ("units_refuse", "demand_step"), "FAULT, replaced", _worked_around, length_s=1_200.0),
    Case("units calibrate", ("units_calibrate", "demand_step"), "left alone, others move", _worked_around, length_s=1_200.0),
    Case("outlet unknown", ("units_blind",), "lowest level, others make the heat", _blinded, length_s=1_200.0, after_s=10.0),
    Case("power told wrong", ("units_lie",), "the meter rules", _worked_around, length_s=900.0, values=(0.4, 0.7, 1.6)),
    Case("power told stuck", ("units_stuck", "demand_step"), "the meter rules", _worked_around, length_s=900.0),
    Case("loop trips", ("loop_trip",), "the other loops take over", _tripped, length_s=900.0),
    Case("pump fails", ("pump_fails",), "the loop sleeps", _dried, length_s=600.0),
    Case("exchanger fouls", ("exchanger_fouls",), "the meter corrects", _worked_around, length_s=900.0, values=(0.5, 0.7)),
    Case("step of 10 %", ("demand_step",), "followed", _stepped, length_s=900.0, values=(1.1,), after_s=0.0),
    Case("emergency stop", ("emergency_stop",), "STOP, all asleep", _stopped, length_s=300.0),
    Case("import limit", ("import_limit",), "the cap wins", _capped),
    Case("manual limit", ("manual_limit",), "the cap wins", _capped),
    Case("control restarts", ("control_restarts",), "units adopted, no jump", _bumpless),
    Case("control stops", ("control_stops",), "units keep their levels", _left_alone, length_s=240.0),
)
