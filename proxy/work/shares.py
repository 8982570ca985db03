"""Shares up: what becomes of a share from the moment its unit sends it. Plain calls, no await, no socket, no wire format.

The desk has the channel judge it, hands it to the pool that owns its job, gives its record to the ledger and answers the unit once
that is durable; it keeps the counters of all this. Jobs and difficulties are the router's business: the desk only tells it of work.
"""

from collections.abc import Callable
from typing import Protocol

import msgspec

from protocol.bitcoin.target import HASHES_PER_DIFFICULTY
from protocol.mining.share import Judgement, Verdict, header_version
from proxy.events import EventLog
from proxy.ledger.records import ShareRecord
from proxy.work.channel import Channel, ShareCoordinates
from proxy.work.jobs import ForwardedShare, SentJob
from proxy.work.router import Router

# Looked up once: in Python 3.11 a member of an Enum costs 0.1 us each time, and a share meets several.
_VALID = Verdict.VALID
_BLOCK = Verdict.BLOCK


class ShareLedger(Protocol):
    """What the desk needs of the ledger."""

    @property
    def is_degraded(self) -> bool:
        """Nothing can be promised now."""
        ...

    def next_share_id(self) -> int:
        """A new id."""
        ...

    def record_share(self, record: ShareRecord, token: object) -> bool:
        """Queue the record; `token` comes back when it is durable. False: not taken."""
        ...

    def count_rejected(self, unit: str, pool: str, verdict: str, at_unix_s: float, difficulty: float) -> None:
        """Count a share that we refused."""
        ...


class ShareToken(msgspec.Struct, frozen=True, gc=False):
    """Where the answer of a share goes once it is durable."""

    channel: Channel
    answer: object  # the link's own token


