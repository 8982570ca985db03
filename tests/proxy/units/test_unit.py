"""The table of a unit's life: every state with every step."""

import itertools

import pytest

from protocol.errors import LocalProtocolError
from proxy.units.unit import COMMANDABLE, TRANSITIONS, UNTOUCHABLE, Step, UnitState, advance

SENT = (Step.LEVEL_SENT, Step.WAKE_SENT, Step.SLEEP_SENT)
EVERY = list(itertools.product(UnitState, Step))


def test_every_state_has_a_row():
    assert set(TRANSITIONS) == set(UnitState)


@pytest.mark.parametrize(("state", "step"), EVERY, ids=lambda value: value.name)
def test_every_step_leads_where_the_table_says_or_is_refused_by_name(state, step):
    after = TRANSITIONS[state].get(step)
    if after is not None:
        assert advance(state, step) is after
        return
    with pytest.raises(LocalProtocolError, match=rf"{state.name} has no step {step.name}"):
        advance(state, step)


@pytest.mark.parametrize("state", sorted(UNTOUCHABLE, key=lambda state: state.name))
def test_a_unit_in_service_or_locked_out_cannot_be_sent_anything(state):
    assert not TRANSITIONS[state].keys() & set(SENT)
    assert state not in COMMANDABLE


@pytest.mark.parametrize("state", UnitState)
def test_losing_contact_is_possible_anywhere_and_means_offline_unless_we_keep_our_hands_off(state):
    after = advance(state, Step.CONTACT_LOST)
    assert after is (state if state in UNTOUCHABLE else UnitState.OFFLINE)


@pytest.mark.parametrize("step", [step for step in Step if step.name.startswith("SEEN")])
def test_no_reading_ends_a_fault(step):
    assert advance(UnitState.FAULT, step) is UnitState.FAULT


@pytest.mark.parametrize("state", UnitState)
def test_an_operator_can_take_every_unit_out(state):
    assert advance(state, Step.TAKEN_OUT) is UnitState.SERVICE


def test_every_state_can_be_reached_and_left():
    reached = {UnitState.OFFLINE}
    for _ in UnitState:
        reached |= {after for state in reached for after in TRANSITIONS[state].values()}
    assert reached == set(UnitState)
    assert all(set(row.values()) - {state} for state, row in TRANSITIONS.items())
