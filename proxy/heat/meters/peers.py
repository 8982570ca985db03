"""Several meters of one quantity against each other: three find the one that is off, two only that they differ. Pure."""

import statistics
from collections.abc import Sequence


def outliers(values: Sequence[float], tolerance: float, floor: float) -> set[int]:
    """Positions of values off the median by more than `tolerance` of it, where a majority agrees; never of fewer than three.

    The tolerance is a part of the median or of `floor`, whichever is larger.
    """
    if len(values) < 3:
        return set()
    middle = statistics.median(values)
    allowed = tolerance * max(abs(middle), floor)
    wrong = {k for k, value in enumerate(values) if abs(value - middle) > allowed}
    return wrong if 2 * len(wrong) < len(values) else set()


def spread(named: Sequence[tuple[str, float]], tolerance: float, floor: float) -> str | None:
    """How far powers of one quantity are apart, in words, when by more than `tolerance` of the largest (or of `floor`)."""
    if len(named) < 2:
        return None
    low, high = min(named, key=lambda each: each[1]), max(named, key=lambda each: each[1])
    if high[1] - low[1] <= tolerance * max(abs(high[1]), floor):
        return None
    return f"{low[0]} says {low[1] / 1000:,.1f} kW, {high[0]} {high[1] / 1000:,.1f} kW"
