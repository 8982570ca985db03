"""Events into demands, without a server: restarts, other sources, renewals; and what reports say when there is no counter."""

import math

from proxy.events import EventLog
from proxy.heat.demand import DemandAccepted, HeatDemand, accepted
from proxy.heat.signals.openadr_events import Ask, Window
from proxy.heat.signals.openadr_follow import RETRY_S, Follower
from proxy.heat.signals.openadr_reports import Reporter
from proxy.heat.signals.openadr_wire import Event, Interval, IntervalPeriod, ReportDescriptor, ValuesMap, time_text
from proxy.heat.signals.status import SignalStatus
from tests.support.signal_port import RecordingPort

NOW = 1_768_435_200.0


def window(power_kw: float = 1_500.0, start_s: float = 0.0, end_s: float = 900.0, ask: Ask = Ask.HEAT, key: int = 0) -> Window:
    return Window("e1", key, NOW + start_s, NOW + end_s, None, NOW, {ask: power_kw})


class Rig:
    def __init__(self) -> None:
        self.port = RecordingPort()
        self.status = SignalStatus("openadr", "vtn", EventLog(lambda: NOW), lambda: 0.0)
        self.follower = Follower(self.port, self.status)
        self.follower.heard(NOW)

    def at(self, after_s: float, *known: Window) -> HeatDemand | None:
        self.follower.follow(known, NOW + after_s)
        return self.port.in_force


def taken(source: str, sequence: int, epoch: int = 0, length_s: float = 300.0) -> tuple[HeatDemand, DemandAccepted]:
    demand = HeatDemand(source, epoch, sequence, NOW, NOW, NOW + length_s, 1e6)
    return demand, accepted(demand, NOW)


def test_after_a_restart_it_counts_on_from_what_the_plant_remembers() -> None:
    rig = Rig()
    rig.port.book.note(*taken("openadr", int(NOW) + 5_000, epoch=3))
    demand = rig.at(0, window())
    assert demand is not None
    assert demand.order == (4, int(NOW) + 5_001)
    assert rig.status.view().refused == 0


def test_a_demand_that_another_source_keeps_out_is_sent_again_later() -> None:
    rig = Rig()
    other, answer = taken("dh", 1)
    rig.port.book.note(other, answer)
    rig.port.accepted.append(other)
    assert rig.at(0, window()) == other
    assert rig.at(RETRY_S - 1, window()) == other
    assert len(rig.port.refused) == 1
    rig.port.accepted.clear()
    demand = rig.at(RETRY_S, window())
    assert demand is not None
    assert demand.source == "openadr"


def test_an_endless_event_is_renewed_before_its_demand_ends() -> None:
    rig = Rig()
    endless = window(end_s=math.inf)
    rig.at(0, endless)
    rig.follower.heard(NOW + 1_700)
    rig.at(1_700, endless)
    assert len(rig.port.accepted) == 1
    assert rig.follower.next_change([endless], NOW + 1_700) == NOW + 1_800
    rig.follower.heard(NOW + 1_801)
    rig.at(1_801, endless)
    assert [demand.valid_until_unix_s - NOW for demand in rig.port.accepted] == [3_600, 5_401]


def test_a_limit_is_kept_without_its_server_and_changed_only_when_it_changes() -> None:
    rig = Rig()
    limit = window(1_200.0, end_s=10_000.0, ask=Ask.LIMIT)
    for after_s in (0, 30, 60, 9_000):
        rig.at(after_s, limit)
    assert rig.port.limits == [(1_200_000.0, NOW + 10_000, "openadr")]
    rig.at(9_001, window(1_200.0, end_s=9_500.0, ask=Ask.LIMIT))
    assert rig.port.limits[-1] == (1_200_000.0, NOW + 9_500, "openadr")
    rig.at(9_500, window(1_200.0, end_s=9_500.0, ask=Ask.LIMIT))
    assert rig.port.limits[-1][0] is None


def test_a_limit_of_an_earlier_process_ends_once_the_server_was_heard_without_it() -> None:
    rig = Rig()
    deaf = Follower(rig.port, rig.status)
    deaf.follow([], NOW)
    assert rig.port.limits == []
    deaf.heard(NOW)
    deaf.follow([], NOW)
    deaf.follow([], NOW + 1)
    assert rig.port.limits == [(None, NOW, "openadr")]


def reported(counter_wh: float | None, heat_w: float | None, ladder: str = "LIVE") -> dict[str, object]:
    """The one interval of a report after ten minutes of a plant that stays as it is."""
    port = RecordingPort()
    port.energy_wh, port.heat_w, port.ladder = counter_wh, heat_w, ladder
    kinds = ["USAGE", "OPERATING_STATE", "DATA_QUALITY", "DOWN_REGULATION_AVAILABLE"]
    event = Event("e1", "p", "2026-01-15T00:00:00Z", report_descriptors=[ReportDescriptor(kind) for kind in kinds])
    reporter = Reporter("hall")
    reporter.learn([Event(**{key: getattr(event, key) for key in event.__struct_fields__} | {"intervals": [Interval(0, [])]})])
    for after_s in range(0, 601, 15):
        reporter.look(port.report(NOW + after_s), [window(end_s=600.0)], NOW + after_s, 300.0)
        if port.energy_wh is not None:
            port.energy_wh += 1_000.0
    assert reporter.due() == ["e1"]
    request = reporter.request("e1")
    assert request is not None
    (interval,) = request.resources[0].intervals
    return {payload.type: payload.values[0] for payload in interval.payloads}


