"""Writing a generated page, or checking that it is up to date. Shared by the generators beside it."""

import sys
from pathlib import Path

REFERENCE = Path(__file__).resolve().parents[1] / "reference"


def publish(name: str, text: str, arguments: list[str]) -> int:
    """Write `docs/reference/NAME`, or with --check compare it. Returns the exit code: 1 when the page is out of date."""
    page = REFERENCE / name
    if "--check" not in arguments:
        page.write_text(text, encoding="utf-8")
        return 0
    if page.is_file() and page.read_text(encoding="utf-8") == text:
        return 0
    sys.stderr.write(f"docs/reference/{name} is out of date; run: make docs\n")
    return 1
