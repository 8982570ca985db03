"""Rolling up and deleting never changes what a pool or a unit has to its account."""

import hashlib
import random

import pytest
import sqlalchemy as sa

from proxy import config
from proxy.ledger import retention as retention_module
from proxy.ledger import schema
from proxy.ledger.batch import BatchWriter, batch_of
from proxy.ledger.queries import share_rollups
from proxy.ledger.reconcile import begin_run
from proxy.ledger.records import CommandRecord, EnergyRecord, RejectionCount, SetpointRecord, ShareRecord, ShareState
from proxy.ledger.retention import DAY_S, Retention
from proxy.ledger.store import Store, reading
from proxy.ledger.verify import verify

T0 = 1_700_000_100.0
WORK = 2.0**32


class Bench:
    """A store, written to without a thread."""

    def __init__(self, directory, settings):
        self.url = f"sqlite:///{directory / 'ledger.sqlite3'}"
        self.store = Store(self.url, 1.0)
        self.store.create()
        self.conn = self.store.connect_writer()
        run = begin_run(self.conn, "test", T0)
        self.batches = BatchWriter(self.store.writer.dialect, run.run_id)
        with self.conn.begin():
            self.number = self.batches.load(self.conn)
        self.retention = Retention(settings, self.store.writer.dialect)
        self.next_id = 1

    def write(self, *items):
        self.number += 1
        with self.conn.begin():
            self.batches.write(self.conn, self.number, batch_of(items), T0)

    def share(self, at_unix_s, unit="unit-1", pool="main", forwarded=False, difficulty=8.0):
        share_id = self.next_id
        self.next_id += 1
        key = hashlib.sha256(share_id.to_bytes(8, "big")).digest()[:16]
        return ShareRecord(share_id, at_unix_s, unit, unit, pool, 1, "job", difficulty, 16.0, key, forwarded, False)

    def count(self, table):
        return self.conn.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()

    def settle_down(self, now_unix_s):
        steps = 0
        while self._step(now_unix_s):
            steps += 1
            assert steps < 1_000
        return steps

    def _step(self, now_unix_s):
        self.conn.rollback()  # reads above began a transaction
        return self.retention.step(self.conn, now_unix_s)


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path, config.Ledger(rollup_s=900, keep_shares_days=7, keep_rollups_days=30))
    yield made
    made.conn.close()
    made.store.close()


def sound(bench):
    bench.conn.rollback()
    report = verify(bench.url)
    assert report.problems == []
    return report


def test_old_shares_become_sums_of_their_period_unit_pool_and_state(bench):
    bench.write(*[bench.share(T0 + 10 * n, unit=f"unit-{n % 2}") for n in range(100)])
    bench.settle_down(T0 + 10_000)
    with reading(bench.store.reader) as conn:
        rows = share_rollups(conn, 0, 2e9, 900, 1_000)
    assert sum(row.count for row in rows) == 100
    assert sum(row.work for row in rows) == 100 * 8 * WORK
    assert sum(row.pool_work for row in rows) == 100 * 16 * WORK
    assert {row.unit for row in rows} == {"unit-0", "unit-1"}
    assert all(row.period_start_unix_s % 900 == 0 and row.period_s == 900 and row.state == "local" for row in rows)
    assert bench.count(schema.share) == 100  # rolled up, not deleted: that comes after keep_shares_days
    assert sound(bench).rolled_up == 100


def test_the_newest_shares_wait_until_their_period_is_over(bench):
    bench.write(bench.share(T0))
    assert bench.settle_down(T0 + 899) == 0
    assert bench.settle_down(T0 + 901) == 1


def test_a_share_without_an_answer_holds_up_what_comes_after_it(bench):
    bench.write(bench.share(T0), bench.share(T0, forwarded=True), bench.share(T0))
    bench.settle_down(T0 + 10_000)
    assert sound(bench).rolled_up == 1
    bench.write((ShareState.REFUSED.value, "21", 2))
    bench.settle_down(T0 + 10_000)
    report = sound(bench)
    assert (report.rolled_up, report.states) == (3, {"local": 2, "refused": 1})


def test_accounts_stay_the_same_through_roll_up_deletion_and_the_end_of_rollups(bench, monkeypatch):
    monkeypatch.setattr(retention_module, "ROLL_UP_ROWS", 37)
    monkeypatch.setattr(retention_module, "PRUNE_ROWS", 23)
    rng = random.Random(7)
    for day in range(12):
        shares = [
            bench.share(T0 + day * DAY_S + n, unit=f"unit-{n % 5}", pool=rng.choice(["a", "b"]), forwarded=rng.random() < 0.5)
            for n in range(40)
        ]
        ends = [rng.choice([(3, None), (4, "23"), (5, "lost")]) for _ in shares]
        bench.write(
            *shares,
            *[(state, reason, share.share_id) for share, (state, reason) in zip(shares, ends, strict=True) if share.forwarded],
        )
    before = sound(bench)
    for now in (T0 + 5 * DAY_S, T0 + 9 * DAY_S, T0 + 20 * DAY_S, T0 + 35 * DAY_S, T0 + 60 * DAY_S):
        bench.settle_down(now)
        after = sound(bench)
        assert (after.received, after.states, after.accounts) == (before.received, before.states, before.accounts)
    assert bench.count(schema.share) == 0
    assert bench.count(schema.rollup) == 0
    assert before.received == 480


def test_every_slice_is_bounded(bench, monkeypatch):
    monkeypatch.setattr(retention_module, "ROLL_UP_ROWS", 10)
    monkeypatch.setattr(retention_module, "PRUNE_ROWS", 10)
    bench.write(*[bench.share(T0) for _ in range(95)])
    assert bench.settle_down(T0 + 1_000) == 10
    assert bench.settle_down(T0 + 8 * DAY_S) == 10


def test_plant_records_go_after_their_time(bench):
    old, new = T0, T0 + 40 * DAY_S
    for at in (old, new):
        bench.write(
            SetpointRecord(at, "LIVE", None, None, 0.0, None, None, "unknown", None),
            CommandRecord(at, "unit-1", 0, 1, None, "demand", "taken"),
            EnergyRecord(at, 900.0, "site", None, None, "unknown", None),
            RejectionCount(int(at) // 900 * 900, 900, "unit-1", "main", "stale", 3, 1.0),
        )
    bench.settle_down(new)
    assert [bench.count(table) for table in (schema.setpoint, schema.command, schema.energy, schema.rejection)] == [1] * 4


def test_a_wall_clock_that_jumps_back_loses_nothing(bench):
    bench.write(*[bench.share(T0 + 5_000) for _ in range(3)], *[bench.share(T0) for _ in range(3)])
    bench.settle_down(T0 + 10_000)
    bench.settle_down(T0 + 8 * DAY_S)
    report = sound(bench)
    assert (report.received, report.rolled_up) == (6, 6)


def test_a_new_width_of_the_periods_does_not_mix_with_the_old(bench, tmp_path):
    bench.write(bench.share(T0), bench.share(T0))
    bench.settle_down(T0 + 1_000)
    bench.retention = Retention(config.Ledger(rollup_s=3_600), bench.store.writer.dialect)
    bench.write(bench.share(T0), bench.share(T0))
    bench.settle_down(T0 + 4_000)
    with reading(bench.store.reader) as conn:
        assert sorted((row.period_s, row.count) for row in share_rollups(conn, 0, 2e9, 900, 10)) == [(900, 2), (3_600, 2)]
    sound(bench)
