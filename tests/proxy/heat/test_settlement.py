"""Settlement periods from minutes, demands and work: sums, days of 23 and 25 hours, counters, revisions."""

import datetime
import math
from zoneinfo import ZoneInfo

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from proxy.heat import settlement
from proxy.heat.proof import Curve
from proxy.heat.settlement import Place, Plan
from proxy.ledger.records import DemandRecord, MeteringRecord, UnitWork

START = 1_768_435_200  # a quarter hour begins
CURVE = Curve(((0.0, 50.0), (100e12, 2_000.0)))
UNITS = {"a1": CURVE, "a2": CURVE, "b1": CURVE}
PLAN = Plan(
    900,
    Place("site", 6_000.0, UNITS),
    (Place("a", 4_000.0, {"a1": CURVE, "a2": CURVE}), Place("b", 2_000.0, {"b1": CURVE})),
)


def minute(k, scope="site", **facts):
    fields = {
        "scope": scope,
        "start_unix_s": START + 60.0 * k,
        "end_unix_s": START + 60.0 * (k + 1),
        "heat_wh": None,
        "heat_quality": "missing",
        "heat_meter": None,
        "heat_register_wh": None,
        "heat_register_unix_s": None,
        "electric_wh": None,
        "electric_quality": "missing",
        "electric_meter": None,
        "electric_register_wh": None,
        "electric_register_unix_s": None,
        "reported_wh": None,
        "held_wh": None,
        "supply_asked_s": 0.0,
        "supply_kept_s": 0.0,
        "available_s": 60.0,
    }
    return MeteringRecord(**{**fields, **facts})


def register(k, wh, scope="site", meter="boundary", **facts):
    return minute(k, scope, heat_meter=meter, heat_register_wh=float(wh), heat_register_unix_s=START + 60.0 * (k + 1), **facts)


def demand(start_s, end_s, power_w, *, epoch=0, sequence=0, issued_s=0.0, source="utility", accepted=True):
    return DemandRecord(source, epoch, sequence, START + issued_s, START + start_s, START + end_s, power_w, accepted)


def close(metering, start=START, demands=(), work=(), plan=PLAN, **factors):
    rows = sorted(metering, key=lambda row: row.end_unix_s)
    records = settlement.close(plan, settlement.lines_of(plan, rows), demands, list(work), factors, start, start + 1_020.0)
    return {record.scope: record for record in records}


def test_heat_is_the_difference_of_the_counter_at_both_ends_of_the_period():
    site = close([register(k, 1_000_000 + 50 * k) for k in range(-2, 17)])["site"]
    assert math.isclose(site.heat_wh, 15 * 50)
    assert (site.heat_quality, site.heat_missing_s) == ("measured", 0.0)


def test_without_a_boundary_counter_all_loops_together_make_the_site():
    rows = [register(k, 50 * k, scope, meter=scope) for k in range(-1, 17) for scope in ("a", "b")]
    records = close(rows)
    assert (records["site"].heat_wh, records["site"].heat_quality) == (1_500.0, "summed")
    assert (records["a"].heat_wh, records["a"].heat_quality) == (750.0, "measured")


def test_without_any_counter_power_is_integrated_and_keeps_its_quality():
    rows = [minute(k, heat_wh=10.0, heat_quality="estimated" if k == 3 else "measured") for k in range(15)]
    site = close(rows)["site"]
    assert (site.heat_wh, site.heat_quality) == (150.0, "estimated")


def test_a_meter_that_was_reset_costs_only_the_minute_of_the_reset():
    rows = [register(k, 900_000 + 50 * k, heat_wh=49.0, heat_quality="measured") for k in range(-2, 7)]
    rows += [register(k, 50 * (k - 7), heat_wh=49.0, heat_quality="measured") for k in range(7, 17)]
    site = close(rows)["site"]
    assert math.isclose(site.heat_wh, 14 * 50 + 49)
    assert site.heat_quality == "measured"


def test_a_counter_that_rolls_over_loses_nothing():
    rows = [register(k, (9_999_700 + 50 * k) % 10_000_000) for k in range(-2, 17)]
    site = close(rows)["site"]
    assert math.isclose(site.heat_wh, 750.0)
    assert site.heat_quality == "measured"


