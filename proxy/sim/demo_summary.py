"""What a run of the demo came to: heat demanded against heat delivered, shares, and whether all sides counted the same.

Pure: samples and totals in, one record out. The heat is the plant's own, measured before meter noise and independent of what the
proxy believes; the three share counts are of the units, the proxy and the pools, each kept by its owner.
"""

import msgspec

from proxy.sim.miner import PLAIN_METHODS
from proxy.sim.miner_v2 import PLAIN_MESSAGES
from proxy.views import ShareTotals, SiteView


class HeatSample(msgspec.Struct, frozen=True, gc=False):
    """A moment: for the last dt_s seconds this much was asked and this much delivered."""

    dt_s: float
    demand_w: float
    delivered_w: float


class HeatRecord:
    """Sums up samples as they come. Tracking counts from `settle_s` after the first demand; energy counts from the start."""

    def __init__(self, settle_s: float) -> None:
        self._settle_s = settle_s
        self.seconds = 0.0
        self.demanded_j = 0.0
        self.delivered_j = 0.0
        self._tracked_s = 0.0
        self._squares = 0.0
        self._demand_s = 0.0
        self._within_s = {0.01: 0.0, 0.02: 0.0}

    def add(self, sample: HeatSample) -> None:
        """Count one sample."""
        self.seconds += sample.dt_s
        self.demanded_j += sample.demand_w * sample.dt_s
        self.delivered_j += sample.delivered_w * sample.dt_s
        if self.seconds <= self._settle_s or sample.demand_w <= 0:
            return
        error_w = sample.delivered_w - sample.demand_w
        self._tracked_s += sample.dt_s
        self._demand_s += sample.demand_w * sample.dt_s
        self._squares += error_w * error_w * sample.dt_s
        for band in self._within_s:
            if abs(error_w) <= band * sample.demand_w:
                self._within_s[band] += sample.dt_s

    def error_rms(self) -> float | None:
        """Root mean square of the error over the mean demand; None before anything was tracked."""
        if not self._tracked_s:
            return None
        mean_w = self._demand_s / self._tracked_s
        return float((self._squares / self._tracked_s) ** 0.5 / mean_w)

    def within(self, band: float) -> float | None:
        """Part of the tracked time with an error of at most `band` (0.01 or 0.02) of the demand."""
        return self._within_s[band] / self._tracked_s if self._tracked_s else None


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """The counts of everybody but the proxy, at the end."""

    units_connected: int
    units_connected_v2: int  # those of them that speak Stratum V2
    units_total: int
    accepted_by_pool: dict[str, int]
    accepted_by_units: int  # shares that units were told `true` for
    unanswered_at_units: int  # the connection ended, or the run did, before the answer
    methods_seen: dict[str, int]  # all that any unit was ever sent
    demands_refused: int
    seconds: float
    simulated_hours: float
    cpu_s: float | None
    rss_mb: float | None


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The JSON line. Energy is of real seconds, at the plant's real power."""

    ok: bool
    problems: list[str]
    units_connected: int
    units_v1: int
    units_v2: int
    shares_accepted: int
    accepted_by_pool: dict[str, int]  # as the pools count
    pool_versions: dict[str, str]  # what each pool speaks: v1 or v2
    shares_rejected: int
    rejected_by_reason: dict[str, int]  # ours by verdict, a pool's as "pool CODE"
    shares_below_pool_target: int
    shares_unknown: int
    blocks: int
    heat_demanded_kwh: float
    heat_delivered_kwh: float
    tracking_error_rms: float | None
    tracking_within_1pct: float | None
    tracking_within_2pct: float | None
    setpoint_changes: int
    level_changes: int
    demands_refused: int
    conservation_ok: bool
    pool_agrees: bool
    units_agree: bool
    other_methods_seen: list[str]  # sent to units besides what mining needs: should be none
    seconds: float
    simulated_hours: float
    cpu_s: float | None
    rss_mb: float | None


class _Accounts(msgspec.Struct, frozen=True, kw_only=True):
    """Whether all sides counted the same."""

    accepted_by_pools: int
    told_true: int  # shares that the proxy answered with `true`
    conservation_ok: bool
    pool_agrees: bool
    units_agree: bool
    others: list[str]  # methods that units were sent besides what mining needs


