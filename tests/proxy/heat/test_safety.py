import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.heat.safety import Caps, Ceiling, Memory, ceilings, limit
from proxy.units.unit import LevelFact, UnitImage, UnitState

Make = Callable[..., UnitImage]
NO_CAPS = Caps({}, None, "site cap")


def rows(images: list[UnitImage]) -> list[list[float]]:
    return [[fact.power_w for fact in image.levels] for image in images]


def verdict(
    images: list[UnitImage], wanted: list[int], caps: Caps = NO_CAPS, memory: Memory | None = None, now_s: float = 0.0
) -> object:
    memory = memory or Memory()
    tops = ceilings(memory, images, [image.level_commanded for image in images], now_s)
    return limit(wanted, images, tops, caps, rows(images))


powers = st.floats(0, 1e5)
temperatures = st.none() | st.floats(allow_nan=True, allow_infinity=True) | st.floats(60, 110)


@st.composite
def units(draw: st.DrawFn) -> UnitImage:
    levels = tuple(LevelFact(power_w, 0.0) for power_w in draw(st.lists(powers, min_size=1, max_size=5)))
    level = draw(st.none() | st.integers(0, len(levels) - 1))
    return UnitImage(
        id=f"u{draw(st.integers(0, 10**6))}",
        loop=draw(st.sampled_from("ab")),
        model="m",
        state=draw(st.sampled_from(UnitState)),
        levels=levels,
        level_commanded=level,
        level_observed=draw(st.none() | st.integers(0, len(levels) - 1)),
        power_w=draw(st.none() | powers),
        hashrate_reported_hps=None,
        inlet_c=draw(temperatures),
        outlet_c=draw(temperatures),
        chip_c=draw(temperatures),
        changed_at_s=None,
        may_command=draw(st.booleans()),
        earliest_change_s=0.0,
        starts_today=draw(st.integers(0, 6)),
        max_starts_per_day=4,
        max_outlet_c=85.0,
        max_chip_c=95.0,
        fault=None,
    )


cap = st.none() | st.floats(0, 2e5)


@given(
    st.lists(units(), max_size=8, unique_by=lambda image: image.id),
    st.data(),
    st.lists(st.floats(0, 1e4), min_size=1, max_size=4),
)
def test_safety_only_ever_lowers_power_for_any_input(images: list[UnitImage], data: st.DataObject, times: list[float]) -> None:
    memory = Memory()
    for now_s in sorted(times):
        wanted = [data.draw(st.integers(-2, 7)) for _ in images]
        caps = Caps({"a": data.draw(st.floats(0, 2e5))}, data.draw(cap), "site cap")
        tops = ceilings(memory, images, [image.level_commanded for image in images], now_s)
        out = limit(wanted, images, tops, caps, rows(images))
        for image, asked, level in zip(images, wanted, out.levels, strict=True):
            inside = min(max(asked, 0), len(image.levels) - 1)
            assert 0 <= level < len(image.levels)
            assert image.levels[level].power_w <= image.levels[inside].power_w
            assert (level != inside) == (image.id in out.reasons)


def test_a_unit_at_its_limit_comes_down_one_level_a_minute_and_far_above_goes_to_sleep(image: Make) -> None:
    memory = Memory()
    hot = image(outlet_c=86.0)
    assert [c.level for c in ceilings(memory, [hot], [4], 0.0)] == [3]
    assert [c.level for c in ceilings(memory, [hot], [3], 20.0)] == [3]
    assert [c.level for c in ceilings(memory, [hot], [3], 60.0)] == [2]
    assert [c.level for c in ceilings(memory, [image(chip_c=100.0)], [2], 80.0)] == [0]


def test_a_unit_that_cooled_gets_its_levels_back_slowly(image: Make) -> None:
    memory = Memory()
    ceilings(memory, [image(outlet_c=90.0)], [4], 0.0)
    assert ceilings(memory, [image(outlet_c=82.0)], [0], 600.0)[0].level == 0  # not cool enough yet
    assert ceilings(memory, [image(outlet_c=70.0)], [0], 700.0)[0].level == 0
    steps = [ceilings(memory, [image(outlet_c=70.0)], [0], 600.0 + 300.0 * k)[0].level for k in range(1, 6)]
    assert steps == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("nothing", [None, math.nan])
def test_a_running_unit_whose_outlet_is_lost_goes_to_its_lowest_level(image: Make, nothing: float | None) -> None:
    memory = Memory()
    seen, lost = image(0), image(1, outlet_c=nothing)
    assert [c.level for c in ceilings(memory, [seen, lost], [4, 4], 0.0)] == [5, 5]
    assert [c.level for c in ceilings(memory, [seen, lost], [4, 4], 299.0)] == [5, 5]
    top = ceilings(memory, [seen, lost], [4, 4], 300.0)[1]
    assert (top.level, top.reason) == (1, "outlet temperature unknown")
    assert ceilings(memory, [seen, image(1)], [4, 1], 320.0)[1].level == 5


def test_a_model_that_never_told_an_outlet_is_not_held_down_for_it(image: Make) -> None:
    memory = Memory()
    for now_s in (0.0, 1e6):
        assert ceilings(memory, [image(outlet_c=None, chip_c=None)], [4], now_s)[0] == Ceiling(5, None)


def test_an_unknown_temperature_keeps_what_held_the_unit_down(image: Make) -> None:
    memory = Memory()
    ceilings(memory, [image(outlet_c=90.0)], [4], 0.0)
    assert ceilings(memory, [image(outlet_c=None, chip_c=None)], [0], 10_000.0)[0].level == 0


def test_a_sleeping_unit_without_starts_left_stays_asleep_and_a_running_one_runs(image: Make) -> None:
    images = [image(0, starts_today=4, level_commanded=0), image(1, starts_today=4)]
    assert [c.level for c in ceilings(Memory(), images, [0, 4], 0.0)] == [0, 5]


def test_a_loop_and_the_site_come_under_their_caps_highest_levels_first(image: Make) -> None:
    images = [image(k, loop="ab"[k % 2]) for k in range(4)]
    out = limit([5, 4, 1, 4], images, [Ceiling(5, None)] * 4, Caps({"a": 12_000.0}, None, "x"), rows(images))
    assert out.levels == (3, 4, 1, 4)
    assert out.reasons == {"u0": "loop a cap"}
    out = limit([5, 4, 1, 4], images, [Ceiling(5, None)] * 4, Caps({}, 20_000.0, "manual limit"), rows(images))
    assert sum(images[0].levels[k].power_w for k in out.levels) <= 20_000
    assert set(out.reasons.values()) == {"manual limit"}


def test_a_limit_of_nothing_puts_everything_to_sleep_but_what_cannot_be_commanded(image: Make) -> None:
    images = [image(0), image(1, may_command=False), image(2)]
    out = limit([5, 4, 3], images, [Ceiling(5, None)] * 3, Caps({}, 0.0, "manual limit"), rows(images))
    assert out.levels == (0, 4, 0)
