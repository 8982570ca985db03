"""One encrypted connection to a Stratum V2 pool, shared by the channels (sessions) on it: from the Noise handshake until it breaks.

The pool must prove the authority key of its url before anything is said, on whatever host it sends us to. What a channel is told
goes to its session (v2.py); what a session sends is sealed at once, in the order of sending. It does NOT reconnect: see pool.py.
"""

import enum
from collections.abc import Callable
from typing import Protocol

import structlog
import trio

from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.v2 import client_events as v2
from protocol.v2.client import ClientConnection
from protocol.v2.codec import max_payload
from protocol.v2.constants import REQUIRES_VERSION_ROLLING
from protocol.v2.keys import Rng, parse_pool_url
from protocol.v2.noise import SECOND_MESSAGE_SIZE, Initiator
from protocol.v2.text import printable
from protocol.v2.transport import NoiseTransport
from proxy.config import Pool as PoolConfig
from proxy.errors import PoolError
from proxy.events import EventLog
from proxy.upstream.session import USER_AGENT, BadMessages, Redirect, host_and_port
from proxy.upstream.stream import Outbox, as_pool_error, close, connect, first_failure
from proxy.upstream.v2_extensions import ExtensionWishes, silence_s

log = structlog.get_logger()

ChannelEvent = (
    v2.JobReceived
    | v2.TipWithoutJob
    | v2.TargetSet
    | v2.PrefixSet
    | v2.SharesAccepted
    | v2.ShareRefused
    | v2.UpdateRefused
    | v2.ChannelClosed
    | v2.Refused
)


class Phase(enum.Enum):
    """What the connection waits for. Channels are opened when it is UP."""

    DOWN = "down"
    HANDSHAKE = "the Noise handshake"
    SETUP = "SetupConnection"
    EXTENSIONS = "RequestExtensions"
    UP = "up"


PHASES: dict[Phase, frozenset[Phase]] = {
    Phase.DOWN: frozenset({Phase.HANDSHAKE}),
    Phase.HANDSHAKE: frozenset({Phase.SETUP, Phase.DOWN}),
    Phase.SETUP: frozenset({Phase.EXTENSIONS, Phase.UP, Phase.DOWN}),
    Phase.EXTENSIONS: frozenset({Phase.EXTENSIONS, Phase.UP, Phase.DOWN}),
    Phase.UP: frozenset({Phase.DOWN}),
}


class Again(PoolError):
    """Nothing is wrong, but what was learnt needs a new connection, at once."""


class LinkUser(Protocol):
    """A session on the link."""

    def on_opened(self, event: v2.ChannelOpened) -> None:
        """The channel is open. Raises PoolError when it is of no use; then it is closed again."""
        ...

    def on_event(self, event: ChannelEvent) -> None:
        """Something about the channel. Raises PoolError when it is of no more use; then it is closed."""
        ...

    def end(self, error: PoolError) -> None:
        """The channel is gone, or was never opened."""
        ...


