"""Whether the import names `proxy` and `protocol` are ours: PyPI's `proxy.py` and `protocol` use the same ones.

That is why this is an application for its own virtual environment, and why it looks before it does anything.
"""

from pathlib import Path

import protocol
import proxy
from proxy.commands.say import CliError


def check_import_names() -> None:
    """Raises CliError when another distribution owns one of them."""
    ours = Path(__file__).resolve().parents[2]
    for module, words in ((proxy, "Thermostratum"), (protocol, "Stratum")):
        found = Path(module.__file__ or "nowhere").resolve()
        if found.parent != ours / module.__name__ or words not in (module.__doc__ or ""):
            raise CliError(
                f"\"{module.__name__}\" is another program's ({found}): PyPI's proxy.py or protocol is installed here too;"
                " install Thermostratum into a virtual environment of its own"
            )
