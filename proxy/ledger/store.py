"""Where the ledger lies: engines for SQLite and PostgreSQL, the one-writer lock, the reserve file, the migrations.

Knows how to reach a database and what makes its commits durable. Does NOT know what is in the tables.
"""

import contextlib
import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import sqlalchemy
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.pool import ConnectionPoolEntry

from proxy import config
from proxy.errors import StoreError

HEAD_REVISION: Final = "0004"  # newest migration; compared before alembic is imported, which costs a tenth of a second
RESERVE_BYTES: Final = 256 * 1024  # enough for the alarm and the records behind it on a full disk
MIGRATIONS: Final = Path(__file__).parent / "migrations"

_WAL_CHECKPOINT_PAGES = 4_000  # 16 MiB: a checkpoint costs two more syncs, so not every 1,000 pages
_WAL_KEEP_BYTES = 64 * 1024 * 1024
_PAGE_CACHE_KIB = 65_536  # keys of shares are random: their index should stay in memory
_ADVISORY_LOCK = 0x7468_6572_6D6F  # any fixed number, the same for every writer of one database
_SESSION = "SELECT pid, extract(epoch FROM backend_start)::text FROM pg_stat_activity WHERE pid = pg_backend_pid()"
_PLACE_S = 0.05  # while somebody holds it, it is asked for this often
# Who holds it, when that is our own connection of before, of which the server has not heard that it is gone.
_END_OWN = """
SELECT count(pg_terminate_backend(a.pid)) FROM pg_stat_activity a JOIN pg_locks l ON l.pid = a.pid
WHERE l.locktype = 'advisory' AND l.granted AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
AND l.classid = {high} AND l.objid = {low} AND a.pid = {pid} AND extract(epoch FROM a.backend_start)::text = '{since}'
"""


def ledger_url(ledger: config.Ledger, data_dir: Path) -> str:
    """The SQLAlchemy URL in force: the configured one, else a SQLite file in the data directory."""
    return ledger.url if ledger.url is not None else f"sqlite:///{data_dir / 'ledger.sqlite3'}"


