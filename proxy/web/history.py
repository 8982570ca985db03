"""The last two hours in memory, so that a page opened now has a past. Not the ledger: it goes with the process."""

from collections import deque
from collections.abc import Sequence

import msgspec

from proxy.views import SiteView

RECENT_S = 600.0  # one sample a second
SPAN_S = 7_200.0  # one sample in ten seconds
STEP_S = 10.0


class Sample(msgspec.Struct, frozen=True, gc=False):
    """The site at one moment. Share counts are totals since the process started: rates are differences, so gaps cost nothing."""

    at_unix_s: float
    ladder: str
    demand_w: float | None
    heat_w: float | None
    setpoint_power_w: float | None
    commanded_power_w: float
    measured_power_w: float | None
    hashrate_hps: float | None
    received: int
    accepted: int
    below_pool_target: int
    refused: int
    unknown: int
    rejected: dict[str, int]


class Columns(msgspec.Struct, frozen=True):
    """Samples turned on their side, oldest first, as a chart wants them. Unknown is null."""

    at_unix_s: list[float]
    ladder: list[str]
    demand_w: list[float | None]
    heat_w: list[float | None]
    setpoint_power_w: list[float | None]
    commanded_power_w: list[float]
    measured_power_w: list[float | None]
    hashrate_hps: list[float | None]
    received: list[int]
    accepted: list[int]
    below_pool_target: list[int]
    refused: list[int]
    unknown: list[int]
    rejected: dict[str, list[int]]


def sample_of(view: SiteView) -> Sample:
    """The part of a view that is worth keeping."""
    heat, shares = view.heat, view.shares
    return Sample(
        at_unix_s=view.now_unix_s,
        ladder=heat.ladder,
        demand_w=heat.demand_w,
        heat_w=heat.heat_w,
        setpoint_power_w=heat.setpoint_power_w,
        commanded_power_w=heat.commanded_power_w,
        measured_power_w=heat.measured_power_w,
        hashrate_hps=view.hashrate_hps,
        received=shares.received,
        accepted=shares.accepted,
        below_pool_target=shares.below_pool_target,
        refused=sum(shares.refused.values()),
        unknown=sum(shares.unknown.values()),
        rejected=dict(shares.rejected),
    )


def columns(samples: Sequence[Sample]) -> Columns:
    """Turn samples on their side; a verdict first seen late was 0 before."""
    plain = {name: [getattr(sample, name) for sample in samples] for name in Sample.__struct_fields__ if name != "rejected"}
    verdicts = sorted({verdict for sample in samples for verdict in sample.rejected})
    rejected = {verdict: [sample.rejected.get(verdict, 0) for sample in samples] for verdict in verdicts}
    return Columns(**plain, rejected=rejected)


class History:
    """A sample a second for ten minutes, one in ten seconds for two hours. Bounded by count, whatever the clock does."""

    def __init__(self) -> None:
        self._recent: deque[Sample] = deque(maxlen=int(RECENT_S))
        self._older: deque[Sample] = deque(maxlen=int(SPAN_S / STEP_S))

    def add(self, sample: Sample) -> None:
        """Keep `sample`. A wall clock that was set back starts the history anew: a chart needs rising times."""
        if self._recent and sample.at_unix_s <= self._recent[-1].at_unix_s:
            if self._recent[-1].at_unix_s - sample.at_unix_s < STEP_S:
                return
            self._recent.clear()
            self._older.clear()
        self._recent.append(sample)
        if not self._older or sample.at_unix_s - self._older[-1].at_unix_s >= STEP_S:
            self._older.append(sample)

    def since(self, unix_s: float) -> list[Sample]:
        """All samples after `unix_s`, oldest first: coarse ones, then the recent ones."""
        start_s = self._recent[0].at_unix_s if self._recent else float("inf")
        coarse = [sample for sample in self._older if unix_s < sample.at_unix_s < start_s]
        return coarse + [sample for sample in self._recent if sample.at_unix_s > unix_s]
