"""All meters of a site together: which ones are believed now, what they say of a place, and which are lost, stuck or lying.

Pure. A place is "boundary" or the name of a loop. The meter "boundary" is fed by PUT /api/v1/heat/meter and exists on every site;
the others are those of [[meters]], fed by the pollers. A meter that is found wrong is left out at once and named; another one of
its place, or the sum of the loops, stands in. Without any, the answer is None: to estimate from electricity is up to the caller.
"""

from collections.abc import Mapping, Sequence

import msgspec

from proxy.config import Meter, Planner
from proxy.heat.demand import MeterAccepted, MeterReading, MeterRefused
from proxy.heat.meters.counter import CounterWindow, follow, interrupt
from proxy.heat.meters.guard import Fault, MeterMemory, examine
from proxy.heat.meters.peers import outliers, spread
from proxy.heat.meters.tank import TankGauge
from proxy.heat.meters.water import heat_carried_w, mass_flow_kg_s, volume_flow_l_per_min
from proxy.views import MeterView

BOUNDARY = "boundary"
# So many refusals in a row are a fault of the meter, fewer are noise on the line.
REFUSALS_TO_EXCLUDE = 3
# A meter that jumped so often in this time is believed again only when it has been calm for as long.
JUMPS_TO_EXCLUDE = 6
JUMPING_S = 600.0
# The sum of the loops and the boundary, and two meters of one place, may differ by so much for so long.
DISAGREEMENT = 0.10
DISAGREEMENT_S = 300.0


class Measured(msgspec.Struct, frozen=True, gc=False):
    """A power and where it comes from. quality: measured, summed (of the loops' meters) or unknown (then value is None)."""

    value: float | None
    quality: str


UNKNOWN = Measured(None, "unknown")


class Counter(msgspec.Struct, frozen=True, gc=False):
    """An energy counter as it stood when its meter was last believed."""

    meter: str
    at_unix_s: float
    energy_wh: float


class MeterSample(msgspec.Struct, frozen=True, gc=False):
    """What a poller read. `power_w` is heat or electricity, as the meter measures; what the meter does not give is None.

    `tank_c`: the sensors of a storage tank from the top down.
    """

    at_unix_s: float
    power_w: float | None = None
    flow_l_per_h: float | None = None
    supply_c: float | None = None
    return_c: float | None = None
    energy_wh: float | None = None
    tank_c: tuple[float | None, ...] = ()


class Trouble(msgspec.Struct, frozen=True, gc=False):
    """What is wrong. `subject` is "meter NAME", or the places whose meters disagree."""

    subject: str
    kind: str
    reason: str

    def __str__(self) -> str:
        return f"{self.subject} {self.kind}: {self.reason}"


class _Meter(msgspec.Struct):
    """One meter and what is remembered of it."""

    name: str
    place: str
    measures: str
    protocol: str
    capacity_w: float
    memory: MeterMemory
    window: CounterWindow
    answered_unix_s: float | None = None
    failure: str | None = None
    fault: Fault | None = None
    refused_in_row: int = 0
    jumps_unix_s: list[float] = []
    readings: int = 0
    refused: int = 0
    failures: int = 0


