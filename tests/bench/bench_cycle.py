"""What one heat cycle costs: the decision alone (levels for a set-point, through safety), and all of `HeatControl.tick`.

    python tests/bench/bench_cycle.py [units ...] [--profile]

Prints medians and 95th percentiles of wall time, and the median of CPU time, which a busy machine changes less; asserts nothing.
Aims: a decision in 10 ms for 920 units and in 1.5 s for 100,000. Images are made beforehand and the fleet takes every command, so
what is measured is heat control's own; `--profile` shows where it goes.
"""

import cProfile
import os
import pstats
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import msgspec
import trio

from proxy import config
from proxy.events import EventLog
from proxy.heat import planning
from proxy.heat.control import HeatControl
from proxy.heat.demand import HeatDemand
from proxy.ledger.ledger import Ledger
from proxy.telemetry.log import configure
from proxy.units.unit import ProvenPower, UnitImage, UnitState
from proxy.units.wear import Wear
from tests.support.plans import make_image

SIZES = (920, 10_000)  # 100000 takes half a minute: name it
START_UNIX_S = 1_768_435_200.0
LOOPS, MODELS = 4, 3
PERIOD_S = 20.0
POWER = (0.55, 0.70, 0.85, 1.0, 1.08)
HASHRATE = (0.62, 0.765, 0.885, 1.0, 1.05)
SILENT, DWELLING = 0.02, 0.05  # parts of the fleet
RAMP_W_PER_MIN = 1_100.0  # a unit
# The demand goes up and down by this, so that every cycle has something to move.
SWING = 0.03


class StillFleet:
    """Units that are at once where they are told to be; the next cycle sees it."""

    swept_all = True

    def __init__(self, images: list[UnitImage]) -> None:
        self._images = images
        self._place = {image.id: k for k, image in enumerate(images)}
        self.commands = 0

    def image(self, now_s: float) -> tuple[UnitImage, ...]:
        """As of the last command."""
        return tuple(self._images)

    def worn(self) -> dict[str, Wear]:
        return {}

    def command(self, unit_id: str, level: int, reason: str, now_s: float, *, urgent: bool = False) -> str | None:
        """Taken."""
        k = self._place[unit_id]
        self._images[k] = msgspec.structs.replace(
            self._images[k], level_commanded=level, level_observed=level, power_w=self._images[k].levels[level].power_w
        )
        self.commands += 1
        return None


def site_of(count: int, rng: random.Random) -> tuple[config.SiteConfig, StillFleet]:
    """So many units of a few models on random levels, some silent and some within their dwell time."""
    models = {
        f"m{index}": config.Model(
            levels=[
                config.Level(name=f"l{k}", power_w=8_064.0 * factor * p, hashrate_hps=480e12 * h)
                for k, (p, h) in enumerate(zip(POWER, HASHRATE, strict=True))
            ]
        )
        for index, factor in enumerate((0.97, 1.0, 1.03))
    }
    menus = {
        name: (
            make_image().levels[0],
            *(
                msgspec.structs.replace(make_image().levels[0], power_w=x.power_w, hashrate_hps=x.hashrate_hps)
                for x in model.levels
            ),
        )
        for name, model in models.items()
    }
    images, units = [], []
    for k in range(count):
        model, loop = f"m{k % MODELS}", f"loop-{k % LOOPS}"
        units.append(config.Unit(id=f"u{k}", address="127.0.0.1", model=model, loop=loop))
        level = rng.randrange(1, 6)
        facts: dict[str, object] = {"id": f"u{k}", "loop": loop, "model": model, "levels": menus[model]}
        if rng.random() < SILENT:
            facts |= {"state": UnitState.OFFLINE, "level_commanded": level, "level_observed": None, "power_w": None}
            facts |= {"may_command": False, "outlet_c": None}
        else:
            facts |= {"state": UnitState.RUN, "level_commanded": level, "level_observed": level, "outlet_c": rng.uniform(60, 75)}
            facts |= {"power_w": menus[model][level].power_w * rng.gauss(1.0, 0.02), "may_command": True}
        drawn_w = menus[model][level].power_w
        facts["proven"] = ProvenPower(drawn_w, 0.8 * drawn_w, 1.2 * drawn_w, 100.0, 1_000.0, 5.0, 10.0)
        if rng.random() < DWELLING:
            facts["earliest_change_s"] = 1e12
        images.append(make_image(k, **facts))
    site = config.SiteConfig(
        pools=[config.Pool(name="p", url="stratum+tcp://127.0.0.1:3333", user="x")],
        loops=[config.Loop(name=f"loop-{index}") for index in range(LOOPS)],
        models=models,
        units=units,
        heat=config.Heat(ramp_w_per_min=RAMP_W_PER_MIN * count),
    )
    return site, StillFleet(images)


