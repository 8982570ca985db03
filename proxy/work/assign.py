"""Who works for which pool: the ladder says which pools may be used, the split which of them each unit gets, and here it is done.

Decisions are pure (ladder.py, split.py); this applies them to channels and tells the pools. It opens no connection and sends no job
itself.
"""

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import trio

from proxy.config import Pool as PoolConfig
from proxy.events import EventLog
from proxy.work.channel import Channel
from proxy.work.health import Health
from proxy.work.jobs import UpstreamSession
from proxy.work.ladder import Decision, Ladder, Phase, Rung
from proxy.work.router import Router
from proxy.work.split import Split


class PoolPort(Protocol):
    """What the assigner needs of a pool."""

    name: str
    config: PoolConfig

    def health(self) -> Health:
        """As judged now."""
        ...

    def session_for(self, unit: str) -> UpstreamSession | None:
        """The connection for this unit, with work; None while it is being made."""
        ...

    def stand_in(self) -> UpstreamSession | None:
        """A connection for any unit that would idle otherwise."""
        ...

    def release(self, unit: str) -> None:
        """The unit works elsewhere."""
        ...

    @property
    def version_mask(self) -> int | None:
        """Version bits the pool grants; None while unknown."""
        ...


class Assigner:
    """Keeps every channel on the pool where it belongs."""

    def __init__(
        self,
        router: Router,
        pools: Sequence[PoolPort],
        *,
        order: Sequence[str],
        preferred: Mapping[str, str],
        events: EventLog,
        clock: Callable[[], float],
    ) -> None:
        """order: the configured units, loop by loop; preferred: the pool that a unit prefers, by unit."""
        self._router = router
        self._pools = pools
        self._places = {unit: index / max(len(order), 1) for index, unit in enumerate(order)}
        self._preferred = preferred
        self._events = events
        self._clock = clock
        self._ladder = Ladder()
        self._split = Split()
        self._pool_of: dict[str, str] = {}
        self._decision: Decision | None = None
        self._applied: tuple[object, ...] | None = None
        self._poked = trio.Event()
        self._is_dirty = True

    @property
    def decision(self) -> Decision | None:
        """The ladder's last word."""
        return self._decision

    def offered_mask(self, own_mask: int) -> Callable[[], int]:
        """What units are granted: our bits that every pool which has spoken allows too, so that no switch has to change it."""

        def mask() -> int:
            granted = own_mask
            for pool in self._pools:
                if pool.version_mask:
                    granted &= pool.version_mask
            return granted

        return mask

    def poke(self) -> None:
        """Something changed at a pool: decide now, not at the next tick."""
        self._is_dirty = True
        self._poked.set()

    async def wait(self, seconds: float) -> None:
        """Until the next decision is due."""
        with trio.move_on_after(seconds):
            await self._poked.wait()
        self._poked = trio.Event()

    def account(self, pool: str, work: float) -> None:
        """Work was done for `pool`: the split follows what was really done."""
        self._split.account(pool, work)

    def choose(self, channel: Channel) -> UpstreamSession | None:
        """The session a new channel starts on; None while no pool is usable."""
        if self._decision is None:
            return None
        return self._session(channel, self._decision)

    def power_changed(self, unit: str) -> None:
        """The unit was commanded to another level: what it counts for in the split has changed (its place has not)."""
        channel = self._router.by_unit.get(unit)
        if channel is not None and self._decision is not None:
            self._pool_for(channel, self._decision)

    def leave(self, unit: str) -> None:
        """The unit has gone."""
        self._split.forget(unit)
        pool = self._pool_of.pop(unit, None)
        if pool is not None:
            self._release(unit, pool)

    def tick(self) -> None:
        """Decide, and move whoever is in the wrong place."""
        now_s = self._clock()
        rungs = [
            Rung(pool.name, pool.config.priority, pool.health(), pool.config.weight, pool.config.return_after_s)
            for pool in self._pools
        ]
        decision = self._ladder.decide(now_s, rungs)
        self._tell(self._decision, decision)
        self._decision = decision
        key = (decision.epoch, decision.phase, decision.moved, decision.trusted)
        if self._is_dirty or key != self._applied:
            self._is_dirty = False
            self._applied = key
            self._move_all(decision)
        self._rebalance(decision, now_s)

    # -- inside

    def _move_all(self, decision: Decision) -> None:
        moves: dict[UpstreamSession, list[Channel]] = {}
        for channel in self._router.channels:
            session = self._session(channel, decision)
            if session is None:
                channel.session = None
            elif session is not channel.session:
                moves.setdefault(session, []).append(channel)
        for session, channels in moves.items():
            self._router.attach_many(channels, session)

    def _session(self, channel: Channel, decision: Decision) -> UpstreamSession | None:
        unit = channel.unit
        pool = self._pool_for(channel, decision)
        if pool is None:
            return None
        before = self._pool_of.get(unit)
        if before is not None and before != pool.name:
            self._release(unit, before)
        self._pool_of[unit] = pool.name
        session = pool.session_for(unit)
        if session is not None:
            return session
        # While its connection is made the unit stays where it is, so that the move is one job; it never idles for that.
        present = channel.session
        return present if present is not None and present.is_alive else pool.stand_in()

    def _pool_for(self, channel: Channel, decision: Decision) -> PoolPort | None:
        unit = channel.unit
        preferred = self._preferred.get(unit)
        if preferred not in decision.trusted:
            preferred = None
        usable = decision.rungs_for(self._place(unit))
        hashrate_hps = 0.0 if channel.vardiff.expected_hps == 0 else channel.vardiff.hashrate_hps
        name = self._split.assign(unit, hashrate_hps, usable, preferred, self._clock())
        return self._pool(name) if name is not None else None

    def _rebalance(self, decision: Decision, now_s: float) -> None:
        if decision.phase is not Phase.SERVING or len(decision.usable) < 2:
            return
        for move in self._split.rebalance(now_s, decision.usable):
            channel = self._router.by_unit.get(move.unit_id)
            if channel is not None:
                self._router.attach(channel, self._session(channel, decision))

    def _pool(self, name: str) -> PoolPort | None:
        return next((pool for pool in self._pools if pool.name == name), None)

    def _release(self, unit: str, pool_name: str) -> None:
        pool = self._pool(pool_name)
        if pool is not None:
            pool.release(unit)

    def _place(self, unit: str) -> float:
        place = self._places.get(unit)
        return place if place is not None else zlib.crc32(unit.encode()) / 2**32

    def _tell(self, before: Decision | None, now: Decision) -> None:
        if before is not None and (before.epoch, before.phase, before.flapping) == (now.epoch, now.phase, now.flapping):
            return
        level = "info" if now.phase in (Phase.STARTING, Phase.SERVING, Phase.RETURNING) and not now.flapping else "warning"
        self._events.publish(
            "ladder.decided",
            level,
            phase=now.phase.value,
            pools=", ".join(rung.name for rung in now.usable) or None,
            cause=now.cause,
            flapping=now.flapping,
        )
