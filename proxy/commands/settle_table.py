"""Settled periods as CSV and JSON. Every figure is in the data as the ledger has it: watt hours, seconds, UTC; unknown is empty."""

import csv
import datetime
import io
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import msgspec

from proxy.heat import proof
from proxy.heat.totals import pools
from proxy.ledger.records import PeriodRecord

if TYPE_CHECKING:
    from proxy.commands.settle import Settled

# In the order of the columns; work of each pool follows.
COLUMNS = (
    "start_utc",
    "end_utc",
    "start_local",
    "scope",
    "period_s",
    "revision",
    "reason",
    "closed_utc",
    "demand_wh",
    "demand_s",
    "heat_wh",
    "heat_quality",
    "heat_missing_s",
    "deviation_wh",
    "electric_wh",
    "electric_quality",
    "electric_missing_s",
    "reported_wh",
    "work_wh",
    "work_low_wh",
    "work_high_wh",
    "supply_asked_min",
    "supply_kept_min",
    "availability",
    "shares",
    "work_hashes",
)


def as_csv(settled: "Settled", zone: ZoneInfo) -> bytes:
    """One line a record, with a header; opens in any spreadsheet."""
    names = [part.pool for part in pools(settled.records)]
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([*COLUMNS, *(f"work_hashes {name}" for name in names)])
    for record in settled.records:
        row = row_of(record, zone)
        by_pool = {part.pool: part.work for part in record.work}
        writer.writerow([*(row[name] for name in COLUMNS), *(by_pool.get(name, 0.0) for name in names)])
    return text.getvalue().encode()


def row_of(record: PeriodRecord, zone: ZoneInfo) -> dict[str, Any]:
    """The cells of one record; None is an empty cell."""
    half_wh = None
    if record.work_wh is not None:
        half_wh = proof.Z * record.work_wh * ((record.work_sigma or 0.0) ** 2 + proof.MODEL_SIGMA**2) ** 0.5
    is_whole = record.heat_wh is not None and record.demand_wh is not None and not record.heat_missing_s
    own = msgspec.structs.asdict(record)
    return {
        **{name: own[name] for name in COLUMNS if name in own},
        "start_utc": _utc(record.start_unix_s),
        "end_utc": _utc(record.end_unix_s),
        "start_local": datetime.datetime.fromtimestamp(record.start_unix_s, zone).isoformat(timespec="minutes"),
        "closed_utc": _utc(record.closed_unix_s),
        "deviation_wh": (record.heat_wh or 0.0) - (record.demand_wh or 0.0) if is_whole else None,
        "work_low_wh": None if record.work_wh is None or half_wh is None else max(0.0, record.work_wh - half_wh),
        "work_high_wh": None if record.work_wh is None or half_wh is None else record.work_wh + half_wh,
        "supply_asked_min": record.supply_asked_s / 60.0,
        "supply_kept_min": record.supply_kept_s / 60.0,
        "availability": record.available_s / record.period_s,
        "shares": sum(part.shares for part in record.work),
        "work_hashes": sum(part.work for part in record.work),
    }


def as_json(settled: "Settled") -> bytes:
    """Everything in one document, records as the chain has them, so that a digest can be checked by others."""
    document = {
        "site": settled.site,
        "from_utc": _utc(settled.start_unix_s),
        "to_utc": _utc(settled.end_unix_s),
        "time_zone": settled.zone,
        "made_utc": _utc(settled.made_unix_s),
        "chain": {"unbroken": True, "rows": settled.rows, "head": settled.head},
        "totals": settled.totals,
        "periods": settled.records,
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n"


def _utc(at_unix_s: float) -> str:
    return datetime.datetime.fromtimestamp(at_unix_s, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
