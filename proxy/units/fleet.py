"""All units of the site: the heat cycle's picture of them, and the one door through which they are commanded.

It runs one actor a unit and keeps the learned serials. It decides no level: that is heat's.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import structlog
import trio

from proxy import config
from proxy.errors import StoreError
from proxy.events import EventLog, Fact
from proxy.units.actor import Lanes, Shared, UnitActor
from proxy.units.drivers.base import Connect
from proxy.units.drivers.link import connect_tcp
from proxy.units.drivers.registry import make_driver
from proxy.units.identity import SerialBook, save
from proxy.units.image import image_of
from proxy.units.inventory import Inventory
from proxy.units.lifecycle import UnitLife
from proxy.units.pace import Pace
from proxy.units.trials import Trials
from proxy.units.unit import ProvenPower, UnitImage, UnitState
from proxy.units.wear import Wear
from proxy.views import UnitView

log = structlog.get_logger()

# Measured: 1,000 units in 0.6 s of wall time at 64; more in flight only waits for the same CPU.
SWEEP_IN_FLIGHT = 64
# An emergency must reach 920 units in 2 s, also when half of them fell silent just now and each holds its place for 4 s.
BROADCAST_IN_FLIGHT = 512
SAVE_PERIOD_S = 2.0
# What shares proved so long ago proves nothing any more: whoever counts them has stopped.
PROOF_STALE_S = 60.0


def _ignore(_unit_id: str, _hashrate_hps: float) -> None:
    pass


def _lanes(count: int) -> Lanes:
    """So many for each kind."""
    return Lanes(trio.CapacityLimiter(count), trio.CapacityLimiter(count))


class Fleet:
    """Every method but `run` is a plain call on the trio thread."""

    def __init__(
        self,
        units: list[config.Unit],
        models: dict[str, config.Model],
        heat: config.Heat,
        events: EventLog,
        *,
        connect: Connect = connect_tcp,
        wall_clock: Callable[[], float] = time.time,
        serials_path: Path | None = None,
    ) -> None:
        """Every unit names a model that exists. `serials_path` keeps learned serials over restarts.

        Raises StoreError when that file is broken, ConfigError when a password file cannot be used.
        """
        self.on_commanded: Callable[[str, float], None] = _ignore
        self._proven: Mapping[str, ProvenPower] = {}
        self._proven_at_s = 0.0
        self.inventory = Inventory(units, events, models)
        self._events = events
        self._heat = heat
        self._serials_path = serials_path
        self._book = SerialBook(units)
        if serials_path is not None:
            self._book.load(serials_path)
        self._unswept = {unit.id for unit in units}
        self._scope = trio.CancelScope()
        self._is_stopped = False
        shared = Shared(
            sweep=_lanes(SWEEP_IN_FLIGHT),
            broadcast=_lanes(BROADCAST_IN_FLIGHT),
            pace=Pace(heat.commands_per_s),
            book=self._book,
            period_s=heat.telemetry_period_s,
            on_swept=self._unswept.discard,
            on_bug=self._bug,
        )
        self._lives: dict[str, UnitLife] = {}
        self._starvable: dict[str, UnitLife] = {}
        self._trials = Trials()
        self._actors: dict[str, UnitActor] = {}
        for number, unit in enumerate(units, start=1):
            model = models[unit.model]
            life = UnitLife(unit, model, heat, self._publish, self._announce)
            self._lives[unit.id] = life
            if config.may_starve(model):
                self._starvable[unit.id] = life
            driver = make_driver(unit, model, connect, wall_clock)
            self._actors[unit.id] = UnitActor(life, driver, shared, phase=number / len(units))

    @property
    def ids(self) -> tuple[str, ...]:
        """Every unit, in the order of the configuration."""
        return tuple(self._lives)

    @property
    def swept_all(self) -> bool:
        """Every unit was asked at least once since the start, whatever came of it."""
        return not self._unswept

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Watch and command the units until `stop` or cancellation. A bug in one unit's task never ends the others."""
        if self._is_stopped:
            return
        with trio.CancelScope() as self._scope:
            async with trio.open_nursery() as nursery:
                for unit_id, actor in self._actors.items():
                    nursery.start_soon(actor.run, name=f"unit {unit_id}")
                if self._serials_path is not None:
                    nursery.start_soon(self._keep_serials, self._serials_path, name="learned serials")
                task_status.started()
                await trio.sleep_forever()

    async def stop(self) -> None:
        """End `run` for good. The units keep the levels they have."""
        self._is_stopped = True
        self._scope.cancel()
        if self._serials_path is not None and self._book.is_changed:
            await self._save_serials(self._serials_path)

    def image(self, now_s: float) -> tuple[UnitImage, ...]:
        """What is known of every unit now; what has expired is None. In the order of the configuration."""
        proven = self._fresh_proof(now_s)
        is_open = self._is_open
        return tuple([image_of(life, now_s, is_open, proven.get(unit_id)) for unit_id, life in self._lives.items()])

    def take_proof(self, proven: Mapping[str, ProvenPower], now_s: float) -> None:
        """What shares prove of the units' power, from whoever counts them; it expires."""
        self._proven, self._proven_at_s = proven, now_s

    def command(self, unit_id: str, level: int, reason: str, now_s: float, *, urgent: bool = False) -> str | None:
        """Have a unit go to an absolute level (0 = asleep). None = taken, else why not; taken is not done: see the image.

        The newest command replaces a waiting one; repeating one changes nothing. `urgent` is for safety: it only lowers, heeds
        no dwell and no command rate, and is taken for units that do not answer, too.
        """
        life = self._lives.get(unit_id)
        if life is None:
            return f"no unit {unit_id}"
        if not self._heat.enabled:
            return "heat control is off ([heat] enabled = false): units are watched, not commanded"
        if not urgent and not self.swept_all:
            return f"the first sweep is not done: {len(self._unswept)} units were not asked yet"
        life.expire(now_s)
        refusal = life.command(level, reason, now_s, is_urgent=urgent)
        if refusal is None:
            self._actors[unit_id].nudge()
        return refusal

    def set_service(self, unit_id: str, in_service: bool, note: str) -> str | None:
        """Take a unit out (never commanded until put back, whoever asks) or put it back. None, or why not."""
        life = self._lives.get(unit_id)
        if life is None:
            return f"no unit {unit_id}"
        if in_service:
            life.take_out(note, trio.current_time())
        else:
            self._trials.end(unit_id)
            life.put_back(trio.current_time())
            self._actors[unit_id].read_soon()
        return None

    def withhold(self, unit_id: str, for_s: float | None) -> str | None:
        """Keep work from a unit in service for so long, to see what it does; None gives it back. None when done, or why not.

        It ends by itself, and when the unit is put back, so that nothing that asked for it and died can starve a machine.
        """
        life = self._lives.get(unit_id)
        if life is None:
            return f"no unit {unit_id}"
        if for_s is None:
            self._trials.end(unit_id)
            return None
        if life.state is not UnitState.SERVICE:
            return "it is in heat control: take it out for service first"
        self._trials.begin(unit_id, trio.current_time() + for_s)
        return None

    def accept_serial(self, unit_id: str) -> str | None:
        """Take the machine that now answers for this unit. None, or why not."""
        life = self._lives.get(unit_id)
        if life is None:
            return f"no unit {unit_id}"
        serial = self._book.accept(unit_id)
        if serial is None:
            return "it never told a serial: nothing to accept"
        self._events.publish("unit.serial_accepted", unit=unit_id, serial=serial)
        self._actors[unit_id].read_soon()
        return None

    def clear_fault(self, unit_id: str) -> str | None:
        """An operator has dealt with a fault: take the unit as it is found next. None, or why not."""
        life = self._lives.get(unit_id)
        if life is None:
            return f"no unit {unit_id}"
        life.clear_fault(trio.current_time())
        self._actors[unit_id].read_soon()
        return None

    def worn(self) -> Mapping[str, Wear]:
        """Dwell times and starts of every unit."""
        return {unit_id: life.wear for unit_id, life in self._lives.items()}

    def starved(self) -> frozenset[str]:
        """The units that are to get no work: told to sleep, not obeying, of a model that may starve; and those on trial."""
        disobeying = frozenset(unit_id for unit_id, life in self._starvable.items() if life.is_starved)
        return disobeying | self._trials.units(trio.current_time())

    def views(self, now_s: float) -> list[UnitView]:
        """For people. What only Stratum knows (connected, shares, difficulty) is None, False or 0 here."""
        return [self._view(life, now_s) for life in self._lives.values()]

    def _image(self, life: UnitLife, now_s: float) -> UnitImage:
        return image_of(life, now_s, self._is_open)

    @property
    def _is_open(self) -> bool:
        """Ordinary commands are taken."""
        return self.swept_all and self._heat.enabled

    def _fresh_proof(self, now_s: float) -> Mapping[str, ProvenPower]:
        return self._proven if now_s - self._proven_at_s <= PROOF_STALE_S else {}

    def _view(self, life: UnitLife, now_s: float) -> UnitView:
        image = self._image(life, now_s)
        told = None if image.level_commanded is None else life.levels[image.level_commanded]
        return UnitView(
            id=image.id,
            loop=image.loop,
            model=image.model,
            address=life.unit.address,
            worker=life.unit.worker or life.unit.id,
            serial=self._book.present(image.id) or self._book.expected(image.id),
            state=image.state.name,
            state_since_s=max(0.0, now_s - life.state_since_s),
            in_service=image.state is UnitState.SERVICE,
            fault=image.fault,
            connected=False,
            pool=None,
            level_commanded=image.level_commanded,
            level_observed=image.level_observed,
            power_commanded_w=told.power_w if told else None,
            power_max_w=life.levels[-1].power_w,
            power_w=image.power_w,
            hashrate_expected_hps=told.hashrate_hps if told else None,
            hashrate_reported_hps=image.hashrate_reported_hps,
            hashrate_shares_hps=None,
            difficulty=None,
            inlet_c=image.inlet_c,
            outlet_c=image.outlet_c,
            chip_c=image.chip_c,
            reading_age_s=now_s - life.reading.at_s if life.reading else None,
            share_age_s=None,
            accepted=0,
            rejected=0,
            user_agent=None,
        )

    def _publish(self, name: str, level: str, **facts: Fact) -> None:
        # One decision may move a thousand units: that belongs in the log, not in the ring that people read.
        if level == "debug":
            log.debug(name, **facts)
        else:
            self._events.publish(name, level, **facts)

    def _announce(self, unit_id: str, hashrate_hps: float) -> None:
        self.on_commanded(unit_id, hashrate_hps)

    def _bug(self, unit_id: str, cause: str) -> None:
        self._events.publish("unit.bug", "error", unit=unit_id, cause=cause)

    async def _keep_serials(self, path: Path) -> None:
        while True:
            await trio.sleep(SAVE_PERIOD_S)
            if self._book.is_changed:
                await self._save_serials(path)

    async def _save_serials(self, path: Path) -> None:
        try:
            await trio.to_thread.run_sync(save, path, self._book.encoded())
        except StoreError as problem:
            # Not fatal: a restart would only learn the serials anew. Said again at each try.
            self._book.is_changed = True
            self._events.publish("unit.serials_not_saved", "error", cause=str(problem))
