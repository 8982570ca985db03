"""Every metric this product exposes: its name, kind, labels and where its value comes from, in three tables.

Values are read from the views at scrape time, so a metric cannot disagree with the API. Unknown (None) gives no sample, never 0.
Not here: HTTP, caching, threads (see web/exposition.py). Labels are bounded: pool, verdict, state, unit; never a job or an address.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Generic, Literal, TypeVar

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from proxy.views import LoopView, MeterView, PlanView, PoolView, ProofView, SettlementView, SignalView, SiteView, UnitView

PREFIX = "thermostratum_"
LADDER_STATES = ("LIVE", "HOLD", "FALLBACK", "LIMIT", "STOP")
POOL_STATES = ("connecting", "ready", "sick", "down", "off")
LEDGER_STATES = ("ok", "degraded")
PLAN_STATES = ("good", "short", "kept", "none")
HEAT_QUALITIES = ("measured", "summed", "estimated", "unknown")
LOOP_STATES = ("running", "shedding", "dry", "tripped")
HOLDS = ("stop", "manual limit", "import limit")
METER_LABELS = ("place", "meter", "measures")
METER_STATES = ("ok", "waiting", "lost", "stuck", "lying", "jumping")
LABEL_LIMIT = 32  # distinct codes or reasons of one peer; the rest counts as "other"

View = TypeVar("View")
Samples = Iterable[tuple[tuple[str, ...], float | None]]


class Series(msgspec.Struct, Generic[View], frozen=True):
    """One metric: `read` gives its samples from a view, each with the values of `labels`."""

    name: str
    kind: Literal["gauge", "counter"]
    help: str
    read: Callable[[View], Samples]
    labels: tuple[str, ...] = ()


def _value(read: Callable[[View], float | None]) -> Callable[[View], Samples]:
    """One sample without labels of its own."""
    return lambda view: (((), read(view)),)


def _planned(read: Callable[[PlanView], float | None]) -> Callable[[SiteView], Samples]:
    """One sample of the plan; none where the planner is off."""
    return _value(lambda view: None if view.plan is None else read(view.plan))


def _counts(read: Callable[[View], Mapping[str, int]]) -> Callable[[View], Samples]:
    """One sample for each key, the rare ones beyond LABEL_LIMIT added up as `other`."""

    def samples(view: View) -> Samples:
        ranked = sorted(read(view).items(), key=lambda item: (-item[1], item[0]))
        for key, count in ranked[:LABEL_LIMIT]:
            yield (_label(key),), count
        if len(ranked) > LABEL_LIMIT:
            yield ("other",), sum(count for _, count in ranked[LABEL_LIMIT:])

    return samples


def _one_of(states: tuple[str, ...], read: Callable[[View], str]) -> Callable[[View], Samples]:
    """A state as one 0/1 sample for each possible state."""
    return lambda view: [((state,), float(read(view) == state)) for state in states]


def _label(text: str) -> str:
    """A bounded, printable label value: codes and reasons come from peers."""
    return re.sub(r"[^A-Za-z0-9_.:/+ -]", "_", text)[:64] or "none"


SITE_SERIES: tuple[Series[SiteView], ...] = (
    Series("build_info", "gauge", "Version that runs; always 1.", lambda v: (((v.version,), 1.0),), ("version",)),
    Series("uptime_seconds", "gauge", "Time since the process started.", _value(lambda v: v.uptime_s)),
    Series("miners_connected", "gauge", "Open Stratum connections of miners.", _value(lambda v: v.miners_connected)),
    Series("hashrate_hashes_per_second", "gauge", "Hashrate of the site as its shares prove it.", _value(lambda v: v.hashrate_hps)),
    Series(
        "units", "gauge", "Configured units by state.", lambda v: [((k,), float(n)) for k, n in v.unit_states.items()], ("state",)
    ),
    Series("shares_received_total", "counter", "Shares received from miners.", _value(lambda v: v.shares.received)),
    Series(
        "shares_rejected_total",
        "counter",
        "Shares we refused, by our verdict.",
        _counts(lambda v: v.shares.rejected),
        ("verdict",),
    ),
    Series(
        "shares_below_target_total",
        "counter",
        "Valid shares below the pool's target: proof for us, not due to the pool.",
        _value(lambda v: v.shares.below_pool_target),
    ),
    Series("shares_accepted_total", "counter", "Shares accepted by pools.", _value(lambda v: v.shares.accepted)),
    Series("shares_refused_total", "counter", "Shares refused by pools, by code.", _counts(lambda v: v.shares.refused), ("code",)),
    Series(
        "shares_unknown_total",
        "counter",
        "Shares a pool never answered, by reason.",
        _counts(lambda v: v.shares.unknown),
        ("reason",),
    ),
    Series("shares_pending", "gauge", "Shares sent to a pool and not answered yet.", _value(lambda v: v.shares.pending)),
    Series(
        "shares_conservation_delta",
        "gauge",
        "Received minus all final states minus pending: anything but 0 is a bug.",
        _value(lambda v: v.shares.conservation_delta),
    ),
    Series("blocks_total", "counter", "Shares that met the network's target.", _value(lambda v: v.shares.blocks)),
    Series("work_valid_hashes_total", "counter", "Expected hashes behind all valid shares.", _value(lambda v: v.shares.valid_work)),
    Series(
        "work_accepted_hashes_total",
        "counter",
        "Expected hashes behind shares the pools accepted.",
        _value(lambda v: v.shares.accepted_work),
    ),
    Series("heat_demand_watts", "gauge", "Thermal power the utility asks for.", _value(lambda v: v.heat.demand_w)),
    Series("heat_demand_age_seconds", "gauge", "Age of that demand.", _value(lambda v: v.heat.demand_age_s)),
    Series(
        "heat_demand_validity_seconds", "gauge", "How long the demand stays valid.", _value(lambda v: v.heat.demand_valid_for_s)
    ),
    Series("heat_delivered_watts", "gauge", "Thermal power delivered.", _value(lambda v: v.heat.heat_w)),
    Series(
        "heat_quality",
        "gauge",
        "1 for where the delivered heat comes from.",
        _one_of(HEAT_QUALITIES, lambda v: v.heat.heat_quality),
        ("quality",),
    ),
    Series("heat_tracking_error_ratio", "gauge", "(delivered - demand) / demand.", _value(lambda v: v.heat.tracking_error)),
    Series(
        "heat_ladder_state",
        "gauge",
        "1 for the rung of the safe-state ladder the site stands on.",
        _one_of(LADDER_STATES, lambda v: v.heat.ladder),
        ("state",),
    ),
    Series(
        "heat_limited",
        "gauge",
        "1 while something keeps the set-point from the demand.",
        _value(lambda v: v.heat.limiter is not None),
    ),
    Series("heat_supply_celsius", "gauge", "Supply temperature at the boundary.", _value(lambda v: v.heat.supply_c)),
    Series("heat_return_celsius", "gauge", "Return temperature at the boundary.", _value(lambda v: v.heat.return_c)),
    Series("heat_supply_asked_celsius", "gauge", "Supply temperature that is asked for.", _value(lambda v: v.heat.supply_asked_c)),
    Series(
        "heat_outdoor_celsius",
        "gauge",
        "Outdoor temperature the heat curve goes by, while fresh.",
        _value(lambda v: v.heat.outdoor_c),
    ),
    Series(
        "heat_efficiency_ratio",
        "gauge",
        "Heat into the water per electrical power, as learned from the boundary's meter.",
        _value(lambda v: v.heat.efficiency),
    ),
    Series(
        "heat_plant_lag_seconds",
        "gauge",
        "Lag from power to metered heat, as control reckons.",
        _value(lambda v: v.heat.plant_tau_s),
    ),
    Series(
        "heat_disturbance_watts",
        "gauge",
        "Metered heat beyond what the model of the plant expects, filtered.",
        _value(lambda v: v.heat.disturbance_w),
    ),
    Series(
        "heat_lead_watts", "gauge", "Heat by which the set-point leads the demand during a step.", _value(lambda v: v.heat.lead_w)
    ),
    Series(
        "heat_changes_per_unit_day",
        "gauge",
        "Level changes a unit and day, filtered over hours; six are planned for.",
        _value(lambda v: v.heat.changes_per_unit_day),
    ),
    Series(
        "heat_alarms",
        "gauge",
        "Alarms that stand or wait to be acknowledged; GET /api/v1/heat has them.",
        _value(lambda v: len(v.heat.alarms)),
    ),
    Series(
        "heat_holds",
        "gauge",
        "Stops and limits that hold the site down until they are taken back or end; GET /api/v1/heat has them.",
        lambda v: [((kind,), float(sum(hold.kind == kind for hold in v.heat.holds))) for kind in HOLDS],
        ("kind",),
    ),
    Series(
        "heat_headroom_up_watts",
        "gauge",
        "Thermal power that could be added to what is made now.",
        _value(lambda v: v.heat.headroom_up_w),
    ),
    Series(
        "heat_headroom_down_watts",
        "gauge",
        "Thermal power that could be shed from what is made now.",
        _value(lambda v: v.heat.headroom_down_w),
    ),
    Series(
        "heat_marginal_price_per_kwh",
        "gauge",
        "What one more kWh of heat (thermal) costs the site, in the currency of its prices; below 0 it earns.",
        _value(lambda v: v.heat.marginal_price_per_kwh),
    ),
    Series(
        "heat_plan_state",
        "gauge",
        "1 for the state of the plan ahead; kept: a newer one failed. Absent where the planner is off.",
        lambda v: [] if v.plan is None else [((state,), float(v.plan.state == state)) for state in PLAN_STATES],
        ("state",),
    ),
    Series(
        "heat_plan_age_seconds",
        "gauge",
        "Age of the plan in force.",
        _value(lambda v: None if v.plan is None or v.plan.made_unix_s is None else v.now_unix_s - v.plan.made_unix_s),
    ),
    Series(
        "heat_plan_price_per_kwh",
        "gauge",
        "What one more kWh of heat costs now by the plan, tank and boiler counted; absent where no money gets it.",
        _planned(lambda plan: plan.price_of_heat_per_kwh),
    ),
    Series(
        "heat_plan_shortfalls",
        "gauge",
        "Stretches of the plan where the heat asked for cannot be had, or too much would be made.",
        _planned(lambda plan: None if plan.state == "none" else len(plan.shortfalls)),
    ),
    Series("heat_plan_backup_watts", "gauge", "Heat planned of the back-up boiler now.", _planned(lambda plan: plan.backup_w)),
    Series(
        "heat_tank_charge_watts",
        "gauge",
        "Heat planned into the storage tank now; negative: out of it.",
        _planned(lambda plan: plan.tank_charge_w),
    ),
    Series(
        "heat_tank_watt_hours",
        "gauge",
        "Content of the storage tank: as planned for now, and as last told.",
        lambda v: () if v.plan is None else ((("planned",), v.plan.tank_planned_wh), (("told",), v.plan.tank_wh)),
        ("source",),
    ),
    Series(
        "electricity_price_per_kwh",
        "gauge",
        "Price of electricity the plan counts with now.",
        _planned(lambda plan: plan.electricity_per_kwh),
    ),
    Series("heat_demand_energy_watt_hours_total", "counter", "Heat asked for.", _value(lambda v: v.heat.demand_energy_wh)),
    Series("heat_delivered_energy_watt_hours_total", "counter", "Heat delivered.", _value(lambda v: v.heat.heat_energy_wh)),
    Series("heat_setpoint_changes_total", "counter", "Changes of the site's set-point.", _value(lambda v: v.heat.setpoint_changes)),
    Series("heat_level_changes_total", "counter", "Power levels commanded to units.", _value(lambda v: v.heat.level_changes)),
    Series("heat_decision_seconds", "gauge", "Time the last control cycle took to decide.", _value(lambda v: v.heat.decision_s)),
    Series(
        "power_setpoint_watts", "gauge", "Electrical power we decided on, after limits.", _value(lambda v: v.heat.setpoint_power_w)
    ),
    Series(
        "power_commanded_watts", "gauge", "Electrical power of the levels commanded.", _value(lambda v: v.heat.commanded_power_w)
    ),
    Series("power_measured_watts", "gauge", "Electrical power the units report.", _value(lambda v: v.heat.measured_power_w)),
    Series(
        "ledger_state",
        "gauge",
        "1 for the ledger's state; degraded: shares are refused.",
        _one_of(LEDGER_STATES, lambda v: v.ledger_state),
        ("state",),
    ),
    Series("loop_lag_seconds", "gauge", "How late the event loop last ran a task.", _value(lambda v: v.loop_lag_s)),
    Series(
        "certificate_expiry_seconds",
        "gauge",
        "Time until the certificate of the Stratum V2 port expires; it is renewed long before.",
        _value(lambda v: v.v2_certificate_expires_s),
    ),
)

POOL_SERIES: tuple[Series[PoolView], ...] = (
    Series("pool_state", "gauge", "1 for the pool's state.", _one_of(POOL_STATES, lambda p: p.state), ("state",)),
    Series("pool_active", "gauge", "1 while units work for it.", _value(lambda p: p.active)),
    Series("pool_sessions", "gauge", "Open connections to the pool.", _value(lambda p: p.sessions)),
    Series("pool_units", "gauge", "Units that work for the pool.", _value(lambda p: p.units)),
    Series("pool_difficulty", "gauge", "Share difficulty the pool asks for.", _value(lambda p: p.difficulty)),
    Series("pool_job_age_seconds", "gauge", "Age of the pool's last job.", _value(lambda p: p.last_job_age_s)),
    Series(
        "pool_submit_latency_seconds", "gauge", "Median time to an answer, last 100 shares.", _value(lambda p: p.submit_latency_s)
    ),
    Series("pool_shares_accepted_total", "counter", "Shares the pool accepted.", _value(lambda p: p.accepted)),
    Series("pool_shares_refused_total", "counter", "Shares the pool refused, by code.", _counts(lambda p: p.refused), ("code",)),
    Series("pool_shares_unknown_total", "counter", "Shares the pool never answered.", _counts(lambda p: p.unknown), ("reason",)),
    Series("pool_shares_pending", "gauge", "Shares the pool has not answered yet.", _value(lambda p: p.pending)),
    Series(
        "pool_work_accepted_hashes_total", "counter", "Expected hashes behind accepted shares.", _value(lambda p: p.accepted_work)
    ),
    Series(
        "pool_mismatched_batches_total",
        "counter",
        "Acknowledgements of a Stratum V2 pool whose count or sum is not that of our shares.",
        _value(lambda p: p.batch_mismatches),
    ),
    Series("pool_reconnects_total", "counter", "Times we had to connect again.", _value(lambda p: p.reconnects)),
)

SIGNAL_SERIES: tuple[Series[SignalView], ...] = (
    Series("signal_connected", "gauge", "1 while the utility's end of the signal is there.", _value(lambda s: s.connected)),
    Series("signal_message_age_seconds", "gauge", "Age of the last message of the utility.", _value(lambda s: s.message_age_s)),
    Series("signal_report_age_seconds", "gauge", "Age of the last report sent to it.", _value(lambda s: s.report_age_s)),
    Series("signal_messages_accepted_total", "counter", "Messages of the utility that were taken.", _value(lambda s: s.accepted)),
    Series("signal_messages_refused_total", "counter", "Messages of the utility that were not taken.", _value(lambda s: s.refused)),
    Series("signal_reconnects_total", "counter", "Times the signal was connected again.", _value(lambda s: s.reconnects)),
)

LOOP_SERIES: tuple[Series[LoopView], ...] = (
    Series("loop_state", "gauge", "1 for what the loop's interlock says.", _one_of(LOOP_STATES, lambda p: p.state), ("state",)),
    Series("loop_may_wake", "gauge", "1 while the loop may wake units.", _value(lambda p: p.may_wake)),
    Series("loop_power_watts", "gauge", "Electrical power of its units, measured or else expected.", _value(lambda p: p.drawn_w)),
    Series("loop_cap_watts", "gauge", "The most its units may draw; absent without a cap.", _value(lambda p: p.cap_w)),
    Series("loop_supply_celsius", "gauge", "Water it gives, of its meter or its machines.", _value(lambda p: p.supply_c)),
)

METER_SERIES: tuple[Series[MeterView], ...] = (
    Series(
        "meter_state", "gauge", "1 for the meter's state; only ok ones count.", _one_of(METER_STATES, lambda m: m.state), ("state",)
    ),
    Series("meter_power_watts", "gauge", "Heat or electricity the meter shows.", _value(lambda m: m.power_w)),
    Series(
        "meter_energy_watt_hours",
        "gauge",
        "Its energy counter; it goes back when a meter is exchanged.",
        _value(lambda m: m.energy_wh),
    ),
    Series("meter_supply_celsius", "gauge", "Its supply temperature.", _value(lambda m: m.supply_c)),
    Series("meter_return_celsius", "gauge", "Its return temperature.", _value(lambda m: m.return_c)),
    Series("meter_flow_liters_per_minute", "gauge", "Its water flow.", _value(lambda m: m.flow_l_per_min)),
    Series("meter_reading_age_seconds", "gauge", "Age of the last reading that was believed.", _value(lambda m: m.age_s)),
    Series("meter_readings_total", "counter", "Readings that were believed.", _value(lambda m: m.readings)),
    Series("meter_readings_refused_total", "counter", "Readings that were not believed.", _value(lambda m: m.refused)),
    Series("meter_failures_total", "counter", "Times it was asked without a usable answer.", _value(lambda m: m.failures)),
)

SETTLEMENT_SERIES: tuple[Series[SettlementView], ...] = (
    Series("settlement_periods_total", "counter", "Settlement records closed by this process.", _value(lambda s: s.closed)),
    Series("settlement_revisions_total", "counter", "Settlement records corrected by a revision.", _value(lambda s: s.revised)),
    Series(
        "settlement_incomplete_total",
        "counter",
        "Settlement records closed with a gap in heat or electricity.",
        _value(lambda s: s.incomplete),
    ),
    Series("settlement_rows", "gauge", "Rows of the settlement chain.", _value(lambda s: s.rows)),
    Series(
        "settlement_overdue_seconds",
        "gauge",
        "How long the oldest period that should be closed has waited.",
        _value(lambda s: s.overdue_s),
    ),
)

PROOF_SERIES: tuple[Series[ProofView], ...] = (
    Series(
        "proof_disagreement_ratio",
        "gauge",
        "How far work, electricity, telemetry and heat are apart at most, as a part of their mean, in the newest period.",
        _value(lambda p: None if p.disagreement is None else abs(p.disagreement)),
    ),
    Series("proof_interval_ratio", "gauge", "What their errors explain of it (95 %).", _value(lambda p: p.interval)),
    Series(
        "proof_disagrees",
        "gauge",
        "1 while they tell different stories.",
        _value(lambda p: None if p.agrees is None else not p.agrees),
    ),
    Series(
        "proof_work_energy_watt_hours", "gauge", "Energy that the work of the newest period proves.", _value(lambda p: p.work_wh)
    ),
)

UNIT_SERIES: tuple[Series[UnitView], ...] = (
    Series("unit_connected", "gauge", "1 while the unit's Stratum connection is open.", _value(lambda u: u.connected)),
    Series("unit_fault", "gauge", "1 while the unit is in fault.", _value(lambda u: u.fault is not None)),
    Series("unit_level_commanded", "gauge", "Power level commanded; 0 is asleep.", _value(lambda u: u.level_commanded)),
    Series("unit_level_observed", "gauge", "Power level the unit reports.", _value(lambda u: u.level_observed)),
    Series("unit_power_commanded_watts", "gauge", "Wall power of the commanded level.", _value(lambda u: u.power_commanded_w)),
    Series("unit_power_watts", "gauge", "Wall power the unit reports.", _value(lambda u: u.power_w)),
    Series(
        "unit_power_proven_watts", "gauge", "Wall power its shares prove by its model's J/TH.", _value(lambda u: u.power_shares_w)
    ),
    Series(
        "unit_hashrate_hashes_per_second",
        "gauge",
        "Hashrate: expected of the level, reported by the unit, proven by shares.",
        lambda u: [
            (("expected",), u.hashrate_expected_hps),
            (("reported",), u.hashrate_reported_hps),
            (("shares",), u.hashrate_shares_hps),
        ],
        ("source",),
    ),
    Series(
        "unit_temperature_celsius",
        "gauge",
        "Water in, water out, hottest chip.",
        lambda u: [(("inlet",), u.inlet_c), (("outlet",), u.outlet_c), (("chip",), u.chip_c)],
        ("place",),
    ),
    Series("unit_reading_age_seconds", "gauge", "Age of the last reading of its API.", _value(lambda u: u.reading_age_s)),
    Series("unit_share_age_seconds", "gauge", "Age of its last share.", _value(lambda u: u.share_age_s)),
    Series("unit_shares_accepted_total", "counter", "Its valid shares.", _value(lambda u: u.accepted)),
    Series("unit_shares_rejected_total", "counter", "Its shares we refused.", _value(lambda u: u.rejected)),
)


def _families(series: Series[View], keyed: Iterable[tuple[tuple[str, ...], View]], keys: tuple[str, ...]) -> Iterator[Metric]:
    family_of = CounterMetricFamily if series.kind == "counter" else GaugeMetricFamily
    family = family_of(PREFIX + series.name, series.help, labels=[*keys, *series.labels])
    for key, view in keyed:
        for labels, value in series.read(view):
            if value is not None:
                family.add_metric([*key, *labels], float(value))
    yield family


class SiteCollector(Collector):
    """prometheus-client collector over one frozen picture of the site; without `units`, no series for single units."""

    def __init__(self, site: SiteView, units: Sequence[UnitView] = ()) -> None:
        self._site = site
        self._units = units

    def collect(self) -> Iterator[Metric]:
        """All series, in the order of the tables."""
        for site_series in SITE_SERIES:
            yield from _families(site_series, [((), self._site)], ())
        pools = [((_label(pool.name),), pool) for pool in self._site.pools]
        for pool_series in POOL_SERIES:
            yield from _families(pool_series, pools, ("pool",))
        signals = [((_label(signal.name),), signal) for signal in self._site.signals]
        for signal_series in SIGNAL_SERIES if signals else ():
            yield from _families(signal_series, signals, ("signal",))
        loops = [((_label(loop.name),), loop) for loop in self._site.loops]
        for loop_series in LOOP_SERIES if loops else ():
            yield from _families(loop_series, loops, ("loop",))
        settlement = self._site.settlement
        for settlement_series in SETTLEMENT_SERIES if settlement is not None else ():
            yield from _families(settlement_series, [((), settlement)] if settlement is not None else [], ())
        proofs = [((_label(proof.scope),), proof) for proof in settlement.proofs] if settlement is not None else []
        for proof_series in PROOF_SERIES if proofs else ():
            yield from _families(proof_series, proofs, ("scope",))
        meters = [((_label(meter.place), _label(meter.name), meter.measures), meter) for meter in self._site.meters]
        for meter_series in METER_SERIES if meters else ():
            yield from _families(meter_series, meters, METER_LABELS)
        units = [((unit.loop, unit.id), unit) for unit in self._units]
        for unit_series in UNIT_SERIES if units else ():
            yield from _families(unit_series, units, ("loop", "unit"))


WebSeries = tuple[str, str, str, tuple[str, ...]]
HTTP_REQUESTS: WebSeries = ("http_requests_total", "counter", "HTTP requests answered.", ("method", "status"))
HTTP_REFUSED_KEYS: WebSeries = ("http_refused_keys_total", "counter", "Requests with a wrong API key.", ())
LIVE_MESSAGES_DROPPED: WebSeries = ("live_messages_dropped_total", "counter", "Live messages skipped for slow pages.", ())
LIVE_CLIENTS: WebSeries = ("live_clients", "gauge", "Pages that listen to live events.", ())
WEB_SERIES = (HTTP_REQUESTS, HTTP_REFUSED_KEYS, LIVE_MESSAGES_DROPPED, LIVE_CLIENTS)


class WebMetrics:
    """What the HTTP side counts itself, in a registry of its own beside the process's CPU, memory and descriptors."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self.requests = self._counter(HTTP_REQUESTS)
        self.refused_keys = self._counter(HTTP_REFUSED_KEYS)
        self.live_dropped = self._counter(LIVE_MESSAGES_DROPPED)
        self.live_clients = Gauge(PREFIX + LIVE_CLIENTS[0], LIVE_CLIENTS[2], registry=self.registry)

    def _counter(self, series: WebSeries) -> Counter:
        name, _, text, labels = series
        return Counter(PREFIX + name, text, labels, registry=self.registry)


def reference() -> str:
    """The Markdown table of every metric above, as docs/reference/metrics.md holds it."""
    rows = ["| metric | kind | labels | meaning |", "|---|---|---|---|"]
    for table, keys in (
        (SITE_SERIES, ()),
        (POOL_SERIES, ("pool",)),
        (SIGNAL_SERIES, ("signal",)),
        (LOOP_SERIES, ("loop",)),
        (METER_SERIES, METER_LABELS),
        (SETTLEMENT_SERIES, ()),
        (PROOF_SERIES, ("scope",)),
        (UNIT_SERIES, ("loop", "unit")),
    ):
        for series in table:
            rows.append(_row(series.name, series.kind, (*keys, *series.labels), series.help))
    rows.extend(_row(name, kind, labels, text) for name, kind, text, labels in WEB_SERIES)
    return "\n".join(rows) + "\n"


def _row(name: str, kind: str, labels: tuple[str, ...], text: str) -> str:
    return f"| `{PREFIX}{name}` | {kind} | {', '.join(labels)} | {text} |"
