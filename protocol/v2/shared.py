"""A job or a chain tip encoded once and sent to many channels: only the four bytes of the channel id differ.

It does NOT know whether a channel may get it; `protocol.v2.server` does.
"""

import msgspec

from protocol.v2.codec import encode_frame
from protocol.v2.header import HEADER_SIZE
from protocol.v2.messages.mining import NewExtendedMiningJob, NewMiningJob, SetNewPrevHash
from protocol.v2.state import ChannelStep

_ID_END = HEADER_SIZE + 4


class SharedFrame(msgspec.Struct, frozen=True, gc=False):
    """The frame around the channel id. is_extended: the kind of channel it is for, None for both."""

    head: bytes
    tail: bytes
    job_id: int
    step: ChannelStep
    is_extended: bool | None

    def to(self, channel_id: int) -> bytes:
        """The whole frame for this channel or group."""
        return self.head + channel_id.to_bytes(4, "little") + self.tail


def share(message: NewMiningJob | NewExtendedMiningJob | SetNewPrevHash) -> SharedFrame:
    """Encode `message`, whose channel id does not matter. Raises LocalProtocolError when a value does not fit its field."""
    frame = encode_frame(message)
    if isinstance(message, SetNewPrevHash):
        step, is_extended = ChannelStep.ACTIVATE, None
    else:
        step = ChannelStep.SEND_FUTURE_JOB if message.min_ntime is None else ChannelStep.SEND_JOB
        is_extended = isinstance(message, NewExtendedMiningJob)
    return SharedFrame(frame[:HEADER_SIZE], frame[_ID_END:], message.job_id, step, is_extended)
