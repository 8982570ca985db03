"""Planning problems and fleets in miniature for tests and benchmarks."""

import itertools
import math
from collections.abc import Sequence
from functools import cache

import msgspec

from proxy.heat.plan import Block, Boiler, Fleet, Learned, Plan, Problem, Segment, Tank
from proxy.heat.planner import solve
from proxy.units.unit import LevelFact, UnitImage, UnitState

# A plant of which nothing was found out yet.
UNSEEN = Learned(efficiency=0.95, power_scale=1.0, heat_w=None, loop_caps_w={})
START_UNIX_S = 1_768_435_200.0  # 2026-01-15 00:00 UTC
HOUR_S = 3_600.0
LEVELS = tuple(
    LevelFact(8_064.0 * power, 480e12 * hashrate)
    for power, hashrate in ((0.002, 0.0), (0.55, 0.62), (0.70, 0.765), (0.85, 0.885), (1.0, 1.0), (1.08, 1.05))
)


def kw_segment(power_kw: float, worth_per_kwh: float) -> Segment:
    """A segment whose work earns so much for a kWh at a hash price of 1 a day."""
    return Segment(power_kw * 1000, worth_per_kwh * 24 * power_kw * 1e12)


def hours(demand_kw: Sequence[float], electricity: Sequence[float]) -> tuple[Block, ...]:
    """Blocks of one hour; work is worth what `kw_segment` says."""
    return tuple(
        Block(START_UNIX_S + k * HOUR_S, HOUR_S, kw * 1000, price, 1.0)
        for k, (kw, price) in enumerate(zip(demand_kw, electricity, strict=True))
    )


def problem(
    blocks: tuple[Block, ...],
    segments: Sequence[Segment] = (kw_segment(10, 0.1),),
    *,
    asleep_w: float = 0.0,
    efficiency: float = 1.0,
    tank: Tank | None = None,
    boiler: Boiler | None = None,
    min_power_w: float = 0.0,
    max_power_w: float | None = None,
    ramp_w_per_min: float = 1e9,
    power_now_w: float | None = None,
    change_per_kw: float = 0.0,
    reserve: float = 0.0,
) -> Problem:
    """A problem whose numbers are small and round."""
    return Problem(
        blocks=blocks,
        fleet=Fleet(asleep_w, tuple(segments)),
        thermal_efficiency=efficiency,
        min_power_w=min_power_w,
        max_power_w=max_power_w,
        ramp_w_per_min=ramp_w_per_min,
        power_now_w=power_now_w,
        tank=tank,
        boiler=boiler,
        change_per_kw=change_per_kw,
        reserve=reserve,
    )


def tank(capacity_kwh: float, charge_kw: float, content_kwh: float | None, loss_per_day: float = 0.0) -> Tank:
    """A tank in kWh."""
    return Tank(capacity_kwh * 1000, charge_kw * 1000, loss_per_day, None if content_kwh is None else content_kwh * 1000)


def planned(given: Problem) -> Plan:
    """The plan; the problem must have one."""
    plan = solve(given)
    assert isinstance(plan, Plan), plan
    return plan


def winter_days(count: int, step_s: float = 900.0) -> tuple[Block, ...]:
    """Blocks of winter days of a site of 8 MW: two peaks of demand and of price a day."""
    blocks = []
    for k in range(round(count * 86_400 / step_s)):
        hour = (k * step_s / HOUR_S) % 24
        peaks = math.exp(-(((hour - 7) / 1.3) ** 2)) + 0.7 * math.exp(-(((hour - 19) / 2) ** 2))
        price = 0.045 + 0.04 * math.exp(-(((hour - 8) / 1.8) ** 2)) + 0.05 * math.exp(-(((hour - 18) / 2) ** 2))
        price -= 0.03 * math.exp(-(((hour - 3) / 2.5) ** 2))
        blocks.append(Block(START_UNIX_S + k * step_s, step_s, 4.6e6 * (1 + 0.1 * peaks), price, 0.052))
    return tuple(blocks)


@cache
def fake_plan(start_unix_s: float) -> Plan:
    """Two days of a site of 228 units with a tank and a boiler, from any moment on; the second one is colder."""
    blocks = tuple(
        msgspec.structs.replace(
            block,
            start_unix_s=start_unix_s + block.start_unix_s - START_UNIX_S,
            demand_w=block.demand_w * (0.235 if k < 96 else 0.29),
        )
        for k, block in enumerate(winter_days(2))
    )
    segments = tuple(
        Segment(228 * (above.power_w - below.power_w), 228 * (above.hashrate_hps - below.hashrate_hps))
        for below, above in itertools.pairwise(LEVELS)
    )
    return planned(
        problem(
            blocks,
            segments,
            asleep_w=3_600.0,
            efficiency=0.95,
            tank=Tank(6e6, 0.6e6, 0.02, 2.4e6),
            boiler=Boiler(5e4, 0.09),
        )
    )


def make_image(k: int = 0, **facts: object) -> UnitImage:
    """A settled unit that may be commanded; any field can be given."""
    fields: dict[str, object] = {
        "id": f"u{k}",
        "loop": "a",
        "model": "m",
        "state": UnitState.RUN,
        "levels": LEVELS,
        "level_commanded": 4,
        "level_observed": 4,
        "power_w": 8_064.0,
        "hashrate_reported_hps": None,
        "inlet_c": None,
        "outlet_c": 70.0,
        "chip_c": 80.0,
        "changed_at_s": None,
        "may_command": True,
        "earliest_change_s": 0.0,
        "starts_today": 0,
        "max_starts_per_day": 4,
        "max_outlet_c": 85.0,
        "max_chip_c": 95.0,
        "fault": None,
    }
    return UnitImage(**(fields | facts))  # type: ignore[arg-type]  # the table is built of objects
