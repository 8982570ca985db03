"""The database behind the ledger: made durably, migrated, and as schema.py says."""

from importlib.util import find_spec

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from proxy.errors import StoreError
from proxy.ledger import schema
from proxy.ledger.store import HEAD_REVISION, MIGRATIONS, RESERVE_BYTES, Store


def made(directory):
    store = Store(f"sqlite:///{directory / 'sub' / 'ledger.sqlite3'}", 1.0)
    store.create()
    return store


def test_the_migrations_make_exactly_the_tables_of_the_schema(tmp_path):
    store = made(tmp_path)
    with store.reader.connect() as conn:
        assert compare_metadata(MigrationContext.configure(conn, opts={"compare_type": True}), schema.metadata) == []
    store.close()


def test_the_newest_migration_is_the_one_the_store_looks_for():
    settings = Config()
    settings.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(settings).get_current_head() == HEAD_REVISION


def test_commits_survive_a_power_cut(tmp_path):
    store = made(tmp_path)
    with store.connect_writer() as conn:
        assert conn.exec_driver_sql("pragma journal_mode").scalar() == "wal"
        assert conn.exec_driver_sql("pragma synchronous").scalar() == 2  # FULL
    store.close()


def test_opening_again_changes_nothing(tmp_path):
    store = made(tmp_path)
    store.close()
    again = made(tmp_path)
    assert again.exists()
    again.close()


def test_a_schema_change_is_one_transaction(tmp_path):
    store = made(tmp_path)
    with store.writer.connect() as conn:
        transaction = conn.begin()
        conn.exec_driver_sql("create table half (x int)")
        transaction.rollback()
        assert not sa.inspect(conn).has_table("half")
    store.close()


def test_the_reserve_is_given_and_filled_again(tmp_path):
    store = made(tmp_path)
    reserve = tmp_path / "sub" / "ledger.sqlite3.reserve"
    assert reserve.stat().st_size == RESERVE_BYTES
    assert store.release_reserve()
    assert not store.release_reserve()
    store.fill_reserve()
    assert reserve.stat().st_size == RESERVE_BYTES
    store.close()


def test_a_password_is_never_shown():
    """With the driver by the name of the ledger, without it by the refusal."""
    url = "postgresql+psycopg://proxy:secret@db/ledger"
    if find_spec("psycopg") is None:
        with pytest.raises(StoreError, match="driver missing") as refused:
            Store(url, 1.0)
        shown = str(refused.value)
    else:
        shown = str(Store(url, 1.0))
    assert "proxy:***@db" in shown
