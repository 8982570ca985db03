import pytest

from proxy.heat import arbitrate
from proxy.heat.arbitrate import LADDER, Docket, Policy, Ruling, Rung, Step, advance, rule
from proxy.heat.demand import HeatDemand

NOW = 1_768_435_200.0
POLICY = Policy(hold_after_s=120, fallback_after_s=300, limit_after_s=1800, fallback_power_w=600_000, limit_power_w=100_000)


def demand(sequence: int = 1, power_w: float = 1e6, start: float = 0.0, length: float = 900.0, **fields: object) -> HeatDemand:
    values: dict[str, object] = {"source": "dh", "epoch": 0, "sequence": sequence, "issued_unix_s": NOW, "power_w": power_w}
    values |= {"valid_from_unix_s": NOW + start, "valid_until_unix_s": NOW + start + length}
    return HeatDemand(**(values | fields))  # type: ignore[arg-type]  # keywords of the record


def docket(*demands: HeatDemand) -> Docket:
    made = Docket()
    for one in demands:
        assert arbitrate.admit(made, one, NOW)
    return made


def at(made: Docket, after_s: float, policy: Policy = POLICY, stop: str | None = None) -> Ruling:
    return rule(made, policy, NOW + after_s, stop)


@pytest.mark.parametrize("rung", Rung)
@pytest.mark.parametrize("step", Step)
def test_the_ladder_is_total_and_only_proof_or_clearing_leads_up(rung: Rung, step: Step) -> None:
    order = list(Rung)
    after = advance(rung, step)
    assert LADDER[rung][step] is after
    if order.index(after) < order.index(rung):
        assert (step, after) in {(Step.PROVEN, Rung.LIVE), (Step.CLEARED, Rung.LIMIT)}
    if step is Step.TRIPPED:
        assert after is Rung.STOP
    if rung is Rung.STOP and step is not Step.CLEARED:
        assert after is Rung.STOP


def test_a_plant_that_was_never_asked_keeps_its_units_and_does_not_age() -> None:
    ruling = at(Docket(), 1e6)
    assert (ruling.rung, ruling.heat_w, ruling.power_w, ruling.stale_s) == (Rung.HOLD, None, None, None)


def test_a_demand_rules_at_once_and_steps_down_the_ladder_when_it_is_not_renewed() -> None:
    made = docket(demand())
    expected = [
        (0, Rung.LIVE, 1e6, None),
        (899, Rung.LIVE, 1e6, None),
        (900, Rung.LIVE, 1e6, None),  # expired just now: a renewal may be late
        (1019, Rung.LIVE, 1e6, None),
        (1020, Rung.HOLD, 1e6, None),
        (1199, Rung.HOLD, 1e6, None),
        (1200, Rung.FALLBACK, None, 600_000),
        (2699, Rung.FALLBACK, None, 600_000),
        (2700, Rung.LIMIT, None, 100_000),
        (1e6, Rung.LIMIT, None, 100_000),
    ]
    for after_s, rung, heat_w, power_w in expected:
        ruling = at(made, after_s)
        assert (ruling.rung, ruling.heat_w, ruling.power_w) == (rung, heat_w, power_w), after_s


def test_a_long_silence_falls_straight_to_where_it_belongs() -> None:
    made = docket(demand())
    at(made, 0)
    assert at(made, 5000).rung is Rung.LIMIT


def test_without_a_fallback_power_what_was_held_goes_on() -> None:
    plain = Policy(hold_after_s=120, fallback_after_s=300, limit_after_s=1800, fallback_power_w=None, limit_power_w=0)
    made = docket(demand())
    at(made, 0, plain)
    ruling = at(made, 1300, plain)
    assert (ruling.rung, ruling.heat_w, ruling.power_w) == (Rung.FALLBACK, 1e6, None)


def test_from_hold_one_fresh_cycle_leads_back_and_from_below_three() -> None:
    made = docket(demand())
    at(made, 0)
    assert at(made, 1100).rung is Rung.HOLD
    arbitrate.admit(made, demand(2, start=1110, length=100), NOW + 1110)
    assert at(made, 1110).rung is Rung.LIVE
    assert at(made, 1600).rung is Rung.FALLBACK
    arbitrate.admit(made, demand(3, 2e6, start=1610), NOW + 1610)
    assert [at(made, after_s).rung for after_s in (1610, 1630, 1650)] == [Rung.FALLBACK, Rung.FALLBACK, Rung.LIVE]
    assert at(made, 1670).heat_w == 2e6


