"""What a scenario file says: the site, the plant as it really is, the day, and what goes wrong when.

Reading and checking only; a scenario runs nothing. The site's tables ([heat], [models.NAME], [[meters]]) are those of a site
file, so that what was tuned here can be pasted there.
"""

import datetime
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from proxy import config
from proxy.checks.load import load_site
from proxy.checks.report import Report
from proxy.checks.shape import walk
from proxy.errors import ConfigError
from proxy.sim.plant import PlantSpec
from proxy.sim.tank import TankSpec
from proxy.sim.twin.machines import MachineSpec
from proxy.sim.twin.room import RoomSpec
from proxy.sim.twin.weather import PriceSpec, WeatherSpec

SCENARIOS = Path(__file__).resolve().parents[1] / "scenarios"

# Every fault that a scenario may have, with what `value` means for it (docs/reference/scenarios.md explains each).
FaultKind = Literal[
    "meter_lost",
    "meter_stuck",
    "meter_lying",
    "meter_jumps",
    "meter_nonsense",
    "signal_lost",
    "signal_nonsense",
    "signal_replayed",
    "signal_oscillates",
    "second_master",
    "demand_step",
    "units_dead",
    "units_mute",
    "units_ignore",
    "units_pretend",
    "units_refuse",
    "units_calibrate",
    "units_blind",
    "units_lie",
    "units_stuck",
    "loop_trip",
    "pump_fails",
    "exchanger_fouls",
    "emergency_stop",
    "import_limit",
    "manual_limit",
    "control_restarts",
    "control_stops",
]


class Header(config.Table, frozen=True, kw_only=True):
    """[scenario]"""

    title: Annotated[str, Meta(min_length=1, max_length=120, description="one line")]
    about: Annotated[str, Meta(max_length=2_000, description="what it shows")] = ""
    hours: Annotated[float, Meta(gt=0, le=240, description="virtual time")] = 24.0
    seed: Annotated[int, Meta(ge=0, description="the same seed is the same run")] = 1
    step_s: Annotated[float, Meta(ge=1, le=10, description="of machines and water")] = 5.0
    start: Annotated[str, Meta(max_length=32, description="wall clock at the start, RFC 3339 with a zone")] = "2026-01-15T00:00:00Z"
    site: (
        Annotated[str, Meta(description="site file, relative to this one; absent: [fleet] and the site's tables are here")] | None
    ) = None


class FleetSpec(config.Table, frozen=True, kw_only=True):
    """[fleet]: as many equal units in equal loops."""

    units: Annotated[int, Meta(ge=1, le=10_000, description="all of them")]
    loops: Annotated[int, Meta(ge=1, le=64, description="named L1, L2, ...; units are dealt out evenly")] = 4
    model: Annotated[str, Meta(description="a [models.NAME]")]


class DemandSpec(config.Table, frozen=True, kw_only=True):
    """[demand]: what the utility asks, in blocks."""

    kind: Annotated[
        Literal["outdoor", "constant", "room", "supply"],
        Meta(
            description="outdoor: the district's load; constant: peak_w all the time; room: the thermostat of [room]; "
            "supply: supply_c is asked for, and the load draws what it needs"
        ),
    ] = "outdoor"
    peak_w: Annotated[float, Meta(ge=0, description="design heat load; the real one follows weather and hour")] = 0.0
    most_w: Annotated[float, Meta(gt=0, description="never asks for more: a boiler makes the rest")] | None = None
    supply_c: Annotated[float, Meta(ge=30, le=110, description="supply temperature asked for, kind supply")] = 75.0
    block_s: Annotated[float, Meta(ge=30, le=3_600, description="a new set-point that often")] = 900.0
    notice_s: Annotated[float, Meta(ge=0, le=86_400, description="a block is sent so long before it begins")] = 0.0
    valid_s: Annotated[float, Meta(ge=60, le=86_400, description="and is valid so long from its begin")] = 1_800.0
    alive_s: Annotated[float, Meta(ge=1, le=3_600, description="the set-point in force is sent again that often")] = 60.0