class V2Link:
    """See the module. Reused over connections; `protocol` is the present one's."""

    def __init__(
        self,
        config: PoolConfig,
        *,
        events: EventLog,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        rng: Rng,
    ) -> None:
        self.protocol = ClientConnection()
        self._config = config
        self._authority_x = parse_pool_url(config.url).authority_key
        self._events = events
        self._clock = clock
        self._wall_clock = wall_clock
        self._rng = rng
        self._phase = Phase.DOWN
        self._up = trio.Event()
        self._initiator: Initiator | None = None
        self._handshake = bytearray()
        self._transport: NoiseTransport | None = None
        self._outbox = Outbox()
        self._deadline_s = 0.0
        self._connect_s = 0.0
        self._opening: dict[int, LinkUser] = {}
        self._users: dict[int, LinkUser] = {}
        self._bad = BadMessages(config.name)
        self._wishes = ExtensionWishes(config.request_extensions)
        self._asks_rolling = int(config.version_mask, 16) != 0

    @property
    def phase(self) -> Phase:
        """What it waits for."""
        return self._phase

    @property
    def is_up(self) -> bool:
        """Channels may be opened and used."""
        return self._phase is Phase.UP

    @property
    def has_room(self) -> bool:
        """The pool reads what it is sent."""
        return self._outbox.has_room

    async def wait_up(self) -> None:
        """Until channels may be opened."""
        while not self.is_up:
            await self._up.wait()

    # -- for sessions

    def open(self, user: LinkUser, identity: str, hashrate_hps: float, max_target: int, min_extranonce_size: int) -> None:
        """Ask for an extended channel; `user` is told what became of it."""
        request_id, frame = self.protocol.open_extended(identity, hashrate_hps, max_target, min_extranonce_size)
        self._opening[request_id] = user
        self.send(frame)

    def leave(self, user: LinkUser) -> None:
        """The session ends: its channel is closed, and what is on its way for it is dropped."""
        for request_id in [request_id for request_id, waiting in self._opening.items() if waiting is user]:
            del self._opening[request_id]
        for channel_id in [channel_id for channel_id, open_user in self._users.items() if open_user is user]:
            self._close_channel(channel_id)

    def send(self, frame: bytes) -> None:
        """Seal and queue one frame."""
        assert self._transport is not None, "nobody sends before the handshake is done"
        self._outbox.put(self._transport.seal(frame))

    # -- life

    async def run(self, host: str, port: int) -> None:
        """Connect and serve until it breaks. Raises PoolError with the reason, or Redirect."""
        while True:
            try:
                await self._run_once(host, port)
            except Again as again:
                log.info("pool.connects_again", pool=self._config.name, reason=str(again))

    async def _run_once(self, host: str, port: int) -> None:
        begun_s = self._clock()
        stream = await connect(self._config, host, port)
        error = PoolError("stopped")
        try:
            self.begin(host, port, self._clock() - begun_s)
            error = await first_failure(stream, self._write, self._read)
        finally:
            self.down(error)
            await close(stream)
        raise error

    async def _read(self, stream: trio.abc.Stream) -> None:
        while True:
            with trio.move_on_after(self._patience_s()) as scope:
                data = await stream.receive_some(65_536)
            if scope.cancelled_caught:
                self.expire()
                continue
            if not data:
                raise PoolError(f"closed by the pool during {self._phase.value}" if not self.is_up else "closed by the pool")
            self.receive(data)

    async def _write(self, stream: trio.abc.Stream) -> None:
        await self._outbox.write(stream, self._config.answer_timeout_s)

    def take_out(self) -> bytes:
        """Everything that waits to be sent."""
        return self._outbox.take()

    def begin(self, host: str, port: int, connect_s: float) -> None:
        """A new connection: begin the handshake. connect_s: how long connecting took."""
        self._enter(Phase.HANDSHAKE, self._config.connect_timeout_s)
        self._endpoint = host, port
        self._connect_s = connect_s
        self.protocol = ClientConnection()
        self._transport = None
        self._handshake = bytearray()
        self._bad.forgive()
        self._initiator = Initiator(
            self._authority_x,
            self._rng,
            certificate_versions=frozenset(self._config.certificate_versions),
            allow_unauthenticated=self._config.allow_unauthenticated,
        )
        self._outbox = Outbox()
        self._outbox.put(self._initiator.first_message())

    def down(self, error: PoolError) -> None:
        """The connection is gone: so are all channels."""
        if self._phase is Phase.DOWN:
            return
        self._enter(Phase.DOWN, 0.0)
        if self._up.is_set():
            # Never while somebody waits on it.
            self._up = trio.Event()
        gone = [*self._opening.values(), *self._users.values()]
        self._opening.clear()
        self._users.clear()
        for user in gone:
            user.end(error)

    def receive(self, data: bytes | bytearray) -> None:
        """Work on what the pool sent. Raises PoolError, Redirect or RemoteProtocolError; the connection is down then."""
        try:
            if self._transport is None:
                data = self._shake_hands(data)
            transport = self._transport
            if transport is None:
                return
            transport.feed(data)
            while (frame := transport.next_frame()) is not None:
                for event in self.protocol.receive(frame):
                    self._on_event(event)
        except (PoolError, RemoteProtocolError) as error:
            self.down(as_pool_error(error))
            raise

    def _enter(self, phase: Phase, limit_s: float) -> None:
        if phase not in PHASES[self._phase]:
            raise LocalProtocolError(f"from {self._phase.value} to {phase.value}")
        self._phase = phase
        self._deadline_s = self._clock() + limit_s

    def _patience_s(self) -> float:
        if self.is_up:
            # Health takes the units away long before; this only frees a socket that is dead without saying so.
            return 3 * self._config.job_timeout_s
        return max(0.0, self._deadline_s - self._clock())

    def expire(self) -> None:
        """Nothing came for as long as one waits for it. Raises PoolError when the time of the phase has passed."""
        if self.is_up:
            raise PoolError(f"silent for {3 * self._config.job_timeout_s:g} s")
        if self._clock() < self._deadline_s:
            return
        if self._phase is Phase.EXTENSIONS:
            raise Again(f"the request for extensions was not answered ({self._wishes.count_silence()})")
        raise PoolError(f"{self._phase.value} not answered in time")

    # -- the handshakes

    def _shake_hands(self, data: bytes | bytearray) -> bytes:
        """Collect the server's part of the Noise handshake; what came behind it."""
        assert self._initiator is not None
        self._handshake += data
        if len(self._handshake) < SECOND_MESSAGE_SIZE:
            return b""
        answer, rest = bytes(self._handshake[:SECOND_MESSAGE_SIZE]), bytes(self._handshake[SECOND_MESSAGE_SIZE:])
        self._handshake.clear()
        session = self._initiator.receive(answer, self._wall_clock())
        self._transport = NoiseTransport(session, max_payload)
        if not session.is_authenticated:
            self._events.publish(
                "pool.unauthenticated",
                "warning",
                pool=self._config.name,
                remedy="anybody on the way can be this pool; add its authority key to the url",
            )
        self._enter(Phase.SETUP, self._config.answer_timeout_s)
        host, port = self._endpoint
        flags = REQUIRES_VERSION_ROLLING if self._asks_rolling else 0
        self.send(self.protocol.setup(host, port, flags=flags, firmware=USER_AGENT))
        return rest

    def _ask_extensions(self, wanted: list[int]) -> None:
        if not wanted:
            self._on_extensions(frozenset())
            return
        self._enter(Phase.EXTENSIONS, silence_s(self._connect_s))
        self.send(self.protocol.request_extensions(wanted))

    def _on_extensions(self, agreed: frozenset[int]) -> None:
        news = self._wishes.news(agreed)
        if news is not None:
            self._events.publish("pool.extensions", pool=self._config.name, agreed=news)
        self._enter(Phase.UP, 0.0)
        self._up.set()

    # -- events

    def _on_event(self, event: v2.ClientEvent) -> None:
        match event:
            case v2.SetUp():
                self._ask_extensions(self._wishes.wanted)
            case v2.SetupRefused():
                self._on_setup_refused(event)
            case v2.ExtensionsAgreed():
                self._on_extensions(event.extensions)
            case v2.ExtensionsRefused():
                self._ask_extensions(self._wishes.after_refusal(event.required, event.unsupported))
            case v2.ReconnectAsked():
                self._on_reconnect(event)
            case v2.Ignored():
                log.debug("pool.message_ignored", pool=self._config.name, message=event.message)
            case v2.ChannelOpened() | v2.ChannelRefused():
                self._on_open_answered(event)
            case v2.Refused(channel_id=None):
                self._bad.refuse(event.message, event.reason)
            case _:
                self._on_channel_event(event)

    def _on_setup_refused(self, event: v2.SetupRefused) -> None:
        if event.flags == REQUIRES_VERSION_ROLLING and self._asks_rolling:
            self._asks_rolling = False
            raise Again("the pool allows no version rolling")
        raise PoolError(f"SetupConnection refused: {printable(event.code) or 'no reason given'} (flags {event.flags:#x})")

    def _on_open_answered(self, event: v2.ChannelOpened | v2.ChannelRefused) -> None:
        user = self._opening.pop(event.request_id, None)
        if isinstance(event, v2.ChannelRefused):
            if user is not None:
                user.end(PoolError(f"channel refused: {printable(event.code) or 'no reason given'}; check pools.user"))
        elif user is None:
            # Whoever asked has left meanwhile.
            self.send(self.protocol.close_channel(event.channel_id))
        else:
            self._users[event.channel_id] = user
            self._tell(user, event.channel_id, lambda: user.on_opened(event))

    def _on_channel_event(self, event: ChannelEvent) -> None:
        channel_id = event.channel_id
        user = None if channel_id is None else self._users.get(channel_id)
        if channel_id is None or user is None:
            return
        if isinstance(event, v2.ChannelClosed):
            del self._users[channel_id]
            user.end(PoolError(f"the pool closed the channel: {printable(event.code) or 'no reason given'}"))
            return
        self._bad.forgive()
        self._tell(user, channel_id, lambda: user.on_event(event))

    def _tell(self, user: LinkUser, channel_id: int, tell: Callable[[], None]) -> None:
        """One channel that is of no use costs itself, not the others."""
        try:
            tell()
        except PoolError as error:
            self._close_channel(channel_id)
            user.end(error)

    def _close_channel(self, channel_id: int) -> None:
        del self._users[channel_id]
        if self.is_up and channel_id in self.protocol.channels:
            self.send(self.protocol.close_channel(channel_id))

    def _on_reconnect(self, event: v2.ReconnectAsked) -> None:
        own_host, own_port = host_and_port(self._config.url)
        host, port = event.host or own_host, event.port or own_port
        is_listed = (host, port) == (own_host, own_port) or f"{host}:{port}" in self._config.reconnect_allow
        # With a pinned key the other host must prove to be the pool; without one a redirect is only as good as the list.
        if self._authority_x is None and not is_listed:
            self._events.publish(
                "pool.redirect_refused",
                "warning",
                pool=self._config.name,
                host=host,
                port=port,
                remedy="add the pool's authority key to the url, or this host to its reconnect_allow",
            )
            return
        raise Redirect(host, port, 0.0)
