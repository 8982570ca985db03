"""The JSON line, from recorded inputs."""

import msgspec
import pytest

from proxy.sim.demo_summary import Counted, HeatRecord, HeatSample, summarise
from proxy.views import ShareTotals, SiteView
from tests.support.views import heat_view, site_view

SHARES = ShareTotals(
    received=1_000, rejected={"stale": 3}, below_pool_target=200, accepted=790, refused={"21": 2}, unknown={"disconnected": 5}
)
COUNTED = Counted(
    units_connected=227,
    units_connected_v2=114,
    units_total=228,
    accepted_by_pool={"north": 700, "south": 92},
    accepted_by_units=995,
    unanswered_at_units=2,
    methods_seen={"mining.notify": 9_000, "mining.set_difficulty": 700, "NewMiningJob": 4_000},
    demands_refused=0,
    seconds=60.04,
    simulated_hours=1.0,
    cpu_s=12.34567,
    rss_mb=88.0,
)


def site(shares: ShareTotals = SHARES) -> SiteView:
    return site_view(shares=shares, heat=heat_view(setpoint_changes=4, level_changes=310), pools=[])


def record(error: float = 0.005, seconds: int = 60) -> HeatRecord:
    heat = HeatRecord(settle_s=10.0)
    for index in range(seconds):
        sign = 1 if index % 2 else -1
        heat.add(HeatSample(1.0, 1_000_000.0, 1_000_000.0 * (1 + sign * error)))
    return heat


def test_a_good_run_is_ok_and_says_what_it_did() -> None:
    summary = summarise(site(), record(), COUNTED)
    assert summary.ok
    assert summary.problems == []
    assert (summary.units_v1, summary.units_v2) == (113, 114)
    assert summary.accepted_by_pool == {"north": 700, "south": 92}
    assert (summary.shares_accepted, summary.shares_rejected, summary.shares_unknown) == (790, 5, 5)
    assert summary.heat_demanded_kwh == pytest.approx(1_000 * 60 / 3_600, abs=1e-3)
    assert summary.tracking_error_rms == pytest.approx(0.005)
    assert summary.tracking_within_1pct == 1.0
    assert (summary.setpoint_changes, summary.level_changes) == (4, 310)
    assert b"\n" not in msgspec.json.encode(summary)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"units_connected": 100}, "units were mining"),
        ({"accepted_by_pool": {"north": 789}}, "pools accepted"),
        ({"accepted_by_pool": {"north": 700, "south": 96}}, "pools accepted"),
        ({"accepted_by_units": 998}, "told true"),
        ({"accepted_by_units": 994}, "told true"),
        ({"methods_seen": {"mining.notify": 1, "client.reconnect": 1}}, "client.reconnect"),
    ],
)
def test_whatever_does_not_agree_is_named(changes: dict[str, object], word: str) -> None:
    summary = summarise(site(), record(), msgspec.structs.replace(COUNTED, **changes))
    assert not summary.ok
    assert len(summary.problems) == 1
    assert word in summary.problems[0]


def test_shares_without_a_state_are_a_problem() -> None:
    summary = summarise(site(msgspec.structs.replace(SHARES, conservation_delta=1)), record(), COUNTED)
    assert (summary.ok, summary.conservation_ok) == (False, False)


def test_nothing_at_all_is_not_ok_and_unknown_is_not_zero() -> None:
    summary = summarise(
        site(ShareTotals()), HeatRecord(10.0), msgspec.structs.replace(COUNTED, accepted_by_pool={}, accepted_by_units=0)
    )
    assert not summary.ok
    assert summary.tracking_error_rms is None
    assert "no share was accepted by a pool" in summary.problems
    assert "no heat demand was taken" in summary.problems


def test_tracking_counts_only_after_the_plant_has_settled() -> None:
    heat = HeatRecord(settle_s=10.0)
    for _ in range(10):
        heat.add(HeatSample(1.0, 1_000.0, 0.0))
    assert heat.error_rms() is None
    for delivered_w in (1_000.0, 1_015.0, 1_030.0):
        heat.add(HeatSample(1.0, 1_000.0, delivered_w))
    assert heat.within(0.01) == pytest.approx(1 / 3)
    assert heat.within(0.02) == pytest.approx(2 / 3)
    assert heat.error_rms() == pytest.approx((0.015**2 + 0.03**2) ** 0.5 / 3**0.5)
    assert heat.demanded_j == 13_000.0