class ShareDesk:
    """Takes the shares of all channels of the site."""

    def __init__(
        self,
        router: Router,
        *,
        ledger: ShareLedger,
        events: EventLog,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
    ) -> None:
        self.on_credited: Callable[[str, float], None] = lambda pool, work: None  # pool, expected hashes
        self._router = router
        self._memory = router.memory
        self._ledger = ledger
        self._events = events
        self._clock = clock
        self._wall_clock = wall_clock

    # -- from the miners

    def submit(self, channel: Channel, share: ShareCoordinates, answer: object) -> Verdict | None:
        """Take one share. None: it is good and `answer` is given through the link once the record is durable; else the refusal."""
        now_s = self._clock()
        channel.last_share_s = now_s
        judgement, sent = channel.judge(share)
        verdict = judgement.verdict
        if sent is not None and (verdict is _VALID or verdict is _BLOCK):
            refusal = self._take(channel, share, judgement, sent, answer, now_s)
            if refusal is None:
                return None
            # It was not taken, so the same share may come again.
            sent.wire.upstream.seen.discard(judgement.block_hash)
            verdict = refusal
        self._count_rejected(channel, verdict, sent)
        return verdict

    def refuse(self, channel: Channel | None, verdict: Verdict) -> None:
        """Count a share that never reached a channel's judgement (malformed, unauthorized). None: there is no channel yet."""
        unit = channel.unit if channel is not None else ""
        self._ledger.count_rejected(unit, "", verdict.value, self._wall_clock(), 0.0)
        if channel is not None:
            channel.rejected += 1

    # -- from the pools and the ledger

    def answered(self, unit: str, accepted: bool) -> None:
        """The pool's answer to a share of `unit`, for its counters."""
        work = self._memory.of(unit)
        if accepted:
            work.accepted += 1
        else:
            work.refused += 1

    def on_durable(self, tokens: list[object]) -> None:
        """The ledger's news: these shares are safe, so their units may be told `true`."""
        self._answer(tokens, None)

    def on_failed(self, tokens: list[object]) -> None:
        """The ledger could not keep these: their units are told so."""
        self._answer(tokens, Verdict.UNLEDGERED)

    # -- inside

    def _answer(self, tokens: list[object], refusal: Verdict | None) -> None:
        """Answer each share by its link, and flush each link once."""
        touched: dict[Channel, None] = {}
        for token in tokens:
            if not isinstance(token, ShareToken) or not token.channel.is_open:
                continue
            channel = token.channel
            if refusal is None:
                channel.link.answer_accepted(token.answer)
                channel.accepted += 1
            else:
                channel.link.answer_rejected(token.answer, refusal)
                channel.rejected += 1
            touched[channel] = None
        for channel in touched:
            channel.link.flush()

    def _take(
        self, channel: Channel, share: ShareCoordinates, judgement: Judgement, sent: SentJob, answer: object, now_s: float
    ) -> Verdict | None:
        upstream = sent.wire.upstream
        session = upstream.session
        is_block = judgement.verdict is _BLOCK
        if self._ledger.is_degraded and not is_block:
            return Verdict.UNLEDGERED
        forwarded = is_block or judgement.hash_value <= upstream.job.target
        share_id = self._ledger.next_share_id()
        if forwarded:
            refusal = self._forward(share_id, channel, share, sent, is_block)
            if refusal is not None:
                return refusal
        difficulty = sent.difficulty
        if judgement.hash_value > sent.target and channel.current is not None:
            difficulty = channel.current.difficulty
        record = ShareRecord(
            share_id=share_id,
            at_unix_s=self._wall_clock(),
            unit=channel.unit,
            worker=share.worker or channel.worker,
            pool=session.pool,
            session=session.session_id,
            upstream_job=upstream.upstream_id,
            difficulty=difficulty,
            pool_difficulty=upstream.difficulty,
            key=judgement.block_hash[:16],
            forwarded=forwarded,
            block=is_block,
        )
        if not self._ledger.record_share(record, ShareToken(channel, answer)):
            return Verdict.UNLEDGERED
        self._credit(channel, session.pool, difficulty, now_s)
        if is_block:
            channel.blocks += 1
            self._events.publish(
                "block.found", "warning", unit=channel.unit, pool=session.pool, hash=judgement.block_hash[::-1].hex()
            )
        return None

    def _forward(
        self,
        share_id: int,
        channel: Channel,
        share: ShareCoordinates,
        sent: SentJob,
        is_block: bool,
    ) -> Verdict | None:
        upstream = sent.wire.upstream
        session = upstream.session
        if not session.is_alive and not is_block:
            return Verdict.POOL_GONE
        version = header_version(upstream.job, sent.version_mask, share.version_bits)
        # Whatever this unit does: once rolling is granted BIP 310 wants the bits in every share (DATUM refuses one without them, be
        # it a block), and a pool that never granted it refuses a share that has them.
        mask = upstream.job.version_mask
        taken = session.submit(
            ForwardedShare(
                share_id=share_id,
                unit=channel.unit,
                upstream_job=upstream.upstream_id,
                extranonce2=upstream.fit.pool_extranonce2(channel.prefix + share.extranonce2),
                ntime=share.ntime,
                nonce=share.nonce,
                version_bits=version & mask if mask else None,
                version=version,
                work=upstream.difficulty * HASHES_PER_DIFFICULTY,
                block=is_block,
            )
        )
        return None if taken else Verdict.BUSY if session.is_alive else Verdict.POOL_GONE

    def _credit(self, channel: Channel, pool: str, difficulty: float, now_s: float) -> None:
        work = difficulty * HASHES_PER_DIFFICULTY
        self._memory.of(channel.unit).valid_work += work
        self.on_credited(pool, work)
        self._router.share_found(channel, difficulty, now_s)

    def _count_rejected(self, channel: Channel, verdict: Verdict, sent: SentJob | None) -> None:
        channel.rejected += 1
        self._memory.of(channel.unit).rejected += 1
        pool = sent.wire.upstream.session.pool if sent is not None else ""
        difficulty = sent.difficulty if sent is not None else 0.0
        self._ledger.count_rejected(channel.unit, pool, verdict.value, self._wall_clock(), difficulty)
