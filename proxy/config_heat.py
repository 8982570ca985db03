"""Heat in a site file: control, signals of the utility, meters, planner, settlement."""

from typing import Annotated, Literal

from msgspec import Meta

from proxy.config_base import Name, Table


class HeatMeter(Table, frozen=True, kw_only=True):
    """[heat.meter]"""

    stale_s: Annotated[float, Meta(ge=1, le=3_600, description="a reading older than this is no reading")] = 60.0


class HeatCurve(Table, frozen=True, kw_only=True):
    """[heat.curve]: what to deliver by outdoor temperature, as a mode of its own and when the signal is lost."""

    points: Annotated[
        list[tuple[float, float]],
        Meta(max_length=32, description="[outdoor C, heat W] rising in outdoor temperature; empty: no curve"),
    ] = []
    supply_points: Annotated[
        list[tuple[float, float]], Meta(max_length=32, description="[outdoor C, supply C], for mode supply_temperature")
    ] = []
    outdoor_stale_s: Annotated[float, Meta(ge=10, le=86_400, description="an outdoor temperature older than this is unknown")] = (
        3_600.0
    )
    is_mode: Annotated[bool, Meta(description="true: the curve rules whenever no demand does, from the start")] = False


class HeatCosts(Table, frozen=True, kw_only=True):
    """[heat.costs]: what dispatch weighs. Any currency, the same for all."""

    currency: Annotated[str, Meta(pattern=r"^[A-Z]{3}$", description="ISO 4217, for labels only")] = "EUR"
    electricity_per_kwh: Annotated[float, Meta(ge=-10, le=10, description="price where no forecast says otherwise")] = 0.045
    work_per_th_day: Annotated[float, Meta(ge=0, le=100, description="revenue of 1 TH/s for a day")] = 0.052
    heat_per_kwh: Annotated[float, Meta(ge=0, le=10, description="what the utility pays for heat")] = 0.03
    switch: Annotated[float, Meta(ge=0, le=100, description="wear of one level change")] = 0.02
    start: Annotated[float, Meta(ge=0, le=100, description="wear of one wake from sleep")] = 0.06


class Planner(Table, frozen=True, kw_only=True):
    """[heat.planner]: two days ahead with tank, prices and back-up boiler; dispatch works without it."""

    enabled: Annotated[bool, Meta(description="true: plan every period_s")] = False
    horizon_h: Annotated[float, Meta(ge=1, le=168, description="how far ahead")] = 48.0
    step_s: Annotated[float, Meta(ge=300, le=3_600, description="one block of the plan")] = 900.0
    period_s: Annotated[float, Meta(ge=60, le=86_400, description="a new plan that often, and on new prices or schedules")] = 900.0
    tank_capacity_wh: Annotated[float, Meta(ge=0, description="usable heat of the storage tank; 0: none")] = 0.0
    tank_max_charge_w: Annotated[float, Meta(ge=0, description="into the tank, and out of it")] = 0.0
    tank_loss_per_day: Annotated[float, Meta(ge=0, le=1, description="part of its content lost in a day")] = 0.02
    tank_volume_m3: (
        Annotated[float, Meta(gt=0, le=1_000_000, description="its water, where a meter measures its temperatures")] | None
    ) = None
    tank_empty_c: (
        Annotated[
            float,
            Meta(
                ge=0, le=150, description="water of this temperature is of no use any more: the network's return, or what it needs"
            ),
        ]
        | None
    ) = None
    tank_stale_s: Annotated[
        float, Meta(ge=60, le=86_400, description="a reading of the tank's content older than this is none: the tank is left alone")
    ] = 1_800.0
    backup_max_w: Annotated[float, Meta(ge=0, description="heat of the back-up boiler; 0: none")] = 0.0
    backup_per_kwh: Annotated[float, Meta(ge=0, le=100, description="its heat's price")] = 0.09
    backup_follows_plan: Annotated[
        bool,
        Meta(description="true: the boiler runs as planned, so units leave its share to it; false: it is the last resort"),
    ] = False
    max_age_s: Annotated[
        float, Meta(ge=60, le=604_800, description="a plan older than this is none; units then follow the demand alone")
    ] = 3_600.0


