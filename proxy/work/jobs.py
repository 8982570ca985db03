"""Jobs on their way down: what a pool gave us, the ids we give it, and the variants we make of it.

An `UpstreamJob` is one job of one upstream session; it owns the set of shares seen, because that is the pool's idea of a duplicate.
A `WireJob` is what a unit sees: an id of ours (unique over all pools, so that a late share always finds the pool that owns its job)
on that job, possibly with a later ntime. It does not know how a job looks on any wire, it only keeps what an encoder made of it.
"""

from typing import Protocol

import msgspec

from protocol.bitcoin.target import target_from_difficulty
from protocol.mining.job import Job
from proxy.work.geometry import Fit

# How far a variant's ntime may run ahead of the pool's own: far below the 7,000 s that common pools accept.
MAX_NTIME_AHEAD_S = 600


class ForwardedShare(msgspec.Struct, frozen=True, gc=False):
    """What an upstream session needs to submit a share and to account for the answer."""

    share_id: int
    unit: str
    upstream_job: str
    extranonce2: bytes  # the pool's, padding and unit id included
    ntime: int
    nonce: int
    version_bits: int | None  # as submitted, for SV1
    version: int  # the whole header version, for SV2
    work: float  # expected hashes at the pool's difficulty
    block: bool


class UpstreamSession(Protocol):
    """One connection to a pool, as the router sees it."""

    pool: str
    session_id: int
    current: "UpstreamJob | None"
    difficulty: float

    @property
    def is_alive(self) -> bool:
        """Subscribed, authorized and connected."""
        ...

    def submit(self, share: ForwardedShare) -> bool:
        """Queue the share for sending. False: the queue is full or the session is gone; nothing was taken."""
        ...


class UpstreamJob:
    """One job of one upstream session.

    `epoch` rises with each clean job of the session: two jobs of one epoch may both be worked on. `retired` is set when a later
    epoch began. `difficulty` is the pool's share difficulty that came with the job. `fresh_from_s`: what lies below, in seconds
    ahead of the job's ntime, was searched before.
    """

    __slots__ = (
        "arrived_s",
        "difficulty",
        "epoch",
        "fit",
        "fresh_from_s",
        "job",
        "retired",
        "seen",
        "session",
        "upstream_id",
        "variants",
    )

    def __init__(
        self,
        job: Job,
        session: UpstreamSession,
        upstream_id: str,
        fit: Fit,
        *,
        difficulty: float,
        epoch: int,
        arrived_s: float,
    ) -> None:
        self.job = job
        self.session = session
        self.upstream_id = upstream_id
        self.fit = fit
        self.difficulty = difficulty
        self.epoch = epoch
        self.arrived_s = arrived_s
        self.retired = False
        self.fresh_from_s = 0
        self.seen: set[bytes] = set()
        self.variants: dict[int, WireJob] = {}

    def continues(self, earlier: "UpstreamJob") -> None:
        """The pool sent the work of `earlier` again: what was found stays found, and the search goes on where it ended."""
        self.seen = earlier.seen
        searched_s = max(earlier.variants, default=earlier.fresh_from_s - 1)
        self.fresh_from_s = max(0, earlier.job.ntime + searched_s + 1 - self.job.ntime)


class WireJob:
    """One job id as units know it.

    `encoded` caches what each protocol's encoder made, keyed by the encoder; `sent` the frozen (difficulty, mask) forms of it,
    shared by all channels that got the same.
    """

    __slots__ = ("encoded", "job", "ntime_ahead_s", "sent", "upstream", "wire_id")

    def __init__(self, wire_id: str, upstream: UpstreamJob, job: Job, ntime_ahead_s: int) -> None:
        self.wire_id = wire_id
        self.upstream = upstream
        self.job = job
        self.ntime_ahead_s = ntime_ahead_s
        self.encoded: dict[str, bytes] = {}
        self.sent: dict[tuple[float, int], SentJob] = {}


class SentJob(msgspec.Struct, frozen=True, gc=False):
    """A job with the target and the version mask that went with it: frozen, whatever changes later."""

    wire: WireJob
    difficulty: float
    target: int
    version_mask: int


class JobIds:
    """Job ids unique over pools and restarts of pools: a counter in hex, at most eight digits, that starts where told."""

    def __init__(self, start: int) -> None:
        self._next = start & 0xFFFFFFFF

    def next_id(self) -> str:
        """The next id, 1 to 8 hex digits."""
        self._next = (self._next + 1) & 0xFFFFFFFF
        return f"{self._next:x}"


def is_same_work(one: Job, other: Job) -> bool:
    """Everything that is hashed is the same, but for the time."""
    return (
        one.prev_hash == other.prev_hash
        and one.coinbase_prefix == other.coinbase_prefix
        and one.coinbase_suffix == other.coinbase_suffix
        and one.merkle_path == other.merkle_path
        and (one.version, one.nbits) == (other.version, other.nbits)
    )


def first_wire_job(upstream: UpstreamJob, ids: JobIds) -> WireJob:
    """The job as the pool sent it, under an id of ours."""
    wire = WireJob(ids.next_id(), upstream, upstream.job, 0)
    upstream.variants[0] = wire
    return wire


def sent_job(wire: WireJob, difficulty: float, version_mask: int) -> SentJob:
    """The frozen form of `wire` for channels of this difficulty and mask; one object for all of them."""
    key = (difficulty, version_mask)
    sent = wire.sent.get(key)
    if sent is None:
        sent = SentJob(wire, difficulty, target_from_difficulty(difficulty), version_mask)
        wire.sent[key] = sent
    return sent


def later_wire_job(upstream: UpstreamJob, ids: JobIds, now_s: float, newer_than: int) -> WireJob | None:
    """The same upstream job with a later ntime, so that its search space is fresh: for keep-alive and feed-forward.

    Variants are shared between units: one for each second. The result is ahead of `newer_than` seconds. None: the job is too old to
    be stretched further.
    """
    ahead_s = max(int(now_s - upstream.arrived_s), newer_than + 1, upstream.fresh_from_s, 1)
    if ahead_s > MAX_NTIME_AHEAD_S:
        return None
    wire = upstream.variants.get(ahead_s)
    if wire is None:
        job = msgspec.structs.replace(upstream.job, ntime=upstream.job.ntime + ahead_s, clean=False)
        wire = WireJob(ids.next_id(), upstream, job, ahead_s)
        upstream.variants[ahead_s] = wire
    return wire
