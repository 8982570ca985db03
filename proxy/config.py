"""The shape of a site file: one Struct a table, every key with its unit, default, range and reason.

Machines are in config_units, heat in config_heat; everybody reads them from here.

Only the shape is here. Reading a file, finding every mistake in it and explaining them is `checks`; the reference page in
docs/ is generated from these annotations.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from proxy.config_base import Name as Name
from proxy.config_base import Table as Table
from proxy.config_heat import Heat as Heat
from proxy.config_heat import HeatCosts as HeatCosts
from proxy.config_heat import HeatCurve as HeatCurve
from proxy.config_heat import HeatMeter as HeatMeter
from proxy.config_heat import Meter as Meter
from proxy.config_heat import ModbusSignal as ModbusSignal
from proxy.config_heat import MqttSignal as MqttSignal
from proxy.config_heat import OpcUaSignal as OpcUaSignal
from proxy.config_heat import OpenAdrSignal as OpenAdrSignal
from proxy.config_heat import Planner as Planner
from proxy.config_heat import Register as Register
from proxy.config_heat import RestSignal as RestSignal
from proxy.config_heat import Settlement as Settlement
from proxy.config_heat import Signals as Signals
from proxy.config_units import Level as Level
from proxy.config_units import Loop as Loop
from proxy.config_units import Model as Model
from proxy.config_units import Unit as Unit
from proxy.config_units import WithoutWork as WithoutWork
from proxy.config_units import api_port as api_port
from proxy.config_units import may_starve as may_starve
from proxy.config_units import starving_is_unsafe as starving_is_unsafe


class Site(Table, frozen=True, kw_only=True):
    """[site]"""

    name: Annotated[Name, Meta(description="how this site is called in metrics, logs and reports")] = "site"
    data_dir: Annotated[str, Meta(description="where the ledger and the state live; relative to the file")] = "var"


class Listen(Table, frozen=True, kw_only=True):
    """[listen]: the side towards the miners."""

    v1: Annotated[str, Meta(description="host:port of plain Stratum V1")] | None = "0.0.0.0:3333"
    v1_tls: Annotated[str, Meta(description="host:port of Stratum V1 over TLS; needs tls_certificate and tls_key")] | None = None
    tls_certificate: Annotated[str, Meta(description="PEM chain for v1_tls")] | None = None
    tls_key: Annotated[str, Meta(description="PEM key for v1_tls, mode 0600")] | None = None
    v2: Annotated[str, Meta(description="host:port of Stratum V2, encrypted; needs v2_identity")] | None = None
    v2_identity: Annotated[str, Meta(description="key file made by `thermostratum keygen`, mode 0600")] | None = None
    v2_plaintext: Annotated[
        bool, Meta(description="true: the v2 port speaks without encryption, for a network where nobody else is")
    ] = False
    v2_share_batch: Annotated[
        int, Meta(ge=1, le=10_000, description="accepted shares of a channel that one answer covers; it waits 1 s at most")
    ] = 100
    proxy_protocol: Annotated[
        Literal["off", "required"], Meta(description="required: every connection starts with a PROXY v1 or v2 header")
    ] = "off"
    proxy_protocol_from: Annotated[list[str], Meta(description="networks (CIDR) allowed to send that header")] = []
    workers: Annotated[
        Literal["inventory", "any"],
        Meta(description="inventory: only configured units may mine; any: others may too, without heat control"),
    ] = "any"
    max_connections: Annotated[int, Meta(ge=1, le=60_000, description="admission limit; kept below the fd limit")] = 12_000
    max_connections_per_address: Annotated[
        int, Meta(ge=1, le=60_000, description="one address must not use up the site; raise it behind NAT")
    ] = 64
    handshake_timeout_s: Annotated[
        float, Meta(ge=1, le=300, description="subscribe and authorize must be done by then; slow-loris guard")
    ] = 30.0
    idle_timeout_s: Annotated[
        float, Meta(ge=60, le=86_400, description="no byte from a unit that should hash for so long: closed")
    ] = 1_800.0
    send_timeout_s: Annotated[float, Meta(ge=1, le=300, description="a unit that does not read for so long is closed")] = 20.0
    line_limit_bytes: Annotated[int, Meta(ge=1_024, le=65_536, description="longest accepted line, cut before decoding")] = 16_384
    unit_id_bytes: Annotated[int, Meta(ge=1, le=3, description="extranonce1 of every unit; 2 is 65,536 connections")] = 2
    extranonce2_bytes: Annotated[
        int,
        Meta(ge=2, le=8, description="what every unit rolls; unit_id_bytes + this must fit the smallest pool extranonce2"),
    ] = 2
    version_mask: Annotated[
        str, Meta(pattern=r"^[0-9a-fA-F]{8}$", description="version bits offered to units; BIP 320 is 1fffe000")
    ] = "1fffe000"
    keepalive_job_s: Annotated[
        float, Meta(ge=10, le=110, description="re-send the job when none came for so long: miners hang up after 120 s")
    ] = 55.0
    hold_work: Annotated[
        bool,
        Meta(description="true: with no pool at all the last job is repeated, so that units go on heating, unpaid; see the how-to"),
    ] = False


class Vardiff(Table, frozen=True, kw_only=True):
    """[vardiff]: share rate of one unit. Share difficulty never changes a unit's power."""

    shares_per_minute: Annotated[float, Meta(ge=0.1, le=600, description="target rate of one unit")] = 6.0
    min_difficulty: Annotated[float, Meta(gt=0, le=1e12, description="never below; rounded down to a power of two")] = 1.0
    max_difficulty: Annotated[float, Meta(gt=0, le=1e15, description="never above")] = 1e12
    start_difficulty: (
        Annotated[float, Meta(gt=0, description="for a unit never seen, without a model; default: from 100 TH/s")] | None
    ) = None
    tau_s: Annotated[float, Meta(ge=30, le=7_200, description="time constant of the hashrate estimate")] = 600.0
    band: Annotated[float, Meta(ge=1.2, le=16, description="change only when the rate is off by more than this factor")] = 2.5
    enabled: Annotated[
        bool, Meta(description="false: everybody keeps start_difficulty, or the pool's own where that is not set")
    ] = True