class PlantTable(config.Table, frozen=True, kw_only=True):
    """[plant]: the water side as it really is. Heat control is told none of it."""

    efficiency: Annotated[float, Meta(gt=0, le=1, description="heat into the water per wall power")] = 0.94
    mass_kg: Annotated[float, Meta(gt=0, le=1_000, description="water equivalent of one unit's part of its loop")] = 25.0
    flow_l_per_min: Annotated[float, Meta(gt=0, le=100, description="through one unit")] = 8.0
    approach_k: Annotated[float, Meta(gt=0, le=30, description="exchanger's UA is a unit's nominal power over this")] = 3.0
    return_c: Annotated[float, Meta(ge=5, le=80, description="water coming back from the network")] = 45.0
    supply_c: Annotated[float, Meta(ge=20, le=110, description="network supply at nominal power and flow")] = 75.0
    network: Annotated[
        Literal["constant", "valve", "supply", "load"],
        Meta(description="network flow: constant, by a self-acting valve, pumped to hold supply_c, or as customers draw"),
    ] = "constant"
    pipe_delay_s: Annotated[float, Meta(ge=0, le=3_600, description="from exchangers to the boundary meter")] = 30.0
    meter_lag_s: Annotated[float, Meta(ge=1, le=600, description="of the heat meters")] = 10.0
    meter_noise: Annotated[float, Meta(ge=0, le=0.2, description="one sigma of a meter's reading, relative")] = 0.005
    meter_period_s: Annotated[float, Meta(ge=1, le=600, description="a reading that often")] = 10.0
    loop_meters: Annotated[bool, Meta(description="a heat meter on every loop, too")] = True


class Wear(config.Table, frozen=True, kw_only=True):
    """[failures]: units that die by themselves."""

    dead_every_s: Annotated[float, Meta(ge=0, description="a unit dies that often; 0: none does")] = 0.0
    repaired_after_s: Annotated[float, Meta(gt=0, description="and is back after so long")] = 14_400.0


class Fault(config.Table, frozen=True, kw_only=True):
    """[[faults]]"""

    kind: FaultKind
    at_s: Annotated[float, Meta(ge=0, description="from the start")]
    for_s: Annotated[float, Meta(gt=0, description="absent: to the end")] | None = None
    part: Annotated[float, Meta(gt=0, le=1, description="of the units (or of the loop's)")] = 0.05
    loop: Annotated[str, Meta(description="a loop's name")] | None = None
    value: Annotated[float, Meta(description="factor, limit in W, or part, by kind")] | None = None


class Scenario(config.Table, frozen=True, kw_only=True):
    """The whole file, with the site it is for."""

    scenario: Header
    fleet: FleetSpec | None = None
    models: dict[str, config.Model] = {}
    loops: Annotated[list[config.Loop], Meta(max_length=64)] = []
    heat: config.Heat = config.Heat()
    demand: DemandSpec = DemandSpec()
    weather: WeatherSpec = WeatherSpec()
    prices: PriceSpec = PriceSpec()
    plant: PlantTable = PlantTable()
    machines: MachineSpec = MachineSpec()
    tank: TankSpec | None = None
    room: RoomSpec | None = None
    failures: Wear = Wear()
    faults: Annotated[list[Fault], Meta(max_length=1_000)] = []


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """A scenario that can run: `site` is complete, `path` is where it came from."""

    name: str
    path: Path
    scenario: Scenario
    site: config.SiteConfig


def shipped() -> list[Path]:
    """The scenarios that come with the program, by name."""
    return sorted(SCENARIOS.glob("*.toml"))


def find(name: str) -> Path:
    """A path, or the name of a shipped scenario. Raises ConfigError naming those there are."""
    path = Path(name)
    if path.suffix == ".toml" and path.exists():
        return path
    known = {each.stem: each for each in shipped()}
    if path.stem in known and len(path.parts) == 1:
        return known[path.stem]
    raise ConfigError([f"{name}: there is no such file, and no shipped scenario of this name ({', '.join(known)})"])


