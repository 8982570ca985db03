"""Loops while the site runs: what is measured comes first, and what must come down further is told once."""

from collections.abc import Callable

import pytest

from proxy.heat import observe
from proxy.heat.alarms import Alarms
from proxy.heat.interlocks import LoopFacts
from proxy.heat.loop_watch import LoopWatch
from proxy.heat.meters.bank import MeterBank
from proxy.units.unit import UnitImage

NOW = 1_768_435_200.0
FACTS = {"a": LoopFacts("a", None, shed_supply_c=85.0, trip_supply_c=90.0)}
Make = Callable[..., UnitImage]


def watch() -> tuple[LoopWatch, MeterBank, Alarms]:
    bank = MeterBank((), {"a": 1e6}, 1e6, 60.0)
    return LoopWatch(FACTS, {"a": None}, bank), bank, Alarms()


def hot(image: Make, *outlets_c: float) -> tuple[list[UnitImage], observe.Snapshot]:
    images = [image(k, loop="a", outlet_c=outlet_c) for k, outlet_c in enumerate(outlets_c)]
    return images, observe.observe(observe.State(), observe.Policy(240.0, 0.2), images, 0.0, 0.0)


def test_without_a_meter_the_middle_one_of_the_machines_tells_how_hot_the_water_is(image: Make) -> None:
    loops, _, alarms = watch()
    loops.note(*hot(image, 60.0, 95.0, 61.0))
    assert not loops.judge(alarms, 0.0, NOW)
    loops.note(*hot(image, 60.0, 95.0, 96.0))
    assert loops.judge(alarms, 1.0, NOW)
    assert loops.verdicts["a"].cap_w == 0.0
    assert loops.holding() == loops.verdicts["a"].reason


def test_what_holds_already_is_no_news(image: Make) -> None:
    loops, _, alarms = watch()
    loops.note(*hot(image, 95.0))
    assert loops.judge(alarms, 0.0, NOW)
    assert not loops.judge(alarms, 1.0, NOW)


def test_machines_without_an_outlet_leave_the_water_unknown_and_the_loop_free(image: Make) -> None:
    loops, _, alarms = watch()
    loops.note(*hot(image, float("nan"), float("inf")))
    assert not loops.judge(alarms, 0.0, NOW)
    assert loops.holding() is None
    view = loops.views(NOW)[0]
    assert (view.name, view.supply_c) == ("a", None)


def test_power_is_added_up_by_loop(image: Make) -> None:
    loops, _, _ = watch()
    images, snapshot = hot(image, 60.0, 61.0)
    loops.note(images, snapshot)
    assert loops.drawn_w == {"a": pytest.approx(sum(snapshot.drawn_w))}
