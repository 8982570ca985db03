"""Energy over time from several witnesses: counters first, then integrals of power, then short gaps filled, and gaps stated.

Pure. Every span says how much energy passed between two moments and how that is known. Where spans of one layer are laid over a
period, their energy is divided by time, so that the sums over all periods are the sum of the spans: nothing is lost at a border and
nothing is counted twice. It knows no meters, no database and no contract.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, pairwise

import msgspec

# From best to worst. A figure is as good as its worst part.
MEASURED, SUMMED, ESTIMATED, SUBSTITUTED, MISSING = "measured", "summed", "estimated", "substituted", "missing"
QUALITIES = (MEASURED, SUMMED, ESTIMATED, SUBSTITUTED, MISSING)
RANK = {quality: rank for rank, quality in enumerate(QUALITIES)}

# Two readings of a counter further apart than this, with a border between them: their sum is measured, its division is not.
LONG_S = 300.0
# A gap up to so long, known on both sides, is filled with their mean power; a longer one stays a gap.
FILL_S = 300.0
# Clocks and rounding: less than this is no gap.
TOLERANCE_S = 1.0
# A counter that runs faster than the plant can heat by so much was exchanged or set.
MAX_RATE_FACTOR = 1.5
# What a coarse counter may jump at once: its last digit.
LEAST_STEP_WH = 1_000.0
STEP_H = 0.1
# Where counters begin again: at a power of ten, or where 32 bits end; in Wh, kWh, or tenths of them.
ROLLOVERS_WH = tuple(sorted({float(10**k) for k in range(5, 16)} | {float(2**32 * 10**k) for k in range(4)}))


class Span(msgspec.Struct, frozen=True, gc=False):
    """`wh` passed evenly from `start` to `end`. is_long: only the sum is known, not how it lies between the two."""

    start: float
    end: float
    wh: float
    quality: str
    is_long: bool = False

    @property
    def rate_w(self) -> float:
        """Mean power."""
        return self.wh / (self.end - self.start) * 3_600.0

    def part(self, start: float, end: float) -> "Span":
        """What of it lies between two moments inside it."""
        if start <= self.start and end >= self.end:
            return self
        quality = self.quality
        if self.is_long and RANK[quality] < RANK[SUBSTITUTED]:
            quality = SUBSTITUTED
        return Span(start, end, self.wh * (end - start) / (self.end - self.start), quality, self.is_long)


class CounterPoint(msgspec.Struct, frozen=True, gc=False):
    """An energy counter as read."""

    meter: str
    at_unix_s: float
    wh: float


class Figure(msgspec.Struct, frozen=True, gc=False):
    """Energy of a period. missing_s: for how long nothing is known; wh is of the rest, None when there is no rest."""

    wh: float | None
    quality: str
    missing_s: float


def counter_spans(points: Iterable[CounterPoint], max_w: float, quality: str = MEASURED) -> list[Span]:
    """Differences between readings of one counter, in the order of `points`.

    A counter that begins again at its end is followed; one that was reset or exchanged gives no span there, and what passed
    meanwhile has to come from elsewhere. `max_w`: no more than this can pass for real.
    """
    spans = []
    before: CounterPoint | None = None
    for point in points:
        if before is not None and point.meter == before.meter:
            if point.at_unix_s <= before.at_unix_s:
                continue  # read only once since
            wh = _passed(before, point, max_w)
            if wh is not None:
                is_long = point.at_unix_s - before.at_unix_s > LONG_S
                spans.append(Span(before.at_unix_s, point.at_unix_s, wh, quality, is_long))
        before = point
    return spans


def _passed(before: CounterPoint, point: CounterPoint, max_w: float) -> float | None:
    hours = (point.at_unix_s - before.at_unix_s) / 3_600.0
    most_wh = MAX_RATE_FACTOR * max_w * hours + max(LEAST_STEP_WH, STEP_H * max_w)
    wh = point.wh - before.wh
    if wh >= 0.0:
        return wh if wh <= most_wh else None
    end = ROLLOVERS_WH[min(bisect_right(ROLLOVERS_WH, before.wh), len(ROLLOVERS_WH) - 1)]
    # A reset in mid-range must not pass for a rollover: the counter stood near its end and runs on near its beginning.
    if before.wh + most_wh < end or point.wh > most_wh:
        return None
    return end + wh


def layered(layers: Sequence[Iterable[Span]]) -> list[Span]:
    """One line of spans that do not overlap, by time: each moment comes from the first layer that knows it."""
    line: list[Span] = []
    for layer in layers:
        starts = [span.start for span in line]
        taken = list(line)
        fresh: list[Span] = []
        at = float("-inf")
        for span in sorted(layer, key=lambda s: s.start):
            begin = max(span.start, at)
            if begin < span.end:
                fresh += _free(span, begin, taken, starts)
                at = span.end
        line = sorted([*line, *fresh], key=lambda s: s.start)
    return line


def _free(span: Span, begin: float, taken: Sequence[Span], starts: Sequence[float]) -> list[Span]:
    """The parts of `span` after `begin` where `taken` (by time) has nothing."""
    parts = []
    position = max(0, bisect_right(starts, begin) - 1)
    for other in taken[position:]:
        if other.start >= span.end:
            break
        if other.start > begin:
            parts.append(span.part(begin, other.start))
        begin = max(begin, other.end)
    if begin < span.end:
        parts.append(span.part(begin, span.end))
    return parts


def together(lines: Sequence[Sequence[Span]], quality: str = SUMMED) -> list[Span]:
    """The sum of several lines, where all of them know something. Each line must be free of overlaps and sorted."""
    if not lines or not all(lines):
        return []
    borders = sorted({moment for line in lines for span in line for moment in (span.start, span.end)})
    positions = [0] * len(lines)
    found = []
    for start, end in pairwise(borders):
        parts = []
        for k, line in enumerate(lines):
            while positions[k] < len(line) and line[positions[k]].end <= start:
                positions[k] += 1
            span = line[positions[k]] if positions[k] < len(line) else None
            if span is not None and span.start <= start:
                parts.append(span.part(start, end))
        if len(parts) == len(lines):
            wh = sum(span.wh for span in parts)
            worst = max((span.quality for span in parts), key=RANK.__getitem__)
            is_long = any(span.is_long for span in parts)
            found.append(Span(start, end, wh, max(worst, quality, key=RANK.__getitem__), is_long))
    return found


def filled(line: Sequence[Span]) -> list[Span]:
    """`line` with its short gaps filled with the mean power of both sides, marked as substituted."""
    whole: list[Span] = []
    for span in line:
        if whole:
            before = whole[-1]
            gap_s = span.start - before.end
            if 0.0 < gap_s <= FILL_S:
                wh = (before.rate_w + span.rate_w) / 2.0 * gap_s / 3_600.0
                quality = SUBSTITUTED if gap_s > TOLERANCE_S else max(before.quality, span.quality, key=RANK.__getitem__)
                whole.append(Span(before.end, span.start, wh, quality))
        whole.append(span)
    return whole


def between(line: Sequence[Span], start: float, end: float) -> Iterator[Span]:
    """The spans of a line (by time, without overlaps) that touch [start, end)."""
    for span in islice(line, bisect_right(line, start, key=lambda span: span.end), None):
        if span.start >= end:
            return
        yield span


def figure(line: Sequence[Span], start: float, end: float) -> Figure:
    """The energy between two moments. A gap makes it `missing`, and says for how long; its energy is never counted as 0."""
    parts = [span.part(max(span.start, start), min(span.end, end)) for span in between(line, start, end)]
    covered_s = sum(part.end - part.start for part in parts)
    missing_s = end - start - covered_s
    if not parts:
        return Figure(None, MISSING, end - start)
    wh = sum(part.wh for part in parts)
    if missing_s > TOLERANCE_S:
        return Figure(wh, MISSING, missing_s)
    return Figure(wh, max((part.quality for part in parts), key=RANK.__getitem__), 0.0)


def swing_w(line: Sequence[Span], start: float, end: float) -> float:
    """How much the mean power of the spans that touch [start, end) differed: a measure of the heat that may be in between."""
    rates = [span.rate_w for span in between(line, start, end)]
    return max(rates) - min(rates) if rates else 0.0
