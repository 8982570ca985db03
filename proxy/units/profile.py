"""Records how one machine follows commands: each level's watts and hashes, delays, ramps, sleep and waking, life without work.

It drives any Driver with any clock and keeps no sockets, files or signals: `commands.profile_unit` has those, and sees to it that
`restore` is called whatever happened. Nothing is repeated blindly: a command without an answer is read back.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Literal

import msgspec

from proxy import config
from proxy.errors import UnitError
from proxy.units.drivers.base import Answer, Driver, Outcome, Reading
from proxy.units.profile_trace import Change, Rest, Sample, change_of, has_moved, rest_of, shows
from proxy.units.profile_work import Dry, Watch, WorkGate, watch_without_work

# Between two looks: fine enough for a delay, easy on a controller with one core.
LOOK_S = 2.0
# Power that stood still so long has settled; hashrates of machines are means over 5 to 60 s.
WINDOW_S = 60.0
# A change that moves no power at all is believed after so long.
NO_MOVE_S = 240.0
SEND_TRIES = 3
# To bring it back: told again after so long without effect, given up in the end. Some tune themselves for a quarter of an hour
# first.
TELL_AGAIN_S, RESTORE_LIMIT_S = 90.0, 1_800.0


class ProfileError(UnitError):
    """The machine cannot be recorded, or not further; the message says why and what to do."""


class Setting(msgspec.Struct, frozen=True):
    """What the driver sends for a level that is to be recorded."""

    setting: int
    core_voltage_mv: int | None = None


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to record: levels by rising power, and what must be known of the family beforehand."""

    driver: Literal["avalon", "whatsminer", "braiins", "luxos", "axeos"]
    settings: tuple[Setting, ...]
    setting_command: Literal["worklevel", "workmode"] = "worklevel"
    wake: Literal["softon", "reboot"] = "softon"
    change_reboots: bool = False  # for the driver: a change needs a reboot to be sent with it
    with_sleep: bool = True
    patience_s: float = 1_200.0  # for one change to settle
    without_work_s: float = 900.0  # how long it is watched without work, where somebody can keep it from it


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """What was recorded of one machine."""

    plan: Plan
    found: Reading
    levels: tuple[Rest, ...]
    changes: tuple[Change, ...]  # from level to level
    sleep: Change | None
    wake: Change | None
    calibrated: bool  # it was seen tuning itself on the way
    without_work: Dry | None = None


