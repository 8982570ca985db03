"""`thermostratum settle`: what it writes is proven, complete, and can be opened; what it cannot do it says."""

import contextlib
import csv
import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import trio
from sqlalchemy import create_engine, text

from proxy import cli, config
from proxy.commands import settle as command
from proxy.commands.say import CliError
from proxy.ledger.ledger import Ledger
from proxy.ledger.records import PeriodRecord
from tests.support.settled import fake_periods, make_period

# The last Sunday of October 2026: clocks in Helsinki go back at 01:00 UTC.
DAY = 1_792_875_600  # 2026-10-25 00:00 in Helsinki
HOURS = 25

SITE = """
[site]
name = "riverside"
data_dir = "var"

[[pools]]
name = "north"
url = "stratum+tcp://pool.example:3333"
user = "account"
"""


async def fill(directory: Path, records: list[PeriodRecord]) -> None:
    ledger = Ledger.open(config.Ledger(), directory / "var", lambda: float(DAY))
    async with trio.open_nursery() as nursery:
        await nursery.start(ledger.run)
        for record in records:
            ledger.record_period(record)
        await ledger.flush()
        nursery.cancel_scope.cancel()


@pytest.fixture(scope="module")
def settled(tmp_path_factory):
    """A site with a whole local day of 25 hours, one gap and one revision in it."""
    directory = tmp_path_factory.mktemp("settled")
    records = fake_periods(DAY, DAY + HOURS * 3_600 + 1_020)
    gap = {"heat_wh": None, "heat_quality": "missing", "heat_missing_s": 900.0}
    records = [msgspec.structs.replace(r, **gap) if r.start_unix_s == DAY + 9_000 and r.scope == "site" else r for r in records]
    late = make_period(DAY + 1_800, revision=2, reason="work: +4 shares came into the ledger later")
    trio.run(fill, directory, [*records, late])
    (directory / "site.toml").write_text(SITE)
    return directory


@pytest.fixture
def run(settled, capfdbinary):
    """Runs one command line: (exit code, standard output as bytes, standard error)."""

    def go(*words: str) -> tuple[object, bytes, str]:
        with pytest.raises(SystemExit) as caught:
            cli.main(["settle", str(settled / "site.toml"), *words])
        shown = capfdbinary.readouterr()
        return caught.value.code, shown.out, shown.err.decode()

    return go


HELSINKI = ("--from", "2026-10-25", "--to", "2026-10-26", "--time-zone", "Europe/Helsinki")


def test_a_day_of_25_hours_has_100_quarters_each_once_in_utc(run):
    code, out, told = run(*HELSINKI)
    assert code == 0
    rows = list(csv.DictReader(io.StringIO(out.decode())))
    site = [row for row in rows if row["scope"] == "site"]
    assert len(site) == 100
    assert len({row["start_utc"] for row in site}) == 100
    assert len({row["start_local"][:16] for row in site}) == 96  # one hour of the clock comes twice
    assert len({row["start_local"] for row in site}) == 100  # its offset tells them apart
    assert site[0]["start_utc"] == "2026-10-24T21:00:00Z"
    assert "chain      unbroken" in told


def test_a_day_of_23_hours_has_92_quarters_and_no_hour_between_three_and_four(tmp_path, capfdbinary):
    """The last Sunday of March 2026: clocks in Helsinki go forward at 01:00 UTC."""
    first = 1_774_735_200  # 2026-03-29 00:00 in Helsinki
    trio.run(fill, tmp_path, fake_periods(first, first + 23 * 3_600 + 1_020))
    (tmp_path / "site.toml").write_text(SITE)
    capfdbinary.readouterr()  # what the ledger logged
    words = ("--from", "2026-03-29", "--to", "2026-03-30", "--time-zone", "Europe/Helsinki")
    with pytest.raises(SystemExit) as caught:
        cli.main(["settle", str(tmp_path / "site.toml"), *words])
    assert caught.value.code == 0
    rows = [row for row in csv.DictReader(io.StringIO(capfdbinary.readouterr().out.decode())) if row["scope"] == "site"]
    assert len({row["start_utc"] for row in rows}) == len(rows) == 92
    local = [row["start_local"] for row in rows]
    assert (local[11], local[12]) == ("2026-03-29T02:45+02:00", "2026-03-29T04:00+03:00")


def test_csv_says_unknown_with_an_empty_cell_and_the_newest_revision(run):
    _, out, _ = run(*HELSINKI)
    site = [row for row in csv.DictReader(io.StringIO(out.decode())) if row["scope"] == "site"]
    gap = site[10]
    assert (gap["heat_wh"], gap["deviation_wh"], gap["heat_quality"], gap["heat_missing_s"]) == ("", "", "missing", "900.0")
    assert (site[2]["revision"], site[2]["reason"]) == ("2", "work: +4 shares came into the ledger later")
    assert float(site[0]["work_low_wh"]) < float(site[0]["work_wh"]) < float(site[0]["work_high_wh"])
    assert float(site[0]["work_hashes north"]) == 3e19


def test_every_revision_is_there_when_asked_for(run):
    _, out, _ = run(*HELSINKI, "--revisions")
    rows = [row for row in csv.DictReader(io.StringIO(out.decode())) if row["scope"] == "site"]
    assert len(rows) == 101


