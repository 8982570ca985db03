"""How far a Stratum V2 connection has come in the client role. Nothing else assigns a state.

The table holds what only we could do wrong: a step that is missing in a row raises LocalProtocolError. What the server says too
early is its fault and is judged where it is read.
"""

import enum
from collections.abc import Mapping


class ClientState(enum.Enum):
    """Channels are opened and used in READY only."""

    NEW = "new"
    SETTING_UP = "waiting for the answer to SetupConnection"
    READY = "set up"
    NEGOTIATING = "waiting for the answer to RequestExtensions"
    REFUSED = "refused by the server"
    BROKEN = "broken"


class ClientStep(enum.Enum):
    """We asked, or the server answered."""

    ASK_SETUP = "SetupConnection"
    SETUP_ACCEPTED = "the server's consent"
    SETUP_REFUSED = "the server's refusal"
    ASK_EXTENSIONS = "RequestExtensions"
    EXTENSIONS_ANSWERED = "the answer to RequestExtensions"
    USE = "a message about channels"
    BREAK = "a broken protocol"


Table = Mapping[ClientState, Mapping[ClientStep, ClientState]]

CLIENT: Table = {
    ClientState.NEW: {
        ClientStep.ASK_SETUP: ClientState.SETTING_UP,
        ClientStep.BREAK: ClientState.BROKEN,
    },
    ClientState.SETTING_UP: {
        ClientStep.SETUP_ACCEPTED: ClientState.READY,
        ClientStep.SETUP_REFUSED: ClientState.REFUSED,
        ClientStep.BREAK: ClientState.BROKEN,
    },
    ClientState.READY: {
        ClientStep.ASK_EXTENSIONS: ClientState.NEGOTIATING,
        ClientStep.USE: ClientState.READY,
        ClientStep.BREAK: ClientState.BROKEN,
    },
    ClientState.NEGOTIATING: {
        ClientStep.EXTENSIONS_ANSWERED: ClientState.READY,
        ClientStep.BREAK: ClientState.BROKEN,
    },
    ClientState.REFUSED: {},
    ClientState.BROKEN: {},
}
