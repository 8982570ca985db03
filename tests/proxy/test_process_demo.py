"""The demo as a user starts it: it ends by itself and proves what it did."""

import os
import subprocess
import sys

import orjson
import pytest

from tests.support.process import ROOT, free_port

UNITS = 228


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_demo_ends_by_itself_with_one_line_that_says_all_books_agree() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "proxy.cli", "demo", "--seconds", "20", "--listen", f"127.0.0.1:{free_port()}"],
        cwd=ROOT,
        env={**os.environ, "NO_COLOR": "1"},
        capture_output=True,
        timeout=140,
        check=False,
    )
    assert run.returncode == 0, run.stderr.decode()[-3_000:]
    (line,) = run.stdout.splitlines()
    summary = orjson.loads(line)
    assert summary["ok"] is True
    assert summary["problems"] == []
    assert summary["conservation_ok"] is True
    assert summary["pool_agrees"] is True
    assert summary["units_agree"] is True
    # All but the one whose mains the script cuts after 14 s.
    assert summary["units_connected"] == UNITS - 1
    assert summary["units_v2"] in (UNITS // 2 - 1, UNITS // 2)
    assert summary["units_v1"] + summary["units_v2"] == summary["units_connected"]
    assert summary["pool_versions"] == {"north": "v1", "south": "v2"}
    assert summary["shares_accepted"] > UNITS
    assert summary["heat_delivered_kwh"] > 0
    assert summary["other_methods_seen"] == []
