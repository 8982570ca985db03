"""Interlocks of the hydraulic loops and of the measurements, judged each second from what is known, without asking anybody.

Flow lost: the loop sleeps. Water hotter than it may be: a quarter of the loop is shed each 20 s. Hotter still: the loop sleeps. The
verdict is a cap and a permission to wake for every loop; it only lowers. Pure. Temperatures of single machines are safety's,
protective devices (thermostat, flow switch, contactor) are the plant's own: this only keeps from working against them.
"""

import enum
import math
from collections import deque
from collections.abc import Mapping

import msgspec

from proxy.heat.alarms import Alarms

# Below this part of the design flow the water no longer carries the heat away.
MIN_FLOW = 0.6
# One reading may be a bubble in the meter; with ticks of a second the loop is asleep within the 5 s that are promised.
FLOW_CONFIRM_S = 2.0
FLOW_PROOF_S = 60.0
SHED_PART = 0.25
SHED_EVERY_S = 20.0
# Cooler than the shedding limit by this much for this long, and a quarter comes back.
COOL_K = 3.0
COOL_S = 60.0
# A loop that trips again and again has a fault that somebody must see: it stays asleep until he acknowledges.
MAX_TRIPS = 3
TRIPS_WINDOW_S = 86_400.0
# A hot loop takes no more units on.
WAKE_BELOW_K = 3.0


class LoopState(enum.Enum):
    """What a loop may do."""

    RUNNING = "running"
    SHEDDING = "shedding"  # a quarter less each 20 s that it stays hot
    DRY = "dry"  # flow lost: asleep
    TRIPPED = "tripped"  # too hot: asleep


class Step(enum.Enum):
    """What a tick found out about a loop."""

    FLOW_LOST = "flow lost"
    HOT = "hot"
    TOO_HOT = "too hot"
    CLEAR = "clear"  # flow proven and cool for long enough


# DRY and TRIPPED are left by CLEAR only; worse always wins.
TRANSITIONS: dict[LoopState, dict[Step, LoopState]] = {
    LoopState.RUNNING: {
        Step.FLOW_LOST: LoopState.DRY,
        Step.HOT: LoopState.SHEDDING,
        Step.TOO_HOT: LoopState.TRIPPED,
        Step.CLEAR: LoopState.RUNNING,
    },
    LoopState.SHEDDING: {
        Step.FLOW_LOST: LoopState.DRY,
        Step.HOT: LoopState.SHEDDING,
        Step.TOO_HOT: LoopState.TRIPPED,
        Step.CLEAR: LoopState.RUNNING,
    },
    LoopState.DRY: {
        Step.FLOW_LOST: LoopState.DRY,
        Step.HOT: LoopState.DRY,
        Step.TOO_HOT: LoopState.TRIPPED,
        Step.CLEAR: LoopState.RUNNING,
    },
    LoopState.TRIPPED: {
        Step.FLOW_LOST: LoopState.TRIPPED,
        Step.HOT: LoopState.TRIPPED,
        Step.TOO_HOT: LoopState.TRIPPED,
        Step.CLEAR: LoopState.RUNNING,
    },
}


class LoopFacts(msgspec.Struct, frozen=True, gc=False):
    """What is fixed for a loop. No design flow: its flow is not watched."""

    name: str
    design_flow_l_per_min: float | None
    shed_supply_c: float
    trip_supply_c: float


class LoopSeen(msgspec.Struct, frozen=True, gc=False):
    """What is known of a loop now; None is unknown, and NaN counts as unknown. `drawn_w` is its electrical power."""

    flow_l_per_min: float | None
    supply_c: float | None
    drawn_w: float


class LoopVerdict(msgspec.Struct, frozen=True, gc=False):
    """The most a loop may draw (None: no interlock holds it), whether it may wake units, and why not."""

    cap_w: float | None
    may_wake: bool
    reason: str | None


class LoopMemory(msgspec.Struct):
    """What one loop's interlock remembers."""

    state: LoopState = LoopState.RUNNING
    base_w: float = 0.0  # power when shedding began
    part: float = 1.0
    moved_s: float = -math.inf
    flow_bad_s: float | None = None  # since when
    flow_good_s: float | None = None
    cool_s: float | None = None
    trips_s: deque[float] = msgspec.field(default_factory=lambda: deque(maxlen=MAX_TRIPS))
    is_locked: bool = False


FREE = LoopVerdict(None, True, None)


def advance(state: LoopState, step: Step) -> LoopState:
    """Look up where a step leads. Defined for every pair."""
    return TRANSITIONS[state][step]


def judge(
    facts: Mapping[str, LoopFacts],
    memory: dict[str, LoopMemory],
    seen: Mapping[str, LoopSeen],
    alarms: Alarms,
    now_s: float,
) -> dict[str, LoopVerdict]:
    """One tick over all loops. A loop nothing is known of is neither hot nor dry; it wakes nobody where flow must be proven."""
    return {
        name: _judge(fact, memory.setdefault(name, LoopMemory()), seen.get(name, LoopSeen(None, None, 0.0)), alarms, now_s)
        for name, fact in facts.items()
    }


def acknowledge(memory: dict[str, LoopMemory]) -> list[str]:
    """Somebody has looked: loops that tripped too often may come back once they are clear. Their names."""
    locked = [name for name, known in memory.items() if known.is_locked]
    for name in locked:
        memory[name].is_locked = False
        memory[name].trips_s.clear()
    return locked


