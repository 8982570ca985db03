"""A steady pace for commands to the whole fleet, fair in order of asking.

For ordinary commands only: what lowers power for safety does not queue here.
"""

import trio


class Pace:
    """At most `rate_per_s`, after a first burst of a tenth of a second's worth."""

    def __init__(self, rate_per_s: float) -> None:
        self._gap_s = 1.0 / rate_per_s
        self._burst_s = 0.1
        self._next_s = 0.0

    async def slot(self) -> None:
        """Wait for the next slot. A cancelled wait gives up its slot unused."""
        now_s = trio.current_time()
        self._next_s = max(self._next_s + self._gap_s, now_s - self._burst_s)
        await trio.sleep_until(self._next_s)
