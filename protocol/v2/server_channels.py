"""The channels of one client in the server role: their ids, their groups, and how far each has come.

A message may go to one channel or to a group; what is not allowed for one receiver happens to none. It does NOT make or read
messages, and knows nothing of requests that wait for an answer.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from protocol.errors import LocalProtocolError
from protocol.states import advance
from protocol.v2.shared import SharedFrame
from protocol.v2.state import CHANNEL, ChannelState, ChannelStep

# As many future jobs as the reference implementation keeps.
MAX_FUTURES: Final = 16


class ServerChannel(msgspec.Struct):
    """One open channel. max_target: the easiest target that the client takes. futures: ids of jobs that no chain tip named yet."""

    is_extended: bool
    group_id: int
    max_target: int
    futures: dict[int, None]
    state: ChannelState = ChannelState.WAITING

    def check(self, step: ChannelStep) -> ChannelState:
        """The state after `step`, which is not taken. Raises LocalProtocolError where it is not allowed."""
        return advance(CHANNEL, self.state, step)

    def take_activated(self, job: SharedFrame, tip: SharedFrame) -> None:
        """A future job and the chain tip that names it were sent; the other futures are void. Raises LocalProtocolError."""
        if job.is_extended is not self.is_extended or job.job_id != tip.job_id:
            raise LocalProtocolError("this kind of job is not for this kind of channel, or the tip not for this job")
        self.state = advance(CHANNEL, advance(CHANNEL, self.state, job.step), tip.step)
        self.futures.clear()


class ServerChannels:
    """All channels of one connection. At most two groups: its extended channels are one, its standard channels the other."""

    __slots__ = ("_groups", "_next_id", "by_id")

    def __init__(self) -> None:
        self.by_id: dict[int, ServerChannel] = {}
        self._groups: dict[int, bool] = {}  # group id to "is of extended channels"
        self._next_id = 1

    def __len__(self) -> int:
        return len(self.by_id)

    def add(self, *, is_extended: bool, max_target: int) -> tuple[int, int]:
        """The ids of a new channel and of its group."""
        group_id = next((key for key, of_extended in self._groups.items() if of_extended is is_extended), 0)
        if not group_id:
            group_id = self._new_id()
            self._groups[group_id] = is_extended
        channel_id = self._new_id()
        self.by_id[channel_id] = ServerChannel(is_extended, group_id, max_target, {})
        return channel_id, group_id

    def open(self, channel_id: int) -> ServerChannel:
        """The channel of this id. Raises LocalProtocolError when it is not open."""
        channel = self.by_id.get(channel_id)
        if channel is None:
            raise LocalProtocolError(f"channel {channel_id} is not open")
        return channel

    def receivers(self, channel_id: int) -> Iterable[ServerChannel]:
        """The channel of this id, or all of the group. Raises LocalProtocolError when there is neither."""
        channel = self.by_id.get(channel_id)
        if channel is not None:
            return (channel,)
        if channel_id in self._groups:
            return tuple(channel for channel in self.by_id.values() if channel.group_id == channel_id)
        raise LocalProtocolError(f"channel {channel_id} is not open")

    def take(self, channel_id: int, frame: SharedFrame) -> None:
        """A job or a chain tip was sent to one channel, or to all of the group. Raises LocalProtocolError, and changes nothing."""
        step = frame.step
        receivers = self.receivers(channel_id)
        after = []
        for channel in receivers:
            if frame.is_extended is not None and frame.is_extended is not channel.is_extended:
                raise LocalProtocolError("this kind of job is not for this kind of channel")
            if step is ChannelStep.ACTIVATE and frame.job_id not in channel.futures:
                raise LocalProtocolError(f"job {frame.job_id} was not sent as a future job")
            after.append(channel.check(step))
        for channel, state in zip(receivers, after, strict=True):
            channel.state = state
            if step is ChannelStep.ACTIVATE:
                channel.futures.clear()
            elif step is ChannelStep.SEND_FUTURE_JOB:
                channel.futures[frame.job_id] = None
                if len(channel.futures) > MAX_FUTURES:
                    del channel.futures[next(iter(channel.futures))]

    def remove(self, channel_id: int) -> tuple[int, ...]:
        """Close one channel or all of a group: the ids of those that were open."""
        if channel_id in self._groups:
            group_id = channel_id
            members = tuple(key for key, channel in self.by_id.items() if channel.group_id == group_id)
        elif channel_id in self.by_id:
            group_id = self.by_id[channel_id].group_id
            members = (channel_id,)
        else:
            return ()
        for key in members:
            channel = self.by_id.pop(key)
            channel.state = channel.check(ChannelStep.CLOSE)
        if not any(channel.group_id == group_id for channel in self.by_id.values()):
            del self._groups[group_id]
        return members

    def _new_id(self) -> int:
        """Ids rise and never come back."""
        self._next_id += 1
        return self._next_id - 1
