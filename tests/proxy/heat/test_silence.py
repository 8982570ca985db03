import msgspec
import pytest

from proxy.heat import silence
from proxy.heat.silence import State, UnitSeen

LOOPS = ("A", "B", "C", "D")
EACH_W = 8_000.0
COUNT = 40


def fleet(silent: dict[str, int] | None = None) -> list[UnitSeen]:
    """Ten units a loop, the first ones of each as silent as asked."""
    return [
        UnitSeen(
            id=f"{loop}{k}",
            loop=loop,
            power_w=None if k < (silent or {}).get(loop, 0) else EACH_W,
            told_w=EACH_W,
            in_service=False,
            is_moving=False,
        )
        for loop in LOOPS
        for k in range(COUNT // len(LOOPS))
    ]


def meters(**watts: float) -> dict[str, float]:
    return {loop: watts.get(loop, 10 * EACH_W * 0.95) for loop in LOOPS}


def dark(state: State, units: list[UnitSeen], metered_w: dict[str, float], now_s: float, dt_s: float) -> tuple[bool, ...]:
    return silence.dark(state, units, metered_w, now_s, dt_s)[0]


def settled(metered_w: dict[str, float]) -> State:
    """A fleet that was seen whole: its meters are 5 % below what the units say."""
    state = State()
    dark(state, fleet(), metered_w, 0.0, 20.0)
    return state


def test_a_loop_whose_heat_falls_is_dark_as_soon_as_it_is_silent() -> None:
    state = settled(meters())
    assert sum(dark(state, fleet({"B": 10}), meters(B=0.9 * 10 * EACH_W), 60.0, 20.0)) == 0
    found = dark(state, fleet({"B": 10}), meters(B=0.6 * 10 * EACH_W), 80.0, 20.0)
    assert [unit.loop for unit, is_dark in zip(fleet(), found, strict=True) if is_dark] == ["B"] * 10


def test_a_loop_whose_heat_goes_on_has_only_lost_its_network() -> None:
    state = settled(meters())
    for k in range(100):
        assert not any(dark(state, fleet({"B": 10}), meters(), 60.0 + 20.0 * k, 20.0))


def test_the_meter_may_find_later_that_the_units_run_after_all() -> None:
    state = settled(meters())
    assert sum(dark(state, fleet({"B": 10}), meters(B=20_000.0), 60.0, 20.0)) == 10
    assert sum(dark(state, fleet({"B": 10}), {}, 80.0, 20.0)) == 10
    assert not any(dark(state, fleet({"B": 10}), meters(), 100.0, 20.0))


def test_without_meters_a_silent_loop_is_dark_after_a_while_and_many_loops_are_the_network() -> None:
    alone, many = State(), State()
    for now_s in (0.0, 299.0):
        assert not any(dark(alone, fleet({"B": 10}), {}, now_s, 20.0))
        assert not any(dark(many, fleet(dict.fromkeys(LOOPS, 5)), {}, now_s, 20.0))
    assert sum(dark(alone, fleet({"B": 10}), {}, 300.0, 20.0)) == 10
    assert not any(dark(many, fleet(dict.fromkeys(LOOPS, 5)), {}, 10_000.0, 20.0))


def test_many_units_of_a_site_with_one_loop_are_the_network() -> None:
    state = State()
    units = [unit for unit in fleet({"A": 5}) if unit.loop == "A"]
    dark(state, units, {}, 0.0, 20.0)
    assert not any(dark(state, units, {}, 10_000.0, 20.0))


@pytest.mark.parametrize(("metered_w", "expected"), [(0.95 * 8 * EACH_W, 2), (0.95 * 10 * EACH_W, 0)])
def test_a_few_are_judged_by_the_meter_once_the_water_has_cooled(metered_w: float, expected: int) -> None:
    state = settled(meters())
    few = fleet({"C": 2})
    assert not any(dark(state, few, meters(), 60.0, 20.0))
    assert sum(dark(state, few, meters(C=metered_w), 360.0, 20.0)) == expected


def test_one_unit_of_many_is_below_what_a_meter_can_tell() -> None:
    state = settled(meters())
    one = [*fleet(), *(UnitSeen(f"X{k}", "A", None if k == 0 else EACH_W, EACH_W, False, False) for k in range(5))]
    dark(state, one, meters(A=15 * EACH_W), 60.0, 20.0)
    assert sum(dark(state, one, meters(A=15 * EACH_W), 360.0, 20.0)) == 1


def test_a_unit_that_is_seen_again_is_not_dark() -> None:
    state = settled(meters())
    assert sum(dark(state, fleet({"B": 10}), meters(B=0.0), 60.0, 20.0)) == 10
    assert not any(dark(state, fleet(), meters(B=0.0), 80.0, 20.0))


def test_only_a_share_from_after_its_loop_cooled_shows_that_a_unit_goes_on() -> None:
    def silent(worked_s: float) -> list[UnitSeen]:
        return [msgspec.structs.replace(unit, worked_s=worked_s if unit.power_w is None else None) for unit in fleet({"B": 10})]

    state = settled(meters())
    assert sum(dark(state, fleet({"B": 10}), meters(B=0.85 * 10 * EACH_W), 20.0, 20.0)) == 10
    assert sum(dark(state, silent(19.0), meters(B=0.8 * 10 * EACH_W), 60.0, 20.0)) == 10
    assert not any(dark(state, silent(70.0), meters(B=0.8 * 10 * EACH_W), 80.0, 20.0))


def test_many_that_fall_silent_while_their_loop_cools_are_dark_long_before_their_heat_is_gone() -> None:
    state = settled(meters())
    assert not any(dark(state, fleet({"B": 9}), meters(B=0.95 * 0.95 * 10 * EACH_W), 10.0, 10.0))
    assert sum(dark(state, fleet({"B": 10}), meters(B=0.95 * 0.93 * 10 * EACH_W), 20.0, 10.0)) == 10


def test_a_loop_that_cools_although_nearly_all_answer_is_not_silent() -> None:
    state = settled(meters())
    dark(state, fleet(), meters(B=0.9 * 10 * EACH_W), 20.0, 20.0)
    assert not any(dark(state, fleet({"B": 10}), meters(B=0.89 * 10 * EACH_W), 40.0, 20.0))


def test_cooling_that_stops_shows_that_only_the_network_is_gone() -> None:
    state = settled(meters())
    assert sum(dark(state, fleet({"B": 10}), meters(B=0.93 * 0.95 * 10 * EACH_W), 20.0, 20.0)) == 10
    late_s = silence.FALLING_S + 20.0
    assert not any(dark(state, fleet({"B": 10}), meters(B=0.93 * 0.95 * 10 * EACH_W), late_s, 20.0))


def test_what_a_dead_unit_was_taken_to_draw_since_it_was_seen_is_told_once() -> None:
    state = settled(meters())
    metered_w = meters(B=0.5 * 10 * EACH_W)
    assert silence.dark(state, fleet({"B": 10}), metered_w, 25.0, 20.0)[1] == pytest.approx(10 * EACH_W * 25.0)
    assert silence.dark(state, fleet({"B": 10}), metered_w, 45.0, 20.0)[1] == 0.0
    alone = State()
    silence.dark(alone, fleet(), {}, 0.0, 20.0)
    assert silence.dark(alone, fleet({"C": 1}), {}, 400.0, 20.0)[1] == pytest.approx(EACH_W * silence.LOST_S)


def test_units_whose_shares_go_on_are_not_dark_and_do_not_hide_the_dead_behind_a_common_cause() -> None:
    units = fleet({"A": 10, "B": 5, "C": 2})
    units = [msgspec.structs.replace(unit, worked_s=1e9) if unit.power_w is None and unit.loop != "C" else unit for unit in units]
    state = settled({})
    dark(state, units, {}, 20.0, 20.0)
    found = dark(state, units, {}, 400.0, 20.0)
    assert [unit.id for unit, is_dark in zip(units, found, strict=True) if is_dark] == ["C0", "C1"]
    # Their shares stop: they have been silent for long, so they are dark at once.
    stopped = [msgspec.structs.replace(unit, worked_s=None) if unit.loop == "B" else unit for unit in units]
    assert sum(dark(state, stopped, {}, 420.0, 20.0)) == 7
