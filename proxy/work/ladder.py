"""Which pools the site works for now: the failover ladder.

Every pool is a *rung*; rungs of one priority are a *tier* and share the work (split.py). `decide` is called each second, and at
every change of a rung's health, and says which tier is active and which of its rungs may be used. It moves nobody itself.

Rules
1. A rung that is down, off or without a job is left at once and by everybody. If another is ready, nobody ever stays on it.
2. A sick rung is left only for a ready one, and only after `SICK_HOLD_S` on it: `RETURN_HOLD_S` where its units had just come back.
   A sick rung is better than none.
3. A rung comes back, or joins, only when it was ready without a break for its `return_after_s`; twice as long for each time that it
   failed within an hour after it had come back, at most `MAX_PATIENCE_S`, and half as long again after each hour ready.
4. Coming back to a better tier is staggered: `return_step` of the units at a time. What is forced moves everybody at once.
5. At most `MAX_VOLUNTARY` changes by rules 2 and 3 in an hour. Beyond, everybody stays, and `flapping` says so.
6. With nothing to work for during `OUTAGE_S` it is a SHORTFALL, to be told to the utility. The first rung that is ready ends it.

Not here: judging health (health.py), the units (split.py), connections (upstream/).
"""

import enum
from collections import deque
from collections.abc import Sequence

import msgspec

from proxy.work.health import Health, HealthState

SICK_HOLD_S = 60.0
RETURN_HOLD_S = 300.0
MAX_PATIENCE_S = 1800.0
HOUR_S = 3600.0
MAX_VOLUNTARY = 6
OUTAGE_S = 10.0
# At the start a better rung that is still connecting is waited for: the fastest handshake should not decide the next minute.
START_GRACE_S = 5.0
RETURN_STEP = 0.25
RETURN_STEP_S = 15.0


class Rung(msgspec.Struct, frozen=True, gc=False):
    """One pool as the ladder sees it. Lower priority is better; weight counts among equal priorities (split.py)."""

    name: str
    priority: int
    health: Health
    weight: float = 1.0
    return_after_s: float = 60.0


class Phase(enum.Enum):
    """Where the whole ladder stands."""

    STARTING = "starting"
    SERVING = "serving"
    RETURNING = "returning"  # a part of the units is still on the tier before
    OUTAGE = "outage"  # nothing to work for, not for long yet
    SHORTFALL = "shortfall"


class Step(enum.Enum):
    """What takes the ladder from phase to phase."""

    FOUND = "found"  # a tier for everybody
    RETURN = "return"  # a better tier, for the first part of the units
    ARRIVED = "arrived"  # all are there
    LOST = "lost"  # nothing is usable
    EXPIRED = "expired"  # for too long


TRANSITIONS: dict[Phase, dict[Step, Phase]] = {
    Phase.STARTING: {Step.FOUND: Phase.SERVING, Step.EXPIRED: Phase.SHORTFALL},
    Phase.SERVING: {Step.FOUND: Phase.SERVING, Step.RETURN: Phase.RETURNING, Step.LOST: Phase.OUTAGE},
    Phase.RETURNING: {Step.FOUND: Phase.SERVING, Step.ARRIVED: Phase.SERVING, Step.LOST: Phase.OUTAGE},
    Phase.OUTAGE: {Step.FOUND: Phase.SERVING, Step.EXPIRED: Phase.SHORTFALL},
    Phase.SHORTFALL: {Step.FOUND: Phase.SERVING},
}


class Decision(msgspec.Struct, frozen=True):
    """What holds until the next decision.

    usable: the rungs of the active tier that units work for; empty when there is nothing. previous: those that the units which have
    not moved yet stay on, only while RETURNING. moved: the part of the units (0..1, by their place in any fixed order, best by
    loop) that belongs on `usable`. trusted: every rung, of whatever tier, that a unit which prefers it may use. flapping: a change
    was due and the hour's budget is spent. epoch: rises with each change of `usable`. cause: of the last change, for the log.
    """

    phase: Phase
    tier: int | None
    usable: tuple[Rung, ...]
    previous: tuple[Rung, ...]
    moved: float
    trusted: frozenset[str]
    flapping: bool
    epoch: int
    cause: str

    @property
    def is_shortfall(self) -> bool:
        """Heat that depends on work cannot be promised."""
        return self.phase is Phase.SHORTFALL

    def rungs_for(self, place: float) -> tuple[Rung, ...]:
        """Where the unit at `place` (from 0 to below 1) of the fixed order belongs now."""
        return self.usable if place < self.moved or not self.previous else self.previous


