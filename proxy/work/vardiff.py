"""Share difficulty of one unit: how often it reports, never how much power it takes.

The state is one small Struct for each unit, the rules are plain functions, the clock is an argument. A function that returns a
number has set `Vardiff.difficulty` to it, and the caller sends it with a fresh job. All difficulties are powers of two (rounded
down: some firmware misreads others, and rounding up loses work), also far below 1.

Rules
1. *Estimate.* Work over time, both forgotten with `tau_s`, so that a young estimate is not biased by its start. A share counts only
   for the estimates after it: n - 1 intervals, not n, lie between n shares.
2. *Change* only when the share rate is off by more than `band`, more while few shares speak.
3. *Silence* proves little: a unit that stopped looks like one that got a too hard difficulty. So at most two eases by four until a
   share comes, and the estimate keeps its value but loses its weight. A long gap counts as a short one.
4. *Burst*: far more shares in a short time than the estimate allows raise the difficulty at once, as far as they prove.
5. *Feed-forward*: `expect` tells the hashrate of a commanded power level before the first share can. The difficulty changes once,
   the estimate is rescaled by the ratio of the two levels, and for `settle_s` nothing is learnt or eased: a unit ramps for minutes.
6. *Asleep* (expected hashrate 0): everything holds, whatever comes, so that a fleet does not wake into a storm of easy shares.

Not here: which target a share is judged by (frozen in the job, see channel.py), the cap by the pool's difficulty (router.py).
"""

import math

import msgspec

from protocol.bitcoin.target import HASHES_PER_DIFFICULTY, difficulty_for, floor_power_of_two
from proxy import config

DEFAULT_START_HPS = 100e12  # a unit nobody described is most likely a current ASIC: rather quiet at first than a storm
PLAUSIBLE_HPS = (1e-3, 1e24)  # further out, ratios and sums leave the range of floats
SETTLE_S = 300.0  # a commanded machine takes minutes to reach its level
PRIOR_SHARES = 12.0  # weight of what was known before the first share
MIN_PROOF_S = 5.0  # shares prove no rate over a shorter time: they may have waited in a socket
MIN_SHARES_UP, MIN_SHARES_DOWN = 8.0, 3.0
# Silence of 14 expected intervals happens to a healthy unit once in a million shares: a few times a day in a fleet of 920.
SILENCE_INTERVALS, MIN_SILENCE_S = 14.0, 60.0
GAP_INTERVALS = 8.0
EASE_FACTOR, MAX_EASES = 4.0, 2
BURST_WINDOW_S, BURST_INTERVALS = 30.0, 3.0
BURST_SHARES, BURST_FACTOR = 16.0, 4.0  # 16 where 4 are expected: once in 200,000 windows
MIN_SUGGESTION_S = 60.0  # some firmware suggests every second
# A step that leaves the rate within these bounds of the target needs no new difficulty.
STILL_FINE = (0.9, 2.2)
# Measured this close to the model, the model decides the difficulty: the same level then always has the same one.
AS_MODELLED = (1 / 1.3, 1.3)


class VardiffPolicy(msgspec.Struct, frozen=True, gc=False):
    """What is the same for all units. min_difficulty, max_difficulty: powers of two. interval_s: the wanted time between shares."""

    interval_s: float
    min_difficulty: float
    max_difficulty: float
    start_difficulty: float
    tau_s: float
    band: float
    settle_s: float = SETTLE_S
    enabled: bool = True

    def clamp(self, difficulty: float) -> float:
        """The power of two at or below `difficulty`, inside the limits."""
        if difficulty <= self.min_difficulty:
            return self.min_difficulty
        return self.max_difficulty if difficulty >= self.max_difficulty else floor_power_of_two(difficulty)

    def ideal(self, hashrate_hps: float) -> float:
        """The exact difficulty at which `hashrate_hps` gives one share an interval; 0 for 0."""
        return hashrate_hps * self.interval_s / HASHES_PER_DIFFICULTY