class Heat(Table, frozen=True, kw_only=True):
    """[heat]"""

    enabled: Annotated[bool, Meta(description="false: the proxy never commands a unit")] = True
    control_period_s: Annotated[float, Meta(ge=0.1, le=300, description="one decision for the whole site")] = 20.0
    telemetry_period_s: Annotated[float, Meta(ge=0.1, le=300, description="one sweep over the units")] = 15.0
    telemetry_stale_s: Annotated[float, Meta(ge=1, le=3_600, description="readings older than this are unknown")] = 60.0
    thermal_efficiency: Annotated[float, Meta(gt=0, le=1, description="heat into the water per wall power")] = 0.95
    max_power_w: Annotated[float, Meta(gt=0, description="site cap, electrical; always wins")] | None = None
    min_power_w: Annotated[float, Meta(ge=0, description="minimum stable power: anti-condensation, frost")] = 0.0
    ramp_w_per_min: Annotated[float, Meta(gt=0, description="site ramp limit, electrical")] = 1_000_000.0
    dead_band: Annotated[float, Meta(ge=0, le=0.2, description="no change for an error below this part of the target")] = 0.004
    correction_tau_s: Annotated[float, Meta(ge=1, le=3_600, description="filter of the measured-power correction")] = 240.0
    max_correction: Annotated[float, Meta(ge=0, le=0.5, description="the correction never exceeds this part")] = 0.2
    max_transition: Annotated[float, Meta(gt=0, le=1, description="part of a loop that may change level in one cycle")] = 0.05
    wakes_per_min: Annotated[
        float, Meta(gt=0, le=10_000, description="units woken in a minute in one loop: inrush of its breakers, and warm water")
    ] = 20.0
    commands_per_s: Annotated[float, Meta(gt=0, le=10_000, description="command rate, whole fleet")] = 100.0
    hold_after_s: Annotated[float, Meta(ge=1, le=86_400, description="demand stale: LIVE becomes HOLD")] = 120.0
    fallback_after_s: Annotated[float, Meta(ge=1, le=86_400, description="still stale: HOLD becomes FALLBACK")] = 300.0
    limit_after_s: Annotated[float, Meta(ge=1, le=604_800, description="still stale: FALLBACK becomes LIMIT")] = 1_800.0
    fallback_power_w: Annotated[float, Meta(ge=0, description="electrical power on FALLBACK; default: what was held")] | None = None
    limit_power_w: Annotated[float, Meta(ge=0, description="electrical power on LIMIT; default: min_power_w")] | None = None
    max_demand_step: Annotated[
        float, Meta(gt=0, le=10, description="a demand that jumps by more than this part of capacity is refused")
    ] = 1.0
    mode: Annotated[
        Literal["power", "supply_temperature"],
        Meta(description="what the utility's number rules: heat, or the supply temperature (held by a slow loop around the heat)"),
    ] = "power"
    reference_tau_s: Annotated[
        float,
        Meta(ge=0.1, le=3_600, description="how fast heat follows a new demand, large steps faster; longer wears the units less"),
    ] = 300.0
    preview_s: Annotated[
        float,
        Meta(ge=0, le=1_800, description="a demand known beforehand is led up to so long before it begins; 0: never"),
    ] = 195.0
    plant_tau_s: Annotated[float, Meta(ge=0.1, le=7_200, description="lag from power to metered heat; 40 % off is good enough")] = (
        430.0
    )
    fit_plant_tau: Annotated[
        bool,
        Meta(description="true: the lag is fitted while running, between 0.6 and 1.7 of plant_tau_s; needs large steps of demand"),
    ] = False
    disturbance_tau_s: Annotated[float, Meta(ge=0.1, le=7_200, description="filter of the metered disturbance")] = 240.0
    max_lead: Annotated[float, Meta(ge=0, le=0.5, description="lead over the demand during steps, as part of capacity")] = 0.12
    max_changes_per_day: Annotated[
        int,
        Meta(
            ge=1,
            le=10_000,
            description="level changes of one unit in 24 h; then it may come down, but rises only where heat is far off",
        ),
    ] = 48
    swing_size: Annotated[
        float, Meta(gt=0, le=1, description="a demand that turns round by more than this part of capacity swings")
    ] = 0.05
    max_swings_per_h: Annotated[int, Meta(ge=1, le=3_600, description="more turns in an hour: alarm")] = 6
    reserve: Annotated[float, Meta(ge=0, le=0.5, description="head-room kept for lost units, as part of the demand")] = 0.02
    curve: HeatCurve = HeatCurve()
    costs: HeatCosts = HeatCosts()
    meter: HeatMeter = HeatMeter()
    planner: Planner = Planner()


