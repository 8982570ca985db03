"""Proof of heat: power from validated work, and whether work, electricity, telemetry and heat tell the same story.

Pure. A valid share cannot be made without hashing, nor hashes without power: work times the joules a hash costs is a power
meter that no software can bend. How good it is follows from statistics: N shares prove a hashrate within 1/sqrt(N).

It does not know why a plant loses heat; it names who stands alone against the others, and what that usually means.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

import msgspec

from proxy.config import Model
from proxy.ledger.records import UnitWork
from proxy.units.unit import ProvenPower
from proxy.work.evidence import Counted

# Two-sided 95 %.
Z = 1.96
# Standard errors, as a part, of what no number of shares makes better. A limit of error counts as evenly spread: limit / sqrt(3).
MODEL_SIGMA = 0.03  # J/TH of a model against that of its units together, as the makers' +-5 % say
LEARNED_SIGMA = 0.015  # the same where the units' own power was measured for days
ELECTRICITY_SIGMA = 0.01 / math.sqrt(3)  # class 1 (IEC 62053-21)
HEAT_SIGMA = 0.05 / math.sqrt(3)  # class 2 (EN 1434) with its sensors, at moderate flow
TELEMETRY_SIGMA = 0.05 / math.sqrt(3)  # power supplies of miners
EFFICIENCY_SIGMA = 0.02  # what the casings lose to the air differs with the weather

# A unit's factor is learnt slowly, and never by so much that a lie could grow into the truth.
LEARN_TAU_S = 86_400.0
LEAST_FACTOR, MOST_FACTOR = 0.85, 1.15
LEARNED_AFTER_S = 21_600.0


class Curve(msgspec.Struct, frozen=True):
    """Wall power over hashrate of a model: asleep first, then its levels, rising in both."""

    points: tuple[tuple[float, float], ...]

    def power_w(self, hashrate_hps: float) -> float:
        """Power at a mean hashrate; between two levels as of a unit that was partly on one, partly on the other."""
        (h0, p0), (h1, p1) = self._piece(hashrate_hps)
        return p0 + (p1 - p0) * (hashrate_hps - h0) / (h1 - h0)

    def joules_per_hash(self, hashrate_hps: float) -> float:
        """Energy of one more hash at a mean hashrate: how an error of the work becomes one of the power."""
        (h0, p0), (h1, p1) = self._piece(hashrate_hps)
        return (p1 - p0) / (h1 - h0)

    def _piece(self, hashrate_hps: float) -> tuple[tuple[float, float], tuple[float, float]]:
        for low, high in zip(self.points, self.points[1:], strict=False):
            if hashrate_hps <= high[0]:
                return low, high
        # Faster than its highest level: as many joules a hash as there, which a line through zero has.
        return (0.0, 0.0), self.points[-1]


def curve_of(model: Model) -> Curve:
    """The curve of a model of the site file. Levels with no more hashrate than the one below are passed over."""
    points = [(0.0, model.sleep_power_w)]
    for level in sorted(model.levels, key=lambda level: level.hashrate_hps):
        if level.hashrate_hps > points[-1][0]:
            points.append((level.hashrate_hps, level.power_w))
    return Curve(tuple(points))


class Proven(msgspec.Struct, frozen=True, gc=False):
    """Energy behind work, and the standard error that its number of shares leaves. The model's own error is not in it."""

    wh: float
    sigma_wh: float


class SharePower(msgspec.Struct, frozen=True, gc=False):
    """Power that shares prove now, with its 95 % interval. `shares`: how many speak for it, old ones counting less."""

    power_w: float
    low_w: float
    high_w: float
    shares: float


def effective_shares(rate_per_s: float, tau_s: float, age_s: float) -> float:
    """How many shares an exponentially fading estimate of age `age_s` is worth: 2 tau of them at last."""
    return 2.0 * tau_s * rate_per_s * math.tanh(age_s / (2.0 * tau_s))


def share_power(curve: Curve, factor: float, hashrate_hps: float, shares: float, is_learned: bool) -> SharePower:
    """Power of one unit from the hashrate that `shares` prove. No share proves nothing: then the interval is from 0 to the top."""
    power_w = factor * curve.power_w(hashrate_hps)
    if shares <= 0.0:
        return SharePower(power_w, 0.0, factor * curve.points[-1][1], 0.0)
    counted_w = factor * curve.joules_per_hash(hashrate_hps) * hashrate_hps / math.sqrt(shares)
    half_w = Z * math.hypot(counted_w, (LEARNED_SIGMA if is_learned else MODEL_SIGMA) * power_w)
    return SharePower(power_w, max(0.0, power_w - half_w), power_w + half_w, shares)


