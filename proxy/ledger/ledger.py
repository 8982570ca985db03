"""The ledger as the rest of the proxy sees it: plain calls on the trio thread, answered when a commit is durable.

It decides nothing about shares: who hands one in has judged it. It never waits for the disk; the writer's thread does. What is
queued when `run` is cancelled is written first. Memory is bounded: shares are refused beyond `queue_limit` and while degraded,
other records beyond PLANT_LIMIT, and a share that no pool answers is closed after PENDING_LIMIT_S.
"""

import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final, Self

import structlog
import trio
from sqlalchemy.exc import DBAPIError

from proxy import config
from proxy.errors import StoreError
from proxy.ledger.batch import Flush, Item
from proxy.ledger.book import ShareBook
from proxy.ledger.reconcile import RunStart, begin_run
from proxy.ledger.records import (
    AuditRecord,
    CommandRecord,
    DemandRecord,
    EnergyRecord,
    MemoryRecord,
    MeteringRecord,
    PeriodRecord,
    PlantRecord,
    SetpointRecord,
    ShareRecord,
    ShareState,
)
from proxy.ledger.rejections import RejectionCounts
from proxy.ledger.relay import FlushWait, FlushWaits, Relay, guarded
from proxy.ledger.reports import Reports
from proxy.ledger.store import Store, ledger_url
from proxy.ledger.trouble import Trouble, stalled
from proxy.ledger.writer import Committed, Timing, Writer
from proxy.views import ShareTotals

log = structlog.get_logger()

RECOVERY_S: Final = 10.0  # writes must be good for so long before shares are taken again
PLANT_LIMIT: Final = 10_000  # set-points, commands, audit rows waiting while nothing can be written
MEMORY_LIMIT: Final = 4_000_000  # characters of one memory: ten thousand units' worth
PENDING_LIMIT: Final = 1_000_000  # shares waiting for a pool
PENDING_LIMIT_S: Final = 3_600.0  # sessions give up after seconds: longer is a bug of ours, and must not hold up the rollups
NEVER_ANSWERED: Final = "never-answered"
SHUTDOWN_S: Final = 15.0  # for the last writes; a disk that takes longer has stalled
REJECTIONS_FLUSH_S: Final = 1.0
AUDIT_HEAD_S: Final = 3_600.0


def _ignore_tokens(_tokens: list[object]) -> None:
    """Nobody waits for tokens."""


def _ignore_state(_reason: str | None) -> None:
    """Nobody watches the state."""


