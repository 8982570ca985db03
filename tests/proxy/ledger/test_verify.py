"""Verify finds what nobody should be able to do to a ledger unseen."""

import pytest
from sqlalchemy import create_engine, text

from proxy.errors import StoreError
from proxy.ledger import verify as verify_module
from proxy.ledger.records import AuditRecord, ShareState
from proxy.ledger.verify import verify


async def fill(site, make_share):
    async with site.running() as ledger:
        for number in range(6):
            share = make_share(ledger, unit=f"unit-{number % 2}", forwarded=number < 4)
            ledger.record_share(share, None)
            if number < 3:
                ledger.settle(share.share_id, ShareState.ACCEPTED, None)
        ledger.count_rejected("unit-0", "main", "stale", site.clock(), 1.0)
        for number in range(5):
            ledger.record_audit(AuditRecord(float(number), "operator", "limit", "site", None, str(number), "done"))
        await ledger.flush()


def tamper(site, *statements):
    engine = create_engine(site.url)
    with engine.begin() as conn:
        for statement in statements:
            conn.execute(text(statement))
    engine.dispose()


async def test_a_good_ledger_has_no_problem_and_all_its_figures(site, make_share):
    await fill(site, make_share)
    report = verify(site.url)
    assert report.is_sound
    assert report.integrity == "ok"
    assert (report.received, report.rejected, report.audit_rows, report.is_audit_intact) == (6, 1, 5, True)
    assert report.states == {"sent": 1, "local": 2, "accepted": 3}
    assert [(a.unit, a.pool, a.accepted, a.below_pool_target, a.pending, a.rejected) for a in report.accounts] == [
        ("unit-0", "main", 2, 1, 0, 1),
        ("unit-1", "main", 1, 1, 1, 0),
    ]


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("delete from share where share_id = 2", "5 can be shown"),
        ("update share set difficulty = difficulty * 2 where share_id = 2", "work"),
        ("update share set state = 9 where share_id = 2", "does not exist"),
        ("update share set reason = '' where share_id = 2", "its state has not"),
        ("update share set state = 4 where share_id = 2", "without a reason"),
        ("update share set difficulty = 0 where share_id = 2", "without work"),
        ("update share set share_key = x'00' where share_id = 2", "not 16 bytes"),
        ("update share set source_id = 77 where share_id = 2", "nobody knows"),
        ("update tally set received = 5", "5 shares were counted"),
        ("insert into mark (name, value) values ('rolled', 4)", "rolled up"),
        ("insert into rollup values (1699999200, 900, 1, 3, 1, 1.0, 1.0)", "1 shares in the rollups, 0 rows"),
        ("insert into run select 2, 1.0, 1.0, null, 0, 'x', 7, 0 union select 3, 1.0, 1.0, null, 0, 'x', 7, 0", "two proxies"),
        ("insert into run values (2, 1.0, 1.0, null, 0, 'x', 7, 0)", "never closed"),
    ],
)
async def test_a_changed_ledger_is_found(site, make_share, statement, words):
    await fill(site, make_share)
    tamper(site, statement)
    problems = verify(site.url).problems
    assert any(words in problem for problem in problems), problems


@pytest.mark.parametrize(
    ("statements", "words"),
    [
        (["update audit set after = '99' where audit_id = 3"], "row 3 was changed"),
        (["update audit set at_unix_s = 2.0000000000000004 where audit_id = 3"], "row 3 was changed"),
        (["update audit set before = '' where audit_id = 3"], "row 3 was changed"),
        (["delete from audit where audit_id = 3"], "row 3 is missing"),
        (["delete from audit where audit_id = 5"], "ends at row 4, but 5"),
        (["delete from audit"], "ends at row 0"),
        (["delete from mark where name = 'audit'"], "but 0 rows"),
        (
            [
                "update audit set audit_id = -3 where audit_id = 3",
                "update audit set audit_id = 3 where audit_id = 4",
                "update audit set audit_id = 4 where audit_id = -3",
            ],
            "row 3 was changed",
        ),
    ],
)
async def test_an_edited_cut_or_reordered_audit_trail_is_found(site, make_share, statements, words):
    await fill(site, make_share)
    tamper(site, *statements)
    report = verify(site.url)
    assert not report.is_audit_intact
    assert any(words in problem for problem in report.problems), report.problems


async def test_a_damaged_file_is_found(site, make_share):
    await fill(site, make_share)
    content = bytearray(site.path.read_bytes())
    root = _root_page(site, "ix_share_key")
    content[(root - 1) * 4096 + 3 : (root - 1) * 4096 + 5] = b"\x00\x01"  # the index page claims one entry
    site.path.write_bytes(content)
    report = verify(site.url)
    assert report.integrity != "ok"
    assert "restore the backup" in report.problems[0]


def _root_page(site, name):
    engine = create_engine(site.url)
    with engine.connect() as conn:
        page = conn.execute(text("select rootpage from sqlite_master where name = :name"), {"name": name}).scalar_one()
    engine.dispose()
    return page


async def test_many_problems_end_in_a_count(site, make_share, monkeypatch):
    monkeypatch.setattr(verify_module, "PROBLEMS_LIMIT", 2)
    await fill(site, make_share)
    tamper(site, "update share set share_key = x'00' where share_id = 2", "update tally set received = 1", "delete from audit")
    problems = verify(site.url).problems
    assert len(problems) == 2
    assert problems[-1] == "and 2 more"


def test_no_ledger_is_an_error_and_makes_none(site):
    with pytest.raises(StoreError, match="there is none"):
        verify(site.url)
    assert not site.path.exists()


async def test_a_running_ledger_can_be_verified(site, make_share):
    async with site.running() as ledger:
        ledger.record_share(make_share(ledger), None)
        await ledger.flush()
        assert verify(site.url).problems == []
