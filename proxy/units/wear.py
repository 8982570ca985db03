"""How often and how soon a machine may change: dwell on a level, shortest time on and off, starts a day.

Counts only what really went out or was seen to happen. Safety does not ask here. Whoever keeps `kept` and gives it to `recall` of
the next process makes it outlive a restart.
"""

from collections import deque

import msgspec

from proxy import config

DAY_S = 86_400.0


class Kept(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What is known of one unit's wear, in unix seconds."""

    changed_unix_s: float | None
    on_since_unix_s: float | None
    off_since_unix_s: float | None
    starts_unix_s: list[float]


class Wear:
    """Of one unit. A time that nobody knows binds nothing."""

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

    def kept(self, ahead_s: float) -> Kept | None:
        """What the next process should know; None when nothing is. `ahead_s`: unix time less the clock of this process."""
        if self.changed_at_s is None and not self._starts:
            return None

        def unix_s(at_s: float | None) -> float | None:
            return None if at_s is None else at_s + ahead_s

        starts = [at_s + ahead_s for at_s in self._starts]
        return Kept(unix_s(self.changed_at_s), unix_s(self._on_since_s), unix_s(self._off_since_s), starts)

    def recall(self, kept: Kept, now_s: float, now_unix_s: float) -> None:
        """Take up what an earlier process kept; what is known already stands. A clock that went back puts nothing in the future."""

        def then_s(at_unix_s: float | None) -> float | None:
            return None if at_unix_s is None else now_s - max(0.0, now_unix_s - at_unix_s)

        self.changed_at_s = then_s(kept.changed_unix_s) if self.changed_at_s is None else self.changed_at_s
        self._on_since_s = then_s(kept.on_since_unix_s) if self._on_since_s is None else self._on_since_s
        self._off_since_s = then_s(kept.off_since_unix_s) if self._off_since_s is None else self._off_since_s
        starts = [at_s for at_unix_s in sorted(kept.starts_unix_s) if (at_s := then_s(at_unix_s)) is not None]
        self._starts.extendleft(reversed(starts))