class RestSignal(Table, frozen=True, kw_only=True):
    """[signals.rest]: PUT /api/v1/heat/demand."""

    enabled: Annotated[bool, Meta(description="false: demands by REST are refused")] = True
    max_validity_s: Annotated[float, Meta(ge=10, le=604_800, description="longest validity window accepted")] = 86_400.0
    max_clock_skew_s: Annotated[float, Meta(ge=0, le=3_600, description="a demand from further in the future is refused")] = 60.0


class ModbusSignal(Table, frozen=True, kw_only=True):
    """[signals.modbus]: Modbus TCP server for the utility's PLC. The register map is in docs/reference/modbus.md."""

    listen: Annotated[str, Meta(description="host:port, usually :502; absent: off")] | None = None
    allow: Annotated[
        list[str], Meta(max_length=64, description="networks (CIDR) that may connect; empty: nobody, so name them")
    ] = []
    device_id: Annotated[int, Meta(ge=1, le=247, description="the unit identifier that is answered")] = 1
    max_clients: Annotated[int, Meta(ge=1, le=64, description="connections at a time")] = 4
    max_requests_per_s: Annotated[float, Meta(gt=0, le=1_000, description="of one client; faster ones wait")] = 20.0
    idle_timeout_s: Annotated[float, Meta(ge=1, le=3_600, description="a client silent for so long is closed")] = 120.0
    alive_timeout_s: Annotated[
        float,
        Meta(ge=1, le=3_600, description="the utility's alive register must move in this time for its set-points to be valid"),
    ] = 60.0
    word_order: Annotated[
        Literal["big", "little"], Meta(description="which 16-bit word of a 32-bit value comes first: big is the high one")
    ] = "big"


class MqttSignal(Table, frozen=True, kw_only=True):
    """[signals.mqtt]: demand and reports over an MQTT 5 broker."""

    broker: (
        Annotated[
            str, Meta(pattern=r"^mqtts?://[^/\s]+(:[0-9]{1,5})?$", description="mqtt://host:port or mqtts://host:port; absent: off")
        ]
        | None
    ) = None
    user: Annotated[str, Meta(max_length=128, description="broker account")] | None = None
    password_file: Annotated[str, Meta(description="file with its password, mode 0600")] | None = None
    tls_ca: Annotated[str, Meta(description="PEM file with the CA of a private broker; default: the system's")] | None = None
    topic: (
        Annotated[str, Meta(pattern=r"^[^#+\s]{1,128}$", description="prefix of all topics; default thermostratum/SITE")] | None
    ) = None
    report_period_s: Annotated[float, Meta(ge=1, le=3_600, description="a report that often")] = 10.0
    keep_alive_s: Annotated[int, Meta(ge=5, le=3_600, description="MQTT keep-alive")] = 30


class OpenAdrSignal(Table, frozen=True, kw_only=True):
    """[signals.openadr]: virtual end node (VEN) of an OpenADR 3.1 server."""

    url: Annotated[str, Meta(pattern=r"^https?://\S+$", description="base URL of the server (VTN); absent: off")] | None = None
    client_id: Annotated[str, Meta(max_length=256, description="OAuth client")] | None = None
    client_secret_file: Annotated[str, Meta(description="file with its secret, mode 0600")] | None = None
    tls_ca: Annotated[str, Meta(description="PEM file with the CA of a private server; default: the system's")] | None = None
    program: Annotated[str, Meta(max_length=128, description="program name followed; absent: every program it may see")] | None = (
        None
    )
    ven_name: Annotated[str, Meta(max_length=128, description="how this site registers; default: the site's name")] | None = None
    poll_period_s: Annotated[float, Meta(ge=5, le=3_600, description="events are asked for that often")] = 30.0
    report_period_s: Annotated[float, Meta(ge=10, le=86_400, description="reports are sent that often")] = 300.0


