"""Proof of heat: what shares prove, how surely, and who is named when the stories differ."""

import math
import random

import pytest

from proxy import config
from proxy.heat import proof
from proxy.heat.proof import Evidence
from proxy.ledger.records import UnitWork
from proxy.work.evidence import Counted

TH = 1e12
MODEL = config.Model(
    sleep_power_w=48.0,
    levels=[
        config.Level(name="eco", power_w=5_645.0, hashrate_hps=367 * TH),
        config.Level(name="full", power_w=8_064.0, hashrate_hps=480 * TH),
    ],
)
CURVE = proof.curve_of(MODEL)


def test_power_follows_the_levels_of_the_model():
    assert CURVE.power_w(0.0) == 48.0
    assert CURVE.power_w(480 * TH) == 8_064.0
    assert math.isclose(CURVE.power_w((367 + 480) / 2 * TH), (5_645 + 8_064) / 2)


def test_a_unit_above_its_highest_level_costs_as_many_joules_a_hash_as_there():
    assert math.isclose(CURVE.power_w(528 * TH), 8_064 * 1.1)


def test_twenty_shares_a_minute_prove_a_unit_within_a_fifth_and_a_fleet_within_a_hundredth():
    one = proof.work_energy({"u": CURVE}, {}, [UnitWork("u", "p", 20, 480 * TH * 60)], 60.0)
    assert one.wh == pytest.approx(8_064 / 60)
    assert one.sigma_wh / one.wh == pytest.approx(0.29, abs=0.02)  # above full power, a hash costs more than the mean one
    units = {f"u{k}": CURVE for k in range(920)}
    fleet = proof.work_energy(units, {}, [UnitWork(unit, "p", 20, 480 * TH * 60) for unit in units], 60.0)
    assert fleet.sigma_wh / fleet.wh == pytest.approx(one.sigma_wh / one.wh / math.sqrt(920))
    assert fleet.sigma_wh / fleet.wh < 0.01


def test_the_interval_holds_in_nineteen_of_twenty_periods():
    rng = random.Random(1)
    mean_work = 480 * TH * 900 / 300
    inside = 0
    for _ in range(2_000):
        shares = sum(1 for _ in range(600) if rng.random() < 0.5)  # variance half of Poisson's: the interval must be safe
        energy = proof.work_energy({"u": CURVE}, {}, [UnitWork("u", "p", shares, shares * mean_work)], 900.0)
        inside += abs(energy.wh - 8_064 / 4) <= proof.Z * energy.sigma_wh
    assert inside >= 0.95 * 2_000


def test_units_without_work_count_as_asleep_and_strangers_do_not_count():
    energy = proof.work_energy({"a": CURVE, "b": CURVE}, {}, [UnitWork("guest", "p", 100, 1e18)], 3_600.0)
    assert (energy.wh, energy.sigma_wh) == (96.0, 0.0)
    assert proof.work_energy({}, {}, [], 900.0) is None


def test_no_share_proves_nothing_about_a_unit():
    power = proof.share_power(CURVE, 1.0, 0.0, 0.0, is_learned=False)
    assert (power.low_w, power.high_w) == (0.0, 8_064.0)


def test_more_shares_make_the_interval_narrower_down_to_what_the_model_is_worth():
    widths = [
        (p := proof.share_power(CURVE, 1.0, 480 * TH, n, is_learned=False)).high_w - p.low_w for n in (10, 100, 1_000, 1_000_000)
    ]
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] == pytest.approx(2 * proof.Z * proof.MODEL_SIGMA * 8_064, rel=0.01)


def test_a_fading_estimate_is_worth_two_time_constants_of_shares():
    assert proof.effective_shares(0.1, 300.0, 1e6) == pytest.approx(60.0)
    assert proof.effective_shares(0.1, 300.0, 30.0) == pytest.approx(3.0, rel=0.01)


def test_a_unit_that_draws_more_than_its_model_is_learnt_slowly_and_within_bounds():
    known = proof.Learned()
    hashes = 480 * TH * 900
    for _ in range(96):
        proof.learn(known, CURVE, 8_064 * 1.05 / 4, hashes, 300, 900.0)
    assert known.factor == pytest.approx(1.05, abs=0.001)
    assert known.is_settled
    proof.learn(known, CURVE, 8_064 * 3 / 4, hashes, 300, 900.0)  # one lie
    assert known.factor < 1.075
    for _ in range(1_000):
        proof.learn(known, CURVE, 8_064 * 3 / 4, hashes, 300, 900.0)
    assert known.factor == proof.MOST_FACTOR
    before = known.factor
    proof.learn(known, CURVE, math.nan, hashes, 300, 900.0)
    proof.learn(known, CURVE, 0.0, 0.0, 0, 900.0)
    assert known.factor == before


