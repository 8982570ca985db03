"""Rolls shares up into periods and deletes what has had its time, a bounded slice a call.

Runs in the writer's thread. Every slice is one transaction after which the promises of schema.py still hold: nothing is deleted
that has not been counted. Rows of audit and settlement are never deleted (their chain would break), nor is SQLite's file made
smaller: freed pages are used again.
"""

import sqlalchemy as sa
from sqlalchemy import Column, Connection, Dialect, Table, func, select

from proxy import config
from proxy.ledger import schema
from proxy.ledger.dialect import insert_or_add, insert_or_replace, period_number
from proxy.ledger.records import HASHES_PER_DIFFICULTY, ShareState

ROLL_UP_ROWS = 5_000  # some 10 ms of the writer's time
PRUNE_ROWS = 2_000  # deleting costs more: the key's index is touched all over
DAY_S = 86_400.0
KEEP_METERING_S = 62 * DAY_S  # two invoices: later, a period is no longer corrected by itself

_SENT = ShareState.SENT.value


class Retention:
    """One for each writer. No state but the configuration: everything is read from the database."""

    def __init__(self, settings: config.Ledger, dialect: Dialect) -> None:
        self._period_s = int(settings.rollup_s)
        self._keep_shares_s = settings.keep_shares_days * DAY_S
        self._keep_rollups_s = settings.keep_rollups_days * DAY_S
        self._add_rollup = insert_or_add(dialect.name, schema.rollup)
        self._add_closed = insert_or_add(dialect.name, schema.closed)
        self._replace_mark = insert_or_replace(dialect.name, schema.mark)

    def step(self, conn: Connection, now_unix_s: float) -> bool:
        """Do one slice of whatever is due, in its own transaction. True: there may be more."""
        with conn.begin():
            rolled = rolled_through(conn)
            if self._roll_up(conn, rolled, now_unix_s):
                return True
            if self._prune_shares(conn, rolled, now_unix_s - self._keep_shares_s):
                return True
            if _expire_metering(conn, now_unix_s - KEEP_METERING_S):
                return True
            return self._expire(conn, now_unix_s - self._keep_rollups_s)

    def _roll_up(self, conn: Connection, rolled: int, now_unix_s: float) -> bool:
        share = schema.share.c
        ahead = select(share.share_id, share.at_unix_ms).where(share.share_id > rolled).order_by(share.share_id)
        oldest = conn.execute(ahead.limit(1)).first()
        if oldest is None:
            return False
        full = conn.execute(ahead.limit(1).offset(ROLL_UP_ROWS - 1)).first()
        # Fewer, larger slices make fewer rollup writes: wait for a whole one, but not longer than a period.
        if full is None and oldest.at_unix_ms / 1000 > now_unix_s - self._period_s:
            return False
        last = full.share_id if full is not None else conn.execute(select(func.max(share.share_id))).scalar_one()
        here = (share.share_id > rolled) & (share.share_id <= last)
        waiting = conn.execute(select(func.min(share.share_id)).where(here, share.state == _SENT)).scalar()
        if waiting is not None:  # the pool has not answered: everything from there on waits for it
            last = waiting - 1
            here = (share.share_id > rolled) & (share.share_id <= last)
        period = period_number(share.at_unix_ms, self._period_s).label("period")
        groups = conn.execute(
            select(
                period,
                share.source_id,
                share.state,
                func.count().label("shares"),
                func.sum(share.difficulty).label("difficulty"),
                func.sum(share.pool_difficulty).label("pool_difficulty"),
            )
            .where(here)
            .group_by(period, share.source_id, share.state)
        ).all()
        if not groups:
            return False
        rows = [
            {
                "period_start_unix_s": group.period * self._period_s,
                "period_s": self._period_s,
                "source_id": group.source_id,
                "state": group.state,
                "shares": group.shares,
                "work": group.difficulty * HASHES_PER_DIFFICULTY,
                "pool_work": group.pool_difficulty * HASHES_PER_DIFFICULTY,
            }
            for group in groups
        ]
        conn.execute(self._add_rollup, rows)
        conn.execute(self._replace_mark, {"name": "rolled", "value": last, "digest": None})
        return True

    def _prune_shares(self, conn: Connection, rolled: int, before_unix_s: float) -> bool:
        share = schema.share.c
        slice_ = (
            select(share.share_id, share.at_unix_ms)
            .where(share.share_id <= rolled)
            .order_by(share.share_id)
            .limit(PRUNE_ROWS)
            .subquery()
        )
        last = conn.execute(select(func.max(slice_.c.share_id)).where(slice_.c.at_unix_ms < int(before_unix_s * 1000))).scalar()
        if last is None:
            return False
        gone = share.share_id <= last
        groups = conn.execute(
            select(share.source_id, share.state, func.count().label("shares")).where(gone).group_by(share.source_id, share.state)
        ).all()
        conn.execute(
            self._add_closed,
            [{"source_id": g.source_id, "state": g.state, "pruned": g.shares, "expired": 0} for g in groups],
        )
        conn.execute(sa.delete(schema.share).where(gone))
        return True

    def _expire(self, conn: Connection, before_unix_s: float) -> bool:
        if self._expire_rollups(conn, before_unix_s):
            return True
        oldest = conn.execute(select(func.min(schema.rejection.c.period_start_unix_s))).scalar()
        if oldest is not None and oldest < before_unix_s:
            conn.execute(sa.delete(schema.rejection).where(schema.rejection.c.period_start_unix_s == oldest))
            return True
        oldest = conn.execute(select(func.min(schema.energy.c.period_start_unix_s))).scalar()
        if oldest is not None and oldest < before_unix_s:
            until = min(before_unix_s, oldest + 30 * DAY_S)
            conn.execute(sa.delete(schema.energy).where(schema.energy.c.period_start_unix_s < until))
            return True
        plant = (
            (schema.setpoint, schema.setpoint.c.setpoint_id, schema.setpoint.c.at_unix_s),
            (schema.command, schema.command.c.command_id, schema.command.c.at_unix_s),
            (schema.demand, schema.demand.c.demand_id, schema.demand.c.valid_until_unix_s),
        )
        return any(_delete_slice(conn, table, key, at, before_unix_s) for table, key, at in plant)

    def _expire_rollups(self, conn: Connection, before_unix_s: float) -> bool:
        rollup = schema.rollup.c
        oldest = conn.execute(select(func.min(rollup.period_start_unix_s))).scalar()
        if oldest is None or oldest >= before_unix_s:
            return False
        gone = rollup.period_start_unix_s == oldest
        groups = conn.execute(
            select(rollup.source_id, rollup.state, func.sum(rollup.shares).label("shares"))
            .where(gone)
            .group_by(rollup.source_id, rollup.state)
        ).all()
        conn.execute(
            self._add_closed,
            [{"source_id": g.source_id, "state": g.state, "pruned": 0, "expired": int(g.shares)} for g in groups],
        )
        conn.execute(sa.delete(schema.rollup).where(gone))
        return True


def _expire_metering(conn: Connection, before_unix_s: float) -> bool:
    m = schema.metering.c
    oldest = conn.execute(select(func.min(m.end_unix_s))).scalar()
    if oldest is None or oldest >= before_unix_s:
        return False
    until = min(before_unix_s, oldest + DAY_S / 24)
    return conn.execute(sa.delete(schema.metering).where(m.end_unix_s < until)).rowcount > 0


def rolled_through(conn: Connection) -> int:
    """The newest share id that is in the rollups, 0 when there is none."""
    value = conn.execute(select(schema.mark.c.value).where(schema.mark.c.name == "rolled")).scalar()
    return 0 if value is None else int(value)


def _delete_slice(conn: Connection, table: Table, key: Column[int], at: Column[float], before_unix_s: float) -> bool:
    slice_ = select(key.label("key"), at.label("at")).order_by(key).limit(PRUNE_ROWS).subquery()
    last = conn.execute(select(func.max(slice_.c.key)).where(slice_.c.at < before_unix_s)).scalar()
    if last is None:
        return False
    return conn.execute(sa.delete(table).where(key <= last, at < before_unix_s)).rowcount > 0