def test_energy_is_counted_by_the_meter_else_summed_and_said_to_be_estimated_else_missing() -> None:
    rest = {"OPERATING_STATE": "RUNNING_HEIGHTENED", "DOWN_REGULATION_AVAILABLE": 900.0}
    assert reported(5_000.0, 1e6) == {"USAGE": 40.0, "DATA_QUALITY": "OK", **rest}
    estimated = reported(None, 1e6)
    assert math.isclose(float(str(estimated.pop("USAGE"))), 1_000 / 6)
    assert estimated == {"DATA_QUALITY": "ESTIMATED", **rest}
    assert reported(None, None) == {"DATA_QUALITY": "MISSING", **rest}


def test_the_state_says_whether_the_event_is_followed() -> None:
    assert reported(0.0, 1e6, "FALLBACK")["OPERATING_STATE"] == "RUNNING_OPTED_OUT"
    assert reported(0.0, 1e6, "STOP")["OPERATING_STATE"] == "ERROR"


def test_an_event_without_intervals_gets_one_a_period() -> None:
    port, reporter = RecordingPort(), Reporter("hall")
    reporter.learn([Event("e1", "p", "2026-01-15T00:00:00Z", report_descriptors=[ReportDescriptor("USAGE")])])
    for after_s in range(0, 901, 15):
        reporter.look(port.report(NOW + after_s), [], NOW + after_s, 300.0)
    request = reporter.request("e1")
    assert request is not None
    assert [interval.id for interval in request.resources[0].intervals] == [0, 1, 2, 3]
    reporter.learn([])
    assert reporter.due() == []
    assert reporter.request("e1") is None


def test_intervals_that_a_run_before_reported_stay_and_numbers_of_our_own_count_on() -> None:
    port, reporter = RecordingPort(), Reporter("hall")
    event = Event("e1", "p", "2026-01-15T00:00:00Z", report_descriptors=[ReportDescriptor("USAGE")])
    reporter.learn([event])
    reporter.look(port.report(NOW), [], NOW, 300.0)
    old = Interval(4, [ValuesMap("USAGE", [12.5])], IntervalPeriod(time_text(NOW - 300), "PT300S"))
    broken = Interval(5, [ValuesMap("USAGE", [])], IntervalPeriod("yesterday", "PT300S"))
    reporter.resume("e1", [old, broken, Interval(6, [])])
    request = reporter.request("e1")
    assert request is not None
    assert [(interval.id, interval.payloads[0].values) for interval in request.resources[0].intervals] == [(4, [12.5]), (5, [0.0])]
    reporter.resume("unknown", [old])
    assert reporter.request("unknown") is None


def test_an_interval_of_which_the_beginning_was_not_seen_is_an_estimate_and_goes_on_from_what_was_reported() -> None:
    port, reporter = RecordingPort(), Reporter("hall")
    kinds = [ReportDescriptor("USAGE"), ReportDescriptor("DATA_QUALITY")]
    reporter.learn([Event("e1", "p", "2026-01-15T00:00:00Z", report_descriptors=kinds, intervals=[Interval(0, [])])])
    for after_s in (600.0, 700.0):
        reporter.look(port.report(NOW + after_s), [window()], NOW + after_s, 300.0)
        port.energy_wh = 1_040_000.0
    reporter.resume("e1", [Interval(0, [ValuesMap("USAGE", [100.0])], IntervalPeriod(time_text(NOW), "PT900S"))])
    request = reporter.request("e1")
    assert request is not None
    (interval,) = request.resources[0].intervals
    assert [payload.values for payload in interval.payloads] == [[140.0], ["ESTIMATED"]]


def test_an_event_that_begins_now_is_reported_from_when_it_was_seen() -> None:
    port, reporter = RecordingPort(), Reporter("hall")
    kinds = [ReportDescriptor("USAGE"), ReportDescriptor("DATA_QUALITY")]
    reporter.learn([Event("e1", "p", "2026-01-15T00:00:00Z", report_descriptors=kinds, intervals=[Interval(0, [])])])
    for after_s in (0.0, 15.0):
        reporter.look(port.report(NOW + after_s), [window(start_s=-math.inf, end_s=math.inf)], NOW + after_s, 300.0)
    request = reporter.request("e1")
    assert request is not None
    (interval,) = request.resources[0].intervals
    assert interval.interval_period == IntervalPeriod("2026-01-15T00:00:00Z", "P9999Y")
    assert interval.payloads[1].values == ["OK"]


def test_an_event_that_is_over_is_reported_once_more_and_then_no_longer() -> None:
    port, reporter = RecordingPort(), Reporter("hall")
    asked = [ReportDescriptor("USAGE")]
    reporter.learn([Event("e1", "p", "2026-01-15T00:00:00Z", report_descriptors=asked, intervals=[Interval(0, [])])])
    reporter.look(port.report(NOW), [window()], NOW, 300.0)
    assert (reporter.due(), reporter.is_over("e1")) == (["e1"], False)
    reporter.look(port.report(NOW + 900), [], NOW + 900, 300.0)
    assert (reporter.due(), reporter.is_over("e1")) == (["e1"], True)
    reporter.finish("e1")
    assert reporter.due() == []
    reporter.look(port.report(NOW + 1_000), [window(start_s=950.0, end_s=1_800.0, key=1)], NOW + 1_000, 300.0)
    assert (reporter.due(), reporter.is_over("e1")) == (["e1"], False)
