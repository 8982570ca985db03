"""Which extensions of Stratum V2 are asked of a pool, over its connections: what the site file wishes, and what the pool requires.

Pure. A server without extension 0x0001 says nothing when asked. The specification: wait twice the time of connecting, try again on
a new connection, and after five of them go without.
"""

from collections.abc import Iterable, Sequence

from protocol.v2.constants import EXTENSION_NEGOTIATION, EXTENSION_WORKER_TRACKING
from proxy.errors import PoolError

SILENCE_FACTOR = 2.0
MIN_SILENCE_S = 1.0
MAX_SILENCES = 5
# What the server may ask us to ask for; all that we know.
KNOWN_EXTENSIONS = frozenset({EXTENSION_NEGOTIATION, EXTENSION_WORKER_TRACKING})


class ExtensionWishes:
    """One for a pool; it outlives connections."""

    def __init__(self, asked: Sequence[int]) -> None:
        """asked: by the site file; without 0x0001 among them nothing is asked for."""
        self._wanted = [each for each in asked if each != EXTENSION_NEGOTIATION] if EXTENSION_NEGOTIATION in asked else []
        self._silences = 0
        self._told: frozenset[int] | None = None

    @property
    def wanted(self) -> list[int]:
        """What to ask for on this connection; nothing where the pool does not answer such questions."""
        return [] if self._silences >= MAX_SILENCES else self._wanted

    def count_silence(self) -> str:
        """The pool said nothing; which time that was."""
        self._silences += 1
        return f"{self._silences} of {MAX_SILENCES} times"

    def after_refusal(self, required: Iterable[int], unsupported: Iterable[int]) -> list[int]:
        """What to ask for next, nothing: go on without. Raises PoolError where the pool requires what we do not have."""
        needed = frozenset(required)
        # The pool hangs up unless asked for exactly these; a second refusal finds nothing more to ask for.
        if needed <= KNOWN_EXTENSIONS and not needed & frozenset(unsupported):
            return sorted(needed)
        raise PoolError(f"the pool requires extensions {_names(needed)}, which are not all known here")

    def news(self, agreed: frozenset[int]) -> str | None:
        """The names of what was agreed on, where that is not what was last."""
        if agreed == self._told:
            return None
        self._told = agreed
        return _names(agreed) or "none"


def silence_s(connect_s: float) -> float:
    """How long to wait for an answer where connecting took `connect_s`."""
    return max(SILENCE_FACTOR * connect_s, MIN_SILENCE_S)


def _names(extensions: Iterable[int]) -> str:
    return ", ".join(f"{each:#06x}" for each in sorted(extensions))
