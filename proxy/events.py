"""What happened, for people: a bounded ring of recent events that the page, the API and the log share.

Not for shares (those are counted, see telemetry) and not a message bus between parts of the product.
"""

from collections import deque
from collections.abc import Callable

import msgspec

Fact = str | int | float | bool | None


class Event(msgspec.Struct, frozen=True, gc=False):
    """seq rises by one for each event of this process. name is `noun.verb`, level one of debug, info, warning, error."""

    seq: int
    at_unix_s: float
    name: str
    level: str
    facts: dict[str, Fact]


class EventLog:
    """Keeps the newest `capacity` events and tells listeners (plain calls, must not block or raise)."""

    def __init__(self, wall_clock: Callable[[], float], capacity: int = 500) -> None:
        self._wall_clock = wall_clock
        self._ring: deque[Event] = deque(maxlen=capacity)
        self._listeners: list[Callable[[Event], None]] = []
        self._seq = 0

    def publish(self, name: str, level: str = "info", **facts: Fact) -> None:
        """Append one event and hand it to every listener."""
        self._seq += 1
        event = Event(self._seq, self._wall_clock(), name, level, facts)
        self._ring.append(event)
        for listener in self._listeners:
            listener(event)

    def listen(self, listener: Callable[[Event], None]) -> None:
        """Call `listener` with each later event, for the life of the process."""
        self._listeners.append(listener)

    def since(self, seq: int) -> list[Event]:
        """The kept events after `seq`, oldest first."""
        return [event for event in self._ring if event.seq > seq]
