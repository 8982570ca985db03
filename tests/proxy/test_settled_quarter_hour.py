"""The whole product over the end of quarter hours: it settles what its peers gave, and reports what it settled."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import trio
from trio.testing import MockClock

from proxy import cli
from proxy.checks.load import load_site
from proxy.heat.settling import CLOSE_DELAY_S
from proxy.heat.signals.openadr_wire import time_text
from proxy.ledger.records import PeriodRecord
from proxy.ledger.store import ledger_url
from proxy.ledger.verify import verify
from tests.support.hall import EFFICIENCY, FULL_W, LOW_W, START_UNIX_S, Hall, hall
from tests.support.live_meter import LiveMeter, site_lines
from tests.support.postgresql import Server, needs_postgresql, running
from tests.support.rig import passing, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

UNITS = 3
PERIOD_S = 900
FIRST = int(START_UNIX_S // PERIOD_S + 1) * PERIOD_S  # the first quarter hour that is seen whole
LATER_S = 400  # into it, more heat is asked for
NEAR_PART = 0.01


class Ledger(msgspec.Struct):
    """Where the site writes: a line of its file, and the server behind it; both empty for the default."""

    line: str = ""
    server: Server | None = None


class Quarter:
    """A site in its quarter hours."""

    def __init__(self, it: Hall) -> None:
        self.it = it

    async def come_to(self, unix_s: float) -> None:
        await self.it.until(lambda: START_UNIX_S + trio.current_time() >= unix_s, 4_000)

    async def shares(self) -> tuple[int, int]:
        """Accepted and submitted, by the miners' own count; an answer that waits for its commit is waited for."""
        totals = [miner.totals for miner in self.it.miners.values()]
        await until(lambda: all(each.accepted + each.rejected.total() + each.lost == each.submitted for each in totals))
        return sum(each.accepted for each in totals), sum(each.submitted for each in totals)

    async def records(self, start_unix_s: int) -> list[PeriodRecord]:
        """The site's record of one quarter hour, in its newest revision."""
        assert await self.it.app.ledger.flush()
        found = await self.it.app.ledger.reports.periods(start_unix_s, start_unix_s + 1)
        return [record for record in found if record.scope == "site"]

    async def closed(self, start_unix_s: int) -> PeriodRecord:
        """The same, once the quarter hour is settled."""
        end = start_unix_s + PERIOD_S
        await self.come_to(end + CLOSE_DELAY_S)

        def is_closed() -> bool:
            return (self.it.app.settling.view().closed_until_unix_s or 0) >= end

        # From here it is threads that work, in real time: each step of the clock waits until nothing has happened for a while.
        await passing(self.it.clock, is_closed, limit_s=200, calm_s=0.2)
        (record,) = await self.records(start_unix_s)
        return record


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=needs_postgresql)])
def ledger(request: pytest.FixtureRequest) -> Iterator[Ledger]:
    if request.param == "sqlite":
        yield Ledger("\n[ledger]\nstall_timeout_s = 20\n")  # a machine that runs many tests at once is slow
        return
    with running() as server:
        yield Ledger(f'\n[ledger]\nurl = "{server.url("hall")}"\nstall_timeout_s = 20\n', server)


def near(value: float) -> object:
    return pytest.approx(value, rel=NEAR_PART)


def between(meter: LiveMeter, start_unix_s: int) -> float:
    """What the meter told of a quarter hour."""
    return meter.counter_at(start_unix_s + PERIOD_S) - meter.counter_at(start_unix_s)


class Plant:
    """Two meters at the boundary of whatever hall stands there now."""

    def __init__(self, clock: MockClock) -> None:
        self._power_w = 0.0
        self.heat = LiveMeter(lambda: EFFICIENCY * self._power_w, lambda: START_UNIX_S + clock.current_time())
        self.electric = LiveMeter(lambda: self._power_w, lambda: START_UNIX_S + clock.current_time())

    async def serve(self, nursery: trio.Nursery) -> str:
        """Their tables in the site file."""
        lines = ""
        for name, measures, meter in (("billing", "heat", self.heat), ("grid", "electricity", self.electric)):
            (listener,) = await nursery.start(meter.serve)
            lines += site_lines(name, measures, listener.socket.getsockname()[1])
        return lines

    async def follow(self, it: Hall) -> None:
        """Count what the machines draw."""
        while True:
            self.heat.count()
            self.electric.count()
            self._power_w = it.power_w
            await trio.sleep(1.0)


