"""Whose word is believed: a unit that says it runs and finds nothing, one that is silent and goes on, and many at once."""

import math
from collections.abc import Callable, Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.heat import doubt, observe
from proxy.heat.alarms import Alarms
from proxy.heat.doubt import CONFIRM_S, JUDGE_S, State
from proxy.units.unit import LevelFact, ProvenPower, UnitImage, UnitState

Make = Callable[..., UnitImage]
STEP_S = 20.0


def proof(power_w: float, part: float = 0.15, **changes: object) -> ProvenPower:
    found = ProvenPower(power_w, power_w * (1 - part), power_w * (1 + part), 100.0, 1_000.0, 5.0, 10.0)
    return msgspec.structs.replace(found, **changes)


NOTHING = ProvenPower(15.0, 0.0, 400.0, 0.0, 600.0, 600.0, None)


def judged(state: State, images: Sequence[UnitImage], seconds: float, since_s: float = 0.0) -> dict[int, doubt.Doubt]:
    """Cycles for so long; the last judgement."""
    fresh = [image.power_w for image in images]
    told_w = [image.levels[image.level_commanded or 0].power_w for image in images]
    found: dict[int, doubt.Doubt] = {}
    for k in range(int(seconds / STEP_S) + 1):
        found = doubt.judge(state, images, fresh, told_w, since_s + k * STEP_S)
    return found


def fleet(image: Make, levels: tuple[LevelFact, ...], count: int = 20, **first: object) -> list[UnitImage]:
    """All on level 4, proven by their shares; `first`: of the first one."""
    fine = proof(levels[4].power_w)
    return [image(0, **{"proven": fine, **first}), *(image(k, proven=fine) for k in range(1, count))]


def test_a_unit_that_says_it_runs_and_finds_nothing_is_not_believed_after_a_while(
    image: Make, levels: tuple[LevelFact, ...]
) -> None:
    state = State()
    images = fleet(image, levels, proven=NOTHING)
    assert judged(state, images, CONFIRM_S - STEP_S) == {}
    (found,) = judged(state, images, 2 * JUDGE_S, CONFIRM_S).values()
    assert (found.unit, found.is_short, found.believed_w) == ("u0", True, 15.0)
    (news,) = state.news()
    assert isinstance(news, doubt.Doubt)
    assert news.text == "says 8.1 kW, its shares prove 0.0 to 0.4 kW"
    alarms = Alarms()
    doubt.tell(state, alarms, 0.0)
    assert "u0 says 8.1 kW" in alarms.lines()[0]
    # Its shares agree again: so do we.
    assert judged(state, fleet(image, levels), 2 * JUDGE_S, 1_000.0) == {}
    assert state.news() == ["u0"]
    doubt.tell(state, alarms, 0.0)
    assert alarms.lines() == ()


def test_telemetry_that_tells_too_little_is_replaced_by_what_shares_prove_but_its_heat_is_not_missing(
    image: Make, levels: tuple[LevelFact, ...]
) -> None:
    (found,) = judged(State(), fleet(image, levels, power_w=3_000.0), 2 * CONFIRM_S).values()
    assert (found.is_short, found.believed_w) == (False, levels[4].power_w)


@pytest.mark.parametrize(
    "first",
    [
        {"proven": None},  # it never mined through us, or its pool is down
        {"power_w": None, "proven": NOTHING},  # silence.py judges it
        {"state": UnitState.RAMPING, "proven": NOTHING},
        {"level_commanded": 2, "proven": NOTHING},  # on its way
        {"proven": msgspec.structs.replace(NOTHING, seconds=120.0)},  # watched too shortly
        {"proven": proof(4_000.0, part=0.9)},  # known too badly
        {"proven": proof(6_500.0, part=0.1)},  # not far
    ],
    ids=["unknown", "silent", "ramping", "told", "short", "wide", "near"],
)
def test_nobody_is_doubted_on_weak_evidence(image: Make, levels: tuple[LevelFact, ...], first: dict[str, object]) -> None:
    state = State()
    assert judged(state, fleet(image, levels, **first), 5 * CONFIRM_S) == {}
    assert state.news() == []


def test_many_at_once_have_one_cause_and_are_named_and_believed(image: Make, levels: tuple[LevelFact, ...]) -> None:
    state = State()
    images = [image(k, proven=NOTHING if k < 3 else proof(levels[4].power_w)) for k in range(20)]
    assert judged(state, images, 2 * CONFIRM_S) == {}
    assert len(state.doubts) == 3
    alarms = Alarms()
    doubt.tell(state, alarms, 0.0)
    assert "one cause" in alarms.lines()[0]


