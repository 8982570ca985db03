"""Whether one meter's reading can be believed: numbers, order, physics against the plant, stuck and jumping sensors.

Pure. A reading refused here changes nothing: the last good one stays until it is stale, then another meter or an estimate stands
in (see bank). It never moves a unit, and it cannot tell a meter that lies a little from a plant that runs a little worse.
"""

import math
from collections.abc import Callable
from typing import Literal

import msgspec

from proxy.heat.demand import MeterAccepted, MeterReading, MeterRefused
from proxy.heat.meters.water import heat_carried_w

# What is wrong with a reading, for those who count and name it.
Kind = Literal["impossible", "order", "lying", "counter", "jumping", "stuck"]

# Thermal and flow-and-temperature heat must agree within this part (EN 1434 class 2 with poor sensors stays well below).
FLOW_TOLERANCE = 0.15
# No heat plant gives more than its units draw; room for stored heat and the meter's own error.
MAX_CAPACITY_FACTOR = 1.3
# Water and steel damp: a real change between two readings a few seconds apart is smaller than this part of capacity.
MAX_JUMP = 0.3
JUMP_WINDOW_S = 60.0
# So many readings in a row that agree with each other outvote the one believed before: the plant did trip.
OUTVOTE = 3
OUTVOTE_TOLERANCE = 0.05
# A living meter shows noise somewhere; readings this long the same in every number are a frozen gateway.
STUCK_AFTER_S = 900.0
STUCK_READINGS = 10
# Gateways stamp by their own clock.
MAX_AHEAD_S = 5.0
LOWEST_C, HIGHEST_C = -30.0, 160.0


class Fault(msgspec.Struct, frozen=True, gc=False):
    """Why a reading is not believed: the answer to who sent it, and the kind of fault."""

    kind: Kind
    refused: MeterRefused


class MeterMemory(msgspec.Struct):
    """What was believed last, and what is needed to judge the next reading."""

    good: MeterReading | None = None
    same_since_unix_s: float = 0.0
    same_count: int = 0
    jumped: list[float] = []
    counter_wh: float | None = None


def judge_reading(
    memory: MeterMemory, reading: MeterReading, capacity_w: float, stale_s: float, now_unix_s: float
) -> MeterAccepted | MeterRefused:
    """Believe the reading (then `memory.good` is it) or refuse it with reason and remedy. `capacity_w` is installed power."""
    fault = examine(memory, reading, capacity_w, stale_s, now_unix_s)
    return MeterAccepted(reading.at_unix_s, reading.heat_w) if fault is None else fault.refused


def examine(memory: MeterMemory, reading: MeterReading, capacity_w: float, stale_s: float, now_unix_s: float) -> Fault | None:
    """None: believed, and `memory.good` is the reading now. Else what is wrong with it."""
    # In this order, and no further than the first that refuses: some remember what they saw.
    checks: tuple[tuple[Kind, Callable[[], MeterRefused | None]], ...] = (
        ("impossible", lambda: _check_numbers(reading, capacity_w)),
        ("order", lambda: _check_order(memory, reading, stale_s, now_unix_s)),
        ("lying", lambda: _check_flow(reading, capacity_w)),
        ("counter", lambda: _check_counter(memory, reading)),
        ("jumping", lambda: _check_jump(memory, reading, capacity_w)),
        ("stuck", lambda: _check_stuck(memory, reading)),
    )
    for kind, check in checks:
        refused = check()
        if refused is not None:
            return Fault(kind, refused)
    memory.good = reading
    memory.jumped = []
    return None


def _check_numbers(reading: MeterReading, capacity_w: float) -> MeterRefused | None:
    temperatures = [t for t in (reading.supply_c, reading.return_c) if t is not None]
    others = [n for n in (reading.flow_kg_s, reading.energy_wh) if n is not None]
    if not all(math.isfinite(n) for n in (reading.at_unix_s, reading.heat_w, *temperatures, *others)):
        return MeterRefused(422, "a number is NaN or infinite", "send nothing when the meter does not know")
    if reading.heat_w < 0 or any(n < 0 for n in others):
        return MeterRefused(422, "power, flow or energy is negative", "check direction and sign of the meter")
    if any(not LOWEST_C <= t <= HIGHEST_C for t in temperatures):
        return MeterRefused(422, "a temperature is out of range", f"send degrees Celsius, {LOWEST_C:.0f} to {HIGHEST_C:.0f}")
    if capacity_w > 0 and reading.heat_w > capacity_w * MAX_CAPACITY_FACTOR:
        return MeterRefused(
            422,
            f"{reading.heat_w / 1000:,.0f} kW is more than the {capacity_w / 1000:,.0f} kW installed",
            "power is in watts; check the pulse or register factor",
        )
    return None


