"""The same ledger on PostgreSQL: a server of its own on loopback, started as an unprivileged user and stopped afterwards."""

import contextlib
import os
import random
import signal
import socket
import threading
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from proxy import config
from proxy.errors import StoreError
from proxy.ledger import schema
from proxy.ledger.records import AuditRecord, DemandRecord, EnergyRecord, MemoryRecord, ShareState
from proxy.ledger.retention import Retention
from proxy.ledger.store import MIGRATIONS, Store
from proxy.ledger.verify import verify
from tests.support.killed import killed_run
from tests.support.postgresql import Server, needs_postgresql, running

pytestmark = [*needs_postgresql, pytest.mark.slow]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running() as made:
        yield made


async def test_shares_and_records_live_on_postgresql_as_on_sqlite(server, site, make_share):
    site.settings = config.Ledger(url=server.url("whole"), group_commit_s=0.001)
    now = site.clock()
    async with site.running() as ledger:
        shares = [make_share(ledger, unit=f"unit-{n % 3}", forwarded=n % 4 != 0) for n in range(40)]
        for share in shares:
            assert ledger.record_share(share, share.share_id)
        again = make_share(ledger, key=shares[0].key, forwarded=False)
        ledger.record_share(again, again.share_id)
        assert await ledger.flush()
        for share in shares:
            if share.forwarded and share.share_id % 5:
                ledger.settle(share.share_id, ShareState.ACCEPTED, None)
        ledger.count_rejected("unit-1", "main", "stale", now, 1.0)
        await ledger.flush()
        ledger.count_rejected("unit-1", "main", "stale", now, 1.0)
        ledger.record_demand(DemandRecord("rest", 1, 2, now, now, now + 600, 1e6, True))
        ledger.record_energy(EnergyRecord(now, 900.0, "site", 1.0, None, "estimated", 2.0))
        ledger.record_energy(EnergyRecord(now, 900.0, "site", 3.0, None, "estimated", 4.0))
        for version in (1, 2):
            ledger.record_memory(MemoryRecord("heat.holds", now, version, '{"stops": {"W\\u0000": 1.5}}'))
        for number in range(3):
            ledger.record_audit(AuditRecord(now + 0.1, "operator", "limit", "site", None, f"Wärme \x00 {number}", "done"))
        assert await ledger.flush()
        assert ledger.totals().conservation_delta == 0
        assert ledger.totals().received == 40 + 2  # the repeated one counts once, the rejected ones count too
        assert len(await ledger.reports.energy(0, 2e9)) == 1
        assert sum(row.count for row in await ledger.reports.share_rollups(0, 2e9)) == 40
        assert len(await ledger.reports.audit_tail()) == 3
        assert ledger.anomalies == {"repeated-key": 1}
    assert site.durable == [*range(1, 41), again.share_id]
    report = verify(site.url)
    assert (report.problems, report.received, report.rejected, report.audit_rows) == ([], 40, 2, 3)
    async with site.running() as ledger:
        assert ledger.start.was_clean
        assert ledger.start.in_doubt == sum(share.forwarded and share.share_id % 5 == 0 for share in shares)
        assert ledger.last_demand().sequence == 2
        assert ledger.memories() == {"heat.holds": MemoryRecord("heat.holds", now, 2, '{"stops": {"W\\u0000": 1.5}}')}
        assert ledger.next_share_id() == 41


async def test_accounts_survive_roll_up_and_deletion_on_postgresql(server, site, make_share):
    site.settings = config.Ledger(url=server.url("retention"))
    async with site.running() as ledger:
        for number in range(50):
            ledger.record_share(make_share(ledger, unit=f"unit-{number % 3}", forwarded=False), None)
        await ledger.flush()
    before = verify(site.url)
    store = Store(site.url, 1.0)
    retention = Retention(site.settings, store.writer.dialect)
    for later_s in (2_000, 8 * 86_400, 2_000 * 86_400):
        with store.connect_writer() as conn:
            while retention.step(conn, site.clock() + later_s):
                pass
        after = verify(site.url)
        assert (after.problems, after.accounts) == ([], before.accounts)
    with store.reader.connect() as conn:
        assert conn.execute(sa.select(sa.func.count()).select_from(schema.share)).scalar() == 0
    store.close()


async def test_a_second_proxy_on_the_same_database_is_refused(server, site, tmp_path):
    site.settings = config.Ledger(url=server.url("lock"))
    async with site.running() as ledger:
        await ledger.flush()
        with pytest.raises(StoreError, match="another proxy"):
            site.open()


async def test_a_server_that_restarts_is_survived(server, site, make_share):
    site.settings = config.Ledger(url=server.url("restart"), group_commit_s=0.001)
    async with site.running(recovery_s=0.2) as ledger:
        ledger.record_share(make_share(ledger, forwarded=False), "before")
        assert await ledger.flush()
        server.stop("immediate")
        ledger.record_share(make_share(ledger, forwarded=False), "lost")
        await site.until(lambda: site.failed == ["lost"])
        assert "can be reached" in ledger.degraded_reason
        server.start()
        await site.until(lambda: site.states[-1] is None)
        assert await ledger.flush()
    assert site.durable == ["before"]
    report = verify(site.url)
    assert (report.received, report.problems) == (2, [])


def sql(url: str, text: str) -> object:
    """One statement by another connection than the ledger's."""
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as conn:
            result = conn.exec_driver_sql(text)
            return result.scalar() if result.returns_rows else None
    finally:
        engine.dispose()


