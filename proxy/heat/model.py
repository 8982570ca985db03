"""The plant between the units and the heat meter: one lag, one efficiency, and what the meter sees beyond both (the disturbance).

Heat made now is seen by the meter minutes later. The model says what the meter should show, so that the tracker can lead, and only
what the model does not explain is corrected: d = LP(meter - model). Nothing is integrated, so nothing winds up. The efficiency
follows slowly; the lag is fitted only where the site file asks for it, by letting several lags predict at once. Pure. It sees the
whole site, no loop.
"""

import math

import msgspec

# Lags that predict side by side, as powers of two of the configured one: 0.6 to 1.7 of it, and no fit ever leaves that. Further
# away a fit is more likely wrong than the plant is strange: under good control slow errors look like a long lag.
_EXPONENTS = tuple(k / 4 for k in range(-3, 4))
# A lag shows only in a change: below this spread between the candidates' predictions (part of capacity) nothing is learned.
EXCITED = 0.01
# Slow errors (efficiency, weather) are no matter of the lag: they are taken out of every candidate's error with this filter.
_SLOW_S = 1_800.0
# How long a candidate's errors count, in seconds with excitation, and how many of these make a first verdict.
_COST_S = 7_200.0
_VERDICT_S = 900.0
_TAU_MOVE_S = 1_200.0
# The best lag must predict better than the present one by this much, else the present one stays.
_CLEARLY = 0.9
# Efficiency: a running average at first, then so slow that a shift change of the meter does not move it.
_FIRST_EFFICIENCY_S = 600.0
_EFFICIENCY_S = 14_400.0
EFFICIENCY_SPAN = 0.15
# Meter against electricity: further apart for so long, one of the two lies. Below this part of capacity the ratio says nothing.
MAX_DISAGREEMENT = 0.10
DISAGREEMENT_S = 300.0
_MIN_COMPARED = 0.05
# More than any plant there is: no number to learn from. NaN is none either.
ABSURD_W = 1e12


class Policy(msgspec.Struct, frozen=True, gc=False):
    """From [heat]. `capacity_w` is thermal; the disturbance never exceeds `max_disturbance` of it; `fits_tau`: learn the lag."""

    thermal_efficiency: float
    plant_tau_s: float
    disturbance_tau_s: float
    max_disturbance: float
    capacity_w: float
    fits_tau: bool = False


class State(msgspec.Struct):
    """What is believed of the plant. Powers are electrical where nothing else is said; None before the first look at the fleet."""

    tau_s: float
    lagged_w: float | None = None
    disturbance_w: float | None = None  # thermal
    factor: float = 1.0  # of the configured efficiency
    candidates_w: list[float] = []
    slow_error_w: list[float] = []
    cost: list[float] = []
    known_s: float = 0.0
    learned_s: float = 0.0
    excited_s: float = 0.0
    apart_s: float = 0.0
    is_apart: bool = False
    metered_w: float | None = None  # thermal, now; None: unknown or no number


class Learned(msgspec.Struct, frozen=True, gc=False):
    """What outlives a process: the factor on the configured efficiency, for how long it was learned, and a fitted lag."""

    factor: float
    learned_s: float
    tau_s: float | None


def start(policy: Policy, known: Learned | None = None) -> State:
    """Nothing learned yet, but for what is known from before: kept within what could be learned here."""
    if known is None:
        return State(tau_s=policy.plant_tau_s)
    taus = _taus(policy)
    return State(
        tau_s=min(max(known.tau_s, taus[0]), taus[-1]) if policy.fits_tau and known.tau_s is not None else policy.plant_tau_s,
        factor=min(max(known.factor, 1.0 - EFFICIENCY_SPAN), 1.0 + EFFICIENCY_SPAN),
        learned_s=max(0.0, known.learned_s),
    )


def learned(state: State, policy: Policy) -> Learned:
    """What `start` may be given in the next process."""
    return Learned(state.factor, state.learned_s, state.tau_s if policy.fits_tau else None)


def efficiency(state: State, policy: Policy) -> float:
    """Heat into the water per wall power, as believed now. At most 1."""
    return min(1.0, policy.thermal_efficiency * state.factor)


def modelled_w(state: State, policy: Policy) -> float | None:
    """What the meter should show by the model alone (thermal)."""
    return None if state.lagged_w is None else state.lagged_w * efficiency(state, policy)


def disturbance_w(state: State) -> float:
    """What the meter shows beyond the model, filtered and bounded (thermal); 0 while no meter was ever heard."""
    return 0.0 if state.disturbance_w is None else state.disturbance_w


def advance(state: State, policy: Policy, drawn_w: float, metered_w: float | None, dt_s: float) -> None:
    """One cycle: let the fleet's power run through the plant, and learn from the meter. None freezes all that is learned.

    The first call takes the plant as settled, and the first metered heat explains itself wholly by a disturbance: whatever the
    belief was, nothing jumps.
    """
    if not abs(drawn_w) <= ABSURD_W:
        return
    if state.lagged_w is None:
        state.lagged_w = drawn_w
        state.candidates_w = [drawn_w] * len(_EXPONENTS)
        state.slow_error_w = []
        state.cost = [0.0] * len(_EXPONENTS)
    state.known_s += max(0.0, dt_s)
    state.lagged_w += (drawn_w - state.lagged_w) * gain(dt_s, state.tau_s)
    taus = _taus(policy)
    state.candidates_w = [w + (drawn_w - w) * gain(dt_s, tau_s) for w, tau_s in zip(state.candidates_w, taus, strict=True)]
    state.metered_w = metered_w if metered_w is not None and abs(metered_w) <= ABSURD_W else None
    if metered_w is None or state.metered_w is None:
        return
    _compare(state, policy, drawn_w, metered_w, dt_s)
    if state.apart_s > 0:
        # Nothing is learned from a meter under suspicion: by the verdict the disturbance would have followed it.
        return
    _learn_efficiency(state, policy, metered_w, dt_s)
    if policy.fits_tau:
        _learn_lag(state, policy, metered_w, dt_s)
    error_w = metered_w - state.lagged_w * efficiency(state, policy)
    known_w = error_w if state.disturbance_w is None else state.disturbance_w
    most_w = policy.max_disturbance * policy.capacity_w
    state.disturbance_w = min(max(known_w + (error_w - known_w) * gain(dt_s, policy.disturbance_tau_s), -most_w), most_w)


