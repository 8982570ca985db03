"""Every metric this product exposes: its name, kind, labels and where its value comes from, in a table for each kind of view.

Values are read from the views at scrape time, so a metric cannot disagree with the API. Unknown (None) gives no sample, never 0.
Labels are bounded: pool, verdict, state, unit; never a job or an address. Not here: how a row becomes samples (series.py); HTTP,
caching, threads (web/exposition.py).
"""

from collections.abc import Callable, Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from proxy.telemetry.series import PREFIX, Series, counter, counts, families, gauge, gauges, label_of, state
from proxy.views import LoopView, MeterView, PlanView, PoolView, ProofView, SettlementView, SignalView, SiteView, UnitView

LADDER_STATES = ("LIVE", "HOLD", "FALLBACK", "LIMIT", "STOP")
POOL_STATES = ("connecting", "ready", "sick", "down", "off")
LEDGER_STATES = ("ok", "degraded")
PLAN_STATES = ("good", "short", "kept", "none")
HEAT_QUALITIES = ("measured", "summed", "estimated", "unknown")
LOOP_STATES = ("running", "shedding", "dry", "tripped")
HOLDS = ("stop", "manual limit", "import limit")
METER_LABELS = ("place", "meter", "measures")
METER_STATES = ("ok", "waiting", "lost", "stuck", "lying", "jumping")


def _planned(read: Callable[[PlanView], float | None]) -> Callable[[SiteView], float | None]:
    """A value of the plan; None where the planner is off."""
    return lambda view: None if view.plan is None else read(view.plan)


