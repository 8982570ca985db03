"""A hall full of machines as vectors: power, hashes, temperatures, and what their firmware does with a command.

The equations are those of `sim.device` (rate-limited power, delayed changes, boots, lagged outlet), for all machines at once, so
that a day of a thousand units takes seconds. It speaks no protocol, keeps no policy and has no clock.
"""

import math
import random
from collections.abc import Sequence
from enum import IntEnum
from typing import Annotated

import numpy as np
import numpy.typing as npt
from msgspec import Meta

from proxy import config
from proxy.sim.device import WATER_W_PER_L_MIN_K
from proxy.units.drivers.base import Answer, Outcome, Reading

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

# A machine whose boards are dark although it is awake, over its sleep power.
IDLE_OVER_SLEEP = 3.0
CHIP_OVER_OUTLET_K = 15.0
# Below this part of the lowest level's power it hashes nothing.
DARK_PART = 0.3
# Telemetry of a machine at rest still moves by this much (one sigma).
POWER_NOISE = 0.003
# Its own firmware puts it to sleep here, whatever it was told: no interlock of ours is the last one.
FIRMWARE_TRIP_C = 98.0
_NEVER = math.inf


class MachineSpec(config.Table, frozen=True, kw_only=True):
    """[machines]: how the machines differ from what the site file says of them. Heat control is told none of it."""

    nameplate_bias: Annotated[float, Meta(ge=0.5, le=2, description="level power in the site's file over the real one")] = 1.0
    telemetry_bias: Annotated[float, Meta(ge=0.5, le=2, description="power a machine tells over the real one")] = 1.0
    spread: Annotated[float, Meta(ge=0, le=0.2, description="of power between machines, one sigma")] = 0.03
    lost_commands: Annotated[
        float, Meta(ge=0, le=1, description="part of commands that are lost; half of those were carried out")
    ] = 0.0
    ramp_up_s: Annotated[float, Meta(gt=0, le=3_600, description="nothing to the top level's power")] = 240.0
    ramp_down_s: Annotated[float, Meta(gt=0, le=3_600, description="and back")] = 20.0
    change_least_s: Annotated[float, Meta(ge=0, le=3_600, description="from a command to its first effect, at least")] = 3.0
    change_most_s: Annotated[float, Meta(ge=0, le=3_600, description="and at most")] = 20.0
    wake_least_s: Annotated[float, Meta(ge=0, le=3_600, description="from waking or a boot to the first hash, at least")] = 120.0
    wake_most_s: Annotated[float, Meta(ge=0, le=3_600, description="and at most")] = 300.0
    sleep_delay_s: Annotated[float, Meta(ge=0, le=600, description="from softoff to dark boards")] = 10.0
    reboot_silent_s: Annotated[float, Meta(ge=0, le=600, description="no answers at the beginning of a reboot")] = 30.0
    water_kg: Annotated[float, Meta(gt=0, le=100, description="in one machine: its outlet lags by this over its flow")] = 4.0
    flow_l_per_min: Annotated[float, Meta(gt=0, le=100, description="through one machine")] = 8.0
    power_per_k: Annotated[float, Meta(ge=0, le=0.02, description="part of power more for each K of warmer water")] = 0.003
    reference_inlet_c: Annotated[float, Meta(ge=0, le=80, description="inlet at which levels have their power")] = 50.0


class Phase(IntEnum):
    """What the boards do."""

    RUNNING = 0
    ASLEEP = 1
    STARTING = 2


class Due(IntEnum):
    """What happens next inside a machine."""

    NOTHING = 0
    CHANGE = 1
    SLEEP = 2
    START = 3