def forget(state: State, lost_j: float) -> None:
    """Take back heat that was never made: electrical energy, drawn within a time that is short against the lag."""
    if state.lagged_w is not None:
        state.lagged_w = max(0.0, state.lagged_w - lost_j / state.tau_s)


def gain(dt_s: float, tau_s: float) -> float:
    """How far a first-order filter goes in `dt_s`."""
    return 1.0 - math.exp(-max(0.0, dt_s) / tau_s)


def _taus(policy: Policy) -> list[float]:
    return [policy.plant_tau_s * 2.0**exponent for exponent in _EXPONENTS]


def _compare(state: State, policy: Policy, drawn_w: float, metered_w: float, dt_s: float) -> None:
    """Whether meter and electricity have been too far apart for too long; then one of them lies, and nothing is learned."""
    expected_w = modelled_w(state, policy) or 0.0
    floor_w = _MIN_COMPARED * policy.capacity_w
    # Heat on its way to what power makes may have arrived already: the lag is a guess.
    under_way_w = abs(drawn_w * efficiency(state, policy) - expected_w)
    is_far = abs(metered_w - expected_w) > MAX_DISAGREEMENT * max(expected_w, floor_w) + under_way_w
    # Before the plant has forgotten what it did when we were not there, the model knows too little to accuse anybody.
    is_far = is_far and state.known_s > 3 * state.tau_s
    state.apart_s = state.apart_s + dt_s if is_far else 0.0
    state.is_apart = is_far and (state.is_apart or state.apart_s >= DISAGREEMENT_S)


def _learn_efficiency(state: State, policy: Policy, metered_w: float, dt_s: float) -> None:
    lagged_w = state.lagged_w or 0.0
    made_w = lagged_w * policy.thermal_efficiency
    if made_w < _MIN_COMPARED * policy.capacity_w or state.known_s < 2 * state.tau_s:
        return
    ratio = min(max(metered_w / made_w, 1.0 - EFFICIENCY_SPAN), 1.0 + EFFICIENCY_SPAN)
    state.learned_s += dt_s
    before = efficiency(state, policy)
    state.factor += (ratio - state.factor) * gain(dt_s, min(max(state.learned_s, _FIRST_EFFICIENCY_S), _EFFICIENCY_S))
    if state.disturbance_w is not None:
        # What the efficiency now explains is no disturbance any more: the set-point does not move by learning.
        state.disturbance_w -= lagged_w * (efficiency(state, policy) - before)


def _learn_lag(state: State, policy: Policy, metered_w: float, dt_s: float) -> None:
    """Let every candidate predict; move slowly to the one that does best, where the plant was moved enough to tell."""
    now = efficiency(state, policy)
    errors_w = [metered_w - w * now for w in state.candidates_w]
    if not state.slow_error_w:
        state.slow_error_w = list(errors_w)
    slow = gain(dt_s, _SLOW_S)
    state.slow_error_w = [s + (e - s) * slow for s, e in zip(state.slow_error_w, errors_w, strict=True)]
    if max(state.candidates_w) - min(state.candidates_w) < EXCITED * policy.capacity_w / max(now, 0.1):
        return
    state.excited_s += dt_s
    fast = gain(dt_s, min(max(state.excited_s, dt_s, 1.0), _COST_S))
    state.cost = [c + ((e - s) ** 2 - c) * fast for c, e, s in zip(state.cost, errors_w, state.slow_error_w, strict=True)]
    if state.excited_s >= _VERDICT_S:
        taus = _taus(policy)
        moved_s = state.tau_s * (_best_tau_s(state, policy) / state.tau_s) ** gain(dt_s, _TAU_MOVE_S)
        state.tau_s = min(max(moved_s, taus[0]), taus[-1])


def _best_tau_s(state: State, policy: Policy) -> float:
    """The lag with the least cost, between the candidates by a parabola; the present one where no other is clearly better."""
    taus = _taus(policy)
    k = min(range(len(taus)), key=lambda position: state.cost[position])
    position = math.log2(state.tau_s / policy.plant_tau_s)
    if state.cost[k] > _CLEARLY * _cost_at(state, position):
        return state.tau_s
    exponent = _EXPONENTS[k]
    if 0 < k < len(taus) - 1:
        left, middle, right = state.cost[k - 1 : k + 2]
        bend = left - 2 * middle + right
        if bend > 0:
            exponent += 0.5 * (left - right) / bend * (_EXPONENTS[1] - _EXPONENTS[0])
    return float(policy.plant_tau_s * 2.0**exponent)


def _cost_at(state: State, exponent: float) -> float:
    """The cost at a lag between two candidates, linear in its logarithm."""
    place = (exponent - _EXPONENTS[0]) / (_EXPONENTS[1] - _EXPONENTS[0])
    low = min(max(int(place), 0), len(_EXPONENTS) - 2)
    part = min(max(place - low, 0.0), 1.0)
    return state.cost[low] * (1 - part) + state.cost[low + 1] * part
