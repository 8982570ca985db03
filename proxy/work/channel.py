"""One unit's view of the work: what it was sent, exactly as it was sent, and what may come back.

Pure: no socket, no clock. A channel judges shares and remembers jobs; it forwards nothing, records nothing and answers nobody.
"""

from typing import Protocol

import msgspec

from protocol.mining.share import Judgement, Verdict, check_share
from proxy.work.jobs import SentJob, UpstreamSession
from proxy.work.vardiff import Vardiff

# Jobs a unit may still work on. Pools refresh every 30 s or so; nine are more than four minutes, longer than any firmware keeps
# one.
MAX_LIVE_JOBS = 9
# Jobs remembered to answer "stale" instead of "unknown", and because a block found on one is still worth sending.
MAX_STALE_JOBS = 16

# Looked up once: in Python 3.11 a member of an Enum costs 0.1 us each time, and a share meets several.
_VALID = Verdict.VALID
_BLOCK = Verdict.BLOCK
_UNKNOWN = Judgement(Verdict.UNKNOWN_JOB)
_STALE = Judgement(Verdict.STALE)
_DUPLICATE = Judgement(Verdict.DUPLICATE)


class ShareCoordinates(msgspec.Struct, frozen=True, gc=False):
    """A share as its unit names it."""

    job_id: str
    extranonce2: bytes
    ntime: int
    nonce: int
    version_bits: int | None
    worker: str | None = None  # where the share names one itself; else it is the channel's


class ChannelLink(Protocol):
    """The connection behind a channel, whatever it speaks."""

    def send_job(self, sent: SentJob, *, clean: bool, new_difficulty: bool, new_mask: bool) -> None:
        """Put the job on the wire, difficulty and mask before it where they are new."""
        ...

    def answer_accepted(self, token: object) -> None:
        """Queue the answer `true` for a share; `flush` sends it."""
        ...

    def answer_rejected(self, token: object, verdict: Verdict) -> None:
        """Queue a refusal for a share; `flush` sends it."""
        ...

    def flush(self) -> None:
        """Send what is queued."""
        ...

    def close(self, reason: str) -> None:
        """Hang up."""
        ...


class Channel:
    """Mutable state of one unit's channel. `prefix` is its extranonce1 for life."""

    __slots__ = (
        "accepted",
        "address",
        "blocks",
        "current",
        "extranonce_size",
        "floor_difficulty",
        "is_open",
        "jobs",
        "last_share_s",
        "link",
        "negotiated_mask",
        "opened_s",
        "prefix",
        "refused",
        "rejected",
        "sent_at_s",
        "session",
        "stale",
        "stratum_version",
        "told_mask",
        "unit",
        "user_agent",
        "vardiff",
        "worker",
    )

    def __init__(self, link: ChannelLink, unit: str, worker: str, address: str, prefix: bytes, extranonce2_size: int) -> None:
        self.link = link
        self.unit = unit
        self.worker = worker
        self.address = address
        self.prefix = prefix
        self.extranonce_size = len(prefix) + extranonce2_size
        self.user_agent: str | None = None
        self.negotiated_mask = 0  # what the unit asked for and we may grant; 0: no version rolling
        self.told_mask = 0  # what it was last told
        self.floor_difficulty = 0.0  # the unit takes no easier target: what it is told is never below
        self.vardiff: Vardiff
        self.session: UpstreamSession | None = None
        self.jobs: dict[str, SentJob] = {}
        self.stale: dict[str, SentJob] = {}
        self.current: SentJob | None = None
        self.is_open = True
        self.stratum_version = 1  # what its unit speaks; in 2 a target belongs to its job for good
        self.opened_s = 0.0
        self.sent_at_s = 0.0
        self.last_share_s: float | None = None
        self.accepted = 0
        self.rejected = 0
        self.refused = 0
        self.blocks = 0  # shares that met the network's target

    def remember(self, sent: SentJob, *, clean: bool, now_s: float) -> None:
        """Note that `sent` is on its way to the unit; a clean job of the same session makes the earlier ones stale.

        Jobs of another session stay: after a switch of pools the old pool pays for its job until its own next clean one.
        """
        if clean:
            session = sent.wire.upstream.session
            for job_id in [job_id for job_id, old in self.jobs.items() if old.wire.upstream.session is session]:
                self._retire(job_id)
        self.jobs[sent.wire.wire_id] = sent
        self.current = sent
        self.sent_at_s = now_s
        while len(self.jobs) > MAX_LIVE_JOBS:
            self._retire(next(iter(self.jobs)))

    def judge(self, share: ShareCoordinates) -> tuple[Judgement, SentJob | None]:
        """The verdict on a share, and the job it belongs to (None: none that this unit was sent). Registers it if it is valid.

        The target is the job's own, or the current one where that is easier: some firmware applies a new difficulty to the job
        it is working on. Not in Stratum V2, which freezes it with the job.
        """
        sent = self.jobs.get(share.job_id)
        if sent is None:
            return self._judge_stale(share)
        upstream = sent.wire.upstream
        extranonce = self.prefix + share.extranonce2
        current = sent if self.stratum_version == 2 or self.current is None else self.current
        judgement = check_share(
            upstream.job,
            max(sent.target, current.target),
            sent.version_mask,
            extranonce,
            self.extranonce_size,
            share.ntime,
            share.nonce,
            share.version_bits,
        )
        if judgement.verdict is not _VALID and judgement.verdict is not _BLOCK:
            return judgement, sent
        if judgement.block_hash in upstream.seen:
            return _DUPLICATE, sent
        if upstream.retired and judgement.verdict is _VALID and upstream.session is not self.session:
            return _STALE, sent
        upstream.seen.add(judgement.block_hash)
        return judgement, sent

    def _judge_stale(self, share: ShareCoordinates) -> tuple[Judgement, SentJob | None]:
        """A late share is worth nothing, unless it is a block: then the network decides."""
        sent = self.stale.get(share.job_id)
        if sent is None:
            return _UNKNOWN, None
        upstream = sent.wire.upstream
        extranonce = self.prefix + share.extranonce2
        judgement = check_share(
            upstream.job, 0, sent.version_mask, extranonce, self.extranonce_size, share.ntime, share.nonce, share.version_bits
        )
        if judgement.verdict is not _BLOCK:
            return _STALE, sent
        if judgement.block_hash in upstream.seen:
            return _DUPLICATE, sent
        upstream.seen.add(judgement.block_hash)
        return judgement, sent

    def _retire(self, job_id: str) -> None:
        self.stale[job_id] = self.jobs.pop(job_id)
        while len(self.stale) > MAX_STALE_JOBS:
            del self.stale[next(iter(self.stale))]
