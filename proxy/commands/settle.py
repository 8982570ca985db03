"""`thermostratum settle`: reads settled periods from the ledger, proves their chain, and writes CSV, JSON or a PDF report.

The ledger is only read; the proxy may be running. Nothing is written from a chain that is broken: a report that cannot be proven is
worth less than none. Times in the data are UTC; a time zone is for reading only.
"""

import contextlib
import datetime
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from proxy.checks.load import load_site
from proxy.commands.say import CliError, say, warn
from proxy.commands.settle_table import as_csv, as_json
from proxy.config import SiteConfig
from proxy.heat.totals import Totals, scopes, totals
from proxy.ledger import periods
from proxy.ledger.records import PeriodRecord
from proxy.ledger.store import Store, ledger_url, reading

Format = Literal["csv", "json", "pdf"]
READ_TIMEOUT_S = 10.0
SUFFIXES: dict[str, Format] = {".csv": "csv", ".json": "json", ".pdf": "pdf"}
LONGEST_S = 400 * 86_400


class Settled(msgspec.Struct, frozen=True):
    """What is written: proven periods of one site and span of time, and what they add up to."""

    site: str
    start_unix_s: int
    end_unix_s: int
    zone: str
    made_unix_s: float
    rows: int  # of the chain
    head: str  # its newest digest, hexadecimal
    currency: str
    records: list[PeriodRecord]
    totals: list[Totals]  # the site, then its loops


def settle(
    site: Path,
    start: str,
    end: str,
    *,
    format: Format | None,  # noqa: A002  # as the option is called
    out: Path | None,
    zone: str,
    revisions: bool,
    wall_clock: Callable[[], float],
) -> None:
    """Do it all and say what was written. Raises ConfigError, StoreError or CliError with cause and remedy."""
    kind = format_of(format, out)
    where = zone_of(zone)
    start_unix_s, end_unix_s = moment(start, where, "--from"), moment(end, where, "--to")
    check_span(start_unix_s, end_unix_s, start, end)
    settled = read(load_site(site).config, start_unix_s, end_unix_s, zone, revisions, wall_clock())
    if kind == "pdf":
        from proxy.commands.settle_pdf import as_pdf

        content = as_pdf(settled, where)
    else:
        content = as_csv(settled, where) if kind == "csv" else as_json(settled)
    if out is None or str(out) == "-":
        sys.stdout.buffer.write(content)
        sys.stdout.flush()
        tell = _aside
    else:
        write(out, content)
        tell = say
    tell(f"chain      unbroken, {settled.rows:,} rows, newest digest {settled.head}")
    _summary(settled, tell)
    if out is not None and str(out) != "-":
        say(f"written    {out} ({len(content):,} bytes)")


def read(config: SiteConfig, start_unix_s: int, end_unix_s: int, zone: str, revisions: bool, made_unix_s: float) -> Settled:
    """The periods that begin in [start, end), after their chain was proven. Raises StoreError, or CliError for a broken chain."""
    store = Store(ledger_url(config.ledger, Path(config.site.data_dir)), READ_TIMEOUT_S)
    try:
        store.require_current()
        with reading(store.reader) as conn:
            chain = periods.check_chain(conn)
            if chain.broken is not None:
                raise CliError(
                    f"the settlement chain is broken: {chain.broken}. Nothing was written. "
                    "Run `thermostratum ledger verify`, and compare with the digests that the log kept (settlement.head)"
                )
            find = periods.revisions if revisions else periods.periods
            records = find(conn, start_unix_s, end_unix_s)
    finally:
        store.close()
    if not records:
        raise CliError(_nothing(config, start_unix_s, end_unix_s, chain.rows))
    newest = list({(r.start_unix_s, r.scope, r.period_s): r for r in records}.values())
    limit, efficiency = config.settlement.max_disagreement, config.heat.thermal_efficiency
    sums = [totals(newest, scope, efficiency, limit) for scope in scopes(newest)]
    return Settled(
        config.site.name,
        start_unix_s,
        end_unix_s,
        zone,
        made_unix_s,
        chain.rows,
        chain.head.hex(),
        config.heat.costs.currency,
        records,
        sums,
    )


def _nothing(config: SiteConfig, start_unix_s: int, end_unix_s: int, rows: int) -> str:
    text = f"no period of {config.site.name} is settled between {utc(start_unix_s)} and {utc(end_unix_s)}"
    if rows == 0:
        return f"{text}: the ledger has none at all. The proxy settles while it runs, the first period after a quarter hour"
    return f"{text}. A period is settled two minutes after its end, while the proxy runs; choose other times"


