"""Proves a ledger, or says what is wrong with it: `thermostratum ledger verify`.

Reads one consistent snapshot and changes nothing; the proxy may be running. It repairs nothing either: a ledger with problems is
evidence.
"""

import math
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy import Connection, case, func, select

from proxy.ledger import schema
from proxy.ledger.audit import GENESIS, chain_digest
from proxy.ledger.periods import check_chain
from proxy.ledger.queries import audit_of
from proxy.ledger.records import HASHES_PER_DIFFICULTY, KEY_BYTES, ShareState
from proxy.ledger.retention import rolled_through
from proxy.ledger.store import HEAD_REVISION, Store, reading

PROBLEMS_LIMIT = 100  # lines kept; the last one then says how many more there are
_READ_TIMEOUT_S = 10.0
_WORK_TOLERANCE = 1e-9  # sums of doubles in another order


class Account(msgspec.Struct):
    """The shares of one unit at one pool, by where they ended."""

    unit: str
    pool: str
    pending: int = 0
    below_pool_target: int = 0
    accepted: int = 0
    refused: int = 0
    unknown: int = 0
    rejected: int = 0  # by us, counted only


class VerifyReport(msgspec.Struct):
    """What was found. The ledger is sound when `problems` is empty."""

    ledger: str
    revision: str
    received: int = 0  # valid shares ever
    rejected: int = 0
    states: dict[str, int] = {}
    accounts: list[Account] = []
    rolled_up: int = 0
    audit_rows: int = 0
    is_audit_intact: bool = True
    settlement_rows: int = 0
    is_settlement_intact: bool = True
    settlement_head: str = ""  # digest of the newest row, hexadecimal
    integrity: str = "not checked"
    unclean_runs: int = 0
    problems: list[str] = []

    @property
    def is_sound(self) -> bool:
        """No problem was found."""
        return not self.problems


def verify(url: str) -> VerifyReport:
    """Check the whole ledger at `url`; takes minutes for a large one. Raises StoreError when there is none or it cannot be read."""
    store = Store(url, _READ_TIMEOUT_S)
    try:
        store.require_current()
        with reading(store.reader) as conn:
            report = VerifyReport(str(store), HEAD_REVISION)
            if store.is_sqlite:
                _check_integrity(conn, report)
            _check_states(conn, report)
            _check_conservation(conn, report)
            _check_audit(conn, report)
            _check_settlement(conn, report)
            _check_runs(conn, report)
    finally:
        store.close()
    if len(report.problems) > PROBLEMS_LIMIT:
        more = len(report.problems) - PROBLEMS_LIMIT + 1
        report.problems[PROBLEMS_LIMIT - 1 :] = [f"and {more} more"]
    return report


def _check_integrity(conn: Connection, report: VerifyReport) -> None:
    found = [str(row[0]) for row in conn.exec_driver_sql("PRAGMA integrity_check(20)")]
    report.integrity = "; ".join(found)
    if found != ["ok"]:
        report.problems.append(f"SQLite finds its file damaged ({report.integrity}); restore the backup")


def _check_states(conn: Connection, report: VerifyReport) -> None:
    """Rows that no run of ours can have written."""
    s = schema.share.c
    rolled = rolled_through(conn)
    this_run = select(func.max(schema.run.c.first_share_id)).scalar_subquery()
    with_reason = s.state.in_([ShareState.REFUSED.value, ShareState.UNKNOWN.value])
    impossible = {
        "in a state that does not exist": s.state.not_in([state.value for state in ShareState]),
        "sent, though rolled up": (s.state == ShareState.SENT.value) & (s.share_id <= rolled),
        "sent by an earlier run and never closed": (s.state == ShareState.SENT.value) & (s.share_id < this_run),
        "refused or unknown without a reason": with_reason & s.reason.is_(None),
        "with a reason that its state has not": ~with_reason & s.reason.is_not(None),
        "without work": s.difficulty <= 0,
        f"with a key that is not {KEY_BYTES} bytes": func.length(s.share_key) != KEY_BYTES,
        "of a unit and pool that nobody knows": s.source_id.not_in(select(schema.source.c.source_id)),
    }
    # One pass over the largest table for all of them.
    columns = [func.sum(case((condition, 1), else_=0)) for condition in impossible.values()]
    counts = conn.execute(select(*columns)).one()
    report.problems += [f"{count} shares {what}" for what, count in zip(impossible, counts, strict=True) if count]


