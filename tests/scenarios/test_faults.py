"""Every fault ends in its named fallback, on plants the controller does not know. A thousand runs: tests/bench/bench_twin.py."""

import pytest

from proxy.sim.twin import campaign

RUNS = 50


@pytest.mark.parametrize(
    ("case", "seed"), campaign.seeds(RUNS), ids=lambda each: getattr(each, "name", str(each)).replace(" ", "-")
)
def test_a_fault_ends_in_its_named_fallback(case: campaign.Case, seed: int) -> None:
    assert campaign.run_case(case, seed) == []
