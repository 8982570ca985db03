"""Who rules the plant now: the utility's live demand, a rung of the ladder below it, or an operator's stop.

Pure: the wall clock is an argument. It decides no power beyond naming the target; limits, ramps and units come later. It does not
check a demand (demand.DemandBook did) and does not know why a stop was asked for, only what to call it.
"""

import enum
from collections.abc import Sequence

import msgspec

from proxy.heat.demand import HeatDemand

# Demands kept for later: a day of quarter hours, twice.
MAX_WAITING = 192


class Rung(enum.Enum):
    """The ladder, best first. Downward is automatic; upward must be proven."""

    LIVE = "LIVE"  # a demand is valid, or expired so recently that its renewal may just be late
    HOLD = "HOLD"  # stale: what was asked last goes on
    FALLBACK = "FALLBACK"  # still stale: the heat curve, or the power agreed for a lost signal
    LIMIT = "LIMIT"  # nobody will answer soon: the power that is safe for days
    STOP = "STOP"  # an operator or an interlock: everything asleep


class Step(enum.Enum):
    """What one cycle found out about the signal."""

    PROVEN = "proven"  # fresh for as many cycles in a row as the rung demands
    STALE = "stale"
    LOST = "lost"
    GIVEN_UP = "given-up"
    TRIPPED = "tripped"
    CLEARED = "cleared"  # no stop is asked for any more


# Every rung has every step: an ageing signal never lifts a rung, and only CLEARED leaves STOP (to LIMIT, from where a proven
# demand leads up: what ran before the stop is not taken up again by itself).
LADDER: dict[Rung, dict[Step, Rung]] = {
    Rung.LIVE: {
        Step.PROVEN: Rung.LIVE,
        Step.STALE: Rung.HOLD,
        Step.LOST: Rung.FALLBACK,
        Step.GIVEN_UP: Rung.LIMIT,
        Step.TRIPPED: Rung.STOP,
        Step.CLEARED: Rung.LIVE,
    },
    Rung.HOLD: {
        Step.PROVEN: Rung.LIVE,
        Step.STALE: Rung.HOLD,
        Step.LOST: Rung.FALLBACK,
        Step.GIVEN_UP: Rung.LIMIT,
        Step.TRIPPED: Rung.STOP,
        Step.CLEARED: Rung.HOLD,
    },
    Rung.FALLBACK: {
        Step.PROVEN: Rung.LIVE,
        Step.STALE: Rung.FALLBACK,
        Step.LOST: Rung.FALLBACK,
        Step.GIVEN_UP: Rung.LIMIT,
        Step.TRIPPED: Rung.STOP,
        Step.CLEARED: Rung.FALLBACK,
    },
    Rung.LIMIT: {
        Step.PROVEN: Rung.LIVE,
        Step.STALE: Rung.LIMIT,
        Step.LOST: Rung.LIMIT,
        Step.GIVEN_UP: Rung.LIMIT,
        Step.TRIPPED: Rung.STOP,
        Step.CLEARED: Rung.LIMIT,
    },
    Rung.STOP: {
        Step.PROVEN: Rung.STOP,
        Step.STALE: Rung.STOP,
        Step.LOST: Rung.STOP,
        Step.GIVEN_UP: Rung.STOP,
        Step.TRIPPED: Rung.STOP,
        Step.CLEARED: Rung.LIMIT,
    },
}

# Cycles in a row with a valid demand before a rung is left upward. HOLD changed no power, so coming back from it needs no caution.
GOOD_CYCLES: dict[Rung, int] = {Rung.LIVE: 1, Rung.HOLD: 1, Rung.FALLBACK: 3, Rung.LIMIT: 3, Rung.STOP: 3}


def advance(rung: Rung, step: Step) -> Rung:
    """Look up where a step leads. Defined for every pair."""
    return LADDER[rung][step]


class Policy(msgspec.Struct, frozen=True, gc=False):
    """How long a stale signal is borne, counted from the end of the last valid window, and the electrical power of the low rungs.

    On FALLBACK the heat curve rules while the outdoor temperature is known, then `fallback_power_w`; where that is None, FALLBACK
    goes on with what was held.
    """

    hold_after_s: float
    fallback_after_s: float
    limit_after_s: float
    fallback_power_w: float | None
    limit_power_w: float


class Ruling(msgspec.Struct, frozen=True, gc=False):
    """What is to be delivered: `heat_w` (thermal) and `supply_c` as they were asked, or `power_w` (electrical); all None: keep
    every unit as it is.

    `demand` is the one that rules or ruled last, `following` the next one that waits, `stale_s` how long no demand has been valid.
    """

    rung: Rung
    heat_w: float | None
    power_w: float | None
    demand: HeatDemand | None
    following: HeatDemand | None
    stale_s: float | None
    cause: str
    supply_c: float | None = None


class Docket(msgspec.Struct):
    """The demands that rule, ruled last or wait, and the rung we are on. Starts on HOLD: nothing moves before a demand came."""

    waiting: list[HeatDemand] = []
    last: HeatDemand | None = None
    ruled_unix_s: float | None = None  # when a demand was last seen to rule
    rung: Rung = Rung.HOLD
    good_cycles: int = 0


