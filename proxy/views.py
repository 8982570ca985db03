"""Read models: what the API, the page, the metrics and the demo's summary show.

Filled by the part that owns the facts, changed by nobody. Unknown is None, never 0. Durations are seconds, power watts,
temperatures degrees Celsius, work is expected hashes.
"""

import msgspec


class ShareTotals(msgspec.Struct, frozen=True):
    """Every share since the process started, by where it ended. `conservation_delta` must be 0:
    received = rejected + below_pool_target + accepted + refused + unknown + pending."""

    received: int = 0
    rejected: dict[str, int] = {}  # by our own verdict
    below_pool_target: int = 0  # valid proof for us, not due to the pool
    accepted: int = 0  # by the pool
    refused: dict[str, int] = {}  # by the pool, by code
    unknown: dict[str, int] = {}  # never answered, by reason
    pending: int = 0
    blocks: int = 0
    valid_work: float = 0.0
    accepted_work: float = 0.0
    conservation_delta: int = 0


class PoolView(msgspec.Struct, frozen=True):
    """One configured pool. state: connecting, ready, sick, down or off (with `reason`)."""

    name: str
    url: str
    transport: str  # tcp, tls: Stratum V1; noise: Stratum V2
    mode: str  # aggregated, grouped, per_unit
    state: str
    reason: str | None
    priority: int
    weight: float
    active: bool  # units work for it now
    sessions: int
    units: int
    difficulty: float | None
    extranonce1_bytes: int | None
    extranonce2_bytes: int | None
    version_mask: str | None
    last_job_age_s: float | None
    submit_latency_s: float | None  # median of the last 100 answers
    accepted: int
    refused: dict[str, int]
    unknown: dict[str, int]
    pending: int
    accepted_work: float
    reconnects: int
    last_message: str | None  # client.show_message
    last_refusal: str | None = None  # in the pool's own words
    batch_mismatches: int = 0  # acknowledgements of a Stratum V2 pool whose count or sum is not that of our shares


class UnitView(msgspec.Struct, frozen=True):
    """One configured unit: what was asked, what it says, what its shares prove."""

    id: str
    loop: str
    model: str
    address: str
    worker: str
    serial: str | None
    state: str  # UnitState name
    state_since_s: float  # how long it has been in that state
    in_service: bool  # taken out by an operator
    fault: str | None
    connected: bool  # stratum
    pool: str | None
    level_commanded: int | None
    level_observed: int | None
    power_commanded_w: float | None
    power_max_w: float | None  # of its highest level
    power_w: float | None
    hashrate_expected_hps: float | None  # of the commanded level
    hashrate_reported_hps: float | None  # what the device says
    hashrate_shares_hps: float | None  # what its shares prove
    difficulty: float | None
    inlet_c: float | None
    outlet_c: float | None
    chip_c: float | None
    reading_age_s: float | None
    share_age_s: float | None
    accepted: int
    rejected: int
    user_agent: str | None
    power_shares_w: float | None = None  # what its shares prove, by the model's J/TH, with its 95 % interval
    power_shares_low_w: float | None = None
    power_shares_high_w: float | None = None
    stratum_version: int | None = None  # 1 or 2; None while not connected
    doubt: str | None = None  # why heat control does not believe what it says of its power


class HoldView(msgspec.Struct, frozen=True):
    """What keeps the site down until somebody takes it back, or a time. kind: stop, manual limit, import limit; source: whose."""

    kind: str
    source: str
    power_w: float  # electrical, at most
    since_unix_s: float | None
    until_unix_s: float | None  # None: until it is taken back


