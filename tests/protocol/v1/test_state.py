"""Every state with every step, in both roles, against a list that is written out here once more."""

import pytest

from protocol.errors import LocalProtocolError
from protocol.states import advance
from protocol.v1.state import CLIENT, SERVER, State, Step, Table

N, S, A, R, B = State.NEW, State.SUBSCRIBED, State.AUTHORIZED, State.READY, State.BROKEN
NO = None

#                              NEW SUBSCRIBED AUTHORIZED READY BROKEN
EXPECTED_SERVER: dict[Step, tuple[State | None, ...]] = {
    Step.CONFIGURE: (N, S, A, R, NO),
    Step.SUBSCRIBE: (S, S, R, R, NO),
    Step.SUBSCRIBE_REFUSED: (NO, NO, NO, NO, NO),
    Step.AUTHORIZE: (A, R, A, R, NO),
    Step.AUTHORIZE_REFUSED: (N, S, A, R, NO),
    Step.SET_VERSION_MASK: (NO, NO, A, R, NO),
    Step.SUBMIT: (NO, NO, NO, R, NO),
    Step.BREAK: (B, B, B, B, NO),
}
EXPECTED_CLIENT = EXPECTED_SERVER | {
    Step.SUBSCRIBE_REFUSED: (N, S, A, R, NO),
    Step.SET_VERSION_MASK: (NO, NO, NO, NO, NO),
}


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("step", Step)
@pytest.mark.parametrize(("table", "expected"), [(SERVER, EXPECTED_SERVER), (CLIENT, EXPECTED_CLIENT)], ids=["server", "client"])
def test_each_step_from_each_state(table: Table, expected: dict[Step, tuple[State | None, ...]], step: Step, state: State) -> None:
    after = expected[step][list(State).index(state)]
    if after is None:
        with pytest.raises(LocalProtocolError, match=f"{step.value} is not allowed while {state.value}"):
            advance(table, state, step)
    else:
        assert advance(table, state, step) is after


@pytest.mark.parametrize("table", [SERVER, CLIENT], ids=["server", "client"])
def test_the_tables_have_a_row_for_every_state_and_broken_is_terminal(table: Table) -> None:
    assert set(table) == set(State)
    assert table[State.BROKEN] == {}


@pytest.mark.parametrize("table", [SERVER, CLIENT], ids=["server", "client"])
def test_every_state_can_be_reached(table: Table) -> None:
    reached = {State.NEW}
    for _ in State:
        reached |= {after for state in reached for after in table[state].values()}
    assert reached == set(State)
