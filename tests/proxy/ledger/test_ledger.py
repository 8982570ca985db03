"""The ledger as others use it: answered when durable, every share in a named state, nothing counted twice."""

import pytest
import trio
from sqlalchemy import create_engine, text

from proxy import config
from proxy.errors import StoreError
from proxy.ledger.ledger import MEMORY_LIMIT, PENDING_LIMIT_S, Ledger
from proxy.ledger.records import (
    AuditRecord,
    CommandRecord,
    DemandRecord,
    EnergyRecord,
    MemoryRecord,
    SetpointRecord,
    ShareState,
)
from proxy.ledger.retention import Retention
from proxy.ledger.store import Store
from proxy.ledger.verify import verify

WORK = 2.0**32


def rows(site, question):
    engine = create_engine(site.url)
    try:
        with engine.connect() as conn:
            return conn.execute(text(question)).all()
    finally:
        engine.dispose()


def demand(sequence, clock, *, valid_s=600.0, source="rest", accepted=True):
    now = clock()
    return DemandRecord(
        source, 1, sequence, now, now, now + valid_s, 50_000.0 + sequence, accepted, None if accepted else "too old"
    )


async def test_a_share_is_in_the_database_when_its_token_comes_back(site, make_share):
    async with site.running() as ledger:
        seen = []

        def on_durable(tokens):
            seen.extend((token, rows(site, "select count(*) from share")[0][0]) for token in tokens)

        ledger.on_durable = on_durable
        for token in ("a", "b", "c"):
            assert ledger.record_share(make_share(ledger), token)
        assert await ledger.flush()
        assert [token for token, _ in seen] == ["a", "b", "c"]
        assert all(count >= position for position, (_, count) in enumerate(seen, 1))


async def test_shares_queued_together_are_answered_in_one_batch(site, make_share):
    site.settings = config.Ledger(group_commit_s=0.2)
    async with site.running() as ledger:
        for token in range(50):
            ledger.record_share(make_share(ledger), token)
        await ledger.flush()
    assert site.batches == [list(range(50))]


async def test_a_block_does_not_wait_for_the_group(site, make_share):
    site.settings = config.Ledger(group_commit_s=0.2)
    async with site.running() as ledger:
        ledger.record_share(make_share(ledger), "share")
        ledger.record_share(make_share(ledger, block=True), "block")
        await site.until(lambda: "block" in site.durable)
        assert site.batches[0] == ["block"]
        await ledger.flush()
        assert ledger.totals().blocks == 1


async def test_every_end_of_a_share_is_a_state_with_its_reason(site, make_share):
    async with site.running() as ledger:
        shares = [make_share(ledger) for _ in range(4)]
        local = make_share(ledger, forwarded=False)
        for share in [*shares, local]:
            ledger.record_share(share, None)
        await ledger.flush()
        ledger.settle(shares[0].share_id, ShareState.ACCEPTED, None)
        ledger.settle(shares[1].share_id, ShareState.REFUSED, "23")
        ledger.settle(shares[2].share_id, ShareState.UNKNOWN, "connection lost")
        ledger.count_rejected("unit-1", "main", "stale", site.clock(), 1024.0)
        await ledger.flush()
        totals = ledger.totals()
    assert rows(site, "select state, reason from share order by share_id") == [
        (3, None),
        (4, "23"),
        (5, "connection lost"),
        (1, None),
        (2, None),
    ]
    assert (totals.received, totals.accepted, totals.below_pool_target, totals.pending) == (6, 1, 1, 1)
    assert (totals.refused, totals.unknown, totals.rejected) == ({"23": 1}, {"connection lost": 1}, {"stale": 1})
    assert (totals.valid_work, totals.accepted_work) == (5 * 1024 * WORK, 2048 * WORK)
    assert totals.conservation_delta == 0


async def test_an_answer_may_come_before_the_commit(site, make_share):
    async with site.running() as ledger:
        share = make_share(ledger)
        ledger.record_share(share, None)
        ledger.settle(share.share_id, ShareState.ACCEPTED, None)
        await ledger.flush()
    assert rows(site, "select state from share") == [(3,)]


async def test_the_answer_to_a_block_may_come_at_once(site, make_share):
    async with site.running() as ledger:
        share = make_share(ledger, block=True)
        ledger.record_share(share, None)
        ledger.settle(share.share_id, ShareState.ACCEPTED, None)
        await ledger.flush()
    assert rows(site, "select state, block from share") == [(3, 1)]


