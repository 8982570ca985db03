"""A miner and a pool of ours joined by a wire that delivers whenever and in whatever pieces it likes.

The model is two queues: what each side must still hear, in order. The state machine makes sessions nobody would think of.
"""

from collections import deque

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from protocol.errors import LocalProtocolError
from protocol.mining.job import VERSION_MASK_BIP320, Job
from protocol.mining.share import Verdict
from protocol.v1 import messages as m
from protocol.v1.client import ClientConnection
from protocol.v1.server import ServerConnection

EXTRANONCE1 = b"\x0a\x0b"
SIZES = st.sampled_from([1, 7, 40, 10_000])
JOB = Job(
    prev_hash=bytes(range(32)),
    version=0x20000000,
    nbits=0x1D00FFFF,
    ntime=0x65000000,
    coinbase_prefix=b"\x01" * 50,
    coinbase_suffix=b"\x02" * 50,
    merkle_path=(b"\x03" * 32,),
    target=1,
    network_target=1,
    version_mask=VERSION_MASK_BIP320,
    min_ntime=0,
    max_ntime=1,
    clean=True,
)


class JoinedSession(RuleBasedStateMachine):
    @initialize()
    def connect(self) -> None:
        self.miner = ClientConnection()
        self.pool = ServerConnection()
        self.up, self.down = bytearray(), bytearray()
        self.pool_must_hear: deque[m.ClientEvent] = deque()
        self.miner_must_hear: deque[m.PoolEvent] = deque()
        self.due: list[m.ClientEvent] = []
        self.subscribed = self.authorized = self.rolling = False
        self.asked_mask: int | None = None
        self.masks_in_flight: list[int] = []
        self.next_id = 1

    # -- the miner

    def ask(self, line: bytes, event: m.ClientEvent) -> None:
        self.up += line
        self.pool_must_hear.append(event)
        self.next_id += 1

    def id(self) -> bytes:
        return b"%d" % self.next_id

    @rule()
    def the_miner_configures(self) -> None:
        rolling = m.VersionRollingRequest(VERSION_MASK_BIP320, 2)
        self.asked_mask = VERSION_MASK_BIP320
        self.ask(self.miner.configure(VERSION_MASK_BIP320), m.Configure(self.id(), rolling, None, False, False, ()))

    @rule(session_id=st.none() | st.just("s1"))
    def the_miner_subscribes(self, session_id: str | None) -> None:
        self.ask(self.miner.subscribe("ua", session_id), m.Subscribe(self.id(), "ua", session_id))

    @rule(user=st.sampled_from(["a.one", "a.two"]))
    def the_miner_authorizes(self, user: str) -> None:
        self.ask(self.miner.authorize(user, "x"), m.Authorize(self.id(), user, "x"))

    @rule(nonce=st.integers(0, 0xFFFFFFFF), bits=st.none() | st.just(0x2000))
    def the_miner_submits(self, nonce: int, bits: int | None) -> None:
        share = ("a.one", "1f", b"\0\1", 0x65000000, nonce, bits)
        if not (self.miner.is_subscribed and self.miner.is_authorized):
            try:
                self.miner.submit(*share)
            except LocalProtocolError:
                return
            raise AssertionError("a share was sent before the handshake was done")
        request_id, line = self.miner.submit(*share)
        assert b"%d" % request_id == self.id()
        self.ask(line, m.Submit(self.id(), *share))

    @rule()
    def the_miner_pings(self) -> None:
        self.ask(self.miner.ping(), m.Ping(self.id()))

    # -- the pool

    @precondition(lambda self: self.due)
    @rule(which=st.integers(0, 1000), accept=st.booleans())
    def the_pool_answers_one_request(self, which: int, accept: bool) -> None:
        event = self.due.pop(which % len(self.due))
        match event:
            case m.Configure():
                self.down += self.pool.configured(event, VERSION_MASK_BIP320 if accept else None, False, False)
                self.rolling = accept
                self.miner_must_hear.append(m.Configured(VERSION_MASK_BIP320 if accept else None))
            case m.Subscribe() if accept:
                self.down += self.pool.subscribed(event.id, "s1", EXTRANONCE1, 2)
                self.subscribed = True
                self.miner_must_hear.append(m.Subscribed(EXTRANONCE1, 2, "s1"))
            case m.Subscribe():
                self.down += self.pool.error(event.id, 20, "full")
                self.miner_must_hear.append(m.SubscribeRefused("full"))
            case m.Authorize():
                self.down += self.pool.authorized(event.id, accept)
                self.authorized = self.authorized or accept
                self.miner_must_hear.append(m.Authorized(accept, None, event.user))
            case m.Submit() if accept:
                self.down += self.pool.accepted(event.id)
                self.miner_must_hear.append(m.SubmitAnswered(int(event.id), True, None, None))
            case m.Submit():
                self.down += self.pool.rejected(event.id, Verdict.STALE)
                self.miner_must_hear.append(m.SubmitAnswered(int(event.id), False, 21, "stale"))
            case m.Ping():
                self.down += self.pool.pong(event.id)
                self.miner_must_hear.append(m.Answer(event.id, accepted=True))

    @precondition(lambda self: self.pool.may_notify)
    @rule(clean=st.booleans(), job_id=st.sampled_from(["1", "1f", 'q"\\']))
    def the_pool_sends_a_job(self, clean: bool, job_id: str) -> None:
        self.down += m.encode_notify(job_id, JOB, clean)
        coinbase = JOB.coinbase_prefix, JOB.coinbase_suffix
        numbers = JOB.version, JOB.nbits, JOB.ntime
        self.miner_must_hear.append(m.JobReceived(job_id, JOB.prev_hash, *coinbase, JOB.merkle_path, *numbers, clean))

    @rule(difficulty=st.sampled_from([1, 0.001, 2.0**-20, 512.0]))
    def the_pool_sets_difficulty(self, difficulty: float) -> None:
        self.down += m.encode_set_difficulty(difficulty)
        self.miner_must_hear.append(m.DifficultySet(float(difficulty)))

    @rule(mask=st.sampled_from([0xE000, 0, 0xFFFFFFFF]))
    def the_pool_sets_the_version_mask_where_it_may(self, mask: int) -> None:
        try:
            line = self.pool.set_version_mask(mask)
        except LocalProtocolError:
            assert not (self.rolling and self.authorized)
            return
        assert self.rolling
        assert self.authorized
        self.down += line
        self.miner_must_hear.append(m.VersionMaskSet(mask & VERSION_MASK_BIP320))

    @rule(word=st.sampled_from(["extranonce", "message", "reconnect"]))
    def the_pool_says_something_rare(self, word: str) -> None:
        if word == "extranonce":
            self.down += m.encode_set_extranonce(b"\xff", 3)
            self.miner_must_hear.append(m.ExtranonceSet(b"\xff", 3))
        elif word == "message":
            self.down += m.encode_show_message("h\u00e4llo")
            self.miner_must_hear.append(m.MessageShown("h\u00e4llo"))
        else:
            self.down += m.encode_reconnect("pool.example", 3334, 5)
            self.miner_must_hear.append(m.ReconnectAsked("pool.example", 3334, 5.0))

    @rule()
    def the_pool_asks_and_the_miner_will_answer(self) -> None:
        self.down += self.pool.ping() + self.pool.get_version()
        self.miner_must_hear.append(m.PingAsked(b"1"))
        self.miner_must_hear.append(m.VersionAsked(b"2"))

    # -- the wire

    @rule(size=SIZES)
    def the_wire_carries_up(self, size: int) -> None:
        self.pool.feed(self.up[:size])
        del self.up[:size]
        while (event := self.pool.next_event()) is not None:
            assert event == self.pool_must_hear.popleft()
            if not isinstance(event, m.Answer | m.VersionAnswer):
                self.due.append(event)

    @rule(size=SIZES)
    def the_wire_carries_down(self, size: int) -> None:
        self.miner.feed(self.down[:size])
        del self.down[:size]
        while (event := self.miner.next_event()) is not None:
            assert event == self.miner_must_hear.popleft()
            if isinstance(event, m.PingAsked):
                self.up += self.miner.pong(event.id)
                self.pool_must_hear.append(m.Answer(event.id, accepted=True))
            elif isinstance(event, m.VersionAsked):
                self.up += self.miner.version(event.id, "sim/1")
                self.pool_must_hear.append(m.VersionAnswer("sim/1"))

    # -- always

    @invariant()
    def the_pool_knows_how_far_it_is(self) -> None:
        assert (self.pool.is_subscribed, self.pool.is_authorized) == (self.subscribed, self.authorized)
        assert self.pool.may_notify == (self.subscribed and self.authorized)
        assert self.pool.has_version_rolling == self.rolling

    @invariant()
    def the_miner_is_never_further_than_the_pool(self) -> None:
        assert self.subscribed or not self.miner.is_subscribed
        assert self.authorized or not self.miner.is_authorized

    def teardown(self) -> None:
        if not hasattr(self, "miner"):
            return
        while self.up or self.down:
            self.the_wire_carries_up(10_000)
            self.the_wire_carries_down(10_000)
        assert not self.pool_must_hear
        assert not self.miner_must_hear
        assert self.miner.waiting == len(self.due)
        assert (self.miner.is_subscribed, self.miner.is_authorized) == (self.subscribed, self.authorized)


TestJoinedSession = JoinedSession.TestCase
TestJoinedSession.settings = settings(max_examples=60, stateful_step_count=40)
