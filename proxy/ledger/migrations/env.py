"""alembic's entry: runs the migrations on the connection that the store hands over. There is no ini file and no offline mode."""

from alembic import context
from sqlalchemy import Connection

from proxy.ledger.schema import metadata


def _upgrade(connection: Connection) -> None:
    # SQLite cannot alter most things in place: batch mode copies the table.
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=connection.dialect.name == "sqlite")
    with context.begin_transaction():
        context.run_migrations()


_upgrade(context.config.attributes["connection"])
