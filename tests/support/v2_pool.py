"""A Stratum V2 pool without a socket: it says what a test tells it to, over real Noise, to a real link and real channels."""

import hashlib
import struct
from collections.abc import Callable, Sequence

from protocol.bitcoin.hashes import sha256d
from protocol.bitcoin.header import pack_header
from protocol.bitcoin.merkle import root_from_path
from protocol.bitcoin.target import target_from_difficulty
from protocol.v2.codec import decode_payload, encode_frame, max_payload
from protocol.v2.identity import ServerIdentity
from protocol.v2.keys import AuthorityKey, encode_authority_key
from protocol.v2.messages import common, extensions, mining
from protocol.v2.messages.base import Message
from protocol.v2.noise import FIRST_MESSAGE_SIZE, Responder
from protocol.v2.transport import Frame, NoiseTransport
from proxy.config import Pool
from proxy.ledger.records import ShareState
from proxy.upstream.pending import PendingShares, PoolAccount
from proxy.upstream.session import SessionEvents, SessionParts
from proxy.upstream.v2 import V2Session
from proxy.upstream.v2_link import V2Link
from proxy.work.load import Load
from tests.support.jobs import EASY, NTIME
from tests.support.noise_pair import AUTHORITY, counting_rng, identity
from tests.support.wire import Wire

Spoil = Callable[[bytes], bytes]
EASY_TARGET = target_from_difficulty(EASY)
VERSION = 0x20000000
NBITS = 0x1D00FFFF
COINBASE_1 = b"\x01\x00\x00\x00\x01" + bytes(32) + b"\xff\xff\xff\xff\x20"
COINBASE_2 = b"\xff\xff\xff\xff\x01" + bytes(9) + bytes(4)


def url(key: AuthorityKey | None = AUTHORITY, address: str = "192.0.2.9:3336") -> str:
    """The pool's address with its authority key."""
    return f"stratum2+tcp://{address}" + (f"/{encode_authority_key(key.public_x)}" if key is not None else "")


def prev_hash(number: int) -> bytes:
    """The chain tip of this number."""
    return hashlib.sha256(b"prev%d" % number).digest()


def path(number: int) -> tuple[bytes, ...]:
    """The merkle path of the jobs of this number."""
    return (hashlib.sha256(b"branch%d" % number).digest(),)


def job(job_id: int, number: int = 1, *, channel_id: int = 7, min_ntime: int | None = None, **fields: object) -> Message:
    """A job for an extended channel; for later where it has no min_ntime."""
    values: dict[str, object] = {
        "channel_id": channel_id,
        "job_id": job_id,
        "min_ntime": min_ntime,
        "version": VERSION,
        "version_rolling_allowed": True,
        "merkle_path": path(number),
        "coinbase_tx_prefix": COINBASE_1,
        "coinbase_tx_suffix": COINBASE_2,
    }
    return mining.NewExtendedMiningJob(**{**values, **fields})  # type: ignore[arg-type]  # the test names the fields


def tip(job_id: int, number: int = 1, *, channel_id: int = 7, min_ntime: int = NTIME, nbits: int = NBITS) -> Message:
    """A chain tip that makes this job work."""
    return mining.SetNewPrevHash(channel_id, job_id, prev_hash(number), min_ntime, nbits)


