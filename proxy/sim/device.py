"""A believable Avalon: power, hashes and temperatures behind a CGMiner API, with faults that can be set.

Physics and state are here, what it says on the wire is `device_api`. It mines nothing (that is `miner`'s, at `hashrate_hps`) and
has no clock: whoever owns time calls `advance`, so it lives in real, scaled and virtual time alike.
"""

import itertools
import math
import random
from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from typing import Literal, Self

import msgspec
import trio

from proxy import config
from proxy.sim import device_api

WATER_W_PER_L_MIN_K = 4_186.0 * 0.985 / 60.0
# Its clock when `now_s` is 0. Units keep time of their own; drivers must not mix it up with theirs.
CLOCK_BASE_UNIX_S = 1_790_000_000
SOFT_OFF_ASKED, SOFT_OFF_BOOTING = 5, 6
MAX_REMEMBERED_WRITES = 1_000
# Wall power of a controller whose boards are dark although it is awake, over its sleep power.
IDLE_OVER_SLEEP = 3.0
# A chip is this much above the water that leaves, at nominal power.
CHIP_OVER_OUTLET_K = 15.0
# Nothing jumps, whatever was recorded by looking every other second.
LEAST_RAMP_S = 0.1
# Boards hash nothing below this part of the lowest level's power.
DARK_PART = 0.3


class WithoutWork(msgspec.Struct, frozen=True):
    """What a kind of machine does when it gets no work. `stale_s`: how long it goes on with its last job (idles), or how long after
    the loss, and after each start, it restarts (restarts). `probe_s`: how often it looks for work again."""

    behaviour: Literal["idles", "heats_on", "restarts"] = "idles"
    stale_s: float = 0.0
    probe_s: float = 0.0


# Avalons make work of their own from the last job, then their firmware restarts (BOOTBY 0x08, pool inactive); Bitaxes stop their
# chip once no pool can be reached and look again each 30 s. Of the others nothing is public: they run dry at once.
# That an Avalon waits ten minutes is our assumption.
WITHOUT_WORK = {"avalon": WithoutWork("restarts", stale_s=600.0), "axeos": WithoutWork(probe_s=30.0)}
BOOT_BY_POWER, BOOT_BY_POOL_INACTIVE = 0x04, 0x08


class SimDeviceSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of machine. Ranges are what each instance draws from, evenly."""

    levels: tuple[config.Level, ...]
    sleep_power_w: float
    setting_command: Literal["worklevel", "workmode"]
    wake: Literal["softon", "reboot"]
    change_reboots: bool
    ramp_up_s: float  # nothing to nominal
    ramp_down_s: float
    change_delay_s: tuple[float, float]
    wake_delay_s: tuple[float, float]  # from softon, or from a reboot, to the first hash
    silent_s: float  # part of a reboot in which the API is not there
    heat_lag_s: float
    product: str = "AvalonMiner 1566HA"
    firmware: str = "1566HA-480-26031801_9d3f0a1_71c2e55"
    flow_l_per_min: float = 8.0
    without_work: WithoutWork = WithoutWork()
    efficiency: float = 0.94  # of its power into the water
    spread: float = 0.02  # of power between machines, one standard deviation
    power_per_k: float = 0.003  # more power for each K of warmer water
    reference_inlet_c: float = 45.0

    @classmethod
    def from_model(cls, model: config.Model, *, time_scale: float = 1.0) -> Self:
        """A machine that keeps what `model` promises: settled within settle_s, awake within wake_s, as slow as was recorded.

        `time_scale` divides the lags that the model does not name; settle_s and wake_s are taken as they are.
        """
        delay_s = model.change_delay_s
        return cls(
            levels=tuple(model.levels),
            sleep_power_w=model.sleep_power_w,
            setting_command=model.setting_command,
            wake=model.wake,
            change_reboots=model.change_reboots,
            ramp_up_s=0.6 * model.settle_s if model.ramp_up_s is None else max(model.ramp_up_s, LEAST_RAMP_S),
            ramp_down_s=model.settle_s / 14.0 if model.ramp_down_s is None else max(model.ramp_down_s, LEAST_RAMP_S),
            change_delay_s=(model.settle_s / 80.0, model.settle_s / 12.0) if delay_s is None else (delay_s, delay_s),
            wake_delay_s=(0.4 * model.wake_s, 0.8 * model.wake_s),
            silent_s=0.1 * model.wake_s,
            heat_lag_s=30.0 / time_scale,
            without_work=_without_work(model, time_scale),
        )


def _without_work(model: config.Model, time_scale: float) -> WithoutWork:
    """As recorded, else what is known of the family."""
    record = model.without_work
    if record is not None and record.behaviour != "silent":
        return WithoutWork(record.behaviour, stale_s=record.idle_after_s or 0.0)
    known = WITHOUT_WORK.get(model.driver, WithoutWork())
    return WithoutWork(known.behaviour, known.stale_s / time_scale, known.probe_s / time_scale)


class SimFaults(msgspec.Struct):
    """What is wrong with it now. Set and cleared from outside at any time."""

    lost_answers: int = 0  # so many writes are carried out and not answered
    lost_requests: int = 0  # so many writes are neither carried out nor answered
    no_effect: bool = False  # says OK and changes nothing
    refuses: str | None = None  # answers every write with this error
    calibrating: bool = False  # hashes, and permits no change
    nonsense: device_api.Nonsense | None = None  # how it garbles every answer
    is_dead: bool = False  # takes connections and is silent
    is_gone: bool = False  # takes no connections
    frozen: bool = False  # its telemetry stands still
    no_sensors: bool = False  # temperatures read -273
    no_work: bool = False  # none of its pools answers


class Phase(Enum):
    """What its boards do."""

    RUNNING = auto()
    ASLEEP = auto()  # boards dark or on the way there
    STARTING = auto()


class SimDevice:
    """One machine. `inlet_c` is set by whoever models the water; `serial` may be changed to swap the machine."""

    def __init__(self, spec: SimDeviceSpec, rng: random.Random, *, serial: str | None = None, level: int | None = None) -> None:
        """Starts settled on `level` (default: the highest; 0 = asleep)."""
        self.spec = spec
        self.faults = SimFaults()
        self.serial = serial or f"0201{rng.getrandbits(48):012x}"
        self.inlet_c = spec.reference_inlet_c
        self.clock_skew_s = 0.0
        self.writes: deque[str] = deque(maxlen=MAX_REMEMBERED_WRITES)  # every ascset that reached it, probes excepted
        self._rng = rng
        self._factor = 1.0 + min(max(rng.gauss(0.0, spec.spread), -3 * spec.spread), 3 * spec.spread)
        self._now_s = 0.0
        self._booted_s = -3_600.0
        self._silent_until_s = -math.inf
        self._due: list[tuple[float, Callable[[], None]]] = []
        level = len(spec.levels) if level is None else level
        self.setting = spec.levels[max(level, 1) - 1].setting
        self.next_setting = self.setting  # takes effect at the next reboot
        self._running_setting = self.setting
        self.phase = Phase.RUNNING if level else Phase.ASLEEP
        self.soft_off = 0 if level else SOFT_OFF_ASKED
        self.boot_by = BOOT_BY_POWER
        self._has_job = True  # it has something to hash, were it an old job
        self._dry_since_s: float | None = None
        self.power_w = self._target_w()
        self.outlet_c = self._settled_outlet_c()
        self._frozen_summary: str | None = None

    # Physics.

    @property
    def hashrate_hps(self) -> float:
        """What it really hashes now, whatever its telemetry says."""
        if not self.is_running:
            return 0.0
        points = [(DARK_PART * self.spec.levels[0].power_w, 0.0)]
        points += [(level.power_w, level.hashrate_hps) for level in self.spec.levels]
        power_w = self.power_w / self._power_factor()
        for (low_w, low_hps), (high_w, high_hps) in itertools.pairwise(points):
            if power_w <= high_w:
                return max(0.0, low_hps + (high_hps - low_hps) * (power_w - low_w) / (high_w - low_w))
        return points[-1][1]

    @property
    def is_running(self) -> bool:
        """Its boards are up and have work."""
        return self.phase is Phase.RUNNING and not self._is_dry

    @property
    def _is_dry(self) -> bool:
        """No work, and it does not go on with an old job either."""
        habit = self.spec.without_work
        gone_s = 0.0 if self._dry_since_s is None else self._now_s - self._dry_since_s
        return not self._has_job or (self.faults.no_work and habit.behaviour == "idles" and gone_s >= habit.stale_s)

    @property
    def is_starting(self) -> bool:
        """On the way from softon or a reboot to the first hash."""
        return self.phase is Phase.STARTING

    @property
    def chip_c(self) -> float:
        """The hottest chip."""
        return self.outlet_c + CHIP_OVER_OUTLET_K * self.power_w / self.spec.levels[-1].power_w

    @property
    def elapsed_s(self) -> int:
        """Since its miner program started."""
        return max(0, int(self._now_s - self._booted_s))

    @property
    def clock_unix_s(self) -> int:
        """Its own clock."""
        return int(CLOCK_BASE_UNIX_S + self._now_s + self.clock_skew_s)

    @property
    def is_silent(self) -> bool:
        """Its API is away: dead, or in the first part of a reboot."""
        return self.faults.is_dead or self._now_s < self._silent_until_s

    def advance(self, now_s: float) -> None:
        """Let it live until `now_s`; an earlier time changes nothing. Exact for any step: what falls due meanwhile happens then."""
        while self._due and self._due[0][0] <= now_s:
            at_s, happen = self._due.pop(0)
            self._live(at_s)
            happen()
        self._live(now_s)

    def _live(self, now_s: float) -> None:
        duration_s = now_s - self._now_s
        if duration_s <= 0.0:
            return
        self._notice_work()
        target_w, nominal_w = self._target_w(), self.spec.levels[-1].power_w
        if target_w >= self.power_w:
            self.power_w = min(target_w, self.power_w + duration_s * nominal_w / self.spec.ramp_up_s)
        else:
            self.power_w = max(target_w, self.power_w - duration_s * nominal_w / self.spec.ramp_down_s)
        self.outlet_c += (self._settled_outlet_c() - self.outlet_c) * -math.expm1(-duration_s / self.spec.heat_lag_s)
        self._now_s = now_s

    def _target_w(self) -> float:
        if self.phase is Phase.ASLEEP:
            return self.spec.sleep_power_w
        if self.phase is Phase.STARTING or self._is_dry:
            return IDLE_OVER_SLEEP * self.spec.sleep_power_w
        level = next((level for level in self.spec.levels if level.setting == self._running_setting), self.spec.levels[-1])
        return level.power_w * self._power_factor()

    def _power_factor(self) -> float:
        return self._factor * (1.0 + self.spec.power_per_k * (self.inlet_c - self.spec.reference_inlet_c))

    def _settled_outlet_c(self) -> float:
        return self.inlet_c + self.power_w * self.spec.efficiency / (self.spec.flow_l_per_min * WATER_W_PER_L_MIN_K)

    # What its firmware does. Called by device_api once a write was accepted.

    def change_setting(self, setting: int) -> None:
        """Go to a level: shown at once, felt after a delay (or a reboot, for firmware that needs one)."""
        self.setting = self.next_setting = setting
        if self.spec.change_reboots:
            self.reboot()
        elif self.phase is Phase.ASLEEP:
            self._running_setting = setting
        else:
            self._after(self._draw(self.spec.change_delay_s), lambda: self._run_on(setting))

    def fall_asleep(self, at_unix_s: int | None) -> None:
        """softoff, now or at a moment of its own clock. A moment that has passed does nothing: so does the real one."""
        self._at(at_unix_s, self._sleep)

    def wake_up(self, at_unix_s: int | None) -> None:
        """softon, likewise."""
        self._at(at_unix_s, self._wake)

    def _notice_work(self) -> None:
        """Work comes and goes."""
        habit = self.spec.without_work
        if self.faults.no_work and self._dry_since_s is None:
            self._dry_since_s = self._now_s
            if habit.behaviour == "restarts" and self.phase is not Phase.ASLEEP:
                self._after(habit.stale_s, self._give_up)
        elif not self.faults.no_work and self._dry_since_s is not None:
            was_dry, self._dry_since_s = not self._has_job or self._now_s - self._dry_since_s >= habit.stale_s, None
            if was_dry and habit.probe_s:
                self._has_job = False
                self._after(habit.probe_s, self._take_job)
            else:
                self._has_job = True

    def _take_job(self) -> None:
        self._has_job = True

    def _give_up(self) -> None:
        if self.faults.no_work:
            self.reboot()
            self.boot_by = BOOT_BY_POOL_INACTIVE

    def reboot(self) -> None:
        """Boards dark, API away for a while, counters and its last job gone; wakes it from softoff."""
        self._due.clear()
        self.boot_by = BOOT_BY_POWER
        self._has_job, self._dry_since_s = not self.faults.no_work, None
        self._booted_s = self._now_s
        self._silent_until_s = self._now_s + self.spec.silent_s
        self.setting = self._running_setting = self.next_setting
        self.phase, self.soft_off = Phase.STARTING, SOFT_OFF_BOOTING
        self._after(self._draw(self.spec.wake_delay_s), self._start)

    def _sleep(self) -> None:
        self._due.clear()
        self.phase, self.soft_off = Phase.ASLEEP, SOFT_OFF_ASKED

    def _wake(self) -> None:
        if self.phase is Phase.ASLEEP:
            self.phase, self.soft_off = Phase.STARTING, 0
            self._after(self._draw(self.spec.wake_delay_s), self._start)

    def _start(self) -> None:
        self.phase, self.soft_off = Phase.RUNNING, 0
        self._running_setting = self.setting

    def _run_on(self, setting: int) -> None:
        self._running_setting = setting

    def _draw(self, span_s: tuple[float, float]) -> float:
        return self._rng.uniform(*span_s)

    def _at(self, at_unix_s: int | None, happen: Callable[[], None]) -> None:
        if at_unix_s is None:
            happen()
        elif at_unix_s > self.clock_unix_s:
            self._after(at_unix_s - CLOCK_BASE_UNIX_S - self.clock_skew_s - self._now_s, happen)

    def _after(self, delay_s: float, happen: Callable[[], None]) -> None:
        self._due.append((self._now_s + delay_s, happen))
        self._due.sort(key=lambda due: due[0])

    # Its network.

    def telemetry(self) -> str:
        """The MM block it shows: the truth, or what it showed when it froze."""
        if not self.faults.frozen:
            self._frozen_summary = None
            return device_api.summary(self)
        if self._frozen_summary is None:
            self._frozen_summary = device_api.summary(self)
        return self._frozen_summary

    async def serve(
        self,
        address: str,
        port: int,
        *,
        clock: Callable[[], float] | None = None,
        task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Answer on address:port (0 = any; the port is reported) until cancelled.

        With `clock` it lives up to that time before each answer; without, whoever owns time calls `advance`.
        """
        listeners = await trio.open_tcp_listeners(port, host=address)

        async def handle(stream: trio.SocketStream) -> None:
            await self.handle(stream, clock)

        task_status.started(listeners[0].socket.getsockname()[1])
        await trio.serve_listeners(handle, listeners)

    async def handle(self, stream: trio.abc.Stream, clock: Callable[[], float] | None = None) -> None:
        """One connection: one request, one answer."""
        async with stream:
            try:
                if clock is not None:
                    self.advance(clock())
                if self.faults.is_gone:
                    return
                request = await stream.receive_some(4_096)
                if self.is_silent:
                    await stream.receive_some(1)  # until the caller has had enough
                    return
                answer = device_api.answer(self, bytes(request))
                if answer:
                    await stream.send_all(answer)
            except (trio.BrokenResourceError, OSError):
                return
