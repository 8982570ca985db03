"""What a new process must know of the one before it: interlocks that somebody must acknowledge, and what took hours to learn.

Pure: a snapshot is taken of the parts' states, and put back into them. What guards machines is believed however old it is; what was
learned only while it is young and fits the site. Nothing here moves a unit: levels are read from the machines, demands and stops
have rows of their own. When it is written and read is `keeping`'s business.
"""

import hashlib
import math
from collections.abc import Iterable

import msgspec

from proxy import config
from proxy.heat import arbitrate, interlocks, model, observe, planning, safety, wear
from proxy.heat.acting import FleetPort
from proxy.heat.alarms import Alarm, Alarms
from proxy.heat.delivery import Delivery
from proxy.heat.policies import Policies
from proxy.units import wear as units_wear

VERSION = 1
# The plant's efficiency and lag change with the seasons and with works on the pipes.
PLANT_AGE_S = 7 * 86_400.0
# Power against nameplate, loop meters against their units, hot machines, the rung: a matter of the hour.
FLEET_AGE_S = 3_600.0
# No meter and no fleet is further off than this.
LEAST_RATIO, MOST_RATIO = 0.2, 5.0


class Loop(msgspec.Struct, frozen=True, gc=False):
    """One loop's interlock. Times are unix seconds, None where nothing ever happened."""

    state: interlocks.LoopState
    base_w: float
    part: float
    moved_unix_s: float | None
    trips_unix_s: list[float]
    is_locked: bool


class Latched(msgspec.Struct, frozen=True, gc=False):
    """An alarm that waits to be acknowledged."""

    text: str
    severity: int
    since_unix_s: float


class Guarding(msgspec.Struct, frozen=True):
    """What guards machines: believed at any age."""

    loops: dict[str, Loop]
    latched: dict[str, Latched]


class Fleet(msgspec.Struct, frozen=True):
    """What is known of the machines together. `ratios`: loop meters against units; `ceilings`: of units that were too hot."""

    fit: str
    correction: float | None
    ratios: dict[str, float]
    ceilings: dict[str, int]
    models_with_outlet: list[str]
    rung: arbitrate.Rung


class Worn(msgspec.Struct, frozen=True):
    """Hours at full power and starts by unit, level changes a unit and day (filtered), and when units near rest were moved."""

    hours: dict[str, float]
    starts: dict[str, int]
    changes_per_day: float
    known_s: float
    moves_unix_s: dict[str, list[float]] = {}


class Snapshot(msgspec.Struct, frozen=True):
    """All of it. `plant_fit`: digest of what `plant` depends on; `machines`: dwell times and starts of units."""

    guarding: Guarding
    plant_fit: str
    plant: model.Learned
    fleet: Fleet
    worn: Worn
    machines: dict[str, units_wear.Kept] = {}


class Parts(msgspec.Struct, frozen=True):
    """Those whose states are kept. `plant_fit`, `fleet_fit`: digests of what makes the learned numbers comparable."""

    policies: Policies
    loops: dict[str, interlocks.LoopMemory]
    alarms: Alarms
    docket: arbitrate.Docket
    memory: planning.Memory
    observed: observe.State
    delivery: Delivery
    units: frozenset[str]
    fleet: FleetPort
    plant_fit: str
    fleet_fit: str


def digest(*facts: object) -> str:
    """A short name of some facts: the same facts, the same name, in every process."""
    return hashlib.sha256(msgspec.json.encode(facts)).hexdigest()[:16]


def plant_fit(site: config.SiteConfig) -> str:
    """Of what efficiency and lag depend on: what they are relative to, the loops, and the meters at the boundary."""
    heat = site.heat
    meters = [meter for meter in site.meters if meter.place == "boundary"]
    return digest(heat.thermal_efficiency, heat.plant_tau_s, sorted({unit.loop for unit in site.units}), meters)


def fleet_fit(site: config.SiteConfig) -> str:
    """Of what power against nameplate depends on: the levels of the models in use."""
    used = sorted({unit.model for unit in site.units})
    return digest([(name, [level.power_w for level in site.models[name].levels]) for name in used])


def take(parts: Parts, now_s: float, now_unix_s: float) -> Snapshot:
    """The state of all parts now."""
    return Snapshot(
        guarding=guarding(parts, now_s, now_unix_s),
        plant_fit=parts.plant_fit,
        plant=model.learned(parts.delivery.plant, parts.delivery.policy),
        fleet=Fleet(
            fit=parts.fleet_fit,
            correction=parts.observed.correction,
            ratios=dict(parts.observed.unseen.ratio),
            ceilings={unit: known.ceiling for unit, known in parts.memory.limits.units.items() if known.ceiling is not None},
            models_with_outlet=sorted(parts.memory.limits.models_with_outlet),
            rung=parts.docket.rung,
        ),
        worn=Worn(
            hours={unit: round(hours, 3) for unit, hours in parts.memory.worn.hours.items()},
            starts=dict(parts.memory.worn.starts),
            changes_per_day=parts.memory.worn.changes_per_day,
            known_s=parts.memory.worn.known_s,
            moves_unix_s=_moves(parts, now_unix_s - now_s),
        ),
        machines={unit: kept for unit, known in parts.fleet.worn().items() if (kept := known.kept(now_unix_s - now_s)) is not None},
    )


