"""One open channel in the client role: its future jobs, its chain tip, and what was in force when a job became workable.

It puts jobs and chain tips together, whichever comes first, and freezes target and extranonce prefix in the result. It does NOT
judge shares, and it knows nothing of the connection.
"""

from typing import Final

import msgspec

from protocol.bitcoin.coinbase import strip_segwit
from protocol.bitcoin.hashes import sha256d
from protocol.bitcoin.merkle import root_from_path
from protocol.bitcoin.target import target_from_nbits
from protocol.v2.client_events import JobReceived, PrefixSet, TargetSet, TipWithoutJob
from protocol.v2.constants import MAX_EXTRANONCE_BYTES
from protocol.v2.messages.mining import NewExtendedMiningJob, NewMiningJob, SetExtranoncePrefix, SetNewPrevHash, SetTarget

# The reference implementation keeps as many; of a flood the newest are the ones that a tip may still name.
MAX_FUTURE_JOBS: Final = 16
# What SV1 firmware behind us can hold (S9-class buffers end at 8,192 bytes), and a block of 2**32 transactions.
MAX_COINBASE_BYTES: Final = 8_000
MAX_MERKLE_BRANCHES: Final = 32

_U32: Final = 0xFFFF_FFFF


class _Parts(msgspec.Struct, frozen=True, gc=False):
    """What is known of a job from its own message, with the prefix that was in force when it came."""

    job_id: int
    version: int
    is_version_rolling_allowed: bool
    extranonce_prefix: bytes
    merkle_root: bytes | None
    coinbase_prefix: bytes
    coinbase_suffix: bytes
    merkle_path: tuple[bytes, ...]


class ClientChannel:
    """Mutable. target and prefix are what the next job gets."""

    __slots__ = (
        "_awaited",
        "_futures",
        "_next_sequence",
        "_tip",
        "channel_id",
        "extranonce_size",
        "group_id",
        "is_extended",
        "prefix",
        "target",
    )

    def __init__(
        self,
        channel_id: int,
        *,
        is_extended: bool,
        target: int,
        prefix: bytes,
        extranonce_size: int,
        group_id: int,
        first_sequence: int,
    ) -> None:
        self.channel_id = channel_id
        self.is_extended = is_extended
        self.target = target
        self.prefix = prefix
        self.extranonce_size = extranonce_size
        self.group_id = group_id
        self._next_sequence = first_sequence & _U32
        self._futures: dict[int, _Parts] = {}
        self._tip: SetNewPrevHash | None = None
        self._awaited: int | None = None

    def take_sequence(self) -> int:
        """The number of the next share; after 2**32 - 1 comes 0."""
        sequence = self._next_sequence
        self._next_sequence = (sequence + 1) & _U32
        return sequence

    def on_job(self, message: NewMiningJob | NewExtendedMiningJob, *, is_version_rolling_allowed: bool) -> JobReceived | None:
        """A job came: the work it makes, or None while it is one for later. Raises ValueError for a job that cannot be used."""
        parts = self._parts(message, is_version_rolling_allowed)
        tip = self._tip
        if tip is not None and parts.job_id == self._awaited:
            self._awaited = None
            self._futures.clear()
            return self._work(parts, tip, tip.min_ntime, clean=True)
        if message.min_ntime is None or tip is None:
            # Some servers send the first job as one for now, before any chain tip: it waits as a future job would.
            self._futures.pop(parts.job_id, None)
            self._futures[parts.job_id] = parts
            while len(self._futures) > MAX_FUTURE_JOBS:
                del self._futures[next(iter(self._futures))]
            return None
        was_awaiting, self._awaited = self._awaited, None
        return self._work(parts, tip, message.min_ntime, clean=was_awaiting is not None)

    def on_tip(self, message: SetNewPrevHash) -> JobReceived | TipWithoutJob:
        """A chain tip came: the future job it names becomes work, all others go. Raises ValueError for impossible nbits."""
        target_from_nbits(message.nbits)
        self._tip = message
        parts = self._futures.pop(message.job_id, None)
        if parts is None:
            # The tip may have overtaken its job: the futures may still be of this tip, so they stay.
            self._awaited = message.job_id
            return TipWithoutJob(self.channel_id, message.job_id)
        self._futures.clear()
        self._awaited = None
        return self._work(parts, message, message.min_ntime, clean=True)

    def on_target(self, message: SetTarget) -> TargetSet:
        """Another target, from the next job on. Raises ValueError for one that can never be met."""
        if message.maximum_target == 0:
            raise ValueError("target 0 can never be met")
        self.target = message.maximum_target
        return TargetSet(self.channel_id, message.maximum_target)

    def on_prefix(self, message: SetExtranoncePrefix) -> PrefixSet:
        """Another prefix, from the next job on. Raises ValueError for one that leaves no room."""
        if len(message.extranonce_prefix) + self.extranonce_size > MAX_EXTRANONCE_BYTES:
            raise ValueError(f"a prefix of {len(message.extranonce_prefix)} bytes")
        self.prefix = message.extranonce_prefix
        return PrefixSet(self.channel_id, message.extranonce_prefix)

    def _parts(self, message: NewMiningJob | NewExtendedMiningJob, is_version_rolling_allowed: bool) -> _Parts:
        if isinstance(message, NewMiningJob):
            if self.is_extended:
                raise ValueError("a standard job for an extended channel")
            return _Parts(
                message.job_id, message.version, is_version_rolling_allowed, self.prefix, message.merkle_root, b"", b"", ()
            )
        if len(message.coinbase_tx_prefix) + len(message.coinbase_tx_suffix) > MAX_COINBASE_BYTES:
            raise ValueError(f"a coinbase of more than {MAX_COINBASE_BYTES} bytes")
        if len(message.merkle_path) > MAX_MERKLE_BRANCHES:
            raise ValueError(f"more than {MAX_MERKLE_BRANCHES} merkle branches")
        prefix, suffix = strip_segwit(message.coinbase_tx_prefix, message.coinbase_tx_suffix)
        root = None
        if not self.is_extended:
            # A member of a group gets the group's extended job and makes its own root of it.
            root = root_from_path(sha256d(prefix + self.prefix + suffix), message.merkle_path)
        allowed = is_version_rolling_allowed and message.version_rolling_allowed
        return _Parts(message.job_id, message.version, allowed, self.prefix, root, prefix, suffix, message.merkle_path)

    def _work(self, parts: _Parts, tip: SetNewPrevHash, min_ntime: int, *, clean: bool) -> JobReceived:
        return JobReceived(
            channel_id=self.channel_id,
            job_id=parts.job_id,
            version=parts.version,
            is_version_rolling_allowed=parts.is_version_rolling_allowed,
            prev_hash=tip.prev_hash,
            nbits=tip.nbits,
            min_ntime=min_ntime,
            target=self.target,
            extranonce_prefix=parts.extranonce_prefix,
            merkle_root=parts.merkle_root,
            coinbase_prefix=parts.coinbase_prefix,
            coinbase_suffix=parts.coinbase_suffix,
            merkle_path=parts.merkle_path,
            clean=clean,
        )