class Vardiff(msgspec.Struct, gc=False):
    """State of one unit. Only the functions of this module write it.

    difficulty: wanted now. hashrate_hps: what the unit does while it hashes, as far as known, for the next difficulty and to be
    remembered over reconnects; what its shares prove up to now, silence included, is `proven_hps`. expected_hps: of the commanded
    level; 0 asleep, None never commanded.
    """

    difficulty: float
    hashrate_hps: float | None
    expected_hps: float | None
    started_s: float
    updated_s: float
    last_share_s: float
    changed_s: float
    settled_s: float  # until then nothing is learnt or eased
    suggested_s: float
    burst_first_s: float
    burst_since_s: float  # the share before the burst's first
    settling_from_hps: float = 0.0  # the level it comes from, while it settles
    woken_from_hps: float | None = None  # the level before it fell asleep
    work: float = 0.0
    time_s: float = 0.0
    proof_work: float = 0.0
    burst_work: float = 0.0
    shares: float = 0.0  # since the last change, in shares of the present difficulty
    eases: int = 0


def policy_from(settings: config.Vardiff, settle_s: float = SETTLE_S) -> VardiffPolicy:
    """The policy of a [vardiff] table. settle_s: how long the slowest model of the site takes to reach a level."""
    low = floor_power_of_two(settings.min_difficulty)
    high = max(low, floor_power_of_two(settings.max_difficulty))
    start = settings.start_difficulty or difficulty_for(DEFAULT_START_HPS, settings.shares_per_minute)
    return VardiffPolicy(
        interval_s=60.0 / settings.shares_per_minute,
        min_difficulty=low,
        max_difficulty=high,
        start_difficulty=min(max(floor_power_of_two(start), low), high),
        tau_s=settings.tau_s,
        band=settings.band,
        settle_s=settle_s,
        enabled=settings.enabled,
    )


def passes_through(settings: config.Vardiff) -> bool:
    """Whether units are told the pool's own difficulty: no vardiff, and none of the site's own."""
    return not settings.enabled and settings.start_difficulty is None


def policy_of(site: config.SiteConfig) -> VardiffPolicy:
    """The policy of a whole site: its [vardiff] table, and the time that its slowest model takes to reach a level."""
    models = [site.models[unit.model] for unit in site.units]
    return policy_from(site.vardiff, max((max(model.settle_s, model.wake_s) for model in models), default=SETTLE_S))


def start(
    policy: VardiffPolicy, now_s: float, expected_hps: float | None, remembered_hps: float | None, suggested: float | None
) -> Vardiff:
    """State for a new connection.

    expected_hps: of the level the unit was commanded to (0: asleep), remembered_hps: `hashrate_hps` of its last connection,
    suggested: the difficulty the unit asked for; None each where unknown. What was measured goes before what the model says, unless
    the two are further apart than `band`: then it was another level. A suggestion counts only where neither is known.
    """
    known = remembered_hps or None
    if expected_hps and (known is None or not 1 / policy.band <= known / expected_hps <= policy.band):
        known = expected_hps
    difficulty = policy.start_difficulty
    if policy.enabled and known is not None:
        difficulty = policy.clamp(policy.ideal(known))
    elif policy.enabled and suggested is not None and _is_difficulty(suggested):
        difficulty = policy.clamp(suggested)
    state = Vardiff(
        difficulty=difficulty,
        hashrate_hps=known,
        expected_hps=expected_hps,
        started_s=now_s,
        updated_s=now_s,
        last_share_s=now_s,
        changed_s=now_s,
        settled_s=now_s,
        suggested_s=-math.inf,
        burst_first_s=now_s,
        burst_since_s=now_s,
        woken_from_hps=known if expected_hps == 0 else None,
    )
    if known is not None:
        state.time_s = _prior_s(policy)
        state.work = known * state.time_s
    return state


