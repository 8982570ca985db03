"""The tables, stated once for SQLite and PostgreSQL.

The migrations build them (a test compares both); nothing here opens a database. What the tables promise each other:

- tally.received of a pool = its shares beyond mark "rolled" + its rollups + its closed.expired;
- for each source and state: rollups + closed.expired = closed.pruned + raw rows up to mark "rolled";
- a row up to mark "rolled" is never SENT.
"""

from sqlalchemy import BigInteger, Boolean, Column, Double, Index, Integer, LargeBinary, MetaData, SmallInteger, String, Table, Text

metadata = MetaData(
    naming_convention={"pk": "pk_%(table_name)s", "uq": "uq_%(table_name)s_%(column_0_N_name)s", "ix": "ix_%(column_0_N_label)s"}
)

# SQLite makes only "INTEGER PRIMARY KEY" the row id itself.
BigKey = BigInteger().with_variant(Integer(), "sqlite")

# One row a triple: a share row holds its number, not three strings.
source = Table(
    "source",
    metadata,
    Column("source_id", BigKey, primary_key=True, autoincrement=True),
    Column("unit", Text, nullable=False),
    Column("worker", Text, nullable=False),
    Column("pool", Text, nullable=False),
    Index("ix_source_names", "unit", "worker", "pool", unique=True),
)

