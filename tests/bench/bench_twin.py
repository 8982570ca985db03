"""The acceptance figures of heat control, measured in the twin, and the fault campaign. Printed, never asserted.

    python tests/bench/bench_twin.py [acceptance | steps | plants | faults] [count]

Without words: one day of 920 units, steps, and 100 runs of the campaign. `faults 1000` is the whole campaign, `plants` varies the
plant.
"""

import sys
import time
from pathlib import Path

import msgspec

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from proxy.sim import score
from proxy.sim.twin import campaign, scenario
from proxy.sim.twin.engine import Twin
from proxy.sim.twin.scenario import Fault, Loaded
from proxy.sim.twin.summary import summarize

VARIED = 0.4


def acceptance(seed: int = 1) -> None:
    """A winter day of 920 units."""
    loaded = scenario.load(scenario.find("nordic-920"))
    show("a day of 920 units", loaded, seed)


def show(name: str, loaded: Loaded, seed: int, hours: float | None = None) -> None:
    """Run, and one line of figures."""
    began_s = time.perf_counter()
    twin = Twin(loaded, seed=seed, hours=hours)
    twin.run()
    figures = summarize(twin, seed, time.perf_counter() - began_s)
    print(
        f"{name}, seed {seed}: RMS {pc(figures.rms)} (metered {pc(figures.rms_metered)}), in 1 % {pc(figures.within_1)},"
        f" in 2 % {pc(figures.within_2)}, worst {pc(figures.worst)}; 15 min mean {pc(figures.energy_error_mean)},"
        f" p95 {pc(figures.energy_error_p95)}, total {pc(figures.energy_error_total)}; changes {figures.changes_per_unit_day},"
        f" sleeps {figures.sleeps_per_unit_day}; decision {figures.decision_ms_median} / {figures.decision_ms_p95} ms;"
        f" {figures.wall_s} s",
        flush=True,
    )


def plants(seed: int = 1, hours: float = 8.0) -> None:
    """Each parameter of the plant 40 % off, alone, and all together."""
    loaded = scenario.load(scenario.find("nordic-920"))
    plant, machines = loaded.scenario.plant, loaded.scenario.machines
    for name in ("mass_kg", "approach_k", "pipe_delay_s", "meter_lag_s", "flow_l_per_min"):
        for factor in (1.0 - VARIED, 1.0 + VARIED):
            value = getattr(plant, name) * factor
            varied = msgspec.structs.replace(plant, **{name: value})
            show(f"{name} x {factor:.1f}", with_plant(loaded, varied), seed, hours)
    for factor in (1.0 - VARIED, 1.0 + VARIED):
        slower = msgspec.structs.replace(machines, ramp_up_s=machines.ramp_up_s * factor, ramp_down_s=machines.ramp_down_s * factor)
        site = msgspec.structs.replace(loaded.scenario, machines=slower)
        show(f"ramps x {factor:.1f}", msgspec.structs.replace(loaded, scenario=site), seed, hours)
        varied = msgspec.structs.replace(
            plant, mass_kg=plant.mass_kg * factor, approach_k=plant.approach_k * factor, pipe_delay_s=plant.pipe_delay_s * factor
        )
        show(f"mass, approach and pipe x {factor:.1f}", with_plant(loaded, varied), seed, hours)


def with_plant(loaded: Loaded, plant: scenario.PlantTable) -> Loaded:
    """The same scenario with another plant."""
    return msgspec.structs.replace(loaded, scenario=msgspec.structs.replace(loaded.scenario, plant=plant))


def steps(seed: int = 1) -> None:
    """Steps of the demand, and a loop that trips, on a constant demand."""
    loaded = scenario.load(scenario.find("nordic-920"))
    constant = msgspec.structs.replace(loaded.scenario.demand, kind="constant", peak_w=5_000_000.0)
    for name, fault in (
        ("+10 % step", Fault(kind="demand_step", at_s=5_400.0, value=1.1)),
        ("+30 % step", Fault(kind="demand_step", at_s=5_400.0, value=1.3)),
        ("-23 % step", Fault(kind="demand_step", at_s=5_400.0, value=0.77)),
        ("loop of 25 % trips", Fault(kind="loop_trip", at_s=5_400.0, loop="L2")),
        ("emergency stop", Fault(kind="emergency_stop", at_s=5_400.0)),
    ):
        site = msgspec.structs.replace(loaded.scenario, demand=constant, faults=[fault], failures=scenario.Wear())
        twin = Twin(msgspec.structs.replace(loaded, scenario=site), seed=seed, hours=2.5)
        record = twin.run()
        if fault.kind == "demand_step":
            found = score.step_response(twin.step_s, record["demand_w"], record["heat_w"], 5_400.0 - twin.step_s)
            print(f"{name}: 90 % in {found.reached_90_s} s, within 2 % in {found.within_2_s} s, overshoot {pc(found.overshoot)}")
        elif fault.kind == "loop_trip":
            took = [score.recovery_s(twin.step_s, record["demand_w"], record["heat_w"], 5_400.0, part) for part in (0.02, 0.01)]
            print(f"{name}: within 2 % after {took[0]} s, within 1 % after {took[1]} s")
        else:
            first = round(5_400.0 / twin.step_s)
            before_w = float(record["power_w"][first - 2])
            row = next((k for k, power_w in enumerate(record["power_w"][first:]) if power_w <= 0.1 * before_w), None)
            print(f"{name}: electrical 90 % down in {None if row is None else row * twin.step_s} s")


def faults(count: int = 100, first: int = 0) -> None:
    """The campaign."""
    began_s = time.perf_counter()
    failed: dict[str, int] = {}
    runs: dict[str, int] = {}
    for case, seed in campaign.seeds(count, first):
        complaints = campaign.run_case(case, seed)
        runs[case.name] = runs.get(case.name, 0) + 1
        if complaints:
            failed[case.name] = failed.get(case.name, 0) + 1
            print("\n".join(complaints), flush=True)
    print(f"{count} runs, {sum(failed.values())} did not end in their fallback, {time.perf_counter() - began_s:.0f} s")
    for name, bad in failed.items():
        print(f"  {name}: {bad} of {runs[name]}")


def pc(value: float | None) -> str:
    """A part as per cent."""
    return "-" if value is None else f"{100.0 * value:.2f} %"


def main(words: list[str]) -> None:
    """See the top of the file."""
    what = words[0] if words else "all"
    number = int(words[1]) if len(words) > 1 else None
    if what in ("all", "acceptance"):
        acceptance(number or 1)
    if what in ("all", "steps"):
        steps()
    if what == "plants":
        plants()
    if what in ("all", "faults"):
        faults(number or 100)


if __name__ == "__main__":
    main(sys.argv[1:])
