import json
import math
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.heat.signals.openadr_events import Ask, Window, next_change, ruling, windows
from proxy.heat.signals.openadr_wire import (
    BEGINNING_S,
    Event,
    Interval,
    IntervalPeriod,
    PayloadDescriptor,
    Program,
    Unusable,
    ValuesMap,
    duration_text,
    moment,
    seconds,
    time_text,
)

NOW = 1_768_435_200.0
MIDNIGHT = "2026-01-15T00:00:00Z"
EXAMPLES = Path(__file__).resolve().parents[4] / "deploy/openadr"
KW = [PayloadDescriptor("DISPATCH_SETPOINT", units="KW")]


def interval(number: int, power_kw: float, period: IntervalPeriod | None = None) -> Interval:
    return Interval(number, [ValuesMap("DISPATCH_SETPOINT", [power_kw])], period)


def event(*intervals: Interval, period: IntervalPeriod | None = None, duration: str | None = None, **fields: object) -> Event:
    return Event(
        id="e1",
        program_id="p",
        modification_date_time=MIDNIGHT,
        payload_descriptors=KW,
        interval_period=period,
        intervals=list(intervals),
        duration=duration,
        **fields,  # type: ignore[arg-type]  # fields of Event
    )


def spans(found: list[Window]) -> list[tuple[int, float, float]]:
    return [(each.interval_id, each.start_unix_s - NOW, each.end_unix_s - NOW) for each in found]


@pytest.mark.parametrize(
    ("text", "length_s"),
    [
        ("PT15M", 900),
        ("PT1H30M", 5_400),
        ("P1DT2H", 93_600),
        ("P2W", 1_209_600),
        ("PT0.5S", 0.5),
        ("PT0S", 0),
        ("P9999Y", math.inf),
        ("P0Y0M0DT0H15M0S", 900),
        ("P9999Y0M0DT0H0M0S", math.inf),
    ],
)
def test_durations_are_seconds(text: str, length_s: float) -> None:
    assert seconds(text) == length_s


@pytest.mark.parametrize("text", ["", "P", "PT", "15M", "-PT5M", "P1Y", "P1M", "PT1.5H", "PT5M ", "PT٣M", "PT" + "9" * 99 + "S"])
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(Unusable):
        seconds(text)


def test_times_need_a_zone_and_the_beginning_of_time_is_known() -> None:
    assert moment("2026-01-15T01:00:00+01:00") == moment(MIDNIGHT) == NOW
    assert moment("0001-01-01") == moment("0001-01-01T00:00:00") == moment("0001-01-01T00:00:00Z") == BEGINNING_S
    for text in ("", "2026-01-15", "2026-01-15T00:00:00", "1768435200", "never"):
        with pytest.raises(Unusable):
            moment(text)


@given(st.integers(min_value=0, max_value=4_000_000_000), st.integers(min_value=0, max_value=10**9))
def test_what_is_written_reads_as_the_same(unix_s: int, length_s: int) -> None:
    assert moment(time_text(unix_s)) == unix_s
    assert seconds(duration_text(length_s)) == length_s


def test_intervals_follow_each_other_unless_they_say_when() -> None:
    found = windows(
        event(
            interval(0, 1.0),
            interval(1, 2.0, IntervalPeriod(duration="PT30M")),
            interval(2, 3.0, IntervalPeriod(start="2026-01-15T06:00:00Z")),
            interval(3, 4.0, IntervalPeriod(start="0001-01-01")),
            period=IntervalPeriod(MIDNIGHT, "PT15M"),
        ),
        None,
        "hall",
        NOW,
    )
    assert spans(found) == [(0, 0, 900), (1, 900, 2_700), (2, 21_600, 22_500), (3, 22_500, 23_400)]
    assert [each.asks[Ask.HEAT] for each in found] == [1.0, 2.0, 3.0, 4.0]


def test_what_is_over_is_left_out_and_the_present_stays() -> None:
    day = event(*(interval(k, float(k)) for k in range(24)), period=IntervalPeriod(MIDNIGHT, "PT1H"))
    found = windows(day, None, "hall", NOW + 6.5 * 3_600)
    assert found[0].interval_id == 6
    assert len(found) == 18
    assert next_change(found, NOW + 6.5 * 3_600) == NOW + 7 * 3_600


def test_the_duration_of_an_event_cuts_its_intervals_short() -> None:
    day = event(*(interval(k, 1.0) for k in range(24)), period=IntervalPeriod(MIDNIGHT, "PT1H"), duration="PT90M")
    assert spans(windows(day, None, "hall", NOW)) == [(0, 0, 3_600), (1, 3_600, 5_400)]


