"""What heat is delivered now, and how well that is known: metered, summed over the loops, estimated from electricity, or unknown.

The bank of meters says which meters may be believed. Here the plant's model is let run with it, frozen where the boundary meter is
lost or disagrees with electricity, and people are told when that changes. It moves no unit.
"""

import msgspec

from proxy.events import EventLog
from proxy.heat import model, observe
from proxy.heat.alarms import Alarms
from proxy.heat.meters.bank import BOUNDARY, MeterBank


class Delivered(msgspec.Struct, frozen=True, gc=False):
    """heat_w: delivered now (thermal); quality: measured, summed, estimated or unknown. The rest is of the boundary."""

    heat_w: float | None
    quality: str
    supply_c: float | None = None
    return_c: float | None = None
    flow_l_per_min: float | None = None
    energy_wh: float | None = None


class Delivery:
    """Of one site. `bank` is fed by whoever reads meters."""

    def __init__(self, bank: MeterBank, policy: model.Policy, events: EventLog, alarms: Alarms) -> None:
        self.bank = bank
        self.policy = policy
        self.plant = model.start(policy)
        self._known: model.Learned | None = None
        self._events = events
        self._alarms = alarms
        self._had_boundary = False

    @property
    def efficiency(self) -> float:
        """Heat into the water per wall power, as believed now."""
        return model.efficiency(self.plant, self.policy)

    def forget(self) -> None:
        """Start the model anew with the next cycle, from what an earlier process has learned."""
        self.plant = model.start(self.policy, self._known)

    def remember(self, known: model.Learned) -> None:
        """Take up what an earlier process has learned."""
        self._known = known
        self.forget()

    def advance(self, snapshot: observe.Snapshot, is_fleet_known: bool, now_s: float, now_unix_s: float, dt_s: float) -> Delivered:
        """One cycle: the heat now, after the model has run and learned (only from the boundary's own meter).

        Before every unit was asked once, their power says nothing about the heat that is in the pipes: the model waits.
        """
        site = self.bank.site_heat(now_unix_s)
        boundary_w = site.value if site.quality == "measured" else None
        # Metered electricity is nearer the truth than what the machines say, where there is such a meter.
        drawn_w = sum(snapshot.drawn_w)
        was_apart = self.plant.is_apart
        if is_fleet_known:
            model.forget(self.plant, snapshot.lost_j)
            model.advance(self.plant, self.policy, drawn_w, boundary_w, dt_s)
        self._tell(was_apart, boundary_w, drawn_w, now_s)
        supply_c, return_c = self.bank.temperatures(BOUNDARY, now_unix_s)
        if site.value is not None:
            heat_w, quality = site.value, site.quality
        elif snapshot.measured_w is not None:
            heat_w, quality = drawn_w * self.efficiency, "estimated"
        else:
            return Delivered(None, "unknown", supply_c, return_c)
        return Delivered(
            heat_w,
            quality,
            supply_c,
            return_c,
            self.bank.flow_l_per_min(BOUNDARY, now_unix_s),
            self.bank.energy_wh(BOUNDARY, now_unix_s),
        )

    def _tell(self, was_apart: bool, boundary_w: float | None, drawn_w: float, now_s: float) -> None:
        is_apart = self.plant.is_apart
        if is_apart != was_apart:
            name, level = ("heat.meter_disagrees", "error") if is_apart else ("heat.meter_agrees", "info")
            self._events.publish(name, level, metered_w=boundary_w, drawn_w=drawn_w)
        self._alarms.set(
            "meter-disagrees",
            "heat meter and electricity disagree by more than 10 %: check the meter, the machines' power readings and "
            "heat.thermal_efficiency; corrections are frozen"
            if is_apart
            else None,
            now_s,
            severity=2,
        )
        self._had_boundary = self._had_boundary or boundary_w is not None
        self._alarms.set(
            "meter-lost",
            "the boundary's heat meter is lost: heat is the loops' sum or estimated, corrections are frozen; check meter and line"
            if self._had_boundary and boundary_w is None
            else None,
            now_s,
            severity=2,
        )
