"""Makes docs/decisions/README.md: the list of all decision pages, from their own headings, so that no page is forgotten."""

import re
import sys
from pathlib import Path

from generated import publish

DECISIONS = Path(__file__).resolve().parents[1] / "decisions"
_HEADING = re.compile(r"^# (\d{4}):? (.+)$")
INTRODUCTION = """\
# Decisions

<!-- Made by docs/tools/decisions_index.py from the headings of the pages: `make docs`. -->

One page each: what was decided, why, and what was rejected. Pages are not rewritten; a later decision names the one it replaces.

| no. | decision |
|---|---|
"""


def rows() -> list[str]:
    """One table row a page, in their order. Raises ValueError for a page whose first line is no numbered heading."""
    found = []
    for page in sorted(DECISIONS.glob("[0-9]*.md")):
        heading = _HEADING.match(page.read_text(encoding="utf-8").splitlines()[0])
        if heading is None:
            raise ValueError(f"{page.name}: the first line must be '# NNNN title'")
        found.append(f"| [{heading[1]}]({page.name}) | {heading[2]} |\n")
    return found


if __name__ == "__main__":
    sys.exit(publish("../decisions/README.md", INTRODUCTION + "".join(rows()), sys.argv[1:]))