class ScriptedPool:
    """Both ends: `link` is ours, what the pool says goes in by `says`, what it heard comes out of `heard`."""

    def __init__(self, wire: Wire, *, load: Load | None = None, **keys: object) -> None:
        self.wire = wire
        self.config = Pool(**{"name": "pool-v2", "url": url(), "user": "account", **keys})  # type: ignore[arg-type]
        self.load = load or Load(0.0, EASY)
        self.account = PoolAccount()
        self.settled: list[tuple[int, ShareState, str | None]] = []
        self.answered: list[tuple[str, bool]] = []
        self.ready: list[V2Session] = []
        self.link = V2Link(
            self.config,
            events=wire.events,
            clock=lambda: wire.now_s,
            wall_clock=lambda: NTIME + wire.now_s,
            rng=counting_rng("link"),
        )
        self._transport: NoiseTransport | None = None
        self._sessions = 0

    def session(self, user: str = "account", *, resume: V2Session | None = None) -> V2Session:
        """A channel that was not asked for yet."""
        self._sessions += 1
        parts = SessionParts(
            config=self.config,
            session_id=self._sessions,
            user=user,
            geometry=self.wire.router.geometry,
            pending=PendingShares(
                self.account, lambda *share: self.settled.append(share), lambda *unit: self.answered.append(unit)
            ),
            hooks=SessionEvents(ready=self.ready.append, job=self.wire.router.publish, message=lambda text: None),
            events=self.wire.events,
            clock=lambda: self.wire.now_s,
            wall_clock=lambda: NTIME + self.wire.now_s,
            resume=resume.to_resume() if resume is not None else None,
        )
        return V2Session(parts, link=self.link, load=self.load)

    # -- the pool's voice

    def shakes_hands(
        self, server: ServerIdentity | None = None, *, spoil: Spoil = lambda data: data, pieces: Sequence[int] = ()
    ) -> None:
        """Noise, by default with a certificate that is good. pieces: sizes in which the answer comes."""
        self.link.begin("192.0.2.9", 3336, 0.01)
        server = server or identity(NTIME)
        first = self.link.take_out()
        assert len(first) == FIRST_MESSAGE_SIZE
        answer, session = Responder(server.static, server.certificate_wire, counting_rng("server")).receive(first)
        self._transport = NoiseTransport(session, max_payload)
        answer = spoil(answer)
        for size in pieces:
            self.link.receive(answer[:size])
            answer = answer[size:]
        self.link.receive(answer)

    def says(self, *messages: Message, spoil: Spoil = lambda data: data) -> None:
        """Each in a frame of its own, all in one packet."""
        assert self._transport is not None
        self.link.receive(spoil(b"".join(self._transport.seal(encode_frame(message)) for message in messages)))

    def heard(self) -> list[Message]:
        """What it was sent since the last call."""
        return [message for _, message in self._heard()]

    def _heard(self) -> list[tuple[Frame, Message]]:
        assert self._transport is not None
        self._transport.feed(self.link.take_out())
        found = []
        while (frame := self._transport.next_frame()) is not None:
            message = decode_payload(frame.extension_type, frame.message_type, frame.payload)
            assert isinstance(message, Message)
            found.append((frame, message))
        return found

    def welcomes(self, flags: int = 0, agreed: tuple[int, ...] = (2,)) -> None:
        """Everything until channels may be opened."""
        self.shakes_hands()
        (asked,) = self.heard()
        assert isinstance(asked, common.SetupConnection)
        self.says(common.SetupConnectionSuccess(2, flags))
        if not self.link.is_up:
            (request,) = self.heard()
            assert isinstance(request, extensions.RequestExtensions)
            self.says(extensions.RequestExtensionsSuccess(request.request_id, agreed))

    def opens(
        self,
        session: V2Session,
        channel_id: int = 7,
        *,
        prefix: bytes = b"\xaa\xbb\xcc",
        size: int = 8,
        target: int = EASY_TARGET,
        group_id: int = 1,
    ) -> mining.OpenExtendedMiningChannel:
        """Let the session ask for its channel, and grant it; what it asked."""
        session.open()
        (asked,) = self.heard()
        assert isinstance(asked, mining.OpenExtendedMiningChannel)
        self.says(mining.OpenExtendedMiningChannelSuccess(asked.request_id, channel_id, target, size, prefix, group_id))
        return asked

    def mining(self, **keys: object) -> V2Session:
        """A channel with its first job, on a connection with extension 0x0002; keys are those of `opens`."""
        self.welcomes()
        session = self.session()
        self.opens(session, **keys)  # type: ignore[arg-type]  # the test names the keys
        self.says(job(1), tip(1))
        return session

    def accepts(self, last: int, count: int, work_sum: int = 0, channel_id: int = 7) -> None:
        """Acknowledge a batch."""
        self.says(mining.SubmitSharesSuccess(channel_id, last, count, work_sum))


def is_work(share: Message, *, prefix: bytes = b"\xaa\xbb\xcc", number: int = 1, target: int = EASY_TARGET) -> bool:
    """What a pool checks: the header made of its own job and the share's fields meets the target."""
    assert isinstance(share, mining.SubmitSharesExtended)
    txid = sha256d(COINBASE_1 + prefix + share.extranonce + COINBASE_2)
    root = root_from_path(txid, path(number))
    header = pack_header(share.version, prev_hash(number), root, share.ntime, NBITS, share.nonce)
    return int.from_bytes(sha256d(header), "little") < target


def tlv_values(share: Message) -> list[bytes]:
    """The values of the fields behind a share."""
    found, at = [], 0
    while at < len(share.rest):
        _, _, length = struct.unpack_from("<HBH", share.rest, at)
        found.append(share.rest[at + 5 : at + 5 + length])
        at += 5 + length
    return found
