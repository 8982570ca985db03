"""The one thread that writes: takes what is queued, commits it as one transaction, says what is durable, survives a sick disk.

Knows when to write and when to try again, not what a record means (batch.py) nor whom it answers (ledger.py). What the trio thread
may touch is in the first block of methods; the rest belongs to the thread.

After a failed commit the connection is thrown away, never asked again: a kernel that could not sync reports it once and then
forgets the pages. Whether that commit happened after all is read back from the batch number in the run's row, so that nothing is
written twice.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

import msgspec
import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError, StatementError

from proxy import config
from proxy.errors import StoreError
from proxy.ledger.batch import BatchWriter, Flush, Item, batch_of
from proxy.ledger.reconcile import end_run
from proxy.ledger.records import ShareRecord
from proxy.ledger.retention import Retention
from proxy.ledger.store import Store
from proxy.ledger.trouble import Trouble, diagnose, is_out_of_space, stalled

log = structlog.get_logger()

BATCH_LIMIT: Final = 2_000  # items in one transaction: some 20 ms
HEARTBEAT_S: Final = 60.0  # the run's row says at least this often that we live
PROBE_S: Final = 1.0  # in trouble, a write is tried this often
BACK_OFF_S: Final = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0)
RETENTION_S: Final = 1.0  # under load one slice this often; otherwise whenever there is nothing to write
RETENTION_IDLE_S: Final = 30.0
UNFIT_IN_A_ROW: Final = 20  # records dropped one after the other: then it is not the records
FAREWELL_TRIES: Final = 3  # writes tried at shutdown before the rest is given up

_EXPECTED = (SQLAlchemyError, StoreError, OSError, ValueError, TypeError, OverflowError)


class Committed(msgspec.Struct):
    """One durable batch. `repeated` are the shares whose work the ledger had already."""

    shares: list[ShareRecord]
    repeated: list[ShareRecord]
    flushes: list[Flush]


class Listener(Protocol):
    """Who is told; all of it is called in the writer's thread and must not raise."""

    def committed(self, done: Committed) -> None:
        """The batch is durable."""

    def failed(self, trouble: Trouble) -> None:
        """Nothing is durable until `recovered`; what was queued stays queued."""

    def dropped(self, item: Item, reason: str) -> None:
        """One record can never be written."""

    def recovered(self) -> None:
        """Writes have been good for long enough."""


class Timing(msgspec.Struct, frozen=True):
    """How patient the writer is, all in seconds."""

    group_commit_s: float
    stall_timeout_s: float
    recovery_s: float