class _Track(msgspec.Struct):
    """What the ladder remembers of one rung."""

    ready_since_s: float | None = None
    trusted_since_s: float | None = None
    serving_since_s: float | None = None
    hold_s: float = SICK_HOLD_S
    came_back: bool = False  # this stay began with a return
    has_failed: bool = False
    patience: float = 1.0  # factor on return_after_s
    eased_s: float = 0.0  # when patience last had a reason to change


class Ladder:
    """See the module. return_step: part of the units that moves each `return_step_s` on a staggered return."""

    def __init__(self, return_step: float = RETURN_STEP, return_step_s: float = RETURN_STEP_S) -> None:
        self._return_step = return_step
        self._return_step_s = return_step_s
        self._phase = Phase.STARTING
        self._phase_since_s: float | None = None
        self._now_s = 0.0
        self._rungs: dict[str, Rung] = {}
        self._tracks: dict[str, _Track] = {}
        self._serving: tuple[str, ...] = ()
        self._previous: tuple[str, ...] = ()
        self._voluntary: deque[float] = deque(maxlen=MAX_VOLUNTARY)
        self._flapping = False
        self._epoch = 0
        self._cause = "start"

    def decide(self, now_s: float, rungs: Sequence[Rung]) -> Decision:
        """Take in the health of all rungs and say who works where. A rung that is not given any more is gone."""
        self._now_s = now_s = max(now_s, self._now_s)
        if self._phase_since_s is None:
            self._phase_since_s = now_s
        self._rungs = {rung.name: rung for rung in rungs}
        self._tracks = {name: self._tracks.get(name) or _Track() for name in self._rungs}
        for name, rung in self._rungs.items():
            self._observe(self._tracks[name], rung)
        self._flapping = False
        self._drop_lost()
        if not self._drop_sick():
            self._come_back()
        if not self._serving:
            self._find()
        self._stagger()
        return self._decision()

    # -- the rules, in their order

    def _observe(self, track: _Track, rung: Rung) -> None:
        now_s = self._now_s
        if rung.health.state is HealthState.READY:
            if track.ready_since_s is None:
                track.ready_since_s = track.eased_s = now_s
            while track.patience > 1.0 and now_s - track.eased_s >= HOUR_S:
                track.patience = max(1.0, track.patience / 2)
                track.eased_s += HOUR_S
            if track.trusted_since_s is None and (not track.has_failed or self._is_steady(track, rung)):
                track.trusted_since_s = now_s
        elif track.ready_since_s is not None:
            if track.serving_since_s is None and track.has_failed and track.trusted_since_s is not None:
                self._lose_patience(track, rung, track.trusted_since_s)
            track.ready_since_s = track.trusted_since_s = None
            track.has_failed = True

    def _drop_lost(self) -> None:
        """Rule 1."""
        tier = self._tier()
        keep = tuple(name for name in self._serving if self._is_alive(name) and self._rungs[name].priority == tier)
        for name in self._serving:
            if name not in keep:
                self._leave(name)
                self._changed(f"{name}: {self._reason(name)}")
        self._serving = keep
        self._previous = tuple(name for name in self._previous if self._is_alive(name))

    def _drop_sick(self) -> bool:
        """Rule 2. True when somebody was dropped."""
        now_s = self._now_s
        sick = [name for name in self._serving if not self._is_ready(name)]
        if not sick or not any(self._is_ready(name) for name in self._rungs):
            return False
        due = [name for name in sick if now_s - (self._tracks[name].serving_since_s or 0.0) >= self._tracks[name].hold_s]
        if len(sick) == len(self._serving) and len(due) < len(sick):
            return False  # the whole tier is sick: from one sick rung to the other is no gain
        if not due or not self._may_choose():
            return False
        for name in due:
            self._leave(name)
            self._changed(f"{name}: {self._reason(name)}")
        self._serving = tuple(name for name in self._serving if name not in due)
        return True

    def _come_back(self) -> None:
        """Rule 3: to a better tier, or into the active one."""
        tier = self._tier()
        if tier is None or self._phase is not Phase.SERVING:
            return
        steady = [
            rung
            for name, rung in self._rungs.items()
            if name not in self._serving and rung.priority <= tier and self._is_steady(self._tracks[name], rung)
        ]
        best = min((rung.priority for rung in steady), default=None)
        if best is None or not self._may_choose():
            return
        arrived = tuple(rung.name for rung in steady if rung.priority == best)
        if best == tier:
            self._serving += arrived
        else:
            for name in self._serving:
                self._tracks[name].serving_since_s = None
            # Nobody waits for his turn on a sick rung.
            self._previous, self._serving = tuple(name for name in self._serving if self._is_ready(name)), arrived
            self._advance(Step.RETURN)
        for name in arrived:
            self._enter(name, RETURN_HOLD_S, came_back=True)
        self._changed(f"{', '.join(arrived)}: ready again")

    def _find(self) -> None:
        """Rules 1, 2 and 6: the best tier there is, for everybody, or nothing."""
        ready = [rung for name, rung in self._rungs.items() if self._is_ready(name)]
        sick = [rung for name, rung in self._rungs.items() if self._is_alive(name) and not self._is_ready(name)]
        choice = ready or sick
        best = min((rung.priority for rung in choice), default=None)
        self._previous = ()
        if best is None or (self._phase is Phase.STARTING and self._is_worth_waiting(best)):
            self._wait()
            return
        self._serving = tuple(rung.name for rung in choice if rung.priority == best)
        for name in self._serving:
            # Taken while sick: anything ready is better, at once.
            self._enter(name, SICK_HOLD_S if ready else 0.0, came_back=False)
        self._advance(Step.FOUND)
        self._changed(f"{self._cause}; now {', '.join(self._serving)}")

    def _wait(self) -> None:
        if self._phase in (Phase.SERVING, Phase.RETURNING):
            self._advance(Step.LOST)
        elif self._phase is not Phase.SHORTFALL and self._now_s - (self._phase_since_s or 0.0) >= OUTAGE_S:
            self._advance(Step.EXPIRED)

    def _stagger(self) -> None:
        """Rule 4: the return is over when all have moved, or when there is nothing left to stay on."""
        if self._phase is Phase.RETURNING and (self._moved() >= 1.0 or not self._previous):
            self._previous = ()
            self._advance(Step.ARRIVED)

    # -- small questions and steps

    def _tier(self) -> int | None:
        return min((self._rungs[name].priority for name in self._serving if name in self._rungs), default=None)

    def _is_ready(self, name: str) -> bool:
        return self._rungs[name].health.state is HealthState.READY

    def _is_alive(self, name: str) -> bool:
        rung = self._rungs.get(name)
        return rung is not None and rung.health.state in (HealthState.READY, HealthState.SICK)

    def _is_steady(self, track: _Track, rung: Rung) -> bool:
        if track.ready_since_s is None:
            return False
        patience_s = max(rung.return_after_s, min(rung.return_after_s * track.patience, MAX_PATIENCE_S))
        return self._now_s - track.ready_since_s >= patience_s

    def _is_worth_waiting(self, best: int) -> bool:
        if self._now_s - (self._phase_since_s or 0.0) >= START_GRACE_S:
            return False
        return any(rung.priority < best and rung.health.state is HealthState.WARMING for rung in self._rungs.values())

    def _reason(self, name: str) -> str:
        rung = self._rungs.get(name)
        if rung is None:
            return "not configured any more"
        return rung.health.reason or rung.health.state.value

    def _may_choose(self) -> bool:
        """Rule 5: spend one voluntary change, or say that none is left."""
        if len(self._voluntary) == MAX_VOLUNTARY and self._now_s - self._voluntary[0] < HOUR_S:
            self._flapping = True
            return False
        self._voluntary.append(self._now_s)
        return True

    def _enter(self, name: str, hold_s: float, *, came_back: bool) -> None:
        track = self._tracks[name]
        track.serving_since_s = self._now_s
        track.hold_s = hold_s
        track.came_back = came_back

    def _leave(self, name: str) -> None:
        track = self._tracks.get(name)
        if track is None:
            return
        if track.came_back and track.serving_since_s is not None:
            self._lose_patience(track, self._rungs[name], track.serving_since_s)
        track.serving_since_s = None

    def _lose_patience(self, track: _Track, rung: Rung, since_s: float) -> None:
        if self._now_s - since_s < HOUR_S:
            track.patience = min(track.patience * 2, max(1.0, MAX_PATIENCE_S / rung.return_after_s))

    def _moved(self) -> float:
        if self._phase is not Phase.RETURNING:
            return 1.0
        steps = 1 + (self._now_s - (self._phase_since_s or 0.0)) // self._return_step_s
        return min(1.0, self._return_step * steps)

    def _advance(self, step: Step) -> None:
        phase = TRANSITIONS[self._phase][step]
        if phase is not self._phase:
            self._phase, self._phase_since_s = phase, self._now_s

    def _changed(self, cause: str) -> None:
        self._epoch += 1
        self._cause = cause

    def _decision(self) -> Decision:
        return Decision(
            phase=self._phase,
            tier=self._tier(),
            usable=tuple(self._rungs[name] for name in self._serving),
            previous=tuple(self._rungs[name] for name in self._previous),
            moved=self._moved(),
            trusted=frozenset(name for name, track in self._tracks.items() if track.trusted_since_s is not None),
            flapping=self._flapping,
            epoch=self._epoch,
            cause=self._cause,
        )
