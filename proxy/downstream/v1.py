"""A miner that speaks Stratum V1: its events become calls to the router, the router's wishes become lines.

It does NOT judge shares, choose pools or difficulties, and it never waits.
"""

from collections.abc import Callable
from typing import Any

import structlog

from protocol.bitcoin.target import difficulty_from_target
from protocol.mining.share import Verdict
from protocol.v1 import messages
from protocol.v1.server import ServerConnection
from proxy.downstream.connection import Connection
from proxy.downstream.contained import contained
from proxy.downstream.guard import COST_REFUSED_SHARE
from proxy.downstream.quirks import quirks_of
from proxy.downstream.reception import CHEAP_LIES, Reception
from proxy.work.channel import Channel, ShareCoordinates
from proxy.work.jobs import SentJob

log = structlog.get_logger()

# Worker names one connection may authorize beside its own.
MAX_WORKERS = 8


class MinerServer:
    """What all V1 sessions share, and their factory."""

    def __init__(self, reception: Reception, *, offered_mask: Callable[[], int], rng: Callable[[int], bytes]) -> None:
        """offered_mask: the version bits that every pool allows now."""
        self.reception = reception
        self.offered_mask = offered_mask
        self.rng = rng

    def session(self, connection: Connection) -> "MinerSession":
        """A session for a new connection."""
        return MinerSession(self, connection)


