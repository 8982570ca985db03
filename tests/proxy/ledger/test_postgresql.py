"""The same ledger on PostgreSQL: a server of its own on loopback, started as an unprivileged user and stopped afterwards."""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest
import sqlalchemy as sa

from proxy import config
from proxy.errors import StoreError
from proxy.ledger import schema
from proxy.ledger.records import AuditRecord, DemandRecord, EnergyRecord, MemoryRecord, ShareState
from proxy.ledger.retention import Retention
from proxy.ledger.store import Store
from proxy.ledger.verify import verify

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(120),
    pytest.mark.skipif(not BINARIES, reason="no PostgreSQL server here"),
]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A PostgreSQL cluster in a temporary directory."""

    def __init__(self, home, user):
        self.binaries = BINARIES[-1].parent
        self.home = home
        self.user = user
        self.port = free_port()
        self.run("initdb", "-D", home / "data", "-U", "proxy", "-A", "trust", "--no-sync", "-E", "UTF8")
        self.start()

    def run(self, command, *arguments):
        subprocess.run(
            [self.binaries / command, *arguments], check=True, user=self.user, cwd=self.home, stdout=subprocess.DEVNULL, timeout=60
        )

    def start(self):
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.home}"
        self.run("pg_ctl", "-D", self.home / "data", "-l", self.home / "log", "-o", options, "-w", "start")

    def stop(self, mode="fast"):
        self.run("pg_ctl", "-D", self.home / "data", "-m", mode, "-w", "stop")

    def url(self, database):
        self.run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "proxy", database)
        return f"postgresql+psycopg://proxy@127.0.0.1:{self.port}/{database}"


@pytest.fixture(scope="module")
def server():
    pytest.importorskip("psycopg")
    user = None
    if os.geteuid() == 0:  # the server refuses to run as root
        try:
            user = pwd.getpwnam("postgres").pw_uid
        except KeyError:
            user = pwd.getpwnam("nobody").pw_uid
    home = Path(tempfile.mkdtemp(prefix="ledger-pg-"))
    if user is not None:
        os.chown(home, user, -1)
    made = Server(home, user)
    try:
        yield made
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):  # a test may have stopped it
            made.stop("immediate")
        shutil.rmtree(home)


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
