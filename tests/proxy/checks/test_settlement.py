"""Site files whose settlement could not add up are found before they run."""

import pytest

from proxy.checks.load import load_site
from proxy.errors import ConfigError

SITE = """
[[pools]]
name = "main"
url = "stratum+tcp://pool.example:3333"
user = "account"
"""


def problems(tmp_path, text):
    path = tmp_path / "site.toml"
    path.write_text(SITE + text)
    try:
        return load_site(path).warnings
    except ConfigError as error:
        return error.problems


def test_work_that_is_kept_in_longer_steps_than_a_period_is_a_mistake(tmp_path):
    (problem,) = problems(tmp_path, "[settlement]\nperiod_s = 300\n")
    assert "rollup_s" in problem
    assert "take 300" in problem


def test_periods_and_rollups_that_fit_are_no_mistake(tmp_path):
    found = problems(tmp_path, "[settlement]\nperiod_s = 1800\n[ledger]\nrollup_s = 300\n")
    assert not any("rollup_s" in line for line in found)


@pytest.mark.parametrize("name", ["site", "boundary"])
def test_a_loop_cannot_be_called_as_the_whole_site(tmp_path, name):
    found = problems(tmp_path, f'[[loops]]\nname = "{name}"\n')
    assert any("take another name" in line for line in found)