def on_share(v: Vardiff, policy: VardiffPolicy, difficulty: float, now_s: float) -> float | None:
    """Count a valid share of `difficulty` (the one of its job). Returns the new difficulty to send, None for no change."""
    if now_s < v.updated_s:
        _rebase(v, now_s)
    work = difficulty * HASHES_PER_DIFFICULTY
    gap_s = now_s - v.updated_s
    previous_s = v.last_share_s
    keep = math.exp(-gap_s / policy.tau_s)
    v.proof_work = v.proof_work * keep + work
    v.updated_s = v.last_share_s = now_s
    if v.expected_hps == 0.0:
        return None
    v.shares += difficulty / v.difficulty
    # Found before the unit could hear of its present difficulty: counts as work, but the answer to the last change is still out.
    may_change = policy.enabled and (difficulty >= v.difficulty or now_s - v.changed_s >= MIN_PROOF_S)
    if now_s < v.settled_s:
        v.eases = 0
        return _on_burst(v, policy, work, previous_s, now_s) if may_change else None
    if v.eases:
        v.eases = 0  # the silence before this share was judged when it eased
    else:
        longest_s = GAP_INTERVALS * _interval_s(v, policy)
        if gap_s > longest_s:
            keep = math.exp(-longest_s / policy.tau_s)
        v.work *= keep
        v.time_s = v.time_s * keep + policy.tau_s * (1.0 - keep)
    if v.work > 0.0:
        v.hashrate_hps = v.work / (v.time_s if v.time_s > MIN_PROOF_S else MIN_PROOF_S)
    v.work += work
    if not may_change:
        return None
    changed = _on_burst(v, policy, work, previous_s, now_s)
    return changed if changed is not None else _on_estimate(v, policy, now_s)


def on_tick(v: Vardiff, policy: VardiffPolicy, now_s: float) -> float | None:
    """Look after a quiet unit; call it every few seconds. Returns the eased difficulty, None for no change."""
    if now_s < v.updated_s:
        _rebase(v, now_s)
    if not policy.enabled or v.expected_hps == 0.0 or v.eases >= MAX_EASES or v.difficulty <= policy.min_difficulty:
        return None
    quiet_s = now_s - max(v.last_share_s, v.changed_s, v.settled_s)
    if quiet_s < max(MIN_SILENCE_S, SILENCE_INTERVALS * _interval_s(v, policy)):
        return None
    v.eases += 1
    if v.time_s > policy.interval_s:
        v.work *= policy.interval_s / v.time_s
        v.time_s = policy.interval_s
    return _change(v, policy, v.difficulty / EASE_FACTOR, now_s)


def expect(v: Vardiff, policy: VardiffPolicy, hashrate_hps: float, now_s: float) -> float | None:
    """Feed-forward: the unit was commanded to a level of `hashrate_hps`, 0 for asleep. Call it when the command goes out.

    Idempotent: one change at most for each commanded step. Returns the new difficulty, None for no change. A hashrate that is no
    machine's is ignored.
    """
    is_plausible = hashrate_hps == 0.0 or PLAUSIBLE_HPS[0] <= hashrate_hps <= PLAUSIBLE_HPS[1]
    if not is_plausible or hashrate_hps == v.expected_hps:
        return None
    if now_s < v.updated_s:
        _rebase(v, now_s)
    before_hps = v.woken_from_hps if v.expected_hps == 0.0 else v.expected_hps
    v.expected_hps = hashrate_hps
    if hashrate_hps == 0.0:
        v.woken_from_hps = before_hps
        return None
    v.settling_from_hps = max(v.hashrate_hps or 0.0, v.settling_from_hps if now_s < v.settled_s else 0.0)
    as_modelled = v.hashrate_hps / before_hps if v.hashrate_hps is not None and before_hps else 1.0
    known = hashrate_hps * as_modelled
    v.time_s = max(v.time_s, _prior_s(policy))
    v.work = known * v.time_s
    v.hashrate_hps = known
    v.settled_s = now_s + policy.settle_s
    v.eases = 0
    _restart_burst(v, now_s)
    ideal = policy.ideal(hashrate_hps if AS_MODELLED[0] < as_modelled < AS_MODELLED[1] else known)
    if not policy.enabled or STILL_FINE[0] <= ideal / v.difficulty <= STILL_FINE[1]:
        return None
    return _change(v, policy, ideal, now_s)


def suggest(v: Vardiff, policy: VardiffPolicy, difficulty: float, now_s: float) -> float | None:
    """The unit asks for a difficulty. Followed inside the limits, once a minute, and only until its hashrate is known."""
    if not policy.enabled or not _is_difficulty(difficulty) or v.hashrate_hps is not None:
        return None
    if now_s < v.updated_s:
        _rebase(v, now_s)
    if now_s - v.suggested_s < MIN_SUGGESTION_S:
        return None
    v.suggested_s = now_s
    return _change(v, policy, difficulty, now_s)


