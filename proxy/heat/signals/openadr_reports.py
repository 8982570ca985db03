"""What was delivered while OpenADR events were in force, interval by interval, as the reports that the events ask for. Pure.

Energy is the difference of the meter's counter where the plant has one, else the sum of power over time, and then said to be an
estimate; so is an interval of which the beginning was not seen. An event without intervals gets one interval a report. What an
earlier run reported is kept.
"""

import math
from collections.abc import Callable, Sequence

import msgspec

from proxy.heat.signals.openadr_events import Ask, Window
from proxy.heat.signals.openadr_wire import (
    Event,
    Interval,
    IntervalPeriod,
    PayloadDescriptor,
    ReportRequest,
    ReportResource,
    Unusable,
    Value,
    ValuesMap,
    duration_text,
    moment,
    time_text,
)
from proxy.heat.signals.port import Report

# The longest name of a report.
MAX_NAME = 128
# Intervals kept for the report of one event; older ones were reported often enough.
MAX_KEPT = 192
# Between two looks at the plant power is taken as constant; after a longer gap nothing is known of the time between.
MAX_GAP_S = 120.0


class Tally(msgspec.Struct):
    """What is known of one interval so far. Powers are W, energies Wh."""

    interval_id: int
    start_unix_s: float
    end_unix_s: float
    asks: dict[Ask, float]
    is_closed: bool = False
    counter_first_wh: float | None = None
    counter_last_wh: float | None = None
    is_counted: bool = True
    summed_wh: float = 0.0
    summed_s: float = 0.0
    earlier_wh: float = 0.0  # reported of it before a restart
    first_unix_s: float | None = None
    last: Report | None = None
    last_unix_s: float | None = None

    def look(self, report: Report) -> None:
        """Take the plant as it is now."""
        if self.first_unix_s is None:
            self.first_unix_s = report.at_unix_s
        if self.counter_first_wh is None:
            self.counter_first_wh = report.energy_wh
        self.is_counted = self.is_counted and report.energy_wh is not None
        self.counter_last_wh = report.energy_wh
        if self.last is not None and self.last.heat_w is not None and self.last_unix_s is not None:
            gap_s = report.at_unix_s - self.last_unix_s
            if 0 < gap_s <= MAX_GAP_S:
                self.summed_wh += self.last.heat_w * gap_s / 3_600
                self.summed_s += gap_s
        self.last, self.last_unix_s = report, report.at_unix_s

    @property
    def counted_wh(self) -> float | None:
        """Energy by the meter's counter; None where it was not there, or went backwards."""
        if not self.is_counted or self.counter_first_wh is None or self.counter_last_wh is None:
            return None
        energy_wh = self.counter_last_wh - self.counter_first_wh
        return energy_wh if energy_wh >= 0 else None

    @property
    def energy_wh(self) -> float | None:
        """Heat delivered in the interval as far as it was seen; None when nothing is known."""
        if self.counted_wh is not None:
            return self.earlier_wh + self.counted_wh
        return self.earlier_wh + self.summed_wh if self.summed_s > 0 or self.earlier_wh > 0 else None

    @property
    def is_whole(self) -> bool:
        """Whether it was seen from its beginning."""
        return self.first_unix_s is not None and self.first_unix_s - self.start_unix_s <= MAX_GAP_S