share = Table(
    "share",
    metadata,
    Column("share_id", BigKey, primary_key=True, autoincrement=False),
    Column("at_unix_ms", BigInteger, nullable=False),
    Column("source_id", BigInteger, nullable=False),
    Column("session", BigInteger, nullable=False),
    Column("upstream_job", Text, nullable=False),
    Column("difficulty", Double, nullable=False),
    Column("pool_difficulty", Double, nullable=False),
    Column("share_key", LargeBinary(16), nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("reason", Text),
    Column("block", Boolean(create_constraint=False), nullable=False),
    Index("ix_share_key", "share_key", unique=True),
)

rollup = Table(
    "rollup",
    metadata,
    Column("period_start_unix_s", BigInteger, primary_key=True, autoincrement=False),
    Column("period_s", Integer, primary_key=True, autoincrement=False),
    Column("source_id", BigInteger, primary_key=True, autoincrement=False),
    Column("state", SmallInteger, primary_key=True, autoincrement=False),
    Column("shares", BigInteger, nullable=False),
    Column("work", Double, nullable=False),
    Column("pool_work", Double, nullable=False),
    sqlite_with_rowid=False,
)

# What is no longer there: raw rows deleted after they were rolled up, rollups deleted at the end of their time.
closed = Table(
    "closed",
    metadata,
    Column("source_id", BigInteger, primary_key=True, autoincrement=False),
    Column("state", SmallInteger, primary_key=True, autoincrement=False),
    Column("pruned", BigInteger, nullable=False),
    Column("expired", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

# Counted in the same transaction as the share rows, and by nothing that later touches them.
tally = Table(
    "tally",
    metadata,
    Column("pool", Text, primary_key=True),
    Column("received", BigInteger, nullable=False),
    Column("work", Double, nullable=False),
)

rejection = Table(
    "rejection",
    metadata,
    Column("period_start_unix_s", BigInteger, primary_key=True, autoincrement=False),
    Column("period_s", Integer, primary_key=True, autoincrement=False),
    Column("unit", Text, primary_key=True),
    Column("pool", Text, primary_key=True),
    Column("verdict", Text, primary_key=True),
    Column("shares", BigInteger, nullable=False),
    Column("work", Double, nullable=False),
    sqlite_with_rowid=False,
)

# batches is the number of the run's last committed batch: after a commit whose outcome is unclear it tells what happened.
run = Table(
    "run",
    metadata,
    Column("run_id", BigKey, primary_key=True, autoincrement=True),
    Column("started_unix_s", Double, nullable=False),
    Column("last_seen_unix_s", Double, nullable=False),
    Column("ended_unix_s", Double),
    Column("is_clean", Boolean(create_constraint=False), nullable=False),
    Column("version", Text, nullable=False),
    Column("first_share_id", BigInteger, nullable=False),
    Column("batches", BigInteger, nullable=False),
)

# "rolled": every share up to `value` is in the rollups. "audit", "period": number of rows in that chain, the hash of the newest.
mark = Table(
    "mark",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", BigInteger, nullable=False),
    Column("digest", LargeBinary(32)),
)

demand = Table(
    "demand",
    metadata,
    Column("demand_id", BigKey, primary_key=True, autoincrement=True),
    Column("source", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("issued_unix_s", Double, nullable=False),
    Column("valid_from_unix_s", Double, nullable=False),
    Column("valid_until_unix_s", Double, nullable=False),
    Column("power_w", Double),
    Column("accepted", Boolean(create_constraint=False), nullable=False),
    Column("reason", Text),
    Column("supply_c", Double),
    Column("ramp_w_per_min", Double),
    Index("ix_demand_issued", "issued_unix_s"),
)

setpoint = Table(
    "setpoint",
    metadata,
    Column("setpoint_id", BigKey, primary_key=True, autoincrement=True),
    Column("at_unix_s", Double, nullable=False),
    Column("ladder", Text, nullable=False),
    Column("demand_w", Double),
    Column("setpoint_power_w", Double),
    Column("commanded_power_w", Double, nullable=False),
    Column("measured_power_w", Double),
    Column("heat_w", Double),
    Column("heat_quality", Text, nullable=False),
    Column("limiter", Text),
    Index("ix_setpoint_at", "at_unix_s"),
)

command = Table(
    "command",
    metadata,
    Column("command_id", BigKey, primary_key=True, autoincrement=True),
    Column("at_unix_s", Double, nullable=False),
    Column("unit", Text, nullable=False),
    Column("level_from", Integer),
    Column("level_to", Integer, nullable=False),
    Column("power_w", Double),
    Column("reason", Text, nullable=False),
    Column("result", Text, nullable=False),
    Index("ix_command_at", "at_unix_s"),
)

# A period handed in again replaces the earlier row: a restart may compute the running period twice.
energy = Table(
    "energy",
    metadata,
    Column("scope", Text, primary_key=True),
    Column("period_start_unix_s", Double, primary_key=True),
    Column("period_s", Double, nullable=False),
    Column("heat_demand_wh", Double),
    Column("heat_wh", Double),
    Column("quality", Text, nullable=False),
    Column("electric_wh", Double),
)

# What a part of this process wants to know after a restart, as JSON; a newer one of the same name takes its place.
memory = Table(
    "memory",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("at_unix_s", Double, nullable=False),
    Column("version", Integer, nullable=False),
    Column("body", Text, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("audit_id", BigKey, primary_key=True, autoincrement=False),
    Column("at_unix_s", Double, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("before", Text),
    Column("after", Text),
    Column("result", Text, nullable=False),
    Column("digest", LargeBinary(32), nullable=False),
)

# What settlement closes its periods from; a minute handed in again replaces the earlier row.
metering = Table(
    "metering",
    metadata,
    Column("end_unix_s", Double, primary_key=True, autoincrement=False),
    Column("scope", Text, primary_key=True),
    Column("start_unix_s", Double, nullable=False),
    Column("heat_wh", Double),
    Column("heat_quality", Text, nullable=False),
    Column("heat_meter", Text),
    Column("heat_register_wh", Double),
    Column("heat_register_unix_s", Double),
    Column("electric_wh", Double),
    Column("electric_quality", Text, nullable=False),
    Column("electric_meter", Text),
    Column("electric_register_wh", Double),
    Column("electric_register_unix_s", Double),
    Column("reported_wh", Double),
    Column("held_wh", Double),
    Column("supply_asked_s", Double, nullable=False),
    Column("supply_kept_s", Double, nullable=False),
    Column("available_s", Double, nullable=False),
    sqlite_with_rowid=False,
)

# A chain like audit's. A correction is a new row with the next revision; no row is ever changed or deleted.
period = Table(
    "period",
    metadata,
    Column("period_id", BigKey, primary_key=True, autoincrement=False),
    Column("scope", Text, nullable=False),
    Column("start_unix_s", BigInteger, nullable=False),
    Column("period_s", Integer, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("reason", Text),
    Column("closed_unix_s", Double, nullable=False),
    Column("demand_wh", Double),
    Column("demand_s", Double, nullable=False),
    Column("heat_wh", Double),
    Column("heat_quality", Text, nullable=False),
    Column("heat_missing_s", Double, nullable=False),
    Column("electric_wh", Double),
    Column("electric_quality", Text, nullable=False),
    Column("electric_missing_s", Double, nullable=False),
    Column("reported_wh", Double),
    Column("work", Text, nullable=False),  # JSON: [{"pool", "shares", "work"}, ...]
    Column("work_wh", Double),
    Column("work_sigma", Double),
    Column("supply_asked_s", Double, nullable=False),
    Column("supply_kept_s", Double, nullable=False),
    Column("available_s", Double, nullable=False),
    Column("digest", LargeBinary(32), nullable=False),
    Index("ix_period_revision", "start_unix_s", "scope", "period_s", "revision", unique=True),
)