class Cable:
    """Passes bytes to the server until it is cut: then neither side hears anything again, not even an end. In threads, because the
    ledger opens its database on the loop's own."""

    def __init__(self, port: int) -> None:
        self._server = port
        self._is_cut = threading.Event()
        self._ends: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def cut(self) -> None:
        """All that goes through it now; what connects later is passed."""
        self._is_cut.set()
        self._is_cut = threading.Event()

    def close(self) -> None:
        for end in (self._listener, *self._ends):
            end.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                theirs = socket.create_connection(("127.0.0.1", self._server))
                self._ends += [client, theirs]
                for source, target in ((client, theirs), (theirs, client)):
                    threading.Thread(target=self._pass, args=(source, target, self._is_cut), daemon=True).start()

    @staticmethod
    def _pass(source: socket.socket, target: socket.socket, is_cut: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while (chunk := source.recv(65_536)) and not is_cut.is_set():
                target.sendall(chunk)


async def test_a_connection_that_fell_silent_does_not_keep_its_place_at_the_server(server, site, make_share):
    url = server.url("silent")
    cable = Cable(server.port)
    site.settings = config.Ledger(url=server.url_by(cable.port, "silent"), group_commit_s=0.001)
    async with site.running(recovery_s=0.2) as ledger:
        ledger.record_share(make_share(ledger, forwarded=False), "before")
        assert await ledger.flush()
        held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
        assert sql(url, held) == 1
        cable.cut()
        ledger._writer._conn.connection.driver_connection.close()  # as the kernel does when nothing is answered
        ledger.record_share(make_share(ledger, forwarded=False), "lost")
        await site.until(lambda: site.failed == ["lost"])
        await site.until(lambda: site.states[-1] is None)
        assert await ledger.flush()
        assert sql(url, held) == 1
    assert verify(url).problems == []
    cable.close()


async def test_a_server_that_hangs_is_noticed_and_survived(server, site, make_share):
    url = server.url("hangs")
    site.settings = config.Ledger(url=url, group_commit_s=0.001, stall_timeout_s=0.2)
    async with site.running(recovery_s=0.2) as ledger:
        assert await ledger.flush()
        pid = sql(url, "SELECT pid FROM pg_locks WHERE locktype = 'advisory'")
        os.kill(pid, signal.SIGSTOP)
        try:
            ledger.record_share(make_share(ledger, forwarded=False), "hangs")
            await site.until(lambda: site.failed == ["hangs"])
            assert "a write has taken" in ledger.degraded_reason
        finally:
            os.kill(pid, signal.SIGCONT)
        await site.until(lambda: site.states[-1] is None)
    assert verify(url).problems == []


async def test_names_as_long_as_an_index_cannot_take_cost_nobody_a_share(server, site, make_share):
    site.settings = config.Ledger(url=server.url("names"), group_commit_s=0.001)
    long = "".join(chr(0x20000 + (number * 7919) % 40_000) for number in range(2_000))
    async with site.running() as ledger:
        ledger.record_share(make_share(ledger, unit=long, worker=long[::-1], pool=long[5:], forwarded=False), "long")
        ledger.count_rejected(long, long[::-1], long[3:], site.clock(), 1.0)
        assert await ledger.flush()
    assert site.durable == ["long"]
    assert verify(site.url).problems == []


async def test_rights_that_were_taken_are_trouble_and_cost_no_record(server, site, make_share):
    url = server.url("rights")
    site.settings = config.Ledger(url=url, group_commit_s=0.001)
    async with site.running(recovery_s=0.2) as ledger:
        assert await ledger.flush()
        sql(url, "ALTER TABLE share RENAME TO elsewhere")
        ledger.record_share(make_share(ledger, forwarded=False), "refused")
        await site.until(lambda: site.failed == ["refused"])
        assert "ledger emptied" in ledger.degraded_reason
        sql(url, "ALTER TABLE elsewhere RENAME TO share")
        await site.until(lambda: site.states[-1] is None)
        assert await ledger.flush()
        assert ledger.anomalies == {}
    report = verify(url)
    assert (report.received, report.problems) == (1, [])


def test_a_database_of_the_first_version_is_brought_up_to_date(server):
    from alembic import command
    from alembic.config import Config

    url = server.url("old")
    store = Store(url, 1.0)
    settings = Config()
    settings.set_main_option("script_location", str(MIGRATIONS))
    with store.connect_writer() as conn:
        settings.attributes["connection"] = conn
        command.upgrade(settings, "0001")
    sql(url, "INSERT INTO demand VALUES (DEFAULT, 'dh', 0, 1, 1.7e9, 1.7e9, 1.7e9 + 900, 1e6, true, NULL)")
    store.writer.dispose()
    with pytest.raises(StoreError, match="an older version wrote it"):
        store.require_current()
    store.create()
    store.require_current()
    store.close()
    assert sql(url, "SELECT power_w FROM demand WHERE supply_c IS NULL") == 1e6
    assert verify(url).problems == []


async def test_a_report_after_a_restart_of_the_server_asks_it_anew(server, site):
    site.settings = config.Ledger(url=server.url("readers"))
    async with site.running() as ledger:
        assert await ledger.reports.period_head() is not None
        server.stop()
        with pytest.raises(StoreError, match="ledger cannot be read"):
            await ledger.reports.period_head()
        server.start()
        assert (await ledger.reports.period_head())[0] == 0


def test_no_acknowledged_share_is_lost_by_kill_9_and_the_next_process_gets_the_place(server, tmp_path):
    url = server.url("killed")
    rng = random.Random(20)
    acknowledged: set[int] = set()
    for _ in range(5):
        ids = killed_run(tmp_path, rng.uniform(0.0, 0.4), url)
        assert acknowledged.isdisjoint(ids)
        acknowledged.update(ids)
        newest = sql(url, "SELECT array_agg(share_id) FROM share")
        assert acknowledged <= set(newest)
    report = verify(url)
    assert report.problems == []
    assert report.received >= len(acknowledged) > 5