class Recording:
    """One machine being recorded: `begin`, then `measure`, and always `restore`."""

    def __init__(
        self,
        plan: Plan,
        make_driver: Callable[[config.Model], Driver],
        now: Callable[[], float],
        rest: Callable[[float], Awaitable[None]],
        tell: Callable[[str], None],
        gate: WorkGate | None = None,
    ) -> None:
        """`gate` can keep work from the machine; without one, what it does without work is not recorded."""
        self.plan = plan
        self.found_level: int | None = None
        self._make_driver = make_driver
        self._now = now
        self._rest = rest
        self._tell = tell
        self._driver = make_driver(model_of(plan, ()))
        self._found: Reading | None = None
        self._last: Reading | None = None
        self._calibrated = False
        self._has_sent = False
        self._gate = gate
        self._is_withheld = False

    async def begin(self) -> Reading:
        """Look at it without touching it. Raises ProfileError when it should not be recorded now, UnitError for silence."""
        reading = self._last = self._found = await self._driver.read()
        if reading.calibrating:
            raise ProfileError(
                "it calibrates itself and takes no level now; come back when it has finished (often 30 to 60 minutes)"
            )
        if reading.asleep is not False or reading.hashing is not True:
            raise ProfileError(
                "it does not hash now; let it run with a pool for some minutes first, so that there is a state to restore"
            )
        if reading.power_w is None:
            raise ProfileError("it does not tell its power, so there is nothing to record")
        if reading.level_observed is None or reading.level_observed == 0:
            raise ProfileError("its present setting is none of --levels, so it could not be restored; add the setting it runs on")
        self.found_level = reading.level_observed
        return reading

    async def measure(self) -> Profile:
        """Visit each level upwards, then sleep and wake, then no work. Raises ProfileError or UnitError.

        `restore` must follow either way.
        """
        if self._found is None:
            raise ProfileError("look at it first")
        self._tell(f"waiting until it stands still on {self._name(self.found_level or 1)}")
        before = (await self._settle(self.found_level or 1, None))[0]
        rests: list[Rest] = []
        changes: list[Change] = []
        for level in range(1, len(self.plan.settings) + 1):
            if rests or level != self.found_level:
                change = await self._change(level, before)
                changes.append(change)
                before = change.after
            self._check_order(level, before, rests)
            rests.append(before)
        sleep = wake = None
        if self.plan.with_sleep:
            # Now that watts are known, the driver can tell asleep from awake.
            self._driver = self._make_driver(model_of(self.plan, rests))
            self._last = await self._driver.read()
            sleep = await self._change(0, before)
            wake = await self._change(len(rests), sleep.after)
        without_work = None if self._gate is None else await self._without_work(self._gate, rests[-1])
        top_w = rests[-1].power_w
        return Profile(
            plan=self.plan,
            found=self._found,
            levels=tuple(rests),
            changes=tuple(_scaled(change, top_w) for change in changes),
            sleep=sleep and _scaled(sleep, top_w),
            wake=wake and _scaled(wake, top_w),
            calibrated=self._calibrated,
            without_work=without_work,
        )

    async def _without_work(self, gate: WorkGate, before: Rest) -> Dry:
        self._has_sent = self._is_withheld = True
        watch = Watch(self._look, self._now, self._rest, self._tell, self.plan.without_work_s, self.plan.patience_s)
        uptime_s = self._last.elapsed_s if self._last is not None else None
        dry = await watch_without_work(watch, gate, before, uptime_s)
        self._is_withheld = False
        return dry

    async def restore(self) -> bool:
        """Bring it back to the level it was found on, with work; True once it says so. Does nothing where nothing was sent."""
        if self._gate is not None and self._is_withheld:
            try:
                await self._gate.give_back()
            except UnitError as problem:
                self._tell(f"{problem}; its work comes back by itself within two minutes")
        level = self.found_level
        if level is None or not self._has_sent:
            return True
        self._tell(f"bringing it back to {self._name(level)}")
        started_s = self._now()
        told_s: float | None = None
        while self._now() - started_s < RESTORE_LIMIT_S:
            reading = await self._look()
            if reading is not None and reading.asleep is False and reading.level_observed == level:
                return True
            # Read first: what to send depends on whether it sleeps.
            if reading is not None and (told_s is None or self._now() - told_s >= TELL_AGAIN_S):
                outcome = await self._driver.set_level(level)
                told_s = None if outcome.answer is Answer.UNSENT else self._now()
                if outcome.text:
                    self._tell(outcome.text)
            await self._rest(LOOK_S)
        return False

    def _check_order(self, level: int, rest: Rest, below: Sequence[Rest]) -> None:
        self._tell(f"{self._name(level)}: {rest.power_w:,.0f} W, {(rest.hashrate_hps or 0) / 1e12:,.2f} TH/s")
        if not rest.hashrate_hps:
            raise ProfileError(f"on {self._name(level)} it tells no hashrate; has it a pool that gives it work?")
        if below and (rest.power_w <= below[-1].power_w or rest.hashrate_hps < (below[-1].hashrate_hps or 0.0)):
            raise ProfileError(
                f"{self._name(level)} draws {rest.power_w:,.0f} W and the one before {below[-1].power_w:,.0f} W, or it hashes less:"
                " give --levels by rising power, and leave out those that heat more without working more"
            )

    async def _change(self, level: int, before: Rest) -> Change:
        uptime_s = self._last.elapsed_s if self._last is not None else None
        self._tell(f"sending {self._name(level)}")
        started_s = self._now()
        await self._send(level)
        after, samples = await self._settle(level, before, started_s)
        change = change_of(samples, to_level=level, before=before, after=after, uptime_s=uptime_s, top_w=1.0)
        self._tell(f"settled after {change.settled_s:.0f} s" + (", it rebooted" if change.rebooted else ""))
        return change

    async def _send(self, level: int) -> None:
        outcome = Outcome(Answer.UNSENT)
        for _ in range(SEND_TRIES):
            self._has_sent = True
            outcome = await self._driver.set_level(level)
            if outcome.answer in (Answer.TAKEN, Answer.LOST):
                return  # what became of it, the readings tell
            if outcome.answer is not Answer.UNSENT:
                break
            await self._rest(LOOK_S)
        if outcome.answer is Answer.CALIBRATING:
            raise ProfileError(
                f"it calibrates itself and refuses {self._name(level)}: {outcome.text}; come back when it has finished"
            )
        raise ProfileError(f"it does not take {self._name(level)}: {outcome.text}")

    async def _settle(self, level: int, before: Rest | None, started_s: float | None = None) -> tuple[Rest, list[Sample]]:
        """Look until it is where it should be and stands still. Raises ProfileError when patience ends."""
        since_s = self._now() if started_s is None else started_s
        samples: list[Sample] = []
        moved = before is None
        while self._now() - since_s <= self.plan.patience_s:
            reading = await self._look()
            after_s = self._now() - since_s
            samples.append(Sample(after_s, reading))
            moved = moved or (before is not None and has_moved(samples[-1:], before))
            if reading is not None and shows(reading, level) and not reading.calibrating and (moved or after_s >= NO_MOVE_S):
                rest = rest_of(samples, WINDOW_S)
                if rest is not None:
                    return rest, samples
            await self._rest(LOOK_S)
        last = samples[-1].reading if samples else None
        seen = "no answer" if last is None else f"level {last.level_observed}, {last.power_w} W, hashing {last.hashing}"
        raise ProfileError(
            f"it did not settle on {self._name(level)} within {self.plan.patience_s:.0f} s (last: {seen}); it may tune itself:"
            " raise --patience"
        )

    async def _look(self) -> Reading | None:
        try:
            reading = await self._driver.read()
        except UnitError:
            return None  # a reboot looks like this
        self._last = reading
        self._calibrated = self._calibrated or reading.calibrating
        return reading

    def _name(self, level: int) -> str:
        return "sleep" if level == 0 else f"level {level} (setting {self.plan.settings[level - 1].setting})"


