"""A Stratum V2 client of the test's own: messages in the clear or over Noise, solved from what came over the wire alone."""

import hashlib
import itertools
import os
import struct
import time

import trio

from protocol.v2.codec import decode_payload, encode_frame, max_payload
from protocol.v2.constants import VERSION
from protocol.v2.messages import common, extensions, mining
from protocol.v2.messages.base import Message
from protocol.v2.noise import SECOND_MESSAGE_SIZE, Initiator
from protocol.v2.tlv import Tlv
from protocol.v2.transport import Frame, NoiseTransport, PlainTransport

EASIEST = 2**256 - 1


def frame_of(message: Message, tlvs: tuple[Tlv, ...] = ()) -> Frame:
    """A message as the other end's frame transport gives it."""
    wire = encode_frame(message, tlvs)
    extension_type, message_type = struct.unpack_from("<HB", wire)
    return Frame(extension_type & 0x7FFF, extension_type & 0x8000 != 0, message_type, wire[6:])


def messages_in(data: bytes) -> list[Message]:
    """The messages in plaintext frames."""
    transport = PlainTransport(max_payload)
    transport.feed(data)
    found = []
    while (frame := transport.next_frame()) is not None:
        message = decode_payload(frame.extension_type, frame.message_type, frame.payload)
        assert isinstance(message, Message)
        found.append(message)
    return found


def setup(flags: int = 0, **fields: object) -> common.SetupConnection:
    """What a device says first."""
    values: dict[str, object] = {
        "protocol": 0,
        "min_version": VERSION,
        "max_version": VERSION,
        "flags": flags,
        "endpoint_host": b"proxy.example",
        "endpoint_port": 3336,
        "vendor": b"Test",
        "hardware_version": b"T1",
        "firmware": b"test/1.0",
        "device_id": b"",
    }
    return common.SetupConnection(**{**values, **fields})  # type: ignore[arg-type]  # the test names the fields


def open_extended(request_id: int = 1, **fields: object) -> mining.OpenExtendedMiningChannel:
    """A request for an extended channel."""
    values: dict[str, object] = {
        "user_identity": b"account.unit",
        "nominal_hash_rate": 0.0,
        "max_target": EASIEST,
        "min_extranonce_size": 2,
    }
    return mining.OpenExtendedMiningChannel(request_id=request_id, **{**values, **fields})  # type: ignore[arg-type]


def open_standard(request_id: int = 1, **fields: object) -> mining.OpenStandardMiningChannel:
    """A request for a standard channel."""
    values: dict[str, object] = {"user_identity": b"account.unit", "nominal_hash_rate": 0.0, "max_target": EASIEST}
    return mining.OpenStandardMiningChannel(request_id=request_id, **{**values, **fields})  # type: ignore[arg-type]


class Opened:
    """One channel as its device knows it: what it may hash, and under which target."""

    def __init__(self, success: mining.OpenStandardMiningChannelSuccess | mining.OpenExtendedMiningChannelSuccess) -> None:
        self.success = success
        self.channel_id = success.channel_id
        self.target = success.target
        self.prefix = success.extranonce_prefix
        self.size = getattr(success, "extranonce_size", 0)
        self.futures: dict[int, tuple[Message, int]] = {}
        self.jobs: dict[int, tuple[Message, int]] = {}  # with the target frozen when it came
        self.tip: mining.SetNewPrevHash | None = None
        self.sequence_number = 0

    def hear(self, message: Message) -> None:
        """Take a message for this channel or its group."""
        if isinstance(message, mining.SetTarget):
            self.target = message.maximum_target
            self.futures = {key: (job, self.target) for key, (job, _) in self.futures.items()}
        elif isinstance(message, mining.NewMiningJob | mining.NewExtendedMiningJob):
            assert message.job_id not in self.jobs, "no two jobs of one id"
            (self.futures if message.min_ntime is None else self.jobs)[message.job_id] = (message, self.target)
        elif isinstance(message, mining.SetNewPrevHash):
            self.jobs = {message.job_id: self.futures[message.job_id]}
            self.futures = {}
            self.tip = message

    def solve(
        self,
        *,
        job_id: int | None = None,
        version: int | None = None,
        ntime: int | None = None,
        first: int = 0,
        extranonce: bytes | None = None,
        target: int | None = None,
        above: int = -1,
    ) -> mining.SubmitSharesStandard | mining.SubmitSharesExtended:
        """A share of a job (the newest): its hash meets `target` (the job's), and is above `above`."""
        job_id = next(reversed(self.jobs)) if job_id is None else job_id
        job, wanted = self.jobs[job_id]
        wanted = wanted if target is None else target
        assert self.tip is not None
        rolled = bytes(self.size) if extranonce is None else extranonce
        when = (ntime if ntime is not None else getattr(job, "min_ntime", None)) or self.tip.min_ntime
        full = job.version if version is None else version  # type: ignore[attr-defined]
        head = struct.pack("<I", full) + self.tip.prev_hash + self._root(job, rolled) + struct.pack("<II", when, self.tip.nbits)
        for nonce in itertools.count(first):
            if above < int.from_bytes(sha256d(head + struct.pack("<I", nonce)), "little") <= wanted:
                break
        self.sequence_number += 1
        fields = {
            "channel_id": self.channel_id,
            "sequence_number": self.sequence_number,
            "job_id": job_id,
            "nonce": nonce,
            "ntime": when,
            "version": full,
        }
        if isinstance(job, mining.NewExtendedMiningJob):
            return mining.SubmitSharesExtended(**fields, extranonce=rolled)
        return mining.SubmitSharesStandard(**fields)

    def _root(self, job: Message, rolled: bytes) -> bytes:
        if isinstance(job, mining.NewMiningJob):
            return job.merkle_root
        assert isinstance(job, mining.NewExtendedMiningJob)
        root = sha256d(job.coinbase_tx_prefix + self.prefix + rolled + job.coinbase_tx_suffix)
        for branch in job.merkle_path:
            root = sha256d(root + branch)
        return root


