"""How long a fleet's sweep takes, and how long until every machine has an emergency's command: the real heat control, ledger and
fleet over loopback TCP, simulated machines in a process of their own.

    python tests/bench/bench_fleet.py [units]

Prints figures, asserts nothing. Aims: 1,000 units swept in 1 s; an emergency's commands at 920 units in 2 s.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import trio

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from proxy import config
from proxy.events import EventLog
from proxy.heat.control import HeatControl
from proxy.ledger.ledger import Ledger
from proxy.telemetry.log import configure
from proxy.units.fleet import Fleet
from proxy.units.unit import UnitImage
from tests.support.farm import MODEL, Farm, farm

ROUNDS = 5
SWEPT_UNITS, UNITS = 1_000, 920
LOOPS = 4
# Long enough that no sweep begins by itself while one is measured.
QUIET_PERIOD_S = 300.0
# Proof takes what the machine takes: 5 s until a softoff counts, 17 s to go dark, a look each 15 s.
PATIENCE_S = 90.0
# What is told later belongs to the next cycle.
BROADCAST_S = 15.0
# In the middle of a sweep, when most units wait for their turn to be read.
MID_SWEEP_S = 0.15
Proof = Callable[[Sequence[UnitImage]], bool]


def fleet_of(ports: list[int], heat: config.Heat) -> tuple[Fleet, list[config.Unit]]:
    """A fleet over the farm's machines."""
    units = [
        config.Unit(id=f"u{index}", address="127.0.0.1", model="m", loop=f"loop-{index % LOOPS}", api_port=port)
        for index, port in enumerate(ports)
    ]
    return Fleet(units, {"m": MODEL}, heat, EventLog(time.time)), units


async def sweeps(ports: list[int]) -> list[float]:
    """Seconds of each sweep; the first one also identifies every unit (three connections instead of one)."""
    fleet, _ = fleet_of(ports, config.Heat(telemetry_period_s=QUIET_PERIOD_S))
    took: list[float] = []
    async with trio.open_nursery() as nursery:
        started_s = trio.current_time()
        await nursery.start(fleet.run)
        for _ in range(ROUNDS):
            while any(life.reading is None or life.reading.at_s < started_s for life in fleet._lives.values()):
                await trio.sleep(0.002)
            took.append(trio.current_time() - started_s)
            await trio.sleep(0.5)
            started_s = trio.current_time()
            read_all(fleet)
        nursery.cancel_scope.cancel()
    return took


def read_all(fleet: Fleet) -> None:
    """Begin a sweep now."""
    for actor in fleet._actors.values():
        actor.read_soon()


async def emergency(machines: Farm, folder: Path, silent: int, act: Callable[[HeatControl], None], is_done: Proof) -> str:
    """One line on how `act` came to the machines that answer, in the middle of a sweep, while `silent` of them do not."""
    heat = config.Heat()
    fleet, units = fleet_of(machines.ports, heat)
    ledger = Ledger.open(config.Ledger(), folder, time.time)
    site = config.SiteConfig(
        pools=[config.Pool(name="p", url="stratum+tcp://127.0.0.1:3333", user="x")],
        loops=[config.Loop(name=f"loop-{index}") for index in range(LOOPS)],
        models={"m": MODEL},
        units=units,
        heat=heat,
    )
    control = HeatControl(site, fleet, ledger, EventLog(time.time), time.time)

    async def until_proven() -> float | None:
        with trio.move_on_after(PATIENCE_S):
            while not is_done(fleet.image(trio.current_time())[silent:]):
                await trio.sleep(0.1)
            return time.monotonic() - began_s
        return None

    async with trio.open_nursery() as outer:
        await outer.start(ledger.run)
        async with trio.open_nursery() as nursery:
            await nursery.start(fleet.run)
            await nursery.start(control.run)
            while not fleet.swept_all:
                await trio.sleep(0.05)
            machines.silence(silent)
            read_all(fleet)
            await trio.sleep(MID_SWEEP_S)
            began_s = time.monotonic()
            act(control)
            cpu_s = time.process_time()
            await trio.sleep(BROADCAST_S)
            cpu_s = time.process_time() - cpu_s
            shown_s = await until_proven()
            nursery.cancel_scope.cancel()
        outer.cancel_scope.cancel()
    ledger.close()
    told = [at_s - began_s for at_s in machines.told().at_s]
    told = [after_s for after_s in told if after_s < BROADCAST_S]
    last = f"first {told[0]:.2f} s, half {statistics.median(told):.2f} s, last {told[-1]:.2f} s" if told else "none"
    proof = f"not within {PATIENCE_S:.0f} s" if shown_s is None else f"after {shown_s:.0f} s"
    return f"{len(told)} of {len(units) - silent} told: {last}; our CPU {cpu_s:.2f} s; proven {proof}"


def is_asleep(images: Sequence[UnitImage]) -> bool:
    """All proven asleep."""
    return all(image.level_observed == 0 for image in images)


def stop(control: HeatControl) -> None:
    """All asleep."""
    control.set_emergency_stop(True, "bench")


def main() -> None:
    """Start the machines for each case, and print it."""
    configure("warning", sys.stderr.buffer)
    count = int(sys.argv[1]) if len(sys.argv) > 1 else UNITS
    with farm(SWEPT_UNITS) as machines:
        cpu_s = time.process_time()
        first, *later = trio.run(sweeps, machines.ports)
        cpu_s = (time.process_time() - cpu_s) / (ROUNDS + 2)
    print(f"sweep of {SWEPT_UNITS} units: first {first:.2f} s, later {statistics.median(later):.2f} s; our CPU {cpu_s:.2f} s")
    # Room for what machines differ: a few may stay above the lowest level, and none needs to sleep.
    cap_w = count * MODEL.levels[0].power_w * 1.05

    def cap(control: HeatControl) -> None:
        control.set_manual_limit(cap_w, "bench")

    def is_under_cap(images: Sequence[UnitImage]) -> bool:
        return sum(image.power_w or MODEL.levels[-1].power_w for image in images) <= cap_w * 1.01

    for name, act, is_done, silent in (
        ("stop", stop, is_asleep, 0),
        ("stop, a tenth silent", stop, is_asleep, count // 10),
        ("stop, half silent", stop, is_asleep, count // 2),
        ("cap near the lowest level", cap, is_under_cap, 0),
    ):
        with tempfile.TemporaryDirectory() as folder, farm(count) as machines:
            print(f"{name}, {count} units: {trio.run(emergency, machines, Path(folder), silent, act, is_done)}", flush=True)
    print(f"load of this machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