def model_of(plan: Plan, rests: Sequence[Rest]) -> config.Model:
    """The model to drive with: measured watts where they are known; before that rising numbers, which nothing awake depends on."""
    levels = [
        config.Level(
            name=level_name(setting),
            power_w=rests[index].power_w if rests else 1_000.0 * (index + 1),
            hashrate_hps=(rests[index].hashrate_hps if rests else None) or 1e12 * (index + 1),
            setting=setting.setting,
            core_voltage_mv=setting.core_voltage_mv,
        )
        for index, setting in enumerate(plan.settings)
    ]
    return config.Model(
        driver=plan.driver,
        levels=levels,
        sleep_power_w=min(15.0, 0.2 * levels[0].power_w),
        setting_command=plan.setting_command,
        wake=plan.wake,
        change_reboots=plan.change_reboots,
    )


def level_name(setting: Setting) -> str:
    """How the level is called in the table until somebody finds a better name."""
    return f"{setting.setting}" if setting.core_voltage_mv is None else f"{setting.setting}@{setting.core_voltage_mv}"


def _scaled(change: Change, top_w: float) -> Change:
    """The same change with its ramp for the whole range, which is known only at the end."""
    ramp_s = None if change.full_ramp_s is None else change.full_ramp_s * top_w
    return msgspec.structs.replace(change, full_ramp_s=ramp_s)
