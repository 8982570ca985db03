"""What people are told of the loops and of the demands ahead."""

from proxy import config
from proxy.heat import arbitrate, interlocks, reporting
from proxy.heat.demand import HeatDemand, MeterReading
from proxy.heat.interlocks import LoopFacts, LoopMemory, LoopState, LoopVerdict
from proxy.heat.meters.bank import MeterBank

NOW = 1_768_435_200.0


def seen(**facts: object) -> reporting.LoopsSeen:
    bank = MeterBank([], ["a", "b"], 2e6, 60.0)
    known: dict[str, object] = {
        "facts": {name: LoopFacts(name, 100.0 if name == "a" else None, 88.0, 92.0) for name in ("a", "b")},
        "caps_w": {"a": 5e5, "b": None},
        "memory": {},
        "verdicts": {"a": interlocks.FREE, "b": interlocks.FREE},
        "drawn_w": {},
        "outlets_c": {},
        "bank": bank,
    }
    return reporting.LoopsSeen(**{**known, **facts})  # type: ignore[arg-type]


def test_before_the_first_cycle_nothing_is_known_of_a_loop_but_its_limits() -> None:
    a, b = reporting.loops_of(seen(), NOW)
    assert (a.name, a.state, a.cap_w, a.shed_supply_c, a.design_flow_l_per_min) == ("a", "running", 5e5, 88.0, 100.0)
    assert (a.drawn_w, a.heat_w, a.supply_c, a.supply_from, a.return_c, a.flow_l_per_min) == (None,) * 6
    assert (b.cap_w, b.design_flow_l_per_min) == (None, None)


def test_a_held_loop_shows_the_lower_cap_why_and_whether_it_is_locked() -> None:
    verdicts = {"a": LoopVerdict(0.0, False, "loop a: water too hot"), "b": interlocks.FREE}
    memory = {"a": LoopMemory(state=LoopState.TRIPPED, is_locked=True), "b": LoopMemory()}
    a, b = reporting.loops_of(seen(verdicts=verdicts, memory=memory, drawn_w={"a": 900.0, "b": 4e5}), NOW)
    assert (a.state, a.cap_w, a.may_wake, a.reason, a.is_locked) == ("tripped", 0.0, False, "loop a: water too hot", True)
    assert (b.state, b.may_wake, b.drawn_w, b.is_locked) == ("running", True, 4e5, False)


def test_water_of_a_loop_without_a_meter_is_that_of_its_machines_and_says_so() -> None:
    bank = MeterBank([config.Meter(name="heat-a", place="a", address="127.0.0.1:502")], ["a", "b"], 2e6, 60.0)
    bank.take("heat-a", MeterReading(NOW, 2e5, 75.0, 45.0, 1.6), NOW)
    known = seen(bank=bank, outlets_c={"a": 70.0, "b": 71.0})
    a, b = reporting.loops_of(known, NOW + 1)
    assert (a.supply_c, a.supply_from, a.return_c) == (75.0, "meter", 45.0)
    assert (b.supply_c, b.supply_from, b.return_c) == (71.0, "machines", None)


def test_demands_that_wait_are_told_next_first_without_the_one_that_rules() -> None:
    def demand(k: int) -> HeatDemand:
        return HeatDemand("utility", 0, k, NOW, NOW + 900 * k, NOW + 900 * (k + 1), 1e6 + k)

    docket = arbitrate.Docket(waiting=[demand(2), demand(0), demand(1)])
    assert [(block.start_unix_s, block.power_w) for block in reporting.ahead_of(docket, NOW)] == [
        (NOW + 900, 1e6 + 1),
        (NOW + 1_800, 1e6 + 2),
    ]
