"""What the ledger tells others, for trio: each report runs in a thread on a connection of its own and never holds up a share."""

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import msgspec
import trio
from sqlalchemy import Connection

from proxy.ledger import periods, queries
from proxy.ledger.records import (
    AuditRecord,
    CommandRecord,
    DemandRecord,
    EnergyRecord,
    MeteringRecord,
    PeriodRecord,
    RejectionCount,
    SetpointRecord,
    ShareRollup,
    UnitWork,
)
from proxy.ledger.retention import rolled_through
from proxy.ledger.store import Store, reading

T = TypeVar("T")
_THREADS: Final = 2


class PeriodInputs(msgspec.Struct, frozen=True):
    """Everything that the records of some settlement periods are made from, as of one moment."""

    metering: list[MeteringRecord]
    demands: list[DemandRecord]
    work: list[list[UnitWork]]  # of each period asked for
    closed: list[PeriodRecord]  # newest revisions of what is closed already


class Reports:
    """Every answer is bounded by `limit`. StoreError when the database cannot be read; cancelling one costs nothing."""

    def __init__(self, store: Store, period_s: int) -> None:
        self._store = store
        self._period_s = period_s
        self._limiter = trio.CapacityLimiter(_THREADS)

    async def share_rollups(self, start_unix_s: float, end_unix_s: float, limit: int = 10_000) -> list[ShareRollup]:
        """Shares by period, unit, pool and state for periods that begin in [start, end), oldest first."""
        return await self._ask(lambda conn: queries.share_rollups(conn, start_unix_s, end_unix_s, self._period_s, limit))

    async def rejections(self, start_unix_s: float, end_unix_s: float, limit: int = 10_000) -> list[RejectionCount]:
        """What we refused ourselves, for periods that begin in [start, end), oldest first."""
        return await self._ask(lambda conn: queries.rejections(conn, start_unix_s, end_unix_s, limit))

    async def energy(self, start_unix_s: float, end_unix_s: float, limit: int = 10_000) -> list[EnergyRecord]:
        """Energy periods that begin in [start, end), oldest first."""
        return await self._ask(lambda conn: queries.energy(conn, start_unix_s, end_unix_s, limit))

    async def setpoints(self, start_unix_s: float, end_unix_s: float, limit: int = 10_000) -> list[SetpointRecord]:
        """Decisions of the control cycle in [start, end), oldest first."""
        return await self._ask(lambda conn: queries.setpoints(conn, start_unix_s, end_unix_s, limit))

    async def recent_demands(self, limit: int = 100) -> list[DemandRecord]:
        """The newest demands, refused ones too, newest first."""
        return await self._ask(lambda conn: queries.recent_demands(conn, limit))

    async def recent_commands(self, limit: int = 100) -> list[CommandRecord]:
        """The newest commands, newest first."""
        return await self._ask(lambda conn: queries.recent_commands(conn, limit))

    async def audit_tail(self, limit: int = 100) -> list[AuditRecord]:
        """The newest audit rows, newest first."""
        return await self._ask(lambda conn: queries.audit_tail(conn, limit))

    async def periods(self, start_unix_s: float, end_unix_s: float, limit: int = periods.PERIODS_LIMIT) -> list[PeriodRecord]:
        """The newest revision of every settlement period that begins in [start, end), by time and scope."""
        return await self._ask(lambda conn: periods.periods(conn, start_unix_s, end_unix_s, limit))

    async def period_head(self) -> tuple[int, bytes]:
        """Rows of the settlement chain, and the digest of the newest."""
        return await self._ask(periods.head)

    async def period_bounds(self) -> tuple[int | None, float | None]:
        """Where the newest closed period ends, and when the oldest minute of metering began."""
        return await self._ask(lambda conn: (periods.last_end(conn), periods.first_metering(conn)))

    async def period_inputs(self, starts_unix_s: Sequence[int], period_s: int) -> PeriodInputs:
        """What the periods that begin at `starts_unix_s` (rising, not empty) are made from."""

        def ask(conn: Connection) -> PeriodInputs:
            first, end = starts_unix_s[0], starts_unix_s[-1] + period_s
            rolled = rolled_through(conn)
            return PeriodInputs(
                metering=periods.metering(conn, first, end),
                demands=periods.demands(conn, first, end),
                work=[periods.unit_work(conn, start, start + period_s, rolled) for start in starts_unix_s],
                closed=periods.periods(conn, first, end),
            )

        return await self._ask(ask)

    async def _ask(self, question: Callable[[Connection], T]) -> T:
        def in_thread() -> T:
            with reading(self._store.reader) as conn:
                return question(conn)

        # Abandoned on cancel: a report nobody waits for any more may finish alone, it changes nothing.
        return await trio.to_thread.run_sync(in_thread, limiter=self._limiter, abandon_on_cancel=True)