def test_a_restart_in_the_middle_of_a_period_is_bridged_by_the_counter():
    rows = [register(k, 50 * k) for k in (*range(-2, 4), *range(10, 18))]
    site = close(rows)["site"]
    assert (site.heat_wh, site.heat_quality, site.heat_missing_s) == (750.0, "measured", 0.0)
    assert math.isclose(site.available_s, 60.0 * 9)  # nobody watched for six minutes


def test_a_restart_without_a_counter_leaves_a_gap_that_is_stated():
    rows = [minute(k, heat_wh=10.0, heat_quality="measured") for k in (*range(4), *range(10, 15))]
    site = close(rows)["site"]
    assert (site.heat_wh, site.heat_quality, site.heat_missing_s) == (90.0, "missing", 360.0)


def test_a_short_restart_is_filled_and_marked():
    rows = [minute(k, heat_wh=10.0, heat_quality="measured") for k in range(15) if k != 7]
    site = close(rows)["site"]
    assert (site.heat_wh, site.heat_quality) == (150.0, "substituted")


def test_a_period_nobody_saw_has_no_figures_but_its_demand():
    site = close([], demands=[demand(0, 900, 4_000.0)])["site"]
    assert site.heat_wh is None
    assert site.electric_wh is None
    assert (site.heat_quality, site.heat_missing_s) == ("missing", 900.0)
    assert (site.demand_wh, site.demand_s) == (1_000.0, 900.0)


def test_demands_are_integrated_exactly_in_their_windows():
    demands = [demand(-100, 300, 3_600.0), demand(300, 600, 7_200.0, sequence=1)]
    site = close([], demands=demands)["site"]
    assert (site.demand_wh, site.demand_s) == (300.0 + 600.0, 600.0)


def test_of_overlapping_demands_the_later_one_counts_from_when_it_was_issued():
    demands = [demand(0, 900, 3_600.0), demand(0, 900, 7_200.0, sequence=1, issued_s=450.0)]
    assert close([], demands=demands)["site"].demand_wh == 450.0 + 900.0


def test_a_new_epoch_ends_what_the_old_one_had_planned():
    demands = [demand(0, 900, 3_600.0, sequence=9), demand(600, 900, 7_200.0, epoch=1, issued_s=300.0)]
    site = close([], demands=demands)["site"]
    assert (site.demand_wh, site.demand_s) == (300.0 + 600.0, 600.0)


def test_refused_demands_and_demands_of_temperature_alone_ask_for_no_heat():
    demands = [demand(0, 900, 3_600.0, accepted=False), demand(0, 900, None, sequence=1)]
    site = close([], demands=demands)["site"]
    assert (site.demand_wh, site.demand_s) == (None, 0.0)


def test_what_control_held_after_the_window_was_asked_for_too():
    rows = [minute(k, held_wh=60.0) for k in range(10, 15)]
    site = close(rows, demands=[demand(0, 600, 3_600.0)])["site"]
    assert (site.demand_wh, site.demand_s) == (600.0 + 300.0, 900.0)


def test_work_is_kept_by_pool_and_loop():
    work = [UnitWork("a1", "north", 10, 1e15), UnitWork("a2", "south", 5, 5e14), UnitWork("b1", "north", 1, 1e14)]
    records = close([], work=[*work, UnitWork("guest", "south", 7, 7e14)])
    assert [(p.pool, p.shares) for p in records["a"].work] == [("north", 10), ("south", 5)]
    assert [(p.pool, p.shares) for p in records["site"].work] == [("north", 11), ("south", 12)]
    assert records["b"].work_wh > 12.5
    assert records["b"].work_sigma > 0


def test_supply_minutes_are_added_up():
    rows = [minute(k, supply_asked_s=60.0, supply_kept_s=60.0 if k < 10 else 30.0) for k in range(15)]
    site = close(rows)["site"]
    assert (site.supply_asked_s, site.supply_kept_s) == (900.0, 750.0)


def test_a_unit_of_a_site_with_one_loop_shares_the_boundary_counter():
    plan = Plan(900, PLAN.site, (Place("a", 6_000.0, UNITS),))
    records = close([register(k, 50 * k) for k in range(-2, 17)], plan=plan)
    assert records["a"].heat_wh == records["site"].heat_wh == 750.0


def day(year, month, number, zone):
    begin = datetime.datetime(year, month, number, tzinfo=ZoneInfo(zone))
    end = datetime.datetime(year, month, number, tzinfo=ZoneInfo(zone)) + datetime.timedelta(days=1)
    return int(begin.timestamp()), int(end.timestamp())