class Ledger:
    """Made by `open`, driven by `run`. Every other method is for the trio thread and returns at once.

    `on_durable(tokens)`: these shares are in the ledger for good; once a batch. `on_failed(tokens)`: these can not be promised
    (they may still be written later): answer them with an error, do not count them as rejected. Each token gets one of the two.
    `on_state(reason)`: degraded, with cause and remedy; None when it is over. `reports`: what can be asked. `start`: what was
    found at opening.
    """

    def __init__(
        self, store: Store, start: RunStart, settings: config.Ledger, wall_clock: Callable[[], float], recovery_s: float
    ) -> None:
        self.on_durable: Callable[[list[object]], None] = _ignore_tokens
        self.on_failed: Callable[[list[object]], None] = _ignore_tokens
        self.on_state: Callable[[str | None], None] = _ignore_state
        self.start = start
        self.reports = Reports(store, int(settings.rollup_s))
        self._store = store
        self._settings = settings
        self._wall_clock = wall_clock
        timing = Timing(settings.group_commit_s, settings.stall_timeout_s, recovery_s)
        self._relay = Relay(
            committed=self._on_committed, failed=self._on_failed, dropped=self._on_dropped, recovered=self._on_recovered
        )
        self._writer = Writer(store, start.run_id, settings, timing, self._relay, wall_clock)
        self._write_scope = trio.CancelScope(shield=True)
        self._next_share_id = start.first_share_id
        self._queue_limit = settings.queue_limit
        self._book = ShareBook()
        self._rejections = RejectionCounts(int(settings.rollup_s))
        self._flushes = FlushWaits()
        self._trouble: Trouble | None = None
        self._demands = dict(start.demands)
        self._memories = dict(start.memories)

    @classmethod
    def open(
        cls, settings: config.Ledger, data_dir: Path, wall_clock: Callable[[], float], *, recovery_s: float = RECOVERY_S
    ) -> Self:
        """Create or migrate the database, close what an earlier run left open, begin a run. Blocks.

        Raises StoreError when another proxy writes there, when a newer version wrote it, or when it cannot be reached.
        """
        store = Store(ledger_url(settings, data_dir), settings.stall_timeout_s)
        store.create()
        try:
            with store.connect_writer() as conn:
                start = begin_run(conn, _version(), wall_clock())
        except DBAPIError as error:
            store.close()
            raise StoreError(f"ledger {store}: {error.orig}") from error
        except StoreError:
            store.close()
            raise
        log.info("ledger.opened", ledger=str(store), run=start.run_id, in_doubt=start.in_doubt, was_clean=start.was_clean)
        return cls(store, start, settings, wall_clock, recovery_s)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write until cancelled; then write what is queued, end the run and close. Started = records are being taken.

        Raises only for a bug in the writer's thread.
        """
        self._relay.begin()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write, name="ledger writer")
                nursery.start_soon(self._watch, name="ledger watch")
                task_status.started()
                try:
                    await trio.sleep_forever()
                finally:
                    await self._shut_down()
        finally:
            self._fail_waiting()
            self._store.close()

    def close(self) -> None:
        """Give the database back without having run: for a start that failed elsewhere. `run` closes by itself."""
        self._store.close()

    # --- shares ---

    def next_share_id(self) -> int:
        """A number no share had before, in any run."""
        share_id = self._next_share_id
        self._next_share_id = share_id + 1
        return share_id

    def record_share(self, record: ShareRecord, token: object) -> bool:
        """Queue a valid share; `token` comes back in on_durable or on_failed.

        False: degraded or full. Then nothing was taken, the share is not counted and must be refused by the caller. A block is
        always taken; while degraded its token comes back in on_failed soon, and its row is written as soon as anything can be.
        """
        if record.block:
            self._book.enter(record, token, time.monotonic())
            self._writer.push_block(record)
            if self._trouble is not None:
                self._relay.soon(self._fail_waiting)
            return True
        if self.is_degraded:
            return False
        self._book.enter(record, token, time.monotonic())
        self._writer.push(record)
        return True

    def settle(self, share_id: int, state: ShareState, reason: str | None) -> None:
        """A forwarded share ended: ACCEPTED, REFUSED(reason) or UNKNOWN(reason).

        A share that is not pending (unknown, never forwarded, settled before) changes nothing and is counted as an anomaly.
        ValueError for a state that is no end.
        """
        settlement = self._book.settle(share_id, state, reason)
        if settlement is not None:
            self._writer.push(settlement)

    def count_rejected(self, unit: str, pool: str, verdict: str, at_unix_s: float, difficulty: float) -> None:
        """Count a share we refused ourselves: never kept one by one, written in sums at most once a second."""
        self._book.reject(verdict)
        self._rejections.count(unit, pool, verdict, at_unix_s, difficulty)

    def totals(self) -> ShareTotals:
        """Every share of this process, by where it ended."""
        return self._book.totals()

    @property
    def anomalies(self) -> dict[str, int]:
        """What should never happen, by kind: answers to shares not pending, the same work twice, records dropped or refused."""
        return self._book.anomalies

    # --- the plant ---

    def record_demand(self, record: DemandRecord) -> bool:
        """Queue a demand, taken or not. An accepted one is what `last_demand` gives from now on. False: not taken, too many."""
        if record.accepted:
            self._demands.pop(record.source, None)  # so that the newest is last
            self._demands[record.source] = record
        return self._push_plant(record)

    def record_setpoint(self, record: SetpointRecord) -> bool:
        """Queue one decision of the control cycle. False: not taken, too many wait."""
        return self._push_plant(record)

    def record_command(self, record: CommandRecord) -> bool:
        """Queue a command to a unit. False: not taken, too many wait."""
        return self._push_plant(record)

    def record_energy(self, record: EnergyRecord) -> bool:
        """Queue the energy of a period; the same period and scope again replaces it. False: not taken, too many wait."""
        return self._push_plant(record)

    def record_memory(self, record: MemoryRecord) -> bool:
        """Queue what is to be known after a restart; `memories` gives it from now on. False: not taken, too many or too long."""
        if len(record.body) > MEMORY_LIMIT:
            self._book.note("record-refused")
            return False
        self._memories[record.name] = record
        return self._push_plant(record)

    def record_metering(self, record: MeteringRecord) -> bool:
        """Queue a minute of metering; the same scope and end again replaces it. False: not taken, too many wait."""
        return self._push_plant(record)

    def record_period(self, record: PeriodRecord) -> bool:
        """Queue a settlement period; a revision that is there already is left as it is. False: not taken, too many wait."""
        return self._push_plant(record)

    def record_audit(self, record: AuditRecord) -> bool:
        """Queue an audit row. False: not taken, too many wait."""
        return self._push_plant(record)

    def last_demand(self) -> DemandRecord | None:
        """The newest accepted demand that has not expired, whichever source it came from, over restarts too."""
        now_unix_s = self._wall_clock()
        for record in reversed(self._demands.values()):
            if record.valid_until_unix_s > now_unix_s:
                return record
        return None

    def newest_demands(self) -> dict[str, DemandRecord]:
        """The newest accepted demand of each source, expired ones too: what a replayed command is measured against."""
        return dict(self._demands)

    def planned_demands(self) -> list[DemandRecord]:
        """Accepted demands of earlier runs that had not expired when this one began, oldest first."""
        return list(self.start.planned)

    def memories(self) -> dict[str, MemoryRecord]:
        """The newest record of every name, over restarts."""
        return dict(self._memories)

    async def flush(self) -> bool:
        """Wait until everything recorded before is durable. False: degraded, it is not (it may become so later)."""
        self._push_rejections()
        if self._trouble is not None:
            await trio.lowlevel.checkpoint()
            return False
        return await self._flushes.wait(lambda mark: self._writer.push(Flush(mark)))

    # --- state ---

    @property
    def is_degraded(self) -> bool:
        """Shares are refused: nothing can be promised until writes have been good for a while, or too much waits."""
        return self._trouble is not None or self._writer.queued >= self._queue_limit or self._book.pending >= PENDING_LIMIT

    @property
    def degraded_reason(self) -> str | None:
        """Cause and remedy in one line, None when all is well."""
        if self._trouble is not None:
            return str(self._trouble)
        return f"{self.queued} records wait; fewer shares (vardiff), or a faster disk" if self.is_degraded else None

    @property
    def queued(self) -> int:
        """Records waiting for their commit."""
        return self._writer.queued

    # --- inside ---

    async def _write(self) -> None:
        """The writer's thread. Not cancelled with the rest: `run` tells it to stop and gives it time."""
        with self._write_scope:
            await trio.to_thread.run_sync(self._writer.run, limiter=trio.CapacityLimiter(1), abandon_on_cancel=True)

    async def _shut_down(self) -> None:
        self._push_rejections()
        self._writer.stop()
        with trio.CancelScope(shield=True):
            # Real time, whatever clock the loop runs on: the disk does not know about the loop's.
            is_done = await trio.to_thread.run_sync(self._writer.finished.wait, SHUTDOWN_S)
        if not is_done:
            log.error("ledger.shutdown_stalled", queued=self.queued, remedy="check the disk or the database server")
            self._write_scope.cancel()

    async def _watch(self) -> None:
        """Look after what no call or report brings up: stalls, sums to be written, shares that nobody answered."""
        period_s = min(0.25, self._settings.stall_timeout_s / 4)
        flushed_s = head_logged_s = time.monotonic()
        while True:
            await trio.sleep(period_s)
            now_s = time.monotonic()
            self._check_stall(now_s)
            self._close_unanswered(now_s)
            if now_s - flushed_s >= REJECTIONS_FLUSH_S:
                flushed_s = now_s
                self._push_rejections()
            if now_s - head_logged_s >= AUDIT_HEAD_S:
                head_logged_s = now_s
                self._writer.log_heads()

    def _check_stall(self, now_s: float) -> None:
        began_s = self._writer.write_began_s
        if began_s is not None and now_s - began_s > self._settings.stall_timeout_s:
            self._writer.distrust()
            if self._trouble is None:
                self._on_failed(stalled(now_s - began_s))

    def _close_unanswered(self, now_s: float) -> None:
        for share_id in self._book.overdue(now_s - PENDING_LIMIT_S):
            self._book.note(NEVER_ANSWERED)
            self.settle(share_id, ShareState.UNKNOWN, NEVER_ANSWERED)

    def _push_rejections(self) -> None:
        if self._trouble is None:  # until then they go on adding up where they are
            for count in self._rejections.take():
                self._writer.push(count)

    def _push_plant(self, record: PlantRecord) -> bool:
        if self._writer.queued >= self._queue_limit + PLANT_LIMIT:
            self._book.note("record-refused")
            return False
        self._writer.push(record)
        return True

    def _audit_state(self, action: str, detail: str | None) -> None:
        self._push_plant(AuditRecord(self._wall_clock(), "ledger", action, "ledger", None, detail, "done"))

    # Called on the trio thread, in the order in which the writer's thread reported.

    def _on_committed(self, done: Committed) -> None:
        tokens = self._book.committed(done.shares, done.repeated)
        if tokens:
            guarded(self.on_durable, tokens)
        for flush in done.flushes:
            if isinstance(flush.token, FlushWait):
                flush.token.finish(is_durable=True)

    def _on_failed(self, trouble: Trouble) -> None:
        is_news = self._trouble is None or self._trouble.reason != trouble.reason
        was_well = self._trouble is None
        self._trouble = trouble
        if is_news:
            guarded(self.on_state, str(trouble))
        if was_well:
            self._audit_state("degraded", str(trouble))
        self._fail_waiting()

    def _fail_waiting(self) -> None:
        tokens = self._book.fail_all()
        if tokens:
            guarded(self.on_failed, tokens)
        self._flushes.fail_all()

    def _on_dropped(self, item: Item, reason: str) -> None:
        self._book.note("record-dropped")
        tokens = self._book.fail(item.share_id) if isinstance(item, ShareRecord) else []
        if tokens:
            guarded(self.on_failed, tokens)

    def _on_recovered(self) -> None:
        self._trouble = None
        self._audit_state("recovered", None)
        guarded(self.on_state, None)


def _version() -> str:
    try:
        return version("thermostratum")
    except PackageNotFoundError:
        return "unknown"