class Reporter:
    """Keeps the tallies of every event that asks for a report."""

    def __init__(self, resource: str) -> None:
        self._resource = resource
        self._events: dict[str, Event] = {}
        self._tallies: dict[str, list[Tally]] = {}
        self._earlier: dict[str, list[Interval]] = {}
        self._finished: set[str] = set()  # reported after their last interval

    def learn(self, events: Sequence[Event]) -> None:
        """The events as the server has them now; a cancelled one is not reported any more."""
        self._events = {event.id: event for event in events if _wanted(event)}
        self._tallies = {key: self._tallies.get(key, []) for key in self._events}
        self._earlier = {key: kept for key, kept in self._earlier.items() if key in self._events}
        self._finished.intersection_update(self._events)

    def resume(self, key: str, earlier: Sequence[Interval]) -> None:
        """Go on from what a run before this one reported on an event: old intervals stay, the present one is added to."""
        tallies = self._tallies.get(key)
        if not tallies:
            return
        starts = [_start(interval) for interval in earlier]
        self._earlier[key] = [
            interval
            for interval, start in zip(earlier, starts, strict=True)
            if start is not None and start < int(tallies[0].start_unix_s)
        ]
        if not self._events[key].intervals and self._earlier[key]:  # numbers are ours then: count on
            after = 1 + max(interval.id for interval in self._earlier[key])
            for tally in tallies:
                tally.interval_id += after
        for interval, start in zip(earlier, starts, strict=True):
            if start == int(tallies[0].start_unix_s) and interval.id == tallies[0].interval_id:
                tallies[0].earlier_wh = _reported_wh(interval)

    def look(self, report: Report, windows: Sequence[Window], now_unix_s: float, period_s: float) -> None:
        """Add the present to the interval of each event that is active."""
        active = {window.event_id: window for window in windows if window.is_active_at(now_unix_s)}
        for key, event in self._events.items():
            window = active.get(key)
            tallies = self._tallies[key]
            current = None if window is None and event.intervals else _current(tallies, window, now_unix_s, period_s)
            if tallies and tallies[-1] is not current and not tallies[-1].is_closed:
                tallies[-1].look(report)
                tallies[-1].is_closed = True
            if current is None:
                continue
            if not tallies or tallies[-1] is not current:
                tallies.append(current)
                del tallies[:-MAX_KEPT]
                self._finished.discard(key)
            current.look(report)

    def due(self) -> list[str]:
        """Events on which there is something to be reported. One that is over only once more: servers keep events for ever."""
        return [key for key, tallies in self._tallies.items() if tallies and key not in self._finished]

    def is_over(self, key: str) -> bool:
        """Whether a report on this event, made now, is the last one."""
        tallies = self._tallies.get(key)
        return bool(tallies and tallies[-1].is_closed)

    def finish(self, key: str) -> None:
        """The server took the last report on an event."""
        self._finished.add(key)

    def request(self, key: str) -> ReportRequest | None:
        """The report on an event as it stands now; None when there is nothing to be said."""
        event, tallies = self._events.get(key), self._tallies.get(key)
        return self._request(event, tallies) if event is not None and tallies else None

    def _request(self, event: Event, tallies: Sequence[Tally]) -> ReportRequest:
        kinds = _wanted(event)
        intervals = [
            Interval(
                id=tally.interval_id,
                payloads=[payload for kind in kinds if (payload := PAYLOADS[kind][1](tally)) is not None],
                interval_period=IntervalPeriod(time_text(tally.start_unix_s), duration_text(tally.end_unix_s - tally.start_unix_s)),
            )
            for tally in tallies
        ]
        return ReportRequest(
            event_id=event.id,
            client_name=self._resource,
            # Names of reports are unique at some servers, over all events.
            report_name=f"{event.id} heat of {self._resource}"[:MAX_NAME],
            payload_descriptors=[
                PayloadDescriptor(payload_type=kind, object_type="REPORT_PAYLOAD_DESCRIPTOR", units=PAYLOADS[kind][0])
                for kind in kinds
            ],
            resources=[ReportResource(self._resource, [*self._earlier.get(event.id, ()), *intervals][-MAX_KEPT:])],
        )


