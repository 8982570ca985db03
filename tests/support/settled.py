"""Settled periods and proofs of a plant of four loops, for tests that only read them."""

import math

from proxy.ledger.records import PeriodRecord, PoolWork
from proxy.views import ProofView

LOOPS = {"site": 1.0, "loop-1": 0.3, "loop-2": 0.3, "loop-3": 0.3, "loop-4": 0.1}


def make_period(start_unix_s: int, scope: str = "site", part: float = 1.0, **facts: object) -> PeriodRecord:
    """A quarter hour in which all went well; any field can be given."""
    heat_wh = part * (250_000.0 + 50_000.0 * math.sin(start_unix_s / 20_000.0))
    electric_wh = heat_wh / 0.95
    fields: dict[str, object] = {
        "scope": scope,
        "start_unix_s": start_unix_s,
        "period_s": 900,
        "revision": 1,
        "reason": None,
        "closed_unix_s": start_unix_s + 1_020.0,
        "demand_wh": heat_wh * 1.002 if scope == "site" else None,
        "demand_s": 900.0 if scope == "site" else 0.0,
        "heat_wh": heat_wh,
        "heat_quality": "measured",
        "heat_missing_s": 0.0,
        "electric_wh": electric_wh,
        "electric_quality": "measured",
        "electric_missing_s": 0.0,
        "reported_wh": electric_wh * 1.01,
        "work": (PoolWork("north", 4_000, part * 3e19), PoolWork("south", 1_000, part * 8e18)),
        "work_wh": electric_wh * 0.99,
        "work_sigma": 0.004,
        "supply_asked_s": 900.0 if scope == "site" else 0.0,
        "supply_kept_s": 890.0 if scope == "site" else 0.0,
        "available_s": 880.0,
    }
    return PeriodRecord(**{**fields, **facts})  # type: ignore[arg-type]  # keywords of the record


def fake_periods(start_unix_s: int, end_unix_s: int) -> list[PeriodRecord]:
    """Every quarter hour of the site and its loops that begins in [start, end) and is over by then."""
    first = -(-start_unix_s // 900) * 900
    return [
        make_period(start, scope, part) for start in range(first, end_unix_s - 1_020, 900) for scope, part in sorted(LOOPS.items())
    ]


def fake_proofs(start_unix_s: int = 1_768_435_200) -> list[ProofView]:
    """One scope that agrees, and one that does not."""
    good = ProofView(
        scope="site",
        start_unix_s=start_unix_s,
        period_s=900,
        work_wh=260_000.0,
        work_low_wh=244_000.0,
        work_high_wh=276_000.0,
        electric_wh=262_000.0,
        electric_quality="measured",
        reported_wh=264_000.0,
        heat_wh=249_000.0,
        heat_quality="measured",
        disagreement=0.015,
        interval=0.063,
        between="telemetry, work",
        agrees=True,
        cause=None,
    )
    bad = {**{name: getattr(good, name) for name in ProofView.__struct_fields__}, "scope": "loop-4", "heat_wh": 10_000.0}
    bad |= {"disagreement": 0.4, "between": "work, heat", "agrees": False, "cause": "units hash without heating"}
    return [good, ProofView(**bad)]
