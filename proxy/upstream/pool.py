"""The life of one configured pool: its connections (slots), their back-off, and what is known of its health.

aggregated: one slot. grouped: a new slot when the others are full. per_unit: a slot for each unit. One slot is always kept
warm, also while another pool is in use, so that a switch sends bytes that are already here. It does NOT decide who works for
whom: see work/.
"""

import os
import ssl
from collections.abc import Callable
from functools import reduce
from operator import and_

import trio

from proxy.config import Pool as PoolConfig
from proxy.events import EventLog
from proxy.ledger.records import ShareState
from proxy.upstream.pending import PendingShares, PoolAccount
from proxy.upstream.reconnect import again_and_again
from proxy.upstream.session import PoolSession, Resume, SessionEvents, SessionParts, is_v2
from proxy.upstream.v1 import V1Session
from proxy.upstream.v2 import V2Session
from proxy.upstream.v2_link import V2Link
from proxy.views import PoolView
from proxy.work.geometry import Geometry
from proxy.work.health import Health, Observation, judge
from proxy.work.jobs import ForwardedShare, UpstreamJob, UpstreamSession
from proxy.work.load import Load

MAX_SLOTS = 2_000
# A slot without units is closed after this.
SPARE_SLOT_S = 120.0
TIDY_PERIOD_S = 1.0
# A connection that has no work by then is not waited for any longer.
LATE_S = 5.0


class Slot:
    """One connection's place: who uses it, and the session that is there now. is_doubtful: its units do not wait for it."""

    def __init__(self, number: int, user: str, pending: PendingShares, opened_s: float) -> None:
        self.number = number
        self.user = user
        self.pending = pending
        self.session: PoolSession | None = None
        self.units: set[str] = set()
        self.scope = trio.CancelScope()
        self.opened_s = opened_s
        self.is_doubtful = False
        self.empty_since_s: float | None = None

    @property
    def usable(self) -> PoolSession | None:
        """The session, once there is something to work on."""
        session = self.session
        return session if session is not None and session.is_alive and session.current is not None else None


