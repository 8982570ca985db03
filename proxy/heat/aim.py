"""What heat the units should make now: the demand's, what a supply temperature needs, or what the planner says. Thermal watts.

A supply temperature is held by a slow loop around the heat: flow times temperature rise says how much heat it takes, a slow trim
takes out the rest. Pure. Which demand rules was decided before (arbitrate); the power that gives the heat comes after (tracker).
"""

import math

import msgspec

from proxy.heat.arbitrate import Ruling, Rung
from proxy.heat.guidance import Guidance
from proxy.heat.model import gain

# The network's flow is the utility's to change; it is followed this fast, so that the temperature does not hunt against its pumps.
FLOW_TAU_S = 300.0
# The trim is slower than everything it acts through, and small: it corrects sensors, not the plant.
TRIM_S = 1_800.0
MAX_TRIM = 0.1
# So much of the demand in force may be given early to meet the next one half-way.
EARLY = 0.015
# Below this rise between return and supply, flow is not known from heat.
MIN_RISE_K = 3.0
# The cause where the planner says what to make.
BY_PLAN = "plan"


class Policy(msgspec.Struct, frozen=True, gc=False):
    """`rules_supply`: a demand with both heat and supply temperature means the temperature. `capacity_w` is thermal."""

    rules_supply: bool
    capacity_w: float


class Water(msgspec.Struct, frozen=True, gc=False):
    """The boundary now; None is unknown."""

    heat_w: float | None
    supply_c: float | None
    return_c: float | None


class State(msgspec.Struct):
    """The supply loop: heat capacity flow of the network (W/K), the trim in kelvin, and the heat it last asked for."""

    flow_w_per_k: float | None = None
    trim_k: float = 0.0
    heat_w: float | None = None
    asked_c: float | None = None


class Wanted(msgspec.Struct, frozen=True, gc=False):
    """The heat to make (None: keep all as it is), why it is not simply the demand's, and the supply temperature being held."""

    heat_w: float | None
    cause: str | None = None
    supply_c: float | None = None


def ahead(asked_w: float, soon_w: float | None) -> float:
    """What to make towards a demand that is known to follow soon (None: none is): so much of its step as may be given early.

    Heat moves for minutes. Half of a step before its time and half after it is nearer to both demands than all of it too late.
    """
    return asked_w if soon_w is None else min(max(soon_w, asked_w * (1.0 - EARLY)), asked_w * (1.0 + EARLY))


def wanted(
    state: State,
    policy: Policy,
    ruling: Ruling,
    water: Water,
    guidance: Guidance | None,
    can_follow: bool,
    dt_s: float,
    soon_w: float | None = None,
) -> Wanted:
    """The heat to make. `can_follow`: nothing keeps the plant from what was asked last (else the trim waits).

    `soon_w`: the heat that the utility's schedule asks for as soon as heat made now can arrive; None where it says nothing.
    """
    holds_supply = ruling.supply_c is not None and (ruling.heat_w is None or policy.rules_supply)
    if not holds_supply or ruling.supply_c is None:
        state.heat_w = state.asked_c = None
        state.trim_k = 0.0
        if guidance is not None and guidance.heat_now_w is not None and ruling.rung is Rung.LIVE and ruling.heat_w is not None:
            return Wanted(min(guidance.heat_now_w, policy.capacity_w), BY_PLAN)
        if ruling.heat_w is None or ruling.rung is not Rung.LIVE:
            return Wanted(ruling.heat_w)
        return Wanted(ahead(ruling.heat_w, soon_w))
    return _hold_supply(state, policy, ruling.supply_c, ruling.heat_w, water, can_follow, dt_s)


def _hold_supply(
    state: State, policy: Policy, asked_c: float, hint_w: float | None, water: Water, can_follow: bool, dt_s: float
) -> Wanted:
    """Heat for a supply temperature. While the water is unknown what was found last goes on, else the demand's own heat."""
    supply_c, return_c, heat_w = water.supply_c, water.return_c, water.heat_w
    if supply_c is None or return_c is None or heat_w is None or not math.isfinite(supply_c + return_c + heat_w):
        return Wanted(hint_w if state.heat_w is None else state.heat_w, "supply temperature unknown", asked_c)
    rise_k = supply_c - return_c
    if rise_k >= MIN_RISE_K and heat_w > 0:
        flow = heat_w / rise_k
        known = flow if state.flow_w_per_k is None else state.flow_w_per_k
        state.flow_w_per_k = known + (flow - known) * gain(dt_s, FLOW_TAU_S)
    if state.flow_w_per_k is None:
        return Wanted(hint_w if hint_w is not None else heat_w, "network flow unknown", asked_c)
    if state.asked_c != asked_c:
        state.asked_c, state.trim_k = asked_c, 0.0
    span_k = MAX_TRIM * max(asked_c - return_c, MIN_RISE_K)
    if can_follow:
        state.trim_k = min(max(state.trim_k + (asked_c - supply_c) * dt_s / TRIM_S, -span_k), span_k)
    state.heat_w = min(max(state.flow_w_per_k * (asked_c + state.trim_k - return_c), 0.0), policy.capacity_w)
    return Wanted(state.heat_w, None, asked_c)
