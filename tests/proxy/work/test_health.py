"""A pool that is connected is not yet a pool that is worth working for."""

import pytest

from proxy import config
from proxy.work.health import Health, HealthState, Observation, judge

POOL = config.Pool(name="a", url="stratum+tcp://pool.example:3333", user="site")  # jobs 90 s, answers 30 s, refusals 10 %
NOW_S = 10_000.0


def steady(**other):
    facts = {"connected": True, "ready_since_s": 0.0, "job_times_s": tuple(NOW_S - 30.0 * n for n in range(20, 0, -1))}
    return Observation(**(facts | other))


@pytest.mark.parametrize(
    ("seen", "state", "reason"),
    [
        (steady(), HealthState.READY, None),
        (Observation(connected=False), HealthState.WARMING, "connecting"),
        (Observation(connected=False, failure="closed by the pool"), HealthState.DOWN, "closed by the pool"),
        (steady(off_reason="its extranonce2 is too short"), HealthState.OFF, "its extranonce2 is too short"),
        (Observation(connected=True, ready_since_s=NOW_S - 89), HealthState.WARMING, "connected, no job yet"),
        (Observation(connected=True, ready_since_s=NOW_S - 91), HealthState.DOWN, "connected 91 s ago and never sent a job"),
        (steady(unanswered=3, oldest_unanswered_s=NOW_S - 29), HealthState.READY, None),
        (steady(unanswered=2, oldest_unanswered_s=NOW_S - 99), HealthState.READY, None),
        (
            steady(unanswered=3, oldest_unanswered_s=NOW_S - 31),
            HealthState.SICK,
            "3 shares unanswered, the oldest for 31 s (limit 30 s)",
        ),
        (steady(recent_answers=29, recent_work=29.0, recent_refused_work=29.0), HealthState.READY, None),
        (steady(recent_answers=30, recent_work=30.0, recent_refused_work=2.9), HealthState.READY, None),
        (
            steady(recent_answers=30, recent_work=30.0, recent_refused_work=3.0),
            HealthState.SICK,
            "refused 10% of the last 30 shares' work (limit 10%)",
        ),
        (steady(recent_answers=30, recent_work=0.0), HealthState.READY, None),
        (steady(recent_answers=30, median_latency_s=31.0), HealthState.SICK, "answers take 31 s (limit 30 s)"),
        (steady(recent_answers=29, median_latency_s=31.0), HealthState.READY, None),
    ],
)
def test_the_verdict_names_figure_and_limit(seen, state, reason):
    assert judge(seen, POOL, NOW_S) == Health(state, reason)


def test_a_pool_with_rare_jobs_is_not_sick_between_them():
    rare = tuple(NOW_S - 150.0 - 60.0 * n for n in range(5, 0, -1))
    assert judge(steady(job_times_s=rare), POOL, rare[-1] + 179).state is HealthState.READY
    assert judge(steady(job_times_s=rare), POOL, rare[-1] + 181) == Health(HealthState.SICK, "no job for 181 s (limit 180 s)")


def test_a_pool_with_frequent_jobs_still_has_the_configured_time():
    often = tuple(NOW_S - n for n in range(20, 0, -1))
    assert judge(steady(job_times_s=often), POOL, often[-1] + 89).state is HealthState.READY
    assert judge(steady(job_times_s=often), POOL, often[-1] + 91).state is HealthState.SICK


def test_few_jobs_say_nothing_about_the_usual_interval():
    assert judge(steady(job_times_s=(0.0, NOW_S - 91)), POOL, NOW_S).state is HealthState.SICK
