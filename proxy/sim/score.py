"""How well a plant followed its demand: the figures that a heat contract is judged by.

Pure functions of what was asked and what was delivered, step by step. It knows no controller; a perfect one and none at all are
scored the same way.
"""

import math

import msgspec
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

QUARTER_S = 900.0
# What the plant did before it was under control is not the controller's.
WARM_UP_S = 3_600.0


class Tracking(msgspec.Struct, frozen=True, kw_only=True):
    """Parts are fractions (0.006 is 0.6 %); None where the run was too short to say."""

    rms: float | None
    worst: float | None
    within_1: float | None
    within_2: float | None
    energy_error_mean: float | None
    energy_error_p95: float | None
    energy_error_max: float | None
    energy_error_total: float | None
    demand_wh: float
    delivered_wh: float


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """How a step was answered, counted from the step. None: it never happened within the run."""

    reached_90_s: float | None
    within_2_s: float | None
    overshoot: float


def tracking(step_s: float, demand_w: Floats, heat_w: Floats, warm_up_s: float = WARM_UP_S) -> Tracking:
    """Score equal steps of `step_s`. Steps before `warm_up_s`, and those with no demand, do not count."""
    start = round(warm_up_s / step_s)
    asked, given = demand_w[start:], heat_w[start:]
    counted = np.isfinite(asked) & (asked > 0)
    asked, given = np.where(counted, asked, 0.0), np.where(counted, given, 0.0)
    hours = step_s / 3_600.0
    sums = (float(asked.sum()) * hours, float(given.sum()) * hours)
    if not counted.any():
        return Tracking(
            rms=None,
            worst=None,
            within_1=None,
            within_2=None,
            energy_error_mean=None,
            energy_error_p95=None,
            energy_error_max=None,
            energy_error_total=None,
            demand_wh=sums[0],
            delivered_wh=sums[1],
        )
    error = given[counted] - asked[counted]
    part = np.abs(error) / asked[counted]
    quarters = _quarters(step_s, asked, given)
    return Tracking(
        rms=float(np.sqrt(np.mean(error**2)) / asked[counted].mean()),
        worst=float(part.max()),
        within_1=float((part <= 0.01).mean()),
        within_2=float((part <= 0.02).mean()),
        energy_error_mean=None if len(quarters) == 0 else float(quarters.mean()),
        energy_error_p95=None if len(quarters) == 0 else float(np.quantile(quarters, 0.95)),
        energy_error_max=None if len(quarters) == 0 else float(quarters.max()),
        energy_error_total=None if sums[0] == 0 else abs(sums[1] - sums[0]) / sums[0],
        demand_wh=sums[0],
        delivered_wh=sums[1],
    )


def step_response(step_s: float, demand_w: Floats, heat_w: Floats, at_s: float) -> Step:
    """Judge the answer to the step of the demand at `at_s`, until the demand moves again or the run ends.

    The heat is averaged over a minute, so that a meter's noise is no overshoot.
    """
    first = round(at_s / step_s)
    before, after = float(demand_w[first - 1]), float(demand_w[first])
    moves = np.flatnonzero(np.abs(demand_w[first:] - after) > 1e-6 * abs(after))
    stop = first + int(moves[0]) if len(moves) else len(demand_w)
    smooth = _smooth(heat_w, max(1, round(60.0 / step_s)))[first:stop]
    size = after - before
    if size == 0.0 or len(smooth) == 0:
        return Step(reached_90_s=0.0, within_2_s=0.0, overshoot=0.0)
    done = (smooth - before) / size
    reached = np.flatnonzero(done >= 0.9)
    outside = np.flatnonzero(np.abs(smooth - after) > 0.02 * after)
    settled = 0 if len(outside) == 0 else int(outside[-1]) + 1
    return Step(
        reached_90_s=None if len(reached) == 0 else float(reached[0] * step_s),
        within_2_s=None if settled >= len(smooth) else settled * step_s,
        overshoot=max(0.0, float(done.max()) - 1.0) * abs(size) / after,
    )


def recovery_s(
    step_s: float, demand_w: Floats, heat_w: Floats, at_s: float, part: float, until_s: float | None = None
) -> float | None:
    """How long after `at_s` the heat was outside of `part` of the demand for the last time; None: it still is at the end."""
    first = round(at_s / step_s)
    stop = len(demand_w) if until_s is None else min(len(demand_w), round(until_s / step_s))
    smooth = _smooth(heat_w, max(1, round(60.0 / step_s)))
    outside = np.flatnonzero(np.abs(smooth[first:stop] - demand_w[first:stop]) > part * demand_w[first:stop])
    if len(outside) == 0:
        return 0.0
    return None if outside[-1] == stop - first - 1 else float(outside[-1] + 1) * step_s


def _quarters(step_s: float, asked: Floats, given: Floats) -> Floats:
    """Relative error of the energy of each whole quarter hour."""
    width = max(1, round(QUARTER_S / step_s))
    whole = len(asked) // width
    asked_wh = asked[: whole * width].reshape(whole, width).mean(axis=1)
    given_wh = given[: whole * width].reshape(whole, width).mean(axis=1)
    kept = asked_wh > 0
    errors: Floats = np.abs(given_wh[kept] - asked_wh[kept]) / asked_wh[kept]
    return errors


def _smooth(values: Floats, width: int) -> Floats:
    """Mean of the last `width` values (fewer at the start)."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - width, 0)
    means: Floats = (sums[ends] - sums[starts]) / (ends - starts)
    return means


def percentile(values: list[float], part: float) -> float | None:
    """The value below which `part` of all lie; None for none."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(part * len(ordered)) - 1 if part > 0 else 0)]