def _judge(fact: LoopFacts, known: LoopMemory, seen: LoopSeen, alarms: Alarms, now_s: float) -> LoopVerdict:
    flow_lost, flow_proven = _flow(fact, known, seen, now_s)
    supply_c = _number(seen.supply_c)
    is_hot = supply_c is not None and supply_c > fact.shed_supply_c
    is_cool = supply_c is None or supply_c < fact.shed_supply_c - COOL_K
    known.cool_s = (now_s if known.cool_s is None else known.cool_s) if is_cool else None
    before = known.state
    for step, applies in (
        (Step.TOO_HOT, supply_c is not None and supply_c > fact.trip_supply_c),
        (Step.FLOW_LOST, flow_lost),
        (Step.HOT, is_hot),
        (Step.CLEAR, _is_clear(known, supply_c, flow_proven, now_s)),
    ):
        if applies:
            known.state = advance(known.state, step)
            break
    if known.state is not before:
        _enter(known, seen, now_s)
    if known.state is LoopState.SHEDDING:
        _shed(known, is_hot, now_s)
    _tell(fact, known, seen, alarms, now_s)
    return _verdict(fact, known, supply_c, flow_proven)


def _flow(fact: LoopFacts, known: LoopMemory, seen: LoopSeen, now_s: float) -> tuple[bool, bool]:
    """Whether flow is lost, and whether it is proven. Unknown is neither."""
    design = fact.design_flow_l_per_min
    if design is None:
        return False, True
    flow = _number(seen.flow_l_per_min)
    if flow is None:
        known.flow_bad_s = known.flow_good_s = None
        return False, False
    if flow < MIN_FLOW * design:
        known.flow_good_s = None
        known.flow_bad_s = now_s if known.flow_bad_s is None else known.flow_bad_s
        return now_s - known.flow_bad_s >= FLOW_CONFIRM_S, False
    known.flow_bad_s = None
    known.flow_good_s = now_s if known.flow_good_s is None else known.flow_good_s
    return False, now_s - known.flow_good_s >= FLOW_PROOF_S


def _is_clear(known: LoopMemory, supply_c: float | None, flow_proven: bool, now_s: float) -> bool:
    is_cool = known.cool_s is not None and now_s - known.cool_s >= COOL_S
    match known.state:
        case LoopState.RUNNING:
            return False
        case LoopState.SHEDDING:
            return is_cool and known.part >= 1.0
        case LoopState.DRY:
            return flow_proven
        case LoopState.TRIPPED:
            # Unknown is not cool: what tripped on a temperature comes back on a temperature.
            return is_cool and supply_c is not None and flow_proven and not known.is_locked


def _enter(known: LoopMemory, seen: LoopSeen, now_s: float) -> None:
    match known.state:
        case LoopState.SHEDDING:
            known.base_w = seen.drawn_w if math.isfinite(seen.drawn_w) else 0.0
            known.part, known.moved_s = 1.0 - SHED_PART, now_s
        case LoopState.TRIPPED:
            known.trips_s.append(now_s)
            known.is_locked = len(known.trips_s) == MAX_TRIPS and now_s - known.trips_s[0] < TRIPS_WINDOW_S
        case LoopState.RUNNING | LoopState.DRY:
            known.part = 1.0


def _shed(known: LoopMemory, is_hot: bool, now_s: float) -> None:
    if is_hot and now_s - known.moved_s >= SHED_EVERY_S:
        known.part, known.moved_s = max(0.0, known.part - SHED_PART), now_s
    is_cool = known.cool_s is not None and now_s - known.cool_s >= COOL_S
    if is_cool and now_s - known.moved_s >= COOL_S:
        known.part, known.moved_s = min(1.0, known.part + SHED_PART), now_s


def _verdict(fact: LoopFacts, known: LoopMemory, supply_c: float | None, flow_proven: bool) -> LoopVerdict:
    match known.state:
        case LoopState.DRY:
            return LoopVerdict(0.0, False, f"loop {fact.name}: flow lost")
        case LoopState.TRIPPED:
            return LoopVerdict(0.0, False, f"loop {fact.name}: water too hot")
        case LoopState.SHEDDING:
            return LoopVerdict(known.base_w * known.part, False, f"loop {fact.name}: water hot")
        case LoopState.RUNNING:
            if not flow_proven:
                return LoopVerdict(None, False, f"loop {fact.name}: flow not proven")
            if supply_c is not None and supply_c > fact.shed_supply_c - WAKE_BELOW_K:
                return LoopVerdict(None, False, f"loop {fact.name}: water warm")
            return FREE


def _tell(fact: LoopFacts, known: LoopMemory, seen: LoopSeen, alarms: Alarms, now_s: float) -> None:
    name, flow, supply_c = fact.name, _number(seen.flow_l_per_min), _number(seen.supply_c)
    dry = hot = unproven = None
    if known.state is LoopState.DRY:
        dry = (
            f"loop {name} is asleep: its flow fell below {MIN_FLOW:.0%} of design; check pump, valves and strainer "
            f"(it wakes after {FLOW_PROOF_S:.0f} s of good flow)"
        )
    if known.state in (LoopState.SHEDDING, LoopState.TRIPPED):
        water = "unknown" if supply_c is None else f"{supply_c:.1f} C"
        what = "asleep" if known.state is LoopState.TRIPPED else f"shed to {known.part:.0%}"
        hot = (
            f"loop {name} is {what}: its water was above {fact.shed_supply_c:.0f} C (now {water}); check exchanger and network flow"
        )
        if known.is_locked:
            hot += f"; it tripped {MAX_TRIPS} times in a day and stays asleep until acknowledged"
    if fact.design_flow_l_per_min is not None and flow is None:
        unproven = f"loop {name} wakes nobody: its flow is unknown; check its meter"
    alarms.set(f"loop-dry:{name}", dry, now_s, severity=3, is_latched=True)
    alarms.set(f"loop-hot:{name}", hot, now_s, severity=3, is_latched=True)
    alarms.set(f"loop-flow:{name}", unproven, now_s)


def _number(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
