"""A plant in miniature for the heat tests: units with ramps and spread, a fleet port that re-sends lost commands, a ledger."""

import random
from collections.abc import Callable

import msgspec
import pytest

from proxy import config
from proxy.events import EventLog
from proxy.heat.control import HeatControl
from proxy.heat.demand import HeatDemand
from proxy.ledger.records import CommandRecord, DemandRecord, EnergyRecord, MemoryRecord, SetpointRecord
from proxy.units.unit import LevelFact, ProvenPower, UnitImage, UnitState
from proxy.units.wear import Wear
from tests.support.plans import make_image as settled_image

START_UNIX_S = 1_768_435_200.0  # a quarter hour begins
NAMEPLATE_W = 8_064.0
POWER = (0.55, 0.70, 0.85, 1.0, 1.08)
HASHRATE = (0.62, 0.765, 0.885, 1.0, 1.05)
LEVELS = (
    LevelFact(15.0, 0.0),
    *(LevelFact(NAMEPLATE_W * p, 480e12 * h) for p, h in zip(POWER, HASHRATE, strict=True)),
)
RESEND_S = 30.0


def make_image(k: int = 0, **facts: object) -> UnitImage:
    """A settled unit on level 4 of this plant that draws what its level says; any field can be given."""
    image = settled_image(k, **{"levels": LEVELS, **facts})
    if "power_w" in facts:
        return image
    level = image.level_observed
    return msgspec.structs.replace(image, power_w=None if level is None else image.levels[level].power_w)


class Unit:
    """One machine: goes to its level by a ramp, after a delay, unless the command is lost."""

    def __init__(self, k: int, loop: str, level: int, factor: float) -> None:
        self.id = f"u{k}"
        self.loop = loop
        self.level = level
        self.commanded: int | None = None
        self.factor = factor
        self.power_w = LEVELS[level].power_w * factor
        self.arrives: tuple[float, int] | None = None
        self.sent_s = 0.0
        self.changed_at_s: float | None = None
        self.starts = 0
        self.dead = False
        self.in_service = False
        self.outlet_c: float | None = 70.0
        self.proven: ProvenPower | None = None

    def advance(self, now_s: float, dt_s: float) -> None:
        if self.arrives is not None and now_s >= self.arrives[0]:
            self.level = self.arrives[1]
            self.arrives = None
        goal_w = 0.0 if self.dead or self.in_service else LEVELS[self.level].power_w * self.factor
        up_w, down_w = NAMEPLATE_W / 240 * dt_s, NAMEPLATE_W / 20 * dt_s
        self.power_w += min(max(goal_w - self.power_w, -down_w), up_w)

    def is_settled(self) -> bool:
        goal_w = LEVELS[self.level].power_w * self.factor
        return self.commanded in (None, self.level) and abs(self.power_w - goal_w) < 1.0


class TestFleet:
    """Units behind the port that heat control sees. Lost commands are sent again after a read-back, as the real fleet does."""

    __test__ = False

    def __init__(
        self,
        count: int,
        *,
        loops: int = 4,
        level: int = 4,
        bias: float = 1.05,
        spread: float = 0.03,
        lost: float = 0.01,
        seed: int = 1,
    ) -> None:
        self.rng = random.Random(seed)
        names = "abcdefgh"
        self.units = [Unit(k, names[k % loops], level, bias * self.rng.gauss(1.0, spread)) for k in range(count)]
        self.by_id = {unit.id: unit for unit in self.units}
        self.lost = lost
        self.swept_all = True
        self.min_dwell_s = 300.0
        self.now_s = 0.0
        self.commands: list[tuple[float, str, int, bool]] = []

    def advance(self, now_s: float, step_s: float = 5.0) -> None:
        while self.now_s < now_s:
            self.now_s += step_s
            for unit in self.units:
                is_lost = unit.commanded not in (None, unit.level) and unit.arrives is None
                if is_lost and self.now_s - unit.sent_s >= RESEND_S:
                    self._send(unit)
                unit.advance(self.now_s, step_s)

    def total_w(self) -> float:
        return sum(unit.power_w for unit in self.units)

    def image(self, now_s: float) -> tuple[UnitImage, ...]:
        return tuple(self._image(unit) for unit in self.units)

    def _image(self, unit: Unit) -> UnitImage:
        silent = unit.dead or unit.in_service
        dwell_s = 0.0 if unit.changed_at_s is None else unit.changed_at_s + self.min_dwell_s
        if unit.in_service:
            state = UnitState.SERVICE
        elif unit.dead:
            state = UnitState.OFFLINE
        elif not unit.is_settled():
            state = UnitState.RAMPING
        else:
            state = UnitState.RUN if unit.level else UnitState.SLEEPING
        return make_image(
            id=unit.id,
            loop=unit.loop,
            state=state,
            level_commanded=unit.commanded,
            level_observed=None if silent else unit.level,
            power_w=None if silent else unit.power_w,
            outlet_c=None if silent else unit.outlet_c,
            changed_at_s=unit.changed_at_s,
            may_command=not silent,
            earliest_change_s=dwell_s,
            starts_today=unit.starts,
            proven=unit.proven,
        )

    def worn(self) -> dict[str, Wear]:
        return {}

    def command(self, unit_id: str, level: int, reason: str, now_s: float, *, urgent: bool = False) -> str | None:
        unit = self.by_id[unit_id]
        self.commands.append((now_s, unit_id, level, urgent))
        if unit.in_service or unit.dead:
            return "in service" if unit.in_service else "it gives no answer"
        if not urgent and unit.changed_at_s is not None and now_s < unit.changed_at_s + self.min_dwell_s:
            return "dwell"
        if unit.level == 0 and level > 0:
            unit.starts += 1
        unit.commanded = level
        unit.changed_at_s = now_s
        self._send(unit)
        return None

    def _send(self, unit: Unit) -> None:
        unit.sent_s = self.now_s
        if self.rng.random() >= self.lost and unit.commanded is not None:
            unit.arrives = (self.now_s + self.rng.uniform(3, 15), unit.commanded)


