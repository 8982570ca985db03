"""Jobs of the hub as Stratum V2 says them, encoded once for all channels of a kind.

It does NOT know connections. A clean job is a future job and the chain tip that activates it; any other carries the time it starts
from and is worked on beside the earlier ones.
"""

from collections import OrderedDict
from typing import TypeVar

import msgspec

from protocol.bitcoin.hashes import sha256d
from protocol.bitcoin.merkle import root_from_path
from protocol.mining.job import VERSION_MASK_BIP320
from protocol.v2.constants import VERSION_MASK_BIP323
from protocol.v2.messages.mining import NewExtendedMiningJob, NewMiningJob, SetNewPrevHash
from protocol.v2.shared import SharedFrame, share
from proxy.work.jobs import SentJob

# Jobs of a few pools in their variants; all that a fan-out needs at one time.
CACHED_JOBS = 64

K = TypeVar("K")


class ToldJob(msgspec.Struct, frozen=True, gc=False):
    """A job on its way to one channel, with what must be said of it. new_target: SetTarget goes before it."""

    sent: SentJob
    clean: bool
    new_target: bool


class JobFrames:
    """Frames that many channels share. Bounded: the job not asked for longest is forgotten, and made anew when it is asked for."""

    def __init__(self) -> None:
        self._extended: OrderedDict[tuple[str, bool, bool], SharedFrame] = OrderedDict()
        self._tips: OrderedDict[str, SharedFrame] = OrderedDict()

    def extended(self, sent: SentJob, *, clean: bool, rolls_all: bool) -> SharedFrame:
        """The job for extended channels and their group. rolls_all: they are known to roll every bit that they may."""
        rolling = may_roll(sent.version_mask, rolls_all=rolls_all)
        key = (sent.wire.wire_id, clean, rolling)
        frame = self._extended.get(key)
        if frame is None:
            job = sent.wire.job
            frame = share(
                NewExtendedMiningJob(
                    channel_id=0,
                    job_id=int(sent.wire.wire_id, 16),
                    min_ntime=None if clean else job.ntime,
                    version=job.version,
                    version_rolling_allowed=rolling,
                    merkle_path=job.merkle_path,
                    coinbase_tx_prefix=job.coinbase_prefix,
                    coinbase_tx_suffix=job.coinbase_suffix,
                )
            )
            _keep(self._extended, key, frame)
        return frame

    def tip(self, sent: SentJob) -> SharedFrame:
        """The chain tip that activates the job."""
        frame = self._tips.get(sent.wire.wire_id)
        if frame is None:
            job = sent.wire.job
            frame = share(
                SetNewPrevHash(
                    channel_id=0,
                    job_id=int(sent.wire.wire_id, 16),
                    prev_hash=job.prev_hash,
                    min_ntime=job.ntime,
                    nbits=job.nbits,
                )
            )
            _keep(self._tips, sent.wire.wire_id, frame)
        return frame


def standard(sent: SentJob, extranonce: bytes, *, clean: bool) -> SharedFrame:
    """The job for one standard channel: its whole extranonce is fixed, so the merkle root is its own."""
    job = sent.wire.job
    root = root_from_path(sha256d(job.coinbase_prefix + extranonce + job.coinbase_suffix), job.merkle_path)
    return share(
        NewMiningJob(
            channel_id=0,
            job_id=int(sent.wire.wire_id, 16),
            min_ntime=None if clean else job.ntime,
            version=job.version,
            merkle_root=root,
        )
    )


def may_roll(version_mask: int, *, rolls_all: bool = False) -> bool:
    """Whether a device is told that it may roll versions.

    SV2 has no way to say a mask; hardware rolls the bits of BIP 320, so these must be free, and all of BIP 323 for a device that
    has shown that it rolls those. A share with a bit outside of the mask is refused by us, so that no pool ever sees it.
    """
    needed = VERSION_MASK_BIP323 if rolls_all else VERSION_MASK_BIP320
    return version_mask & needed == needed


def _keep(cache: OrderedDict[K, SharedFrame], key: K, frame: SharedFrame) -> None:
    cache[key] = frame
    if len(cache) > CACHED_JOBS:
        cache.popitem(last=False)
