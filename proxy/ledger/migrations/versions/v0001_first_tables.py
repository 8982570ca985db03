"""The first tables. A frozen copy: later changes of schema.py get revisions of their own."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

BIG_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create everything."""
    _create_share_tables()
    _create_run_tables()
    _create_plant_tables()


def _create_share_tables() -> None:
    op.create_table(
        "source",
        sa.Column("source_id", BIG_KEY, autoincrement=True, nullable=False),
        sa.Column("unit", sa.Text, nullable=False),
        sa.Column("worker", sa.Text, nullable=False),
        sa.Column("pool", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("source_id", name="pk_source"),
    )
    op.create_index("ix_source_names", "source", ["unit", "worker", "pool"], unique=True)
    op.create_table(
        "share",
        sa.Column("share_id", BIG_KEY, autoincrement=False, nullable=False),
        sa.Column("at_unix_ms", sa.BigInteger, nullable=False),
        sa.Column("source_id", sa.BigInteger, nullable=False),
        sa.Column("session", sa.BigInteger, nullable=False),
        sa.Column("upstream_job", sa.Text, nullable=False),
        sa.Column("difficulty", sa.Double, nullable=False),
        sa.Column("pool_difficulty", sa.Double, nullable=False),
        sa.Column("share_key", sa.LargeBinary(16), nullable=False),
        sa.Column("state", sa.SmallInteger, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("block", sa.Boolean(create_constraint=False), nullable=False),
        sa.PrimaryKeyConstraint("share_id", name="pk_share"),
    )
    op.create_index("ix_share_key", "share", ["share_key"], unique=True)
    op.create_table(
        "rollup",
        sa.Column("period_start_unix_s", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("period_s", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("source_id", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("state", sa.SmallInteger, autoincrement=False, nullable=False),
        sa.Column("shares", sa.BigInteger, nullable=False),
        sa.Column("work", sa.Double, nullable=False),
        sa.Column("pool_work", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("period_start_unix_s", "period_s", "source_id", "state", name="pk_rollup"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "closed",
        sa.Column("source_id", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("state", sa.SmallInteger, autoincrement=False, nullable=False),
        sa.Column("pruned", sa.BigInteger, nullable=False),
        sa.Column("expired", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("source_id", "state", name="pk_closed"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "tally",
        sa.Column("pool", sa.Text, nullable=False),
        sa.Column("received", sa.BigInteger, nullable=False),
        sa.Column("work", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("pool", name="pk_tally"),
    )
    op.create_table(
        "rejection",
        sa.Column("period_start_unix_s", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("period_s", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("unit", sa.Text, nullable=False),
        sa.Column("pool", sa.Text, nullable=False),
        sa.Column("verdict", sa.Text, nullable=False),
        sa.Column("shares", sa.BigInteger, nullable=False),
        sa.Column("work", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("period_start_unix_s", "period_s", "unit", "pool", "verdict", name="pk_rejection"),
        sqlite_with_rowid=False,
    )


def _create_run_tables() -> None:
    op.create_table(
        "run",
        sa.Column("run_id", BIG_KEY, autoincrement=True, nullable=False),
        sa.Column("started_unix_s", sa.Double, nullable=False),
        sa.Column("last_seen_unix_s", sa.Double, nullable=False),
        sa.Column("ended_unix_s", sa.Double),
        sa.Column("is_clean", sa.Boolean(create_constraint=False), nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("first_share_id", sa.BigInteger, nullable=False),
        sa.Column("batches", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("run_id", name="pk_run"),
    )
    op.create_table(
        "mark",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("value", sa.BigInteger, nullable=False),
        sa.Column("digest", sa.LargeBinary(32)),
        sa.PrimaryKeyConstraint("name", name="pk_mark"),
    )


def _create_plant_tables() -> None:
    op.create_table(
        "demand",
        sa.Column("demand_id", BIG_KEY, autoincrement=True, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("issued_unix_s", sa.Double, nullable=False),
        sa.Column("valid_from_unix_s", sa.Double, nullable=False),
        sa.Column("valid_until_unix_s", sa.Double, nullable=False),
        sa.Column("power_w", sa.Double, nullable=False),
        sa.Column("accepted", sa.Boolean(create_constraint=False), nullable=False),
        sa.Column("reason", sa.Text),
        sa.PrimaryKeyConstraint("demand_id", name="pk_demand"),
    )
    op.create_index("ix_demand_issued", "demand", ["issued_unix_s"])
    op.create_table(
        "setpoint",
        sa.Column("setpoint_id", BIG_KEY, autoincrement=True, nullable=False),
        sa.Column("at_unix_s", sa.Double, nullable=False),
        sa.Column("ladder", sa.Text, nullable=False),
        sa.Column("demand_w", sa.Double),
        sa.Column("setpoint_power_w", sa.Double),
        sa.Column("commanded_power_w", sa.Double, nullable=False),
        sa.Column("measured_power_w", sa.Double),
        sa.Column("heat_w", sa.Double),
        sa.Column("heat_quality", sa.Text, nullable=False),
        sa.Column("limiter", sa.Text),
        sa.PrimaryKeyConstraint("setpoint_id", name="pk_setpoint"),
    )
    op.create_index("ix_setpoint_at", "setpoint", ["at_unix_s"])
    op.create_table(
        "command",
        sa.Column("command_id", BIG_KEY, autoincrement=True, nullable=False),
        sa.Column("at_unix_s", sa.Double, nullable=False),
        sa.Column("unit", sa.Text, nullable=False),
        sa.Column("level_from", sa.Integer),
        sa.Column("level_to", sa.Integer, nullable=False),
        sa.Column("power_w", sa.Double),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("result", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("command_id", name="pk_command"),
    )
    op.create_index("ix_command_at", "command", ["at_unix_s"])
    op.create_table(
        "energy",
        sa.Column("scope", sa.Text, nullable=False),
        sa.Column("period_start_unix_s", sa.Double, nullable=False),
        sa.Column("period_s", sa.Double, nullable=False),
        sa.Column("heat_demand_wh", sa.Double),
        sa.Column("heat_wh", sa.Double),
        sa.Column("quality", sa.Text, nullable=False),
        sa.Column("electric_wh", sa.Double),
        sa.PrimaryKeyConstraint("scope", "period_start_unix_s", name="pk_energy"),
    )
    op.create_table(
        "audit",
        sa.Column("audit_id", BIG_KEY, autoincrement=False, nullable=False),
        sa.Column("at_unix_s", sa.Double, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("before", sa.Text),
        sa.Column("after", sa.Text),
        sa.Column("result", sa.Text, nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.PrimaryKeyConstraint("audit_id", name="pk_audit"),
    )