def format_of(format: Format | None, out: Path | None) -> Format:  # noqa: A002  # as the option is called
    """The format asked for, else by the file's name, else CSV. CliError for a PDF without a file to go to."""
    kind = format or (SUFFIXES.get(out.suffix.lower()) if out is not None else None)
    if kind is None and out is not None and str(out) != "-":
        raise CliError(f"--out {out}: is this to be CSV, JSON or PDF? End its name in .csv, .json or .pdf, or give --format")
    if kind == "pdf" and (out is None or (str(out) == "-" and sys.stdout.isatty())):
        raise CliError("a PDF is not for the screen: give --out report.pdf")
    return kind or "csv"


def zone_of(name: str) -> ZoneInfo:
    """The time zone. CliError when this system does not know it."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise CliError(
            f'"{name}" is no time zone that this system knows; write it as in Europe/Helsinki (package tzdata has them), or UTC'
        ) from error


def moment(text: str, zone: ZoneInfo, option: str) -> int:
    """A date or time as seconds since 1970; without an offset it is of `zone`. CliError says what is wrong with it."""
    try:
        parsed = datetime.datetime.fromisoformat(text)
    except ValueError as error:
        raise CliError(f'{option} "{text}" is no date; write 2026-11-01, 2026-11-01T06:15 or 2026-11-01T06:15+02:00') from error
    if parsed.tzinfo is None:
        local = parsed.replace(tzinfo=zone)
        there = local.astimezone(datetime.UTC).astimezone(zone).replace(tzinfo=None)
        if there != parsed:
            raise CliError(f"{option} {text}: there is no such time in {zone.key}, clocks go forward over it; write it in UTC (…Z)")
        if local.utcoffset() != parsed.replace(tzinfo=zone, fold=1).utcoffset():
            raise CliError(
                f"{option} {text}: there are two of it in {zone.key}, clocks go back; add its offset, such as {text}+02:00"
            )
        parsed = local
    return int(parsed.timestamp())


def check_span(start_unix_s: int, end_unix_s: int, start: str, end: str) -> None:
    """CliError for a span that is empty or endless."""
    if end_unix_s <= start_unix_s:
        raise CliError(f"--to {end} is not after --from {start}; --to is not included, so one day is --from its date --to the next")
    if end_unix_s - start_unix_s > LONGEST_S:
        raise CliError("a report is of 400 days at most; make several")


def write(out: Path, content: bytes) -> None:
    """Replace the file in one step, so that nobody ever sees half of it. CliError with the system's reason."""
    try:
        with tempfile.NamedTemporaryFile(dir=out.parent, prefix=f".{out.name}.", delete=False) as file:
            try:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
                Path(file.name).chmod(0o644)
                Path(file.name).replace(out)
            except BaseException:
                with contextlib.suppress(OSError):
                    Path(file.name).unlink()
                raise
    except OSError as error:
        raise CliError(
            f"{out} cannot be written: {error.strerror or error}; is there such a folder, and may you write there?"
        ) from error


def utc(at_unix_s: float) -> str:
    """A moment as people and other programs read it."""
    return datetime.datetime.fromtimestamp(at_unix_s, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _summary(settled: Settled, tell: Callable[[str], None]) -> None:
    site = settled.totals[0]
    tell(f"periods    {site.periods:,} of {site.scope}, {len(settled.totals) - 1} loops; {utc(settled.start_unix_s)} on")
    tell(f"heat       {_kwh(site.heat_wh)} delivered, {_kwh(site.demand_wh)} demanded" + _deviation(site))
    tell(f"quality    {', '.join(f'{count:,} {quality}' for quality, count in site.heat_qualities.items() if count)}")
    if site.heat_missing_s:
        warn(f"heat is missing for {site.heat_missing_s / 60:,.0f} minutes; the sum is of the rest")
    for each in settled.totals:
        if each.proof_agrees is False:
            warn(f"proof of heat, {each.scope}: {each.proof_cause}")


def _deviation(site: Totals) -> str:
    return "" if site.deviation_part is None else f", deviation {site.deviation_part:+.2%} where both are whole"


def _kwh(wh: float | None) -> str:
    return "unknown" if wh is None else f"{wh / 1000:,.1f} kWh"


def _aside(text: str) -> None:
    sys.stderr.write(f"{text}\n")
