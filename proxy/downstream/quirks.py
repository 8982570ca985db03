"""What firmware does differently, as data. One row a family, first match by user agent wins.

Everything else that old firmware needs is the rule for everybody: extranonce2 of at most 8 bytes, power-of-two difficulties rounded
down, set_version_mask never before the answer to authorize, a job at least every `listen.keepalive_job_s` (below cpuminer's 120 s).
"""

import re

import msgspec


class Quirks(msgspec.Struct, frozen=True):
    """worker_name_limit: longer names arrive cut; None: they arrive whole."""

    family: str
    user_agent: str  # regular expression, searched without regard to case
    worker_name_limit: int | None = None


# Sources: docs/reference/firmware.md
FAMILIES = (
    Quirks("avalon", r"avalon|^cgminer/4\.11\.1-avalon|canaan", worker_name_limit=63),
    Quirks("whatsminer", r"btminer|whatsminer", worker_name_limit=127),
    Quirks("bitaxe", r"bitaxe|esp-?miner|nerd"),
    Quirks("antminer", r"^(antminer|bmminer)"),
)
DEFAULT = Quirks("other", "")

_COMPILED = tuple((re.compile(quirks.user_agent, re.IGNORECASE), quirks) for quirks in FAMILIES)


def quirks_of(user_agent: str | None) -> Quirks:
    """The row for this user agent, DEFAULT when none fits."""
    if user_agent:
        for pattern, quirks in _COMPILED:
            if pattern.search(user_agent):
                return quirks
    return DEFAULT