async def first_run(quarter: Quarter, plant: Plant, server: Server | None) -> PeriodRecord:
    """Two quarter hours. In the first more heat is asked for, the ledger's server dies, and its end the heat meter does not see."""
    it = quarter.it
    assert (await it.demand(UNITS * LOW_W)).status_code == 200
    await quarter.come_to(FIRST)
    shares = await quarter.shares()
    await quarter.come_to(FIRST + LATER_S)
    assert (await it.demand(UNITS * FULL_W)).status_code == 200
    if server is not None:
        server.stop("immediate")
        await until(lambda: it.app.ledger.is_degraded)
        server.start()
        await until(lambda: not it.app.ledger.is_degraded)
    await quarter.come_to(FIRST + PERIOD_S - 200)
    plant.heat.is_silent = True
    await quarter.come_to(FIRST + PERIOD_S)
    accepted, submitted = (now - then for now, then in zip(await quarter.shares(), shares, strict=True))
    record = await quarter.closed(FIRST)
    assert (record.revision, record.demand_s) == (1, PERIOD_S)
    assert record.demand_wh == near(UNITS * EFFICIENCY * (LOW_W * LATER_S + FULL_W * (PERIOD_S - LATER_S)) / 3_600.0)
    assert record.heat_quality == "estimated"
    assert (record.electric_wh, record.electric_quality) == (near(between(plant.electric, FIRST)), "measured")
    # What waited for its commit when the server died was refused, and is work all the same.
    assert accepted - 3 * UNITS <= sum(part.shares for part in record.work) <= submitted + 3 * UNITS
    assert [part.pool for part in record.work] == ["north"]
    plant.heat.is_silent = False
    await quarter.come_to(FIRST + 2 * PERIOD_S)
    whole = await quarter.closed(FIRST + PERIOD_S)
    (revised,) = await quarter.records(FIRST)
    assert (revised.revision, revised.heat_quality) == (2, "substituted")
    assert "known in sum and divided by time" in (revised.reason or "")
    assert revised.heat_wh is not None
    assert whole.heat_wh is not None
    both_wh = between(plant.heat, FIRST) + between(plant.heat, FIRST + PERIOD_S)
    assert revised.heat_wh + whole.heat_wh == near(both_wh)
    return record


async def test_what_is_settled_is_what_the_peers_gave(
    tmp_path: Path, mock_clock: MockClock, ledger: Ledger, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    plant = Plant(mock_clock)
    async with trio.open_nursery() as nursery:
        text = await plant.serve(nursery) + ledger.line
        async with hall(tmp_path, mock_clock, units=UNITS, is_mining=True, text=text) as it, trio.open_nursery() as counting:
            counting.start_soon(plant.follow, it)
            before = await first_run(Quarter(it), plant, ledger.server)
            devices, chain = it.devices, it.app.settling.view()
            counting.cancel_scope.cancel()
        async with hall(tmp_path, mock_clock, units=UNITS, machines=devices, text=text) as it, trio.open_nursery() as counting:
            counting.start_soon(plant.follow, it)
            await it.let_pass(200)
            again = it.app.settling.view()
            assert (again.rows, again.head, again.closed_until_unix_s) == (chain.rows, chain.head, FIRST + 2 * PERIOD_S)
            counting.cancel_scope.cancel()
        nursery.cancel_scope.cancel()
    site = load_site(tmp_path / "site.toml").config
    report = verify(ledger_url(site.ledger, Path(site.site.data_dir)))
    assert (report.problems, report.settlement_rows, report.settlement_head) == ([], chain.rows, chain.head)
    check_reports(tmp_path, before, chain.rows, capfdbinary)


def settle(site: Path, capfd: pytest.CaptureFixture[bytes], *words: str) -> tuple[object, bytes]:
    """Exit code and standard output of the command."""
    span = ("--from", f"@{FIRST}", "--to", f"@{FIRST + 2 * PERIOD_S}")
    times = tuple(time_text(int(word[1:])) if word.startswith("@") else word for word in span)
    capfd.readouterr()  # the log of the site
    with pytest.raises(SystemExit) as caught:
        cli.main(["settle", str(site), *times, *words])
    return caught.value.code, capfd.readouterr().out


def check_reports(directory: Path, first: PeriodRecord, rows: int, capfd: pytest.CaptureFixture[bytes]) -> None:
    """CSV, JSON and PDF say what the ledger has, the old revision where it is asked for."""
    site = directory / "site.toml"
    code, out = settle(site, capfd, "--revisions")
    assert code == 0
    lines = [row for row in csv.DictReader(io.StringIO(out.decode())) if row["scope"] == "site"]
    assert [(row["start_utc"], row["revision"]) for row in lines][:2] == [(time_text(FIRST), "1"), (time_text(FIRST), "2")]
    assert float(lines[0]["heat_wh"]) == first.heat_wh
    assert float(lines[0]["demand_wh"]) == first.demand_wh
    assert int(lines[0]["shares"]) == sum(part.shares for part in first.work)
    code, out = settle(site, capfd, "--format", "json")
    document = json.loads(out)
    newest = [row for row in document["periods"] if row["scope"] == "site"]
    assert (code, document["chain"]["rows"], len(newest)) == (0, rows, 2)
    assert document["totals"][0]["heat_wh"] == pytest.approx(sum(row["heat_wh"] for row in newest))
    assert newest[0]["heat_wh"] == pytest.approx(float(lines[1]["heat_wh"]))
    assert settle(site, capfd, "--out", str(directory / "report.pdf"))[0] == 0
    assert (directory / "report.pdf").read_bytes().startswith(b"%PDF-")
    assert settle(site, capfd, "--out", str(directory / "nowhere" / "report.csv"))[0] != 0
