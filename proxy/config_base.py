"""What every table of a site file is built on."""

from typing import Annotated

import msgspec
from msgspec import Meta

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,62}$", description="letters, digits and _ . : -, at most 63")]


class Table(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Base of all tables: an unknown key is a mistake, never ignored."""
