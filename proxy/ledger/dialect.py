"""The few statements on which SQLite and PostgreSQL differ in SQLAlchemy's words, though not in meaning.

Nothing else belongs here: what both understand is written once, where it is used.
"""

from sqlalchemy import BigInteger, Column, ColumnElement, Table, cast, literal_column
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.dml import Insert


def period_number(at_unix_ms: Column[int], period_s: int) -> ColumnElement[int]:
    """Which period of this length a moment lies in, counted from 1970. Fit for GROUP BY.

    The length stands in the statement, not among its values: PostgreSQL does not see that two placeholders are the same value.
    """
    return cast(at_unix_ms // literal_column(str(int(period_s) * 1000), BigInteger), BigInteger)


def insert_or_ignore(dialect_name: str, table: Table) -> Insert:
    """An insert that leaves a row alone that is already there, by any of its unique keys."""
    if dialect_name == "sqlite":
        return sqlite.insert(table).on_conflict_do_nothing()
    return postgresql.insert(table).on_conflict_do_nothing()


def insert_or_add(dialect_name: str, table: Table) -> Insert:
    """An insert that, where the primary key is there already, adds the other columns to it."""
    statement = sqlite.insert(table) if dialect_name == "sqlite" else postgresql.insert(table)
    keys = list(table.primary_key.columns)
    others = [column for column in table.columns if not column.primary_key]
    return statement.on_conflict_do_update(
        index_elements=keys, set_={column.name: column + statement.excluded[column.name] for column in others}
    )


def insert_or_replace(dialect_name: str, table: Table) -> Insert:
    """An insert that, where the primary key is there already, takes its place."""
    statement = sqlite.insert(table) if dialect_name == "sqlite" else postgresql.insert(table)
    others = [column.name for column in table.columns if not column.primary_key]
    return statement.on_conflict_do_update(
        index_elements=list(table.primary_key.columns), set_={name: statement.excluded[name] for name in others}
    )