class HeatView(msgspec.Struct, frozen=True):
    """Demand against delivery. ladder: LIVE, HOLD, FALLBACK, LIMIT or STOP."""

    ladder: str
    source: str | None
    demand_w: float | None
    demand_age_s: float | None
    demand_valid_for_s: float | None
    setpoint_power_w: float | None  # electrical, after limits
    commanded_power_w: float
    measured_power_w: float | None
    heat_w: float | None  # delivered, metered or estimated
    heat_quality: str  # measured, summed (of the loops' meters), estimated, unknown
    supply_c: float | None
    return_c: float | None
    headroom_up_w: float  # heat that could be added
    headroom_down_w: float
    marginal_price_per_kwh: float | None  # what one more kWh of heat costs; below 0 it earns
    limiter: str | None  # what keeps the set-point from the demand
    tracking_error: float | None  # (heat - demand) / demand
    setpoint_changes: int
    level_changes: int
    demand_energy_wh: float
    heat_energy_wh: float
    decision_s: float | None  # how long the last cycle took to decide
    supply_asked_c: float | None = None
    outdoor_c: float | None = None
    efficiency: float | None = None  # heat per wall power, as learned
    plant_tau_s: float | None = None  # lag from power to metered heat, as fitted
    disturbance_w: float | None = None  # metered heat beyond the model, filtered
    lead_w: float | None = None  # heat by which the set-point leads the demand
    changes_per_unit_day: float | None = None  # level changes, filtered over hours
    alarms: tuple[str, ...] = ()  # standing, most severe first
    holds: tuple[HoldView, ...] = ()
    swings_per_h: int = 0  # turns of the demand by more than heat.swing_size in the last hour
    units_resting: int = 0  # moved heat.max_changes_per_day times in 24 h
    cause: str | None = None  # why this rung rules, in words
    stale_s: float | None = None  # how long no demand has been valid; 0 while one is, None when there never was one


class AlarmView(msgspec.Struct, frozen=True):
    """One alarm. `severity` counts down from 3 (heat or safety at stake). Of alarms that are not heat control's own, severity and
    age are not known."""

    text: str  # cause and remedy
    severity: int | None = None
    age_s: float | None = None
    is_over: bool = False  # it stays until somebody acknowledges it


class LoopView(msgspec.Struct, frozen=True):
    """One hydraulic loop. state: running, shedding, dry (no flow), tripped (too hot)."""

    name: str
    state: str
    may_wake: bool
    reason: str | None  # what holds it, or why it wakes nobody
    cap_w: float | None  # electrical; the lowest of its own and its interlock's, None without any
    drawn_w: float | None  # electrical, measured or else expected
    heat_w: float | None  # of its own meter
    supply_c: float | None
    supply_from: str | None  # meter, or machines: the middle one of their outlets
    shed_supply_c: float  # above, units are shed
    return_c: float | None
    flow_l_per_min: float | None
    design_flow_l_per_min: float | None  # None: its flow is not watched
    is_locked: bool = False  # it tripped too often: asleep until somebody acknowledges


class DemandAhead(msgspec.Struct, frozen=True):
    """A demand that was taken and waits for its time."""

    source: str
    start_unix_s: float
    end_unix_s: float
    power_w: float | None  # None: a supply temperature alone
    supply_c: float | None


class MeterView(msgspec.Struct, frozen=True):
    """One meter. state: ok, waiting (just started), lost, stuck, lying or jumping, with `reason`; only `is_used` ones count."""

    name: str
    place: str  # boundary, or a loop
    measures: str  # heat, electricity, tank
    protocol: str  # rest, modbus, mbus
    state: str
    reason: str | None
    is_used: bool
    age_s: float | None  # of the last reading that was believed
    power_w: float | None
    supply_c: float | None
    return_c: float | None
    flow_l_per_min: float | None
    energy_wh: float | None  # its counter, or what the tank holds
    readings: int  # believed
    refused: int  # not believed
    failures: int  # asked, and no usable answer


class SignalView(msgspec.Struct, frozen=True):
    """One way by which a utility asks and is answered. `reason`: why it is not connected. Its newest demand that was taken stands
    in `source` to `asked_until_unix_s`; None until there was one."""

    name: str  # rest, mqtt, openadr, opcua, modbus
    peer: str  # whom it talks to
    connected: bool
    reason: str | None
    since_s: float  # how long it has been connected, or not
    message_age_s: float | None  # of the last message that came
    report_age_s: float | None  # of the last report that went out
    accepted: int  # messages taken
    refused: int  # messages not taken
    reconnects: int
    last_refusal: str | None
    source: str | None = None
    sequence: int | None = None
    asked_w: float | None = None
    asked_supply_c: float | None = None
    asked_from_unix_s: float | None = None
    asked_until_unix_s: float | None = None
    is_alive: bool | None = None  # whether its alive counter moves; None: it has none


