"""Finds a demand that goes to and fro: two regulators that work against each other, or a PLC whose loop is too fast.

Each turn of the demand by more than a part of capacity (or the like of supply temperature) counts, whoever sends it; more than so
many in an hour are told. Pure. It changes nothing: filter, ramp, dwell times and the units' daily changes contain what it sees.
"""

from collections import deque

import msgspec

HOUR_S = 3_600.0
# The swing of supply temperature that is as much as the whole capacity: what a network cools its water by, about.
SUPPLY_SPAN_K = 60.0
# Turns kept: a sender that turns each second for an hour is known as such long before.
MAX_TURNS = 3_600


class Policy(msgspec.Struct, frozen=True, gc=False):
    """From [heat]: a turn counts from `size` (part of capacity) on, more than `most_per_h` are told. `capacity_w` is thermal."""

    size: float
    most_per_h: int
    capacity_w: float


class Course(msgspec.Struct):
    """One number's way: its furthest points since it turned last, and whether it rises (1), falls (-1), or never moved far (0)."""

    low: float | None = None
    high: float = 0.0
    direction: int = 0


class State(msgspec.Struct):
    """Turns of the last hour (unix seconds), whose demand it was, and whether people are being told."""

    heat: Course = msgspec.field(default_factory=Course)
    supply: Course = msgspec.field(default_factory=Course)
    turns_unix_s: deque[float] = msgspec.field(default_factory=lambda: deque(maxlen=MAX_TURNS))
    source: str = ""
    is_swinging: bool = False


def note(state: State, policy: Policy, heat_w: float | None, supply_c: float | None, source: str, now_unix_s: float) -> None:
    """A demand rules now, or rules on: call it as often as you like."""
    turned = heat_w is not None and turns(state.heat, heat_w, policy.size * max(policy.capacity_w, 1.0))
    turned = (supply_c is not None and turns(state.supply, supply_c, policy.size * SUPPLY_SPAN_K)) or turned
    if turned:
        state.turns_unix_s.append(now_unix_s)
        state.source = source


def turns(course: Course, value: float, size: float) -> bool:
    """Follow a number; True when it has just come back from its furthest point by at least `size`."""
    if course.low is None:
        course.low = course.high = value
        return False
    before = course.direction
    course.low, course.high = min(course.low, value), max(course.high, value)
    if before <= 0 and value - course.low >= size:
        course.direction, course.high = 1, value
    elif before >= 0 and course.high - value >= size:
        course.direction, course.low = -1, value
    return before not in (0, course.direction)


def per_hour(state: State, now_unix_s: float) -> int:
    """Turns within the last hour."""
    while state.turns_unix_s and not now_unix_s - HOUR_S < state.turns_unix_s[0] <= now_unix_s:
        state.turns_unix_s.popleft()
    return len(state.turns_unix_s)


def alarm(state: State, policy: Policy, now_unix_s: float) -> str | None:
    """What to tell people; None while the demand is calm. Told until half of what is allowed is left."""
    count = per_hour(state, now_unix_s)
    state.is_swinging = count > policy.most_per_h or (state.is_swinging and 2 * count > policy.most_per_h)
    if not state.is_swinging:
        return None
    return (
        f"the demand of {state.source} swings: {count} turns by more than {policy.size:.0%} of capacity in an hour "
        f"({policy.most_per_h} are allowed); two regulators work against each other, or the sender's loop is too fast: "
        "slow it down, or let it send the mean"
    )
