"""How long a plan takes, what a tank is worth, and how long the solver holds up other threads. Prints figures, asserts nothing.

python tests/bench/bench_planner.py
"""

import statistics
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import msgspec

from proxy.heat.horizon import fleet_of
from proxy.heat.plan import Problem, Tank
from tests.support.plans import UNSEEN, make_image, planned, problem, winter_days

ROUNDS = 7
# A plan is made each quarter hour.
PERIOD_S = 900.0
UNITS = 920


def site(days: int, tank_mwh: float, step_s: float = 900.0, models: int = 1) -> Problem:
    """A site of 920 units and 8 MW with a tank that is half full."""
    images = [
        make_image(
            k,
            loop=f"loop-{k % 4}",
            levels=tuple(
                msgspec.structs.replace(level, power_w=level.power_w * (1 + 0.02 * (k % models))) for level in make_image().levels
            ),
        )
        for k in range(UNITS)
    ]
    fleet = fleet_of(images, UNSEEN)
    tank = Tank(tank_mwh * 1e6, 4e6, 0.02, tank_mwh * 5e5) if tank_mwh else None
    given = problem(winter_days(days, step_s), fleet.segments, asleep_w=fleet.asleep_w, efficiency=0.95, tank=tank)
    return msgspec.structs.replace(
        given, ramp_w_per_min=1e6, reserve=0.02, change_per_kw=0.02 / ((fleet.step_w or 1_000.0) / 1_000)
    )


def times_s(given: Problem) -> list[float]:
    """Seconds of each of a few plans."""
    found = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        planned(given)
        found.append(time.perf_counter() - began)
    return found


def longest_gap_s(given: Problem) -> float:
    """The longest time another thread could not run while plans were made."""
    stop, gaps = threading.Event(), [0.0]

    def watch() -> None:
        last = time.perf_counter()
        while not stop.is_set():
            time.sleep(0.0005)
            now = time.perf_counter()
            gaps[0] = max(gaps[0], now - last)
            last = now

    watcher = threading.Thread(target=watch)
    watcher.start()
    times_s(given)
    stop.set()
    watcher.join()
    return gaps[0]


def main() -> None:
    """Print the figures."""
    for days, tank_mwh, step_s, models in (
        (1, 0, 900, 1),
        (1, 20, 900, 1),
        (2, 0, 900, 1),
        (2, 20, 900, 1),
        (2, 20, 900, 6),
        (7, 20, 300, 1),
    ):
        given = site(days, tank_mwh, step_s, models)
        took_s = statistics.median(times_s(given))
        print(
            f"{days} d of {step_s:>3} s, tank {tank_mwh:>2} MWh, {len(given.fleet.segments):>2} segments, "
            f"{len(given.blocks):>4} blocks: {took_s * 1e3:6.1f} ms, 1/{PERIOD_S / took_s:,.0f} of the period"
        )
    print(f"another thread waited at most {longest_gap_s(site(2, 20)) * 1e3:.1f} ms during plans of 2 d")
    without = None
    for tank_mwh in (0, 10, 20, 60):
        plan = planned(site(1, tank_mwh))
        margin = plan.work_revenue - plan.electricity_cost
        without = margin if without is None else without
        print(f"tank {tank_mwh:>2} MWh: margin of the day {margin / without:.3f} of that without")
    images = [make_image(k) for k in range(100_000)]
    began = time.perf_counter()
    fleet_of(images, UNSEEN)
    print(f"segments of 100,000 units: {(time.perf_counter() - began) * 1e3:.0f} ms")


if __name__ == "__main__":
    main()
