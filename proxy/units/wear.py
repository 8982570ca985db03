"""How often and how soon a machine may change: dwell on a level, shortest time on and off, starts a day.

Counts only what really went out or was seen to happen. Safety does not ask here.
"""

from collections import deque

from proxy import config

DAY_S = 86_400.0


class Wear:
    """Of one unit. A time that nobody knows (before our start) binds nothing."""

    def __init__(self, model: config.Model) -> None:
        self._model = model
        self.changed_at_s: float | None = None
        self._on_since_s: float | None = None
        self._off_since_s: float | None = None
        self._starts: deque[float] = deque(maxlen=1_000)  # the largest max_starts_per_day

    def changed(self, level: int, is_start: bool, now_s: float) -> None:
        """A change of level went out."""
        self.changed_at_s = now_s
        if is_start:
            self.started(now_s)
        elif level == 0:
            self._off_since_s = now_s

    def started(self, now_s: float) -> None:
        """It starts, whoever asked for it."""
        self._starts.append(now_s)
        self._on_since_s = now_s

    def earliest_change_s(self, is_off: bool) -> float:
        """When its present level has lasted long enough; 0 = at once."""
        if is_off:
            return 0.0 if self._off_since_s is None else self._off_since_s + self._model.min_off_s
        return 0.0 if self.changed_at_s is None else self.changed_at_s + self._model.min_dwell_s

    def earliest_sleep_s(self, is_off: bool) -> float:
        """When it has been on for long enough to be put to sleep; 0 = at once."""
        return 0.0 if self._on_since_s is None or is_off else self._on_since_s + self._model.min_on_s

    def starts_today(self, now_s: float) -> int:
        """Starts in the last 24 hours."""
        while self._starts and self._starts[0] <= now_s - DAY_S:
            self._starts.popleft()
        return len(self._starts)

    def refusal(self, level: int, is_off: bool, now_s: float) -> str | None:
        """Why it may not go to `level` now; None when it may."""
        earliest_s = self.earliest_change_s(is_off)
        if level == 0:
            earliest_s = max(earliest_s, self.earliest_sleep_s(is_off))
        if now_s < earliest_s:
            return f"it changed lately: the next change is due in {earliest_s - now_s:.0f} s"
        if is_off and level > 0 and self.starts_today(now_s) >= self._model.max_starts_per_day:
            return f"it started {self._model.max_starts_per_day} times in 24 h, which is its limit"
        return None