def test_the_duration_of_an_event_repeats_its_intervals_for_ever() -> None:
    day = event(interval(0, 1.0), interval(1, 2.0), period=IntervalPeriod(MIDNIGHT, "PT12H"), duration="P9999Y")
    later = NOW + 400 * 86_400 + 13 * 3_600
    found = windows(day, None, "hall", later)
    present = ruling(found, Ask.HEAT, later)
    assert present is not None
    assert (present.interval_id, present.end_unix_s - later) == (1, 11 * 3_600)
    assert len(found) <= 8


def test_a_repeated_set_ends_with_the_duration_of_the_event() -> None:
    twice = event(interval(0, 1.0), period=IntervalPeriod(MIDNIGHT, "PT1H"), duration="PT2H30M")
    assert spans(windows(twice, None, "hall", NOW)) == [(0, 0, 3_600), (0, 3_600, 7_200), (0, 7_200, 9_000)]


def test_an_event_that_starts_at_once_for_ever_is_active_and_one_without_length_is_cancelled() -> None:
    now = windows(event(interval(0, 1.0), period=IntervalPeriod("0001-01-01", "P9999Y")), None, "hall", NOW)
    assert ruling(now, Ask.HEAT, NOW) is not None
    assert windows(event(interval(0, 1.0), period=IntervalPeriod("0001-01-01", "PT0S")), None, "hall", NOW) == []


@given(st.text(min_size=1, max_size=20))
def test_a_random_start_is_within_its_bounds_and_the_same_each_time(name: str) -> None:
    shifted = event(interval(0, 1.0), interval(1, 2.0), period=IntervalPeriod(MIDNIGHT, "PT1H", "PT10M"))
    first, second = windows(shifted, None, name, NOW - 7_200)
    assert abs(first.start_unix_s - NOW) <= 600
    assert (first.end_unix_s - first.start_unix_s, second.start_unix_s) == (3_600, first.end_unix_s)
    assert windows(shifted, None, name, NOW - 7_200) == [first, second]


def test_random_starts_differ_between_sites() -> None:
    shifted = event(interval(0, 1.0), period=IntervalPeriod(MIDNIGHT, "PT1H", "PT10M"))
    assert len({windows(shifted, None, f"hall-{k}", NOW - 7_200)[0].start_unix_s for k in range(20)}) == 20


def test_equal_priorities_go_to_the_event_that_was_modified_last() -> None:
    def of(key: str, priority: int | None, modified_s: float) -> Window:
        return Window(key, 0, NOW, NOW + 60, priority, modified_s, {Ask.HEAT: 1.0})

    def best(*known: Window) -> str:
        found = ruling(known, Ask.HEAT, NOW)
        assert found is not None
        return found.event_id

    assert best(of("a", None, 9), of("b", 5, 1)) == "b"
    assert best(of("a", 5, 1), of("b", 5, 2)) == "b"
    assert best(of("a", 0, 1), of("b", 1, 2)) == "a"
    assert ruling([of("a", 0, 1)], Ask.LIMIT, NOW) is None
    assert ruling([of("a", 0, 1)], Ask.HEAT, NOW + 60) is None


def test_too_many_intervals_are_refused() -> None:
    with pytest.raises(Unusable, match="5,000 intervals"):
        windows(event(*(interval(k, 1.0) for k in range(5_000)), period=IntervalPeriod(MIDNIGHT, "PT1S")), None, "hall", NOW)


@given(
    st.lists(
        st.tuples(
            st.none() | st.sampled_from([MIDNIGHT, "0001-01-01", "2026-01-15T03:00:00Z", "x"]),
            st.none() | st.sampled_from(["PT1H", "PT0S", "P9999Y", "P1M", "PT15M"]),
            st.none() | st.sampled_from(["PT5M", "P9999Y"]),
        ),
        max_size=6,
    ),
    st.none() | st.sampled_from(["PT0S", "PT90M", "P9999Y", "P7D"]),
)
def test_whatever_an_event_says_its_windows_are_finite_and_ordered_or_it_is_refused(
    periods: list[tuple[str | None, str | None, str | None]], duration: str | None
) -> None:
    try:
        found = windows(
            event(*(interval(k, 1.0, IntervalPeriod(*each)) for k, each in enumerate(periods)), duration=duration), None, "h", NOW
        )
    except Unusable:
        return
    for window in found:
        assert window.start_unix_s < window.end_unix_s
        assert window.end_unix_s > NOW
        assert not math.isnan(window.start_unix_s)


@pytest.mark.parametrize(("name", "ask", "count"), [("event-heat", Ask.HEAT, 4), ("event-import-limit", Ask.LIMIT, 1)])
def test_the_examples_in_deploy_are_followed(name: str, ask: Ask, count: int) -> None:
    given = {"id": "x", "createdDateTime": MIDNIGHT, "modificationDateTime": MIDNIGHT}
    program = msgspec.convert(given | json.loads((EXAMPLES / "program.json").read_text()), Program)
    found = windows(msgspec.convert(given | json.loads((EXAMPLES / f"{name}.json").read_text()), Event), program, "hall", NOW)
    assert [set(window.asks) for window in found] == [{ask}] * count