SITE_SERIES: tuple[Series[SiteView], ...] = (
    gauges("build_info", "Version that runs; always 1.", lambda v: (((v.version,), 1.0),), ("version",)),
    gauge("uptime_seconds", "Time since the process started.", lambda v: v.uptime_s),
    gauge("miners_connected", "Open Stratum connections of miners.", lambda v: v.miners_connected),
    gauge("hashrate_hashes_per_second", "Hashrate of the site as its shares prove it.", lambda v: v.hashrate_hps),
    gauges("units", "Configured units by state.", lambda v: [((k,), float(n)) for k, n in v.unit_states.items()], ("state",)),
    counter("shares_received_total", "Shares received from miners.", lambda v: v.shares.received),
    counts("shares_rejected_total", "Shares we refused, by our verdict.", lambda v: v.shares.rejected, "verdict"),
    counter(
        "shares_below_target_total",
        "Valid shares below the pool's target: proof for us, not due to the pool.",
        lambda v: v.shares.below_pool_target,
    ),
    counter("shares_accepted_total", "Shares accepted by pools.", lambda v: v.shares.accepted),
    counts("shares_refused_total", "Shares refused by pools, by code.", lambda v: v.shares.refused, "code"),
    counts("shares_unknown_total", "Shares a pool never answered, by reason.", lambda v: v.shares.unknown, "reason"),
    gauge("shares_pending", "Shares sent to a pool and not answered yet.", lambda v: v.shares.pending),
    gauge(
        "shares_conservation_delta",
        "Received minus all final states minus pending: anything but 0 is a bug.",
        lambda v: v.shares.conservation_delta,
    ),
    counter("blocks_total", "Shares that met the network's target.", lambda v: v.shares.blocks),
    counter("work_valid_hashes_total", "Expected hashes behind all valid shares.", lambda v: v.shares.valid_work),
    counter("work_accepted_hashes_total", "Expected hashes behind shares the pools accepted.", lambda v: v.shares.accepted_work),
    gauge("heat_demand_watts", "Thermal power the utility asks for.", lambda v: v.heat.demand_w),
    gauge("heat_demand_age_seconds", "Age of that demand.", lambda v: v.heat.demand_age_s),
    gauge("heat_demand_validity_seconds", "How long the demand stays valid.", lambda v: v.heat.demand_valid_for_s),
    gauge("heat_delivered_watts", "Thermal power delivered.", lambda v: v.heat.heat_w),
    state(
        "heat_quality", "1 for where the delivered heat comes from.", HEAT_QUALITIES, lambda v: v.heat.heat_quality, label="quality"
    ),
    gauge("heat_tracking_error_ratio", "(delivered - demand) / demand.", lambda v: v.heat.tracking_error),
    state(
        "heat_ladder_state", "1 for the rung of the safe-state ladder the site stands on.", LADDER_STATES, lambda v: v.heat.ladder
    ),
    gauge("heat_limited", "1 while something keeps the set-point from the demand.", lambda v: v.heat.limiter is not None),
    gauge("heat_supply_celsius", "Supply temperature at the boundary.", lambda v: v.heat.supply_c),
    gauge("heat_return_celsius", "Return temperature at the boundary.", lambda v: v.heat.return_c),
    gauge("heat_supply_asked_celsius", "Supply temperature that is asked for.", lambda v: v.heat.supply_asked_c),
    gauge("heat_outdoor_celsius", "Outdoor temperature the heat curve goes by, while fresh.", lambda v: v.heat.outdoor_c),
    gauge(
        "heat_efficiency_ratio",
        "Heat into the water per electrical power, as learned from the boundary's meter.",
        lambda v: v.heat.efficiency,
    ),
    gauge("heat_plant_lag_seconds", "Lag from power to metered heat, as control reckons.", lambda v: v.heat.plant_tau_s),
    gauge(
        "heat_disturbance_watts",
        "Metered heat beyond what the model of the plant expects, filtered.",
        lambda v: v.heat.disturbance_w,
    ),
    gauge("heat_lead_watts", "Heat by which the set-point leads the demand during a step.", lambda v: v.heat.lead_w),
    gauge(
        "heat_changes_per_unit_day",
        "Level changes a unit and day, filtered over hours; six are planned for.",
        lambda v: v.heat.changes_per_unit_day,
    ),
    gauge("heat_demand_turns_per_hour", "Turns of the demand by more than heat.swing_size.", lambda v: v.heat.swings_per_h),
    gauge("heat_units_resting", "Units moved heat.max_changes_per_day times in 24 h.", lambda v: v.heat.units_resting),
    gauge("heat_alarms", "Alarms that stand or wait to be acknowledged; GET /api/v1/heat has them.", lambda v: len(v.heat.alarms)),
    gauges(
        "heat_holds",
        "Stops and limits that hold the site down until they are taken back or end; GET /api/v1/heat has them.",
        lambda v: [((kind,), float(sum(hold.kind == kind for hold in v.heat.holds))) for kind in HOLDS],
        ("kind",),
    ),
    gauge("heat_headroom_up_watts", "Thermal power that could be added to what is made now.", lambda v: v.heat.headroom_up_w),
    gauge("heat_headroom_down_watts", "Thermal power that could be shed from what is made now.", lambda v: v.heat.headroom_down_w),
    gauge(
        "heat_marginal_price_per_kwh",
        "What one more kWh of heat (thermal) costs the site, in the currency of its prices; below 0 it earns.",
        lambda v: v.heat.marginal_price_per_kwh,
    ),
    state(
        "heat_plan_state",
        "1 for the state of the plan ahead; kept: a newer one failed. Absent where the planner is off.",
        PLAN_STATES,
        lambda v: None if v.plan is None else v.plan.state,
    ),
    gauge(
        "heat_plan_age_seconds",
        "Age of the plan in force.",
        lambda v: None if v.plan is None or v.plan.made_unix_s is None else v.now_unix_s - v.plan.made_unix_s,
    ),
    gauge(
        "heat_plan_price_per_kwh",
        "What one more kWh of heat costs now by the plan, tank and boiler counted; absent where no money gets it.",
        _planned(lambda plan: plan.price_of_heat_per_kwh),
    ),
    gauge(
        "heat_plan_shortfalls",
        "Stretches of the plan where the heat asked for cannot be had, or too much would be made.",
        _planned(lambda plan: None if plan.state == "none" else len(plan.shortfalls)),
    ),
    gauge("heat_plan_backup_watts", "Heat planned of the back-up boiler now.", _planned(lambda plan: plan.backup_w)),
    gauge(
        "heat_tank_charge_watts",
        "Heat planned into the storage tank now; negative: out of it.",
        _planned(lambda plan: plan.tank_charge_w),
    ),
    gauges(
        "heat_tank_watt_hours",
        "Content of the storage tank: as planned for now, and as last told.",
        lambda v: () if v.plan is None else ((("planned",), v.plan.tank_planned_wh), (("told",), v.plan.tank_wh)),
        ("source",),
    ),
    gauge(
        "electricity_price_per_kwh",
        "Price of electricity the plan counts with now.",
        _planned(lambda plan: plan.electricity_per_kwh),
    ),
    counter("heat_demand_energy_watt_hours_total", "Heat asked for.", lambda v: v.heat.demand_energy_wh),
    counter("heat_delivered_energy_watt_hours_total", "Heat delivered.", lambda v: v.heat.heat_energy_wh),
    counter("heat_setpoint_changes_total", "Changes of the site's set-point.", lambda v: v.heat.setpoint_changes),
    counter("heat_level_changes_total", "Power levels commanded to units.", lambda v: v.heat.level_changes),
    gauge("heat_decision_seconds", "Time the last control cycle took to decide.", lambda v: v.heat.decision_s),
    gauge("power_setpoint_watts", "Electrical power we decided on, after limits.", lambda v: v.heat.setpoint_power_w),
    gauge("power_commanded_watts", "Electrical power of the levels commanded.", lambda v: v.heat.commanded_power_w),
    gauge("power_measured_watts", "Electrical power the units report.", lambda v: v.heat.measured_power_w),
    state("ledger_state", "1 for the ledger's state; degraded: shares are refused.", LEDGER_STATES, lambda v: v.ledger_state),
    gauge("loop_lag_seconds", "How late the event loop last ran a task.", lambda v: v.loop_lag_s),
    gauge(
        "certificate_expiry_seconds",
        "Time until the certificate of the Stratum V2 port expires; it is renewed long before.",
        lambda v: v.v2_certificate_expires_s,
    ),
)

