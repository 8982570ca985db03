"""A small site in good order, as its views show it; a test names what is different."""

from proxy.views import HeatView, PoolView, ShareTotals, SiteView


def heat_view(**known: object) -> HeatView:
    """A demand that is followed; the boundary has no meter."""
    values: dict[str, object] = {
        "ladder": "LIVE",
        "source": "city-heat",
        "demand_w": 1_500_000.0,
        "demand_age_s": 4.0,
        "demand_valid_for_s": 896.0,
        "setpoint_power_w": 1_580_000.0,
        "commanded_power_w": 1_579_000.0,
        "measured_power_w": None,
        "heat_w": 1_490_000.0,
        "heat_quality": "estimated",
        "supply_c": None,
        "return_c": None,
        "headroom_up_w": 0.0,
        "headroom_down_w": 0.0,
        "marginal_price_per_kwh": None,
        "limiter": "ramp",
        "tracking_error": -0.0067,
        "setpoint_changes": 1,
        "level_changes": 2,
        "demand_energy_wh": 0.0,
        "heat_energy_wh": 0.0,
        "decision_s": None,
    }
    return HeatView(**{**values, **known})  # type: ignore[arg-type]  # the test names the fields


def pool_view(**known: object) -> PoolView:
    """A pool that is worked for."""
    values: dict[str, object] = {
        "name": "main",
        "url": "stratum+ssl://pool.example:443",
        "transport": "tls",
        "mode": "aggregated",
        "state": "ready",
        "reason": None,
        "priority": 0,
        "weight": 1.0,
        "active": True,
        "sessions": 1,
        "units": 228,
        "difficulty": 131_072.0,
        "extranonce1_bytes": 4,
        "extranonce2_bytes": 8,
        "version_mask": "1fffe000",
        "last_job_age_s": 12.0,
        "submit_latency_s": 0.021,
        "accepted": 1_234,
        "refused": {"21": 2},
        "unknown": {},
        "pending": 0,
        "accepted_work": 0.0,
        "reconnects": 0,
        "last_message": None,
    }
    return PoolView(**{**values, **known})  # type: ignore[arg-type]


def site_view(**known: object) -> SiteView:
    """228 units, one in service."""
    values: dict[str, object] = {
        "name": "hall-228",
        "version": "0.1.0",
        "now_unix_s": 0.0,
        "uptime_s": 7_200.0,
        "miners_connected": 228,
        "hashrate_hps": 109e15,
        "shares": ShareTotals(received=1_240, accepted=1_234, refused={"21": 2}, rejected={"stale": 4}),
        "heat": heat_view(),
        "pools": [pool_view()],
        "unit_states": {"RUN": 227, "SERVICE": 1},
        "ledger_state": "ok",
        "loop_lag_s": None,
    }
    return SiteView(**{**values, **known})  # type: ignore[arg-type]