def evidence(work=1_000.0, electric=1_000.0, reported=1_000.0, heat=950.0, stored=0.0, sigma=0.003):
    scale = 1_000.0
    facts = [None if value is None else value * scale for value in (work, electric, reported, heat)]
    return Evidence(facts[0], sigma, False, facts[1], facts[2], facts[3], stored * scale)


def judge(**facts):
    return proof.judge(evidence(**facts), 0.95, 0.10, 1_000.0)


def test_a_plant_that_tells_one_story_agrees():
    judgement = judge(work=1_020.0, heat=930.0)
    assert judgement.agrees is True
    assert judgement.cause is None
    assert judgement.worst is not None


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"heat": 600.0}, "units hash without heating: heat leaves before the meter"),
        ({"heat": 1_400.0}, "the heat meter reads too much"),
        ({"reported": 700.0}, "telemetry lies: it claims less"),
        ({"reported": 1_400.0}, "telemetry lies: it claims more"),
        ({"electric": 1_400.0}, "an unmetered load"),
        ({"electric": 600.0}, "the electricity meter reads too little"),
        ({"work": 600.0}, "power without valid work"),
        ({"work": 1_500.0}, "units hash without heating: more work than"),
    ],
)
def test_who_stands_alone_is_named_with_its_likely_cause(facts, words):
    judgement = judge(**facts)
    assert judgement.agrees is False
    assert judgement.cause.startswith(words) or words in judgement.cause
    assert "one of these two" not in judgement.cause
    assert "kWh" in judgement.cause


def test_with_two_witnesses_both_are_suspected():
    judgement = judge(electric=None, reported=None, heat=500.0)
    assert judgement.agrees is False
    assert "one of these two" in judgement.cause
    assert "more work" in judgement.cause
    assert "heat leaves" in judgement.cause


def test_a_difference_that_the_shares_can_explain_is_no_alarm():
    """A handful of shares: 20 % off is luck."""
    assert judge(work=1_200.0, electric=1_000.0, reported=None, heat=None, sigma=0.3).agrees is True
    assert judge(work=1_200.0, electric=1_000.0, reported=None, heat=None, sigma=0.001).agrees is False


def test_heat_under_way_in_the_water_is_no_alarm():
    assert judge(heat=700.0).agrees is False
    assert judge(heat=700.0, stored=260.0).agrees is True


def test_a_sleeping_plant_and_a_lone_witness_are_not_judged():
    assert judge(work=0.5, electric=0.9, reported=0.7, heat=0.0).agrees is None
    assert judge(electric=None, reported=None, heat=None).agrees is None


def test_power_from_counted_shares_has_counting_and_the_model_in_its_interval() -> None:
    counted = Counted(480 * TH, 400 * TH, 570 * TH, 120.0, 1_200.0, 4.0)
    found = proof.proven_power(CURVE, 1.0, counted, is_learned=False)
    assert found.power_w == pytest.approx(CURVE.power_w(480 * TH))
    assert found.low_w < CURVE.power_w(400 * TH)
    assert found.high_w > CURVE.power_w(570 * TH)
    assert (found.shares, found.seconds, found.quiet_s, found.interval_s) == (120.0, 1_200.0, 4.0, 10.0)
    nothing = proof.proven_power(CURVE, 1.0, Counted(0.0, 0.0, 10 * TH, 0.0, 600.0, 600.0), is_learned=False)
    assert (nothing.power_w, nothing.interval_s) == (CURVE.points[0][1], None)
    assert nothing.high_w >= CURVE.power_w(10 * TH)


def test_many_units_together_are_known_as_well_as_their_model() -> None:
    each = proof.proven_power(CURVE, 1.0, Counted(480 * TH, 400 * TH, 570 * TH, 120.0, 1_200.0, 4.0), is_learned=False)
    spans = [(p.high_w - p.low_w) / 2 / p.power_w for p in (proof.together([each] * n) for n in (1, 10, 1_000))]
    assert spans == sorted(spans, reverse=True)
    assert spans[0] == pytest.approx((each.high_w - each.low_w) / 2 / each.power_w, rel=0.01)
    assert spans[-1] == pytest.approx(proof.Z * proof.MODEL_SIGMA, rel=0.05)
    assert proof.together([]).power_w == 0.0