class Pool(Table, frozen=True, kw_only=True):
    """[[pools]]: one pool account."""

    name: Name
    url: Annotated[
        str,
        Meta(
            pattern=r"^(stratum\+(tcp|ssl|tls)://[^/\s]+:[0-9]{1,5}|stratum2\+tcp://[^/\s]+:[0-9]{1,5}(/[1-9A-HJ-NP-Za-km-z]*)?)$",
            description="stratum+tcp://host:port, stratum+ssl://host:port, or stratum2+tcp://host:port/KEY for Stratum V2",
        ),
    ]
    user: Annotated[str, Meta(min_length=1, max_length=191, description="pool account, or account.worker")]
    password: Annotated[str, Meta(max_length=128, description="most pools ignore it; never logged or shown")] = "x"
    priority: Annotated[int, Meta(ge=0, le=99, description="lower is better; equal priorities share by weight")] = 0
    weight: Annotated[float, Meta(gt=0, le=1000, description="share of the work among equal priorities")] = 1.0
    mode: Annotated[
        Literal["aggregated", "grouped", "per_unit"],
        Meta(description="upstream connections: one, one a group, one a unit; Stratum V2: channels on one connection"),
    ] = "aggregated"
    group_size: Annotated[int, Meta(ge=1, le=5_000, description="units on one connection, mode grouped")] = 50
    unit_suffix: Annotated[bool, Meta(description="mode per_unit: authorize as user.unit-id, so the pool sees each unit")] = True
    tls_ca: Annotated[str, Meta(description="PEM file with the CA of a private pool; default: the system's")] | None = None
    tls_server_name: Annotated[str, Meta(description="name in the certificate where it is not the host")] | None = None
    reconnect_allow: Annotated[
        list[str], Meta(description="host:port that client.reconnect may lead to; all others are refused")
    ] = []
    allow_unauthenticated: Annotated[
        bool, Meta(description="Stratum V2 without KEY in the url: true lets anybody on the way be the pool")
    ] = False
    certificate_versions: Annotated[
        list[Annotated[int, Meta(ge=0, le=65_535)]],
        Meta(min_length=1, max_length=8, description="Stratum V2: certificate versions taken; the specification knows 0"),
    ] = msgspec.field(default_factory=lambda: [0])
    request_extensions: Annotated[
        list[Annotated[int, Meta(ge=1, le=32_767)]],
        Meta(max_length=8, description="Stratum V2: 1 negotiates extensions, 2 tells the pool which unit found a share"),
    ] = msgspec.field(default_factory=lambda: [1, 2])
    version_mask: Annotated[str, Meta(pattern=r"^[0-9a-fA-F]{8}$", description="version bits asked of this pool")] = "1fffe000"
    suggest_difficulty: Annotated[float, Meta(gt=0, description="sent as mining.suggest_difficulty")] | None = None
    connect_timeout_s: Annotated[
        float, Meta(ge=0.5, le=60, description="no TCP or TLS connection by then: next try, or next pool")
    ] = 10.0
    answer_timeout_s: Annotated[float, Meta(ge=1, le=120, description="subscribe, authorize or submit unanswered: sick")] = 30.0
    job_timeout_s: Annotated[float, Meta(ge=10, le=3_600, description="no job for so long (and 3x the usual interval): sick")] = (
        90.0
    )
    max_reject_rate: Annotated[
        float, Meta(gt=0, le=1, description="refused part of the last 3 min (from 30 shares) that makes it sick")
    ] = 0.10
    return_after_s: Annotated[
        float, Meta(ge=1, le=3_600, description="steady for so long before units come back; doubles when it fails again")
    ] = 60.0