async def measure(count: int, profile: cProfile.Profile | None, folder: Path) -> str:
    """One line for a fleet of so many; the ledger, in `folder`, writes in its own thread."""
    async with trio.open_nursery() as nursery:
        ledger = Ledger.open(config.Ledger(), folder, time.time)
        await nursery.start(ledger.run)
        line = await _cycles(count, profile, ledger)
        nursery.cancel_scope.cancel()
    ledger.close()
    return line


async def _cycles(count: int, profile: cProfile.Profile | None, ledger: Ledger) -> str:
    site, fleet = site_of(count, random.Random(1))
    clock = [1_000.0]
    control = HeatControl(site, fleet, ledger, EventLog(time.time), lambda: START_UNIX_S + clock[0])
    capacity_w = count * 8_064.0 * 0.95
    decisions: list[tuple[float, float]] = []
    cycles: list[tuple[float, float]] = []
    plan = planning.plan

    def timed(*args: object, **more: object) -> planning.Planned:
        began = now_of()
        planned = plan(*args, **more)  # type: ignore[arg-type]  # handed on as they came
        decisions.append(since(began))
        return planned

    planning.plan = timed
    try:
        for cycle in range(60 if count < 10_000 else 8):
            part = 0.6 + (SWING if cycle % 2 else -SWING)
            now = START_UNIX_S + clock[0]
            control.submit_demand(HeatDemand("utility", 0, cycle, now, now, now + 3_600.0, part * capacity_w), now)
            began = now_of()
            if profile is not None:
                profile.enable()
            control.tick(clock[0], now)
            if profile is not None:
                profile.disable()
            cycles.append(since(began))
            clock[0] += PERIOD_S
            await ledger.flush()
    finally:
        planning.plan = plan
    commands = fleet.commands / len(cycles)
    return f"{count:>7} units: decision {_told(decisions)}; whole cycle {_told(cycles)}; {commands:.0f} commands a cycle"


def now_of() -> tuple[float, float]:
    """Wall seconds, and CPU seconds of this thread."""
    return time.perf_counter(), time.thread_time()


def since(began: tuple[float, float]) -> tuple[float, float]:
    """The same since then."""
    wall_s, cpu_s = now_of()
    return wall_s - began[0], cpu_s - began[1]


def _told(times_s: list[tuple[float, float]]) -> str:
    rest = times_s[1:]  # the first one also fills what is kept for good
    walls_s = [wall_s for wall_s, _ in rest]
    p95_s = statistics.quantiles(walls_s, n=20)[-1]
    cpu_s = statistics.median(cpu_s for _, cpu_s in rest)
    return f"{statistics.median(walls_s) * 1e3:.1f} ms (p95 {p95_s * 1e3:.1f}, CPU {cpu_s * 1e3:.1f})"


def main() -> None:
    """Print a line a size."""
    configure("error", sys.stderr.buffer)
    words = sys.argv[1:]
    sizes = [int(word) for word in words if word.isdigit()] or list(SIZES)
    for count in sizes:
        profile = cProfile.Profile() if "--profile" in words else None
        with tempfile.TemporaryDirectory() as folder:
            print(trio.run(measure, count, profile, Path(folder)), flush=True)
        if profile is not None:
            pstats.Stats(profile).sort_stats("tottime").print_stats(12)
    print(f"load of this machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
