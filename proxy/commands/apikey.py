"""`thermostratum apikey`: a key for the API, and how the site file is told of it."""

import hashlib
import secrets

import msgspec

from proxy.commands.say import CliError, say
from proxy.config import ApiKey


def make_key(name: str, role: str) -> None:
    """Make a key, show it once, and say what to paste. Raises CliError for a name that no key can have."""
    key = secrets.token_urlsafe(32)
    digest = hashlib.sha256(key.encode()).hexdigest()
    try:
        msgspec.convert({"name": name, "role": role, "sha256": digest}, ApiKey)
    except msgspec.ValidationError as error:
        raise CliError(f'"{name}" is no name for a key: letters, digits and _ . : -, at most 63') from error
    say(f"The key, shown only now; keep it in a file of mode 0600:\n\n{key}\n\nPaste into the site file, then reload:\n")
    say(f'[[api.keys]]\nname = "{name}"\nrole = "{role}"\nsha256 = "{digest}"')