def _nameplates(models: Sequence[config.Model], bias: float) -> tuple[Floats, Floats]:
    """Watts and hashes/s of every level of each machine, asleep first; a model with few levels repeats its top."""
    depth = max(len(model.levels) for model in models) + 1
    levels_w: Floats = np.zeros((len(models), depth))
    levels_hps: Floats = np.zeros((len(models), depth))
    for k, model in enumerate(models):
        rows = [(model.sleep_power_w, 0.0), *((level.power_w / bias, level.hashrate_hps) for level in model.levels)]
        rows += [rows[-1]] * (depth - len(rows))
        levels_w[k] = [power_w for power_w, _ in rows]
        levels_hps[k] = [hps for _, hps in rows]
    return levels_w, levels_hps


class Machines:
    """All of them. Faults are arrays that anybody may set; `power_w` is the truth, `reading` what a machine says."""

    def __init__(
        self,
        units: Sequence[config.Unit],
        models: dict[str, config.Model],
        spec: MachineSpec,
        efficiency: float,
        rng: random.Random,
    ) -> None:
        """All asleep or on a level: see `settle`."""
        self.spec = spec
        self.models = [models[unit.model] for unit in units]
        n = len(units)
        self._rng = rng
        self._np_rng = np.random.default_rng(rng.getrandbits(64))
        self._efficiency = efficiency
        self.levels_w, self.levels_hps = _nameplates(self.models, spec.nameplate_bias)
        factor = np.clip(1.0 + spec.spread * self._np_rng.standard_normal(n), 1 - 3 * spec.spread, 1 + 3 * spec.spread)
        self.levels_w[:, 1:] *= factor[:, None]
        self.sleep_w: Floats = self.levels_w[:, 0].copy()
        self.tops: Ints = np.array([len(model.levels) for model in self.models])
        self.reboots: Bools = np.array([model.change_reboots for model in self.models])
        self._top_w: Floats = self.levels_w[np.arange(n), self.tops]
        self._every: Ints = np.arange(n)
        self.phase: Ints = np.full(n, Phase.RUNNING)
        self.level: Ints = np.ones(n, np.int64)  # what the boards run on
        self.shown: Ints = np.ones(n, np.int64)  # what the firmware says it is set to
        self.power_w: Floats = np.zeros(n)
        self.outlet_c: Floats = np.full(n, spec.reference_inlet_c)
        self.inlet_c: Floats = np.full(n, spec.reference_inlet_c)
        self.booted_s: Floats = np.full(n, -86_400.0)
        self.silent_until_s: Floats = np.full(n, -_NEVER)
        self._due_s: Floats = np.full(n, _NEVER)
        self._due_what: Ints = np.full(n, Due.NOTHING)
        self.changes: Ints = np.zeros(n, np.int64)
        self.sleeps: Ints = np.zeros(n, np.int64)
        self.firmware_trips = 0
        # Faults.
        self.is_dead: Bools = np.zeros(n, np.bool_)  # no power, no answer
        self.is_mute: Bools = np.zeros(n, np.bool_)  # goes on, no answer
        self.ignores: Bools = np.zeros(n, np.bool_)  # says OK, does nothing
        self.pretends: Bools = np.zeros(n, np.bool_)  # hung: says it runs on its level, and does not
        self.refuses: Bools = np.zeros(n, np.bool_)
        self.calibrates: Bools = np.zeros(n, np.bool_)
        self.has_no_outlet: Bools = np.zeros(n, np.bool_)
        self.tells_w: Floats = np.full(n, spec.telemetry_bias)
        self.stuck_w: Floats = np.full(n, np.nan)

    def __len__(self) -> int:
        return len(self.power_w)

    def settle(self, levels: Sequence[int], now_s: float, inlet_c: Sequence[float]) -> None:
        """Put every machine on a level, settled, as if it had been there for long."""
        asked = np.asarray(levels, np.int64)
        self.inlet_c = np.asarray(inlet_c, np.float64)
        self.phase = np.where(asked == 0, int(Phase.ASLEEP), int(Phase.RUNNING))
        self.level = np.maximum(asked, 1)
        self.shown = self.level.copy()
        self.power_w = self._target_w()
        self.outlet_c = self.inlet_c + self.power_w * self._efficiency / (self.spec.flow_l_per_min * WATER_W_PER_L_MIN_K)
        self.booted_s[:] = now_s - 86_400.0

    def advance(self, now_s: float, dt_s: float, inlet_c: Floats, flow_part: Floats) -> None:
        """Let `dt_s` pass until `now_s`. `flow_part`: water through each machine as part of its design flow."""
        due = np.flatnonzero(self._due_s <= now_s)
        for k in due.tolist():
            self._happen(k, now_s)
        spec = self.spec
        target_w = self._target_w()
        up_w, down_w = self._top_w * (dt_s / spec.ramp_up_s), self._top_w * (dt_s / spec.ramp_down_s)
        self.power_w = np.minimum(np.maximum(target_w, self.power_w - down_w), self.power_w + up_w)
        self.power_w[self.is_dead] = 0.0
        self.inlet_c = inlet_c
        carried = np.maximum(flow_part, 0.02) * (spec.flow_l_per_min * WATER_W_PER_L_MIN_K)
        heat_j_per_k = spec.water_kg * 4_186.0
        settled_c = inlet_c + self.power_w * self._efficiency / carried
        self.outlet_c = self.outlet_c + (settled_c - self.outlet_c) * -np.expm1(-dt_s * carried / heat_j_per_k)
        hot = (self.outlet_c >= FIRMWARE_TRIP_C) & (self.phase != Phase.ASLEEP)
        if hot.any():
            self.phase[hot] = Phase.ASLEEP
            self._due_s[hot] = _NEVER
            self.firmware_trips += int(hot.sum())

    @property
    def hashrate_hps(self) -> Floats:
        """What each really hashes: in proportion to power inside a level, nothing in the dark."""
        full_w = self.levels_w[self._every, self.level]
        part = np.clip(self.power_w / np.maximum(full_w, 1.0), 0.0, 1.0)
        runs = (self.phase == Phase.RUNNING) & (self.power_w > DARK_PART * self.levels_w[:, 1])
        return np.where(runs, part * self.levels_hps[self._every, self.level], 0.0)

    def _target_w(self) -> Floats:
        warm = 1.0 + self.spec.power_per_k * (self.inlet_c - self.spec.reference_inlet_c)
        running_w = np.where(self.pretends, IDLE_OVER_SLEEP * self.sleep_w, self.levels_w[self._every, self.level] * warm)
        return np.where(
            self.phase == Phase.RUNNING,
            running_w,
            np.where(self.phase == Phase.ASLEEP, self.sleep_w, IDLE_OVER_SLEEP * self.sleep_w),
        )

    def _happen(self, k: int, now_s: float) -> None:
        what = self._due_what[k]
        self._due_s[k], self._due_what[k] = _NEVER, Due.NOTHING
        if what == Due.CHANGE:
            self.level[k] = self.shown[k]
        elif what == Due.SLEEP:
            self.phase[k] = Phase.ASLEEP
            self.sleeps[k] += 1
        elif what == Due.START:
            self.phase[k] = Phase.RUNNING
            self.level[k] = self.shown[k]

    def _plan(self, k: int, what: Due, at_s: float) -> None:
        self._due_s[k], self._due_what[k] = at_s, what

    # What a machine answers.

    def answers(self, k: int, now_s: float) -> bool:
        """Whether anybody is there to talk to."""
        return not (self.is_dead[k] or self.is_mute[k] or now_s < self.silent_until_s[k])

    def command(self, k: int, level: int, now_s: float) -> Outcome:
        """Tell machine `k` to go to `level` (0 = asleep)."""
        if not self.answers(k, now_s):
            return Outcome(Answer.UNSENT, "no connection")
        if self.refuses[k]:
            return Outcome(Answer.REFUSED, "error 120")
        if self.calibrates[k] and level:
            return Outcome(Answer.CALIBRATING, "calibrating")
        is_lost = self._rng.random() < self.spec.lost_commands
        if not (is_lost and self._rng.random() < 0.5) and not self.ignores[k]:
            self._obey(k, level, now_s)
        return Outcome(Answer.LOST, "no answer") if is_lost else Outcome(Answer.TAKEN)

    def _obey(self, k: int, level: int, now_s: float) -> None:
        spec, rng = self.spec, self._rng
        if level == 0:
            if self.phase[k] != Phase.ASLEEP:
                self._plan(k, Due.SLEEP, now_s + spec.sleep_delay_s)
            return
        is_new = level != self.shown[k]
        self.shown[k] = level
        if self.phase[k] == Phase.ASLEEP or (self.reboots[k] and is_new):
            if self.phase[k] != Phase.ASLEEP:
                self.changes[k] += 1
            self.boot(k, now_s)
        elif self.phase[k] == Phase.RUNNING:
            self._plan(k, Due.CHANGE, now_s + rng.uniform(spec.change_least_s, spec.change_most_s))
            self.changes[k] += is_new

    def boot(self, k: int, now_s: float) -> None:
        """It starts on the level it is set to, by command or because its mains came back."""
        by_reboot = self.reboots[k] or self.models[k].wake == "reboot"
        if by_reboot:
            self.silent_until_s[k] = now_s + self.spec.reboot_silent_s
        if by_reboot or self.is_dead[k]:
            self.booted_s[k] = now_s
        self.is_dead[k] = False
        self.phase[k] = Phase.STARTING
        self._plan(k, Due.START, now_s + self._rng.uniform(self.spec.wake_least_s, self.spec.wake_most_s))

    def die(self, k: int) -> None:
        """No power, no answer, until `repair`."""
        self.is_dead[k] = True

    def repair(self, k: int, now_s: float) -> None:
        """Back on mains: it boots, as machines do."""
        self.boot(k, now_s)

    def readings(self, which: Ints, now_s: float) -> list[Reading | None]:
        """What each of these machines says now; None where none answers."""
        answering = ~(self.is_dead[which] | self.is_mute[which] | (now_s < self.silent_until_s[which]))
        noise = 1.0 + POWER_NOISE * self._np_rng.standard_normal(len(which))
        power_w = self.power_w[which] * self.tells_w[which] * noise
        stuck = ~np.isnan(self.stuck_w[which])
        power_w[stuck] = self.stuck_w[which][stuck]
        hps = self.hashrate_hps[which]
        acts = self.pretends[which] & (self.phase[which] == Phase.RUNNING)
        power_w[acts] = (self.levels_w[which, self.level[which]] * self.tells_w[which] * noise)[acts]
        hps[acts] = self.levels_hps[which, self.level[which]][acts]
        outlet = self.outlet_c[which]
        chip = outlet + CHIP_OVER_OUTLET_K * self.power_w[which] / self._top_w[which]
        dark = (self.power_w[which] < DARK_PART * self.levels_w[which, 1]) & ~acts
        columns = zip(
            answering.tolist(),
            self.phase[which].tolist(),
            self.shown[which].tolist(),
            dark.tolist(),
            power_w.round(1).tolist(),
            hps.tolist(),
            self.inlet_c[which].round(1).tolist(),
            outlet.round(1).tolist(),
            chip.round(1).tolist(),
            (now_s - self.booted_s[which]).tolist(),
            self.has_no_outlet[which].tolist(),
            self.calibrates[which].tolist(),
            strict=True,
        )
        return [
            None
            if not ok
            else Reading(
                at_s=now_s,
                level_observed=0 if phase == 1 and is_dark else shown,
                asleep=(is_dark or None) if phase == 1 else False,
                stopping=phase == 1 and not is_dark,
                calibrating=calibrates,
                hashing=phase == 0 and not is_dark,
                power_w=watts,
                hashrate_hps=hps,
                inlet_c=None if no_outlet else inlet,
                outlet_c=None if no_outlet else out,
                chip_c=chip_c,
                elapsed_s=elapsed,
                pools_alive=2,
            )
            for ok, phase, shown, is_dark, watts, hps, inlet, out, chip_c, elapsed, no_outlet, calibrates in columns
        ]
