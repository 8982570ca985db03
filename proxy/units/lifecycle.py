"""What one unit was told, what it does, and what follows: dwell, proof of effect, second try, fault, adoption.

Plain functions of facts and `now_s`; no I/O, no clock. Talking to the machine is `actor`'s, which level it should have is
decided above. Four rules run through it:
  a command counts only when a later reading shows its effect; it is sent at most twice, then the unit is in FAULT;
  a reading expires, and a unit without one is OFFLINE;
  a unit that does less than it was told is adopted as it is, one that does more is told again;
  in SERVICE and LOCKED_OUT nothing is sent, whoever asks.
"""

from collections import deque
from collections.abc import Callable

import msgspec

from proxy import config
from proxy.events import Fact
from proxy.units.drivers.base import Answer, Outcome, Reading
from proxy.units.unit import COMMANDABLE, UNTOUCHABLE, LevelFact, Step, UnitState, advance, shared
from proxy.units.wear import Wear

MAX_TRIES = 2
# A setting shows in telemetry about 10 s after it was taken (A1346); one that does not show in this time was not taken.
OBEY_S = 30.0
# Elapsed is whole seconds: it may stand still for a short while by rounding alone.
MIN_FROZEN_S = 5.0
# A unit that calibrates does so for minutes; asking more often only fills its log.
CALIBRATION_RETRY_S = 60.0
RETRY_S = 5.0
# Sleep is asked for a moment some seconds ahead on the unit's clock, and boards go dark a little after it.
SLEEP_LEAD_S = 10.0
# Power that is this much above the level's has not gone down: model tables are within 5 %, warm coolant adds up to 8 %.
OVER_POWER = 1.25
# A level counts as reached at this part of its hashrate; luck and tuning take more than this only when something is broken.
REACHED_PART = 0.85
# After so long a fault is given another chance by itself: the unit is adopted as it then is.
FAULT_REST_S = 900.0
# So many times in an hour it may change by itself to more than it was told before that is a fault.
MAX_STRAYS = 3


class Wanted(msgspec.Struct, gc=False):
    """A level waiting to be sent. A newer one replaces it."""

    level: int
    reason: str
    is_urgent: bool
    not_before_s: float


class Proof(msgspec.Struct, gc=False):
    """A command that went out and what must be seen by when."""

    level: int
    obey_by_s: float  # by then it must say that it took it
    arrive_by_s: float  # by then it must be there
    is_wake: bool
    may_vanish: bool  # it restarts: silence until arrive_by_s is no loss of contact
    elapsed_before_s: float | None
    is_answered: bool = False
    is_obeyed: bool = False