def _check_conservation(conn: Connection, report: VerifyReport) -> None:
    s, r, c = schema.share.c, schema.rollup.c, schema.closed.c
    rolled = rolled_through(conn)
    ahead = _grouped(conn, s.source_id, s.state, func.count(), func.sum(s.difficulty), schema.share, s.share_id > rolled)
    behind = _grouped(conn, s.source_id, s.state, func.count(), func.sum(s.difficulty), schema.share, s.share_id <= rolled)
    rollups = _grouped(conn, r.source_id, r.state, func.sum(r.shares), func.sum(r.work), schema.rollup, sa.true())
    pruned = _grouped(conn, c.source_id, c.state, func.sum(c.pruned), sa.literal(0.0), schema.closed, sa.true())
    expired = _grouped(conn, c.source_id, c.state, func.sum(c.expired), sa.literal(0.0), schema.closed, sa.true())
    names = {row.source_id: row for row in conn.execute(select(schema.source))}
    accounts: dict[tuple[str, str], Account] = {}
    received: dict[str, int] = {}
    work: dict[str, float] = {}
    for key in sorted({*ahead, *behind, *rollups, *pruned}):
        source_id, state = key
        counted = _count(rollups, key) + _count(expired, key)
        present = _count(behind, key) + _count(pruned, key)
        name = names.get(source_id)
        if name is None:
            continue  # _check_states has said so
        if counted != present:
            report.problems.append(
                f"{name.unit} at {name.pool}, {_state_name(state)}: {counted} shares in the rollups, {present} rows behind them"
            )
        total = counted + _count(ahead, key)
        account = accounts.setdefault((name.unit, name.pool), Account(name.unit, name.pool))
        _enter(account, state, total)
        report.states[_state_name(state)] = report.states.get(_state_name(state), 0) + total
        received[name.pool] = received.get(name.pool, 0) + total
        added = ahead.get(key, (0, 0.0))[1] * HASHES_PER_DIFFICULTY + rollups.get(key, (0, 0.0))[1]
        work[name.pool] = work.get(name.pool, 0.0) + added
        report.rolled_up += counted
    _check_tally(conn, report, received, work, any(_count(expired, key) for key in expired))
    _add_rejections(conn, report, accounts)
    report.accounts = [accounts[key] for key in sorted(accounts)]


def _check_tally(
    conn: Connection, report: VerifyReport, received: dict[str, int], work: dict[str, float], has_expired: bool
) -> None:
    tally = {row.pool: row for row in conn.execute(select(schema.tally))}
    for pool in sorted({*tally, *received}):
        counted = int(tally[pool].received) if pool in tally else 0
        report.received += counted
        if counted != received.get(pool, 0):
            report.problems.append(f"pool {pool}: {counted} shares were counted when written, {received.get(pool, 0)} can be shown")
        elif not has_expired and pool in tally and not math.isclose(tally[pool].work, work[pool], rel_tol=_WORK_TOLERANCE):
            report.problems.append(
                f"pool {pool}: work {tally[pool].work:.6g} was counted when written, {work[pool]:.6g} can be shown"
            )


def _add_rejections(conn: Connection, report: VerifyReport, accounts: dict[tuple[str, str], Account]) -> None:
    table = schema.rejection.c
    found = conn.execute(select(table.unit, table.pool, func.sum(table.shares)).group_by(table.unit, table.pool))
    for unit, pool, count in found:
        accounts.setdefault((unit, pool), Account(unit, pool)).rejected = int(count)
        report.rejected += int(count)


def _check_audit(conn: Connection, report: VerifyReport) -> None:
    digest = GENESIS
    broken: str | None = None
    for row in conn.execution_options(yield_per=1_000).execute(select(schema.audit).order_by(schema.audit.c.audit_id)):
        report.audit_rows += 1
        if broken is not None:
            continue
        digest = chain_digest(digest, report.audit_rows, audit_of(row))
        if row.audit_id != report.audit_rows:
            broken = f"audit row {report.audit_rows} is missing"
        elif digest != bytes(row.digest):
            broken = f"audit row {row.audit_id} was changed, or one before it"
    head = conn.execute(select(schema.mark.c.value, schema.mark.c.digest).where(schema.mark.c.name == "audit")).first()
    if broken is None and (report.audit_rows, digest) != ((0, GENESIS) if head is None else (head.value, bytes(head.digest))):
        broken = f"the audit chain ends at row {report.audit_rows}, but {0 if head is None else head.value} rows were written"
    if broken is not None:
        report.is_audit_intact = False
        report.problems.append(broken)


def _check_settlement(conn: Connection, report: VerifyReport) -> None:
    chain = check_chain(conn)
    report.settlement_rows, report.settlement_head = chain.rows, chain.head.hex()
    if chain.broken is not None:
        report.is_settlement_intact = False
        report.problems.append(chain.broken)


def _check_runs(conn: Connection, report: VerifyReport) -> None:
    run = schema.run.c
    open_runs = conn.execute(select(func.count()).where(run.ended_unix_s.is_(None))).scalar_one()
    report.unclean_runs = int(
        conn.execute(select(func.count()).where(run.ended_unix_s.is_not(None), run.is_clean.is_(False))).scalar_one()
    )
    if open_runs > 1:
        report.problems.append(f"{open_runs} runs are open at once: two proxies wrote to this ledger")


_Groups = dict[tuple[int, int], tuple[int, float]]


def _grouped(
    conn: Connection,
    source_id: sa.ColumnElement[Any],
    state: sa.ColumnElement[Any],
    count: sa.ColumnElement[Any],
    work: sa.ColumnElement[Any],
    table: sa.Table,
    where: sa.ColumnElement[bool],
) -> _Groups:
    found = conn.execute(select(source_id, state, count, work).select_from(table).where(where).group_by(source_id, state))
    return {(source, state_): (int(shares), float(total)) for source, state_, shares, total in found}


def _count(groups: _Groups, key: tuple[int, int]) -> int:
    return groups.get(key, (0, 0.0))[0]


def _state_name(state: int) -> str:
    known = {member.value: member.name.lower() for member in ShareState}
    return known.get(state, str(state))


def _enter(account: Account, state: int, count: int) -> None:
    if state == ShareState.SENT.value:
        account.pending += count
    elif state == ShareState.LOCAL.value:
        account.below_pool_target += count
    elif state == ShareState.ACCEPTED.value:
        account.accepted += count
    elif state == ShareState.REFUSED.value:
        account.refused += count
    else:
        account.unknown += count
