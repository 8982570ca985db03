"""What a simulated Stratum V2 pool can do wrong, as switches that may be turned while it runs, and its codes for refused shares.

Only descriptions are here; `pool_v2` and `pool_v2_session` act on them.
"""

from typing import Literal

from protocol.mining.share import Verdict
from protocol.v2 import error_codes
from proxy.sim.pool_core import CoreFaults

# How SubmitShares.Success reaches the client.
Answering = Literal["now", "late", "never", "twice", "wrong-count", "wrong-sum", "unknown-sequence"]

VERDICT_CODES = {
    Verdict.STALE: error_codes.STALE_SHARE,
    Verdict.UNKNOWN_JOB: error_codes.INVALID_JOB_ID,
    Verdict.DUPLICATE: error_codes.DUPLICATE_SHARE,
    Verdict.LOW_DIFFICULTY: error_codes.DIFFICULTY_TOO_LOW,
    Verdict.BAD_EXTRANONCE: error_codes.BAD_EXTRANONCE_SIZE,
    Verdict.BAD_VERSION: error_codes.INVALID_NON_ROLLABLE_VERSION_BIT,
}


class FaultsV2(CoreFaults):
    """What a Stratum V2 pool can do wrong besides. error_code: instead of the right one for each refused share."""

    refuse_setup: bool = False
    refuse_channels: bool = False
    ignore_extensions: bool = False  # RequestExtensions is never answered, as by a server that does not know it
    drop_after: Literal["nothing", "connect", "handshake", "setup", "open"] = "nothing"
    answering: Answering = "now"
    error_code: bytes | None = None
    keeps_witness: bool = False  # coinbases still have marker, flag and witness: seen in life
    tip_before_job: bool = False  # SetNewPrevHash overtakes the job that it names


def share_code(verdict: Verdict, faults: FaultsV2) -> bytes:
    """The code of SubmitShares.Error for this verdict."""
    return faults.error_code or VERDICT_CODES.get(verdict, error_codes.INVALID_SHARE)


def with_witness(prefix: bytes, suffix: bytes) -> tuple[bytes, bytes]:
    """The coinbase as it would stand in a block: BIP 141 marker and flag, and a witness of 32 zero bytes before the lock time."""
    return prefix[:4] + b"\x00\x01" + prefix[4:], suffix[:-4] + b"\x01\x20" + bytes(32) + suffix[-4:]