def proven_power(curve: Curve, factor: float, found: Counted, is_learned: bool) -> ProvenPower:
    """Power of one unit from what its shares prove, for control: counting's interval and the model's own error together."""
    power_w = factor * curve.power_w(found.hashrate_hps)
    own_w = Z * (LEARNED_SIGMA if is_learned else MODEL_SIGMA) * power_w
    down_w = power_w - factor * curve.power_w(found.low_hps)
    up_w = factor * curve.power_w(found.high_hps) - power_w
    return ProvenPower(
        power_w=power_w,
        low_w=max(0.0, power_w - math.hypot(down_w, own_w)),
        high_w=power_w + math.hypot(up_w, own_w),
        shares=found.shares,
        seconds=found.seconds,
        quiet_s=found.quiet_s,
        interval_s=found.seconds / found.shares if found.shares > 0.0 else None,
    )


def together(powers: Sequence[ProvenPower]) -> SharePower:
    """The power of several units: counting errors of each are its own, the model's error is everybody's."""
    power_w = sum(each.power_w for each in powers)
    # Each interval holds both errors: what is beyond the model's is counting's.
    counted = sum(max(0.0, ((each.high_w - each.low_w) / 2.0) ** 2 - (Z * MODEL_SIGMA * each.power_w) ** 2) for each in powers)
    half_w = math.hypot(math.sqrt(counted), Z * MODEL_SIGMA * power_w)
    return SharePower(power_w, max(0.0, power_w - half_w), power_w + half_w, sum(each.shares for each in powers))


def work_energy(
    units: Mapping[str, Curve], factors: Mapping[str, float], work: Iterable[UnitWork], seconds: float
) -> Proven | None:
    """What `units` must have drawn in `seconds` to do their part of `work`; units without work as asleep. None without any unit."""
    if not units:
        return None
    sums: dict[str, tuple[int, float]] = dict.fromkeys(units, (0, 0.0))
    for part in work:
        known = sums.get(part.unit)
        if known is not None:
            sums[part.unit] = known[0] + part.shares, known[1] + part.work
    hours = seconds / 3_600.0
    wh, variance = 0.0, 0.0
    for unit, (shares, hashes) in sums.items():
        curve, factor = units[unit], factors.get(unit, 1.0)
        hashrate_hps = hashes / seconds
        wh += factor * curve.power_w(hashrate_hps) * hours
        if shares:
            variance += (factor * curve.joules_per_hash(hashrate_hps) * hashes / 3_600.0) ** 2 / shares
    return Proven(wh, math.sqrt(variance))


class Learned(msgspec.Struct):
    """What a unit draws of what its model says, and for how long that was watched."""

    factor: float = 1.0
    watched_s: float = 0.0

    @property
    def is_settled(self) -> bool:
        """Watched long enough to be better than the model."""
        return self.watched_s >= LEARNED_AFTER_S


def learn(known: Learned, curve: Curve, reported_wh: float, hashes: float, shares: int, seconds: float) -> None:
    """Let a period in which nothing disagreed move a unit's factor. Few shares say too little, a sleeping unit nothing."""
    if shares < 30 or seconds <= 0.0:
        return
    expected_wh = curve.power_w(hashes / seconds) * seconds / 3_600.0
    if expected_wh <= 0.0 or not math.isfinite(reported_wh):
        return
    known.watched_s += seconds
    # In the beginning the mean of what was seen, later a slow filter; many noisy periods make one good number either way.
    weight = seconds / min(known.watched_s, LEARN_TAU_S)
    factor = known.factor + weight * (reported_wh / expected_wh - known.factor)
    known.factor = min(MOST_FACTOR, max(LEAST_FACTOR, factor))


class Evidence(msgspec.Struct, frozen=True, gc=False):
    """What is known of one period of one scope. None: that witness is silent. Powers of guesses do not belong here.

    electric_wh and heat_wh are metered, reported_wh is the sum of the units' telemetry. stored_wh: heat that may be under way in
    the water, because power changed in the period.
    """

    work_wh: float | None
    work_sigma: float | None
    is_learned: bool
    electric_wh: float | None
    reported_wh: float | None
    heat_wh: float | None
    stored_wh: float = 0.0


class Witness(msgspec.Struct, frozen=True, gc=False):
    """One story of the electrical energy that was used, with its standard error and what is possible beside it."""

    name: str
    wh: float
    sigma_wh: float
    slack_wh: float = 0.0


class Gap(msgspec.Struct, frozen=True, gc=False):
    """How far two witnesses are apart, as a part of their mean: `first` minus `second`, and half the 95 % interval of that."""

    first: str
    second: str
    part: float
    interval: float

    def is_beyond(self, limit: float) -> bool:
        """Apart by more than agreed and by more than their errors explain."""
        return abs(self.part) > limit and abs(self.part) > self.interval


class Judgement(msgspec.Struct, frozen=True):
    """The outcome: None: too little was known or drawn to judge. `worst` is the widest gap, beyond the limits or not."""

    agrees: bool | None
    worst: Gap | None
    cause: str | None


