"""What can go wrong outside the wire, by what it costs. A trip of an interlock is a state, not an exception."""


class ThermostratumError(Exception):
    """Base of all of ours. The text is for an operator: what failed, why, and what to do."""


class ConfigError(ThermostratumError):
    """The configuration cannot be used (exit code 78, EX_CONFIG). `problems` are lines, one for each mistake."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class PoolError(ThermostratumError):
    """One connection to a pool failed: back off, use the next pool meanwhile."""


class UnitError(ThermostratumError):
    """A unit's vendor API failed or answered nonsense: what the unit does is unknown until the next good reading."""


class StoreError(ThermostratumError):
    """The ledger could not write: buffer, alarm, and promise nothing that is not durable."""
