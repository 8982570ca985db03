"""The key file of the V2 port: made once, never overwritten, never shown."""

import os
import stat
from pathlib import Path

import pytest

from protocol.v2.keys import encode_authority_key
from proxy.errors import ConfigError
from proxy.key_file import read_keys, write_keys


def test_what_was_written_is_read_and_only_the_owner_can(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    public = write_keys(path, os.urandom)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    static, authority = read_keys(path, os.urandom)
    assert encode_authority_key(authority.public_x) == public
    assert static.public_x == read_keys(path, os.urandom)[0].public_x
    assert static.secret != authority.secret


def test_an_existing_file_is_never_touched(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    write_keys(path, os.urandom)
    before = path.read_bytes()
    with pytest.raises(FileExistsError):
        write_keys(path, os.urandom)
    assert path.read_bytes() == before


def problem(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        read_keys(path, os.urandom)
    return str(caught.value)


def test_a_missing_file_is_told_with_the_command_that_makes_it(tmp_path: Path) -> None:
    assert "thermostratum keygen" in problem(tmp_path / "nothing.toml")


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    write_keys(path, os.urandom)
    path.chmod(0o640)
    assert "chmod 600" in problem(path)


def test_no_error_shows_a_secret(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    write_keys(path, os.urandom)
    good = path.read_text()
    secrets = [line.split('"')[1] for line in good.splitlines() if "secret" in line]
    for bad in (good.replace(secrets[0], secrets[0][:-2]), good.replace(secrets[0], secrets[1]), good + "more = 1\n", "\x00", ""):
        path.write_text(bad)
        text = problem(path)
        assert not any(secret[:8] in text for secret in secrets)
