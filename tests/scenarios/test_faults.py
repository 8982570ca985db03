"""Every fault ends in its named fallback, on plants the controller does not know. A thousand runs: tests/bench/bench_twin.py."""

from pathlib import Path

import pytest

from proxy.sim.twin import campaign

RUNS = 50


@pytest.mark.parametrize(
    ("case", "seed"), campaign.seeds(RUNS), ids=lambda each: getattr(each, "name", str(each)).replace(" ", "-")
)
def test_a_fault_ends_in_its_named_fallback(case: campaign.Case, seed: int) -> None:
    assert campaign.run_case(case, seed) == []


def test_the_documentation_names_every_fault_and_its_fallback() -> None:
    page = (Path(__file__).parents[2] / "docs/reference/scenarios.md").read_text(encoding="utf-8")
    assert [case.name for case in campaign.CASES if f"| {case.name} | {case.fallback} |" not in page] == []
