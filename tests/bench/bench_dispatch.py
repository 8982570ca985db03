"""How long one dispatch takes and how near it comes, for growing fleets. Prints figures, asserts nothing: run it by hand.

python tests/bench/bench_dispatch.py
"""

import random
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from proxy.heat.dispatch import Limits, UnitChoice, dispatch
from proxy.units.unit import LevelFact

# Part of nameplate power and hashrate, by level; 0 is asleep.
POWER = (0.006, 0.55, 0.70, 0.85, 1.0, 1.08)
HASHRATE = (0.0, 0.62, 0.765, 0.885, 1.0, 1.05)
GOAL_S = {920: 0.010}


def fleet(rng: random.Random, count: int, kinds: int) -> list[UnitChoice]:
    """Units of so many models, one in ten not movable, on random levels."""
    menus = [
        tuple(LevelFact(8064.0 * spread * p, 480e12 * spread * h) for p, h in zip(POWER, HASHRATE, strict=True))
        for spread in (rng.gauss(1.0, 0.03) for _ in range(kinds))
    ]
    return [
        UnitChoice(
            loop=k % 4,
            levels=menus[k % kinds],
            current=rng.randrange(6),
            ceiling=5,
            locked=rng.random() < 0.05,
            dwells=rng.random() < 0.05,
            wear=rng.random(),
        )
        for k in range(count)
    ]


def main() -> None:
    """Print one line a case."""
    rng = random.Random(1)
    for count, kinds in ((228, 1), (228, 228), (920, 1), (920, 920), (10_000, 3), (100_000, 3)):
        units = fleet(rng, count, kinds)
        nameplate_w = sum(u.levels[4].power_w for u in units)
        names = ("a", "b", "c", "d")
        for label, caps, changes in (
            ("free", (None,) * 4, count),
            ("one loop capped", (0.1 * nameplate_w, None, None, None), count),
            ("paced 5 %", (None,) * 4, max(1, count // 80)),
        ):
            limits = Limits(names, caps, (changes,) * 4)
            for part in (0.35, 0.8):
                times_s = []
                for _ in range(3 if count > 1_000 else 15):
                    start_s = time.perf_counter()
                    plan = dispatch(units, part * nameplate_w, limits)
                    times_s.append(time.perf_counter() - start_s)
                error = plan.power_w / (part * nameplate_w) - 1
                goal = f" (goal {GOAL_S[count] * 1e3:.0f})" if count in GOAL_S else ""
                print(
                    f"{count:>7} units, {kinds:>3} models, {label:<16} {part:.0%}: {statistics.median(times_s) * 1e3:7.2f} ms"
                    f"{goal}, error {error:+.4%}, {plan.changes} changes, limiter {plan.limiter}"
                )


if __name__ == "__main__":
    main()