class Ledger(Table, frozen=True, kw_only=True):
    """[ledger]"""

    url: Annotated[str, Meta(description="SQLAlchemy URL; default: SQLite in data_dir")] | None = None
    group_commit_s: Annotated[float, Meta(ge=0.001, le=1, description="shares wait at most this long for their commit")] = 0.005
    queue_limit: Annotated[int, Meta(ge=100, le=1_000_000, description="records waiting; beyond, shares are refused")] = 50_000
    stall_timeout_s: Annotated[float, Meta(ge=0.1, le=60, description="a write that takes longer: shares are refused")] = 2.0
    keep_shares_days: Annotated[float, Meta(gt=0, le=3_650, description="raw share rows; rollups stay")] = 7.0
    keep_rollups_days: Annotated[float, Meta(gt=0, le=36_500, description="sums of rollup_s, energy and set-points")] = 1_100.0
    rollup_s: Annotated[float, Meta(ge=60, le=86_400, description="width of one rollup row")] = 900.0


class ApiKey(Table, frozen=True, kw_only=True):
    """[[api.keys]]: only the hash of a key is in the file."""

    name: Name
    role: Annotated[Literal["utility", "operator", "viewer"], Meta(description="utility: heat demand; operator: units too")]
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$", description="64 hex digits; `thermostratum apikey` makes them")]


class Api(Table, frozen=True, kw_only=True):
    """[api]"""

    listen: Annotated[str, Meta(description="host:port of page, API and metrics")] = "127.0.0.1:8080"
    keys: list[ApiKey] = []
    open_reads: Annotated[bool, Meta(description="reading needs no key; false: viewer, operator or utility")] = True
    unit_metrics: Annotated[bool, Meta(description="a series for each unit in /metrics")] = True


class Log(Table, frozen=True, kw_only=True):
    """[log]"""

    level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="error: someone must act; info: states changed")
    ] = "info"


class SiteConfig(Table, frozen=True, kw_only=True):
    """The whole file."""

    site: Site = Site()
    listen: Listen = Listen()
    vardiff: Vardiff = Vardiff()
    pools: Annotated[list[Pool], Meta(min_length=1, max_length=32)]
    loops: Annotated[list[Loop], Meta(max_length=64)] = []
    models: dict[str, Model] = {}
    units: Annotated[list[Unit], Meta(max_length=100_000)] = []
    units_file: Annotated[str, Meta(description="CSV with the columns of [[units]]; relative to the file")] | None = None
    heat: Heat = Heat()
    meters: Annotated[list[Meter], Meta(max_length=128)] = []
    signals: Signals = Signals()
    settlement: Settlement = Settlement()
    ledger: Ledger = Ledger()
    api: Api = Api()
    log: Log = Log()
