"""What a site file may say of its Stratum V2 port."""

import os
from pathlib import Path

import pytest

from proxy.checks.load import LoadedConfig, load_site
from proxy.errors import ConfigError
from proxy.key_file import write_keys

POOL = '[[pools]]\nname = "main"\nurl = "stratum+tcp://127.0.0.1:3333"\nuser = "account"\n'


def loaded(tmp_path: Path, *lines: str) -> LoadedConfig:
    path = tmp_path / "site.toml"
    path.write_text(POOL + "[listen]\n" + "\n".join(lines) + "\n")
    return load_site(path)


def problems(tmp_path: Path, *lines: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, *lines)
    return caught.value.problems


def test_a_v2_port_needs_its_key_file_or_the_word_plaintext(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, 'v2 = "127.0.0.1:3336"')
    assert "listen.v2_identity" in problem
    assert "thermostratum keygen" in problem
    assert loaded(tmp_path, 'v2 = "127.0.0.1:3336"', "v2_plaintext = true").config.listen.v2_plaintext


def test_a_key_file_is_relative_to_the_site_file_and_must_be_usable(tmp_path: Path) -> None:
    lines = ('v2 = "0.0.0.0:3336"', 'v2_identity = "keys.toml"')
    (problem,) = problems(tmp_path, *lines)
    assert "cannot be read" in problem
    write_keys(tmp_path / "keys.toml", os.urandom)
    assert loaded(tmp_path, *lines).config.listen.v2_identity == str(tmp_path / "keys.toml")
    (tmp_path / "keys.toml").chmod(0o644)
    (problem,) = problems(tmp_path, *lines)
    assert "chmod 600" in problem


def test_encrypted_and_plaintext_exclude_each_other(tmp_path: Path) -> None:
    write_keys(tmp_path / "keys.toml", os.urandom)
    (problem,) = problems(tmp_path, 'v2 = "127.0.0.1:3336"', 'v2_identity = "keys.toml"', "v2_plaintext = true")
    assert "exclude each other" in problem


def test_plaintext_on_the_network_is_warned_of(tmp_path: Path) -> None:
    (warning,) = [line for line in loaded(tmp_path, 'v2 = "0.0.0.0:3336"', "v2_plaintext = true").warnings if "plaintext" in line]
    assert "whoever is on the way" in warning


def test_v2_alone_is_a_site_and_its_port_must_be_its_own(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, 'v2 = "127.0.0.1:3333"', "v2_plaintext = true")
    assert "clashes with listen.v1" in problem


def test_keys_without_a_port_are_warned_of(tmp_path: Path) -> None:
    warnings = loaded(tmp_path, 'v2_identity = "keys.toml"', "v2_plaintext = true").warnings
    assert sum("has no effect: v2 is not set" in line for line in warnings) == 2