POOL_SERIES: tuple[Series[PoolView], ...] = (
    state("pool_state", "1 for the pool's state.", POOL_STATES, lambda p: p.state),
    gauge("pool_active", "1 while units work for it.", lambda p: p.active),
    gauge("pool_sessions", "Open connections to the pool.", lambda p: p.sessions),
    gauge("pool_units", "Units that work for the pool.", lambda p: p.units),
    gauge("pool_difficulty", "Share difficulty the pool asks for.", lambda p: p.difficulty),
    gauge("pool_job_age_seconds", "Age of the pool's last job.", lambda p: p.last_job_age_s),
    gauge("pool_submit_latency_seconds", "Median time to an answer, last 100 shares.", lambda p: p.submit_latency_s),
    counter("pool_shares_accepted_total", "Shares the pool accepted.", lambda p: p.accepted),
    counts("pool_shares_refused_total", "Shares the pool refused, by code.", lambda p: p.refused, "code"),
    counts("pool_shares_unknown_total", "Shares the pool never answered.", lambda p: p.unknown, "reason"),
    gauge("pool_shares_pending", "Shares the pool has not answered yet.", lambda p: p.pending),
    counter("pool_work_accepted_hashes_total", "Expected hashes behind accepted shares.", lambda p: p.accepted_work),
    counter(
        "pool_mismatched_batches_total",
        "Acknowledgements of a Stratum V2 pool whose count or sum is not that of our shares.",
        lambda p: p.batch_mismatches,
    ),
    counter("pool_reconnects_total", "Times we had to connect again.", lambda p: p.reconnects),
)

SIGNAL_SERIES: tuple[Series[SignalView], ...] = (
    gauge("signal_connected", "1 while the utility's end of the signal is there.", lambda s: s.connected),
    gauge("signal_message_age_seconds", "Age of the last message of the utility.", lambda s: s.message_age_s),
    gauge("signal_report_age_seconds", "Age of the last report sent to it.", lambda s: s.report_age_s),
    counter("signal_messages_accepted_total", "Messages of the utility that were taken.", lambda s: s.accepted),
    counter("signal_messages_refused_total", "Messages of the utility that were not taken.", lambda s: s.refused),
    counter("signal_reconnects_total", "Times the signal was connected again.", lambda s: s.reconnects),
)

LOOP_SERIES: tuple[Series[LoopView], ...] = (
    state("loop_state", "1 for what the loop's interlock says.", LOOP_STATES, lambda p: p.state),
    gauge("loop_may_wake", "1 while the loop may wake units.", lambda p: p.may_wake),
    gauge("loop_power_watts", "Electrical power of its units, measured or else expected.", lambda p: p.drawn_w),
    gauge("loop_cap_watts", "The most its units may draw; absent without a cap.", lambda p: p.cap_w),
    gauge("loop_supply_celsius", "Water it gives, of its meter or its machines.", lambda p: p.supply_c),
)

METER_SERIES: tuple[Series[MeterView], ...] = (
    state("meter_state", "1 for the meter's state; only ok ones count.", METER_STATES, lambda m: m.state),
    gauge("meter_power_watts", "Heat or electricity the meter shows.", lambda m: m.power_w),
    gauge(
        "meter_energy_watt_hours",
        "Its energy counter, which goes back when a meter is exchanged; of a tank what it holds.",
        lambda m: m.energy_wh,
    ),
    gauge("meter_supply_celsius", "Its supply temperature.", lambda m: m.supply_c),
    gauge("meter_return_celsius", "Its return temperature.", lambda m: m.return_c),
    gauge("meter_flow_liters_per_minute", "Its water flow.", lambda m: m.flow_l_per_min),
    gauge("meter_reading_age_seconds", "Age of the last reading that was believed.", lambda m: m.age_s),
    counter("meter_readings_total", "Readings that were believed.", lambda m: m.readings),
    counter("meter_readings_refused_total", "Readings that were not believed.", lambda m: m.refused),
    counter("meter_failures_total", "Times it was asked without a usable answer.", lambda m: m.failures),
)