async def test_a_second_answer_is_an_anomaly_and_changes_nothing(site, make_share):
    async with site.running() as ledger:
        share = make_share(ledger)
        ledger.record_share(share, None)
        ledger.settle(share.share_id, ShareState.ACCEPTED, None)
        ledger.settle(share.share_id, ShareState.REFUSED, "21")
        ledger.settle(999, ShareState.ACCEPTED, None)
        await ledger.flush()
        assert ledger.anomalies == {"settle-not-pending": 2}
        assert ledger.totals().accepted == 1
        assert ledger.totals().refused == {}
        assert ledger.totals().conservation_delta == 0
    assert rows(site, "select state from share") == [(3,)]


async def test_the_same_work_twice_is_one_share(site, make_share):
    async with site.running() as ledger:
        first = make_share(ledger)
        ledger.record_share(first, "first")
        await ledger.flush()
        again = make_share(ledger, key=first.key)
        ledger.record_share(again, "again")
        ledger.settle(again.share_id, ShareState.ACCEPTED, None)
        ledger.settle(first.share_id, ShareState.ACCEPTED, None)
        await ledger.flush()
        totals = ledger.totals()
        assert (totals.received, totals.accepted, totals.pending, totals.conservation_delta) == (1, 1, 0, 0)
        assert ledger.anomalies == {"repeated-key": 1}
    assert site.durable == ["first", "again"]  # both may be answered true: the work is in the ledger
    assert rows(site, "select share_id, state from share") == [(first.share_id, 3)]
    assert verify(site.url).problems == []


async def test_the_same_work_after_a_restart_is_one_share(site, make_share):
    async with site.running() as ledger:
        first = make_share(ledger, forwarded=False)
        ledger.record_share(first, None)
        await ledger.flush()
    async with site.running() as ledger:
        ledger.record_share(make_share(ledger, key=first.key, forwarded=False), None)
        await ledger.flush()
        assert ledger.totals().received == 0
    report = verify(site.url)
    assert (report.received, report.problems) == (1, [])


async def test_what_was_sent_when_the_proxy_ended_is_unknown_afterwards(site, make_share):
    async with site.running() as ledger:
        ledger.record_share(make_share(ledger), None)
        ledger.record_share(make_share(ledger, forwarded=False), None)
        await ledger.flush()
    async with site.running() as ledger:
        assert ledger.start.in_doubt == 1
        assert ledger.start.was_clean
        assert ledger.next_share_id() == 3
    assert rows(site, "select state, reason from share order by share_id") == [(5, "restart"), (2, None)]


async def test_a_clean_end_writes_what_is_queued(site, make_share):
    site.settings = config.Ledger(group_commit_s=1.0)
    async with site.running() as ledger:
        for token in range(100):
            ledger.record_share(make_share(ledger), token)
        ledger.count_rejected("unit-1", "main", "stale", site.clock(), 8.0)
    assert site.durable == list(range(100))
    assert rows(site, "select count(*) from share") == [(100,)]
    assert rows(site, "select shares, work from rejection") == [(1, 8.0 * WORK)]
    assert rows(site, "select is_clean from run") == [(1,)]
    assert not site.path.with_name("ledger.sqlite3-wal").exists()


async def test_two_proxies_cannot_write_one_ledger(site):
    async with site.running():
        with pytest.raises(StoreError, match="another proxy writes"):
            site.open()


async def test_a_ledger_of_a_newer_version_is_refused_and_left_alone(site):
    async with site.running():
        pass
    engine = create_engine(site.url)
    with engine.begin() as conn:
        conn.execute(text("update alembic_version set version_num = '9999'"))
    engine.dispose()
    with pytest.raises(StoreError, match="9999"):
        site.open()
    assert rows(site, "select version_num from alembic_version") == [("9999",)]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("nonsense", "not a URL"),
        ("sqlite://", "memory"),
        ("mysql://host/db", "not supported"),
        ("postgresql+nosuch://host/db", "driver missing"),
    ],
)
def test_a_url_that_cannot_hold_a_ledger_is_explained(site, url, words):
    site.settings = config.Ledger(url=url)
    with pytest.raises(StoreError, match=words):
        site.open()