class PlanBlocks(msgspec.Struct, frozen=True):
    """The blocks of a plan in columns, oldest first. Powers are means over a block, `tank_wh` is at its end."""

    start_unix_s: list[float]
    length_s: list[float]
    demand_w: list[float]
    units_heat_w: list[float]
    power_w: list[float]  # electrical
    tank_charge_w: list[float]  # negative: out of the tank
    tank_wh: list[float | None]
    backup_w: list[float]
    short_w: list[float]  # heat asked for that cannot be had
    surplus_w: list[float]  # heat that nobody wants
    electricity_per_kwh: list[float]
    work_per_th_day: list[float]
    price_of_heat_per_kwh: list[float | None]  # of one more kWh; None where no money gets it
    cost: list[float]  # electricity and boiler, less the worth of work


class PlanView(msgspec.Struct, frozen=True):
    """The plan in force. state: good, short (`shortfalls`), kept (a newer one failed: `reasons`) or none (`reasons`)."""

    state: str
    made_unix_s: float | None
    valid_until_unix_s: float | None
    end_unix_s: float | None
    reasons: tuple[str, ...]
    shortfalls: tuple[str, ...]
    notes: tuple[str, ...]
    currency: str
    price_of_heat_per_kwh: float | None  # now; all prices in `currency`
    electricity_per_kwh: float | None  # now
    units_heat_w: float | None  # now, as planned
    tank_charge_w: float | None
    backup_w: float | None
    tank_capacity_wh: float
    tank_planned_wh: float | None  # what it should hold now
    tank_wh: float | None  # what it was said to hold
    electricity_cost: float | None  # of the whole plan
    work_revenue: float | None
    backup_cost: float | None
    heat_income: float | None  # what the utility pays for the heat of the plan
    solve_s: float | None


class ProofView(msgspec.Struct, frozen=True):
    """Whether work, electricity, telemetry and heat of one scope told the same story in the newest closed period.

    Energies are electrical (heat as metered); work with its 95 % interval. disagreement: how far the two furthest are apart, as a
    part of their mean; interval: what their errors explain of it. agrees None: too little was known or drawn to judge.
    """

    scope: str
    start_unix_s: int
    period_s: int
    work_wh: float | None
    work_low_wh: float | None
    work_high_wh: float | None
    electric_wh: float | None
    electric_quality: str
    reported_wh: float | None
    heat_wh: float | None
    heat_quality: str
    disagreement: float | None
    interval: float | None
    between: str | None  # such as "work, heat"
    agrees: bool | None
    cause: str | None


class ProvenNowView(msgspec.Struct, frozen=True):
    """What shares prove now of the power of the units that are settled and known by them, and what these say themselves."""

    work_w: float
    work_low_w: float  # 95 %
    work_high_w: float
    says_w: float
    units: int
    of_units: int  # of the site


class SettlementView(msgspec.Struct, frozen=True):
    """Where settlement stands: what is closed, and the proof of heat of the newest period, the site first."""

    period_s: int
    closed_until_unix_s: int | None = None
    closed: int = 0  # records of this process, first revisions
    revised: int = 0
    incomplete: int = 0  # of those closed: with a gap in heat or electricity
    rows: int = 0  # of the chain
    head: str | None = None  # its newest digest, hexadecimal
    overdue_s: float = 0.0  # how long the oldest period that should be closed has waited
    proofs: list[ProofView] = []


class SiteView(msgspec.Struct, frozen=True):
    """Everything the first page needs, in one piece."""

    name: str
    version: str
    now_unix_s: float
    uptime_s: float
    miners_connected: int
    hashrate_hps: float | None  # from shares, all units
    shares: ShareTotals
    heat: HeatView
    pools: list[PoolView]
    unit_states: dict[str, int]
    ledger_state: str  # ok, degraded
    loop_lag_s: float | None
    plan: PlanView | None = None  # None: the planner is off
    v2_certificate_expires_s: float | None = None  # below 0: devices refuse the site; None: it has no encrypted V2 port
    meters: list[MeterView] = []
    signals: list[SignalView] = []
    alarms: list[AlarmView] = []  # standing, most severe first
    loops: list[LoopView] = []
    ahead: list[DemandAhead] = []  # next first
    settlement: SettlementView | None = None
    proven_now: ProvenNowView | None = None  # None: no unit is settled and known by its shares
