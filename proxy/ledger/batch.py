"""Writes one batch of records into an open transaction.

Knows the tables, not when to write, how often to retry or whom to tell: that is writer.py. Share rows and answers go as tuples
through statements compiled once, because a dict for each row costs as much again as SQLite's whole insert; rare records go the
plain way.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy import Connection, Dialect, Table
from sqlalchemy.exc import DBAPIError

from proxy.errors import StoreError
from proxy.ledger import schema
from proxy.ledger.audit import GENESIS, chain_digest
from proxy.ledger.dialect import insert_or_add, insert_or_ignore, insert_or_replace
from proxy.ledger.periods import PeriodChain
from proxy.ledger.records import (
    HASHES_PER_DIFFICULTY,
    AuditRecord,
    CommandRecord,
    DemandRecord,
    EnergyRecord,
    MemoryRecord,
    MeteringRecord,
    PeriodRecord,
    PlantRecord,
    RejectionCount,
    SetpointRecord,
    ShareRecord,
    ShareState,
)
from proxy.ledger.text import LABEL_LIMIT, clean_optional, clean_text

# An answer to a share, in the order of its statement: state, reason, share id. A tuple, so that no row is rebuilt on the way.
Settlement = tuple[int, str | None, int]


class Flush(msgspec.Struct, eq=False):
    """Not a row: goes through the queue to learn that everything before it is durable. `token` is the asker's own."""

    token: object


Item = ShareRecord | Settlement | PlantRecord | RejectionCount | Flush

SOURCE_CACHE_LIMIT = 200_000  # names in memory; a worker name is the miner's to choose, so forget all and start again
_ID_CHUNK = 500  # values in one IN list

_SENT = ShareState.SENT.value
_LOCAL = ShareState.LOCAL.value

_PLANT_TABLES: dict[type[DemandRecord | SetpointRecord | CommandRecord], Table] = {
    DemandRecord: schema.demand,
    SetpointRecord: schema.setpoint,
    CommandRecord: schema.command,
}


class Batch(msgspec.Struct):
    """A batch by kind. Rows of different kinds do not depend on each other, except that an answer needs its share."""

    shares: list[ShareRecord] = []
    settlements: list[Settlement] = []
    audits: list[AuditRecord] = []
    energies: list[EnergyRecord] = []
    memories: list[MemoryRecord] = []
    metering: list[MeteringRecord] = []
    periods: list[PeriodRecord] = []
    rejections: list[RejectionCount] = []
    others: dict[Table, list[PlantRecord]] = {}
    flushes: list[Flush] = []


def batch_of(items: Iterable[Item]) -> Batch:
    """`items` by kind, each kind in its order of arrival."""
    batch = Batch()
    by_kind: dict[type, list[Any]] = {
        AuditRecord: batch.audits,
        EnergyRecord: batch.energies,
        MemoryRecord: batch.memories,
        MeteringRecord: batch.metering,
        PeriodRecord: batch.periods,
        RejectionCount: batch.rejections,
        Flush: batch.flushes,
    }
    for item in items:
        if isinstance(item, tuple):
            batch.settlements.append(item)
        elif isinstance(item, ShareRecord):
            batch.shares.append(item)
        elif isinstance(item, DemandRecord | SetpointRecord | CommandRecord):
            batch.others.setdefault(_PLANT_TABLES[type(item)], []).append(item)
        else:
            by_kind[type(item)].append(item)
    return batch


