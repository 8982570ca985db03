"""What goes wrong in a scenario and when: switches the faults of machines, water, meters, utility and control on and off.

It only pulls levers that the parts have. What should become of it is heat control's business, and whether it did is the campaign's.
"""

import math
import random
from collections.abc import Callable
from typing import Protocol

import numpy as np

from proxy.heat.demand import HeatDemand
from proxy.sim.plant import Plant
from proxy.sim.twin.gauges import GaugeFault, Gauges
from proxy.sim.twin.machines import Machines
from proxy.sim.twin.scenario import Fault
from proxy.sim.twin.utility import Utility

OPERATOR = "twin operator"
NONSENSE_W = (math.nan, -5e5, math.inf, 9e12)


class Levers(Protocol):
    """What faults may pull at: the twin."""

    machines: Machines
    plant: Plant
    gauges: Gauges
    utility: Utility
    unit_loops: list[str]
    is_control_stopped: bool

    def submit(self, demand: HeatDemand, now_unix_s: float) -> object: ...
    def set_emergency_stop(self, stop: bool) -> None: ...
    def set_import_limit(self, power_w: float | None) -> None: ...
    def set_manual_limit(self, power_w: float | None) -> None: ...
    def restart_control(self) -> None: ...


class Faults:
    """The faults of one run, in time order."""

    def __init__(self, faults: list[Fault], levers: Levers, rng: random.Random) -> None:
        """Which units are hit is drawn here, so that it depends on the seed alone."""
        self._levers = levers
        self._rng = rng
        due: list[tuple[float, int, bool, Fault]] = []
        self.hit: list[list[int]] = []
        for k, fault in enumerate(faults):
            due.append((fault.at_s, k, True, fault))
            if fault.for_s is not None:
                due.append((fault.at_s + fault.for_s, k, False, fault))
            self.hit.append(self._pick(fault))
        self._due = sorted(due, key=lambda each: (each[0], each[1]))

    def step(self, now_s: float) -> None:
        """Begin and end what is due."""
        while self._due and self._due[0][0] <= now_s:
            _, k, begins, fault = self._due.pop(0)
            self._switch(fault, self.hit[k], begins, now_s)

    def _pick(self, fault: Fault) -> list[int]:
        members = [k for k, loop in enumerate(self._levers.unit_loops) if fault.loop in (None, loop)]
        if fault.kind == "loop_trip":
            return members
        if not fault.kind.startswith("units_"):
            return []
        return sorted(self._rng.sample(members, max(1, round(fault.part * len(members)))))

    def _switch(self, fault: Fault, units: list[int], begins: bool, now_s: float) -> None:
        kind = fault.kind
        if kind.startswith("units_") or kind == "loop_trip":
            self._switch_units(fault, np.array(units, np.int64), begins, now_s)
        elif kind.startswith("meter_"):
            trouble = self._levers.gauges.troubles[fault.loop or "boundary"]
            trouble.kind = _GAUGE[kind] if begins else None
            trouble.factor = 0.6 if fault.value is None else fault.value
        elif kind in ("pump_fails", "exchanger_fouls"):
            assert fault.loop is not None  # checked with the scenario
            loop = self._levers.plant.loops[fault.loop]
            part = (fault.value or 0.0) if kind == "pump_fails" else (fault.value or 0.5)
            if kind == "pump_fails":
                loop.pump = part if begins else 1.0
            else:
                loop.exchanger = part if begins else 1.0
        else:
            self._others[kind](self, fault, begins, now_s)

    def _switch_units(self, fault: Fault, units: np.ndarray[tuple[int], np.dtype[np.int64]], begins: bool, now_s: float) -> None:
        machines = self._levers.machines
        flags = {
            "units_mute": machines.is_mute,
            "units_ignore": machines.ignores,
            "units_pretend": machines.pretends,
            "units_refuse": machines.refuses,
            "units_calibrate": machines.calibrates,
            "units_blind": machines.has_no_outlet,
        }
        if fault.kind in flags:
            flags[fault.kind][units] = begins
        elif fault.kind == "units_lie":
            machines.tells_w[units] = machines.spec.telemetry_bias * ((fault.value or 0.5) if begins else 1.0)
        elif fault.kind == "units_stuck":
            machines.stuck_w[units] = machines.power_w[units] if begins else math.nan
        elif begins:
            for k in units.tolist():
                machines.die(k)
        else:
            for k in units.tolist():
                machines.repair(k, now_s)

    # The utility and control.

    def _signal_lost(self, _fault: Fault, begins: bool, _now_s: float) -> None:
        self._levers.utility.is_lost = begins

    def _signal_nonsense(self, fault: Fault, begins: bool, _now_s: float) -> None:
        chosen = self._rng.choice(NONSENSE_W) if fault.value is None else fault.value
        self._levers.utility.nonsense = chosen if begins else None

    def _signal_replayed(self, _fault: Fault, begins: bool, _now_s: float) -> None:
        self._levers.utility.replays = begins

    def _signal_oscillates(self, _fault: Fault, begins: bool, _now_s: float) -> None:
        self._levers.utility.oscillates = begins

    def _second_master(self, _fault: Fault, begins: bool, _now_s: float) -> None:
        self._levers.utility.has_rival = begins

    def _demand_step(self, fault: Fault, begins: bool, now_s: float) -> None:
        utility = self._levers.utility
        factor = 1.1 if fault.value is None else fault.value
        utility.factor *= factor if begins else 1.0 / factor
        utility.announce(now_s, self._levers.submit)

    def _emergency_stop(self, _fault: Fault, begins: bool, _now_s: float) -> None:
        self._levers.set_emergency_stop(begins)

    def _import_limit(self, fault: Fault, begins: bool, _now_s: float) -> None:
        self._levers.set_import_limit(fault.value if begins else None)

    def _manual_limit(self, fault: Fault, begins: bool, _now_s: float) -> None:
        self._levers.set_manual_limit(fault.value if begins else None)

    def _control_restarts(self, _fault: Fault, begins: bool, _now_s: float) -> None:
        if begins:
            self._levers.restart_control()

    def _control_stops(self, _fault: Fault, begins: bool, _now_s: float) -> None:
        self._levers.is_control_stopped = begins
        if not begins:
            self._levers.restart_control()

    _others: dict[str, Callable[["Faults", Fault, bool, float], None]] = {
        "signal_lost": _signal_lost,
        "signal_nonsense": _signal_nonsense,
        "signal_replayed": _signal_replayed,
        "signal_oscillates": _signal_oscillates,
        "second_master": _second_master,
        "demand_step": _demand_step,
        "emergency_stop": _emergency_stop,
        "import_limit": _import_limit,
        "manual_limit": _manual_limit,
        "control_restarts": _control_restarts,
        "control_stops": _control_stops,
    }


_GAUGE: dict[str, GaugeFault] = {
    "meter_lost": "lost",
    "meter_stuck": "stuck",
    "meter_lying": "lying",
    "meter_jumps": "jumps",
    "meter_nonsense": "nonsense",
}
