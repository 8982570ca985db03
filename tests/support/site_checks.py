"""What a site file is told: every mistake, or the warnings that a test is about."""

from pathlib import Path

from proxy.checks.load import load_site
from proxy.errors import ConfigError
from tests.support.site_file import pool, write_site


def site_with(folder: Path, text: str) -> Path:
    """The file of a site with one pool, and this text behind it."""
    path = write_site(folder / "site.toml", [pool("p", 3333)])
    path.write_text(path.read_text() + "\n" + text)
    return path


def told_of(path: Path, *about: str) -> tuple[list[str], list[str]]:
    """(mistakes, warnings that name one of `about`). A file with mistakes has no warnings."""
    try:
        loaded = load_site(path)
    except ConfigError as error:
        return error.problems, []
    return [], [line for line in loaded.warnings if any(word in line for word in about)]
