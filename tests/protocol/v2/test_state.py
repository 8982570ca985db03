"""The tables of the server role."""

import pytest

from protocol.errors import LocalProtocolError
from protocol.states import advance
from protocol.v2.state import CHANNEL, CONNECTION, ChannelState, ChannelStep, State, Step


@pytest.mark.parametrize("table", [CONNECTION, CHANNEL])
def test_every_state_has_a_row_and_what_is_not_in_it_is_refused(table: object) -> None:
    states, steps = (State, Step) if table is CONNECTION else (ChannelState, ChannelStep)
    assert set(table) == set(states)  # type: ignore[call-overload]
    for state in states:
        for step in steps:
            after = table[state].get(step)  # type: ignore[index]
            if after is None:
                with pytest.raises(LocalProtocolError, match="not allowed while"):
                    advance(table, state, step)  # type: ignore[arg-type]
            else:
                assert advance(table, state, step) is after  # type: ignore[arg-type]
