"""One channel at a Stratum V2 pool: jobs in, shares out, until it is closed or its connection breaks.

To the router it is a session like any other: what the pool calls extranonce prefix lies inside the coinbase of each job, a new
prefix or target is absorbed by the next job, and a switch between pools of both versions is one new job for a unit. The pool is not
trusted: what it sends was validated in protocol/v2 and is checked here against what we know.
"""

import ssl

import structlog
import trio

from protocol.bitcoin.target import difficulty_from_target, target_from_difficulty
from protocol.translate import error_number, is_sum_right, job_from_v2, v2_mask
from protocol.v2 import client_events as v2
from protocol.v2.text import printable
from proxy.errors import PoolError
from proxy.upstream.pending import Batch
from proxy.upstream.session import MAX_NTIME_ROLL_S, PoolSession, Resume, SessionParts
from proxy.upstream.v2_link import ChannelEvent, V2Link
from proxy.work.geometry import Fit, explain_misfit, fit
from proxy.work.jobs import ForwardedShare, UpstreamJob
from proxy.work.load import Load

log = structlog.get_logger()


class V2Session(PoolSession):
    """A channel of a link."""

    def __init__(self, parts: SessionParts, *, link: V2Link, load: Load) -> None:
        """load: what is expected of the units that will work here."""
        super().__init__(parts)
        self._link = link
        self._told = load
        self._channel_id: int | None = None
        self._workless_since_s: float | None = None
        self._is_mismatch_told = False
        self._opened = trio.Event()
        self._ended = trio.Event()
        self._end: PoolError | None = None

    def to_resume(self) -> Resume | None:
        """The coordinates and jobs of this channel: a pool may give the next one the same."""
        return Resume(None, self.extranonce1, self._jobs) if self.extranonce1 is not None else None

    # -- shares

    def submit(self, share: ForwardedShare) -> bool:
        """See UpstreamSession. A block that finds the channel closed is taken too, but ends unknown: no other has its job."""
        if self._channel_id is None or not self.is_alive:
            if share.block:
                self._pending.keep(share, self._clock())
            return share.block
        if not share.block and (not self._link.has_room or self._pending.is_full or self._workless_since_s is not None):
            return False
        sequence, frame = self._link.protocol.submit_extended(
            self._channel_id,
            int(share.upstream_job),
            nonce=share.nonce,
            ntime=share.ntime,
            version=share.version,
            extranonce=share.extranonce2,
            user_identity=share.unit,
        )
        self._pending.sent(sequence, share, self._clock())
        self._link.send(frame)
        return True

    # -- life

    async def run(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        """Open the channel once the connection is there, and serve until either ends. Raises PoolError with the reason.

        Address and TLS are those of other kinds of sessions: the connection is the link's.
        """
        await self._link.wait_up()
        try:
            self.open()
            with trio.move_on_after(self._config.answer_timeout_s):
                await self._opened.wait()
            if not self._opened.is_set():
                raise PoolError(f"the request for a channel was not answered within {self._config.answer_timeout_s:g} s")
            await self._ended.wait()
            raise PoolError(str(self._end))
        finally:
            self.ready_since_s = None
            self._link.leave(self)
            self._pending.connection_lost(self._clock())

    def open(self) -> None:
        """Ask for the channel."""
        target = target_from_difficulty(self._told.difficulty)
        self._link.open(self, self._user, self._told.hashrate_hps, target, self._geometry.unit_bytes)

    def end(self, error: PoolError) -> None:
        """See LinkUser."""
        self.ready_since_s = None
        self._end = self._end or error
        self._opened.set()
        self._ended.set()

    def tick(self, load: Load) -> None:
        """Once a second: tell the pool of a changed load, and leave a channel whose work does not come."""
        if self._channel_id is None or not self.is_alive:
            return
        if self._workless_since_s is not None and self._clock() - self._workless_since_s > self._config.answer_timeout_s:
            error = PoolError(f"a new chain tip came, but no job for it within {self._config.answer_timeout_s:g} s")
            self.end(error)
        elif load.is_news_to(self._told):
            self._told = load
            target = target_from_difficulty(load.difficulty)
            self._link.send(self._link.protocol.update_channel(self._channel_id, load.hashrate_hps, target))

    # -- events of the pool

    def on_opened(self, event: v2.ChannelOpened) -> None:
        """See LinkUser."""
        self._channel_id = event.channel_id
        self.extranonce1, self.extranonce2_size = event.extranonce_prefix, event.extranonce_size
        self._fit_of(event.extranonce_prefix)
        self.version_mask = 0 if self._link.protocol.is_version_fixed else v2_mask(int(self._config.version_mask, 16))
        self.difficulty = difficulty_from_target(event.target)
        self.ready_since_s = self._clock()
        self._pending.give_up("session-lost")
        if self._resume is not None and self._resume.extranonce1 == self.extranonce1:
            self._jobs = dict(self._resume.jobs)
        # Or each session would keep the one before it alive.
        self._resume = None
        self._opened.set()
        self._hooks.ready(self)

    def on_event(self, event: ChannelEvent) -> None:
        """See LinkUser."""
        match event:
            case v2.JobReceived():
                self._on_job(event)
            case v2.TipWithoutJob():
                self._on_tip_without_job()
            case v2.TargetSet():
                self.difficulty = difficulty_from_target(event.target)
            case v2.PrefixSet():
                # For the next job; jobs already out keep the fit they were made with.
                self.extranonce1 = event.extranonce_prefix
            case v2.SharesAccepted():
                self._on_accepted(event)
            case v2.ShareRefused():
                self._on_share_refused(event)
            case v2.UpdateRefused():
                log.warning("pool.update_refused", pool=self.pool, reason=printable(event.code))
            case v2.Refused():
                self._bad.refuse(event.message, event.reason)
            case _:
                raise AssertionError(f"{type(event).__name__} is the link's")

    def _on_job(self, event: v2.JobReceived) -> None:
        if self._is_believable("job", event.min_ntime):
            self._workless_since_s = None
            self._take_job(self._upstream_job(event))

    def _upstream_job(self, event: v2.JobReceived) -> UpstreamJob:
        if event.clean or self.current is None:
            self._epoch += 1
        placed = self._fit_of(event.extranonce_prefix)
        job = job_from_v2(
            event,
            coinbase_prefix=placed.prefix(event.coinbase_prefix),
            version_mask=self.version_mask,
            max_ntime_ahead_s=MAX_NTIME_ROLL_S,
        )
        return UpstreamJob(
            job,
            self,
            str(event.job_id),
            placed,
            difficulty=difficulty_from_target(event.target),
            epoch=self._epoch,
            arrived_s=self._clock(),
        )

    def _fit_of(self, prefix: bytes) -> Fit:
        assert self.extranonce2_size is not None
        placed = fit(self._geometry, prefix, self.extranonce2_size)
        if placed is None:
            raise PoolError(explain_misfit(self._geometry, self.extranonce2_size))
        return placed

    def _on_tip_without_job(self) -> None:
        """What units have is worthless and there is nothing else yet: nothing of it goes up."""
        if self._workless_since_s is None:
            self._workless_since_s = self._clock()
        for job in self._jobs.values():
            job.retired = True

    def _on_accepted(self, event: v2.SharesAccepted) -> None:
        batch = self._pending.accept_through(event.last_sequence, event.count, self._clock())
        if batch.covered != event.count or not is_sum_right(event.work_sum, batch.difficulty_sum, batch.accepted):
            self._tell_mismatch(event, batch)

    def _tell_mismatch(self, event: v2.SharesAccepted, batch: Batch) -> None:
        self._pending.count_mismatch()
        if self._is_mismatch_told:
            return
        self._is_mismatch_told = True
        self._events.publish(
            "pool.batch_mismatch",
            "warning",
            pool=self.pool,
            waiting=batch.covered,
            count=event.count,
            difficulty_sum=batch.difficulty_sum,
            pool_sum=event.work_sum,
            remedy="the pool credits other work than was sent; compare its account with the ledger",
        )

    def _on_share_refused(self, event: v2.ShareRefused) -> None:
        reason = printable(event.code) or None
        self._pending.answer(event.sequence, False, error_number(event.code), reason, self._clock())
