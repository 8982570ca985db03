"""What a failed write means: is the database in trouble (wait, tell somebody, try again) or is one record unfit (drop it)?"""

import errno
import sqlite3

import msgspec
from sqlalchemy.exc import DatabaseError, DBAPIError, InternalError, OperationalError

from proxy.errors import StoreError


class Trouble(msgspec.Struct, frozen=True):
    """Why nothing can be made durable now, in words for an operator, and what he can do."""

    reason: str
    remedy: str

    def __str__(self) -> str:
        """Cause and remedy in one line."""
        return f"{self.reason}; {self.remedy}"


# Looked for in the driver's message, first match wins.
_KNOWN = (
    (
        ("is full", "no space left", "disk full", "disk quota"),
        "disk full",
        "free space there; it goes on by itself",
    ),
    (("locked", "lock timeout", "is busy"), "ledger locked", "end the other program that writes to the ledger's database"),
    (("malformed", "not a database"), "ledger damaged", "stop the proxy, run `thermostratum ledger verify`, restore the backup"),
    (("readonly", "read-only"), "ledger not writable", "make the file system writable again and check the owner of data_dir"),
    (("i/o error",), "disk error", "check the disk (kernel log, SMART) and move data_dir to another one"),
    (("no such table", "does not exist"), "ledger emptied", "somebody replaced the database; restart the proxy"),
    (("permission denied",), "ledger not writable", "grant the proxy's user all rights on its database's tables"),
)
# Classes of PostgreSQL codes that speak of the values: data, constraints, limits. Tables that are gone do not, nor do rights.
_RECORD_STATES = ("22", "23", "54")
_OTHERWISE = "check that the database runs and can be reached"


def diagnose(error: Exception) -> Trouble | None:
    """The trouble behind `error`, or None when it is about the record itself (a value that does not fit its column)."""
    if isinstance(error, DBAPIError):
        return None if _is_about_record(error) and not error.connection_invalidated else _explain(str(error.orig))
    if isinstance(error, StoreError):
        return Trouble("ledger unusable", str(error))
    if isinstance(error, OSError):
        return _explain(error.strerror or str(error))
    return None


def is_out_of_space(error: Exception) -> bool:
    """Whether giving up the reserve file would help."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    origin = error.orig if isinstance(error, DBAPIError) else None
    return isinstance(origin, sqlite3.OperationalError) and "full" in str(origin)


def _is_about_record(error: DBAPIError) -> bool:
    state = getattr(error.orig, "sqlstate", None)
    if isinstance(state, str):
        return state.startswith(_RECORD_STATES)
    # Constraint and value errors are subclasses of DatabaseError of their own; the bare class is SQLite's word for damage.
    return not isinstance(error, OperationalError | InternalError) and type(error) is not DatabaseError


def stalled(for_s: float) -> Trouble:
    """A write that has not come back."""
    return Trouble(f"a write has taken {for_s:.1f} s", "the disk or the database server is overloaded or failing; check it")


def _explain(text: str) -> Trouble:
    lower = text.lower()
    for phrases, reason, remedy in _KNOWN:
        if any(phrase in lower for phrase in phrases):
            return Trouble(f"{reason} ({text.strip()})", remedy)
    return Trouble(f"ledger cannot be written ({text.strip()})", _OTHERWISE)
