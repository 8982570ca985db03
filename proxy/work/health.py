"""Is a pool fit to work for? Judged from what was observed of it, never from an open socket alone.

A pool can be connected and worthless: no new job, no answers, or refusals. Each of these has one figure with a limit from the
pool's table, and the reason names figure and limit for the operator. Not here: what follows from it (ladder.py), and gathering the
figures (upstream/).
"""

import enum
import itertools

import msgspec

from proxy import config

# Fewer jobs than this say nothing about a pool's usual interval.
MIN_INTERVALS = 4
QUIET_INTERVALS = 3.0
MIN_UNANSWERED = 3
MIN_ANSWERS = 30


class HealthState(enum.Enum):
    """The value is what the page and the metrics show."""

    READY = "ready"
    WARMING = "connecting"  # connection, handshake or first job on its way
    SICK = "sick"  # works, but work is or may be lost: leave it when there is a better one
    DOWN = "down"  # no work can be had from it
    OFF = "off"  # cannot be used until somebody changes something


class Health(msgspec.Struct, frozen=True, gc=False):
    """A state, and for all but READY why."""

    state: HealthState
    reason: str | None = None


READY = Health(HealthState.READY)


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a pool now. Times are of the caller's clock; work is expected hashes.

    connected: a session is through its handshake, since `ready_since_s`. failure: why the last session ended, None before the first
    one did. job_times_s: when its latest jobs came, oldest first. recent_*: answers to shares over the last 3 min.
    """

    connected: bool
    failure: str | None = None
    off_reason: str | None = None
    ready_since_s: float | None = None
    job_times_s: tuple[float, ...] = ()
    oldest_unanswered_s: float | None = None
    unanswered: int = 0
    recent_answers: int = 0
    recent_refused_work: float = 0.0
    recent_work: float = 0.0
    median_latency_s: float | None = None


def judge(seen: Observation, limits: config.Pool, now_s: float) -> Health:
    """The state of a pool by `limits`; the first reason that applies, the worst first."""
    if seen.off_reason is not None:
        return Health(HealthState.OFF, seen.off_reason)
    if not seen.connected:
        return Health(HealthState.WARMING, "connecting") if seen.failure is None else Health(HealthState.DOWN, seen.failure)
    if not seen.job_times_s:
        waited_s = now_s - seen.ready_since_s if seen.ready_since_s is not None else 0.0
        if waited_s <= limits.job_timeout_s:
            return Health(HealthState.WARMING, "connected, no job yet")
        return Health(HealthState.DOWN, f"connected {waited_s:.0f} s ago and never sent a job")
    reason = _late_job(seen, limits, now_s) or _late_answers(seen, limits, now_s) or _refusals(seen, limits)
    return READY if reason is None else Health(HealthState.SICK, reason)


def _late_job(seen: Observation, limits: config.Pool, now_s: float) -> str | None:
    age_s = now_s - seen.job_times_s[-1]
    limit_s = limits.job_timeout_s
    if len(seen.job_times_s) > MIN_INTERVALS:
        gaps_s = sorted(later - earlier for earlier, later in itertools.pairwise(seen.job_times_s))
        limit_s = max(limit_s, QUIET_INTERVALS * gaps_s[len(gaps_s) // 2])
    return f"no job for {age_s:.0f} s (limit {limit_s:.0f} s)" if age_s > limit_s else None


def _late_answers(seen: Observation, limits: config.Pool, now_s: float) -> str | None:
    limit_s = limits.answer_timeout_s
    if seen.oldest_unanswered_s is not None and seen.unanswered >= MIN_UNANSWERED:
        waits_s = now_s - seen.oldest_unanswered_s
        if waits_s > limit_s:
            return f"{seen.unanswered} shares unanswered, the oldest for {waits_s:.0f} s (limit {limit_s:.0f} s)"
    if seen.median_latency_s is not None and seen.recent_answers >= MIN_ANSWERS and seen.median_latency_s > limit_s:
        return f"answers take {seen.median_latency_s:.0f} s (limit {limit_s:.0f} s)"
    return None


def _refusals(seen: Observation, limits: config.Pool) -> str | None:
    if seen.recent_answers < MIN_ANSWERS or seen.recent_work <= 0:
        return None
    rate = seen.recent_refused_work / seen.recent_work
    if rate < limits.max_reject_rate:
        return None
    return f"refused {rate:.0%} of the last {seen.recent_answers} shares' work (limit {limits.max_reject_rate:.0%})"