class Device:
    """A connection to a proxy, over Noise where an authority key is given."""

    def __init__(self, stream: trio.abc.Stream, authority_x: bytes | None) -> None:
        self.stream = stream
        self.heard: list[Message] = []
        self.log: list[Message | Frame] = []  # what was said (messages) and heard (frames), in this order
        self.channels: dict[int, Opened] = {}
        self._barriers = 0
        self._authority_x = authority_x
        self._transport: PlainTransport | NoiseTransport = PlainTransport(max_payload)

    async def shake_hands(self) -> None:
        """The Noise handshake; nothing in the clear."""
        if self._authority_x is None:
            return
        initiator = Initiator(self._authority_x, os.urandom)
        await self.stream.send_all(initiator.first_message())
        answer = b""
        while len(answer) < SECOND_MESSAGE_SIZE:
            data = await self.stream.receive_some(SECOND_MESSAGE_SIZE - len(answer))
            if not data:
                raise trio.EndOfChannel
            answer += data
        self._transport = NoiseTransport(initiator.receive(answer, time.time()), max_payload)

    async def send(self, *messages: Message, tlvs: tuple[Tlv, ...] = ()) -> None:
        """Send messages in one write."""
        self.log += messages
        await self.raw(*(encode_frame(message, tlvs) for message in messages))

    async def raw(self, *frames: bytes) -> None:
        """Send plaintext frames, sealed where the connection is."""
        await self.stream.send_all(b"".join(self._transport.seal(frame) for frame in frames))

    async def read(self) -> Message:
        """The next message; raises EndOfChannel when the proxy hung up."""
        while (frame := self._transport.next_frame()) is None:
            try:
                data = await self.stream.receive_some(65_536)
            except trio.BrokenResourceError:
                data = b""
            if not data:
                raise trio.EndOfChannel
            self._transport.feed(data)
        message = decode_payload(frame.extension_type, frame.message_type, frame.payload)
        assert isinstance(message, Message)
        self.log.append(frame)
        self._note(message)
        return message

    def _note(self, message: Message) -> None:
        self.heard.append(message)
        if isinstance(message, mining.OpenStandardMiningChannelSuccess | mining.OpenExtendedMiningChannelSuccess):
            self.channels[message.channel_id] = Opened(message)
            return
        address = getattr(message, "channel_id", None)
        for channel in self.channels.values():
            if address in (channel.channel_id, channel.success.group_channel_id):
                channel.hear(message)

    async def expect(self, kind: type[Message], count: int = 1) -> Message:
        """Read until `count` messages of this kind have come in all; the last of them."""
        while len(self.of(kind)) < count:
            await self.read()
        return self.of(kind)[count - 1]

    async def barrier(self) -> None:
        """Until the proxy has worked on everything that was sent: it answers a request that changes nothing."""
        self._barriers += 1
        await self.send(extensions.RequestExtensions(0xB000 + self._barriers, ()))
        while extensions.RequestExtensionsSuccess(0xB000 + self._barriers, ()) not in self.heard:
            await self.read()

    async def hung_up(self) -> list[Message]:
        """Read until the proxy has closed the connection; everything it ever said."""
        try:
            while True:
                await self.read()
        except trio.EndOfChannel:
            return self.heard

    def of(self, kind: type[Message]) -> list[Message]:
        """What came of this kind so far."""
        return [message for message in self.heard if isinstance(message, kind)]

    async def hello(self, flags: int = 0) -> None:
        """Noise and SetupConnection."""
        await self.shake_hands()
        await self.send(setup(flags))
        await self.expect(common.SetupConnectionSuccess)

    async def open(self, request: mining.OpenStandardMiningChannel | mining.OpenExtendedMiningChannel) -> Opened:
        """Open a channel and wait for its first work."""
        before = set(self.channels)
        await self.send(request)
        while not (set(self.channels) - before):
            await self.read()
        (channel_id,) = set(self.channels) - before
        channel = self.channels[channel_id]
        while channel.tip is None:
            await self.read()
        return channel


def sha256d(data: bytes) -> bytes:
    """Twice, as Bitcoin hashes."""
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()
