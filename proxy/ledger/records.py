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
    """A heat demand that arrived, taken or not. power_w is thermal."""

    source: str
    epoch: int
    sequence: int
    issued_unix_s: float
    valid_from_unix_s: float
    valid_until_unix_s: float
    power_w: float
    accepted: bool
    reason: str | None = None


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


class AuditRecord(msgspec.Struct, frozen=True, gc=False):
    """Who did what to what, and what came of it. Rows are chained by hash: see audit.py."""

    at_unix_s: float
    actor: str
    action: str
    subject: str
    before: str | None
    after: str | None
    result: str


PlantRecord = DemandRecord | SetpointRecord | CommandRecord | EnergyRecord | AuditRecord


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
