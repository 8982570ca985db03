"""Energy over time: nothing lost at a border, nothing counted twice, no gap called zero."""

import itertools
import math

from hypothesis import given
from hypothesis import strategies as st

from proxy.heat.spans import (
    ESTIMATED,
    MEASURED,
    MISSING,
    SUBSTITUTED,
    SUMMED,
    CounterPoint,
    Span,
    counter_spans,
    figure,
    filled,
    layered,
    together,
)

MAX_W = 8e6


def counters(*points, meter="b"):
    return [CounterPoint(meter, float(at), float(wh)) for at, wh in points]


def passed(*points, max_w=MAX_W):
    return [span.wh for span in counter_spans(counters(*points), max_w)]


def test_a_counter_gives_its_differences():
    assert passed((0, 5_000), (60, 5_500), (120, 6_200)) == [500.0, 700.0]


def test_a_reading_seen_twice_counts_once():
    assert passed((0, 5_000), (0, 5_000), (60, 5_500)) == [500.0]


def test_a_counter_that_was_reset_gives_no_difference_there_and_goes_on_after_it():
    assert passed((0, 5_000_000), (60, 100), (120, 350)) == [250.0]


def test_a_counter_at_its_end_is_followed_into_its_next_round():
    assert passed((0, 99_999_900), (60, 400)) == [500.0]


def test_a_counter_of_32_bits_is_followed_too():
    assert passed((0, 2**32 - 100), (60, 150)) == [250.0]


def test_a_reset_in_mid_range_is_no_rollover():
    assert passed((0, 50_000_000), (60, 300)) == []


def test_a_counter_cannot_run_faster_than_the_plant():
    assert passed((0, 5_000), (60, 90_000_000)) == []


def test_an_exchanged_meter_begins_anew():
    spans = counter_spans([*counters((0, 100), (60, 200)), *counters((120, 900_000), (180, 900_300), meter="new")], MAX_W)
    assert [(span.start, span.wh) for span in spans] == [(0.0, 100.0), (120.0, 300.0)]


def test_a_long_difference_cut_by_a_border_is_divided_by_time_and_says_so():
    (span,) = counter_spans(counters((0, 0), (1_800, 200_000)), MAX_W)
    first, second = figure([span], 0, 900), figure([span], 900, 1_800)
    assert (first.wh, first.quality) == (100_000.0, SUBSTITUTED)
    assert second.wh == 100_000.0
    assert figure([span], 0, 1_800).quality == MEASURED  # undivided, it is what the counter says


def test_the_best_layer_speaks_first_and_the_next_fills_what_it_leaves():
    measured = [Span(0, 100, 10.0, MEASURED), Span(300, 400, 10.0, MEASURED)]
    estimated = [Span(50, 350, 300.0, ESTIMATED)]
    line = layered([measured, estimated])
    assert [(s.start, s.end, s.quality) for s in line] == [(0, 100, MEASURED), (100, 300, ESTIMATED), (300, 400, MEASURED)]
    assert line[1].wh == 200.0


def test_overlapping_spans_of_one_layer_count_time_once():
    """The wall clock was set back: the same minutes come twice."""
    line = layered([[Span(0, 60, 6.0, MEASURED), Span(30, 90, 6.0, MEASURED)]])
    assert math.isclose(sum(span.wh for span in line), 9.0)


def test_loops_are_summed_only_where_all_of_them_are_known():
    line = together([[Span(0, 100, 100.0, MEASURED)], [Span(50, 150, 200.0, MEASURED)]])
    assert [(s.start, s.end, s.wh, s.quality) for s in line] == [(50, 100, 150.0, SUMMED)]
    assert together([[Span(0, 100, 100.0, MEASURED)], []]) == []


def test_a_short_gap_is_filled_and_marked():
    line = filled([Span(0, 600, 600.0, MEASURED), Span(700, 900, 300.0, MEASURED)])
    answer = figure(line, 0, 900)
    assert answer.quality == SUBSTITUTED
    assert answer.missing_s == 0.0
    assert math.isclose(answer.wh, 900.0 + 125.0)


def test_a_long_gap_is_missing_and_not_zero():
    line = filled([Span(0, 300, 300.0, MEASURED), Span(700, 900, 200.0, MEASURED)])
    answer = figure(line, 0, 900)
    assert (answer.wh, answer.quality, answer.missing_s) == (500.0, MISSING, 400.0)


def test_a_period_of_which_nothing_is_known_has_no_energy_at_all():
    answer = figure([Span(0, 300, 300.0, MEASURED)], 900, 1_800)
    assert answer.wh is None
    assert (answer.quality, answer.missing_s) == (MISSING, 900.0)


lengths = st.lists(
    st.tuples(st.floats(1.0, 2_000.0), st.floats(0.0, 1e6), st.sampled_from([MEASURED, ESTIMATED])), min_size=1, max_size=40
)


@given(lengths, st.sampled_from([300, 900, 1_800, 3_600]), st.floats(0.0, 10_000.0))
def test_the_sum_of_all_periods_is_the_sum_of_what_was_put_in(pieces, period_s, start):
    spans, at = [], start
    for length, wh, quality in pieces:
        spans.append(Span(at, at + length, wh, quality, is_long=length > 300.0))
        at += length
    line = layered([spans])
    first = int(start // period_s) * period_s
    figures = [figure(line, begin, begin + period_s) for begin in range(first, int(at) + period_s, period_s)]
    assert math.isclose(sum(f.wh or 0.0 for f in figures), sum(span.wh for span in spans), rel_tol=1e-9, abs_tol=1e-6)
    covered = sum(period_s - f.missing_s for f in figures)
    assert covered >= at - start - len(figures)  # a second of a period may be rounding, never more


spans_of = st.lists(st.tuples(st.floats(0.0, 3_000.0), st.floats(1.0, 900.0), st.floats(0.0, 1e5)), max_size=15)


@given(spans_of, spans_of)
def test_layers_never_overlap_and_never_make_energy(one, other):
    layers = [
        [Span(start, start + length, wh, quality) for start, length, wh in pieces]
        for pieces, quality in ((one, MEASURED), (other, ESTIMATED))
    ]
    line = layered(layers)
    assert all(before.end <= after.start for before, after in itertools.pairwise(line))
    assert sum(span.wh for span in line) <= sum(span.wh for layer in layers for span in layer) + 1e-6
    lone = layered(layers[:1])
    assert math.isclose(sum(s.wh for s in line if s.quality == MEASURED), sum(s.wh for s in lone), abs_tol=1e-6)


@given(st.lists(st.floats(0.0, 1e5), min_size=2, max_size=50), st.integers(0, 49))
def test_a_counter_telescopes_whatever_happens_between(steps, reset_at):
    """A reset loses one difference and nothing else."""
    total, points = 0.0, []
    for k, step in enumerate(steps):
        total = step if k == reset_at and k > 0 else total + step
        points.append((60 * k, total))
    spans = counter_spans(counters(*points), MAX_W)
    lost = {reset_at} if reset_at > 0 else set()
    kept = [step for k, step in enumerate(steps) if k > 0 and k not in lost]
    found = sum(span.wh for span in spans)
    if len(spans) == len(kept):
        assert math.isclose(found, sum(kept), rel_tol=1e-9, abs_tol=1e-6)