class Pool:
    """See the module."""

    def __init__(
        self,
        config: PoolConfig,
        *,
        geometry: Geometry,
        settle: Callable[[int, ShareState, str | None], None],
        answered: Callable[[str, bool], None],
        publish: Callable[[UpstreamJob], None],
        changed: Callable[[], None],
        session_gone: Callable[[UpstreamSession], None],
        events: EventLog,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        tls_context: ssl.SSLContext | None,
        loads: Callable[[], tuple[dict[UpstreamSession, Load], Load]] = lambda: ({}, Load(0.0, 1.0)),
    ) -> None:
        """loads: what is expected of the units of each session, and of one without units; a Stratum V2 pool is told."""
        self.config = config
        self.name = config.name
        self.account = PoolAccount()
        self.reconnects = 0
        self.last_message: str | None = None
        self.failure: str | None = None
        self._geometry = geometry
        self._settle = settle
        self._answered = answered
        self._changed = changed
        self._session_gone = session_gone
        self._events = events
        self._clock = clock
        self._wall_clock = wall_clock
        self._tls_context = tls_context
        self._loads = loads
        self._link = (
            V2Link(config, events=events, clock=clock, wall_clock=wall_clock, rng=os.urandom) if is_v2(config.url) else None
        )
        self._publish = publish
        self._hooks = SessionEvents(ready=self._on_ready, job=self._on_job, message=self._on_message)
        self._slots: list[Slot] = []
        self._slot_numbers = 0
        self._sessions_made = 0
        self._slot_of_unit: dict[str, Slot] = {}
        self._nursery: trio.Nursery | None = None
        self._scope = trio.CancelScope()
        self._is_stopped = False

    async def run(self) -> None:
        """Keep the connections until cancelled or stopped. Trouble never leaves this task; after a bug it may run again."""
        if self._is_stopped:
            return
        try:
            with trio.CancelScope() as self._scope:
                async with trio.open_nursery() as nursery:
                    self._nursery = nursery
                    self._open_slot(None)
                    if self._link is not None:
                        nursery.start_soon(self._keep_link, self._link, name=f"pool {self.name} link")
                    while True:
                        await trio.sleep(TIDY_PERIOD_S)
                        self._tidy()
        finally:
            self._nursery = None
            self._slot_of_unit.clear()

    def stop(self) -> None:
        """Leave this pool for good: shares that it has not answered end unknown."""
        self._is_stopped = True
        self._scope.cancel()

    @property
    def is_ready(self) -> bool:
        """Some connection works and has given a job."""
        return any(slot.usable is not None for slot in self._slots)

    # -- for work/assign

    def session_for(self, unit: str) -> UpstreamSession | None:
        """The session this unit should work for; None while it is on its way.

        One that failed, or takes too long, is not waited for: the unit borrows the first.
        """
        slot = self._slot_of_unit.get(unit) or self._place(unit)
        if slot is None:
            return self.stand_in()
        return slot.usable or (self.stand_in() if slot.is_doubtful else None)

    def stand_in(self) -> UpstreamSession | None:
        """The connection that is always kept; None while it has no work."""
        return self._slots[0].usable if self._slots else None

    def release(self, unit: str) -> None:
        """The unit works elsewhere or has left."""
        slot = self._slot_of_unit.pop(unit, None)
        if slot is not None:
            slot.units.discard(unit)

    def health(self) -> Health:
        """Judged over all slots: the pool is as good as its best connection."""
        now_s = self._clock()
        alive = [slot for slot in self._slots if slot.session is not None and slot.session.is_alive]
        answers, refused_work, all_work = self.account.recent(now_s)
        best = max((slot.session for slot in alive if slot.session), key=_newest_job_s, default=None)
        oldest_s = min((sent for slot in alive if (sent := slot.pending.oldest_s()) is not None), default=None)
        return judge(
            Observation(
                connected=best is not None,
                failure=self.failure,
                job_times_s=tuple(best.job_times_s) if best is not None else (),
                ready_since_s=best.ready_since_s if best is not None else None,
                oldest_unanswered_s=oldest_s,
                unanswered=sum(slot.pending.in_flight for slot in alive),
                recent_answers=answers,
                recent_refused_work=refused_work,
                recent_work=all_work,
                median_latency_s=self.account.median_latency_s(),
            ),
            self.config,
            now_s,
        )

    @property
    def version_mask(self) -> int | None:
        """The bits this pool lets us roll; None while it has not said."""
        masks = [slot.session.version_mask for slot in self._slots if slot.session is not None and slot.session.is_alive]
        return reduce(and_, masks) if masks else None

    # -- slots

    def _place(self, unit: str) -> Slot | None:
        slot = self._free_slot(unit) or self._open_slot(unit)
        if slot is not None:
            slot.units.add(unit)
            slot.empty_since_s = None
            self._slot_of_unit[unit] = slot
        return slot

    def _free_slot(self, unit: str) -> Slot | None:
        config = self.config
        if config.mode == "aggregated":
            return self._slots[0] if self._slots else None
        room = config.group_size if config.mode == "grouped" else 1
        user = self._user_for(unit)
        return next((slot for slot in self._slots if len(slot.units) < room and slot.user == user), None)

    def _user_for(self, unit: str | None) -> str:
        config = self.config
        is_own = config.mode == "per_unit" and config.unit_suffix and unit is not None
        return f"{config.user}.{unit}" if is_own else config.user

    def _open_slot(self, unit: str | None) -> Slot | None:
        if self._nursery is None or len(self._slots) >= MAX_SLOTS:
            return None
        self._slot_numbers += 1
        pending = PendingShares(self.account, self._settle, self._answered, self._on_block_lost)
        slot = Slot(self._slot_numbers, self._user_for(unit), pending, self._clock())
        self._slots.append(slot)
        self._nursery.start_soon(self._run_slot, slot, name=f"pool {self.name} slot {slot.number}")
        return slot

    def _tidy(self) -> None:
        """Once a second: doubts that last too long become unknown, spare slots close (the first stays warm), late ones are told."""
        now_s = self._clock()
        for slot in list(self._slots):
            slot.pending.give_up("session-lost", now_s)
            if not slot.is_doubtful and slot.usable is None and now_s - slot.opened_s > LATE_S:
                slot.is_doubtful = True
                self._changed()
            if slot.units or slot is self._slots[0]:
                slot.empty_since_s = None
            elif slot.empty_since_s is None:
                slot.empty_since_s = now_s
            elif now_s - slot.empty_since_s > SPARE_SLOT_S and not len(slot.pending):
                # Out of the list at once: nobody may be placed on it while it ends.
                self._slots.remove(slot)
                slot.scope.cancel()
        if self._link is not None and self._link.is_up:
            self._tell_loads()

    def _tell_loads(self) -> None:
        loads, spare = self._loads()
        for slot in self._slots:
            if isinstance(slot.session, V2Session):
                slot.session.tick(loads.get(slot.session, spare))

    async def _run_slot(self, slot: Slot) -> None:
        try:
            with slot.scope:
                await self._reconnect_forever(slot)
        finally:
            slot.pending.connection_lost(self._clock())
            slot.pending.give_up("stopped")
            if slot.session is not None:
                self._session_gone(slot.session)
            if slot in self._slots:
                self._slots.remove(slot)

    async def _reconnect_forever(self, slot: Slot) -> None:
        resume: Resume | None = None

        async def serve(host: str, port: int) -> None:
            nonlocal resume
            session = slot.session = self._make_session(slot, resume)
            try:
                await session.run(host, port, self._tls_context)
            finally:
                resume = session.to_resume() or resume

        await again_and_again(lambda: self.config, serve, lambda reason: self._failed(slot, reason), self._clock)

    async def _keep_link(self, link: V2Link) -> None:
        await again_and_again(lambda: self.config, link.run, self._link_failed, self._clock)

    def _make_session(self, slot: Slot, resume: Resume | None) -> PoolSession:
        self._sessions_made += 1
        parts = SessionParts(
            config=self.config,
            session_id=self._sessions_made,
            user=slot.user,
            geometry=self._geometry,
            pending=slot.pending,
            hooks=self._hooks,
            events=self._events,
            clock=self._clock,
            wall_clock=self._wall_clock,
            resume=resume,
        )
        return V1Session(parts) if self._link is None else V2Session(parts, link=self._link, load=self._loads()[1])

    def _on_ready(self, session: PoolSession) -> None:
        self.failure = None
        self._events.publish("pool.ready", pool=self.name, session=session.session_id)
        self._changed()

    def _on_job(self, upstream: UpstreamJob) -> None:
        self._publish(upstream)
        if upstream.epoch == 1:
            # Only now is there something to work on: units may come.
            self._changed()

    def _failed(self, slot: Slot, reason: str) -> None:
        slot.is_doubtful = True
        session, slot.session = slot.session, None
        if session is not None:
            self._session_gone(session)
        if self._link is None or self._link.is_up:
            self._link_failed(reason)
        else:
            # The link has said why, for all of its channels.
            self._changed()

    def _link_failed(self, reason: str) -> None:
        self.reconnects += 1
        if self.failure != reason:
            self._events.publish("pool.failed", "warning", pool=self.name, reason=reason)
        self.failure = reason
        self._changed()

    def _on_block_lost(self, share: ForwardedShare, reason: str) -> None:
        self._events.publish(
            "block.not_acknowledged",
            "error",
            pool=self.name,
            unit=share.unit,
            reason=reason,
            remedy="ask the pool whether it has the block of this minute",
        )

    def _on_message(self, text: str) -> None:
        self.last_message = text
        self._events.publish("pool.message", pool=self.name, text=text)

    # -- shown

    def view(self, *, active: bool, units: int) -> PoolView:
        """What the page and the API show."""
        now_s = self._clock()
        health = self.health()
        session = next((slot.session for slot in self._slots if slot.session is not None and slot.session.is_alive), None)
        account = self.account
        return PoolView(
            name=self.name,
            url=self.config.url,
            transport="noise" if self._link is not None else "tls" if self._tls_context is not None else "tcp",
            mode=self.config.mode,
            state=health.state.value,
            reason=health.reason,
            priority=self.config.priority,
            weight=self.config.weight,
            active=active,
            sessions=sum(1 for slot in self._slots if slot.session is not None and slot.session.is_alive),
            units=units,
            difficulty=session.difficulty if session is not None else None,
            extranonce1_bytes=len(session.extranonce1) if session is not None and session.extranonce1 is not None else None,
            extranonce2_bytes=session.extranonce2_size if session is not None else None,
            version_mask=f"{session.version_mask:08x}" if session is not None else None,
            last_job_age_s=session.job_age_s(now_s) if session is not None else None,
            submit_latency_s=account.median_latency_s(),
            accepted=account.accepted,
            refused=dict(account.refused),
            unknown=dict(account.unknown),
            pending=sum(len(slot.pending) for slot in self._slots),
            accepted_work=account.accepted_work,
            reconnects=self.reconnects,
            last_message=self.last_message,
            last_refusal=account.last_refusal,
            batch_mismatches=account.mismatched_batches,
        )


def _newest_job_s(session: PoolSession) -> float:
    return session.job_times_s[-1] if session.job_times_s else -1.0


def make_tls_context(config: PoolConfig) -> ssl.SSLContext | None:
    """None for plain TCP and for Noise. Verification is always on: a private pool is trusted by its CA file (`tls_ca`), never by
    looking away."""
    if config.url.startswith("stratum+tcp://") or is_v2(config.url):
        return None
    context = ssl.create_default_context(cafile=config.tls_ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