def _check_order(memory: MeterMemory, reading: MeterReading, stale_s: float, now_unix_s: float) -> MeterRefused | None:
    age_s = now_unix_s - reading.at_unix_s
    if age_s >= stale_s:
        return MeterRefused(422, f"the reading is {age_s:,.0f} s old", "send readings at once; compare both clocks (NTP)")
    if age_s < -MAX_AHEAD_S:
        return MeterRefused(422, f"the reading is {-age_s:,.0f} s in the future", "compare both clocks (NTP)")
    if memory.good is not None and memory.good.at_unix_s > now_unix_s + MAX_AHEAD_S:
        # Our own clock was set back; the order begins anew.
        memory.good = None
    if memory.good is not None and reading.at_unix_s <= memory.good.at_unix_s:
        return MeterRefused(409, "the reading is not newer than the last one", "send readings in order, each once")
    return None


def _check_flow(reading: MeterReading, capacity_w: float) -> MeterRefused | None:
    if reading.supply_c is None or reading.return_c is None or reading.flow_kg_s is None:
        return None
    carried_w = heat_carried_w(reading.flow_kg_s, reading.supply_c, reading.return_c)
    # The larger of both, and never less than a tenth of the plant: at low load small errors are large parts.
    scale_w = max(abs(carried_w), reading.heat_w, 0.1 * capacity_w)
    if abs(carried_w - reading.heat_w) <= FLOW_TOLERANCE * scale_w:
        return None
    return MeterRefused(
        422,
        f"heat {reading.heat_w / 1000:,.1f} kW disagrees with flow and temperatures ({carried_w / 1000:,.1f} kW)",
        "check both temperature sensors, the flow and the units (kg/s, degrees Celsius)",
    )


def _check_counter(memory: MeterMemory, reading: MeterReading) -> MeterRefused | None:
    if reading.energy_wh is None:
        return None
    before_wh, memory.counter_wh = memory.counter_wh, reading.energy_wh
    if before_wh is None or reading.energy_wh >= before_wh:
        return None
    return MeterRefused(422, "the energy counter went back", "was the meter exchanged or reset? The next reading counts from here")


def _check_jump(memory: MeterMemory, reading: MeterReading, capacity_w: float) -> MeterRefused | None:
    good = memory.good
    if good is None or capacity_w <= 0 or reading.at_unix_s - good.at_unix_s > JUMP_WINDOW_S:
        return None
    if abs(reading.heat_w - good.heat_w) <= MAX_JUMP * capacity_w:
        return None
    memory.jumped = [*memory.jumped, reading.heat_w][-OUTVOTE:]
    spread_w = max(memory.jumped) - min(memory.jumped)
    if len(memory.jumped) >= OUTVOTE and spread_w <= OUTVOTE_TOLERANCE * capacity_w:
        return None
    return MeterRefused(
        422,
        f"heat jumps from {good.heat_w / 1000:,.1f} to {reading.heat_w / 1000:,.1f} kW within seconds",
        "if it is true, the next readings will say so too and be believed",
    )


def _check_stuck(memory: MeterMemory, reading: MeterReading) -> MeterRefused | None:
    good = memory.good
    # A plant at rest reads 0 for days, and honestly.
    if good is None or reading.heat_w == 0 or msgspec.structs.replace(good, at_unix_s=reading.at_unix_s) != reading:
        memory.same_since_unix_s = reading.at_unix_s
        memory.same_count = 1
        return None
    memory.same_count += 1
    same_s = reading.at_unix_s - memory.same_since_unix_s
    if memory.same_count < STUCK_READINGS or same_s < STUCK_AFTER_S:
        return None
    return MeterRefused(422, f"no number has moved for {same_s / 60:,.0f} min", "the meter or its gateway is frozen: restart it")
