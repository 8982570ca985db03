"""What OpenADR events ask of the site, and when: windows of time with a heat power, a supply temperature or an import limit. Pure.

    DISPATCH_SETPOINT in KW            heat power (the protocol has no thermal set-point of its own)
    CONTROL_SETPOINT in CELSIUS        supply temperature
    IMPORT_CAPACITY_LIMIT in KW        cap on electrical power
Other payloads are none of our business. Where events overlap, the lower number of `priority` rules, none being the last, and among
equals the one modified last.
"""

import hashlib
import math
from collections.abc import Sequence
from enum import Enum

import msgspec

from proxy.heat.signals.openadr_wire import (
    BEGINNING_S,
    Event,
    Interval,
    IntervalPeriod,
    PayloadDescriptor,
    Program,
    Unusable,
    moment,
    seconds,
)

# A year of quarter hours is 35,040; nobody plans heat so far ahead.
MAX_INTERVALS = 4_096
# Units as the library of a widespread server spells them.
SPELLINGS = {"CELCIUS": "CELSIUS"}
# A set of intervals that repeats is unrolled this many times at once: two days of daily ones, or the next hour of quarter hours.
ROUNDS = 4


class Ask(Enum):
    """What a payload can ask: its type and the units it must have."""

    HEAT = ("DISPATCH_SETPOINT", "KW")
    SUPPLY = ("CONTROL_SETPOINT", "CELSIUS")
    LIMIT = ("IMPORT_CAPACITY_LIMIT", "KW")


class Window(msgspec.Struct, frozen=True, gc=False):
    """One interval of an event on the clock. `asks`: numbers in the units of the protocol; end may be infinite."""

    event_id: str
    interval_id: int
    start_unix_s: float
    end_unix_s: float
    priority: int | None
    modified_unix_s: float
    asks: dict[Ask, float]

    def is_active_at(self, now_unix_s: float) -> bool:
        """Whether it covers this moment."""
        return self.start_unix_s <= now_unix_s < self.end_unix_s


def windows(event: Event, program: Program | None, salt: str, now_unix_s: float) -> list[Window]:
    """The event's intervals that are not over at `now_unix_s`, in their order. Raises Unusable.

    `salt` (our name) makes the random shift of `randomizeStart` ours, and the same each time the event is read.
    """
    intervals = event.intervals or []
    if len(intervals) > MAX_INTERVALS:
        raise Unusable(f"{len(intervals):,} intervals; at most {MAX_INTERVALS:,}")
    units = _units([*((program and program.payload_descriptors) or []), *(event.payload_descriptors or [])])
    modified_unix_s = moment(event.modification_date_time)
    placed = _looped(_placed(event, intervals, salt), event, now_unix_s)
    return [
        Window(event.id, interval.id, start, end, event.priority, modified_unix_s, _asks(interval, units))
        for interval, start, end in placed
        if start < end and end > now_unix_s
    ]


def ruling(known: Sequence[Window], ask: Ask, now_unix_s: float) -> Window | None:
    """The window that rules now in one respect."""
    active = [window for window in known if ask in window.asks and window.is_active_at(now_unix_s)]
    return min(active, key=_rank, default=None)


def next_change(known: Sequence[Window], now_unix_s: float) -> float:
    """When a window begins or ends next; infinity when none does."""
    moments = [moment for window in known for moment in (window.start_unix_s, window.end_unix_s)]
    return min((moment for moment in moments if moment > now_unix_s), default=math.inf)


def _rank(window: Window) -> tuple[float, float, str]:
    return math.inf if window.priority is None else window.priority, -window.modified_unix_s, window.event_id


Placed = tuple[Interval, float, float]


def _placed(event: Event, intervals: Sequence[Interval], salt: str) -> list[Placed]:
    """Start and end of each interval; one without a start of its own follows the one before."""
    default = event.interval_period or IntervalPeriod()
    placed: list[Placed] = []
    shift_s = 0.0
    for position, interval in enumerate(intervals):
        own = interval.interval_period or IntervalPeriod()
        randomize = own.randomize_start or (default.randomize_start if position == 0 else None)
        if randomize is not None:
            shift_s = _shift(randomize, f"{salt}/{event.id}/{position}")
        start = None if own.start is None else moment(own.start)
        if position == 0 and start in (None, BEGINNING_S) and default.start is not None:
            start = moment(default.start)
        if position > 0 and start in (None, BEGINNING_S):
            start = placed[-1][2]
        elif start is None:
            raise Unusable("neither the event nor its first interval says when it starts")
        else:
            start += shift_s
        length = own.duration or default.duration
        if length is None:
            raise Unusable(f"interval {interval.id} has no duration; P9999Y is for ever")
        length_s = seconds(length)
        placed.append((interval, start, math.inf if math.isinf(length_s) else start + length_s))
    return placed


def _looped(placed: list[Placed], event: Event, now_unix_s: float) -> list[Placed]:
    """The intervals cut short, or repeated, by the duration of the event as a whole."""
    whole_s = 0.0 if event.duration is None else seconds(event.duration)
    if not placed or whole_s == 0.0:
        return placed
    first_s, last_s = placed[0][1], max(end for _, _, end in placed)
    ends_s, length_s = first_s + whole_s, last_s - first_s
    rounds = [0]
    if 0 < length_s < whole_s and math.isfinite(length_s):
        current = max(0, math.floor((now_unix_s - first_s) / length_s))
        rounds = [k for k in range(current, current + ROUNDS) if k * length_s < whole_s]
    shifts_s = [k * length_s if k else 0.0 for k in rounds]
    return [(each, start + shift_s, min(end + shift_s, ends_s)) for shift_s in shifts_s for each, start, end in placed]


def _shift(text: str, salt: str) -> float:
    """A shift within plus and minus the given duration, evenly distributed over sites and always the same for one."""
    spread_s = seconds(text)
    if math.isinf(spread_s):
        raise Unusable("randomizeStart is infinite")
    part = int.from_bytes(hashlib.sha256(salt.encode()).digest()[:8], "big") / 2**64
    return spread_s * (2 * part - 1)


def _units(descriptors: Sequence[PayloadDescriptor]) -> dict[str, str | None]:
    """Units by payload type; those of the event come after, and win over, those of the program."""
    return {each.payload_type: each.units for each in descriptors if each.object_type in (None, "EVENT_PAYLOAD_DESCRIPTOR")}


def _asks(interval: Interval, units: dict[str, str | None]) -> dict[Ask, float]:
    asks: dict[Ask, float] = {}
    known = {ask.value[0]: ask for ask in Ask}
    for payload in interval.payloads:
        ask = known.get(payload.type)
        if ask is None:
            continue
        wanted, found = ask.value[1], units.get(payload.type)
        if found != wanted and SPELLINGS.get(found or "") != wanted:
            raise Unusable(f"{payload.type} is in {found or 'no units'}; its payloadDescriptor must say {wanted}")
        if len(payload.values) != 1:
            raise Unusable(f"{payload.type} has {len(payload.values)} values in one interval; give each its own")
        value = payload.values[0]
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise Unusable(f"{payload.type} is no finite number")
        asks[ask] = float(value)
    return asks