def admit(docket: Docket, demand: HeatDemand, now_unix_s: float) -> bool:
    """Put an accepted demand on the docket; False when too many wait already. A new epoch clears what older ones had planned."""
    kept = [
        other
        for other in docket.waiting
        if other.valid_until_unix_s > now_unix_s and (other.source != demand.source or other.epoch >= demand.epoch)
    ]
    if len(kept) >= MAX_WAITING:
        return False
    kept.append(demand)
    docket.waiting = kept
    return True


def restore(docket: Docket, demands: Sequence[HeatDemand], now_unix_s: float) -> None:
    """Take up the demands of an earlier run: what is valid rules on, and the age of the signal counts from the last one's end."""
    docket.waiting = [d for d in demands if d.valid_until_unix_s > now_unix_s]
    begun = [d for d in demands if d.valid_from_unix_s <= now_unix_s]
    docket.last = max(begun, key=lambda d: d.valid_until_unix_s, default=None)


def ruling_at(docket: Docket, now_unix_s: float) -> HeatDemand | None:
    """The demand valid now; where windows overlap, the one sent last."""
    return max((d for d in docket.waiting if d.is_valid_at(now_unix_s)), key=lambda d: d.order, default=None)


def following_at(docket: Docket, now_unix_s: float) -> HeatDemand | None:
    """The waiting demand that begins next."""
    return min((d for d in docket.waiting if d.valid_from_unix_s > now_unix_s), key=lambda d: d.valid_from_unix_s, default=None)


def in_force(docket: Docket, now_unix_s: float) -> HeatDemand | None:
    """The demand that rules, else the next one that will: whose source has the say."""
    return ruling_at(docket, now_unix_s) or following_at(docket, now_unix_s)


def rule(
    docket: Docket,
    policy: Policy,
    now_unix_s: float,
    stop: str | None = None,
    standing: HeatDemand | None = None,
    curve_w: float | None = None,
) -> Ruling:
    """One cycle of the ladder: age or prove the signal, move the rung, name the target. `stop` is why all must sleep, or None.

    `standing` rules whenever no demand does (the heat curve as a mode), but not before a late renewal could have come. `curve_w` is
    the heat curve's word for FALLBACK. Without any demand ever, the signal does not age: a plant that was never asked for heat
    keeps its units as they are.
    """
    current = ruling_at(docket, now_unix_s)
    if current is None and standing is not None:
        last = docket.last
        is_late_only = (
            last is not None and last.source != standing.source and now_unix_s - last.valid_until_unix_s < policy.hold_after_s
        )
        current = None if is_late_only else standing
    if current is not None:
        docket.last = current
        docket.ruled_unix_s = now_unix_s
    docket.waiting = [d for d in docket.waiting if d.valid_until_unix_s > now_unix_s]
    stale_s = _stale_s(docket, current, now_unix_s)
    step = _step(docket, policy, current is not None, stale_s, stop)
    if step is not None:
        docket.rung = advance(docket.rung, step)
    heat_w, supply_c, power_w = _target(docket, policy, curve_w)
    return Ruling(
        rung=docket.rung,
        heat_w=heat_w,
        power_w=power_w,
        demand=docket.last,
        following=following_at(docket, now_unix_s),
        stale_s=stale_s,
        cause=_cause(docket, current is not None, stop),
        supply_c=supply_c,
    )


def _stale_s(docket: Docket, current: HeatDemand | None, now_unix_s: float) -> float | None:
    if current is not None:
        return 0.0
    if docket.last is None:
        return None
    ended_unix_s = docket.last.valid_until_unix_s
    if ended_unix_s > now_unix_s:  # its sender took it back
        ended_unix_s = now_unix_s if docket.ruled_unix_s is None else docket.ruled_unix_s
    return max(0.0, now_unix_s - ended_unix_s)


def _step(docket: Docket, policy: Policy, fresh: bool, stale_s: float | None, stop: str | None) -> Step | None:
    if stop is not None:
        docket.good_cycles = 0
        return Step.TRIPPED
    if docket.rung is Rung.STOP:
        return Step.CLEARED
    if fresh:
        docket.good_cycles += 1
        return Step.PROVEN if docket.good_cycles >= GOOD_CYCLES[docket.rung] else None
    docket.good_cycles = 0
    if stale_s is None:
        return None
    for limit_s, step in (
        (policy.limit_after_s, Step.GIVEN_UP),
        (policy.fallback_after_s, Step.LOST),
        (policy.hold_after_s, Step.STALE),
    ):
        if stale_s >= limit_s:
            return step
    return None


def _target(docket: Docket, policy: Policy, curve_w: float | None) -> tuple[float | None, float | None, float | None]:
    """Heat, supply temperature, electrical power."""
    held = (None, None) if docket.last is None else (docket.last.power_w, docket.last.supply_c)
    match docket.rung:
        case Rung.LIVE | Rung.HOLD:
            return *held, None
        case Rung.FALLBACK if curve_w is not None:
            return curve_w, None, None
        case Rung.FALLBACK:
            return (*held, None) if policy.fallback_power_w is None else (None, None, policy.fallback_power_w)
        case Rung.LIMIT:
            return None, None, policy.limit_power_w
        case Rung.STOP:
            return None, None, 0.0


def _cause(docket: Docket, fresh: bool, stop: str | None) -> str:
    if stop is not None:
        return stop
    if docket.last is None:
        return "no demand was ever received"
    if fresh:
        return "demand valid" if docket.rung is Rung.LIVE else "demand valid again, waiting for it to prove steady"
    return "no valid demand"
