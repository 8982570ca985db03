"""`thermostratum ledger verify`: which ledger is meant and what was found, for people. The proof is `proxy.ledger.verify`."""

from pathlib import Path

from proxy.checks.load import load_site
from proxy.commands.say import fail, say
from proxy.ledger.store import ledger_url
from proxy.ledger.verify import VerifyReport, verify


def verify_source(source: str) -> bool:
    """Verify the ledger of a site file, or at an SQLAlchemy URL, and say what was found. True when it is sound.

    Raises ConfigError for an unusable site file and StoreError for a ledger that cannot be read.
    """
    report = verify(_url(source))
    _show(report)
    for problem in report.problems:
        fail(problem)
    return report.is_sound


def _url(source: str) -> str:
    if "://" in source:
        return source
    config = load_site(Path(source)).config
    return ledger_url(config.ledger, Path(config.site.data_dir))


def _show(report: VerifyReport) -> None:
    states = ", ".join(f"{count:,} {state}" for state, count in report.states.items() if count) or "none"
    say(f"ledger     {report.ledger}, revision {report.revision}")
    say(f"shares     {report.received:,} valid: {states}; {report.rejected:,} rejected here")
    say(f"accounts   {len(report.accounts):,} of a unit at a pool; {report.rolled_up:,} shares are kept as sums only")
    say(f"audit      {report.audit_rows:,} rows, chain {'unbroken' if report.is_audit_intact else 'BROKEN'}")
    say(
        f"settlement {report.settlement_rows:,} rows, chain {'unbroken' if report.is_settlement_intact else 'BROKEN'}, "
        f"newest digest {report.settlement_head[:16]}"
    )
    say(f"file       {report.integrity}; {report.unclean_runs} runs ended without closing it")
    say("the ledger is sound" if report.is_sound else f"the ledger has {len(report.problems)} problems")
