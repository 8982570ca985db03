"""What a row of readings after one command tells: when it showed, when power began to move, how fast it went, whether it rebooted.

Pure arithmetic over what was seen. Who asks the machine, and for how long, is `profile`; what is written down is `profile_table`.
"""

from collections.abc import Sequence

import msgspec

from proxy.units.drivers.base import Reading

# A machine is at rest when its power stayed within this part of its mean, or within so many watts, for the whole window.
REST_PART, REST_W = 0.03, 0.5
# Between these parts of a step a ramp is straight: its end is rounded, and before it a controller awake draws up to a quarter.
RAMP_FROM, RAMP_TO = 0.35, 0.9
# Power that left its old value by this part of it has begun to move.
MOVED_PART = 0.03
# Uptimes are told in whole seconds, and machines count them badly.
UPTIME_SLACK_S = 5.0


class Sample(msgspec.Struct, frozen=True, gc=False):
    """One look at a time since the command; None: it did not answer."""

    after_s: float
    reading: Reading | None


class Rest(msgspec.Struct, frozen=True, gc=False):
    """Means over a window in which power stood still. hashrate_hps is None where the machine told none."""

    power_w: float
    hashrate_hps: float | None


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One command and what came of it. Times are seconds after it; None is not seen."""

    to_level: int
    before: Rest
    after: Rest
    shows_s: float | None  # the machine says that it is there
    hashing_s: float | None
    moves_s: float | None  # the first watt of change
    full_ramp_s: float | None  # the time a change from nothing to top_w would take at this speed
    settled_s: float  # power is where it stays
    rebooted: bool


def rest_of(samples: Sequence[Sample], window_s: float) -> Rest | None:
    """The means of the last `window_s` if power stood still in them and none of them is missing; else None."""
    end_s = samples[-1].after_s if samples else 0.0
    if not samples or samples[0].after_s > end_s - window_s:
        return None
    readings = [sample.reading for sample in samples if sample.after_s >= end_s - window_s]
    watts = [reading.power_w for reading in readings if reading is not None and reading.power_w is not None]
    if len(watts) < len(readings):
        return None
    mean_w = sum(watts) / len(watts)
    if max(watts) - min(watts) > max(REST_PART * mean_w, REST_W):
        return None
    rates = [reading.hashrate_hps for reading in readings if reading is not None and reading.hashrate_hps is not None]
    return Rest(mean_w, sum(rates) / len(rates) if rates else None)


def has_moved(samples: Sequence[Sample], before: Rest) -> bool:
    """Whether power ever left where it was."""
    least_w = max(MOVED_PART * before.power_w, REST_W)
    return any(abs(power_w - before.power_w) > least_w for _, power_w in _powers(samples))


def shows(reading: Reading, level: int) -> bool:
    """Whether the machine says that it is on `level`, or at least does not say another one."""
    if level == 0:
        return reading.asleep is True
    return reading.asleep is False and reading.hashing is True and reading.level_observed in (level, None)


def change_of(
    samples: Sequence[Sample], *, to_level: int, before: Rest, after: Rest, uptime_s: float | None, top_w: float
) -> Change:
    """Everything that the samples of one change tell. `uptime_s` is what the machine said before the command."""
    step_w = after.power_w - before.power_w
    moves_s: float | None = None
    full_ramp_s: float | None = None
    if abs(step_w) > max(MOVED_PART * before.power_w, REST_W):
        began_s, ended_s = (_reaches(samples, before.power_w + part * step_w, step_w > 0) for part in (RAMP_FROM, RAMP_TO))
        if began_s is not None and ended_s is not None:
            ramp_s = (ended_s - began_s) / (RAMP_TO - RAMP_FROM)
            moves_s = max(0.0, began_s - RAMP_FROM * ramp_s)
            full_ramp_s = ramp_s * top_w / abs(step_w)
    seen = [(sample.after_s, sample.reading) for sample in samples if sample.reading is not None]
    band_w = max(REST_PART * after.power_w, REST_W)
    return Change(
        to_level=to_level,
        before=before,
        after=after,
        shows_s=next((at_s for at_s, reading in seen if _says(reading, to_level)), None),
        hashing_s=next((at_s for at_s, reading in seen if reading.hashing and reading.asleep is False), None),
        moves_s=moves_s,
        full_ramp_s=full_ramp_s,
        settled_s=max((at_s for at_s, power_w in _powers(samples) if abs(power_w - after.power_w) > band_w), default=0.0),
        rebooted=_rebooted(seen, uptime_s),
    )


def _says(reading: Reading, level: int) -> bool:
    return reading.asleep is True if level == 0 else reading.asleep is False and reading.level_observed == level


def _powers(samples: Sequence[Sample]) -> list[tuple[float, float]]:
    return [
        (each.after_s, each.reading.power_w) for each in samples if each.reading is not None and each.reading.power_w is not None
    ]


def _reaches(samples: Sequence[Sample], power_w: float, is_rising: bool) -> float | None:
    """When power first passes a value on its way, between two samples by a straight line."""
    last: tuple[float, float] | None = None
    for at_s, seen_w in _powers(samples):
        if seen_w >= power_w if is_rising else seen_w <= power_w:
            if last is None or last[1] == seen_w:
                return at_s
            return last[0] + (at_s - last[0]) * (power_w - last[1]) / (seen_w - last[1])
        last = (at_s, seen_w)
    return None


def _rebooted(seen: Sequence[tuple[float, Reading]], uptime_s: float | None) -> bool:
    """Its uptime fell."""
    if uptime_s is None:
        return False
    return any(
        reading.elapsed_s is not None and reading.elapsed_s + UPTIME_SLACK_S < min(uptime_s + at_s, uptime_s)
        for at_s, reading in seen
    )
