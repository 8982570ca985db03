"""`thermostratum keygen`: the keys of a Stratum V2 port, and how devices are told of them."""

import os
from pathlib import Path

from proxy.commands.say import CliError, say
from proxy.key_file import write_keys


def make_keys(path: Path) -> None:
    """Write a new key file and say what to do with it. Raises CliError when there is one already or it cannot be written."""
    try:
        public = write_keys(path, os.urandom)
    except FileExistsError as error:
        raise CliError(
            f"{path} exists and is not overwritten: devices pin its key, and with another they refuse this site. Give another name,"
            " or move the old file away."
        ) from error
    except OSError as error:
        raise CliError(f"{path} cannot be written: {error.strerror}") from error
    say(f"Keys are in {path} (mode 0600). Keep a copy in a safe place.\n")
    say(f'Site file:\n\n[listen]\nv2 = "0.0.0.0:3336"\nv2_identity = "{path}"\n')
    say(f"Devices:\n\nstratum2+tcp://HOST:3336/{public}\n\nAuthority public key: {public}")
