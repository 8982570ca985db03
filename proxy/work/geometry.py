"""Where the pool's bytes and our bytes lie inside one coinbase.

A unit's coordinates never change while it is connected: its extranonce1 is our local id (`unit_id_bytes`), what it rolls is
`extranonce2_bytes` long. A pool's extranonce1, and zeros where its extranonce2 is longer than ours, go *inside the coinbase prefix
of each job*:

    coinbase1 | pool extranonce1 | zeros | unit id | unit extranonce2 | coinbase2
    `------ Job.coinbase_prefix ------´  `--- the unit's own ---´
                                 `-- the pool's extranonce2 ----´

So a change of pool, of the pool's extranonce, or of the split is one new job for any firmware, and nothing else.
Not here: who gets which id (extranonce.py), and building the job itself (jobs.py).
"""

import math
from collections.abc import Iterable

import msgspec

# Firmware limits seen in the field: cgminer's descendants and Whatsminers drop shares with a longer extranonce2.
MAX_UNIT_EXTRANONCE2_BYTES = 8
MIN_UNIT_EXTRANONCE2_BYTES = 2
NONCE_BITS = 32


class Geometry(msgspec.Struct, frozen=True, gc=False):
    """The site's layout, fixed from start to stop. Sizes in bytes."""

    unit_id_bytes: int
    extranonce2_bytes: int

    @property
    def unit_bytes(self) -> int:
        """Length of a unit's whole extranonce: the id, then what it rolls."""
        return self.unit_id_bytes + self.extranonce2_bytes


class Fit(msgspec.Struct, frozen=True, gc=False):
    """How one pool session's coordinates enclose ours. A new extranonce from the pool is a new Fit; jobs keep the one they had."""

    extranonce1: bytes
    padding: int

    def prefix(self, coinbase1: bytes) -> bytes:
        """`Job.coinbase_prefix` for a pool's coinbase1: everything before the unit's id."""
        return coinbase1 + self.extranonce1 + bytes(self.padding)

    def pool_extranonce2(self, unit_extranonce: bytes) -> bytes:
        """What the pool calls extranonce2, from a unit's id and its rolled bytes."""
        return bytes(self.padding) + unit_extranonce


def fit(geometry: Geometry, extranonce1: bytes, extranonce2_size: int) -> Fit | None:
    """Place our bytes into a pool's extranonce2 of `extranonce2_size` bytes; None where it is too small for them."""
    padding = extranonce2_size - geometry.unit_bytes
    return Fit(extranonce1, padding) if padding >= 0 else None


def smallest_pool_extranonce2(geometry: Geometry) -> int:
    """The shortest extranonce2, in bytes, that a pool must give to be usable with this geometry."""
    return geometry.unit_bytes


def largest_unit_extranonce2(unit_id_bytes: int, pool_extranonce2_sizes: Iterable[int]) -> int | None:
    """The most bytes a unit may roll so that it fits every pool of `pool_extranonce2_sizes`; None where it fits not all of them.

    For the advice that `check` prints. No pool known: the most that all firmware takes.
    """
    room = min(pool_extranonce2_sizes, default=unit_id_bytes + MAX_UNIT_EXTRANONCE2_BYTES) - unit_id_bytes
    return min(room, MAX_UNIT_EXTRANONCE2_BYTES) if room >= MIN_UNIT_EXTRANONCE2_BYTES else None


def explain_misfit(geometry: Geometry, extranonce2_size: int) -> str:
    """Why a pool with this extranonce2 cannot be used and what to do, for the operator. Call it where `fit` said None."""
    cause = (
        f"the pool gives {extranonce2_size} bytes of extranonce2, the units need {geometry.unit_bytes} "
        f"(listen.unit_id_bytes {geometry.unit_id_bytes} + listen.extranonce2_bytes {geometry.extranonce2_bytes})"
    )
    if (room := largest_unit_extranonce2(geometry.unit_id_bytes, [extranonce2_size])) is not None:
        return f"{cause}: set listen.extranonce2_bytes to {room}"
    if geometry.unit_id_bytes > 1 and largest_unit_extranonce2(1, [extranonce2_size]) is not None:
        return f"{cause}: with listen.unit_id_bytes 1 (256 connections) it would fit; else ask the pool for a longer extranonce2"
    return f"{cause}: no setting makes it fit; ask the pool for a longer extranonce2"


def seconds_to_exhaust(geometry: Geometry, version_mask: int, hashrate_hps: float) -> float:
    """How long one unit of `hashrate_hps` has new work in one job at one ntime; inf for a unit that does not hash.

    version_mask: the bits the unit may roll, 0 where rolling was not negotiated. Below 1 s it repeats itself unless it rolls ntime:
    alarm then. 2 bytes without version rolling last a 250 TH/s unit 1.1 s, with 16 bits 20 h.
    """
    if not hashrate_hps > 0:
        return math.inf
    bits = NONCE_BITS + 8 * geometry.extranonce2_bytes + version_mask.bit_count()
    return math.ldexp(1.0, bits) / hashrate_hps