def _accounts(shares: ShareTotals, counted: Counted) -> _Accounts:
    accepted_by_pools = sum(counted.accepted_by_pool.values())
    told_true = shares.received - sum(shares.rejected.values())
    # A pool may have taken a share whose answer never reached us (it was frozen, or the connection died): those are `unknown`.
    most = shares.accepted + sum(shares.unknown.values()) + shares.pending
    return _Accounts(
        accepted_by_pools=accepted_by_pools,
        told_true=told_true,
        conservation_ok=shares.conservation_delta == 0,
        pool_agrees=shares.accepted <= accepted_by_pools <= most,
        units_agree=counted.accepted_by_units <= told_true <= counted.accepted_by_units + counted.unanswered_at_units,
        others=sorted(counted.methods_seen.keys() - PLAIN_METHODS - PLAIN_MESSAGES),
    )


def _problems(shares: ShareTotals, heat: HeatRecord, counted: Counted, accounts: _Accounts) -> list[str]:
    unknown = sum(shares.unknown.values())
    checks = (
        (shares.accepted == 0, "no share was accepted by a pool"),
        (
            counted.units_connected < 0.9 * counted.units_total,
            f"only {counted.units_connected} of {counted.units_total} units were mining at the end",
        ),
        (not accounts.conservation_ok, f"{shares.conservation_delta} shares ended in no named state"),
        (
            not accounts.pool_agrees,
            f"the pools accepted {accounts.accepted_by_pools} shares, the proxy counts {shares.accepted} and {unknown} unknown",
        ),
        (
            not accounts.units_agree,
            f"units were told true {counted.accepted_by_units} times, the proxy counts {accounts.told_true} good shares",
        ),
        (bool(accounts.others), f"units were sent {', '.join(accounts.others)}: old firmware may not know it"),
        (heat.demanded_j == 0, "no heat demand was taken"),
        (heat.demanded_j > 0 and heat.delivered_j <= 0, "no heat was delivered"),
    )
    return [text for is_wrong, text in checks if is_wrong]


def summarise(view: SiteView, heat: HeatRecord, counted: Counted) -> Summary:
    """Join what everybody counted. `problems` says in words what keeps `ok` from being true."""
    shares = view.shares
    accounts = _accounts(shares, counted)
    problems = _problems(shares, heat, counted, accounts)
    return Summary(
        ok=not problems,
        problems=problems,
        units_connected=counted.units_connected,
        units_v1=counted.units_connected - counted.units_connected_v2,
        units_v2=counted.units_connected_v2,
        accepted_by_pool=counted.accepted_by_pool,
        pool_versions={pool.name: "v2" if pool.transport == "noise" else "v1" for pool in view.pools},
        shares_accepted=shares.accepted,
        shares_rejected=sum(shares.rejected.values()) + sum(shares.refused.values()),
        rejected_by_reason={**shares.rejected, **{f"pool {code}": count for code, count in shares.refused.items()}},
        shares_below_pool_target=shares.below_pool_target,
        shares_unknown=sum(shares.unknown.values()),
        blocks=shares.blocks,
        heat_demanded_kwh=round(heat.demanded_j / 3.6e6, 3),
        heat_delivered_kwh=round(heat.delivered_j / 3.6e6, 3),
        tracking_error_rms=_rounded(heat.error_rms()),
        tracking_within_1pct=_rounded(heat.within(0.01)),
        tracking_within_2pct=_rounded(heat.within(0.02)),
        setpoint_changes=view.heat.setpoint_changes,
        level_changes=view.heat.level_changes,
        demands_refused=counted.demands_refused,
        conservation_ok=accounts.conservation_ok,
        pool_agrees=accounts.pool_agrees,
        units_agree=accounts.units_agree,
        other_methods_seen=accounts.others,
        seconds=round(counted.seconds, 1),
        simulated_hours=round(counted.simulated_hours, 2),
        cpu_s=_rounded(counted.cpu_s),
        rss_mb=_rounded(counted.rss_mb),
    )


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 4)