def proven_hps(v: Vardiff, policy: VardiffPolicy, now_s: float) -> float | None:
    """What the unit's shares prove it hashes now, silence included; None in the first interval of a connection."""
    age_s = now_s - v.started_s
    if age_s < policy.interval_s or age_s < MIN_PROOF_S:
        return None
    keep = math.exp(-max(0.0, now_s - v.updated_s) / policy.tau_s)
    return v.proof_work * keep / (policy.tau_s * (1.0 - math.exp(-age_s / policy.tau_s)))


def _on_estimate(v: Vardiff, policy: VardiffPolicy, now_s: float) -> float | None:
    if v.hashrate_hps is None or v.shares < MIN_SHARES_DOWN:
        return None
    rate = v.hashrate_hps * policy.interval_s / (v.difficulty * HASHES_PER_DIFFICULTY)
    bound = policy.band * (1.0 + 2.0 / math.sqrt(v.shares))
    if rate * bound < 1.0 or (rate > bound and v.shares >= MIN_SHARES_UP):
        return _change(v, policy, policy.ideal(v.hashrate_hps), now_s)
    return None


def _on_burst(v: Vardiff, policy: VardiffPolicy, work: float, previous_s: float, now_s: float) -> float | None:
    if now_s - v.burst_first_s > max(BURST_WINDOW_S, BURST_INTERVALS * policy.interval_s):
        # The time since the share before belongs to it: shares held up by a stalled network are no burst.
        v.burst_first_s, v.burst_since_s, v.burst_work = now_s, previous_s, work
        return None
    v.burst_work += work
    share_work = v.difficulty * HASHES_PER_DIFFICULTY
    count = v.burst_work / share_work
    if count < BURST_SHARES:
        return None
    elapsed_s = max(now_s - v.burst_since_s, MIN_PROOF_S)
    usual_hps = max(v.hashrate_hps or share_work / policy.interval_s, v.settling_from_hps if now_s < v.settled_s else 0.0)
    if v.burst_work < BURST_FACTOR * usual_hps * elapsed_s:
        return None
    proven = (count - 2.0 * math.sqrt(count)) * share_work  # two standard deviations below what came
    if policy.ideal(proven / elapsed_s) < 2.0 * v.difficulty:
        return None
    v.work, v.time_s, v.hashrate_hps = proven, elapsed_s, proven / elapsed_s
    v.settled_s = now_s  # whatever the command said, the shares know better
    return _change(v, policy, policy.ideal(v.hashrate_hps), now_s)


def _change(v: Vardiff, policy: VardiffPolicy, difficulty: float, now_s: float) -> float | None:
    new = policy.clamp(difficulty)
    if new == v.difficulty:
        return None
    v.difficulty = new
    v.changed_s = now_s
    v.shares = 0.0
    _restart_burst(v, now_s)
    return new


def _restart_burst(v: Vardiff, now_s: float) -> None:
    v.burst_first_s = v.burst_since_s = now_s
    v.burst_work = 0.0


def _interval_s(v: Vardiff, policy: VardiffPolicy) -> float:
    """Expected time between shares at the present difficulty, at least the wanted one."""
    if not v.hashrate_hps:
        return policy.interval_s
    return max(policy.interval_s, v.difficulty * HASHES_PER_DIFFICULTY / v.hashrate_hps)


def _prior_s(policy: VardiffPolicy) -> float:
    return min(policy.tau_s, PRIOR_SHARES * policy.interval_s)


def _rebase(v: Vardiff, now_s: float) -> None:
    """The clock stepped back: no time has passed, and every age stays what it was."""
    step_s = now_s - v.updated_s
    v.started_s += step_s
    v.updated_s += step_s
    v.last_share_s += step_s
    v.changed_s += step_s
    v.settled_s += step_s
    v.suggested_s += step_s
    v.burst_first_s += step_s
    v.burst_since_s += step_s


def _is_difficulty(difficulty: float) -> bool:
    return math.isfinite(difficulty) and difficulty > 0
