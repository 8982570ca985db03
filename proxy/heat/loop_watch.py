"""The hydraulic loops while the site runs: their water, their units' power, and what their interlocks say of them now.

Meters come first, and the machines' own outlets where a loop has none. It commands nothing: caps and bans are kept by planning.
"""

import math
import statistics
from collections.abc import Sequence

from proxy.heat import interlocks, reporting
from proxy.heat.alarms import Alarms
from proxy.heat.interlocks import LoopFacts, LoopMemory, LoopVerdict
from proxy.heat.meters.bank import MeterBank
from proxy.heat.observe import Snapshot
from proxy.units.unit import UnitImage
from proxy.views import LoopView


class LoopWatch:
    """Of one HeatControl. `memory` outlives the process; `drawn_w` is empty before the first cycle (electrical, by loop)."""

    def __init__(self, facts: dict[str, LoopFacts], caps_w: dict[str, float | None], bank: MeterBank) -> None:
        """Every loop is free until it was judged."""
        self._facts = facts
        self._caps_w = caps_w
        self._bank = bank
        self._outlets_c: dict[str, float | None] = {}
        self.memory: dict[str, LoopMemory] = {}
        self.verdicts: dict[str, LoopVerdict] = dict.fromkeys(facts, interlocks.FREE)
        self.drawn_w: dict[str, float] = {}

    def judge(self, alarms: Alarms, now_s: float, now_unix_s: float) -> bool:
        """Judge every loop by what is known; whether one of them must come down further than before."""
        before, bank = self.verdicts, self._bank
        seen = {
            name: interlocks.LoopSeen(
                flow_l_per_min=bank.flow_l_per_min(name, now_unix_s) if fact.design_flow_l_per_min is not None else None,
                supply_c=self._supply_of(name, now_unix_s),
                drawn_w=self.drawn_w.get(name, 0.0),
            )
            for name, fact in self._facts.items()
        }
        self.verdicts = interlocks.judge(self._facts, self.memory, seen, alarms, now_s)
        return any(_is_tighter(before[name], verdict) for name, verdict in self.verdicts.items())

    def note(self, images: Sequence[UnitImage], snapshot: Snapshot) -> None:
        """Add up what the units of each loop draw, and take the middle one of their outlets."""
        drawn_w = dict.fromkeys(self._facts, 0.0)
        outlets_c: dict[str, list[float]] = {name: [] for name in self._facts}
        for image, power_w in zip(images, snapshot.drawn_w, strict=True):
            drawn_w[image.loop] += power_w
            if image.outlet_c is not None and math.isfinite(image.outlet_c):
                outlets_c[image.loop].append(image.outlet_c)
        self.drawn_w = drawn_w
        self._outlets_c = {name: statistics.median(found) if found else None for name, found in outlets_c.items()}

    def acknowledge(self) -> list[str]:
        """Let loops that tripped too often come back; their names."""
        return interlocks.acknowledge(self.memory)

    def holding(self) -> str | None:
        """Why a loop is held down, if one is."""
        return next((verdict.reason for verdict in self.verdicts.values() if verdict.cap_w is not None), None)

    def views(self, now_unix_s: float) -> list[LoopView]:
        """Every loop as people see it."""
        seen = reporting.LoopsSeen(self._facts, self._caps_w, self.memory, self.verdicts, self.drawn_w, self._outlets_c, self._bank)
        return reporting.loops_of(seen, now_unix_s)

    def _supply_of(self, loop: str, now_unix_s: float) -> float | None:
        """The loop's own meter, else what the middle one of its running machines says of the water it gives."""
        metered_c = self._bank.temperatures(loop, now_unix_s)[0]
        return self._outlets_c.get(loop) if metered_c is None else metered_c


def _is_tighter(before: LoopVerdict, now: LoopVerdict) -> bool:
    return now.cap_w is not None and (before.cap_w is None or now.cap_w < before.cap_w)
