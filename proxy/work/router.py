"""Jobs down: a pool's job to every channel of its session, with the difficulty that is right. Plain calls, no await, no socket.

Who works for which pool is `assign`'s business; what a difficulty should be is `vardiff`'s; what becomes of a share is that of
`shares`. It does NOT know any wire format.
"""

from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet

from protocol.bitcoin.target import floor_power_of_two
from proxy.events import EventLog
from proxy.work import vardiff
from proxy.work.channel import Channel
from proxy.work.fanout import FanOut
from proxy.work.gate import Gate
from proxy.work.geometry import Geometry, seconds_to_exhaust
from proxy.work.jobs import (
    JobIds,
    UpstreamJob,
    UpstreamSession,
    WireJob,
    first_wire_job,
    later_wire_job,
    sent_job,
)
from proxy.work.load import Load, loads_by_session
from proxy.work.unit_work import WorkMemory

# A unit that can try everything a job offers within this time may idle before the next one comes.
MIN_SEARCH_SPACE_S = 60.0
# Fan-out order is by hashrate; hashrates move slowly.
ORDER_LIFE_S = 60.0
FAN_OUT_AT_ONCE = 128
WITHHELD = "it was told to sleep and does not, or is on trial without work"


class Router:
    """All channels of the site and the work they are on."""

    def __init__(
        self,
        *,
        geometry: Geometry,
        policy: vardiff.VardiffPolicy,
        events: EventLog,
        clock: Callable[[], float],
        first_job_id: int,
        passes_difficulty_through: bool = False,
        holds_work: bool = False,
    ) -> None:
        self.geometry = geometry
        self.policy = policy
        self.memory = WorkMemory()
        self.channels: dict[Channel, None] = {}
        self.by_unit: dict[str, Channel] = {}
        self.on_work: Callable[[], None] = lambda: None  # somebody has to advance the fan-out
        self.on_left: Callable[[str], None] = lambda unit: None
        self.choose_session: Callable[[Channel], UpstreamSession | None] = lambda channel: None
        self.passes_difficulty_through = passes_difficulty_through
        self.holds_work = holds_work
        self._events = events
        self._clock = clock
        self._ids = JobIds(first_job_id)
        self._gate = Gate()
        self._fan_out = FanOut(self._send_next_job)
        self._orders: dict[UpstreamSession, tuple[float, list[Channel]]] = {}
        self._twins: dict[str, dict[Channel, None]] = {}  # older connections of a unit that has a newer one
        self._low_pools: set[str] = set()

    # -- towards the miners

    def open_channel(self, channel: Channel, suggested_difficulty: float | None, typical_hps: float | None) -> None:
        """Take a unit in: the first job goes out at once where there is one. typical_hps: of its model, for want of better."""
        now_s = self._clock()
        work = self.memory.of(channel.unit)
        known_hps = work.remembered_hps if work.remembered_hps is not None else typical_hps
        channel.opened_s = now_s
        channel.vardiff = vardiff.start(self.policy, now_s, work.expected_hps, known_hps, suggested_difficulty)
        self.channels[channel] = None
        twin = self.by_unit.get(channel.unit)
        if twin is not None:
            self._twins.setdefault(channel.unit, {})[twin] = None
        self.by_unit[channel.unit] = channel
        self._warn_of_small_search_space(channel, work.expected_hps or known_hps)
        self.attach(channel, self.choose_session(channel))

    def close_channel(self, channel: Channel) -> None:
        """Let a unit go; what is known of its hashrate stays."""
        if self.channels.pop(channel, self) is self:
            return
        channel.is_open = False
        channel.session = None
        work = self.memory.of(channel.unit)
        work.remembered_hps = channel.vardiff.hashrate_hps
        work.last_share_s = channel.last_share_s if channel.last_share_s is not None else work.last_share_s
        if not self._leave_to_twin(channel):
            self.on_left(channel.unit)

    def attach(self, channel: Channel, session: UpstreamSession | None) -> None:
        """Let `channel` work for `session` from now on (None: for nobody until a pool is back; it keeps its last job)."""
        if session is None or channel.session is session:
            channel.session = session
            return
        channel.session = session
        order = self._orders.get(session)
        if order is not None:
            order[1].append(channel)
        upstream = session.current
        if upstream is None:
            return
        # A unit that comes back to a job it knows gets a fresh ntime, or it would find the same shares again.
        seen_s = _seen_s(channel, upstream)
        wire = self._first_wire(upstream) if seen_s < 0 else later_wire_job(upstream, self._ids, self._clock(), seen_s)
        if wire is not None:
            self._send_job(channel, wire)

    def attach_many(self, channels: list[Channel], session: UpstreamSession) -> None:
        """Let all of `channels` work for `session`: one fresh job for each, in slices where they are many."""
        upstream = session.current
        if len(channels) <= FAN_OUT_AT_ONCE or upstream is None:
            for channel in channels:
                self.attach(channel, session)
            return
        for channel in channels:
            channel.session = session
        self._orders.pop(session, None)
        wire = later_wire_job(upstream, self._ids, self._clock(), max(_seen_s(channel, upstream) for channel in channels))
        if wire is not None:
            channels.sort(key=lambda channel: channel.vardiff.difficulty, reverse=True)
            self._fan_out.join(session, wire, channels)
            self.on_work()

    def suggest_difficulty(self, channel: Channel, difficulty: float) -> None:
        """A unit proposes its difficulty: taken within our limits."""
        if vardiff.suggest(channel.vardiff, self.policy, difficulty, self._clock()) is not None:
            self.renew(channel)

    def hint_hashrate(self, channel: Channel, hashrate_hps: float) -> None:
        """A unit announces its hashrate: as good as a command where nobody commands the unit. 0 says nothing."""
        if hashrate_hps <= 0 or self.memory.of(channel.unit).expected_hps is not None:
            return
        if vardiff.expect(channel.vardiff, self.policy, hashrate_hps, self._clock()) is not None:
            self.renew(channel)

    def share_found(self, channel: Channel, difficulty: float, now_s: float) -> None:
        """A unit found a share of `difficulty` that counts: its own difficulty may follow."""
        if vardiff.on_share(channel.vardiff, self.policy, difficulty, now_s) is not None:
            self.renew(channel)

    def renew(self, channel: Channel) -> bool:
        """Send the current work again as a fresh job (later ntime), with the difficulty that is right now. False: there is none."""
        session = channel.session
        if session is None or session.current is None or not self._is_worth_sending(session):
            return False
        wire = later_wire_job(session.current, self._ids, self._clock(), _seen_s(channel, session.current))
        if wire is not None:
            self._send_job(channel, wire)
        return wire is not None

    # -- towards the pools

    def publish(self, upstream: UpstreamJob) -> None:
        """A pool has a new job: it goes to every channel of that session."""
        wire = self._first_wire(upstream)
        session = upstream.session
        if upstream.difficulty < self.policy.min_difficulty:
            self._warn_of_low_difficulty(upstream)
        if len(self.channels) <= FAN_OUT_AT_ONCE:
            self._fan_out.stop(session)
            for channel in list(self.channels):
                if channel.session is session:
                    self._send_job(channel, wire)
            return
        self._fan_out.start(session, wire, self._order(session))
        self.on_work()

    # -- towards heat

    def expect_hashrate(self, unit: str, hashrate_hps: float) -> None:
        """Difficulty feed-forward: `unit` was commanded to this hashrate (0: asleep), before any share can tell."""
        self.memory.of(unit).expected_hps = hashrate_hps
        channel = self.by_unit.get(unit)
        if channel is not None and vardiff.expect(channel.vardiff, self.policy, hashrate_hps, self._clock()) is not None:
            self.renew(channel)

    def withhold(self, starved: AbstractSet[str]) -> None:
        """Give `starved` units no job from now on, and those who are no longer among them their work back.

        A V1 unit is hung up on too: it would go on with its last job for ever. A V2 connection may carry others.
        """
        change = self._gate.update(starved)
        if change is None:
            return
        for unit in change.closed:
            self._events.publish("unit.work_withheld", "warning", unit=unit, cause=WITHHELD)
            for channel in self._channels_of(unit):
                if channel.stratum_version == 1:
                    channel.link.close(f"its work is withheld: {WITHHELD}")
        for unit in change.opened:
            self._events.publish("unit.work_resumed", unit=unit)
            for channel in self._channels_of(unit):
                self.renew(channel)

    def is_withheld(self, unit: str) -> bool:
        """Whether `unit` gets no work (see withhold)."""
        return self._gate.is_closed(unit)

    def loads(self) -> tuple[dict[UpstreamSession, Load], Load]:
        """The load of each session that has units, and what one without would get; see loads_by_session."""
        return loads_by_session(self.channels, self.policy.start_difficulty)

    # -- upkeep

    @property
    def is_fan_out_pending(self) -> bool:
        """A fan-out waits for its next slice."""
        return self._fan_out.is_pending

    def fan_out_step(self, count: int) -> None:
        """Send the next slice."""
        self._fan_out.step(count)

    def upkeep(self, channels: Iterable[Channel], keepalive_s: float) -> None:
        """Look after `channels`: ease the difficulty of quiet units, re-send a job where none came for `keepalive_s`.

        Where no pool has a job, the last one is repeated only on a site that holds work.
        """
        now_s = self._clock()
        for channel in channels:
            eased = vardiff.on_tick(channel.vardiff, self.policy, now_s) is not None
            is_due = channel.current is not None and now_s - channel.sent_at_s >= keepalive_s
            if (eased or is_due) and not self.renew(channel) and is_due:
                self._repeat(channel, now_s)

    def forget_session(self, session: UpstreamSession) -> None:
        """The session is gone for good."""
        self._orders.pop(session, None)

    # -- inside

    def _repeat(self, channel: Channel, now_s: float) -> None:
        """Send the last job again, unchanged: its pool has no other, and without one for 120 s many units hang up."""
        current = channel.current
        if current is not None and not self._gate.is_closed(channel.unit) and self._is_worth_sending(current.wire.upstream.session):
            channel.sent_at_s = now_s
            channel.link.send_job(current, clean=False, new_difficulty=False, new_mask=False)

    def _is_worth_sending(self, session: UpstreamSession) -> bool:
        """When its pool has gone, nobody pays for a job: only a site that holds work goes on with it."""
        return session.is_alive or self.holds_work

    def _leave_to_twin(self, channel: Channel) -> bool:
        """Whether the unit of a channel that has gone is still here by another connection; the newest of them speaks for it."""
        unit = channel.unit
        twins = self._twins.get(unit, {})
        if self.by_unit.get(unit) is not channel:
            twins.pop(channel, None)
        elif twins:
            self.by_unit[unit], _ = twins.popitem()
        else:
            del self.by_unit[unit]
        if not twins:
            self._twins.pop(unit, None)
        return unit in self.by_unit

    def _send_next_job(self, channel: Channel, wire: WireJob) -> None:
        """A unit's turn in a fan-out. One that was given fresh work of this job meanwhile keeps it."""
        if channel.current is None or channel.current.wire.upstream is not wire.upstream:
            self._send_job(channel, wire)

    def _channels_of(self, unit: str) -> list[Channel]:
        newest = self.by_unit.get(unit)
        return [*self._twins.get(unit, ()), *([newest] if newest is not None else ())]

    def _send_job(self, channel: Channel, wire: WireJob) -> None:
        if self._gate.is_closed(channel.unit):
            return
        upstream = wire.upstream
        difficulty = self._difficulty(channel, upstream)
        mask = channel.negotiated_mask & upstream.job.version_mask
        sent = sent_job(wire, difficulty, mask)
        last = channel.current
        clean = last is None or last.wire.upstream.session is not upstream.session or last.wire.upstream.epoch != upstream.epoch
        new_mask = channel.negotiated_mask != 0 and mask != channel.told_mask
        channel.told_mask = mask
        channel.remember(sent, clean=clean, now_s=self._clock())
        channel.link.send_job(sent, clean=clean, new_difficulty=last is None or last.difficulty != difficulty, new_mask=new_mask)

    def _difficulty(self, channel: Channel, upstream: UpstreamJob) -> float:
        """What the channel is told: its own, but never above the pool's, or work that the pool would pay for is never sent.

        Below the site's least it goes for no pool: every hash of the fleet would be a share. What the unit itself sets as its least
        goes before all.
        """
        asked = max(upstream.difficulty, self.policy.min_difficulty)
        own = channel.vardiff.difficulty
        if self.passes_difficulty_through:
            own = asked
        elif own > asked:
            # A pool prints its difficulty with so many digits; one that is a power of two in truth must not fall to the next lower.
            own = floor_power_of_two(asked * (1 + 1e-9))
        return max(own, channel.floor_difficulty)

    def _first_wire(self, upstream: UpstreamJob) -> WireJob:
        fresh = later_wire_job(upstream, self._ids, self._clock(), -1) if upstream.fresh_from_s else None
        return fresh or upstream.variants.get(0) or first_wire_job(upstream, self._ids)

    def _order(self, session: UpstreamSession) -> list[Channel]:
        now_s = self._clock()
        kept = self._orders.get(session)
        if kept is None or now_s - kept[0] > ORDER_LIFE_S:
            mine = [channel for channel in self.channels if channel.session is session]
            mine.sort(key=lambda channel: channel.vardiff.difficulty, reverse=True)
            self._orders[session] = kept = (now_s, mine)
        return list(kept[1])

    def _warn_of_low_difficulty(self, upstream: UpstreamJob) -> None:
        pool = upstream.session.pool
        if pool not in self._low_pools:
            self._low_pools.add(pool)
            self._events.publish(
                "pool.difficulty_low",
                "warning",
                pool=pool,
                difficulty=upstream.difficulty,
                least=self.policy.min_difficulty,
                remedy="shares between the two are not found; if the pool is right, lower vardiff.min_difficulty",
            )

    def _warn_of_small_search_space(self, channel: Channel, hashrate_hps: float | None) -> None:
        if not hashrate_hps:
            return
        seconds = seconds_to_exhaust(self.geometry, channel.negotiated_mask, hashrate_hps)
        if seconds < MIN_SEARCH_SPACE_S:
            self._events.publish(
                "unit.search_space_small",
                "warning",
                unit=channel.unit,
                seconds_to_exhaust=round(seconds, 3),
                remedy="enable version rolling on the unit, or raise listen.extranonce2_bytes if every pool allows it",
            )


def _seen_s(channel: Channel, upstream: UpstreamJob) -> int:
    """How far ahead the latest ntime of this job is that the unit was ever sent; -1: it does not know the job."""
    known = (*channel.jobs.values(), *channel.stale.values())
    return max((sent.wire.ntime_ahead_s for sent in known if sent.wire.upstream is upstream), default=-1)