class MinerSession:
    """One miner. Also the `ChannelLink` of its channel."""

    __slots__ = (
        "_channel",
        "_mask",
        "_prefix",
        "_protocol",
        "_queued",
        "_quirks",
        "_reception",
        "_server",
        "_session_id",
        "_suggested",
        "_told",
        "_user_agent",
        "_workers",
        "connection",
    )

    def __init__(self, server: MinerServer, connection: Connection) -> None:
        self.connection = connection
        self._server = server
        self._reception = server.reception
        self._protocol = ServerConnection(server.reception.config.line_limit_bytes)
        self._channel: Channel | None = None
        self._prefix: bytes | None = None
        self._session_id = ""
        self._mask = 0
        self._quirks = quirks_of(None)
        self._suggested: float | None = None
        self._user_agent: str | None = None
        self._workers: tuple[str, ...] = ()
        self._queued = b""
        self._told = (False, False, False)  # what the last job said of itself: clean, with difficulty, with mask

    @property
    def is_ready(self) -> bool:
        """Subscribed and authorized."""
        return self._channel is not None

    @property
    def may_be_silent(self) -> bool:
        """It was commanded to sleep, or no pool has work for it."""
        channel = self._channel
        return channel is not None and (channel.vardiff.expected_hps == 0 or channel.session is None)

    @property
    def channel(self) -> Channel | None:
        """The channel, once the handshake is done."""
        return self._channel

    # -- from the miner

    def receive(self, data: bytes) -> None:
        """Work on what came in. Raises RemoteProtocolError when the miner breaks the protocol."""
        protocol = self._protocol
        protocol.feed(data)
        while (event := protocol.next_event()) is not None:
            HANDLERS[type(event)](self, event)
            if self.connection.close_reason is not None:
                return

    def closed(self, reason: str) -> None:
        """The connection is gone: give back what it held."""
        reception = self._reception
        now_s = reception.clock()
        channel, self._channel = self._channel, None
        if channel is not None:
            reception.router.close_channel(channel)
        if self._prefix is not None:
            reception.allocator.release(self._prefix, now_s)
            self._prefix = None
        log.info(
            "miner.left",
            unit=channel.unit if channel else None,
            address=self.connection.address,
            reason=reason,
            accepted=channel.accepted if channel else 0,
            rejected=channel.rejected if channel else 0,
            seconds=round(now_s - self.connection.opened_s, 1),
        )

    def _on_subscribe(self, event: messages.Subscribe) -> None:
        reception = self._reception
        if self._prefix is None:
            self._prefix = reception.allocator.allocate(reception.clock(), self._wanted_prefix(event.session_id))
            if self._prefix is None:
                self.connection.send(self._protocol.error(event.id, messages.CODE_OTHER, "no extranonce prefix is free; try later"))
                self.connection.hang_up("no extranonce prefix free: listen.unit_id_bytes is too small for this site")
                return
            self._session_id = self._prefix.hex() + self._server.rng(4).hex()
            self._user_agent = event.user_agent
            self._quirks = quirks_of(event.user_agent)
        reply = self._protocol.subscribed(event.id, self._session_id, self._prefix, reception.config.extranonce2_bytes)
        self.connection.send(reply)
        self._open_if_complete()

    def _wanted_prefix(self, session_id: str | None) -> bytes | None:
        """A resuming unit asks for the coordinates that its session id carries."""
        if session_id is None:
            return None
        try:
            return bytes.fromhex(session_id[: 2 * self._reception.config.unit_id_bytes]) or None
        except ValueError:
            return None

    def _on_configure(self, event: messages.Configure) -> None:
        mask: int | None = None
        wish = event.version_rolling
        if wish is not None:
            mask = wish.mask & self._server.offered_mask()
            if mask.bit_count() < wish.min_bit_count or mask == 0:
                mask = None
        minimum = event.minimum_difficulty is not None
        self.connection.send(self._protocol.configured(event, mask, minimum, event.subscribe_extranonce))
        if wish is not None:
            self._mask = mask or 0
            if self._channel is not None:
                self._channel.negotiated_mask = self._channel.told_mask = self._mask
        if event.minimum_difficulty:
            self._suggested = event.minimum_difficulty

    def _on_authorize(self, event: messages.Authorize) -> None:
        worker = event.user
        identity = self._reception.identify(worker, self.connection.address, self._quirks)
        accepted = identity is not None and (worker in self._workers or len(self._workers) < MAX_WORKERS)
        self.connection.send(self._protocol.authorized(event.id, accepted))
        if not accepted:
            log.warning("miner.refused", worker=worker, address=self.connection.address, remedy="add the unit to the site file")
            return
        if worker not in self._workers:
            self._workers = (*self._workers, worker)
        self._open_if_complete()

    def _open_if_complete(self) -> None:
        if self._channel is not None or not self._workers or self._prefix is None:
            return
        worker = self._workers[0]
        identity = self._reception.identify(worker, self.connection.address, self._quirks)
        if identity is None:
            return
        channel = Channel(
            self, identity.unit, worker, self.connection.address, self._prefix, self._reception.config.extranonce2_bytes
        )
        channel.user_agent = self._user_agent
        channel.negotiated_mask = channel.told_mask = self._mask
        self._channel = channel
        # The answers come first on the wire, then difficulty and job.
        self._reception.router.open_channel(channel, self._suggested, identity.typical_hps)

    def _on_submit(self, event: messages.Submit) -> None:
        channel = self._channel
        if channel is None or event.user not in self._workers:
            verdict = Verdict.NOT_SUBSCRIBED if self._prefix is None else Verdict.UNAUTHORIZED
            self._reception.shares.refuse(channel, verdict)
        else:
            coordinates = ShareCoordinates(event.job_id, event.extranonce2, event.ntime, event.nonce, event.version_bits)
            refusal = self._reception.shares.submit(channel, coordinates, event.id)
            if refusal is None:
                return
            verdict = refusal
        self.connection.send(self._protocol.rejected(event.id, verdict))
        if verdict in CHEAP_LIES:
            self._reception.charge(self.connection, COST_REFUSED_SHARE)

    def _on_suggest_difficulty(self, event: messages.SuggestDifficulty) -> None:
        self.connection.send(self._protocol.result(event.id, True))
        self._suggested = event.difficulty
        if self._channel is not None:
            self._reception.router.suggest_difficulty(self._channel, event.difficulty)

    def _on_suggest_target(self, event: messages.SuggestTarget) -> None:
        self._on_suggest_difficulty(messages.SuggestDifficulty(event.id, difficulty_from_target(event.target)))

    def _on_extranonce_subscribe(self, event: messages.ExtranonceSubscribe) -> None:
        # A unit's coordinates never change, so there will never be one to send; the wish itself is harmless.
        self.connection.send(self._protocol.result(event.id, True))

    def _on_ping(self, event: messages.Ping) -> None:
        self.connection.send(self._protocol.pong(event.id))

    def _on_get_transactions(self, event: messages.GetTransactions) -> None:
        self.connection.send(self._protocol.error(event.id, messages.CODE_OTHER, "get_transactions is not supported"))

    def _on_unknown(self, event: messages.UnknownRequest) -> None:
        self.connection.send(self._protocol.error(event.id, -3, "Method not found"))
        self._reception.charge(self.connection, COST_REFUSED_SHARE)

    def _on_bad_request(self, event: messages.BadRequest) -> None:
        if event.method == "mining.submit":
            channel = self._channel
            self._reception.shares.refuse(channel, Verdict.MALFORMED)
        self.connection.send(self._protocol.error(event.id, event.code, event.reason))
        self._reception.charge(self.connection, COST_REFUSED_SHARE)

    def _on_answer(self, event: object) -> None:
        """An answer to something we asked; nothing depends on it."""

    # -- from the router: see ChannelLink

    @contained
    def send_job(self, sent: SentJob, *, clean: bool, new_difficulty: bool, new_mask: bool) -> None:
        """Difficulty and mask first where they changed, then the job; one write."""
        if self.connection.is_job_waiting:
            # That job is never sent: what it would have told comes with this one.
            was_clean, was_difficulty, was_mask = self._told
            clean, new_difficulty, new_mask = clean or was_clean, new_difficulty or was_difficulty, new_mask or was_mask
        self._told = (clean, new_difficulty, new_mask)
        key = "v1-clean" if clean else "v1"
        line = sent.wire.encoded.get(key)
        if line is None:
            line = sent.wire.encoded[key] = messages.encode_notify(sent.wire.wire_id, sent.wire.job, clean)
        if new_difficulty:
            line = messages.encode_set_difficulty(sent.difficulty) + line
        if new_mask:
            line = self._protocol.set_version_mask(sent.version_mask) + line
        self.connection.send_job(line)

    @contained
    def answer_accepted(self, token: object) -> None:
        """Queue `true`."""
        assert isinstance(token, bytes)
        self._queued += self._protocol.accepted(token)

    @contained
    def answer_rejected(self, token: object, verdict: Verdict) -> None:
        """Queue a refusal."""
        assert isinstance(token, bytes)
        self._queued += self._protocol.rejected(token, verdict)

    @contained
    def flush(self) -> None:
        """Send what was queued."""
        queued, self._queued = self._queued, b""
        self.connection.send(queued)

    def close(self, reason: str) -> None:
        """Hang up."""
        self.connection.hang_up(reason)


# Any: each handler takes exactly the event type it is listed under.
HANDLERS: dict[type, Callable[[MinerSession, Any], None]] = {
    messages.Subscribe: MinerSession._on_subscribe,
    messages.Configure: MinerSession._on_configure,
    messages.Authorize: MinerSession._on_authorize,
    messages.Submit: MinerSession._on_submit,
    messages.SuggestDifficulty: MinerSession._on_suggest_difficulty,
    messages.SuggestTarget: MinerSession._on_suggest_target,
    messages.ExtranonceSubscribe: MinerSession._on_extranonce_subscribe,
    messages.Ping: MinerSession._on_ping,
    messages.GetTransactions: MinerSession._on_get_transactions,
    messages.UnknownRequest: MinerSession._on_unknown,
    messages.BadRequest: MinerSession._on_bad_request,
    messages.VersionAnswer: MinerSession._on_answer,
    messages.Answer: MinerSession._on_answer,
}
