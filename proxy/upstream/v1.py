"""One Stratum V1 connection to a pool: handshake, jobs in, shares out, until it breaks.

The pool is not trusted: what it sends was validated field by field in protocol/v1, is checked here against what we know, re-
encoded and given an id of ours before a unit sees it. A job that fails is refused and the last good one stays.
`client.reconnect` is followed only to an exact entry of the pool's allow-list.
"""

import math
import ssl
from collections.abc import Callable
from typing import Any

import trio

from protocol.bitcoin.target import target_from_difficulty, target_from_nbits
from protocol.mining.job import Job
from protocol.v1 import messages
from protocol.v1.client import ClientConnection
from proxy.errors import PoolError
from proxy.upstream.session import (
    MAX_NTIME_ROLL_S,
    MAX_REDIRECT_WAIT_S,
    USER_AGENT,
    PoolSession,
    Redirect,
    Resume,
    SessionParts,
    host_and_port,
)
from proxy.upstream.stream import Outbox, close, connect, first_failure
from proxy.work.geometry import Fit, explain_misfit, fit
from proxy.work.jobs import ForwardedShare, UpstreamJob

# The pool may think about configure for so long before we go on without it.
CONFIGURE_GRACE_S = 3.0


class V1Session(PoolSession):
    """Made for one connection."""

    def __init__(self, parts: SessionParts) -> None:
        super().__init__(parts)
        self.pool_session_id: str | None = None
        self._protocol = ClientConnection()
        self._fit: Fit | None = None
        if parts.resume is not None:
            # A pool that resumes the session gives the work that units are on: see `remember`.
            self._jobs = dict(parts.resume.jobs)
        self._waiting_job: messages.JobReceived | None = None
        self._authorized = False
        self._configured = False
        self._outbox = Outbox()

    def to_resume(self) -> Resume | None:
        """For the next connection of this slot; None where the pool told us nothing worth asking for again."""
        return Resume(self.pool_session_id, self.extranonce1, self._jobs) if self.extranonce1 is not None else None

    # -- shares

    def submit(self, share: ForwardedShare) -> bool:
        """See UpstreamSession. A block is taken even from a dead or choked session: it is sent as soon as the pool is back."""
        if not self.is_alive:
            if share.block:
                self._pending.keep(share, self._clock())
            return share.block
        if not share.block and (not self._outbox.has_room or self._pending.is_full):
            return False
        self._send_share(share, resent=False)
        return True

    def _send_share(self, share: ForwardedShare, *, resent: bool) -> None:
        request_id, line = self._protocol.submit(
            self._user, share.upstream_job, share.extranonce2, share.ntime, share.nonce, share.version_bits
        )
        self._pending.sent(request_id, share, self._clock(), resent=resent)
        self._outbox.put(line)

    # -- life

    async def run(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        """Connect and serve until it breaks. Raises PoolError with the reason, or Redirect."""
        stream = await connect(self._config, host, port, tls)
        try:
            error = await first_failure(stream, self._write, self._read)
        finally:
            self.ready_since_s = None
            self._pending.connection_lost(self._clock())
            await close(stream)
        raise error

    async def _read(self, stream: trio.abc.Stream) -> None:
        self.greet()
        deadline_s = self._clock() + self._config.answer_timeout_s
        while True:
            with trio.move_on_after(self._patience_s(deadline_s)) as scope:
                data = await stream.receive_some(65_536)
            if scope.cancelled_caught:
                self._too_slow(deadline_s)
                continue
            if not data:
                raise PoolError("closed by the pool")
            self.receive(data)

    def greet(self) -> None:
        """Begin the handshake."""
        resume_id = self._resume.session_id if self._resume is not None else None
        self._outbox.put(self._protocol.configure(int(self._config.version_mask, 16)))
        self._outbox.put(self._protocol.subscribe(USER_AGENT, resume_id))

    def receive(self, data: bytes | bytearray) -> None:
        """Work on what the pool sent. Raises PoolError, Redirect or RemoteProtocolError when the connection is of no more use."""
        self._protocol.feed(data)
        while (event := self._protocol.next_event()) is not None:
            HANDLERS[type(event)](self, event)
        self._complete()

    def _patience_s(self, deadline_s: float) -> float:
        if not self.is_alive:
            if self._authorized and not self._configured:
                return CONFIGURE_GRACE_S
            return max(0.0, deadline_s - self._clock())
        # Health takes the units away long before; this only frees a socket that is dead without saying so.
        return 3 * self._config.job_timeout_s

    def _too_slow(self, deadline_s: float) -> None:
        if self.is_alive:
            raise PoolError(f"silent for {3 * self._config.job_timeout_s:g} s")
        if self._authorized and not self._configured:
            self._configured = True
            self._complete()
        elif self._clock() >= deadline_s:
            step = "authorize" if self.extranonce1 is not None else "subscribe"
            raise PoolError(f"{step} not answered within {self._config.answer_timeout_s:g} s")

    async def _write(self, stream: trio.abc.Stream) -> None:
        await self._outbox.write(stream, self._config.answer_timeout_s)

    def _complete(self) -> None:
        """Everything answered: shares in doubt go out again if the coordinates are the same, then the first job may flow."""
        if self.is_alive or not (self._authorized and self._configured and self._fit is not None):
            return
        self.ready_since_s = self._clock()
        if self._resume is not None and self._resume.extranonce1 == self.extranonce1:
            for waiting in self._pending.take_doubtful():
                self._send_share(waiting.share, resent=waiting.was_sent)
        else:
            self._pending.give_up("session-lost")
        # Or each session would keep the one before it alive.
        self._resume = None
        self._hooks.ready(self)
        if self._waiting_job is not None:
            job, self._waiting_job = self._waiting_job, None
            self._on_job(job)

    # -- events of the pool

    def _on_configured(self, event: messages.Configured) -> None:
        self._configured = True
        self.version_mask = (event.version_mask or 0) & int(self._config.version_mask, 16)

    def _on_subscribed(self, event: messages.Subscribed) -> None:
        self._set_extranonce(event.extranonce1, event.extranonce2_size)
        self.pool_session_id = event.session_id
        self._outbox.put(self._protocol.extranonce_subscribe())
        self._outbox.put(self._protocol.authorize(self._user, self._config.password))
        if self._config.suggest_difficulty is not None:
            self._outbox.put(self._protocol.suggest_difficulty(self._config.suggest_difficulty))

    def _on_subscribe_refused(self, event: messages.SubscribeRefused) -> None:
        raise PoolError(f"subscribe refused: {event.reason}")

    def _on_authorized(self, event: messages.Authorized) -> None:
        if not event.accepted:
            raise PoolError(
                f"authorize of {self._user} refused: {event.reason or 'no reason given'}; check pools.user and password"
            )
        self._authorized = True

    def _on_extranonce_set(self, event: messages.ExtranonceSet) -> None:
        # For the next job; jobs already out keep the fit they were made with.
        self._set_extranonce(event.extranonce1, event.extranonce2_size)

    def _set_extranonce(self, extranonce1: bytes, extranonce2_size: int) -> None:
        self.extranonce1, self.extranonce2_size = extranonce1, extranonce2_size
        self._fit = fit(self._geometry, extranonce1, extranonce2_size)
        if self._fit is None:
            raise PoolError(explain_misfit(self._geometry, extranonce2_size))

    def _on_difficulty(self, event: messages.DifficultySet) -> None:
        self.difficulty = event.difficulty

    def _on_version_mask(self, event: messages.VersionMaskSet) -> None:
        self.version_mask = event.version_mask & int(self._config.version_mask, 16)

    def _on_job(self, event: messages.JobReceived) -> None:
        if not self.is_alive:
            self._waiting_job = event
            return
        if self._is_believable("mining.notify", event.ntime):
            self._take_job(self._upstream_job(event))

    def _upstream_job(self, event: messages.JobReceived) -> UpstreamJob:
        assert self._fit is not None
        now_s = self._clock()
        clean = event.clean or self.current is None or self.current.job.prev_hash != event.prev_hash
        if clean:
            self._epoch += 1
        job = Job(
            prev_hash=event.prev_hash,
            version=event.version,
            nbits=event.nbits,
            ntime=event.ntime,
            coinbase_prefix=self._fit.prefix(event.coinbase1),
            coinbase_suffix=event.coinbase2,
            merkle_path=event.merkle_path,
            target=target_from_difficulty(self.difficulty),
            network_target=target_from_nbits(event.nbits),
            version_mask=self.version_mask,
            min_ntime=event.ntime,
            max_ntime=event.ntime + MAX_NTIME_ROLL_S,
            clean=clean,
        )
        return UpstreamJob(job, self, event.job_id, self._fit, difficulty=self.difficulty, epoch=self._epoch, arrived_s=now_s)

    def _on_answer(self, event: messages.SubmitAnswered) -> None:
        self._pending.answer(event.request_id, event.accepted, event.code, event.reason, self._clock())

    def _on_reconnect(self, event: messages.ReconnectAsked) -> None:
        own_host, own_port = host_and_port(self._config.url)
        host, port = event.host or own_host, event.port or own_port
        if (host, port) != (own_host, own_port) and f"{host}:{port}" not in self._config.reconnect_allow:
            self._events.publish(
                "pool.redirect_refused",
                "warning",
                pool=self.pool,
                host=host,
                port=port,
                remedy="if this host is the pool's, add it to the pool's reconnect_allow",
            )
            return
        wait_s = event.wait_s if math.isfinite(event.wait_s) else 0.0
        raise Redirect(host, port, min(max(wait_s, 0.0), MAX_REDIRECT_WAIT_S))

    def _on_message(self, event: messages.MessageShown) -> None:
        self._hooks.message(event.text)

    def _on_version_asked(self, event: messages.VersionAsked) -> None:
        self._outbox.put(self._protocol.version(event.id, USER_AGENT))

    def _on_ping(self, event: messages.PingAsked) -> None:
        self._outbox.put(self._protocol.pong(event.id))

    def _on_unknown(self, event: messages.UnknownAsked) -> None:
        self._outbox.put(self._protocol.unknown(event.id))

    def _on_refused(self, event: messages.Refused) -> None:
        # Some pools answer twice. It changes nothing, and a session that works is not given up for it.
        if event.method != "answer":
            self._bad.refuse(event.method, event.reason)

    def _on_plain_answer(self, event: messages.Answer) -> None:
        """extranonce.subscribe and suggest_difficulty: nothing depends on the answer."""


# Any: each handler takes exactly the event type it is listed under.
HANDLERS: dict[type, Callable[[V1Session, Any], None]] = {
    messages.JobReceived: V1Session._on_job,
    messages.SubmitAnswered: V1Session._on_answer,
    messages.DifficultySet: V1Session._on_difficulty,
    messages.Configured: V1Session._on_configured,
    messages.Subscribed: V1Session._on_subscribed,
    messages.SubscribeRefused: V1Session._on_subscribe_refused,
    messages.Authorized: V1Session._on_authorized,
    messages.ExtranonceSet: V1Session._on_extranonce_set,
    messages.VersionMaskSet: V1Session._on_version_mask,
    messages.ReconnectAsked: V1Session._on_reconnect,
    messages.MessageShown: V1Session._on_message,
    messages.VersionAsked: V1Session._on_version_asked,
    messages.PingAsked: V1Session._on_ping,
    messages.UnknownAsked: V1Session._on_unknown,
    messages.Refused: V1Session._on_refused,
    messages.Answer: V1Session._on_plain_answer,
}