WORK, ELECTRICITY, TELEMETRY, HEAT = "work", "electricity", "telemetry", "heat"


def witnesses(evidence: Evidence, efficiency: float) -> list[Witness]:
    """The stories, each as the electricity it implies."""
    found = []
    if evidence.work_wh is not None:
        own = LEARNED_SIGMA if evidence.is_learned else MODEL_SIGMA
        sigma = math.hypot(evidence.work_sigma or 0.0, own)
        found.append(Witness(WORK, evidence.work_wh, sigma * evidence.work_wh))
    if evidence.electric_wh is not None:
        found.append(Witness(ELECTRICITY, evidence.electric_wh, ELECTRICITY_SIGMA * evidence.electric_wh))
    if evidence.reported_wh is not None:
        found.append(Witness(TELEMETRY, evidence.reported_wh, TELEMETRY_SIGMA * evidence.reported_wh))
    if evidence.heat_wh is not None:
        wh = evidence.heat_wh / efficiency
        sigma_wh = math.hypot(HEAT_SIGMA, EFFICIENCY_SIGMA) * wh
        found.append(Witness(HEAT, wh, sigma_wh, evidence.stored_wh / efficiency))
    return found


def gaps(found: Sequence[Witness]) -> list[Gap]:
    """Every pair, widest first."""
    pairs = []
    for one, other in combinations(found, 2):
        mean_wh = (one.wh + other.wh) / 2.0
        if mean_wh > 0.0:
            half_wh = Z * math.hypot(one.sigma_wh, other.sigma_wh) + one.slack_wh + other.slack_wh
            pairs.append(Gap(one.name, other.name, (one.wh - other.wh) / mean_wh, half_wh / mean_wh))
    return sorted(pairs, key=lambda gap: abs(gap.part), reverse=True)


def judge(evidence: Evidence, efficiency: float, limit: float, floor_wh: float) -> Judgement:
    """Whether the witnesses agree. Below `floor_wh` all of them are small numbers that pumps and sleeping units drown."""
    found = witnesses(evidence, efficiency)
    if len(found) < 2 or max(witness.wh for witness in found) < floor_wh:
        return Judgement(None, None, None)
    pairs = gaps(found)
    beyond = [gap for gap in pairs if gap.is_beyond(limit)]
    if not beyond:
        return Judgement(True, pairs[0] if pairs else None, None)
    return Judgement(False, beyond[0], _cause(found, beyond))


# Who stands alone against the others, and on which side: what that usually means, most likely first.
CAUSES = {
    (WORK, "more"): "units hash without heating: more work than the metered power explains; "
    "J/TH of [models] may be out of date, units may be fed past the meter, or work comes from elsewhere under their names",
    (WORK, "less"): "power without valid work: an unmetered load on the same meter, boards that draw and do not hash, "
    "or units that mine for somebody else",
    (
        ELECTRICITY,
        "more",
    ): "an unmetered load: something that is no unit hangs on the electricity meter, or the meter reads too much",
    (ELECTRICITY, "less"): "the electricity meter reads too little (drift, wrong factor), or units are fed past it",
    (TELEMETRY, "more"): "the units' telemetry lies: it claims more power than work and meters show",
    (TELEMETRY, "less"): "the units' telemetry lies: it claims less power than work and meters show",
    (HEAT, "more"): "the heat meter reads too much (drift, wrong factor), or something else heats the same water",
    (HEAT, "less"): "units hash without heating: heat leaves before the meter (bypass, dry cooler, leak), "
    "or the heat meter reads too little (drift, fouled sensor)",
}


def _cause(found: Sequence[Witness], beyond: Sequence[Gap]) -> str:
    by_name = {witness.name: witness for witness in found}
    against = {
        name: {g.first for g in beyond if g.second == name} | {g.second for g in beyond if g.first == name} for name in by_name
    }
    # Heat is compared by the electricity that makes so much of it, and its figure must not look like the meter's.
    names = {HEAT: f"{HEAT} as electricity"}
    figures = ", ".join(f"{names.get(witness.name, witness.name)} {witness.wh / 1000:,.1f} kWh" for witness in found)
    # Alone is who disagrees with most of the others while these agree among themselves.
    alone = [
        name
        for name in by_name
        if len(by_name) > 2
        and 2 * len(against[name]) > len(by_name) - 1
        and not any(name not in (gap.first, gap.second) for gap in beyond)
    ]
    if len(alone) == 1:
        name = alone[0]
        others = [by_name[other].wh for other in against[name]]
        side = "more" if by_name[name].wh > sum(others) / len(others) else "less"
        return f"{CAUSES[(name, side)]} ({figures})"
    gap = beyond[0]
    more, less = (gap.first, gap.second) if gap.part > 0 else (gap.second, gap.first)
    return f"one of these two: {CAUSES[(more, 'more')]}; or: {CAUSES[(less, 'less')]} ({figures})"