class Store:
    """One database. Not thread-safe: each thread uses the connections it asked for itself."""

    def __init__(self, url: str, busy_timeout_s: float) -> None:
        """Checks the URL, touches nothing. Raises StoreError for one that cannot hold a ledger."""
        self.url = _parse(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.path = Path(self.url.database).absolute() if self.is_sqlite and self.url.database else None
        self._busy_timeout_s = busy_timeout_s
        self._lock_fd: int | None = None
        self._session: tuple[int, str] | None = None  # the server's process of our last writing connection, and its start
        self.writer = self._engine(is_writer=True)
        self.reader = self._engine(is_writer=False)

    def __str__(self) -> str:
        """The URL without its password."""
        return self.url.render_as_string(hide_password=True)

    def exists(self) -> bool:
        """Whether there is a ledger to read. Raises StoreError when the database cannot be reached."""
        if self.path is not None and not self.path.is_file():
            return False
        with reading(self.reader) as conn:
            return _revision(conn) is not None

    def require_current(self) -> None:
        """Raises StoreError unless there is a ledger with the tables of this version."""
        if not self.exists():
            raise StoreError(f"ledger {self}: there is none; start the proxy once, or check [ledger] url and [site] data_dir")
        with reading(self.reader) as conn:
            revision = _revision(conn) or ""
        if revision < HEAD_REVISION:
            raise StoreError(
                f"ledger {self}: an older version wrote it (revision {revision}); start the proxy once, it brings it up to date"
            )
        if revision != HEAD_REVISION:
            raise StoreError(
                f"ledger {self}: revision {revision}, this version knows {HEAD_REVISION}; use the version that wrote it"
            )

    def create(self) -> None:
        """Take the writer's lock, make the database where there is none, and bring its tables up to date.

        A new SQLite file is closed and its directory synced before anything is promised: else a power cut could take the whole
        file. Raises StoreError when somebody else writes to this ledger, or when a newer version made it.
        """
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock_fd = _lock(self.path.with_name(self.path.name + ".lock"))
        try:
            with self.connect_writer() as conn:
                self._migrate(conn)
            self.writer.dispose()
            if self.path is not None:
                _sync_directory(self.path.parent)
                self.fill_reserve()
        except DBAPIError as error:
            self.close()
            raise StoreError(f"ledger {self}: cannot be opened: {error.orig}") from error
        except (StoreError, OSError):
            self.close()
            raise

    def connect_writer(self) -> Connection:
        """The connection of the one writer. Raises StoreError when another process holds that place (PostgreSQL).

        Waits `busy_timeout_s` for it: a server needs a moment to see that the connection before it, or a killed proxy, is gone.
        """
        conn = self.writer.connect()
        if not self.is_sqlite and not self._take_place(conn):
            conn.invalidate()
            conn.close()
            raise StoreError(f"ledger {self}: another proxy writes to this database; each site needs its own")
        return conn

    def _take_place(self, conn: Connection) -> bool:
        until_s = time.monotonic() + self._busy_timeout_s
        while not conn.exec_driver_sql(f"SELECT pg_try_advisory_lock({_ADVISORY_LOCK})").scalar():
            self._end_own_session(conn)
            conn.commit()
            if time.monotonic() >= until_s:
                return False
            time.sleep(_PLACE_S)
        pid, since = conn.exec_driver_sql(_SESSION).one()
        self._session = int(pid), str(since)
        conn.commit()
        return True

    def _end_own_session(self, conn: Connection) -> None:
        """End our own last connection when it is what holds the place."""
        if self._session is not None:
            pid, since = self._session
            high, low = divmod(_ADVISORY_LOCK, 2**32)
            conn.exec_driver_sql(_END_OWN.format(high=high, low=low, pid=pid, since=since))

    def checkpoint(self, conn: Connection) -> bool:
        """Write everything into the database file and empty the WAL (SQLite). False: a reader of an older state is in the way."""
        if not self.is_sqlite:
            return True
        cursor = conn.connection.cursor()  # the driver's own: no transaction may be open
        try:
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            row = cursor.fetchone()
        except sqlite3.Error as error:
            raise StoreError(f"ledger {self}: checkpoint failed: {error}") from error
        finally:
            cursor.close()
        return row is not None and row[0] == 0

    def fill_reserve(self) -> None:
        """Put the reserve file back (SQLite only). Raises OSError while the disk has no room for it."""
        path = self._reserve_path()
        if path is None or (path.is_file() and path.stat().st_size == RESERVE_BYTES):
            return
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            written = os.write(fd, bytes(RESERVE_BYTES))
            if written != RESERVE_BYTES:  # a full disk takes part of it and says nothing
                raise OSError(28, "no space left for the reserve file", str(path))
            os.fsync(fd)
        finally:
            os.close(fd)

    def release_reserve(self) -> bool:
        """Give the reserve file's space to the database. False when there was none to give."""
        path = self._reserve_path()
        if path is None or not path.exists():
            return False
        path.unlink()
        return True

    def close(self) -> None:
        """Close every connection and let another process write."""
        self.writer.dispose()
        self.reader.dispose()
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None

    def _reserve_path(self) -> Path | None:
        return None if self.path is None else self.path.with_name(self.path.name + ".reserve")

    def _engine(self, *, is_writer: bool) -> Engine:
        try:
            if self.is_sqlite:
                engine = sqlalchemy.create_engine(self.url)
                event.listen(engine, "connect", self._on_sqlite_writer if is_writer else self._on_sqlite_reader)
                event.listen(engine, "begin", _begin_immediate if is_writer else _begin)
                return engine
            engine = sqlalchemy.create_engine(
                self.url,
                paramstyle="format",  # so that rows can be tuples, as with SQLite
                pool_size=1 if is_writer else 2,
                max_overflow=0,
                pool_pre_ping=not is_writer,  # after a restart of the server, a reader's old connections are dead
                isolation_level="READ COMMITTED" if is_writer else "REPEATABLE READ",
                # A dead server must show within seconds, not after the kernel's two hours.
                connect_args={
                    "connect_timeout": 5,
                    "keepalives_idle": 10,
                    "keepalives_interval": 5,
                    "keepalives_count": 3,
                    "tcp_user_timeout": 10_000,
                },
            )
            event.listen(engine, "connect", self._on_postgresql)
            return engine
        except (NoSuchModuleError, ModuleNotFoundError) as error:
            raise StoreError(f"ledger {self}: driver missing ({error}); install thermostratum[postgres]") from error

    def _on_sqlite_writer(self, dbapi: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        self._on_sqlite_reader(dbapi, _entry)
        _pragma(dbapi, "journal_mode = WAL")
        _pragma(dbapi, "synchronous = FULL")  # NORMAL loses acknowledged shares at a power cut
        _pragma(dbapi, f"wal_autocheckpoint = {_WAL_CHECKPOINT_PAGES}")
        _pragma(dbapi, f"journal_size_limit = {_WAL_KEEP_BYTES}")
        _pragma(dbapi, f"cache_size = -{_PAGE_CACHE_KIB}")

    def _on_sqlite_reader(self, dbapi: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        # The driver would begin transactions behind our back, and not before DDL: _begin does it instead.
        dbapi.isolation_level = None
        _pragma(dbapi, f"busy_timeout = {int(self._busy_timeout_s * 1000)}")

    def _on_postgresql(self, dbapi: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        cursor = dbapi.cursor()
        # A server set up for speed must not take the promise back.
        cursor.execute("SET synchronous_commit = on")
        cursor.execute(f"SET lock_timeout = {int(self._busy_timeout_s * 1000)}")
        # And a dead proxy must show at the server: it holds the writer's place.
        for setting in ("idle = 10", "interval = 5", "count = 3"):
            cursor.execute(f"SET tcp_keepalives_{setting}")
        cursor.close()
        dbapi.commit()

    def _migrate(self, conn: Connection) -> None:
        revision = _revision(conn)
        conn.commit()  # the look-up began a transaction
        if revision == HEAD_REVISION:
            return
        from alembic import command
        from alembic.config import Config
        from alembic.util.exc import CommandError

        settings = Config()
        settings.set_main_option("script_location", str(MIGRATIONS))
        settings.attributes["connection"] = conn
        try:
            command.upgrade(settings, "head")
        except CommandError as error:
            raise StoreError(
                f"ledger {self}: its tables are revision {revision}, which this version does not know; "
                "run the version that wrote it, or restore the backup made before that upgrade"
            ) from error


@contextlib.contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A connection with one consistent snapshot, never written to. Raises StoreError with the driver's words."""
    try:
        with engine.connect() as conn, conn.begin() as transaction:
            yield conn
            transaction.rollback()
    except DBAPIError as error:
        raise StoreError(f"ledger cannot be read: {error.orig}") from error


def _parse(text: str) -> URL:
    try:
        url = make_url(text)
    except ArgumentError as error:
        raise StoreError("ledger.url is not a URL; use sqlite:///PATH or postgresql+psycopg://USER@HOST/DATABASE") from error
    backend = url.get_backend_name()
    if backend == "sqlite" and url.database in (None, "", ":memory:"):
        raise StoreError("ledger.url names no file: a ledger in memory proves nothing after a restart; use sqlite:///PATH")
    if backend not in ("sqlite", "postgresql"):
        raise StoreError(f"ledger.url: {backend} is not supported; use sqlite:///PATH or postgresql+psycopg://USER@HOST/DATABASE")
    return url


def _revision(conn: Connection) -> str | None:
    if not sqlalchemy.inspect(conn).has_table("alembic_version"):
        return None
    found = conn.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return None if found is None else str(found)


def _pragma(dbapi: DBAPIConnection, setting: str) -> None:
    cursor = dbapi.cursor()
    cursor.execute(f"PRAGMA {setting}")
    cursor.close()


def _begin_immediate(conn: Connection) -> None:
    # Taking the write lock at once: a transaction that began as a reader can not always become a writer.
    conn.exec_driver_sql("BEGIN IMMEDIATE")


def _begin(conn: Connection) -> None:
    conn.exec_driver_sql("BEGIN")


def _lock(path: Path) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        raise StoreError(f"{path} is held: another proxy writes to this ledger; stop it, or use another data_dir") from error
    return fd


def _sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
