"""The nouns of the ledger: what other parts hand in, and what reports get back.

Plain facts without behaviour. How they lie in tables is schema.py; who may call what is ledger.py.
"""

import enum

import msgspec

HASHES_PER_DIFFICULTY = 2.0**32  # expected hashes behind one share of difficulty 1
KEY_BYTES = 16


class ShareState(enum.Enum):
    """Where a share stands. Every share ends in one of the last four; the value is what the table holds."""

    SENT = 1  # handed to a pool, no answer yet
    LOCAL = 2  # below the pool's target: proof of work for us, not due to the pool
    ACCEPTED = 3
    REFUSED = 4
    UNKNOWN = 5  # the pool never answered; the reason says why


class ShareRecord(msgspec.Struct, frozen=True, gc=False):
    """One valid share. `key` names the work itself (16 bytes): the same work twice is one share.

    `difficulty` is what the unit was asked for, `pool_difficulty` what the pool asked of us at that time.
    """

    share_id: int
    at_unix_s: float
    unit: str
    worker: str
    pool: str
    session: int
    upstream_job: str
    difficulty: float
    pool_difficulty: float
    key: bytes
    forwarded: bool
    block: bool


class DemandRecord(msgspec.Struct, frozen=True, gc=False):
    """A heat demand that arrived, taken or not. power_w is thermal; None where only a supply temperature was asked."""

    source: str
    epoch: int
    sequence: int
    issued_unix_s: float
    valid_from_unix_s: float
    valid_until_unix_s: float
    power_w: float | None
    accepted: bool
    reason: str | None = None
    supply_c: float | None = None
    ramp_w_per_min: float | None = None


class SetpointRecord(msgspec.Struct, frozen=True, gc=False):
    """One decision of the control cycle. Powers are electrical, demand_w and heat_w thermal."""

    at_unix_s: float
    ladder: str
    demand_w: float | None
    setpoint_power_w: float | None
    commanded_power_w: float
    measured_power_w: float | None
    heat_w: float | None
    heat_quality: str
    limiter: str | None


class CommandRecord(msgspec.Struct, frozen=True, gc=False):
    """A unit was told to go to another level."""

    at_unix_s: float
    unit: str
    level_from: int | None
    level_to: int
    power_w: float | None
    reason: str
    result: str


class EnergyRecord(msgspec.Struct, frozen=True, gc=False):
    """Energy of one period. scope is "site" or the name of a loop."""

    period_start_unix_s: float
    period_s: float
    scope: str
    heat_demand_wh: float | None
    heat_wh: float | None
    quality: str
    electric_wh: float | None


class MemoryRecord(msgspec.Struct, frozen=True, gc=False):
    """What a part wants to know after a restart: `body` is its own JSON, of that `version`. A newer one of the name replaces it."""

    name: str
    at_unix_s: float
    version: int
    body: str


class AuditRecord(msgspec.Struct, frozen=True, gc=False):
    """Who did what to what, and what came of it. Rows are chained by hash: see audit.py."""

    at_unix_s: float
    actor: str
    action: str
    subject: str
    before: str | None
    after: str | None
    result: str


class MeteringRecord(msgspec.Struct, frozen=True, gc=False):
    """About a minute of one scope ("site", or a loop) between start and end: what settlement closes its periods from.

    *_register_wh is an energy counter as last read, with the time of that reading and the meter's name. heat_wh and electric_wh are
    integrals of power, for where no counter speaks; None: nothing was known. reported_wh is what the units say they drew.
    held_wh is heat asked for outside any demand's window (a held demand, the heat curve). available_s is weighted with power: half
    of the units for a minute are 30 s.
    """

    scope: str
    start_unix_s: float
    end_unix_s: float
    heat_wh: float | None
    heat_quality: str
    heat_meter: str | None
    heat_register_wh: float | None
    heat_register_unix_s: float | None
    electric_wh: float | None
    electric_quality: str
    electric_meter: str | None
    electric_register_wh: float | None
    electric_register_unix_s: float | None
    reported_wh: float | None
    held_wh: float | None
    supply_asked_s: float
    supply_kept_s: float
    available_s: float


class PoolWork(msgspec.Struct, frozen=True, gc=False):
    """Valid shares of one pool in a period, and the expected hashes behind them."""

    pool: str
    shares: int
    work: float


class UnitWork(msgspec.Struct, frozen=True, gc=False):
    """Valid shares of one unit at one pool, and the expected hashes behind them."""

    unit: str
    pool: str
    shares: int
    work: float


class PeriodRecord(msgspec.Struct, frozen=True, gc=False):
    """One settlement period of one scope ("site", or a loop), in one revision. Never changed once written: see periods.py.

    quality is measured, summed, estimated, substituted or missing; *_missing_s says for how long nothing is known, and then the
    energy is that of the rest (None: of nothing). demand_s: for how long heat was asked for. work_wh is what the work of the
    period must have drawn, work_sigma its standard error as a part of it. reason: why a later revision was made.
    """

    scope: str
    start_unix_s: int
    period_s: int
    revision: int
    reason: str | None
    closed_unix_s: float
    demand_wh: float | None
    demand_s: float
    heat_wh: float | None
    heat_quality: str
    heat_missing_s: float
    electric_wh: float | None
    electric_quality: str
    electric_missing_s: float
    reported_wh: float | None
    work: tuple[PoolWork, ...]
    work_wh: float | None
    work_sigma: float | None
    supply_asked_s: float
    supply_kept_s: float
    available_s: float

    @property
    def end_unix_s(self) -> int:
        """The first second after it."""
        return self.start_unix_s + self.period_s


PlantRecord = (
    DemandRecord | SetpointRecord | CommandRecord | EnergyRecord | MemoryRecord | AuditRecord | MeteringRecord | PeriodRecord
)


class RejectionCount(msgspec.Struct, frozen=True, gc=False):
    """Shares we refused ourselves, added up: only counted, never kept one by one. work is expected hashes."""

    period_start_unix_s: int
    period_s: int
    unit: str
    pool: str
    verdict: str
    count: int
    work: float


class ShareRollup(msgspec.Struct, frozen=True, gc=False):
    """Shares of one period, unit, pool and state. work counts the units' difficulty, pool_work the pool's."""

    period_start_unix_s: int
    period_s: int
    unit: str
    worker: str
    pool: str
    state: str
    count: int
    work: float
    pool_work: float
