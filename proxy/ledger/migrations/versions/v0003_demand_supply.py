"""A demand may ask for a supply temperature instead of a heat power, and for a slower ramp."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Two columns more; power_w may be missing."""
    with op.batch_alter_table("demand") as demand:
        demand.alter_column("power_w", existing_type=sa.Double(), nullable=True)
        demand.add_column(sa.Column("supply_c", sa.Double))
        demand.add_column(sa.Column("ramp_w_per_min", sa.Double))
