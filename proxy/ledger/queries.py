"""Reads for reports and pages: plain functions on a read connection, each with a bounded answer.

Run by ledger.py in a thread with the reader's own connections, so a long report never holds up a share.
"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Table, func, select

from proxy.ledger import schema
from proxy.ledger.dialect import period_number
from proxy.ledger.reconcile import demand_of
from proxy.ledger.records import (
    HASHES_PER_DIFFICULTY,
    AuditRecord,
    CommandRecord,
    DemandRecord,
    EnergyRecord,
    RejectionCount,
    SetpointRecord,
    ShareRollup,
    ShareState,
)
from proxy.ledger.retention import rolled_through

ROWS_LIMIT = 50_000  # no answer is longer, whatever was asked for


def share_rollups(conn: Connection, start_unix_s: float, end_unix_s: float, period_s: int, limit: int) -> list[ShareRollup]:
    """Shares by period, unit, pool and state for periods that begin in [start, end), oldest first.

    Shares not rolled up yet are added up on the way, in periods of `period_s`, so the newest period may come in two rows.
    """
    r, names, s = schema.rollup.c, schema.source, schema.share.c
    period = period_number(s.at_unix_ms, period_s).label("period")
    fresh = (
        select(
            period,
            s.source_id,
            s.state,
            func.count().label("shares"),
            func.sum(s.difficulty).label("work"),
            func.sum(s.pool_difficulty).label("pool_work"),
        )
        .where(s.share_id > rolled_through(conn))
        .group_by(period, s.source_id, s.state)
        .subquery()
    )
    rolled = select(
        r.period_start_unix_s, r.period_s, names.c.unit, names.c.worker, names.c.pool, r.state, r.shares, r.work, r.pool_work
    ).join(names, names.c.source_id == r.source_id)
    newest = select(
        (fresh.c.period * period_s).label("period_start_unix_s"),
        sa.literal(period_s),
        names.c.unit,
        names.c.worker,
        names.c.pool,
        fresh.c.state,
        fresh.c.shares,
        fresh.c.work * HASHES_PER_DIFFICULTY,
        fresh.c.pool_work * HASHES_PER_DIFFICULTY,
    ).join(names, names.c.source_id == fresh.c.source_id)
    both = sa.union_all(
        rolled.where(r.period_start_unix_s >= start_unix_s, r.period_start_unix_s < end_unix_s),
        newest.where(fresh.c.period * period_s >= start_unix_s, fresh.c.period * period_s < end_unix_s),
    )
    rows = conn.execute(both.order_by("period_start_unix_s").limit(min(limit, ROWS_LIMIT)))
    return [
        ShareRollup(start, width, unit, worker, pool, ShareState(state).name.lower(), int(shares), work, pool_work)
        for start, width, unit, worker, pool, state, shares, work, pool_work in rows
    ]


def rejections(conn: Connection, start_unix_s: float, end_unix_s: float, limit: int) -> list[RejectionCount]:
    """What we refused ourselves, for periods that begin in [start, end), oldest first."""
    table = schema.rejection
    found = conn.execute(
        select(table)
        .where(table.c.period_start_unix_s >= start_unix_s, table.c.period_start_unix_s < end_unix_s)
        .order_by(table.c.period_start_unix_s)
        .limit(min(limit, ROWS_LIMIT))
    )
    return [RejectionCount(*row) for row in found]


def energy(conn: Connection, start_unix_s: float, end_unix_s: float, limit: int) -> list[EnergyRecord]:
    """Energy periods that begin in [start, end), oldest first."""
    table = schema.energy
    found = conn.execute(
        select(table)
        .where(table.c.period_start_unix_s >= start_unix_s, table.c.period_start_unix_s < end_unix_s)
        .order_by(table.c.period_start_unix_s, table.c.scope)
        .limit(min(limit, ROWS_LIMIT))
    )
    return [EnergyRecord(**_fields(row, EnergyRecord.__struct_fields__)) for row in found]


def setpoints(conn: Connection, start_unix_s: float, end_unix_s: float, limit: int) -> list[SetpointRecord]:
    """Decisions of the control cycle in [start, end), oldest first."""
    table = schema.setpoint
    found = conn.execute(
        select(table)
        .where(table.c.at_unix_s >= start_unix_s, table.c.at_unix_s < end_unix_s)
        .order_by(table.c.at_unix_s)
        .limit(min(limit, ROWS_LIMIT))
    )
    return [SetpointRecord(**_fields(row, SetpointRecord.__struct_fields__)) for row in found]


def recent_demands(conn: Connection, limit: int) -> list[DemandRecord]:
    """The newest demands, refused ones too, newest first."""
    return [demand_of(row) for row in _newest(conn, schema.demand, "demand_id", limit)]


def recent_commands(conn: Connection, limit: int) -> list[CommandRecord]:
    """The newest commands to units, newest first."""
    found = _newest(conn, schema.command, "command_id", limit)
    return [CommandRecord(**_fields(row, CommandRecord.__struct_fields__)) for row in found]


def audit_tail(conn: Connection, limit: int) -> list[AuditRecord]:
    """The newest audit rows, newest first."""
    return [audit_of(row) for row in _newest(conn, schema.audit, "audit_id", limit)]


def audit_of(row: sa.Row[Any]) -> AuditRecord:
    """A row of the audit table as the record it was."""
    return AuditRecord(**_fields(row, AuditRecord.__struct_fields__))


def _newest(conn: Connection, table: Table, key: str, limit: int) -> sa.CursorResult[Any]:
    return conn.execute(select(table).order_by(table.c[key].desc()).limit(min(limit, ROWS_LIMIT)))


def _fields(row: sa.Row[Any], names: tuple[str, ...]) -> dict[str, Any]:
    fields = row._mapping
    return {name: fields[name] for name in names}
