import math
from collections.abc import Callable

import msgspec
import pytest

from proxy.heat import observe
from proxy.heat.observe import Policy, State
from proxy.units.unit import LevelFact, UnitImage, UnitState

Make = Callable[..., UnitImage]
POLICY = Policy(correction_tau_s=240.0, max_correction=0.2)


def look(
    state: State,
    images: list[UnitImage],
    now_s: float = 0.0,
    dt_s: float = 20.0,
    loop_power_w: dict[str, float] | None = None,
) -> observe.Snapshot:
    return observe.observe(state, POLICY, images, now_s, dt_s, loop_power_w)


def fleet(image: Make, levels: tuple[LevelFact, ...], factor: float, count: int = 10, **fields: object) -> list[UnitImage]:
    return [image(k, power_w=levels[4].power_w * factor, **fields) for k in range(count)]


def test_the_first_look_takes_the_correction_as_it_is_and_later_ones_filter(image: Make, levels: tuple[LevelFact, ...]) -> None:
    state = State()
    snapshot = look(state, fleet(image, levels, 1.05))
    assert state.correction == pytest.approx(1.05)
    assert snapshot.total_w == pytest.approx(snapshot.measured_w)
    look(state, fleet(image, levels, 1.10), dt_s=240.0)
    assert state.correction == pytest.approx(1.10 - 0.05 / math.e)


def test_the_correction_is_bounded(image: Make, levels: tuple[LevelFact, ...]) -> None:
    state = State()
    look(state, fleet(image, levels, 1.9))
    assert state.correction == pytest.approx(1.2)


def test_units_on_their_way_teach_nothing(image: Make, levels: tuple[LevelFact, ...]) -> None:
    state = State()
    look(state, fleet(image, levels, 1.0))
    moving = fleet(image, levels, 0.6, state=UnitState.RAMPING)
    for k in range(20):
        snapshot = look(state, moving, 20.0 * k)
    assert state.correction == 1.0
    assert snapshot.ratio is None
    assert snapshot.total_w == pytest.approx(10 * levels[4].power_w)  # where they will be
    assert sum(snapshot.drawn_w) == pytest.approx(6 * levels[4].power_w)  # where they are


def test_a_few_settled_units_do_not_speak_for_the_fleet(image: Make, levels: tuple[LevelFact, ...]) -> None:
    state = State()
    look(state, [*fleet(image, levels, 1.2, 2), *fleet(image, levels, 0.5, 8, state=UnitState.RAMPING)])
    assert state.correction is None


@pytest.mark.parametrize("lie", [math.nan, -5.0, 1e6])
def test_an_absurd_reading_is_no_reading(image: Make, levels: tuple[LevelFact, ...], lie: float) -> None:
    snapshot = look(State(), [image(0, power_w=lie), image(1)])
    assert snapshot.measured_w == pytest.approx(levels[4].power_w)


def test_an_unseen_unit_counts_by_its_level_and_then_not_at_all(image: Make, levels: tuple[LevelFact, ...]) -> None:
    state = State()
    images = fleet(image, levels, 1.0)
    images[0] = image(0, power_w=None, level_observed=None, state=UnitState.OFFLINE)
    assert look(state, images, 0.0).total_w == pytest.approx(10 * levels[4].power_w)
    assert look(state, images, 299.0).dark == (False,) * 10
    after = look(state, images, 300.0)
    assert after.dark[0]
    assert after.total_w == pytest.approx(9 * levels[4].power_w)


def test_when_many_vanish_at_once_the_network_did_and_they_are_not_replaced(image: Make, levels: tuple[LevelFact, ...]) -> None:
    state = State()
    silent = [image(k, power_w=None, level_observed=None, state=UnitState.OFFLINE) for k in range(5)]
    images = [*silent, *(image(5 + k) for k in range(5))]
    look(state, images, 0.0)
    after = look(state, images, 10_000.0)
    assert not any(after.dark)
    assert after.total_w == pytest.approx(10 * levels[4].power_w)
    assert after.measured_w == pytest.approx(5 * levels[4].power_w)  # only what is really measured is reported


def test_units_that_do_not_answer_while_their_loop_cools_count_no_more_although_their_readings_are_fresh(
    image: Make, levels: tuple[LevelFact, ...]
) -> None:
    state = State()
    images = fleet(image, levels, 1.0)
    loop_w = 10 * levels[4].power_w
    look(state, images, 0.0, 20.0, {images[0].loop: loop_w})
    silent = [msgspec.structs.replace(each, answers=False) for each in images]
    assert look(state, silent, 20.0, 20.0, {images[0].loop: 0.99 * loop_w}).total_w == pytest.approx(loop_w)
    after = look(state, silent, 40.0, 20.0, {images[0].loop: 0.9 * loop_w})
    assert all(after.dark)
    assert (after.total_w, sum(after.drawn_w), after.measured_w) == (0.0, 0.0, None)
    assert after.lost_j == pytest.approx(loop_w * 40.0)


def test_a_unit_in_service_without_a_reading_is_dark_at_once(image: Make) -> None:
    assert look(State(), [image(0, state=UnitState.SERVICE, power_w=None), image(1)]).dark == (True, False)


def test_a_unit_that_cannot_follow_counts_with_what_it_draws(image: Make) -> None:
    states = (UnitState.FAULT, UnitState.IDLE, UnitState.CALIBRATING, UnitState.SERVICE)
    images = [image(k, state=state, power_w=300.0) for k, state in enumerate(states)]
    assert look(State(), images).expected_w == (300.0,) * 4
