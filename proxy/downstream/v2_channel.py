"""One Stratum V2 channel of a device: the router's `ChannelLink`, and what the wire needs to know of it.

It puts nothing on the wire itself but answers; jobs it hands to its session, which knows who else is on the connection.
"""

from typing import TYPE_CHECKING

import msgspec

from protocol.bitcoin.target import difficulty_from_target, floor_power_of_two, target_from_difficulty
from protocol.mining.share import Verdict
from protocol.v2 import error_codes
from protocol.v2.acknowledge import Acknowledgements
from protocol.v2.server_events import ChannelWanted
from proxy.downstream.connection import Connection
from proxy.downstream.contained import contained
from proxy.work.channel import Channel
from proxy.work.jobs import SentJob

if TYPE_CHECKING:
    from proxy.downstream.v2 import DeviceSession

# As the reference implementation spells them. Where it has none the verdict's own name is sent: devices log what they do not know.
ERROR_CODES = {
    Verdict.STALE: error_codes.STALE_SHARE,
    Verdict.UNKNOWN_JOB: error_codes.INVALID_JOB_ID,
    Verdict.DUPLICATE: error_codes.DUPLICATE_SHARE,
    Verdict.LOW_DIFFICULTY: error_codes.DIFFICULTY_TOO_LOW,
    Verdict.BAD_EXTRANONCE: error_codes.BAD_EXTRANONCE_SIZE,
    Verdict.BAD_VERSION: error_codes.INVALID_NON_ROLLABLE_VERSION_BIT,
    Verdict.BAD_NTIME: error_codes.INVALID_SHARE,
    Verdict.MALFORMED: error_codes.INVALID_SHARE,
}


class Ticket(msgspec.Struct, gc=False):
    """What comes back with the fate of a share. is_block is known only after the router has taken the share."""

    sequence_number: int
    difficulty: float
    is_block: bool = False


class DeviceChannel:
    """Mutable state of one channel on the wire. `channel` is what the router knows of it."""

    __slots__ = (
        "acknowledgements",
        "channel",
        "channel_id",
        "has_work",
        "rolls_all",
        "session",
        "tip",
        "told_target",
        "wanted",
        "wire_id",
    )

    def __init__(self, session: "DeviceSession", wanted: ChannelWanted) -> None:
        self.session = session
        self.wanted = wanted
        self.channel: Channel
        self.channel_id: int | None = None  # None until its request is answered
        self.told_target = 0
        self.has_work = False  # a job has left for it
        self.rolls_all = False  # it was seen to roll bits of BIP 323 that are not in BIP 320
        self.wire_id = ""  # of the last job it was sent
        self.tip = (b"", 0)  # previous hash and nbits of that job
        self.acknowledgements = Acknowledgements()

    @property
    def connection(self) -> Connection:
        """The connection it is on."""
        return self.session.connection

    @contained
    def send_job(self, sent: SentJob, *, clean: bool, new_difficulty: bool, new_mask: bool) -> None:
        """See ChannelLink. That versions may be rolled is said by each job, so there is no mask to tell."""
        if self.channel_id is None:
            self.session.answer_open(self, sent.target)
        job = sent.wire.job
        if sent.wire.wire_id == self.wire_id:
            return  # kept alive with the same work: here a job id never comes twice, and no device hangs up for want of one
        clean = clean or self.tip != (job.prev_hash, job.nbits)
        self.wire_id, self.tip = sent.wire.wire_id, (job.prev_hash, job.nbits)
        new_target, self.told_target = sent.target != self.told_target, sent.target
        self.session.queue_job(self, sent, clean=clean, new_target=new_target)

    @contained
    def answer_accepted(self, token: object) -> None:
        """See ChannelLink; `flush` decides when it is told."""
        assert isinstance(token, Ticket)
        self.acknowledgements.add(token.sequence_number, token.difficulty, is_block=token.is_block)

    @contained
    def answer_rejected(self, token: object, verdict: Verdict) -> None:
        """Told at once: every refusal has a message of its own."""
        assert isinstance(token, Ticket)
        self.session.refuse_share(self, token.sequence_number, code_of(verdict))

    @contained
    def flush(self) -> None:
        """Tell of accepted shares where a batch is due."""
        self.session.acknowledge(self)

    def close(self, reason: str) -> None:
        """Hang up."""
        self.connection.hang_up(reason)


def code_of(verdict: Verdict) -> bytes:
    """The error code for a refused share."""
    return ERROR_CODES.get(verdict) or verdict.value.encode()


def floor_difficulty(max_target: int) -> float:
    """The lowest difficulty, a power of two, whose target is not above `max_target` (which is above 0)."""
    difficulty = floor_power_of_two(difficulty_from_target(max_target))
    while target_from_difficulty(difficulty) > max_target:
        difficulty *= 2
    return difficulty
