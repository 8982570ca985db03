"""Accounts of machines' APIs: whose they are, and the files that hold the passwords.

A password is read from a file of mode 0600 when a driver is made, so that it never stands in a site file, a log or a command
line. What is done with it is the driver's affair.
"""

from pathlib import Path

import msgspec

from proxy import config
from proxy.errors import ConfigError
from proxy.private_file import exposed

# The account that each family's firmware ships with.
USUAL_USERS = {"whatsminer": "super", "braiins": "root"}
# Families whose API takes no command without a password.
NEEDS_PASSWORD = frozenset({"whatsminer", "braiins"})
MAX_PASSWORD_BYTES = 256


class Credentials(msgspec.Struct, frozen=True):
    """An account. `repr` shows no password: a Struct ends in logs sooner or later."""

    user: str
    password: str

    def __repr__(self) -> str:
        return f"Credentials(user={self.user!r})"


def credentials_of(unit: config.Unit, model: config.Model) -> Credentials:
    """The account for a unit: its own keys, else its model's, else the family's user and no password. Raises ConfigError."""
    user = unit.api_user or model.api_user or USUAL_USERS.get(model.driver, "")
    path = unit.api_password_file or model.api_password_file
    return Credentials(user, read_password(Path(path)) if path is not None else "")


def read_password(path: Path) -> str:
    """The first line of a password file. Raises ConfigError that says what is wrong and what to do; never shows the password."""
    try:
        content = path.read_bytes()
        problem = exposed(path)
    except OSError as error:
        raise ConfigError([f"{path} cannot be read: {error.strerror}"]) from error
    if problem is not None:
        raise ConfigError([problem])
    try:
        line = content.decode().split("\n", 1)[0].rstrip("\r")
    except UnicodeDecodeError:
        raise ConfigError([f"{path} is not UTF-8 text; write the password as its first line"]) from None
    if not line or len(line.encode()) > MAX_PASSWORD_BYTES:
        raise ConfigError([f"{path} must hold a password of 1 to {MAX_PASSWORD_BYTES} bytes as its first line"])
    return line
