"""How a state machine of this package moves: a table with a row for every state, and one function that looks into it.

The tables are where the states are (v1/state.py, v2/state.py, v2/client_state.py). They hold what only *we* could do wrong; what a
peer does out of turn is judged where it is read.
"""

import enum
from collections.abc import Mapping
from typing import TypeVar

from protocol.errors import LocalProtocolError

StateT = TypeVar("StateT", bound=enum.Enum)
StepT = TypeVar("StepT", bound=enum.Enum)


def advance(table: Mapping[StateT, Mapping[StepT, StateT]], state: StateT, step: StepT) -> StateT:
    """The state after `step`. Raises LocalProtocolError, and changes nothing, when `state` does not allow it."""
    after = table[state].get(step)
    if after is None:
        raise LocalProtocolError(f"{step.value} is not allowed while {state.value}")
    return after