class Writer:
    """See the module. `run` is the thread's function; it returns after `stop` once everything is written or given up."""

    def __init__(
        self,
        store: Store,
        run_id: int,
        settings: config.Ledger,
        timing: Timing,
        listener: Listener,
        wall_clock: Callable[[], float],
    ) -> None:
        self.write_began_s: float | None = None  # time.monotonic() when the running write began
        self._store = store
        self._run_id = run_id
        self._timing = timing
        self._listener = listener
        self._wall_clock = wall_clock
        self._batches = BatchWriter(store.writer.dialect, run_id)
        self._retention = Retention(settings, store.writer.dialect)
        self._queue: deque[Item] = deque()
        self._blocks: deque[ShareRecord] = deque()
        self._again: deque[list[Item]] = deque()  # batches that failed, oldest first: written before anything else
        self.finished = threading.Event()  # the thread has ended
        self._wake = threading.Event()
        self._is_idle = False
        self._is_stopping = False
        self._is_troubled = False
        self._conn: Connection | None = None
        self._number = 0  # of the last batch that is done with
        self._found = 0  # of the last batch that is in the database: one ahead when a commit only seemed to fail
        self._must_checkpoint = False
        self._failures = 0
        self._unfit = 0
        self._good_since_s: float | None = None
        now_s = time.monotonic()
        self._taken_s = now_s
        self._written_s = now_s
        self._retained_s = now_s
        self._retention_due_s = now_s + RETENTION_S

    # --- for the trio thread: plain attribute and deque operations, each atomic under the interpreter's lock ---

    @property
    def queued(self) -> int:
        """Records waiting; those of a batch under way or failed (at most BATCH_LIMIT) are not counted."""
        return len(self._queue) + len(self._blocks)

    def push(self, item: Item) -> None:
        """Queue one record; it is committed within the group window. Never waits."""
        self._queue.append(item)
        if self._is_idle:
            self._is_idle = False
            self._wake.set()

    def push_block(self, record: ShareRecord) -> None:
        """Queue a block: next, alone and at once."""
        self._blocks.append(record)
        self._wake.set()

    def distrust(self) -> None:
        """A stall was seen from outside: good writes must prove themselves again before `recovered`."""
        self._is_troubled = True
        self._good_since_s = None

    def stop(self) -> None:
        """Write what is queued, end the run, return from `run`."""
        self._is_stopping = True
        self._wake.set()

    # --- the thread ---

    def run(self) -> None:
        """The thread's life. Only a bug ends it with an exception."""
        try:
            while self._turn():
                pass
            self._farewell()
        finally:
            self._hang_up()
            self.finished.set()

    def _turn(self) -> bool:
        if self._again:
            if self._failures:
                self._pause(BACK_OFF_S[min(self._failures, len(BACK_OFF_S)) - 1])
                if self._is_stopping and self._failures >= FAREWELL_TRIES:
                    return False
            self._attempt(self._again.popleft())
            return True
        self._await_work()
        if self._blocks:
            self._attempt([self._blocks.popleft()])
        elif self._queue:
            self._await_group()
            if not self._blocks:
                self._taken_s = time.monotonic()
                self._attempt([self._queue.popleft() for _ in range(min(len(self._queue), BATCH_LIMIT))])
        elif self._is_stopping:
            return False
        elif self._is_troubled or time.monotonic() - self._written_s >= HEARTBEAT_S:
            self._attempt([])
        if not self._again and not self._is_troubled and time.monotonic() >= self._retention_due_s:
            self._retain()
        return True

    def _await_work(self) -> None:
        """Return when something is queued, when `stop` was called, or when a write or a slice is due anyway."""
        due_s = self._written_s + (self._probe_s() if self._is_troubled else HEARTBEAT_S)
        due_s = due_s if self._is_troubled else min(due_s, self._retention_due_s)
        self._wake.clear()
        self._is_idle = True  # before the look: whoever queues after it will wake us
        if not (self._queue or self._blocks or self._is_stopping):
            self._wake.wait(max(0.0, due_s - time.monotonic()))
            self._taken_s = time.monotonic()  # the window opens with what woke us
        self._is_idle = False

    def _await_group(self) -> None:
        """Let the group fill until its window is over. A block or `stop` ends the wait."""
        left_s = self._taken_s + self._timing.group_commit_s - time.monotonic()
        if left_s <= 0 or len(self._queue) >= BATCH_LIMIT:
            return
        self._wake.clear()
        if not (self._blocks or self._is_stopping):
            self._wake.wait(left_s)

    def _pause(self, pause_s: float) -> None:
        """Back off; `stop` ends the wait."""
        until_s = time.monotonic() + pause_s
        while not self._is_stopping and (left_s := until_s - time.monotonic()) > 0:
            self._wake.clear()
            if not self._is_stopping:
                self._wake.wait(left_s)

    def _probe_s(self) -> float:
        return min(PROBE_S, self._timing.recovery_s / 4)

    def _attempt(self, items: list[Item]) -> None:
        """Write one batch; a failed one is put back in front."""
        batch = batch_of(items)
        began_s = self.write_began_s = time.monotonic()
        repeated: list[ShareRecord] = []
        try:
            conn = self._connection()
            number = self._number + 1
            if self._found < number:
                with conn.begin():
                    repeated = self._batches.write(conn, number, batch, self._wall_clock())
        except _EXPECTED as error:
            self._on_error(error, items)
            return
        finally:
            self.write_began_s = None
        self._number = self._found = number
        self._settle(Committed(batch.shares, repeated, batch.flushes), began_s)

    def _settle(self, done: Committed, began_s: float) -> None:
        """Tell of a durable batch; decide whether the trouble is over."""
        now_s = self._written_s = time.monotonic()
        self._failures = 0
        if done.shares:
            self._unfit = 0
        if done.shares or done.flushes:
            self._listener.committed(done)
        if now_s - began_s > self._timing.stall_timeout_s:
            self.distrust()
            self._listener.failed(stalled(now_s - began_s))
        if not self._is_troubled:
            return
        if self._good_since_s is None:
            self._good_since_s = now_s
        elif now_s - self._good_since_s >= self._timing.recovery_s and not self._must_checkpoint:
            self._recover()

    def _recover(self) -> None:
        try:
            self._store.fill_reserve()  # a disk without room for it is not well
        except OSError as error:
            self._good_since_s = None
            trouble = diagnose(error)
            assert trouble is not None
            self._listener.failed(trouble)
            return
        self._is_troubled = False
        self._listener.recovered()

    def _on_error(self, error: Exception, items: list[Item]) -> None:
        trouble = diagnose(error)
        if trouble is None and self._unfit < UNFIT_IN_A_ROW:
            self._drop(error, items)
            return
        if trouble is None:
            trouble = Trouble(f"the database refuses every record ({error})", "run `thermostratum ledger verify`")
        self._again.appendleft(items)
        self._failures += 1
        self.distrust()
        self._hang_up()
        self._must_checkpoint = self._store.is_sqlite
        if is_out_of_space(error) and self._store.release_reserve():
            log.warning("ledger.reserve_released", ledger=str(self._store))
        self._listener.failed(trouble)

    def _drop(self, error: Exception, items: list[Item]) -> None:
        """A value that fits no column: find its record by writing each alone."""
        self._forget()
        if len(items) > 1:
            self._again.extendleft([item] for item in reversed(items))
            return
        self._unfit += 1
        reason = str(error.orig) if isinstance(error, StatementError) else str(error)  # never the row itself
        for item in items:
            log.error("ledger.record_dropped", record=type(item).__name__, reason=reason)
            self._listener.dropped(item, reason)

    def _forget(self) -> None:
        """After a rollback: remember only what the database has. A connection that fails here is opened anew."""
        if self._conn is None:
            return
        try:
            with self._conn.begin():
                self._found = self._batches.load(self._conn)
        except _EXPECTED:
            self._hang_up()

    def _connection(self) -> Connection:
        """The open connection, or a new one whose state was read back."""
        if self._conn is None:
            self._conn = self._store.connect_writer()
            with self._conn.begin():
                self._found = self._batches.load(self._conn)
        if self._must_checkpoint:
            # Once written through the database file, frames that a failed sync left in doubt are needed no more.
            self._must_checkpoint = not self._store.checkpoint(self._conn)
        return self._conn

    def _hang_up(self) -> None:
        conn, self._conn = self._conn, None
        if conn is None:
            return
        try:
            conn.invalidate()
            conn.close()
        except SQLAlchemyError as error:
            log.warning("ledger.close_failed", reason=str(error))
        self._store.writer.dispose()

    def _retain(self) -> None:
        began_s = self.write_began_s = time.monotonic()
        try:
            more = self._retention.step(self._connection(), self._wall_clock())
        except _EXPECTED as error:
            trouble = diagnose(error) or Trouble(f"old shares cannot be rolled up ({error})", "run `thermostratum ledger verify`")
            self._hang_up()
            self.distrust()
            self._must_checkpoint = self._store.is_sqlite
            self._failures += 1
            self._again.append([])
            self._listener.failed(trouble)
            return
        finally:
            self.write_began_s = None
        is_busy = bool(self._queue)
        self._retention_due_s = began_s + (RETENTION_S if is_busy else 0.0 if more else RETENTION_IDLE_S)

    def _farewell(self) -> None:
        """Everything is written, or given up: say so in the run's row and in the log."""
        lost = self.queued + sum(map(len, self._again))
        if lost:
            log.error("ledger.records_lost", records=lost, remedy="shares among them were never answered as accepted")
            return
        try:
            conn = self._connection()
            end_run(conn, self._run_id, self._wall_clock())
            if not self._store.checkpoint(conn):
                log.info("ledger.checkpoint_left", reason="a reader holds an older state; the next start does it")
        except _EXPECTED as error:
            log.error("ledger.end_failed", reason=str(error))
        self.log_heads()

    def log_heads(self) -> None:
        """How many rows each chain has and the newest one's digest, into the log: to be kept elsewhere too."""
        for name, (rows, head) in (("audit.head", self._batches.audit_head), ("settlement.head", self._batches.period_head)):
            log.info(name, rows=rows, digest=head.hex())
