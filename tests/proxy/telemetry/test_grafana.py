"""The shipped dashboard and alert rules name only metrics that exist, with labels that exist."""

import json
import re
from pathlib import Path
from typing import Any

from proxy.telemetry.metrics import (
    LOOP_SERIES,
    METER_LABELS,
    METER_SERIES,
    POOL_SERIES,
    PROOF_SERIES,
    SETTLEMENT_SERIES,
    SIGNAL_SERIES,
    SITE_SERIES,
    UNIT_SERIES,
    WEB_SERIES,
)
from proxy.telemetry.series import PREFIX

FOLDER = Path("deploy/grafana")
LABELS = {
    **{PREFIX + s.name: set(s.labels) for s in SITE_SERIES},
    **{PREFIX + s.name: {"pool", *s.labels} for s in POOL_SERIES},
    **{PREFIX + s.name: set(s.labels) for s in SETTLEMENT_SERIES},
    **{PREFIX + s.name: {"scope", *s.labels} for s in PROOF_SERIES},
    **{PREFIX + s.name: {"loop", *s.labels} for s in LOOP_SERIES},
    **{PREFIX + s.name: {*METER_LABELS, *s.labels} for s in METER_SERIES},
    **{PREFIX + s.name: {"signal", *s.labels} for s in SIGNAL_SERIES},
    **{PREFIX + s.name: {"loop", "unit", *s.labels} for s in UNIT_SERIES},
    **{PREFIX + name: set(labels) for name, _, _, labels in WEB_SERIES},
}
SCRAPER_LABELS = {"site", "instance", "job"}


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / "site.json").read_text())
    return found


def expressions() -> list[str]:
    panels = [target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", [])]
    rules = re.findall(r"^\s+expr: (.+)$", (FOLDER / "alerts.yaml").read_text(), re.MULTILINE)
    assert panels
    assert rules
    return panels + rules


def test_every_metric_used_exists() -> None:
    for expression in expressions():
        names = re.findall(rf"{PREFIX}[a-z_]+", expression)
        assert names, expression
        assert set(names) <= set(LABELS), expression


def test_every_label_used_exists() -> None:
    for expression in expressions():
        for name, selector in re.findall(rf"({PREFIX}[a-z_]+)\{{([^}}]*)\}}", expression):
            used = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector))
            assert used <= LABELS[name] | SCRAPER_LABELS, expression


def test_counters_are_read_as_rates_and_gauges_are_not() -> None:
    for expression in expressions():
        for name in re.findall(rf"{PREFIX}[a-z_]+", expression):
            in_rate = re.search(rf"(rate|increase)\(\s*{name}\b", expression) is not None
            assert in_rate == name.endswith("_total"), expression


def test_every_alert_says_what_happened_and_what_to_do() -> None:
    text = (FOLDER / "alerts.yaml").read_text()
    alerts = text.split("- alert: ")[1:]
    assert len(alerts) >= 8
    for alert in alerts:
        for part in ("expr: ", "for: ", "severity: ", "summary: ", "action: "):
            assert part in alert, alert


def test_panels_have_titles_units_and_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        assert panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
