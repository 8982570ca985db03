"""Settlement periods in the ledger: written as a chain of hashes like the audit's, read back, proven unchanged.

What a period holds is proxy.heat.settlement's business. Here a row is only ever added: a correction is the next revision.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy import Connection, Dialect, func, select

from proxy.ledger import schema
from proxy.ledger.audit import genesis, link
from proxy.ledger.dialect import insert_or_replace
from proxy.ledger.records import HASHES_PER_DIFFICULTY, DemandRecord, MeteringRecord, PeriodRecord, PoolWork, UnitWork
from proxy.ledger.text import clean_optional, clean_text

GENESIS = genesis("thermostratum period chain 1")
MARK = "period"
PERIODS_LIMIT = 200_000  # a year of quarter hours of a site with four loops


class ChainState(msgspec.Struct, frozen=True):
    """The chain as found: rows, the newest digest, and the first thing wrong with it (None: unbroken)."""

    rows: int
    head: bytes
    broken: str | None


class PeriodChain:
    """The writer's end of the chain. Owned by the writer's thread; `load` after a new connection or a rollback."""

    def __init__(self, dialect: Dialect) -> None:
        self._rows = 0
        self._head = GENESIS
        self._replace_mark = insert_or_replace(dialect.name, schema.mark)
        self._replace_metering = insert_or_replace(dialect.name, schema.metering)

    @property
    def head(self) -> tuple[int, bytes]:
        """How many rows there are, and the digest of the newest."""
        return self._rows, self._head

    def load(self, conn: Connection) -> None:
        """Read back where the chain ends."""
        self._rows, self._head = _marked(conn)

    def write(self, conn: Connection, records: Sequence[PeriodRecord]) -> None:
        """Add rows to the running transaction. A revision that is there already is not written twice."""
        for record in records:
            if _is_there(conn, record):
                continue
            clean = _clean(record)
            self._rows += 1
            self._head = digest_of(self._head, self._rows, clean)
            row = {**msgspec.structs.asdict(clean), "work": msgspec.json.encode(clean.work).decode()}
            conn.execute(schema.period.insert(), {"period_id": self._rows, "digest": self._head, **row})
        conn.execute(self._replace_mark, {"name": MARK, "value": self._rows, "digest": self._head})

    def write_metering(self, conn: Connection, records: Iterable[MeteringRecord]) -> None:
        """Add minutes to the running transaction; one by one, because a minute may be in there twice."""
        for record in records:
            conn.execute(self._replace_metering, msgspec.structs.asdict(record))


def digest_of(previous: bytes, period_id: int, record: PeriodRecord) -> bytes:
    """The digest of a row, over the digest before it and every field."""
    return link(previous, (period_id, *msgspec.structs.astuple(record)))


def check_chain(conn: Connection) -> ChainState:
    """Walk the whole chain. Finds any row that was changed, removed, moved or put in, and rows cut off at the end."""
    rows, digest = 0, GENESIS
    broken: str | None = None
    found = conn.execution_options(yield_per=1_000).execute(select(schema.period).order_by(schema.period.c.period_id))
    for row in found:
        rows += 1
        if broken is not None:
            continue
        if row.period_id != rows:
            broken = f"settlement row {rows} is missing"
            continue
        try:
            digest = digest_of(digest, rows, period_of(row))
        except msgspec.MsgspecError:
            digest = b""
        if digest != bytes(row.digest):
            broken = f"settlement row {rows} was changed, or one before it"
    marked_rows, marked_head = _marked(conn)
    if broken is None and (rows, digest) != (marked_rows, marked_head):
        broken = f"the settlement chain ends at row {rows}, but {marked_rows} rows were written"
    return ChainState(rows, digest, broken)


def head(conn: Connection) -> tuple[int, bytes]:
    """Rows and newest digest, as marked when they were written."""
    return _marked(conn)


def periods(conn: Connection, start_unix_s: float, end_unix_s: float, limit: int = PERIODS_LIMIT) -> list[PeriodRecord]:
    """The newest revision of every period that begins in [start, end), by time and scope."""
    every = revisions(conn, start_unix_s, end_unix_s, limit)
    newest = {(record.start_unix_s, record.scope, record.period_s): record for record in every}
    return list(newest.values())


def revisions(conn: Connection, start_unix_s: float, end_unix_s: float, limit: int = PERIODS_LIMIT) -> list[PeriodRecord]:
    """Every revision of every period that begins in [start, end), by time and scope, oldest revision first."""
    p = schema.period.c
    rows = conn.execute(
        select(schema.period)
        .where(p.start_unix_s >= start_unix_s, p.start_unix_s < end_unix_s)
        .order_by(p.start_unix_s, p.scope, p.period_s, p.revision)
        .limit(min(limit, PERIODS_LIMIT))
    )
    return [period_of(row) for row in rows]


def last_end(conn: Connection) -> int | None:
    """Where the newest closed period ends; None before the first."""
    p = schema.period.c
    value = conn.execute(select(func.max(p.start_unix_s + p.period_s))).scalar()
    return None if value is None else int(value)


def metering(conn: Connection, start_unix_s: float, end_unix_s: float) -> list[MeteringRecord]:
    """The minutes that touch [start, end], with one more of each scope on either side, by scope and time."""
    m = schema.metering.c
    before = select(m.scope, func.max(m.end_unix_s).label("at")).where(m.end_unix_s < start_unix_s).group_by(m.scope).subquery()
    after = select(m.scope, func.min(m.end_unix_s).label("at")).where(m.start_unix_s > end_unix_s).group_by(m.scope).subquery()
    table = schema.metering
    within = select(table).where(m.end_unix_s >= start_unix_s, m.start_unix_s <= end_unix_s)
    sides = [select(table).join(s, (s.c.scope == m.scope) & (s.c.at == m.end_unix_s)) for s in (before, after)]
    names = MeteringRecord.__struct_fields__
    rows = conn.execute(sa.union_all(within, *sides).order_by("scope", "end_unix_s"))
    return [MeteringRecord(**{name: row._mapping[name] for name in names}) for row in rows]


def first_metering(conn: Connection) -> float | None:
    """When the oldest minute began; None when there is none."""
    value = conn.execute(select(func.min(schema.metering.c.start_unix_s))).scalar()
    return None if value is None else float(value)


def demands(conn: Connection, start_unix_s: float, end_unix_s: float) -> list[DemandRecord]:
    """Accepted demands that may have ruled in [start, end), in the order in which they came."""
    d = schema.demand.c
    rows = conn.execute(
        select(schema.demand)
        .where(d.accepted, d.valid_until_unix_s > start_unix_s, d.issued_unix_s < end_unix_s)
        .order_by(d.demand_id)
    )
    names = DemandRecord.__struct_fields__
    return [DemandRecord(**{name: row._mapping[name] for name in names}) for row in rows]


def unit_work(conn: Connection, start_unix_s: float, end_unix_s: float, rolled_through: int) -> list[UnitWork]:
    """Valid work by unit and pool in [start, end), whatever the pool said to it. Both ends must lie between two rollups."""
    r, s, names = schema.rollup.c, schema.share.c, schema.source
    rolled = (
        select(r.source_id, func.sum(r.shares).label("shares"), func.sum(r.work).label("work"))
        .where(r.period_start_unix_s >= start_unix_s, r.period_start_unix_s < end_unix_s)
        .group_by(r.source_id)
    )
    fresh = (
        select(s.source_id, func.count().label("shares"), (func.sum(s.difficulty) * HASHES_PER_DIFFICULTY).label("work"))
        .where(s.share_id > rolled_through, s.at_unix_ms >= int(start_unix_s * 1000), s.at_unix_ms < int(end_unix_s * 1000))
        .group_by(s.source_id)
    )
    both = sa.union_all(rolled, fresh).subquery()
    rows = conn.execute(
        select(names.c.unit, names.c.pool, func.sum(both.c.shares), func.sum(both.c.work))
        .join(names, names.c.source_id == both.c.source_id)
        .group_by(names.c.unit, names.c.pool)
        .order_by(names.c.unit, names.c.pool)
    )
    return [UnitWork(unit, pool, int(shares), float(work)) for unit, pool, shares, work in rows]


def period_of(row: sa.Row[Any]) -> PeriodRecord:
    """A row of the period table as the record it was. Raises msgspec.DecodeError when its work is no JSON."""
    fields = {name: row._mapping[name] for name in PeriodRecord.__struct_fields__}
    fields["work"] = tuple(msgspec.json.decode(fields["work"], type=list[PoolWork]))
    return PeriodRecord(**fields)


def _marked(conn: Connection) -> tuple[int, bytes]:
    row = conn.execute(select(schema.mark.c.value, schema.mark.c.digest).where(schema.mark.c.name == MARK)).first()
    return (0, GENESIS) if row is None else (int(row.value), bytes(row.digest))


def _is_there(conn: Connection, record: PeriodRecord) -> bool:
    p = schema.period.c
    same = select(p.period_id).where(
        p.start_unix_s == record.start_unix_s,
        p.scope == record.scope,
        p.period_s == record.period_s,
        p.revision == record.revision,
    )
    return conn.execute(same).first() is not None


def _clean(record: PeriodRecord) -> PeriodRecord:
    """Text made harmless and numbers made what their column gives back, so that the digest is of what can be read."""
    floats = {name: float(value) for name in _FLOATS if (value := getattr(record, name)) is not None}
    work = tuple(PoolWork(clean_text(part.pool), int(part.shares), float(part.work)) for part in record.work)
    return msgspec.structs.replace(record, reason=clean_optional(record.reason), work=work, **floats)


_FLOATS = tuple(column.name for column in schema.period.columns if isinstance(column.type, sa.Double))
