"""The life of one machine as a table, and the frozen picture of it that the heat cycle works on.

Only nouns and the transition table are here. What was read and what follows from it is `lifecycle`; who talks to the machine is
`actor`. No I/O and no clock.
"""

from enum import Enum, auto
from functools import lru_cache

import msgspec

from protocol.errors import LocalProtocolError


class UnitState(Enum):
    """What a unit is doing, as far as we can prove."""

    OFFLINE = auto()  # no believable answer: what it does is unknown
    IDLE = auto()  # answers, awake, makes no hashes (no pool, or starting up)
    WAKING = auto()  # told to wake, not hashing yet
    RAMPING = auto()  # on its way to the level it was told
    RUN = auto()  # hashing on the level it was told
    CALIBRATING = auto()  # hashing, but its firmware refuses changes for now
    SLEEPING = auto()  # proven off: asked, idle, no hashes, hardly any power
    FAULT = auto()  # does not do what it is told
    SERVICE = auto()  # taken out by an operator: never commanded
    LOCKED_OUT = auto()  # another machine than the one configured: never commanded

    # Members are single: identity is enough, and ten times quicker than hashing the name for each look into a table.
    __hash__ = object.__hash__


class Step(Enum):
    """What can happen to a unit: seen in a reading, sent by us, or decided by an operator."""

    CONTACT_LOST = auto()
    SEEN_IDLE = auto()
    SEEN_WAKING = auto()
    SEEN_RAMPING = auto()
    SEEN_RUNNING = auto()
    SEEN_CALIBRATING = auto()
    SEEN_ASLEEP = auto()
    LEVEL_SENT = auto()
    WAKE_SENT = auto()
    SLEEP_SENT = auto()
    CHANGE_REFUSED = auto()  # its firmware calibrates and permits no change
    GAVE_UP = auto()
    FAULT_CLEARED = auto()
    TAKEN_OUT = auto()
    PUT_BACK = auto()
    IDENTITY_BROKEN = auto()
    IDENTITY_RESTORED = auto()

    __hash__ = object.__hash__  # as above


# What a reading shows is where an observed unit then is, whatever it was before.
_SEEN = {
    Step.CONTACT_LOST: UnitState.OFFLINE,
    Step.SEEN_IDLE: UnitState.IDLE,
    Step.SEEN_WAKING: UnitState.WAKING,
    Step.SEEN_RAMPING: UnitState.RAMPING,
    Step.SEEN_RUNNING: UnitState.RUN,
    Step.SEEN_CALIBRATING: UnitState.CALIBRATING,
    Step.SEEN_ASLEEP: UnitState.SLEEPING,
    Step.TAKEN_OUT: UnitState.SERVICE,
    Step.IDENTITY_BROKEN: UnitState.LOCKED_OUT,
}
_SENT = {
    Step.LEVEL_SENT: UnitState.RAMPING,
    Step.WAKE_SENT: UnitState.WAKING,
    Step.SLEEP_SENT: UnitState.RAMPING,
    Step.CHANGE_REFUSED: UnitState.CALIBRATING,
    Step.GAVE_UP: UnitState.FAULT,
}


def _stay(state: UnitState, *steps: Step) -> dict[Step, UnitState]:
    return dict.fromkeys(steps, state)


_SEEN_STEPS = (
    Step.SEEN_IDLE,
    Step.SEEN_WAKING,
    Step.SEEN_RAMPING,
    Step.SEEN_RUNNING,
    Step.SEEN_CALIBRATING,
    Step.SEEN_ASLEEP,
)

