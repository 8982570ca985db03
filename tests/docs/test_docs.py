"""What the documentation says is true: its site files load, its commands exist, its demands decode, its links lead somewhere."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from proxy import cli
from proxy.checks.load import load_site
from proxy.heat.signals.schedules import decode_schedule
from proxy.web.heat_controls import Outdoor, Stop

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("deploy/**/*.md")])
_FENCE = re.compile(r"^```(\w+)(?: (\w+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)#]+?)(?:#[^)]*)?\)")
_COMMAND = re.compile(r"`(thermostratum [^`]+)`")


def blocks(language: str, tag: str = "") -> list[object]:
    """Every code block of a language, named by page and line for the report."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in _FENCE.finditer(text):
            if match[1] == language and (match[2] or "") == tag:
                line = text.count("\n", 0, match.start()) + 1
                found.append(pytest.param(match[3], id=f"{page.relative_to(ROOT)}:{line}"))
    return found


def commands() -> list[object]:
    """Every `thermostratum` command line of a shell block or in the text."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        lines = [line for match in _FENCE.finditer(text) if match[1] == "sh" for line in match[3].splitlines()]
        for line in [*lines, *_COMMAND.findall(text)]:
            if line.startswith("thermostratum "):
                found.append(pytest.param(shlex.split(line, comments=True)[1:], id=f"{page.relative_to(ROOT)}: {line}"))
    return found


@pytest.mark.parametrize("text", blocks("toml"))
def test_every_site_file_in_the_documentation_loads(text, tmp_path):
    (tmp_path / "site.toml").write_text(text, encoding="utf-8")
    assert load_site(tmp_path / "site.toml").config.pools


@pytest.mark.parametrize("text", blocks("toml", "part"))
def test_every_part_of_a_site_file_in_the_documentation_loads(text, tmp_path):
    pool = '[[pools]]\nname = "main"\nurl = "stratum+ssl://pool.example:443"\nuser = "account"\n'
    (tmp_path / "site.toml").write_text(text + pool, encoding="utf-8")
    assert load_site(tmp_path / "site.toml").config.pools


@pytest.mark.parametrize("words", commands())
def test_every_command_in_the_documentation_can_be_typed(words):
    names, _, rest = cli.app.parse_commands(words)
    assert names
    if rest:  # a mention has no arguments; a command line is parsed with all of them, but not run
        words = ["viewer" if word == "ROLE" else word for word in words]
        cli.app.parse_args(words, exit_on_error=False, print_error=False)


@pytest.mark.parametrize("text", blocks("json", "demand"))
def test_every_demand_in_the_documentation_decodes(text):
    rest = pytest.importorskip("proxy.heat.signals.rest")
    demand = pytest.importorskip("proxy.heat.demand")
    assert isinstance(rest.decode_demand(text.encode(), "city-heat", 1768460370.0), demand.HeatDemand)


@pytest.mark.parametrize("text", blocks("json", "schedule"))
def test_every_schedule_in_the_documentation_decodes(text):
    assert isinstance(decode_schedule(text.encode(), "city-heat", 1768460370.0), list)


@pytest.mark.parametrize(
    ("text", "shape"),
    [(each.values[0], shape) for tag, shape in (("outdoor", Outdoor), ("stop", Stop)) for each in blocks("json", tag)],
)
def test_every_other_body_in_the_documentation_decodes(text, shape):
    assert isinstance(msgspec.json.decode(text, type=shape), shape)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page):
    targets = [target for target in _LINK.findall(page.read_text(encoding="utf-8")) if "://" not in target]
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("tool", ["config_reference", "diagrams", "decisions_index", "modbus_map"])
def test_generated_pages_are_up_to_date(tool):
    run = subprocess.run(
        [sys.executable, f"docs/tools/{tool}.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr


def test_paths_in_the_tour_exist():
    tour = (ROOT / "docs/tour.md").read_text(encoding="utf-8")
    paths = re.findall(r"`((?:protocol|proxy|tests|deploy|docs)/[\w./-]+)`", tour)
    assert paths
    assert [path for path in paths if not (ROOT / path).exists()] == []