def test_the_days_of_23_and_25_hours_have_92_and_100_quarters_without_gap_or_overlap():
    for date, count in (((2026, 3, 29), 92), ((2026, 10, 25), 100), ((2026, 11, 1), 96)):
        begin, end = day(*date, "Europe/Helsinki")
        starts = list(range(settlement.period_start(begin, 900), end, 900))
        assert len(starts) == count
        assert starts[0] == begin
        assert starts[-1] + 900 == end


def test_energy_over_the_night_when_clocks_go_back_is_counted_once():
    begin, end = day(2026, 10, 25, "Europe/Helsinki")
    shift = (begin - START) // 60
    rows = [register(k, 50 * (k - shift)) for k in range(shift - 2, shift + (end - begin) // 60 + 2)]
    lines = settlement.lines_of(PLAN, rows)
    total = sum(settlement.close(PLAN, lines, (), [], {}, start, start + 1_020.0)[0].heat_wh for start in range(begin, end, 900))
    assert math.isclose(total, 25 * 60 * 50)


def test_the_same_figures_make_no_revision():
    rows = [register(k, 50 * k) for k in range(-2, 17)]
    assert settlement.revised(close(rows)["site"], close(rows)["site"]) is None


def test_what_the_units_taught_since_makes_no_revision():
    work = [UnitWork("a1", "north", 10, 1e15)]
    assert settlement.revised(close([], work=work)["site"], close([], work=work, a1=1.1)["site"]) is None


def test_a_counter_that_speaks_again_makes_a_revision_that_says_why():
    rows = [minute(k, heat_wh=10.0, heat_quality="estimated") for k in range(15)]
    later = [*rows, register(-1, 1_000), register(15, 1_480)]
    known = close(rows)["site"]
    again = settlement.revised(known, close(later)["site"])
    assert (again.revision, again.scope, again.start_unix_s) == (2, known.scope, known.start_unix_s)
    assert "heat: estimated 0.150 kWh to substituted 0.450 kWh, known in sum" in again.reason


def test_late_shares_make_a_revision_and_late_minutes_too():
    one, two = [UnitWork("a1", "north", 10, 1e15)], [UnitWork("a1", "north", 14, 1.4e15)]
    again = settlement.revised(close([], work=one)["site"], close([], work=two)["site"])
    assert again.reason == "work: +4 shares came into the ledger later"
    assert again.work_wh > close([], work=one)["site"].work_wh
    rows = [minute(k, heat_wh=10.0, heat_quality="measured") for k in range(15)]
    again = settlement.revised(close(rows[:5])["site"], close(rows)["site"])
    assert again.reason.startswith("heat: missing 0.050 kWh to measured 0.150 kWh")


def test_revisions_count_on():
    rows = [minute(k, heat_wh=10.0, heat_quality="measured") for k in range(15)]
    known = msgspec.structs.replace(close(rows[:5])["site"], revision=4)
    assert settlement.revised(known, close(rows)["site"]).revision == 5


heats = st.lists(st.one_of(st.none(), st.floats(0.0, 1e4)), min_size=1, max_size=120)


@given(heats, st.integers(-30, 30), st.sampled_from([300, 900, 1_800, 3_600]))
def test_the_sum_of_the_records_is_the_sum_of_the_minutes(values, shift, period_s):
    """Whatever is missing: energy that is known is in exactly one period; short gaps may add what is marked substituted."""
    rows = [minute(k + shift, heat_wh=value, heat_quality="measured") for k, value in enumerate(values) if value is not None]
    plan = Plan(period_s, PLAN.site, PLAN.loops)
    lines = settlement.lines_of(plan, rows)
    first = settlement.period_start(START + 60 * shift, period_s)
    last = START + 60 * (shift + len(values))
    records = [settlement.close(plan, lines, (), [], {}, start, 0.0)[0] for start in range(first, last + period_s, period_s)]
    added = sum(span.wh for span in lines["site"].heat if span.quality == "substituted")
    total = sum(record.heat_wh or 0.0 for record in records)
    assert math.isclose(total, sum(row.heat_wh for row in rows) + added, rel_tol=1e-9, abs_tol=1e-6)
    for record in records:
        assert (record.heat_wh is None) == (record.heat_missing_s >= period_s)
