"""How late the event loop is: a task that wants to wake at fixed times and notes by how much it was late."""

from collections import deque

import trio

PERIOD_S = 0.1
WINDOW_S = 10.0


class LoopLag:
    """Lateness over the last ten seconds."""

    def __init__(self) -> None:
        self._samples: deque[float] = deque(maxlen=int(WINDOW_S / PERIOD_S))

    @property
    def worst_s(self) -> float | None:
        """The largest lateness of the window; None before the first sample."""
        return max(self._samples, default=None)

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            due_s = trio.current_time() + PERIOD_S
            await trio.sleep_until(due_s)
            self._samples.append(trio.current_time() - due_s)
