"""Where demands come in: judged, written down, put on the docket, and watched for two senders at once and for swings.

It knows what is asked for, now and later, and which rung of the ladder rules. It does not know the plant.
"""

from collections.abc import Sequence

from proxy import config
from proxy.heat import arbitrate, curve, schedule, swings
from proxy.heat.alarms import Alarms
from proxy.heat.demand import DemandAccepted, DemandBook, DemandRefused, HeatDemand, accepted
from proxy.heat.inputs import Inputs
from proxy.heat.journal import Journal
from proxy.heat.policies import Policies

# How long after the last attempt of a second sender people are told of it.
TWO_MASTERS_S = 600.0
CURVE = "curve"


class Desk:
    """Of one HeatControl. All calls are plain; times are wall time."""

    def __init__(self, policies: Policies, journal: Journal, now_unix_s: float) -> None:
        """Takes up what was asked before the restart: what still is valid rules on, and no old demand can be played again."""
        self._policies = policies
        self._journal = journal
        self._book = DemandBook()
        self._swings = swings.State()
        self._second: tuple[str, float] | None = None
        self.docket = arbitrate.Docket()
        demands = journal.demands()
        for demand in demands:
            self._book.note(demand, accepted(demand, now_unix_s))
        arbitrate.restore(self.docket, demands, now_unix_s)

    def submit(self, demand: HeatDemand, now_unix_s: float) -> DemandAccepted | DemandRefused:
        """Judge a demand and, when it is good, put it on the docket and into the ledger before it has any effect."""
        known = self._book.answered(demand)
        if known is not None:
            return known
        in_force = self._in_force(demand.source, now_unix_s)
        answer = self._book.judge(demand, self._policies.envelope, in_force, now_unix_s)
        if isinstance(answer, DemandAccepted) and not arbitrate.admit(self.docket, demand, now_unix_s):
            answer = DemandRefused(
                429, f"{arbitrate.MAX_WAITING} demands wait already", "plan less far ahead, or raise the epoch to start a new plan"
            )
        self._journal.demand(demand, answer)
        if isinstance(answer, DemandAccepted):
            self._book.note(demand, answer)
            self._note_swing(demand, now_unix_s)
        return answer

    def submit_schedule(self, blocks: Sequence[HeatDemand], now_unix_s: float) -> schedule.ScheduleAccepted | DemandRefused:
        """Judge a schedule (one block or more, in order of time) as a whole: all of it goes on the docket, or nothing."""
        if self._book.answered(blocks[-1]) is not None:
            return schedule.answer_to(blocks)
        in_force = self._in_force(blocks[0].source, now_unix_s)
        answer = schedule.take(self.docket, self._book, self._policies.envelope, blocks, in_force, now_unix_s)
        self._journal.schedule(blocks, answer, now_unix_s)
        return answer

    def heat_at(self, unix_s: float) -> float | None:
        """Heat that demands taken already ask for at that time; None where they ask for none."""
        demand = arbitrate.ruling_at(self.docket, unix_s)
        return None if demand is None else demand.power_w

    def rule(self, rules: config.HeatCurve, inputs: Inputs, now_unix_s: float) -> arbitrate.Ruling:
        """One cycle of the ladder; the heat curve stands in, or rules, as `rules` say."""
        stop, ladder = inputs.stop_reason(), self._policies.ladder
        outdoor = inputs.outdoor_at(now_unix_s, rules.outdoor_stale_s)
        if outdoor is None:
            ruling = arbitrate.rule(self.docket, ladder, now_unix_s, stop)
        else:
            outdoor_c, until_unix_s = outdoor
            heat_w, supply_c = curve.at(rules.points, outdoor_c), curve.at(rules.supply_points, outdoor_c)
            standing = None
            if rules.is_mode and (heat_w is not None or supply_c is not None):
                standing = HeatDemand(CURVE, 0, 0, now_unix_s, now_unix_s, until_unix_s, heat_w, supply_c=supply_c)
            ruling = arbitrate.rule(self.docket, ladder, now_unix_s, stop, standing=standing, curve_w=heat_w)
        self._note_swing(ruling.demand, now_unix_s)
        return ruling

    def swings_per_h(self, now_unix_s: float) -> int:
        """Turns of what was asked for within the last hour."""
        return swings.per_hour(self._swings, now_unix_s)

    def tell(self, alarms: Alarms, now_s: float, now_unix_s: float) -> None:
        """Raise, keep or clear the alarms of senders."""
        second = self._second
        is_recent = second is not None and now_unix_s - second[1] < TWO_MASTERS_S
        text = f"{second[0]} sends demands while another source rules: let one source send all" if second and is_recent else None
        alarms.set("two-masters", text, now_s, severity=1)
        alarms.set("swings", swings.alarm(self._swings, self._policies.swings, now_unix_s), now_s)

    def _in_force(self, source: str, now_unix_s: float) -> HeatDemand | None:
        """Whose demand rules or will, after noting a second sender."""
        in_force = arbitrate.in_force(self.docket, now_unix_s)
        if in_force is not None and in_force.source != source:
            self._second = source[:63], now_unix_s
        return in_force

    def _note_swing(self, demand: HeatDemand | None, now_unix_s: float) -> None:
        """Follow what is asked for now: at each demand, as cycles would miss most of a fast sender's, and each cycle, for plans."""
        if demand is not None and demand.is_valid_at(now_unix_s):
            swings.note(self._swings, self._policies.swings, demand.power_w, demand.supply_c, demand.source, now_unix_s)