def guarding(parts: Parts, now_s: float, now_unix_s: float) -> Guarding:
    """What guards machines, by itself."""
    ahead_s = now_unix_s - now_s
    loops = {
        name: Loop(
            state=known.state,
            base_w=known.base_w,
            part=known.part,
            moved_unix_s=known.moved_s + ahead_s if math.isfinite(known.moved_s) else None,
            trips_unix_s=[trip_s + ahead_s for trip_s in known.trips_s],
            is_locked=known.is_locked,
        )
        for name, known in parts.loops.items()
    }
    latched = {
        name: Latched(alarm.text, alarm.severity, alarm.since_s + ahead_s)
        for name, alarm in parts.alarms.known.items()
        if alarm.is_latched
    }
    return Guarding(loops, latched)


def what_guards(parts: Parts) -> tuple[object, ...]:
    """Changes whenever something does that must not be lost by a crash; cheap, for every second."""
    loops = tuple(
        (name, known.state, known.part, known.is_locked, len(known.trips_s))
        for name, known in parts.loops.items()
        if known.state is not interlocks.LoopState.RUNNING or known.is_locked or known.trips_s
    )
    return *loops, *(name for name, alarm in parts.alarms.known.items() if alarm.is_latched)


def recall(parts: Parts, kept: Snapshot, age_s: float, now_s: float, now_unix_s: float) -> list[str]:
    """Put a snapshot that is `age_s` old back into the parts; what was not believed, and why. Once, before the first cycle."""
    ignored = _recall_loops(parts, kept.guarding, now_s, now_unix_s)
    _recall_wear(parts, kept.worn, age_s, now_s, now_unix_s)
    for unit, known in parts.fleet.worn().items():
        if unit in kept.machines:
            known.recall(kept.machines[unit], now_s, now_unix_s)
    if age_s > PLANT_AGE_S:
        ignored.append(f"efficiency and lag: {age_s / 86_400:.0f} days old")
    elif kept.plant_fit != parts.plant_fit:
        ignored.append("efficiency and lag: efficiency, lag, loops or boundary meters of the site file have changed")
    else:
        parts.delivery.remember(kept.plant)
    if age_s > FLEET_AGE_S:
        ignored.append(f"power against nameplate: {age_s / 3_600:.1f} h old")
    elif kept.fleet.fit != parts.fleet_fit:
        ignored.append("power against nameplate: the levels of the site file have changed")
    else:
        _recall_fleet(parts, kept.fleet, now_s)
    return ignored


def _recall_loops(parts: Parts, kept: Guarding, now_s: float, now_unix_s: float) -> list[str]:
    def then_s(unix_s: float) -> float:
        # A clock that went back makes nothing happen in the future.
        return now_s - max(0.0, now_unix_s - unix_s)

    for name, loop in kept.loops.items():
        if name not in parts.policies.loops:
            continue
        known = parts.loops.setdefault(name, interlocks.LoopMemory())
        known.state, known.is_locked = loop.state, loop.is_locked
        known.base_w, known.part = max(0.0, loop.base_w), min(max(loop.part, 0.0), 1.0)
        known.moved_s = -math.inf if loop.moved_unix_s is None else then_s(loop.moved_unix_s)
        known.trips_s.extend(then_s(at_unix_s) for at_unix_s in loop.trips_unix_s)
    for name, alarm in kept.latched.items():
        parts.alarms.known.setdefault(
            name, Alarm(alarm.text, alarm.severity, then_s(alarm.since_unix_s), is_latched=True, is_standing=False)
        )
    gone = kept.loops.keys() - parts.policies.loops.keys()
    return [f"loops that are no more: {', '.join(sorted(gone))}"] if gone else []


def _moves(parts: Parts, ahead_s: float) -> dict[str, list[float]]:
    """Of units that have used up half of their changes: the others are far from their rest, and a snapshot stays small."""
    worn = parts.memory.worn
    return {unit: [at_s + ahead_s for at_s in moves] for unit, moves in worn.moves_s.items() if 2 * len(moves) >= worn.most_per_day}


def _recall_wear(parts: Parts, kept: Worn, age_s: float, now_s: float, now_unix_s: float) -> None:
    worn = parts.memory.worn
    worn.hours = {unit: hours for unit, hours in kept.hours.items() if unit in parts.units and hours >= 0.0}
    worn.starts = {unit: starts for unit, starts in kept.starts.items() if unit in parts.units and starts >= 0}
    worn.changes_per_day = max(0.0, kept.changes_per_day) * math.exp(-max(0.0, age_s) / wear.BUDGET_TAU_S)
    worn.known_s = kept.known_s
    for unit, moves in kept.moves_unix_s.items():
        if unit in parts.units:
            for at_unix_s in moves:
                wear.moved(worn, unit, now_s - max(0.0, now_unix_s - at_unix_s))


def _recall_fleet(parts: Parts, kept: Fleet, now_s: float) -> None:
    observed, limits = parts.observed, parts.memory.limits
    if kept.correction is not None:
        most = parts.policies.fleet.max_correction
        observed.correction = min(max(kept.correction, 1.0 - most), 1.0 + most)
    observed.unseen.ratio = dict(_believable(kept.ratios.items(), parts.policies.loops.keys()))
    limits.models_with_outlet.update(kept.models_with_outlet)
    for unit, ceiling in kept.ceilings.items():
        if unit in parts.units:
            # Its time to cool counts from now.
            limits.units[unit] = safety.UnitMemory(ceiling=max(0, ceiling), changed_s=now_s)
    if kept.rung in (arbitrate.Rung.FALLBACK, arbitrate.Rung.LIMIT, arbitrate.Rung.STOP):
        # Upward must be proven, in the next process too.
        parts.docket.rung = kept.rung


def _believable(ratios: Iterable[tuple[str, float]], loops: Iterable[str]) -> list[tuple[str, float]]:
    known = set(loops)
    return [(name, ratio) for name, ratio in ratios if name in known and LEAST_RATIO <= ratio <= MOST_RATIO]
