"""What a site file may say of the accounts of machines' APIs."""

from pathlib import Path

import pytest

from proxy.checks.load import LoadedConfig, load_site
from proxy.errors import ConfigError

SITE = """
[[pools]]
name = "main"
url = "stratum+tcp://127.0.0.1:3333"
user = "account"

[[loops]]
name = "north"
"""


def loaded(tmp_path: Path, driver: str, of_model: str | None, of_unit: str | None = None) -> LoadedConfig:
    def key(name: str | None) -> str:
        return "" if name is None else f'api_password_file = "{name}"\n'

    level = '{ name = "full", power_w = 3400, hashrate_hps = 180e12, setting = 100 }'
    model = f'[models.m]\ndriver = "{driver}"\nlevels = [{level}]\n{key(of_model)}'
    units = f'[[units]]\nid = "u1"\naddress = "10.0.0.1"\nmodel = "m"\nloop = "north"\n{key(of_unit)}'
    path = tmp_path / "site.toml"
    path.write_text(SITE + model + units)
    return load_site(path)


def problem(tmp_path: Path, *words: str | None) -> str:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, *words)
    (only,) = caught.value.problems
    return only


def secret(tmp_path: Path, name: str, mode: int = 0o600) -> None:
    path = tmp_path / name
    path.write_text("hush\n")
    path.chmod(mode)


def account_warnings(site: LoadedConfig) -> list[str]:
    return [line for line in site.warnings if "api_password_file" in line]


@pytest.mark.parametrize("driver", ["whatsminer", "braiins"])
def test_password_files_are_relative_to_the_site_file_wherever_it_is_read_from(tmp_path, driver, monkeypatch):
    secret(tmp_path, "one")
    secret(tmp_path, "two")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    site = loaded(tmp_path, driver, "one", "two")
    assert site.config.models["m"].api_password_file == str(tmp_path / "one")
    assert site.config.units[0].api_password_file == str(tmp_path / "two")
    assert not account_warnings(site)
    assert not account_warnings(loaded(tmp_path, driver, None, "two"))


@pytest.mark.parametrize("driver", ["whatsminer", "braiins"])
def test_a_family_that_wants_a_password_must_have_one(tmp_path, driver):
    said = problem(tmp_path, driver, None)
    assert all(word in said for word in ("models.m.api_password_file", "is missing", driver, "mode 0600"))


def test_a_file_that_is_not_there_or_open_to_others_is_a_mistake_at_its_key(tmp_path):
    secret(tmp_path, "open", 0o644)
    secret(tmp_path, "good")
    of_model, of_unit = problem(tmp_path, "braiins", "absent"), problem(tmp_path, "braiins", "good", "open")
    assert all(word in of_model for word in ("models.m.api_password_file", "cannot be read"))
    assert all(word in of_unit for word in ("units[0].api_password_file", "chmod 600"))


@pytest.mark.parametrize("driver", ["avalon", "luxos", "axeos"])
def test_where_nobody_asks_for_a_password_its_key_is_a_warning_and_the_file_is_not_read(tmp_path, driver):
    assert len(account_warnings(loaded(tmp_path, driver, "absent", "absent"))) == 2
    assert not account_warnings(loaded(tmp_path, driver, None))
