"""Accounts of machines' APIs: whose counts, what a password file must be, and that no password is ever shown."""

import msgspec
import pytest

from proxy import config
from proxy.errors import ConfigError
from proxy.units.credentials import MAX_PASSWORD_BYTES, Credentials, credentials_of, read_password

MODEL = config.Model(driver="whatsminer", levels=[config.Level(name="full", power_w=3_400, hashrate_hps=180e12, setting=100)])
UNIT = config.Unit(id="u1", address="10.0.0.1", model="m", loop="north")


def written(folder, content: bytes, mode: int = 0o600, name: str = "password"):
    path = folder / name
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("content", [b"pass word", b"pass word\n", b"pass word\r\nsecond line\n"])
def test_the_password_is_the_first_line(tmp_path, content):
    assert read_password(written(tmp_path, content)) == "pass word"


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [
        (b"secret", 0o640, "chmod 600"),
        (b"secret", 0o604, "mode 0604"),
        (b"", 0o600, "1 to 256 bytes"),
        (b"\nsecret", 0o600, "1 to 256 bytes"),
        (b"s" * (MAX_PASSWORD_BYTES + 1), 0o600, "1 to 256 bytes"),
        (b"secret\xff", 0o600, "UTF-8"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_a_remedy_and_without_the_password(tmp_path, content, mode, words):
    with pytest.raises(ConfigError, match=words) as caught:
        read_password(written(tmp_path, content, mode))
    assert "secret" not in str(caught.value)


def test_a_file_that_is_not_there_says_so(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_password(tmp_path / "absent")


def test_a_units_own_account_counts_before_its_models_and_that_before_the_familys(tmp_path):
    of_model, of_unit = written(tmp_path, b"one", name="model"), written(tmp_path, b"two", name="unit")
    assert credentials_of(UNIT, MODEL) == Credentials("super", "")
    model = msgspec.structs.replace(MODEL, api_user="admin", api_password_file=str(of_model))
    assert credentials_of(UNIT, model) == Credentials("admin", "one")
    unit = msgspec.structs.replace(UNIT, api_user="own", api_password_file=str(of_unit))
    assert credentials_of(unit, model) == Credentials("own", "two")


def test_an_account_that_is_printed_shows_no_password():
    assert "hush" not in repr(Credentials("super", "hush"))
