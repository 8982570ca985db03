"""Squares the ledger with the past when it is opened: what an earlier run left open is closed, and this run begins.

Must run before the first share of this run, and only by the one who holds the writer's place.
"""

import msgspec
import sqlalchemy as sa
from sqlalchemy import Connection, func, select

from proxy.ledger import schema
from proxy.ledger.records import DemandRecord, MemoryRecord, ShareState
from proxy.ledger.retention import rolled_through

RESTART = "restart"  # the answer, if there was one, came while we were down

# Demands ahead that are read back: more than may wait, for a few senders.
MAX_PLANNED = 512


class RunStart(msgspec.Struct, frozen=True):
    """This run's place in the ledger, and what the last ones left."""

    run_id: int
    first_share_id: int
    in_doubt: int  # shares sent by earlier runs whose answer will never be known
    was_clean: bool  # the run before ended by itself; True when there was none
    demands: dict[str, DemandRecord]  # newest accepted demand of each source, expired ones too
    planned: list[DemandRecord]  # accepted demands that have not expired, oldest first
    memories: dict[str, MemoryRecord]  # by name


def begin_run(conn: Connection, version: str, now_unix_s: float) -> RunStart:
    """Close the past and begin a run, in one transaction."""
    with conn.begin():
        share = schema.share.c
        rolled = rolled_through(conn)
        # What is rolled up has ended, so only the newest rows need a look.
        in_doubt = conn.execute(
            sa.update(schema.share)
            .where(share.share_id > rolled, share.state == ShareState.SENT.value)
            .values(state=ShareState.UNKNOWN.value, reason=RESTART)
        ).rowcount
        run = schema.run.c
        unclean = conn.execute(
            sa.update(schema.run).where(run.ended_unix_s.is_(None)).values(ended_unix_s=run.last_seen_unix_s)
        ).rowcount
        newest = conn.execute(select(func.max(share.share_id))).scalar() or 0
        # Rows may all be deleted by now, and ids must not come again: the earlier runs' beginnings count as well.
        begun = conn.execute(select(func.max(run.first_share_id))).scalar() or 1
        first_share_id = max(newest + 1, rolled + 1, begun)
        run_id = conn.execute(
            sa.insert(schema.run).values(
                started_unix_s=now_unix_s,
                last_seen_unix_s=now_unix_s,
                is_clean=False,
                version=version,
                first_share_id=first_share_id,
                batches=0,
            )
        ).inserted_primary_key
        assert run_id is not None
        return RunStart(
            int(run_id[0]),
            first_share_id,
            in_doubt,
            unclean == 0,
            _newest_demands(conn),
            _planned_demands(conn, now_unix_s),
            _memories(conn),
        )


def end_run(conn: Connection, run_id: int, now_unix_s: float) -> None:
    """Say that this run ended by itself, with everything written."""
    with conn.begin():
        conn.execute(
            sa.update(schema.run)
            .where(schema.run.c.run_id == run_id)
            .values(ended_unix_s=now_unix_s, last_seen_unix_s=now_unix_s, is_clean=True)
        )


def demand_of(row: sa.Row[tuple[object, ...]]) -> DemandRecord:
    """A row of the demand table as the record it was."""
    fields = row._mapping
    return DemandRecord(**{name: fields[name] for name in DemandRecord.__struct_fields__})


def _newest_demands(conn: Connection) -> dict[str, DemandRecord]:
    demand = schema.demand
    newest = select(func.max(demand.c.demand_id)).where(demand.c.accepted).group_by(demand.c.source)
    rows = conn.execute(select(demand).where(demand.c.demand_id.in_(newest)).order_by(demand.c.demand_id))
    return {row.source: demand_of(row) for row in rows}


def _planned_demands(conn: Connection, now_unix_s: float) -> list[DemandRecord]:
    demand = schema.demand
    is_ahead = sa.and_(demand.c.accepted, demand.c.valid_until_unix_s > now_unix_s)
    rows = conn.execute(select(demand).where(is_ahead).order_by(demand.c.demand_id.desc()).limit(MAX_PLANNED)).all()
    return [demand_of(row) for row in reversed(rows)]


def _memories(conn: Connection) -> dict[str, MemoryRecord]:
    rows = conn.execute(select(schema.memory))
    return {row.name: MemoryRecord(row.name, row.at_unix_s, row.version, row.body) for row in rows}