class OpcUaSignal(Table, frozen=True, kw_only=True):
    """[signals.opcua]: OPC UA server with the same points as the Modbus map. Needs requirements-opcua.txt."""

    listen: Annotated[str, Meta(pattern=r"^opc\.tcp://\S+$", description="opc.tcp://host:port/path; absent: off")] | None = None
    users: Annotated[dict[str, str], Meta(max_length=16, description="account = sha256 of its password; who may write")] = {}
    certificate: Annotated[str, Meta(description="DER certificate for encrypted sessions")] | None = None
    key: Annotated[str, Meta(description="PEM key of the certificate, mode 0600")] | None = None


class Signals(Table, frozen=True, kw_only=True):
    """[signals]"""

    rest: RestSignal = RestSignal()
    modbus: ModbusSignal = ModbusSignal()
    mqtt: MqttSignal = MqttSignal()
    openadr: OpenAdrSignal = OpenAdrSignal()
    opcua: OpcUaSignal = OpcUaSignal()


class Register(Table, frozen=True, kw_only=True):
    """One value in a meter's Modbus registers."""

    quantity: Annotated[
        Literal["heat_w", "flow_l_per_h", "supply_c", "return_c", "energy_wh", "power_w", "tank_c"],
        Meta(
            description="what it is; flow_l_per_h of water, power_w and energy_wh of heat or electricity as the meter is; "
            "tank_c: one for each sensor of a tank, from the top down"
        ),
    ]
    address: Annotated[int, Meta(ge=0, le=65_535, description="as in the data sheet, counted from 0")]
    kind: Annotated[
        Literal["float32", "uint16", "int16", "uint32", "int32", "uint64"], Meta(description="how the registers are read")
    ] = "float32"
    scale: Annotated[float, Meta(description="raw times this is the value in the quantity's unit")] = 1.0
    word_order: Annotated[Literal["big", "little"], Meta(description="which 16-bit word comes first")] = "big"


class Meter(Table, frozen=True, kw_only=True):
    """[[meters]]: one meter of heat or electricity, or the storage tank's sensors, asked by us. Meters that send use PUT."""

    name: Name
    measures: Annotated[
        Literal["heat", "electricity", "tank"], Meta(description="what it counts; tank: what heat the storage tank holds")
    ] = "heat"
    place: Annotated[str, Meta(description="boundary, or the name of a loop")] = "boundary"
    protocol: Annotated[Literal["modbus", "mbus"], Meta(description="modbus: Modbus TCP; mbus: M-Bus through a TCP gateway")] = (
        "modbus"
    )
    address: Annotated[str, Meta(description="host:port of the meter or its gateway")]
    device_id: Annotated[int, Meta(ge=0, le=250, description="Modbus unit identifier, or M-Bus primary address")] = 1
    function: Annotated[Literal["input", "holding"], Meta(description="Modbus: which registers")] = "input"
    profile: Annotated[
        Literal["multical", "custom"], Meta(description="multical: Kamstrup default datagram; custom: `registers` says all")
    ] = "multical"
    registers: Annotated[
        list[Register], Meta(max_length=32, description="profile custom: all of them; else those that are added or replaced")
    ] = []
    period_s: Annotated[float, Meta(ge=1, le=3_600, description="asked that often; M-Bus meters on battery: 10 s or more")] = 10.0
    timeout_s: Annotated[float, Meta(ge=0.1, le=60, description="no answer by then: lost")] = 3.0


class Settlement(Table, frozen=True, kw_only=True):
    """[settlement]: quarter-hour records, and the proof of heat."""

    period_s: Annotated[Literal[300, 900, 1_800, 3_600], Meta(description="length of a record, aligned to UTC")] = 900
    max_disagreement: Annotated[
        float, Meta(gt=0, le=1, description="work, electricity and heat apart by more than this (and their errors): alarm")
    ] = 0.10
    supply_tolerance_k: Annotated[float, Meta(ge=0, le=50, description="supply colder than asked by more: not compliant")] = 2.0
