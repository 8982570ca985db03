import numpy as np
import pytest

from proxy.heat.repair import Candidates, close_gap


def candidates(steps: list[tuple[int, float]], room: int = 9, reach: tuple[float, float] = (0.0, 1e9)) -> Candidates:
    return Candidates(
        unit=np.array([unit for unit, _ in steps], np.int64),
        delta_w=np.array([delta for _, delta in steps], np.float64),
        loss=np.zeros(len(steps)),
        room=np.full(len(steps), room, np.int64),
        reach_w=reach,
    )


def test_no_move_is_an_answer() -> None:
    assert close_gap(candidates([(0, 500.0)]), 10.0, 20.0) == ((), 10.0)
    assert close_gap(candidates([]), 10.0, 0.0) == ((), 10.0)


def test_one_move_is_preferred_where_it_is_near_enough() -> None:
    moves, error_w = close_gap(candidates([(0, 90.0), (1, 60.0), (2, 40.0)]), 100.0, 15.0)
    assert moves == (0,)
    assert error_w == 10.0


def test_two_moves_are_of_two_units() -> None:
    moves, error_w = close_gap(candidates([(0, 60.0), (0, 40.0), (1, 41.0)]), 100.0, 0.0)
    assert set(moves) == {0, 2}
    assert error_w == pytest.approx(1.0)


def test_four_moves_of_equal_units_reach_what_two_cannot() -> None:
    steps = [(k, delta) for k in range(8) for delta in (150.0, -150.0, 530.0)]
    moves, error_w = close_gap(candidates(steps), 80.0, 1.0)
    assert error_w == pytest.approx(0.0)
    assert len({steps[m][0] for m in moves}) == 4


def test_what_has_no_room_beside_others_moves_alone_or_not_at_all() -> None:
    steps = [(0, 60.0), (1, 40.0)]
    assert close_gap(candidates(steps, room=1), 100.0, 0.0)[1] == 40.0
    assert close_gap(candidates(steps, room=0), 100.0, 0.0) == ((), 100.0)


def test_nothing_beyond_the_reach_is_chosen() -> None:
    assert close_gap(candidates([(0, 60.0)], reach=(0.0, 50.0)), 55.0, 0.0) == ((), 55.0)
