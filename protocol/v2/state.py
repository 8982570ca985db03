"""How far a connection and its channels are in the server role: Enums and tables; nothing else in the package assigns such a state.

The tables hold what only *we* could do wrong: a step that is missing in a row raises LocalProtocolError. What a client asks out of
turn is an event, an error message or the end of the connection, never a step.
"""

import enum
from collections.abc import Mapping


class State(enum.Enum):
    """A connection of a client: nothing but SetupConnection is taken before it was answered."""

    NEW = "new"
    READY = "ready"
    EXTENSIONS_DUE = "extensions due"  # one that we require was not asked for: it must be, next
    CLOSED = "closed"


class Step(enum.Enum):
    """What we did."""

    ACCEPT = "accept the connection"
    DEMAND_EXTENSIONS = "demand extensions"
    AGREE = "agree on extensions"
    OPEN_CHANNEL = "open a channel"
    CLOSE = "close"


class ChannelState(enum.Enum):
    """One channel, from its Success on."""

    WAITING = "waiting for a chain tip"
    WORKING = "working"
    CLOSED = "closed"


class ChannelStep(enum.Enum):
    """What we sent to a channel, or to the group it is in."""

    SEND_FUTURE_JOB = "send a future job"
    SEND_JOB = "send a job"
    ACTIVATE = "activate a future job"
    SET_TARGET = "set a target"
    SET_PREFIX = "set an extranonce prefix"
    ANSWER_SHARE = "answer a share"
    CLOSE = "close"


CONNECTION: Mapping[State, Mapping[Step, State]] = {
    State.NEW: {Step.ACCEPT: State.READY, Step.CLOSE: State.CLOSED},
    State.READY: {
        Step.DEMAND_EXTENSIONS: State.EXTENSIONS_DUE,
        Step.AGREE: State.READY,
        Step.OPEN_CHANNEL: State.READY,
        Step.CLOSE: State.CLOSED,
    },
    State.EXTENSIONS_DUE: {
        Step.DEMAND_EXTENSIONS: State.EXTENSIONS_DUE,
        Step.AGREE: State.READY,
        Step.CLOSE: State.CLOSED,
    },
    State.CLOSED: {},
}

# A job that is to be worked on at once needs a chain tip, which only the activation of a future job brings.
CHANNEL: Mapping[ChannelState, Mapping[ChannelStep, ChannelState]] = {
    ChannelState.WAITING: {
        ChannelStep.SEND_FUTURE_JOB: ChannelState.WAITING,
        ChannelStep.ACTIVATE: ChannelState.WORKING,
        ChannelStep.SET_TARGET: ChannelState.WAITING,
        ChannelStep.SET_PREFIX: ChannelState.WAITING,
        ChannelStep.ANSWER_SHARE: ChannelState.WAITING,
        ChannelStep.CLOSE: ChannelState.CLOSED,
    },
    ChannelState.WORKING: {
        ChannelStep.SEND_FUTURE_JOB: ChannelState.WORKING,
        ChannelStep.SEND_JOB: ChannelState.WORKING,
        ChannelStep.ACTIVATE: ChannelState.WORKING,
        ChannelStep.SET_TARGET: ChannelState.WORKING,
        ChannelStep.SET_PREFIX: ChannelState.WORKING,
        ChannelStep.ANSWER_SHARE: ChannelState.WORKING,
        ChannelStep.CLOSE: ChannelState.CLOSED,
    },
    ChannelState.CLOSED: {},
}