SETTLEMENT_SERIES: tuple[Series[SettlementView], ...] = (
    counter("settlement_periods_total", "Settlement records closed by this process.", lambda s: s.closed),
    counter("settlement_revisions_total", "Settlement records corrected by a revision.", lambda s: s.revised),
    counter("settlement_incomplete_total", "Settlement records closed with a gap in heat or electricity.", lambda s: s.incomplete),
    gauge("settlement_rows", "Rows of the settlement chain.", lambda s: s.rows),
    gauge("settlement_overdue_seconds", "How long the oldest period that should be closed has waited.", lambda s: s.overdue_s),
)

PROOF_SERIES: tuple[Series[ProofView], ...] = (
    gauge(
        "proof_disagreement_ratio",
        "How far work, electricity, telemetry and heat are apart at most, as a part of their mean, in the newest period.",
        lambda p: None if p.disagreement is None else abs(p.disagreement),
    ),
    gauge("proof_interval_ratio", "What their errors explain of it (95 %).", lambda p: p.interval),
    gauge("proof_disagrees", "1 while they tell different stories.", lambda p: None if p.agrees is None else not p.agrees),
    gauge("proof_work_energy_watt_hours", "Energy that the work of the newest period proves.", lambda p: p.work_wh),
)

UNIT_SERIES: tuple[Series[UnitView], ...] = (
    gauge("unit_connected", "1 while the unit's Stratum connection is open.", lambda u: u.connected),
    gauge("unit_not_believed", "1 while its shares contradict the power it says.", lambda u: u.doubt is not None),
    gauge("unit_fault", "1 while the unit is in fault.", lambda u: u.fault is not None),
    gauge("unit_level_commanded", "Power level commanded; 0 is asleep.", lambda u: u.level_commanded),
    gauge("unit_level_observed", "Power level the unit reports.", lambda u: u.level_observed),
    gauge("unit_power_commanded_watts", "Wall power of the commanded level.", lambda u: u.power_commanded_w),
    gauge("unit_power_watts", "Wall power the unit reports.", lambda u: u.power_w),
    gauge("unit_power_proven_watts", "Wall power its shares prove by its model's J/TH.", lambda u: u.power_shares_w),
    gauges(
        "unit_hashrate_hashes_per_second",
        "Hashrate: expected of the level, reported by the unit, proven by shares.",
        lambda u: [
            (("expected",), u.hashrate_expected_hps),
            (("reported",), u.hashrate_reported_hps),
            (("shares",), u.hashrate_shares_hps),
        ],
        ("source",),
    ),
    gauges(
        "unit_temperature_celsius",
        "Water in, water out, hottest chip.",
        lambda u: [(("inlet",), u.inlet_c), (("outlet",), u.outlet_c), (("chip",), u.chip_c)],
        ("place",),
    ),
    gauge("unit_reading_age_seconds", "Age of the last reading of its API.", lambda u: u.reading_age_s),
    gauge("unit_share_age_seconds", "Age of its last share.", lambda u: u.share_age_s),
    counter("unit_shares_accepted_total", "Its valid shares.", lambda u: u.accepted),
    counter("unit_shares_rejected_total", "Its shares we refused.", lambda u: u.rejected),
)


class SiteCollector(Collector):
    """prometheus-client collector over one frozen picture of the site; without `units`, no series for single units."""

    def __init__(self, site: SiteView, units: Sequence[UnitView] = ()) -> None:
        self._site = site
        self._units = units

    def collect(self) -> Iterator[Metric]:
        """All series, in the order of the tables; of what the site has none of, no series either."""
        site = self._site
        yield from families(SITE_SERIES, [((), site)])
        yield from families(POOL_SERIES, [((label_of(pool.name),), pool) for pool in site.pools], ("pool",))
        if site.signals:
            yield from families(SIGNAL_SERIES, [((label_of(signal.name),), signal) for signal in site.signals], ("signal",))
        if site.loops:
            yield from families(LOOP_SERIES, [((label_of(loop.name),), loop) for loop in site.loops], ("loop",))
        if site.settlement is not None:
            yield from families(SETTLEMENT_SERIES, [((), site.settlement)])
            if site.settlement.proofs:
                proofs = [((label_of(proof.scope),), proof) for proof in site.settlement.proofs]
                yield from families(PROOF_SERIES, proofs, ("scope",))
        if site.meters:
            meters = [((label_of(meter.place), label_of(meter.name), meter.measures), meter) for meter in site.meters]
            yield from families(METER_SERIES, meters, METER_LABELS)
        if self._units:
            yield from families(UNIT_SERIES, [((unit.loop, unit.id), unit) for unit in self._units], ("loop", "unit"))


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
