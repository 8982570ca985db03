"""THE share check: one function, one verdict type, for every protocol and every direction.

It judges a share against the job as it was sent to that channel (target and mask frozen then). It counts nothing, answers nobody
and knows no duplicates: whoever owns the job keeps the set of shares seen, because only accepted shares belong into it.
"""

import enum

import msgspec

from protocol.bitcoin.hashes import sha256d
from protocol.bitcoin.header import pack_header
from protocol.bitcoin.merkle import root_from_path
from protocol.mining.job import Job


class Verdict(enum.Enum):
    """What became of a share, and why. The value is the bounded label used in metrics, ledger and logs."""

    VALID = "valid"  # meets the unit's target
    BLOCK = "block"  # meets the network's target: bypasses every rule
    STALE = "stale"  # the job was replaced by a clean one that this unit has been sent
    UNKNOWN_JOB = "unknown-job"  # never sent to this unit, or long gone
    DUPLICATE = "duplicate"
    LOW_DIFFICULTY = "low-difficulty"
    BAD_EXTRANONCE = "bad-extranonce-size"
    BAD_NTIME = "bad-ntime"
    BAD_VERSION = "bad-version"  # bits outside the mask, or rolling never negotiated
    MALFORMED = "malformed"
    UNAUTHORIZED = "unauthorized"
    NOT_SUBSCRIBED = "not-subscribed"
    POOL_GONE = "pool-gone"  # the job's pool is not connected any more: nobody could take the share
    BUSY = "busy"  # a bounded queue is full; try again
    UNLEDGERED = "ledger-unavailable"  # the record cannot be made durable


class Judgement(msgspec.Struct, frozen=True, gc=False):
    """The verdict, with the header's hash (internal order) when one was computed, else b""."""

    verdict: Verdict
    block_hash: bytes = b""
    hash_value: int = 0


# Looked up once: in Python 3.11 a member of an Enum costs 0.1 us each time, and a share meets several.
_VALID = Verdict.VALID
_LOW_DIFFICULTY = Verdict.LOW_DIFFICULTY
# Built once: a refusal carries no other fact.
_BAD_EXTRANONCE = Judgement(Verdict.BAD_EXTRANONCE)
_BAD_NTIME = Judgement(Verdict.BAD_NTIME)
_BAD_VERSION = Judgement(Verdict.BAD_VERSION)


def check_share(
    job: Job,
    target: int,
    version_mask: int,
    extranonce: bytes,
    extranonce_size: int,
    ntime: int,
    nonce: int,
    version_bits: int | None,
) -> Judgement:
    """Judge one share.

    target, version_mask: as told to this channel with the job. extranonce: the unit's whole extranonce (prefix and rolled part),
    which must be `extranonce_size` bytes. version_bits: the rolled bits as submitted, None when the parameter was absent.
    Precedence: size, bits outside the mask, the hash against the network target (BLOCK whatever the time says), time, the hash
    against the unit's target.
    """
    if len(extranonce) != extranonce_size:
        return _BAD_EXTRANONCE
    if version_bits is not None and version_bits & ~version_mask:
        return _BAD_VERSION
    version = header_version(job, version_mask, version_bits)
    block_hash = hash_share(job, extranonce, ntime, nonce, version)
    hash_value = int.from_bytes(block_hash, "little")
    if hash_value <= job.network_target:
        return Judgement(Verdict.BLOCK, block_hash, hash_value)
    if not job.min_ntime <= ntime <= job.max_ntime:
        return _BAD_NTIME
    return Judgement(_VALID if hash_value <= target else _LOW_DIFFICULTY, block_hash, hash_value)


def header_version(job: Job, version_mask: int, version_bits: int | None) -> int:
    """The whole version of a share's header (BIP 320): the job's, bits inside the mask replaced; None: none were rolled."""
    return job.version if version_bits is None else (job.version & ~version_mask) | version_bits


def hash_share(job: Job, extranonce: bytes, ntime: int, nonce: int, version: int) -> bytes:
    """The header hash (internal order) of this job with these coordinates; `version` is the whole header version."""
    coinbase_txid = sha256d(job.coinbase_prefix + extranonce + job.coinbase_suffix)
    root = root_from_path(coinbase_txid, job.merkle_path)
    return sha256d(pack_header(version, job.prev_hash, root, ntime, job.nbits, nonce))
