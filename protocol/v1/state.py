"""How far a Stratum V1 session has come, for both roles. Nothing else in the package assigns a state.

The tables hold what only *we* could do wrong: a step that is missing in a row raises LocalProtocolError. What a peer asks too early
(a submit before authorize) is an event and changes nothing; the caller answers it with an error code.
"""

import enum
from collections.abc import Mapping


class State(enum.Enum):
    """Subscribing and authorizing come in any order; both are needed for work."""

    NEW = "new"
    SUBSCRIBED = "subscribed"
    AUTHORIZED = "authorized"  # authorized first, not yet subscribed
    READY = "ready"  # both
    BROKEN = "broken"  # the peer sent what no peer may: nothing more is read or sent


class Step(enum.Enum):
    """In the server role: we answered so. In the client role: the pool answered so, or (SUBMIT) we asked."""

    CONFIGURE = "configure"
    SUBSCRIBE = "subscribe"
    SUBSCRIBE_REFUSED = "subscribe refused"
    AUTHORIZE = "authorize"
    AUTHORIZE_REFUSED = "authorize refused"
    SET_VERSION_MASK = "set version mask"
    SUBMIT = "submit"  # server role: a share was accepted
    BREAK = "break"


Table = Mapping[State, Mapping[Step, State]]

SERVER: Table = {
    State.NEW: {
        Step.CONFIGURE: State.NEW,
        Step.SUBSCRIBE: State.SUBSCRIBED,
        Step.AUTHORIZE: State.AUTHORIZED,
        Step.AUTHORIZE_REFUSED: State.NEW,
        Step.BREAK: State.BROKEN,
    },
    State.SUBSCRIBED: {
        Step.CONFIGURE: State.SUBSCRIBED,
        Step.SUBSCRIBE: State.SUBSCRIBED,  # asked again: the same coordinates again
        Step.AUTHORIZE: State.READY,
        Step.AUTHORIZE_REFUSED: State.SUBSCRIBED,
        Step.BREAK: State.BROKEN,
    },
    State.AUTHORIZED: {
        Step.CONFIGURE: State.AUTHORIZED,
        Step.SUBSCRIBE: State.READY,
        Step.AUTHORIZE: State.AUTHORIZED,
        Step.AUTHORIZE_REFUSED: State.AUTHORIZED,  # another worker was refused; the first keeps its right
        Step.SET_VERSION_MASK: State.AUTHORIZED,  # S21 firmware drops a connection that hears it before authorize's answer
        Step.BREAK: State.BROKEN,
    },
    State.READY: {
        Step.CONFIGURE: State.READY,
        Step.SUBSCRIBE: State.READY,
        Step.AUTHORIZE: State.READY,
        Step.AUTHORIZE_REFUSED: State.READY,
        Step.SET_VERSION_MASK: State.READY,
        Step.SUBMIT: State.READY,
        Step.BREAK: State.BROKEN,
    },
    State.BROKEN: {},
}

CLIENT: Table = {
    State.NEW: {
        Step.CONFIGURE: State.NEW,
        Step.SUBSCRIBE: State.SUBSCRIBED,
        Step.SUBSCRIBE_REFUSED: State.NEW,
        Step.AUTHORIZE: State.AUTHORIZED,
        Step.AUTHORIZE_REFUSED: State.NEW,
        Step.BREAK: State.BROKEN,
    },
    State.SUBSCRIBED: {
        Step.CONFIGURE: State.SUBSCRIBED,
        Step.SUBSCRIBE: State.SUBSCRIBED,
        Step.SUBSCRIBE_REFUSED: State.SUBSCRIBED,
        Step.AUTHORIZE: State.READY,
        Step.AUTHORIZE_REFUSED: State.SUBSCRIBED,
        Step.BREAK: State.BROKEN,
    },
    State.AUTHORIZED: {
        Step.CONFIGURE: State.AUTHORIZED,
        Step.SUBSCRIBE: State.READY,
        Step.SUBSCRIBE_REFUSED: State.AUTHORIZED,
        Step.AUTHORIZE: State.AUTHORIZED,
        Step.AUTHORIZE_REFUSED: State.AUTHORIZED,
        Step.BREAK: State.BROKEN,
    },
    State.READY: {
        Step.CONFIGURE: State.READY,
        Step.SUBSCRIBE: State.READY,
        Step.SUBSCRIBE_REFUSED: State.READY,
        Step.AUTHORIZE: State.READY,
        Step.AUTHORIZE_REFUSED: State.READY,
        Step.SUBMIT: State.READY,
        Step.BREAK: State.BROKEN,
    },
    State.BROKEN: {},
}