class TestLedger:
    """Keeps what it is given."""

    __test__ = False

    def __init__(self, demands: dict[str, DemandRecord] | None = None) -> None:
        self.demands: list[DemandRecord] = []
        self.setpoints: list[SetpointRecord] = []
        self.commands: list[CommandRecord] = []
        self.energies: list[EnergyRecord] = []
        self._newest = dict(demands or {})
        self.kept: dict[str, MemoryRecord] = {}
        self.takes_memories = True

    def record_demand(self, record: DemandRecord) -> bool:
        self.demands.append(record)
        if record.accepted:
            self._newest[record.source] = record
        return True

    def record_setpoint(self, record: SetpointRecord) -> bool:
        self.setpoints.append(record)
        return True

    def record_command(self, record: CommandRecord) -> bool:
        self.commands.append(record)
        return True

    def record_energy(self, record: EnergyRecord) -> bool:
        self.energies.append(record)
        return True

    def record_memory(self, record: MemoryRecord) -> bool:
        if self.takes_memories:
            self.kept[record.name] = record
        return self.takes_memories

    def memories(self) -> dict[str, MemoryRecord]:
        return dict(self.kept)

    def newest_demands(self) -> dict[str, DemandRecord]:
        return dict(self._newest)

    def planned_demands(self) -> list[DemandRecord]:
        return [record for record in self.demands if record.accepted]


class Rig:
    """Control and plant on one virtual clock; wall time is START_UNIX_S + the monotonic time."""

    def __init__(self, fleet: TestFleet, ledger: TestLedger | None = None, **heat: object) -> None:
        self.fleet = fleet
        self.ledger = ledger or TestLedger()
        self.heat = config.Heat(**heat)  # type: ignore[arg-type]  # keywords of the table
        self.loop_caps: dict[str, float] = {}
        self.meters: list[config.Meter] = []
        self.sequence = 0
        self.now_s = fleet.now_s
        self.events = EventLog(self.wall)
        self.control = self.restart()

    def wall(self) -> float:
        return START_UNIX_S + self.now_s

    def restart(self) -> HeatControl:
        """A new process on the same plant and ledger."""
        model = config.Model(
            levels=[config.Level(name=f"l{k}", power_w=f.power_w, hashrate_hps=f.hashrate_hps) for k, f in enumerate(LEVELS) if k]
        )
        site = config.SiteConfig(
            pools=[config.Pool(name="p", url="stratum+tcp://pool:3333", user="x")],
            loops=[config.Loop(name=name, max_power_w=self.loop_caps.get(name)) for name in "abcd"],
            models={"m": model},
            meters=self.meters,
            units=[config.Unit(id=u.id, address="10.0.0.1", model="m", loop=u.loop) for u in self.fleet.units],
            heat=self.heat,
        )
        self.control = HeatControl(site, self.fleet, self.ledger, self.events, self.wall)
        return self.control

    def demand(self, power_w: float, validity_s: float = 86_000.0, starts_in_s: float = 0.0, **fields: object) -> HeatDemand:
        self.sequence += 1
        now = self.wall()
        values: dict[str, object] = {
            "source": "utility",
            "epoch": 0,
            "sequence": self.sequence,
            "issued_unix_s": now,
            "valid_from_unix_s": now + starts_in_s,
            "valid_until_unix_s": now + starts_in_s + validity_s,
            "power_w": power_w,
        }
        values.update(fields)
        return HeatDemand(**values)  # type: ignore[arg-type]  # keywords of the record

    def ask(self, power_w: float, **fields: object) -> object:
        return self.control.submit_demand(self.demand(power_w, **fields), self.wall())  # type: ignore[arg-type]  # ditto

    def run(self, seconds: float) -> list[float]:
        """Cycle for so long; the fleet's real power after each cycle."""
        powers = []
        until_s = self.now_s + seconds
        while self.now_s < until_s:
            self.control.tick(self.now_s, self.wall())
            self.now_s += self.heat.control_period_s
            self.fleet.advance(self.now_s)
            powers.append(self.fleet.total_w())
        return powers


@pytest.fixture
def image() -> Callable[..., UnitImage]:
    return make_image


@pytest.fixture(scope="session")
def levels() -> tuple[LevelFact, ...]:
    return LEVELS


@pytest.fixture
def rig() -> Callable[..., Rig]:
    """`rig(count, fleet={...}, ledger=..., **heat)`."""

    def make(count: int, fleet: dict[str, object] | None = None, ledger: TestLedger | None = None, **heat: object) -> Rig:
        return Rig(TestFleet(count, **(fleet or {})), ledger, **heat)  # type: ignore[arg-type]  # keywords of the fakes

    return make