def test_json_has_totals_the_chain_and_sums_that_are_right(run, tmp_path):
    code, _, told = run(*HELSINKI, "--out", str(tmp_path / "day.json"))
    assert code == 0
    document = json.loads((tmp_path / "day.json").read_text())
    assert document["chain"]["unbroken"] is True
    assert re.fullmatch(r"[0-9a-f]{64}", document["chain"]["head"])
    site = next(total for total in document["totals"] if total["scope"] == "site")
    records = [record for record in document["periods"] if record["scope"] == "site"]
    assert len(records) == site["periods"] == 100
    assert site["heat_wh"] == pytest.approx(sum(record["heat_wh"] or 0 for record in records))
    assert site["heat_qualities"] == {"measured": 99, "summed": 0, "estimated": 0, "substituted": 0, "missing": 1}
    assert site["heat_missing_s"] == 900.0
    assert site["compared_heat_wh"] == pytest.approx(site["heat_wh"])
    assert site["compared_demand_wh"] < site["demand_wh"]
    assert "heat is missing for 15 minutes" in told


def test_the_pdf_opens_and_has_its_pages(run, tmp_path):
    out = tmp_path / "report.pdf"
    code, _, _ = run(*HELSINKI, "--out", str(out))
    assert code == 0
    content = out.read_bytes()
    assert content.startswith(b"%PDF-1.")
    assert content.rstrip().endswith(b"%%EOF")
    assert len(re.findall(rb"/Type /Page\b(?!s)", content)) == 4
    if shutil.which("pdftoppm"):
        subprocess.run(["pdftoppm", "-r", "20", "-png", str(out), str(tmp_path / "page")], check=True, timeout=30)
        pictures = sorted(tmp_path.glob("page*.png"))
        assert len(pictures) == 4
        assert all(picture.stat().st_size > 1_000 for picture in pictures)


def test_matplotlib_is_imported_for_a_pdf_only():
    code = "import sys, proxy.commands.settle; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=30).returncode == 0


def test_half_a_file_is_never_seen_and_an_old_one_is_replaced(run, tmp_path):
    out = tmp_path / "day.csv"
    out.write_text("old")
    assert run(*HELSINKI, "--out", str(out))[0] == 0
    assert out.read_text().startswith("start_utc")
    assert [path.name for path in tmp_path.iterdir()] == ["day.csv"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--from", "2026-10-25", "--to", "2026-10-25"), "is not after --from"),
        (("--from", "yesterday", "--to", "2026-10-25"), "is no date; write 2026-11-01"),
        (("--from", "2020-01-01", "--to", "2026-10-25"), "400 days"),
        (("--from", "2030-10-25", "--to", "2030-10-26"), "no period of riverside is settled"),
        ((*HELSINKI[:4], "--time-zone", "Europe/Helsinky"), "no time zone that this system knows"),
        (("--from", "2026-03-29T03:30", "--to", "2026-04-01", "--time-zone", "Europe/Helsinki"), "there is no such time"),
        (("--from", "2026-10-25T03:30", "--to", "2026-11-01", "--time-zone", "Europe/Helsinki"), "there are two of it"),
        ((*HELSINKI, "--format", "pdf"), "give --out report.pdf"),
        ((*HELSINKI, "--out", "report.xls"), "is this to be CSV, JSON or PDF"),
        ((*HELSINKI, "--out", "/nowhere/at/all.csv"), "cannot be written"),
    ],
)
def test_what_cannot_be_done_is_said_with_a_remedy(run, words, message):
    code, out, told = run(*words)
    assert code == 1
    assert message in told
    assert out == b""
    assert "Traceback" not in told


def test_a_time_with_its_offset_is_taken_as_it_is():
    zone = command.zone_of("Europe/Helsinki")
    assert (
        command.moment("2026-10-25T03:30+02:00", zone, "--from") - command.moment("2026-10-25T03:30+03:00", zone, "--from") == 3_600
    )
    assert command.moment("2026-10-25T00:00:00Z", zone, "--from") == DAY + 3 * 3_600
    assert command.moment("2026-10-25", zone, "--from") == DAY


def test_nothing_is_written_from_a_broken_chain(settled, tmp_path, capsys):
    copy = tmp_path / "site"
    shutil.copytree(settled, copy)
    engine = create_engine(f"sqlite:///{copy / 'var' / 'ledger.sqlite3'}")
    with engine.begin() as conn:
        conn.execute(text("update period set heat_wh = heat_wh * 1.01 where period_id = 7"))
    engine.dispose()
    out = tmp_path / "report.csv"
    with pytest.raises(SystemExit) as caught:
        cli.main(["settle", str(copy / "site.toml"), "--from", "2026-10-25", "--to", "2026-10-26", "--out", str(out)])
    assert caught.value.code == 1
    told = capsys.readouterr().err
    assert "row 7 was changed" in told
    assert "ledger verify" in told
    assert not out.exists()


def test_a_site_that_settled_nothing_yet_is_told_when_it_will(tmp_path):
    (tmp_path / "site.toml").write_text(SITE)
    trio.run(fill, tmp_path, [])
    with pytest.raises(CliError, match="has none at all"):
        command.settle(
            tmp_path / "site.toml",
            "2026-10-25",
            "2026-10-26",
            format=None,
            out=None,
            zone="UTC",
            revisions=False,
            wall_clock=lambda: 0.0,
        )


def test_a_ledger_that_does_not_exist_is_not_made(tmp_path, capsys):
    (tmp_path / "site.toml").write_text(SITE)
    with contextlib.suppress(SystemExit):
        cli.main(["settle", str(tmp_path / "site.toml"), "--from", "2026-10-25", "--to", "2026-10-26"])
    assert "there is none; start the proxy once" in capsys.readouterr().err
    assert not (tmp_path / "var").exists()
