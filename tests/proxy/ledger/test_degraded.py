"""Disk full, database locked, I/O error, stall: nothing is promised, nothing is lost that was, and it comes back by itself."""

import errno
import os
import sqlite3
import subprocess
import threading
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlalchemy.exc import DatabaseError, IntegrityError, OperationalError, ProgrammingError

from proxy import config
from proxy.ledger.store import RESERVE_BYTES
from proxy.ledger.trouble import diagnose, is_out_of_space
from proxy.ledger.verify import verify


class FailingCommits:
    """Makes the writer's commits raise `error` while `is_on` and `when()`; `after=True` raises once the commit has happened."""

    def __init__(self, ledger, error, *, after=False, when=lambda: True):
        self.is_on = True
        self.calls = 0
        self._error = error
        self._after = after
        self._when = when
        event.listen(ledger._store.writer, "commit", self._commit)

    def _commit(self, conn):
        if not (self.is_on and self._when()):
            return
        self.calls += 1
        if self._after:
            conn.connection.driver_connection.execute("COMMIT")
        raise OperationalError("COMMIT", None, sqlite3.OperationalError(self._error))


async def test_an_io_error_degrades_answers_nobody_and_recovers_with_every_record(site, make_share):
    async with site.running(recovery_s=0.05) as ledger:
        faults = FailingCommits(ledger, "disk I/O error")
        share = make_share(ledger, forwarded=False)
        assert ledger.record_share(share, "token")
        await site.until(lambda: site.failed == ["token"])
        assert ledger.is_degraded
        assert "disk error" in ledger.degraded_reason
        assert "check the disk" in ledger.degraded_reason
        assert not ledger.record_share(make_share(ledger), "later")
        assert not await ledger.flush()
        faults.is_on = False
        await site.until(lambda: site.states[-1] is None)
        assert not ledger.is_degraded
        assert ledger.record_share(make_share(ledger), "after")
        assert await ledger.flush()
        assert [record.action for record in await ledger.reports.audit_tail()] == ["recovered", "degraded"]
        assert ledger.totals().received == 2
    assert site.durable == ["after"]  # the failed one was told so once, and not a second time
    report = verify(site.url)
    assert (report.received, report.problems) == (2, [])


async def test_a_commit_that_only_seemed_to_fail_is_not_written_twice(site, make_share):
    async with site.running(recovery_s=0.05) as ledger:
        faults = FailingCommits(ledger, "disk I/O error", after=True)
        ledger.record_share(make_share(ledger, forwarded=False), "token")
        ledger.count_rejected("unit-1", "main", "stale", site.clock(), 1.0)
        ledger._push_rejections()
        await site.until(lambda: site.failed == ["token"])
        faults.is_on = False
        await site.until(lambda: site.states[-1] is None)
        assert await ledger.flush()
    report = verify(site.url)
    assert (report.received, report.rejected, report.problems) == (1, 1, [])


async def test_a_block_found_while_degraded_is_written_as_soon_as_anything_is(site, make_share):
    async with site.running(recovery_s=0.05) as ledger:
        faults = FailingCommits(ledger, "disk I/O error")
        ledger.record_share(make_share(ledger), "share")
        await site.until(lambda: ledger.is_degraded)
        assert ledger.record_share(make_share(ledger, block=True), "block")
        await site.until(lambda: "block" in site.failed)
        faults.is_on = False
        await site.until(lambda: site.states[-1] is None)
        assert await ledger.flush()
        assert ledger.totals().blocks == 1
    assert verify(site.url).received == 2


async def test_a_locked_database_degrades_and_recovers(site, make_share):
    site.settings = config.Ledger(stall_timeout_s=0.1)
    async with site.running(recovery_s=0.05) as ledger:
        other = sqlite3.connect(site.path, isolation_level=None)
        other.execute("begin immediate")
        ledger.record_share(make_share(ledger), "token")
        await site.until(lambda: site.failed == ["token"])
        await site.until(lambda: "locked" in site.states[-1])
        other.execute("rollback")
        other.close()
        await site.until(lambda: site.states[-1] is None)
    assert verify(site.url).received == 1