class BatchWriter:
    """Owned by the writer's thread. `load` after each new connection and after each rollback, then `write` per transaction."""

    def __init__(self, dialect: Dialect, run_id: int) -> None:
        assert dialect.dbapi is not None
        self._driver_error: type[Exception] = dialect.dbapi.Error
        self._dialect = dialect
        self._run_id = run_id
        self._sources: dict[tuple[str, str, str], int] = {}
        self._audit_rows = 0
        self._audit_head = GENESIS
        self._periods = PeriodChain(dialect)
        name = dialect.name
        self._insert_share = _compile(dialect, insert_or_ignore(name, schema.share), [c.name for c in schema.share.columns])
        self._settle = _compile(
            dialect,
            sa.update(schema.share)
            .where(schema.share.c.share_id == sa.bindparam("id"), schema.share.c.state == sa.literal_column(str(_SENT)))
            .values(state=sa.bindparam("new_state"), reason=sa.bindparam("new_reason")),
            ["new_state", "new_reason", "id"],
        )
        self._add_tally = _compile(dialect, insert_or_add(name, schema.tally), ["pool", "received", "work"])
        self._mark_run = _compile(
            dialect,
            sa.update(schema.run)
            .where(schema.run.c.run_id == sa.bindparam("id"))
            .values(last_seen_unix_s=sa.bindparam("seen"), batches=sa.bindparam("number")),
            ["seen", "number", "id"],
        )
        self._insert_source = insert_or_ignore(name, schema.source)
        self._add_rejections = insert_or_add(name, schema.rejection)
        self._replace_energy = insert_or_replace(name, schema.energy)
        self._replace_memory = insert_or_replace(name, schema.memory)
        self._replace_mark = insert_or_replace(name, schema.mark)

    @property
    def audit_head(self) -> tuple[int, bytes]:
        """How many audit rows there are, and the digest of the newest."""
        return self._audit_rows, self._audit_head

    @property
    def period_head(self) -> tuple[int, bytes]:
        """How many settlement rows there are, and the digest of the newest."""
        return self._periods.head

    def load(self, conn: Connection) -> int:
        """Read back what this object remembers of the database. Returns the number of the last batch that is in it."""
        newest = sa.select(schema.source).order_by(schema.source.c.source_id.desc()).limit(SOURCE_CACHE_LIMIT // 2)
        self._sources = {(row.unit, row.worker, row.pool): row.source_id for row in conn.execute(newest)}
        head = conn.execute(sa.select(schema.mark.c.value, schema.mark.c.digest).where(schema.mark.c.name == "audit")).first()
        self._audit_rows, self._audit_head = (0, GENESIS) if head is None else (head.value, bytes(head.digest))
        self._periods.load(conn)
        number = conn.execute(sa.select(schema.run.c.batches).where(schema.run.c.run_id == self._run_id)).scalar()
        if number is None:
            raise StoreError("the row of this run is gone: the database was replaced or emptied while in use; restart the proxy")
        return int(number)

    def write(self, conn: Connection, number: int, batch: Batch, now_unix_s: float) -> list[ShareRecord]:
        """Put `batch` into the running transaction as batch `number`. Returns the shares that were there already.

        Any exception means: roll back, then `load`.
        """
        repeated: list[ShareRecord] = []
        if batch.shares:
            repeated = self._write_shares(conn, batch.shares)
        if batch.settlements:
            self._many(conn, self._settle, batch.settlements)
        if batch.rejections:
            conn.execute(self._add_rejections, [_rejection_row(count) for count in batch.rejections])
        if batch.audits:
            self._write_audits(conn, batch.audits)
        self._write_replacing(conn, batch)
        if batch.metering:
            self._periods.write_metering(conn, batch.metering)
        if batch.periods:
            self._periods.write(conn, batch.periods)
        for table, records in batch.others.items():
            conn.execute(table.insert(), [_plain_row(record) for record in records])
        self._many(conn, self._mark_run, [(now_unix_s, number, self._run_id)])
        return repeated

    def _write_replacing(self, conn: Connection, batch: Batch) -> None:
        """What takes the place of an earlier row; one by one, because the same row may be in there twice."""
        for record in batch.energies:
            conn.execute(self._replace_energy, _plain_row(record))
        for memory in {each.name: each for each in batch.memories}.values():
            conn.execute(self._replace_memory, msgspec.structs.asdict(memory))

    def _many(self, conn: Connection, statement: str, rows: Sequence[tuple[object, ...]]) -> int:
        """Run a compiled statement for each row on the driver's own cursor, inside the connection's transaction. Rows changed.

        SQLAlchemy's bookkeeping for one statement costs as much as five shares, and there are four statements in every batch.
        """
        cursor = conn.connection.cursor()
        try:
            cursor.executemany(statement, rows)
            return cursor.rowcount
        except self._driver_error as error:
            raise DBAPIError.instance(statement, None, error, self._driver_error, dialect=self._dialect) from error
        finally:
            cursor.close()

    def _write_shares(self, conn: Connection, records: list[ShareRecord]) -> list[ShareRecord]:
        rows = []
        sources = self._sources
        for r in records:
            names = (r.unit, r.worker, r.pool)
            source_id = sources.get(names)
            if source_id is None:
                source_id = self._source(conn, names)
            job = r.upstream_job
            rows.append(
                (
                    r.share_id,
                    int(r.at_unix_s * 1000),
                    source_id,
                    r.session,
                    job if len(job) <= LABEL_LIMIT and job.isprintable() else clean_text(job, LABEL_LIMIT),
                    r.difficulty,
                    r.pool_difficulty,
                    r.key,
                    _SENT if r.forwarded else _LOCAL,
                    None,
                    r.block,
                )
            )
        inserted = self._many(conn, self._insert_share, rows)
        repeated: list[ShareRecord] = []
        if inserted != len(rows):
            records, repeated = _split_repeated(conn, records)
        tally: dict[str, list[float]] = {}
        for r in records:
            entry = tally.get(r.pool)
            if entry is None:
                entry = tally[r.pool] = [0, 0.0]
            entry[0] += 1
            entry[1] += r.difficulty
        if tally:
            counts = [(clean_text(pool), int(count), total * HASHES_PER_DIFFICULTY) for pool, (count, total) in tally.items()]
            self._many(conn, self._add_tally, counts)
        return repeated

    def _source(self, conn: Connection, names: tuple[str, str, str]) -> int:
        unit, worker, pool = (clean_text(name) for name in names)
        conn.execute(self._insert_source, {"unit": unit, "worker": worker, "pool": pool})
        columns = schema.source.c
        source_id = conn.execute(
            sa.select(columns.source_id).where(columns.unit == unit, columns.worker == worker, columns.pool == pool)
        ).scalar_one()
        if len(self._sources) >= SOURCE_CACHE_LIMIT:
            self._sources.clear()
        self._sources[names] = int(source_id)
        return int(source_id)

    def _write_audits(self, conn: Connection, records: list[AuditRecord]) -> None:
        rows = []
        for record in records:
            clean = AuditRecord(**_plain_row(record))
            self._audit_rows += 1
            self._audit_head = chain_digest(self._audit_head, self._audit_rows, clean)
            rows.append({"audit_id": self._audit_rows, "digest": self._audit_head, **msgspec.structs.asdict(clean)})
        conn.execute(schema.audit.insert(), rows)
        conn.execute(self._replace_mark, {"name": "audit", "value": self._audit_rows, "digest": self._audit_head})


def _split_repeated(conn: Connection, records: list[ShareRecord]) -> tuple[list[ShareRecord], list[ShareRecord]]:
    there: dict[int, bytes] = {}
    columns = schema.share.c
    for start in range(0, len(records), _ID_CHUNK):
        ids = [record.share_id for record in records[start : start + _ID_CHUNK]]
        found = conn.execute(sa.select(columns.share_id, columns.share_key).where(columns.share_id.in_(ids)))
        there.update((row.share_id, bytes(row.share_key)) for row in found)
    new = [record for record in records if there.get(record.share_id) == record.key]
    repeated = [record for record in records if there.get(record.share_id) != record.key]
    return new, repeated


def _compile(dialect: Dialect, statement: sa.Insert | sa.Update, order: Sequence[str]) -> str:
    """The driver's text of `statement`, whose values must stand in `order`."""
    if isinstance(statement, sa.Update):
        compiled = statement.compile(dialect=dialect)
    else:
        compiled = statement.compile(dialect=dialect, column_keys=list(order))
    if list(compiled.positiontup or ()) != list(order):
        raise AssertionError(f"{dialect.name} orders the values as {compiled.positiontup}")
    return str(compiled)


def _rejection_row(count: RejectionCount) -> dict[str, Any]:
    return {
        "period_start_unix_s": count.period_start_unix_s,
        "period_s": count.period_s,
        "unit": clean_text(count.unit),
        "pool": clean_text(count.pool),
        "verdict": clean_text(count.verdict, LABEL_LIMIT),
        "shares": count.count,
        "work": count.work,
    }


def _plain_row(record: PlantRecord) -> dict[str, Any]:
    """The record's fields as the table has them, with text made harmless."""
    fields = msgspec.structs.asdict(record)
    return {name: clean_optional(value) if isinstance(value, str) else value for name, value in fields.items()}