def _current(tallies: list[Tally], window: Window | None, now_unix_s: float, period_s: float) -> Tally:
    """The tally of the present interval, old or new."""
    last = tallies[-1] if tallies else None
    if window is not None and math.isinf(window.start_unix_s):  # "now": when we first saw it
        is_same = last is not None and (last.interval_id, last.end_unix_s) == (window.interval_id, window.end_unix_s)
        return last if last is not None and is_same else Tally(window.interval_id, now_unix_s, window.end_unix_s, window.asks)
    if window is None:
        if last is not None and now_unix_s < last.end_unix_s:
            return last
        start = now_unix_s if last is None or now_unix_s - last.end_unix_s > period_s else last.end_unix_s
        return Tally(0 if last is None else last.interval_id + 1, start, start + period_s, {})
    if last is not None and last.interval_id == window.interval_id and last.start_unix_s == window.start_unix_s:
        return last
    return Tally(window.interval_id, window.start_unix_s, window.end_unix_s, window.asks)


def _start(interval: Interval) -> float | None:
    """When an interval that a server gave back began; None when it does not say."""
    period = interval.interval_period
    if period is None or period.start is None:
        return None
    try:
        return moment(period.start)
    except Unusable:
        return None


def _reported_wh(interval: Interval) -> float:
    values = [payload.values for payload in interval.payloads if payload.type == "USAGE"]
    found = values[0][0] if values and values[0] else None
    return found * 1000 if isinstance(found, int | float) and not isinstance(found, bool) and found > 0 else 0.0


def _values(kind: str, *values: Value) -> ValuesMap:
    return ValuesMap(kind, list(values))


def _usage(tally: Tally) -> ValuesMap | None:
    return None if tally.energy_wh is None else _values("USAGE", tally.energy_wh / 1000)


def _demand(tally: Tally) -> ValuesMap | None:
    power_w = None if tally.last is None else tally.last.power_w
    return None if power_w is None else _values("DEMAND", power_w / 1000)


def _setpoint(tally: Tally) -> ValuesMap | None:
    return _values("SETPOINT", tally.asks[Ask.HEAT]) if Ask.HEAT in tally.asks else None


def _state(tally: Tally) -> ValuesMap | None:
    """The nearest of the protocol's words: heightened is running because an event asks for heat."""
    if tally.last is None:
        return None
    if tally.last.ladder == "STOP":
        return _values("OPERATING_STATE", "ERROR")
    if Ask.HEAT in tally.asks or Ask.SUPPLY in tally.asks:
        return _values("OPERATING_STATE", "RUNNING_HEIGHTENED" if tally.last.ladder == "LIVE" else "RUNNING_OPTED_OUT")
    return _values("OPERATING_STATE", "RUNNING_CURTAILED" if Ask.LIMIT in tally.asks else "NORMAL")


def _up(tally: Tally) -> ValuesMap | None:
    return None if tally.last is None else _values("UP_REGULATION_AVAILABLE", tally.last.headroom_up_w / 1000)


def _down(tally: Tally) -> ValuesMap | None:
    return None if tally.last is None else _values("DOWN_REGULATION_AVAILABLE", tally.last.headroom_down_w / 1000)


def _quality(tally: Tally) -> ValuesMap | None:
    if tally.counted_wh is not None and tally.is_whole:
        return _values("DATA_QUALITY", "OK")
    return _values("DATA_QUALITY", "MISSING" if tally.energy_wh is None else "ESTIMATED")


PAYLOADS: dict[str, tuple[str | None, Callable[[Tally], ValuesMap | None]]] = {
    "USAGE": ("KWH", _usage),
    "DEMAND": ("KW", _demand),
    "SETPOINT": ("KW", _setpoint),
    "OPERATING_STATE": (None, _state),
    "UP_REGULATION_AVAILABLE": ("KW", _up),
    "DOWN_REGULATION_AVAILABLE": ("KW", _down),
    "DATA_QUALITY": (None, _quality),
}


def _wanted(event: Event) -> list[str]:
    """The types of report an event asks for that we can give, each once."""
    return list(dict.fromkeys(each.payload_type for each in event.report_descriptors or [] if each.payload_type in PAYLOADS))