async def test_a_write_that_hangs_is_noticed_while_it_hangs(site, make_share):
    site.settings = config.Ledger(stall_timeout_s=0.1)
    async with site.running(recovery_s=0.05) as ledger:
        gate = threading.Event()
        event.listen(ledger._store.writer, "commit", lambda conn: gate.wait(20))
        ledger.record_share(make_share(ledger), "token")
        await site.until(lambda: site.failed == ["token"])
        assert "has taken" in ledger.degraded_reason
        assert not ledger.record_share(make_share(ledger), "later")
        gate.set()
        await site.until(lambda: site.states[-1] is None)
        assert await ledger.flush()
    assert site.durable == []  # the commit came too late: that token had its answer
    assert verify(site.url).received == 1


async def test_on_a_full_disk_the_reserve_lets_the_alarm_be_written(site, make_share):
    reserve = site.path.with_name("ledger.sqlite3.reserve")
    async with site.running(recovery_s=0.05) as ledger:
        assert reserve.stat().st_size == RESERVE_BYTES
        faults = FailingCommits(ledger, "database or disk is full", when=lambda: reserve.exists() and not site.states)
        ledger.record_share(make_share(ledger), "token")
        await site.until(lambda: site.failed == ["token"])
        assert "disk full" in ledger.degraded_reason
        assert "free space" in ledger.degraded_reason
        await site.until(lambda: site.states[-1] is None)
        assert await ledger.flush()
    assert faults.calls == 1
    assert reserve.stat().st_size == RESERVE_BYTES


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
async def test_a_really_full_disk_is_survived(site, make_share, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", small], check=False).returncode != 0:
        pytest.skip("cannot mount")
    try:
        site.directory = small
        ballast = small / "ballast"
        async with site.running(recovery_s=0.2) as ledger:
            ledger.record_share(make_share(ledger), "before")
            assert await ledger.flush()
            fill(ballast)
            number = 0
            while not ledger.is_degraded:
                ledger.record_share(make_share(ledger, worker=f"{number}" * 100), number)
                await ledger.flush()
                number += 1
            assert "disk full" in ledger.degraded_reason
            assert site.failed == [number - 1]
            assert verify(site.url).received >= len(site.durable)
            ballast.unlink()
            await site.until(lambda: site.states[-1] is None)
            assert await ledger.flush()
            assert "degraded" in [record.action for record in await ledger.reports.audit_tail()]
        report = verify(site.url)
        assert (report.received, report.problems) == (number + 1, [])
        assert Path(f"{site.path}.reserve").stat().st_size == RESERVE_BYTES
    finally:
        subprocess.run(["umount", small], check=True)


def fill(path):
    """Take every free byte of the file system."""
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OperationalError("", None, sqlite3.OperationalError("database or disk is full")), "free space"),
        (OperationalError("", None, sqlite3.OperationalError("attempt to write a readonly database")), "owner of data_dir"),
        (DatabaseError("", None, sqlite3.DatabaseError("database disk image is malformed")), "restore the backup"),
        (OperationalError("", None, Exception("server closed the connection unexpectedly")), "can be reached"),
        (OSError(errno.EIO, os.strerror(errno.EIO)), "i/o error|cannot be written|disk error"),
    ],
)
def test_trouble_says_cause_and_remedy(error, words):
    trouble = diagnose(error)
    assert trouble is not None
    assert any(word in str(trouble) for word in words.split("|"))


def test_a_value_that_does_not_fit_is_no_trouble_of_the_database():
    assert diagnose(IntegrityError("", None, sqlite3.IntegrityError("NOT NULL constraint failed"))) is None
    assert diagnose(OverflowError("Python int too large")) is None


def test_only_a_full_disk_costs_the_reserve():
    assert is_out_of_space(OSError(errno.ENOSPC, "full"))
    assert is_out_of_space(OperationalError("", None, sqlite3.OperationalError("database or disk is full")))
    assert not is_out_of_space(OperationalError("", None, sqlite3.OperationalError("disk I/O error")))


class _Refusal(Exception):
    """What PostgreSQL's driver raises, with the server's code."""

    def __init__(self, state):
        super().__init__(f"refused with {state}")
        self.sqlstate = state


@pytest.mark.parametrize(
    ("state", "is_trouble"),
    [("22003", False), ("23505", False), ("54000", False), ("42P01", True), ("42501", True), ("25006", True), ("57P01", True)],
)
def test_what_postgresql_refuses_is_judged_by_its_code(state, is_trouble):
    """Whatever class the driver puts it in."""
    for kind in (ProgrammingError, OperationalError):
        assert (diagnose(kind("INSERT", None, _Refusal(state))) is not None) is is_trouble