class MeterBank:
    """The meters of one site. All methods are plain and never raise for any value; `now_unix_s` is wall-clock time."""

    def __init__(
        self,
        meters: Sequence[Meter],
        loops: Sequence[str] | Mapping[str, float],
        capacity_w: float,
        stale_s: float,
        planner: Planner | None = None,
    ) -> None:
        """`capacity_w`: installed power. `loops` may give each loop's own, which finds absurd and jumping readings better.

        `planner` says what the storage tank is, for the meter that measures it.
        """
        gauges = [TankGauge(meter, planner or Planner(), stale_s) for meter in meters if meter.measures == "tank"]
        self.tank = gauges[0] if gauges else None
        self._loops = tuple(loops)
        self._stale_s = stale_s
        self._capacity_w = capacity_w
        sizes = dict(loops) if isinstance(loops, Mapping) else {}
        self._meters: dict[str, _Meter] = {}
        for meter in meters:
            if meter.measures == "tank":
                continue
            size_w = sizes.get(meter.place, capacity_w)
            self._meters[meter.name] = _new(meter.name, meter.place, meter.measures, meter.protocol, size_w)
        self._meters.setdefault(BOUNDARY, _new(BOUNDARY, BOUNDARY, "heat", "rest", capacity_w))
        self._begun_unix_s: float | None = None
        self._apart_since: dict[str, float] = {}

    # What comes in.

    def take(self, name: str, reading: MeterReading, now_unix_s: float) -> MeterAccepted | MeterRefused:
        """Believe a reading of the meter `name`, or refuse it with reason and remedy."""
        self._begin(now_unix_s)
        meter = self._meters.get(name)
        if meter is None:
            known = ", ".join(self._meters)
            return MeterRefused(404, f"there is no meter {name[:40]}", f"the meters of this site are {known}")
        meter.answered_unix_s = now_unix_s
        meter.failure = None
        fault = examine(meter.memory, reading, meter.capacity_w, self._stale_s, now_unix_s)
        if fault is not None:
            return self._refuse(meter, fault, now_unix_s)
        meter.readings += 1
        meter.refused_in_row = 0
        meter.fault = None
        if reading.energy_wh is not None:
            follow(meter.window, reading.at_unix_s, reading.heat_w, reading.energy_wh, meter.capacity_w, self._stale_s)
        return MeterAccepted(reading.at_unix_s, reading.heat_w)

    def take_sample(self, name: str, sample: MeterSample, now_unix_s: float) -> MeterAccepted | MeterRefused:
        """Like `take`, from what a poller read: power may be missing where flow and both temperatures are known."""
        if self.tank is not None and name == self.tank.name:
            return self.tank.take(sample.at_unix_s, sample.tank_c, now_unix_s)
        flow_kg_s = None if sample.flow_l_per_h is None else mass_flow_kg_s(sample.flow_l_per_h, sample.return_c)
        power_w = sample.power_w
        if power_w is None and flow_kg_s is not None and sample.supply_c is not None and sample.return_c is not None:
            power_w = heat_carried_w(flow_kg_s, sample.supply_c, sample.return_c)
        if power_w is None:
            self.fail(name, "it gives no power, and not flow with both temperatures", now_unix_s)
            return MeterRefused(422, "the meter gives no power", "let it send power, or flow with both temperatures")
        reading = MeterReading(sample.at_unix_s, power_w, sample.supply_c, sample.return_c, flow_kg_s, sample.energy_wh)
        return self.take(name, reading, now_unix_s)

    def fail(self, name: str, reason: str, now_unix_s: float) -> None:
        """Note that a meter was asked and gave no usable answer. It is lost once its last reading is stale."""
        self._begin(now_unix_s)
        if self.tank is not None and name == self.tank.name:
            self.tank.fail(reason, now_unix_s)
        meter = self._meters.get(name)
        if meter is not None:
            meter.failure = reason
            meter.failures += 1

    # What is asked.

    def site_heat(self, now_unix_s: float) -> Measured:
        """Heat over the site's boundary: from its meter, else from all loops' meters together."""
        value = self._power(BOUNDARY, "heat", now_unix_s)
        return Measured(value, "measured") if value is not None else self._loops_together("heat", now_unix_s)

    def loop_heat(self, loop: str, now_unix_s: float) -> Measured:
        """Heat of one loop, from its own meter; the only loop of a site is what the boundary measures."""
        value = self._power(loop, "heat", now_unix_s)
        if value is None and self._loops == (loop,):
            value = self._power(BOUNDARY, "heat", now_unix_s)
        return UNKNOWN if value is None else Measured(value, "measured")

    def electric_w(self, now_unix_s: float, place: str = BOUNDARY) -> float | None:
        """Metered electrical power of a place; of the boundary also as the sum of all loops."""
        value = self._power(place, "electricity", now_unix_s)
        return self._loops_together("electricity", now_unix_s).value if value is None and place == BOUNDARY else value

    def temperatures(self, place: str, now_unix_s: float) -> tuple[float | None, float | None]:
        """Supply and return temperature of a place."""
        good = self._good(place, "heat", now_unix_s)
        supply_c = next((reading.supply_c for _, reading in good if reading.supply_c is not None), None)
        return supply_c, next((reading.return_c for _, reading in good if reading.return_c is not None), None)

    def flow_l_per_min(self, place: str, now_unix_s: float) -> float | None:
        """Water flow of a place."""
        for _, reading in self._good(place, "heat", now_unix_s):
            if reading.flow_kg_s is not None:
                return volume_flow_l_per_min(reading.flow_kg_s, reading.return_c)
        return None

    def energy_wh(self, place: str, now_unix_s: float, measures: str = "heat") -> float | None:
        """The energy counter of a place. It may go back when a meter is exchanged; `counter` says which meter it is."""
        counter = self.counter(place, now_unix_s, measures)
        return None if counter is None else counter.energy_wh

    def counter(self, place: str, now_unix_s: float, measures: str = "heat") -> Counter | None:
        """The energy counter of a place with its meter and time: differences count only between readings of one meter."""
        for meter, reading in self._good(place, measures, now_unix_s):
            if reading.energy_wh is not None:
                return Counter(meter.name, reading.at_unix_s, reading.energy_wh)
        return None

    def troubles(self, now_unix_s: float) -> tuple[Trouble, ...]:
        """What is wrong with which meter: lost, stuck, lying or jumping; and places whose meters disagree.

        How long meters disagree is noticed here: ask every few seconds.
        """
        self._begin(now_unix_s)
        self._compare(now_unix_s)
        states = [(meter, self._state(meter, now_unix_s)) for meter in self._meters.values()]
        named = [Trouble(f"meter {meter.name}", *state) for meter, state in states if state is not None]
        tank = () if self.tank is None else (Trouble(*found) for found in self.tank.troubles(now_unix_s))
        return (*named, *tank, *self._disagreements(now_unix_s))

    def alarms(self, now_unix_s: float) -> tuple[str, ...]:
        """The troubles, one line each."""
        return tuple(str(trouble) for trouble in self.troubles(now_unix_s))

    def views(self, now_unix_s: float) -> list[MeterView]:
        """Every meter for people; the REST meter only once it was heard."""
        self._begin(now_unix_s)
        views = [self._view(meter, now_unix_s) for meter in self._meters.values() if not _is_unused(meter)]
        return views if self.tank is None else [*views, self.tank.view(now_unix_s)]

    # Inside.

    def _begin(self, now_unix_s: float) -> None:
        if self._begun_unix_s is None:
            self._begun_unix_s = now_unix_s

    def _refuse(self, meter: _Meter, fault: Fault, now_unix_s: float) -> MeterRefused:
        interrupt(meter.window)
        meter.fault = fault
        meter.refused += 1
        meter.refused_in_row += 1
        if fault.kind == "jumping":
            meter.jumps_unix_s = [*meter.jumps_unix_s, now_unix_s][-JUMPS_TO_EXCLUDE:]
        return fault.refused

    def _state(self, meter: _Meter, now_unix_s: float) -> tuple[str, str] | None:
        """Kind and reason why a meter is left out now; None: it counts, or has not been heard yet."""
        trouble = self._trouble(meter, now_unix_s)
        if trouble is None and meter.name in self._outvoted(meter.place, meter.measures, now_unix_s):
            return "lying", "the other meters of its place agree against it; compare its power with theirs"
        return trouble

    def _trouble(self, meter: _Meter, now_unix_s: float) -> tuple[str, str] | None:
        """Kind and reason why a meter itself cannot be believed now."""
        if _is_unused(meter):
            return None
        fault = meter.fault
        is_wrong = fault is not None and fault.kind != "order" and meter.refused_in_row >= REFUSALS_TO_EXCLUDE
        if fault is not None and (is_wrong or fault.kind == "stuck"):
            return "lying" if fault.kind in (
                "impossible",
                "counter",
            ) else fault.kind, f"{fault.refused.reason}; {fault.refused.remedy}"
        if len(meter.jumps_unix_s) >= JUMPS_TO_EXCLUDE and now_unix_s - meter.jumps_unix_s[0] < JUMPING_S:
            return "jumping", f"it jumped {JUMPS_TO_EXCLUDE} times in {JUMPING_S / 60:.0f} min; check its wiring and its gateway"
        if meter.window.disagreement is not None:
            return "lying", f"{meter.window.disagreement}; check factors and units of both"
        if self._is_fresh(meter, now_unix_s):
            return None
        good = meter.memory.good
        since_s = now_unix_s - (good.at_unix_s if good is not None else self._begun_unix_s or now_unix_s)
        if since_s < self._stale_s:
            return None  # it was just started
        why = meter.failure or (fault.refused.reason if fault is not None else "nothing came")
        return "lost", f"no good reading for {since_s:,.0f} s ({why})"

    def _is_fresh(self, meter: _Meter, now_unix_s: float) -> bool:
        good = meter.memory.good
        return good is not None and now_unix_s - good.at_unix_s < self._stale_s

    def _candidates(self, place: str, measures: str, now_unix_s: float) -> list[tuple[_Meter, MeterReading]]:
        """The meters of a place with nothing wrong by themselves."""
        return [
            (meter, meter.memory.good)
            for meter in self._meters.values()
            if meter.place == place and meter.measures == measures and meter.memory.good is not None
            if self._is_fresh(meter, now_unix_s) and self._trouble(meter, now_unix_s) is None
        ]

    def _outvoted(self, place: str, measures: str, now_unix_s: float) -> set[str]:
        found = self._candidates(place, measures, now_unix_s)
        wrong = outliers([reading.heat_w for _, reading in found], DISAGREEMENT, self._floor_w())
        return {found[k][0].name for k in wrong}

    def _good(self, place: str, measures: str, now_unix_s: float) -> list[tuple[_Meter, MeterReading]]:
        """The believed meters of a place, in the order of the site file, the one fed by REST last."""
        wrong = self._outvoted(place, measures, now_unix_s)
        return [pair for pair in self._candidates(place, measures, now_unix_s) if pair[0].name not in wrong]

    def _power(self, place: str, measures: str, now_unix_s: float) -> float | None:
        good = self._good(place, measures, now_unix_s)
        return good[0][1].heat_w if good else None

    def _loops_together(self, measures: str, now_unix_s: float) -> Measured:
        powers = [self._power(loop, measures, now_unix_s) for loop in self._loops]
        known = [power_w for power_w in powers if power_w is not None]
        return Measured(sum(known), "summed") if powers and len(known) == len(powers) else UNKNOWN

    def _floor_w(self) -> float:
        # At low load small errors are large parts.
        return 0.1 * self._capacity_w

    def _apart(self, now_unix_s: float) -> dict[str, str]:
        """Where meters contradict each other at this moment."""
        found = {}
        for place in (BOUNDARY, *self._loops):
            for measures in ("heat", "electricity"):
                good = self._good(place, measures, now_unix_s)
                text = spread([(meter.name, reading.heat_w) for meter, reading in good], DISAGREEMENT, self._floor_w())
                if text is not None:
                    found[f"{place} {measures}"] = text
        loops = self._loops_together("heat", now_unix_s)
        boundary_w = self._power(BOUNDARY, "heat", now_unix_s)
        if boundary_w is not None and loops.value is not None:
            both = [("the boundary", boundary_w), ("the loops together", loops.value)]
            text = spread(both, DISAGREEMENT, self._floor_w())
            if text is not None:
                found["boundary and loops"] = text
        return found

    def _compare(self, now_unix_s: float) -> None:
        apart = self._apart(now_unix_s)
        self._apart_since = {where: self._apart_since.get(where, now_unix_s) for where in apart}

    def _disagreements(self, now_unix_s: float) -> list[Trouble]:
        apart = self._apart(now_unix_s)
        return [
            Trouble(f"meters of {where}", "disagree", apart[where])
            for where, since in self._apart_since.items()
            if where in apart and now_unix_s - since >= DISAGREEMENT_S
        ]

    def _view(self, meter: _Meter, now_unix_s: float) -> MeterView:
        trouble = self._state(meter, now_unix_s)
        good = meter.memory.good if self._is_fresh(meter, now_unix_s) else None
        waiting = good is None and trouble is None
        return MeterView(
            name=meter.name,
            place=meter.place,
            measures=meter.measures,
            protocol=meter.protocol,
            state="waiting" if waiting else "ok" if trouble is None else trouble[0],
            reason=None if trouble is None else trouble[1],
            is_used=good is not None and trouble is None,
            age_s=None if meter.memory.good is None else max(0.0, now_unix_s - meter.memory.good.at_unix_s),
            power_w=None if good is None else good.heat_w,
            supply_c=None if good is None else good.supply_c,
            return_c=None if good is None else good.return_c,
            flow_l_per_min=None if good is None or good.flow_kg_s is None else volume_flow_l_per_min(good.flow_kg_s, good.return_c),
            energy_wh=None if good is None else good.energy_wh,
            readings=meter.readings,
            refused=meter.refused,
            failures=meter.failures,
        )


def _new(name: str, place: str, measures: str, protocol: str, capacity_w: float) -> _Meter:
    return _Meter(name, place, measures, protocol, capacity_w, MeterMemory(), CounterWindow())


def _is_unused(meter: _Meter) -> bool:
    """The REST meter of a site that never sends to it."""
    return meter.protocol == "rest" and meter.answered_unix_s is None