# A step that is missing in a row is a bug of ours. SERVICE and LOCKED_OUT have no *_SENT step: that such a unit is never
# commanded is in the table, not in the care of its callers.
TRANSITIONS: dict[UnitState, dict[Step, UnitState]] = {
    # A command may go out blind, to lower a unit that does not answer; only a reading brings it back.
    UnitState.OFFLINE: _SEEN | _stay(UnitState.OFFLINE, *_SENT),
    UnitState.IDLE: _SEEN | _SENT,
    UnitState.WAKING: _SEEN | _SENT,
    UnitState.RAMPING: _SEEN | _SENT,
    UnitState.RUN: _SEEN | _SENT,
    UnitState.CALIBRATING: _SEEN | _SENT,
    UnitState.SLEEPING: _SEEN | _SENT,
    # Readings do not end a fault; that it does as told again, or an operator, does. It may still be lowered.
    UnitState.FAULT: {
        **_stay(UnitState.FAULT, *_SEEN_STEPS, *_SENT),
        Step.CONTACT_LOST: UnitState.OFFLINE,
        Step.FAULT_CLEARED: UnitState.OFFLINE,
        Step.TAKEN_OUT: UnitState.SERVICE,
        Step.IDENTITY_BROKEN: UnitState.LOCKED_OUT,
    },
    UnitState.SERVICE: {
        **_stay(UnitState.SERVICE, *_SEEN_STEPS, Step.CONTACT_LOST, Step.TAKEN_OUT, Step.IDENTITY_BROKEN),
        Step.PUT_BACK: UnitState.OFFLINE,
    },
    UnitState.LOCKED_OUT: {
        **_stay(UnitState.LOCKED_OUT, *_SEEN_STEPS, Step.CONTACT_LOST, Step.IDENTITY_BROKEN),
        Step.IDENTITY_RESTORED: UnitState.OFFLINE,
        Step.TAKEN_OUT: UnitState.SERVICE,
    },
}

# States in which a unit takes an ordinary command.
COMMANDABLE = frozenset({UnitState.IDLE, UnitState.WAKING, UnitState.RAMPING, UnitState.RUN, UnitState.SLEEPING})
# States in which nothing is ever sent, urgent or not.
UNTOUCHABLE = frozenset({UnitState.SERVICE, UnitState.LOCKED_OUT})


def advance(state: UnitState, step: Step) -> UnitState:
    """The state after `step`. Raises LocalProtocolError naming both when the table has no such step."""
    after = TRANSITIONS[state].get(step)
    if after is None:
        raise LocalProtocolError(f"a unit in state {state.name} has no step {step.name}")
    return after


class LevelFact(msgspec.Struct, frozen=True, gc=False):
    """One power level: wall power and hashrate when settled."""

    power_w: float
    hashrate_hps: float


@lru_cache(maxsize=256)
def shared(levels: tuple[LevelFact, ...]) -> tuple[LevelFact, ...]:
    """The same record for equal levels: heat control reads each model's levels once a cycle, not once a unit."""
    return levels


class ProvenPower(msgspec.Struct, frozen=True, gc=False):
    """Wall power that a unit's shares prove over the last `seconds`, with its 95 % interval. `quiet_s`: since its last share;
    `interval_s`: how far apart shares are at that hashrate, None without any."""

    power_w: float
    low_w: float
    high_w: float
    shares: float
    seconds: float
    quiet_s: float
    interval_s: float | None


class UnitImage(msgspec.Struct, frozen=True):
    """One unit as one heat cycle sees it. Asked (commanded) and measured (observed) are different fields; unknown is None."""

    id: str
    loop: str
    model: str
    state: UnitState
    levels: tuple[LevelFact, ...]  # index 0 = asleep
    level_commanded: int | None
    level_observed: int | None
    power_w: float | None  # wall power, None when stale
    hashrate_reported_hps: float | None
    inlet_c: float | None
    outlet_c: float | None
    chip_c: float | None
    changed_at_s: float | None  # last level change
    may_command: bool
    earliest_change_s: float  # dwell of the present level; 0 = at once
    starts_today: int  # in the last 24 h
    max_starts_per_day: int
    max_outlet_c: float
    max_chip_c: float
    fault: str | None
    earliest_sleep_s: float = 0.0  # shortest time on, for a change to level 0
    proven: ProvenPower | None = None  # by its shares; None: it never mined through us, work is withheld, its pool is down
    answers: bool = True  # false: the latest question got no usable answer; its last reading may still be fresh
