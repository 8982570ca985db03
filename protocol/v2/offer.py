"""What a Stratum V2 server has for its clients, and whether a client's SetupConnection and wishes for extensions fit it.

It does NOT know how far a connection is.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from protocol.v2 import constants, error_codes
from protocol.v2.messages.common import SetupConnection
from protocol.v2.refusals import refused_setup

MAX_CHANNELS: Final = 4096


class Offer(msgspec.Struct, frozen=True):
    """extensions: that we grant when asked; required_extensions: that a client must ask for.

    fixed_version: no version bit may be rolled. extended_only: standard channels are refused.
    """

    extensions: frozenset[int] = frozenset({constants.EXTENSION_WORKER_TRACKING})
    required_extensions: frozenset[int] = frozenset()
    fixed_version: bool = False
    extended_only: bool = False
    max_channels: int = MAX_CHANNELS

    @property
    def flags(self) -> int:
        """What the client must put up with, for SetupConnection.Success."""
        flags = constants.REQUIRES_FIXED_VERSION if self.fixed_version else 0
        return flags | constants.REQUIRES_EXTENDED_CHANNELS if self.extended_only else flags

    def check(self, setup: SetupConnection) -> None:
        """Raises RemoteProtocolError, with the answer, where the client cannot be served."""
        supported = 0 if self.extended_only else constants.REQUIRES_STANDARD_JOBS
        if not self.fixed_version:
            supported |= constants.REQUIRES_VERSION_ROLLING
        if setup.protocol != constants.PROTOCOL_MINING:
            raise refused_setup(0, error_codes.UNSUPPORTED_PROTOCOL)
        if not setup.min_version <= constants.VERSION <= setup.max_version:
            raise refused_setup(0, error_codes.PROTOCOL_VERSION_MISMATCH)
        if setup.flags & ~supported:
            raise refused_setup(setup.flags & ~supported, error_codes.UNSUPPORTED_FEATURE_FLAGS)

    def granted(self, wanted: Sequence[int]) -> tuple[int, ...]:
        """The extensions of those wanted that are there, each once."""
        return tuple(each for each in dict.fromkeys(wanted) if each in self.extensions)

    def missing(self, agreed: frozenset[int]) -> tuple[int, ...]:
        """The required extensions that are not among those agreed on."""
        return tuple(sorted(self.required_extensions - agreed))
