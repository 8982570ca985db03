"""Minutes of metering, and the chained settlement periods made from them."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

BIG_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create both tables; nothing that is there changes."""
    op.create_table(
        "metering",
        sa.Column("end_unix_s", sa.Double, autoincrement=False, nullable=False),
        sa.Column("scope", sa.Text, nullable=False),
        sa.Column("start_unix_s", sa.Double, nullable=False),
        sa.Column("heat_wh", sa.Double),
        sa.Column("heat_quality", sa.Text, nullable=False),
        sa.Column("heat_meter", sa.Text),
        sa.Column("heat_register_wh", sa.Double),
        sa.Column("heat_register_unix_s", sa.Double),
        sa.Column("electric_wh", sa.Double),
        sa.Column("electric_quality", sa.Text, nullable=False),
        sa.Column("electric_meter", sa.Text),
        sa.Column("electric_register_wh", sa.Double),
        sa.Column("electric_register_unix_s", sa.Double),
        sa.Column("reported_wh", sa.Double),
        sa.Column("held_wh", sa.Double),
        sa.Column("supply_asked_s", sa.Double, nullable=False),
        sa.Column("supply_kept_s", sa.Double, nullable=False),
        sa.Column("available_s", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("end_unix_s", "scope", name="pk_metering"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "period",
        sa.Column("period_id", BIG_KEY, autoincrement=False, nullable=False),
        sa.Column("scope", sa.Text, nullable=False),
        sa.Column("start_unix_s", sa.BigInteger, nullable=False),
        sa.Column("period_s", sa.Integer, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("closed_unix_s", sa.Double, nullable=False),
        sa.Column("demand_wh", sa.Double),
        sa.Column("demand_s", sa.Double, nullable=False),
        sa.Column("heat_wh", sa.Double),
        sa.Column("heat_quality", sa.Text, nullable=False),
        sa.Column("heat_missing_s", sa.Double, nullable=False),
        sa.Column("electric_wh", sa.Double),
        sa.Column("electric_quality", sa.Text, nullable=False),
        sa.Column("electric_missing_s", sa.Double, nullable=False),
        sa.Column("reported_wh", sa.Double),
        sa.Column("work", sa.Text, nullable=False),
        sa.Column("work_wh", sa.Double),
        sa.Column("work_sigma", sa.Double),
        sa.Column("supply_asked_s", sa.Double, nullable=False),
        sa.Column("supply_kept_s", sa.Double, nullable=False),
        sa.Column("available_s", sa.Double, nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.PrimaryKeyConstraint("period_id", name="pk_period"),
    )
    op.create_index("ix_period_revision", "period", ["start_unix_s", "scope", "period_s", "revision"], unique=True)
