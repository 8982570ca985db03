"""How much work is to be expected from units: what a Stratum V2 pool is told, so that its target suits before the first share.

Pure. It tells nobody: the router keeps the count of changes, a pool asks when that has moved.
"""

from collections.abc import Iterable

import msgspec

from proxy.work.channel import Channel
from proxy.work.jobs import UpstreamSession

# A change of less than this part is not worth a message.
WORTH_TELLING = 0.01


class Load(msgspec.Struct, frozen=True, gc=False):
    """hashrate_hps: expected of all units together. difficulty: the lowest that one of them has of its own."""

    hashrate_hps: float
    difficulty: float

    def is_news_to(self, told: "Load") -> bool:
        """Whether somebody who was told `told` should be told this."""
        if self.difficulty != told.difficulty:
            return True
        return abs(self.hashrate_hps - told.hashrate_hps) > WORTH_TELLING * max(self.hashrate_hps, told.hashrate_hps)


def loads_by_session(channels: Iterable[Channel], spare_difficulty: float) -> tuple[dict[UpstreamSession, Load], Load]:
    """The load of each session that has units, and what one without would get: no hashrate, the easiest unit of the site.

    A unit that sleeps brings nothing. spare_difficulty: where no unit is awake.
    """
    rates: dict[UpstreamSession, float] = {}
    lowest: dict[UpstreamSession, float] = {}
    for channel in channels:
        state = channel.vardiff
        rate_hps = state.expected_hps if state.expected_hps is not None else state.hashrate_hps or 0.0
        session = channel.session
        if session is None or state.expected_hps == 0:
            continue
        rates[session] = rates.get(session, 0.0) + rate_hps
        lowest[session] = min(lowest.get(session, state.difficulty), state.difficulty)
    spare = Load(0.0, min(lowest.values(), default=spare_difficulty))
    return {session: Load(rate_hps, lowest[session]) for session, rate_hps in rates.items()}, spare
