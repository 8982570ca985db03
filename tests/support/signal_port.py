"""A plant as a signal adapter sees it: judges demands by the real rules and remembers everything it was told."""

from proxy.heat.demand import DemandAccepted, DemandBook, DemandRefused, Envelope, HeatDemand
from proxy.heat.signals.port import Report

ENVELOPE = Envelope(capacity_w=2e6, max_validity_s=86_400.0, max_clock_skew_s=60.0, max_step=1.0)


class RecordingPort:
    """Implements proxy.heat.signals.port.SignalPort."""

    def __init__(self) -> None:
        self.book = DemandBook()
        self.accepted: list[HeatDemand] = []
        self.refused: list[tuple[HeatDemand, str]] = []
        self.outdoor: list[tuple[float, str, float]] = []
        self.limits: list[tuple[float | None, float, str]] = []
        self.stops: dict[str, bool] = {}
        self.alive = 0
        self.heat_w: float | None = 1_480_000.0
        self.energy_wh: float | None = 1_000_000.0
        self.ladder = "LIVE"
        self.alarms: tuple[str, ...] = ("loop a: flow below 60 %",)

    @property
    def in_force(self) -> HeatDemand | None:
        return self.accepted[-1] if self.accepted else None

    def submit_demand(self, demand: HeatDemand, now_unix_s: float) -> DemandAccepted | DemandRefused:
        known = self.book.answered(demand)
        if known is not None:
            return known
        answer = self.book.judge(demand, ENVELOPE, self.in_force, now_unix_s)
        if isinstance(answer, DemandRefused):
            self.refused.append((demand, answer.reason))
        else:
            self.book.note(demand, answer)
            self.accepted.append(demand)
        return answer

    def set_outdoor(self, outdoor_c: float, source: str, now_unix_s: float) -> str | None:
        if not -60 <= outdoor_c <= 60:
            return f"{outdoor_c} C is no outdoor temperature"
        self.outdoor.append((outdoor_c, source, now_unix_s))
        return None

    def set_import_limit(self, power_w: float | None, until_unix_s: float, source: str) -> str | None:
        self.limits.append((power_w, until_unix_s, source))
        return None

    def set_emergency_stop(self, stop: bool, source: str) -> None:
        self.stops[source] = stop

    def stop_sources(self) -> tuple[str, ...]:
        return tuple(source for source, is_held in self.stops.items() if is_held)

    def report(self, now_unix_s: float) -> Report:
        self.alive += 1
        ruling = self.in_force
        return Report(
            alive=self.alive,
            at_unix_s=now_unix_s,
            ladder=self.ladder,
            demand_w=None if ruling is None else ruling.power_w,
            supply_asked_c=None,
            heat_w=self.heat_w,
            quality="measured" if self.heat_w is not None else "unknown",
            power_w=1_560_000.0,
            headroom_up_w=300_000.0,
            headroom_down_w=900_000.0,
            supply_c=78.5,
            return_c=48.0,
            flow_l_per_min=None,
            energy_wh=self.energy_wh,
            alarms=self.alarms,
        )