async def test_the_newest_accepted_demand_survives_a_restart(site):
    async with site.running() as ledger:
        assert ledger.last_demand() is None
        ledger.record_demand(demand(1, site.clock))
        ledger.record_demand(demand(2, site.clock))
        ledger.record_demand(demand(3, site.clock, accepted=False))
        assert ledger.last_demand().sequence == 2
        await ledger.flush()
    async with site.running() as ledger:
        assert ledger.last_demand() == demand(2, site.clock)
        assert [d.sequence for d in await ledger.reports.recent_demands(2)] == [3, 2]


async def test_an_expired_demand_is_no_demand_but_still_guards_against_replay(site):
    async with site.running() as ledger:
        ledger.record_demand(demand(7, site.clock, valid_s=900.0, source="modbus"))
        ledger.record_demand(demand(2, site.clock, valid_s=60.0))
        site.clock.now_unix_s += 61
        assert ledger.last_demand().source == "modbus"
    site.clock.now_unix_s += 900
    async with site.running() as ledger:
        assert ledger.last_demand() is None
        assert {source: d.sequence for source, d in ledger.newest_demands().items()} == {"modbus": 7, "rest": 2}


async def test_plant_records_come_back_as_they_went_in(site):
    now = site.clock()
    setpoint = SetpointRecord(now, "LIVE", 50_000.0, 52_000.0, 51_800.0, None, None, "unknown", "ramp")
    command = CommandRecord(now, "unit-1", None, 2, 3_200.0, "demand", "taken")
    energy = EnergyRecord(now, 900.0, "site", 12_500.0, None, "estimated", 13_000.0)
    audit = AuditRecord(now, "operator", "service", "unit-1", None, "out: pump", "done")
    async with site.running() as ledger:
        ledger.record_setpoint(setpoint)
        ledger.record_command(command)
        ledger.record_energy(EnergyRecord(now, 900.0, "site", 1.0, 1.0, "estimated", 1.0))
        ledger.record_energy(energy)
        ledger.record_audit(audit)
        await ledger.flush()
        assert await ledger.reports.setpoints(now, now + 1) == [setpoint]
        assert await ledger.reports.recent_commands() == [command]
        assert await ledger.reports.energy(now, now + 1) == [energy]
        assert await ledger.reports.audit_tail() == [audit]
        assert await ledger.reports.energy(now + 1, now + 2) == []


async def test_rejections_are_added_up_in_few_rows(site):
    async with site.running() as ledger:
        for _ in range(1_000):
            ledger.count_rejected("unit-1", "main", "stale", site.clock(), 2.0)
        ledger.count_rejected("unit-1", "main", "duplicate", site.clock(), 2.0)
        await ledger.flush()
        ledger.count_rejected("unit-1", "main", "stale", site.clock(), 2.0)
        await ledger.flush()
        found = {count.verdict: (count.count, count.work) for count in await ledger.reports.rejections(0, 2e9)}
    assert found == {"stale": (1_001, 2_002 * WORK), "duplicate": (1, 2 * WORK)}


async def test_shares_show_in_reports_before_they_are_rolled_up(site, make_share):
    async with site.running() as ledger:
        for _ in range(3):
            ledger.record_share(make_share(ledger, forwarded=False), None)
        await ledger.flush()
        (row,) = await ledger.reports.share_rollups(site.clock() - 900, site.clock() + 900)
        assert (row.unit, row.pool, row.state, row.count, row.work) == ("unit-1", "main", "local", 3, 3 * 1024 * WORK)


async def test_hostile_names_do_not_cost_a_record(site, make_share):
    async with site.running() as ledger:
        share = make_share(ledger, worker="evil\x00\ud800" + "x" * 5_000, upstream_job="\ud800job\n" + "y" * 5_000)
        ledger.record_share(share, "token")
        ledger.settle(share.share_id, ShareState.REFUSED, "\x00" * 1_000)
        ledger.record_audit(AuditRecord(1.0, "evil\ud800", "a\x00", "s", None, None, "done"))
        await ledger.flush()
    assert site.durable == ["token"]
    ((worker,),) = rows(site, "select worker from source")
    assert worker.startswith("evil??x")
    assert len(worker) == 500
    assert verify(site.url).problems == []


