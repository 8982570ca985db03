"""A job in neutral terms: what a pool gave us, ready to be sent to any unit.

The coinbase is cut where the *unit's* coordinates begin, not where the pool's extranonce begins: the pool's extranonce1 and any
padding are already inside `coinbase_prefix` (see proxy/work/geometry.py). A job never changes after it was made.
"""

import msgspec

# BIP 320: the version bits that hardware may roll and that SV1 pools grant.
VERSION_MASK_BIP320 = 0x1FFFE000


class Job(msgspec.Struct, frozen=True, gc=False):
    """One upstream job as every channel sees it.

    prev_hash, merkle_path: 32-byte hashes, internal order. target: the pool's share target (int), network_target: the block's.
    version_mask: bits the owner of the job lets us roll. ntime is the time to start from, min_ntime the lowest allowed,
    max_ntime the highest the owner accepts. clean: work on earlier jobs is worthless.
    """

    prev_hash: bytes
    version: int
    nbits: int
    ntime: int
    coinbase_prefix: bytes
    coinbase_suffix: bytes
    merkle_path: tuple[bytes, ...]
    target: int
    network_target: int
    version_mask: int
    min_ntime: int
    max_ntime: int
    clean: bool