def load(path: Path) -> Loaded:
    """Read and check a scenario. Raises ConfigError with one line a mistake."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: cannot be read: {error}"]) from error
    try:
        document = msgspec.toml.decode(text)
    except msgspec.DecodeError as error:
        raise ConfigError([f"{path.name}: is not TOML: {error}"]) from error
    report = Report(path, text)
    walk(document, Scenario, report)
    if report.problems:
        raise ConfigError(report.problems)
    try:
        scenario = msgspec.convert(document, Scenario)
    except msgspec.ValidationError as error:
        raise ConfigError([f"{path.name}: {error}"]) from error
    return complete(path.stem, scenario, path)


def complete(name: str, scenario: Scenario, path: Path = Path()) -> Loaded:
    """Give a scenario its site. Raises ConfigError for what does not fit together."""
    if scenario.scenario.site is not None:
        site = load_site(path.parent / scenario.scenario.site).config
    else:
        site = _site_of(name, scenario)
    problems = _problems(path.name or name, scenario, site)
    if problems:
        raise ConfigError(problems)
    return Loaded(name=name, path=path, scenario=scenario, site=site)


def plant_of(loaded: Loaded) -> PlantSpec:
    """The water side for this site."""
    table, site = loaded.scenario.plant, loaded.site
    sizes = dict.fromkeys(loop_names(site), 0)
    for unit in site.units:
        sizes[unit.loop] += 1
    nominal_w = sum(_nominal_w(site.models[unit.model]) for unit in site.units) / len(site.units)
    return PlantSpec(
        loops=tuple(sizes),
        units_per_loop=max(sizes.values()),
        sizes=tuple(sizes.values()),
        unit_power_w=nominal_w,
        efficiency=table.efficiency,
        mass_kg=table.mass_kg,
        flow_l_per_min=table.flow_l_per_min,
        approach_k=table.approach_k,
        return_c=table.return_c,
        nominal_supply_c=table.supply_c,
        valve_closed_c=table.supply_c - 10.0,
        valve_open_c=table.supply_c,
        pipe_delay_s=table.pipe_delay_s,
        meter_lag_s=table.meter_lag_s,
        meter_noise=table.meter_noise,
        network=table.network,
    )


def start_unix_s(scenario: Scenario) -> float:
    """Wall clock at the start. Raises ConfigError."""
    try:
        moment = datetime.datetime.fromisoformat(scenario.scenario.start)
    except ValueError as error:
        raise ConfigError([f"scenario.start: {error}; write 2026-01-15T00:00:00Z"]) from error
    if moment.tzinfo is None:
        raise ConfigError(["scenario.start: names no time zone; write 2026-01-15T00:00:00Z"])
    return moment.timestamp()


def loop_names(site: config.SiteConfig) -> list[str]:
    """Loops that have units, in order."""
    used = {unit.loop for unit in site.units}
    return [
        name for name in dict.fromkeys([*(loop.name for loop in site.loops), *(unit.loop for unit in site.units)]) if name in used
    ]


def _nominal_w(model: config.Model) -> float:
    """The level nearest below any boost: plants are sized by it."""
    return model.levels[-2].power_w if len(model.levels) > 1 and "boost" in model.levels[-1].name else model.levels[-1].power_w


def _site_of(name: str, scenario: Scenario) -> config.SiteConfig:
    fleet = scenario.fleet
    if fleet is None:
        raise ConfigError([f"{name}: [fleet] is needed (or scenario.site, the site file to run)"])
    if fleet.model not in scenario.models:
        known = ", ".join(scenario.models) or "none"
        raise ConfigError([f"{name}: fleet.model: there is no [models.{fleet.model}] (there is {known})"])
    per_loop = -(-fleet.units // fleet.loops)
    units = [
        config.Unit(
            id=f"L{k // per_loop + 1}-{k % per_loop + 1:03d}",
            address=f"10.{k // 62_500 % 250}.{k // 250 % 250}.{k % 250 + 1}",
            model=fleet.model,
            loop=f"L{k // per_loop + 1}",
        )
        for k in range(fleet.units)
    ]
    loops = scenario.loops or [config.Loop(name=f"L{k + 1}") for k in range(fleet.loops)]
    # Nobody asks these addresses: the twin hands readings over under the meters' names.
    meters = [
        config.Meter(name=f"meter-{loop.name}", place=loop.name, address=f"10.255.0.{k + 1}:502") for k, loop in enumerate(loops)
    ]
    return config.SiteConfig(
        site=config.Site(name=name),
        # Nobody mines in the twin; a site file must name a pool.
        pools=[config.Pool(name="none", url="stratum+tcp://127.0.0.1:1", user="nobody")],
        loops=loops,
        models=scenario.models,
        units=units,
        heat=scenario.heat,
        meters=meters if scenario.plant.loop_meters else [],
    )


def _problems(name: str, scenario: Scenario, site: config.SiteConfig) -> list[str]:
    problems = []
    if not site.units:
        problems.append(f"{name}: the site has no units: there is nothing to simulate")
    if scenario.demand.kind == "room" and scenario.room is None:
        problems.append(f'{name}: demand.kind = "room" needs a [room]')
    if scenario.demand.kind != "room" and scenario.demand.peak_w <= 0:
        problems.append(f"{name}: demand.peak_w must be above 0 (the design heat load in watts)")
    if scenario.demand.kind == "supply" and scenario.plant.network != "load":
        problems.append(f'{name}: demand.kind = "supply" needs plant.network = "load": customers draw, we hold the temperature')
    names = loop_names(site)
    for k, fault in enumerate(scenario.faults):
        if fault.loop is not None and fault.loop not in names:
            problems.append(f"{name}: faults[{k}].loop: there is no loop {fault.loop} (there are {', '.join(names)})")
        if fault.kind in ("loop_trip", "pump_fails", "exchanger_fouls") and fault.loop is None:
            problems.append(f"{name}: faults[{k}]: {fault.kind} needs a loop")
        if fault.kind in ("import_limit", "manual_limit") and fault.value is None:
            problems.append(f"{name}: faults[{k}]: {fault.kind} needs a value in watts")
    return problems