def test_good_cycles_must_be_in_a_row() -> None:
    made = docket(demand(1, length=10))
    at(made, 0)
    at(made, 400)
    for k, after_s in enumerate((400.0, 500.0, 600.0)):
        arbitrate.admit(made, demand(2 + k, start=after_s, length=30), NOW + after_s)
        assert at(made, after_s).rung is Rung.FALLBACK
        assert at(made, after_s + 20).rung is Rung.FALLBACK
        assert at(made, after_s + 40).rung is Rung.FALLBACK


def test_a_demand_for_later_waits_and_is_announced() -> None:
    made = docket(demand(1, 1e6, length=3600), demand(2, 5e5, start=900))
    ruling = at(made, 0)
    assert ruling.heat_w == 1e6
    assert ruling.following is not None
    assert ruling.following.sequence == 2
    assert at(made, 900).heat_w == 5e5
    assert at(made, 1800).heat_w == 1e6  # its window ended; the longer one still holds


def test_between_two_windows_the_last_one_is_held() -> None:
    made = docket(demand(1, 1e6, length=100), demand(2, 5e5, start=200))
    at(made, 0)
    assert at(made, 150).heat_w == 1e6
    assert at(made, 200).heat_w == 5e5


def test_where_windows_overlap_the_one_sent_last_rules() -> None:
    made = docket(demand(1, 1e6), demand(2, 7e5))
    assert at(made, 1).heat_w == 7e5


def test_a_new_epoch_clears_the_old_plan() -> None:
    made = docket(demand(1, start=900), demand(2, start=1800))
    assert arbitrate.admit(made, demand(0, 5e5, epoch=1), NOW)
    assert [d.epoch for d in made.waiting] == [1]


def test_a_demand_that_was_taken_back_ages_from_then_on_whatever_it_had_left() -> None:
    made = docket(demand(1, length=7_200))
    at(made, 10)
    assert arbitrate.admit(made, demand(2, length=12, epoch=1), NOW + 11)
    ruling = at(made, 20)  # no cycle saw the demand that took its place
    assert (ruling.rung, ruling.stale_s) == (Rung.LIVE, 10)
    assert (at(made, 129).rung, at(made, 130).rung) == (Rung.LIVE, Rung.HOLD)


def test_the_docket_is_bounded() -> None:
    made = docket(*(demand(k, start=k) for k in range(arbitrate.MAX_WAITING)))
    assert not arbitrate.admit(made, demand(1000), NOW)
    assert arbitrate.admit(made, demand(1000, start=5000), NOW + 1000)


def test_a_stop_wins_over_everything_and_is_left_only_by_proof() -> None:
    made = docket(demand(length=86_000))
    at(made, 0)
    ruling = at(made, 20, stop="operator")
    assert (ruling.rung, ruling.power_w, ruling.heat_w, ruling.cause) == (Rung.STOP, 0.0, None, "operator")
    assert at(made, 40, stop="operator").rung is Rung.STOP
    assert [at(made, after_s).rung for after_s in (60, 80, 100, 120)] == [Rung.LIMIT, Rung.LIMIT, Rung.LIMIT, Rung.LIVE]


def test_after_a_restart_a_valid_demand_rules_on_and_an_old_one_has_its_age() -> None:
    made = Docket()
    arbitrate.restore(made, [demand(5, length=900)], NOW + 300)
    assert at(made, 300).rung is Rung.LIVE
    aged = Docket()
    arbitrate.restore(aged, [demand(5, length=900)], NOW + 2000)
    ruling = at(aged, 2000)
    assert (ruling.rung, ruling.stale_s) == (Rung.FALLBACK, 1100)


def test_a_wall_clock_that_steps_back_ages_nothing() -> None:
    made = docket(demand(start=0))
    at(made, 0)
    assert at(made, -50).rung is Rung.LIVE
    assert at(made, -50).stale_s == 0.0
