"""Units from which work is withheld on trial, each until a moment: to record what a model does without work.

Pure bookkeeping. Who may be tried is the fleet's to say, what is done with jobs and connections the router's.
"""


class Trials:
    """Leases: whoever wants one to last renews it."""

    def __init__(self) -> None:
        self._until_s: dict[str, float] = {}

    def begin(self, unit_id: str, until_s: float) -> None:
        """Withhold work from this unit until then, whatever was said before."""
        self._until_s[unit_id] = until_s

    def end(self, unit_id: str) -> None:
        """Give it back, if it was withheld."""
        self._until_s.pop(unit_id, None)

    def units(self, now_s: float) -> frozenset[str]:
        """Those without work now. Forgets what is over."""
        if not self._until_s:
            return frozenset()
        self._until_s = {unit_id: until_s for unit_id, until_s in self._until_s.items() if now_s < until_s}
        return frozenset(self._until_s)
