"""Stratum V2 to and from the neutral job and share, and so to and from Stratum V1, which maps onto the same nouns.

Pure. A V2 pool's job becomes a `Job`, which protocol/v1 writes as a notify and protocol/v2 as a job for any channel; a share's
outcome becomes the number that SV1 has for it. It does NOT know whose extranonce lies where inside a coinbase: the caller brings
the prefix already made.
"""

from typing import Final

from protocol.bitcoin.target import target_from_nbits
from protocol.mining.job import VERSION_MASK_BIP320, Job
from protocol.v2 import error_codes
from protocol.v2.client_events import JobReceived
from protocol.v2.constants import VERSION_MASK_BIP323

# The part that a pool's own way of reckoning difficulty may differ by: 2**224 for 0xffff * 2**208 is 1.5 in 100,000.
_RECKONING: Final = 1e-4

_ERROR_NUMBERS: Final = {
    error_codes.STALE_SHARE: 21,
    error_codes.INVALID_JOB_ID: 21,
    error_codes.DUPLICATE_SHARE: 22,
    error_codes.DIFFICULTY_TOO_LOW: 23,
    # SV1 has no number for these; most of its pools answer 23, and say "version" in the text, as the codes do.
    error_codes.VERSION_ROLLING_NOT_ALLOWED: 23,
    error_codes.INVALID_NON_ROLLABLE_VERSION_BIT: 23,
    error_codes.INVALID_CHANNEL_ID: 24,
    error_codes.UNKNOWN_USER: 24,
    error_codes.INVALID_USER_IDENTITY: 24,
}
_OTHER_ERROR: Final = 20


def job_from_v2(received: JobReceived, *, coinbase_prefix: bytes, version_mask: int, max_ntime_ahead_s: int) -> Job:
    """The neutral job of what an extended channel received.

    coinbase_prefix: the received one with everything up to the unit's own bytes behind it. version_mask: the bits that we let roll;
    the job may forbid all of them, and never allows more than BIP 323. Raises ValueError for impossible nbits.
    """
    return Job(
        prev_hash=received.prev_hash,
        version=received.version,
        nbits=received.nbits,
        ntime=received.min_ntime,
        coinbase_prefix=coinbase_prefix,
        coinbase_suffix=received.coinbase_suffix,
        merkle_path=received.merkle_path,
        # Some servers take a hash that equals the target, some refuse it: only what is below goes up, which all of them take.
        target=received.target - 1,
        network_target=target_from_nbits(received.nbits),
        version_mask=version_mask & VERSION_MASK_BIP323 if received.is_version_rolling_allowed else 0,
        min_ntime=received.min_ntime,
        max_ntime=min(received.min_ntime + max_ntime_ahead_s, 0xFFFF_FFFF),
        clean=received.clean,
    )


def v2_mask(version_mask: int) -> int:
    """The bits that may roll on a V2 channel, which knows no mask, where the operator grants `version_mask`.

    Whoever grants all of BIP 320 has no reason to keep back what BIP 323 adds; whoever grants less means just that.
    """
    return VERSION_MASK_BIP323 if version_mask & VERSION_MASK_BIP320 == VERSION_MASK_BIP320 else version_mask & VERSION_MASK_BIP323


def error_number(code: bytes) -> int:
    """The SV1 number of a refused share's code, for counting; codes that nobody knows are 20, other."""
    return _ERROR_NUMBERS.get(code, _OTHER_ERROR)


def is_sum_right(claimed: int, difficulty_sum: float, count: int) -> bool:
    """Whether a server's sum of a batch is that of `count` shares whose job difficulties add up to `difficulty_sum`.

    Servers drop fractions, of each share or of the sum.
    """
    return difficulty_sum * (1 - _RECKONING) - count - 1 <= claimed <= difficulty_sum * (1 + _RECKONING) + 1