class UnitLife:
    """One unit. Every change of state goes through the table in `unit`."""

    def __init__(
        self,
        unit: config.Unit,
        model: config.Model,
        heat: config.Heat,
        publish: Callable[..., None],
        announce: Callable[[str, float], None],
    ) -> None:
        """`publish(name, level, **facts)` tells people; `announce(unit id, hashrate)` tells what rate to expect from now on."""
        self.unit = unit
        self.model = model
        asleep = LevelFact(model.sleep_power_w, 0.0)
        self.levels = shared((asleep, *(LevelFact(level.power_w, level.hashrate_hps) for level in model.levels)))
        self._may_starve = config.may_starve(model)
        self._stale_s = heat.telemetry_stale_s
        self._is_ours = heat.enabled  # else it is only watched, and whoever commands it is right
        self._obey_s = max(OBEY_S, 2 * heat.telemetry_period_s)
        self._publish_event = publish
        self._announce = announce
        self.state = UnitState.SERVICE if unit.in_service else UnitState.OFFLINE
        self.state_since_s = 0.0
        self.fault: str | None = None
        self.reading: Reading | None = None
        self.level_commanded: int | None = None
        self.level_acknowledged: int | None = None
        self.level_observed: int | None = None
        self.wanted: Wanted | None = None
        self.proof: Proof | None = None
        self.tries = 0
        self.wear = Wear(model)
        self._strays: deque[float] = deque(maxlen=MAX_STRAYS)
        self._settling_since_s: float | None = None  # when it was last shown to have taken a level
        self._progress_s: float | None = None  # when Elapsed last moved
        self._last_elapsed_s: float | None = None
        self._problem: str | None = None  # why the latest answer was of no use
        self._unsent: str | None = None  # why what is wanted cannot even be sent

    # What others ask of it.

    def command(self, level: int, reason: str, now_s: float, *, is_urgent: bool) -> str | None:
        """Take an absolute level; None, or why not. Repeating the level it has changes nothing."""
        refusal = self._refusal(level, now_s, is_urgent)
        if refusal is not None:
            return refusal
        if level == self.level_commanded:
            if self.wanted is not None and is_urgent:
                self.wanted.is_urgent = True
            # An urgent word is sent again where nothing shows that the first one worked.
            if not is_urgent or self.wanted is not None or self.proof is not None or self.level_observed == level:
                return None
        self.wanted = Wanted(level, reason, is_urgent, now_s)
        self.level_commanded = level
        self.proof = None
        self.tries = 0
        return None

    def _refusal(self, level: int, now_s: float, is_urgent: bool) -> str | None:
        if not 0 <= level < len(self.levels):
            return f"model {self.unit.model} has levels 0 to {len(self.levels) - 1}, not {level}"
        if self.state is UnitState.SERVICE:
            return "in service: put it back first"
        if self.state is UnitState.LOCKED_OUT:
            return self.fault or "locked out"
        if is_urgent:
            highest = self.level_commanded if self.level_commanded is not None else len(self.levels) - 1
            return f"an urgent command only lowers: it was told level {highest}" if level > highest else None
        if not self.is_fresh(now_s):
            return self.fault or "it gives no answer: what it does is unknown"
        if self.state not in COMMANDABLE:
            return self.fault or f"it is {self.state.name.lower()}"
        if level == self.level_commanded:
            return None
        if self.proof is not None and not self.proof.is_answered:
            return "a command to it is on its way"
        return self.wear.refusal(level, self.is_off(), now_s)

    @property
    def answers(self) -> bool:
        """Whether the latest question was answered usably, or need not be: a unit may restart for a change."""
        return self._problem is None or (self.proof is not None and self.proof.may_vanish)

    def is_fresh(self, now_s: float) -> bool:
        """Its last reading has not expired."""
        return self.reading is not None and now_s - self.reading.at_s <= self._stale_s

    def is_off(self) -> bool:
        """Asleep, or told to sleep; not on its way up."""
        if self.proof is not None and self.proof.is_wake:
            return False
        return (self.level_commanded if self.level_observed is None else self.level_observed) == 0

    @property
    def is_starved(self) -> bool:
        """It was told to sleep and does not, or cannot be asked, and is known to be safe without work: so it gets none."""
        return (
            self._may_starve and self._is_ours and self.level_commanded == 0 and self.state in (UnitState.FAULT, UnitState.OFFLINE)
        )

    def may_command(self, now_s: float) -> bool:
        """An ordinary command within its dwell times would be taken."""
        return self.state in COMMANDABLE and self.is_fresh(now_s)

    def take_out(self, note: str, now_s: float) -> None:
        """Into SERVICE: what was asked of it is forgotten."""
        self._forget()
        self._step(Step.TAKEN_OUT, now_s, None)
        self._tell("unit.taken_out", "info", note=note)

    def put_back(self, now_s: float) -> None:
        """Out of SERVICE; it is adopted as the next reading finds it. Nothing happens to a unit that is not in service."""
        if self.state is UnitState.SERVICE:
            self._step(Step.PUT_BACK, now_s, None)
            self.reading = None
            self._tell("unit.put_back", "info")

    def clear_fault(self, now_s: float) -> None:
        """An operator's word that a fault is dealt with: adopt it as the next reading finds it."""
        if self.state is UnitState.FAULT:
            self._forget()
            self._step(Step.FAULT_CLEARED, now_s, None)

    def check_identity(self, problem: str | None, is_known: bool, now_s: float) -> None:
        """What the serial book says of the machine that just answered; `is_known`: it told its serial at all."""
        if problem is not None and self.state is not UnitState.SERVICE:
            if self.state is not UnitState.LOCKED_OUT:
                self._forget()
                self._tell("unit.locked_out", "error", cause=problem)
            self._step(Step.IDENTITY_BROKEN, now_s, problem)
        elif problem is None and is_known and self.state is UnitState.LOCKED_OUT:
            self._step(Step.IDENTITY_RESTORED, now_s, None)
            self._tell("unit.identity_restored", "info")

    # What is sent.

    def due_level(self, now_s: float) -> int | None:
        """The level to send now, if any."""
        if self.wanted is None or now_s < self.wanted.not_before_s or self.state in UNTOUCHABLE:
            return None
        return self.wanted.level

    def sent(self, now_s: float) -> None:
        """`wanted` goes out now: dwell starts, the expected hashrate is announced, proof is due."""
        wanted = self.wanted
        if wanted is None:
            return
        level = wanted.level
        is_wake = level > 0 and (self.is_off() or self._is_stopping())
        self._step(Step.WAKE_SENT if is_wake else Step.LEVEL_SENT if level else Step.SLEEP_SENT, now_s, self._kept_fault())
        restarts = self.model.change_reboots and level > 0
        arrive_s = self.model.wake_s if is_wake else self.model.settle_s
        if restarts and not is_wake:
            arrive_s += self.model.wake_s
        elif level == 0:
            arrive_s += SLEEP_LEAD_S
        self.proof = Proof(
            level=level,
            obey_by_s=now_s + (arrive_s if is_wake or restarts else min(arrive_s, self._obey_s)),
            arrive_by_s=now_s + arrive_s,
            is_wake=is_wake,
            may_vanish=restarts or (is_wake and self.model.wake == "reboot"),
            elapsed_before_s=None if self.reading is None else self.reading.elapsed_s,
        )
        if self.tries == 0:
            self.level_acknowledged = None
        self.tries += 1
        self.wanted = None
        self._announce(self.unit.id, self.levels[level].hashrate_hps)
        self._tell("unit.commanded", "debug", to=level, attempt=self.tries, reason=wanted.reason)

    def answered(self, wanted: Wanted, outcome: Outcome, now_s: float) -> None:
        """What became of the command just sent. Only readings prove more."""
        if self.proof is None or self.proof.level != wanted.level:
            return  # a newer command, or the operator, has the word
        self.proof.is_answered = True
        before, self._unsent = self._unsent, None
        match outcome.answer:
            case Answer.TAKEN:
                self.level_acknowledged = wanted.level
                self._note_change(self.proof, now_s)
            case Answer.LOST:
                self._note_change(self.proof, now_s)
                self._tell("unit.answer_lost", "warning", cause=outcome.text, to=wanted.level)
            case Answer.UNSENT:
                self._unsent = outcome.text
                if before != outcome.text:
                    self._tell("unit.not_sent", "warning", cause=outcome.text, to=wanted.level)
                self.tries -= 1
                self._again(wanted, now_s + RETRY_S)
            case Answer.CALIBRATING:
                self.tries -= 1
                self._step(Step.CHANGE_REFUSED, now_s, "its firmware calibrates and permits no change; retried by itself")
                self._again(wanted, now_s + CALIBRATION_RETRY_S)
            case Answer.REFUSED:
                self._failed(wanted.level, now_s, f"it refuses level {wanted.level}: {outcome.text}", wanted)

    def _note_change(self, proof: Proof, now_s: float) -> None:
        """It may have taken effect: dwell and wear count from here, once a command."""
        if self.tries == 1:
            self.wear.changed(proof.level, proof.is_wake, now_s)

    def _again(self, wanted: Wanted, not_before_s: float) -> None:
        self.proof = None
        wanted.not_before_s = not_before_s
        if self.wanted is None:
            self.wanted = wanted
        self._announce_observed()

    def _failed(self, level: int, now_s: float, why: str, wanted: Wanted | None = None) -> None:
        """One try had no effect: try once more, then give up."""
        self.proof = None
        self._announce_observed()
        if self.tries < MAX_TRIES:
            self._tell("unit.no_effect", "warning", cause=why, to=level)
            reason, is_urgent = (wanted.reason, wanted.is_urgent) if wanted else ("second try", level == 0)
            self.wanted = self.wanted or Wanted(level, reason, is_urgent, now_s + RETRY_S)
            return
        self._tell("unit.gave_up", "error", cause=why, to=level)
        self.wanted = None
        self._step(Step.GAVE_UP, now_s, f"{why}. Tried {MAX_TRIES} times: check the machine, then put it in service and back")

    # What is seen.

    def saw(self, reading: Reading, now_s: float) -> None:
        """A believable reading. The identity was checked before."""
        if self._is_frozen(reading, now_s):
            self.reading = None
            self.lost(f"its telemetry stands still (Elapsed stays at {reading.elapsed_s:.0f} s): restart its controller", now_s)
            return
        self._problem = None
        before, self.reading = self.reading, reading
        if before is not None and _fell(reading.elapsed_s, before.elapsed_s) and not (self.proof and self.proof.may_vanish):
            self._tell("unit.restarted", "warning", elapsed_s=reading.elapsed_s)
        self._note_start(before, reading, now_s)
        self.level_observed = reading.level_observed
        if self.state not in UNTOUCHABLE:
            self._compare(reading, now_s)
        step = self._seen(reading, now_s)
        cause = self.fault if self.state in (UnitState.FAULT, *UNTOUCHABLE) else None
        if step is Step.SEEN_IDLE and cause is None and reading.pools_alive == 0:
            cause = "awake but without work: none of its pools is alive; check its Stratum connection"
        if cause is None and self.wanted is not None and self._unsent is not None:
            cause = f"level {self.wanted.level} could not be sent and is tried again: {self._unsent}"
        self._step(step, now_s, cause)

    def lost(self, why: str, now_s: float) -> None:
        """No usable answer. The last good reading stays until it expires."""
        self._problem = why
        if self.state is UnitState.OFFLINE:
            self.fault = why
        self.expire(now_s)

    def expire(self, now_s: float) -> None:
        """Forget what is too old to be true; call it before the unit is looked at."""
        if self.is_fresh(now_s) or self.state in (UnitState.OFFLINE, *UNTOUCHABLE):
            return
        if self.proof is not None and self.proof.may_vanish and now_s < self.proof.arrive_by_s:
            return
        self.level_observed = None
        self.proof = None
        if self.wanted is not None and not self.wanted.is_urgent:
            self.wanted = None
        cause = self._problem or "its last reading has expired"
        self._tell("unit.offline", "warning", cause=cause)
        self._step(Step.CONTACT_LOST, now_s, cause)

    def _compare(self, reading: Reading, now_s: float) -> None:
        """Asked against seen."""
        if self.proof is not None:
            self._check_proof(self.proof, reading, now_s)
        if self.state is UnitState.FAULT:
            self._consider_fault(reading, now_s)
        elif (
            self.proof is None
            and self.wanted is None
            and reading.level_observed is not None
            and reading.level_observed != self.level_commanded
        ):
            told = self.level_commanded
            if told is None or not self._is_ours or self._power(reading.level_observed) <= self._power(told):
                self._adopt(reading.level_observed)
            else:
                self._strayed(reading.level_observed, told, now_s)

    def _consider_fault(self, reading: Reading, now_s: float) -> None:
        does_as_told = self.level_commanded is not None and self._has_arrived(self.level_commanded, reading)
        if does_as_told or now_s - self.state_since_s >= FAULT_REST_S:
            if not does_as_told:
                self._forget()
            self.wanted = self.proof = None
            self.tries = 0
            self._tell("unit.fault_cleared", "info", as_told=does_as_told)
            self._step(Step.FAULT_CLEARED, now_s, None)
            if self.level_commanded is None and self.level_observed is not None:
                self._adopt(self.level_observed)

    def _check_proof(self, proof: Proof, reading: Reading, now_s: float) -> None:
        level = proof.level
        if proof.is_wake:
            woke = reading.hashing is True or _fell(reading.elapsed_s, proof.elapsed_before_s)
            proof.is_obeyed = proof.is_obeyed or (woke and reading.asleep is False)
            # Awake is half of it: it may have woken on another level.
            if proof.is_obeyed and reading.level_observed not in (level, None):
                self._finish_wake(level, now_s)
                return
        else:
            shows = reading.asleep is True or reading.stopping if level == 0 else reading.level_observed == level
            proof.is_obeyed = proof.is_obeyed or shows
        if proof.is_obeyed and self._has_arrived(level, reading):
            self.proof = None
            self.tries = 0
            self.level_acknowledged = level
            self._settling_since_s = now_s
        elif now_s >= proof.arrive_by_s and proof.is_wake and reading.asleep is False:
            # Awake and at rest: it waits for work, which is no disobedience.
            self.proof = None
            self.tries = 0
        elif now_s >= (proof.arrive_by_s if proof.is_obeyed else proof.obey_by_s):
            self._failed(level, now_s, self._complaint(level, reading, proof))

    def _finish_wake(self, level: int, now_s: float) -> None:
        self.proof = None
        self.tries = 0
        self.wanted = self.wanted or Wanted(level, "woke on another level", False, now_s)
        self.level_commanded = self.wanted.level

    def _has_arrived(self, level: int, reading: Reading) -> bool:
        if level == 0:
            return reading.asleep is True
        if reading.asleep is not False or reading.level_observed != level:
            return False
        # Too little power can be a dead board or no work; too much is a level that did not change.
        return reading.power_w is None or reading.power_w <= OVER_POWER * self._power(level)

    def _complaint(self, level: int, reading: Reading, proof: Proof) -> str:
        said = "it said OK, but" if self.level_acknowledged == level else "its answer was lost, and"
        power = "unknown" if reading.power_w is None else f"{reading.power_w:.0f}"
        if level == 0:
            return f"{said} it is not asleep: {power} W"
        if proof.is_wake:
            return f"{said} it did not wake"
        return f"{said} it is not on level {level}: it says level {reading.level_observed}, {power} W"

    def _adopt(self, level: int) -> None:
        """Take what it does for what it was told: no command, no jump."""
        if self.level_commanded is not None and self._is_ours:
            self._tell("unit.adopted", "warning", told=self.level_commanded, does=level)
        self.level_commanded = level
        self.tries = 0
        self._announce_observed()

    def _strayed(self, does: int, told: int, now_s: float) -> None:
        self._tell("unit.strayed", "warning", told=told, does=does)
        if len(self._strays) == MAX_STRAYS and now_s - self._strays[0] < 3_600.0:
            self._strays.clear()
            cause = (
                f"it goes to level {does} by itself, told {told}: stop whatever else commands it, then put it in service and back"
            )
            self._announce_observed()
            self._step(Step.GAVE_UP, now_s, cause)
            return
        self._strays.append(now_s)
        self.tries = 0
        self.wanted = Wanted(told, "does more than it was told", True, now_s)

    def _seen(self, reading: Reading, now_s: float) -> Step:
        if self.proof is not None and self.proof.is_wake and not reading.hashing:
            return Step.SEEN_WAKING
        if reading.asleep is True:
            return Step.SEEN_ASLEEP
        if reading.stopping or (self.proof is not None and self.proof.level == 0):
            return Step.SEEN_RAMPING
        if not reading.hashing:
            return Step.SEEN_IDLE
        if reading.calibrating or self._is_held_back(now_s):
            return Step.SEEN_CALIBRATING
        if self.proof is not None or self.wanted is not None or not self._has_settled(reading, now_s):
            return Step.SEEN_RAMPING
        return Step.SEEN_RUNNING

    def _is_held_back(self, now_s: float) -> bool:
        """It refused a change because it calibrates, and the next try is still ahead."""
        return self.state is UnitState.CALIBRATING and self.wanted is not None and now_s < self.wanted.not_before_s

    def _has_settled(self, reading: Reading, now_s: float) -> bool:
        since_s = self._settling_since_s
        if reading.level_observed is None or since_s is None or now_s - since_s >= self.model.settle_s:
            return True
        rate = reading.hashrate_hps
        return rate is None or rate >= REACHED_PART * self.levels[reading.level_observed].hashrate_hps

    def _note_start(self, before: Reading | None, reading: Reading, now_s: float) -> None:
        """A start nobody here asked for wears the machine all the same."""
        if (
            before is not None
            and before.asleep is True
            and reading.asleep is False
            and (self.proof is None or not self.proof.is_wake)
        ):
            self.wear.started(now_s)

    def _is_frozen(self, reading: Reading, now_s: float) -> bool:
        if reading.elapsed_s is None:
            return False
        if reading.elapsed_s != self._last_elapsed_s or self._progress_s is None:
            self._last_elapsed_s, self._progress_s = reading.elapsed_s, now_s
        return now_s - self._progress_s > max(self._stale_s, MIN_FROZEN_S)

    # Small words.

    def _power(self, level: int) -> float:
        return self.levels[level].power_w

    def _is_stopping(self) -> bool:
        return self.reading is not None and self.reading.stopping

    def _kept_fault(self) -> str | None:
        return self.fault if self.state in (UnitState.FAULT, UnitState.OFFLINE) else None

    def _forget(self) -> None:
        self.wanted = self.proof = None
        self.level_commanded = self.level_acknowledged = self._unsent = None
        self.tries = 0

    def _announce_observed(self) -> None:
        """The expected hashrate follows what is true, where that is known."""
        if self.level_observed is not None:
            self._announce(self.unit.id, self.levels[self.level_observed].hashrate_hps)

    def _step(self, step: Step, now_s: float, fault: str | None) -> None:
        after = advance(self.state, step)
        if after is not self.state:
            self._tell("unit.state_changed", "debug", was=self.state.name, now=after.name)
            self.state, self.state_since_s = after, now_s
        self.fault = fault

    def _tell(self, name: str, level: str, **facts: Fact) -> None:
        self._publish_event(name, level, unit=self.unit.id, **facts)


def _fell(now: float | None, before: float | None) -> bool:
    return now is not None and before is not None and now < before