def test_a_doubt_waits_while_its_unit_is_on_its_way_and_is_not_begun_anew(image: Make, levels: tuple[LevelFact, ...]) -> None:
    state = State()
    judged(state, fleet(image, levels, proven=NOTHING), CONFIRM_S / 2)
    judged(state, fleet(image, levels, proven=NOTHING, state=UnitState.RAMPING), CONFIRM_S / 2, CONFIRM_S / 2 + STEP_S)
    assert set(judged(state, fleet(image, levels, proven=NOTHING), 2 * JUDGE_S, CONFIRM_S + 2 * STEP_S)) == {0}


def test_shares_that_go_on_prove_a_silent_unit_and_shares_that_stopped_prove_nothing(
    image: Make, levels: tuple[LevelFact, ...]
) -> None:
    told_w = levels[4].power_w
    assert doubt.is_at_work(image(0, proven=proof(told_w)), told_w, 60.0)
    assert not doubt.is_at_work(image(0, proven=proof(told_w)), told_w, 15.0)  # its last share may be from before it died
    for gone in (None, NOTHING, proof(told_w, quiet_s=150.0), proof(0.2 * told_w)):
        assert not doubt.is_at_work(image(0, proven=gone), told_w, 600.0)


def test_a_silent_unit_at_work_is_never_dark_and_counts_by_its_level_or_by_its_shares(
    image: Make, levels: tuple[LevelFact, ...]
) -> None:
    silent = {"power_w": None, "level_observed": None, "state": UnitState.OFFLINE}
    policy = observe.Policy(correction_tau_s=240.0, max_correction=0.2)
    state = observe.State()
    at_level = fleet(image, levels, **silent)
    for now_s in (0.0, 300.0, 10_000.0):
        snapshot = observe.observe(state, policy, at_level, now_s, 20.0)
        assert not snapshot.dark[0]
        assert snapshot.expected_w[0] == pytest.approx(levels[4].power_w)
    below = fleet(image, levels, **silent, proven=proof(0.75 * levels[4].power_w))
    assert observe.observe(state, policy, below, 10_020.0, 20.0).expected_w[0] == pytest.approx(0.75 * levels[4].power_w)
    stopped = fleet(image, levels, **silent, proven=NOTHING)
    assert observe.observe(state, policy, stopped, 10_040.0, 20.0).dark[0]


def test_what_is_missing_is_neither_expected_nor_learned_from_but_still_measured(
    image: Make, levels: tuple[LevelFact, ...]
) -> None:
    policy = observe.Policy(correction_tau_s=240.0, max_correction=0.2)
    state = observe.State()
    images = fleet(image, levels, power_w=1.5 * levels[4].power_w, proven=NOTHING)
    for k in range(30):
        snapshot = observe.observe(state, policy, images, k * STEP_S, STEP_S)
    assert snapshot.expected_w[0] == snapshot.drawn_w[0] == 15.0
    assert snapshot.missing_w[0] == pytest.approx(levels[4].power_w * state.scale - 15.0)
    assert snapshot.ratio == pytest.approx(1.0)
    assert snapshot.measured_w == pytest.approx(20.5 * levels[4].power_w)
    assert snapshot.total_w == pytest.approx(19 * levels[4].power_w * state.scale + 15.0)


@given(
    st.lists(
        st.tuples(st.floats(0, 1.1e4), st.floats(0, 2e4), st.floats(0, 1), st.sampled_from([0.0, 1e3]), st.sampled_from(UnitState)),
        min_size=1,
        max_size=12,
    )
)
def test_whatever_is_said_and_proven_believed_power_lies_between_nothing_and_the_highest_level(
    rows: list[tuple[float, float, float, float, UnitState]],
) -> None:
    from tests.support.plans import make_image

    images = [
        make_image(k, power_w=says_w, state=state, proven=proof(power_w, part=part, seconds=seconds))
        for k, (says_w, power_w, part, seconds, state) in enumerate(rows)
    ]
    state = State()
    for found in judged(state, images, 2 * CONFIRM_S).values():
        image = images[int(found.unit[1:])]
        assert 0.0 <= found.believed_w <= max(found.says_w, image.levels[-1].power_w)
        assert math.isfinite(found.believed_w)
    assert len(state.held) <= max(1.0, doubt.COMMON_CAUSE * len(images))