async def test_a_record_that_fits_no_column_is_dropped_alone(site, make_share):
    async with site.running() as ledger:
        good = [make_share(ledger) for _ in range(5)]
        bad = make_share(ledger, session=2**80)
        for share in [*good[:3], bad, *good[3:]]:
            ledger.record_share(share, share.share_id)
        assert await ledger.flush()
        assert not ledger.is_degraded
        assert ledger.anomalies == {"record-dropped": 1}
    assert site.durable == [share.share_id for share in good]
    assert site.failed == [bad.share_id]
    assert verify(site.url).problems == []


async def test_reasons_chosen_by_a_pool_stay_few(site, make_share):
    async with site.running() as ledger:
        for number in range(100):
            share = make_share(ledger)
            ledger.record_share(share, None)
            ledger.settle(share.share_id, ShareState.REFUSED, f"reason {number}")
        assert len(ledger.totals().refused) == 33
        assert ledger.totals().refused["other"] == 68
        assert ledger.totals().conservation_delta == 0


async def test_a_share_nobody_answers_is_closed_in_the_end(site, make_share):
    async with site.running() as ledger:
        share = make_share(ledger)
        ledger.record_share(share, None)
        ledger._close_unanswered(1e12 + PENDING_LIMIT_S)
        await ledger.flush()
        assert ledger.totals().unknown == {"never-answered": 1}
    assert rows(site, "select state, reason from share") == [(5, "never-answered")]


async def test_beyond_the_queue_limit_shares_are_refused(site, make_share):
    site.settings = config.Ledger(queue_limit=100)
    ledger = site.open()  # not running: nothing is taken off the queue
    taken = [ledger.record_share(make_share(ledger), n) for n in range(120)]
    assert taken == [True] * 100 + [False] * 20
    assert ledger.totals().received == 100
    async with trio.open_nursery() as nursery:
        await nursery.start(ledger.run)
        await ledger.flush()
        assert ledger.record_share(make_share(ledger), "again")
        nursery.cancel_scope.cancel()
    assert site.durable == [*range(100), "again"]


async def test_a_callback_that_raises_does_not_end_the_ledger(site, make_share):
    async with site.running() as ledger:

        def broken(tokens):
            raise RuntimeError("router")

        ledger.on_durable = broken
        ledger.record_share(make_share(ledger), 1)
        assert await ledger.flush()
        assert isinstance(ledger, Ledger)
        assert not ledger.is_degraded


async def test_a_share_cannot_be_settled_as_sent(site, make_share):
    async with site.running() as ledger:
        share = make_share(ledger)
        ledger.record_share(share, None)
        with pytest.raises(ValueError):
            ledger.settle(share.share_id, ShareState.LOCAL, None)


async def test_share_ids_go_on_after_every_row_is_gone(site, make_share):
    async with site.running() as ledger:
        for _ in range(5):
            ledger.record_share(make_share(ledger, forwarded=False), None)
        await ledger.flush()
    site.clock.now_unix_s += 30 * 86_400
    store = Store(site.url, 1.0)
    retention = Retention(site.settings, store.writer.dialect)
    with store.connect_writer() as conn:
        while retention.step(conn, site.clock()):
            pass
    store.close()
    assert rows(site, "select count(*) from share") == [(0,)]
    async with site.running() as ledger:
        assert ledger.next_share_id() == 6
    assert verify(site.url).problems == []


async def test_a_memory_comes_back_as_it_was_last_written(site):
    body = '{"who": "W\\u0000 \u00e4", "text": "' + "x" * 5_000 + '"}'
    async with site.running() as ledger:
        assert ledger.memories() == {}
        for version in (1, 2):
            assert ledger.record_memory(MemoryRecord("heat.holds", site.clock(), version, body))
        ledger.record_memory(MemoryRecord("other", site.clock(), 1, "[]"))
        assert ledger.memories()["heat.holds"].version == 2
    async with site.running() as ledger:
        assert ledger.memories() == {
            "heat.holds": MemoryRecord("heat.holds", site.clock(), 2, body),
            "other": MemoryRecord("other", site.clock(), 1, "[]"),
        }
        assert not ledger.record_memory(MemoryRecord("other", site.clock(), 1, "x" * (MEMORY_LIMIT + 1)))
        assert ledger.memories()["other"].body == "[]"
