"""Jobs for the channels of one Stratum V2 connection that have not left yet, and the frames they leave as.

A newer job takes the place of one that waits, and tells what that would have told. Frames are made at the moment they can leave. It
does NOT choose jobs or targets, and it does not know when a fan-out is over: its session calls `hand_over`.
"""

from collections.abc import Mapping

from protocol.v2.server import ServerConnection
from proxy.downstream.connection import Connection
from proxy.downstream.v2_channel import DeviceChannel
from proxy.downstream.v2_jobs import JobFrames, ToldJob, standard
from proxy.work.jobs import SentJob


class WaitingJobs:
    """One job a channel at the most. `links` are the open channels of the connection, by their ids; their owner changes them."""

    __slots__ = ("_connection", "_frames", "_handed", "_links", "_protocol", "_standard_extranonce", "_waiting")

    def __init__(
        self,
        connection: Connection,
        protocol: ServerConnection,
        frames: JobFrames,
        links: Mapping[int, DeviceChannel],
        standard_extranonce: bytes,
    ) -> None:
        """standard_extranonce: what follows the prefix of a standard channel."""
        self._connection = connection
        self._protocol = protocol
        self._frames = frames
        self._links = links
        self._standard_extranonce = standard_extranonce
        self._waiting: dict[DeviceChannel, ToldJob] = {}
        self._handed = False  # what waits is in the hands of the connection

    @property
    def is_complete(self) -> bool:
        """Every channel has a job waiting."""
        return len(self._waiting) >= len(self._links)

    def put(self, link: DeviceChannel, sent: SentJob, *, clean: bool, new_target: bool) -> None:
        """`sent` is the newest job of `link`."""
        if self._handed and not self._connection.is_job_waiting:
            self._have_left()
        earlier = self._waiting.pop(link, None)
        if earlier is not None:
            clean, new_target = clean or earlier.clean, new_target or earlier.new_target
        self._waiting[link] = ToldJob(sent, clean, new_target)

    def drop(self, link: DeviceChannel) -> None:
        """The channel is closed."""
        self._waiting.pop(link, None)

    def hand_over(self) -> None:
        """Give what waits to the connection."""
        if not self._waiting or self._connection.close_reason is not None:
            return
        self._connection.send_job(self._make_frames)
        self._handed = True
        if not self._connection.is_job_waiting:
            self._have_left()

    def _have_left(self) -> None:
        """What was handed to the connection is on its way."""
        for link in self._waiting:
            link.has_work = True
        self._waiting.clear()
        self._handed = False

    def _make_frames(self) -> bytes:
        """The frames of what waits now: called when they can leave, and again when not a byte of them has left."""
        waiting = self._waiting
        if len(waiting) == 1:
            ((link, told),) = waiting.items()
            return b"".join(self._job_frames(link, told))
        group = self._common_group()
        if group is not None:
            return b"".join(self._group_frames(group))
        return b"".join(part for link, told in waiting.items() for part in self._job_frames(link, told))

    def _common_group(self) -> int | None:
        """The group, where one message does for all of its channels."""
        waiting = self._waiting
        if len(waiting) < 2 or len(waiting) != len(self._links) or not self._protocol.uses_groups:
            return None
        one, first = next(iter(waiting.items()))
        for link, told in waiting.items():
            same = told.clean is first.clean and told.sent.wire is first.sent.wire and link.rolls_all is one.rolls_all
            if not same or not link.wanted.is_extended or told.sent.version_mask != first.sent.version_mask:
                return None
        return self._protocol.group_of(next(iter(self._links)))

    def _group_frames(self, group: int) -> list[bytes]:
        one, told = next(iter(self._waiting.items()))
        new_targets = [link for link, each in self._waiting.items() if each.new_target]
        job = self._frames.extended(told.sent, clean=told.clean, rolls_all=one.rolls_all)
        frames = [self._target_frame(link) for link in new_targets if link.has_work]
        frames.append(self._protocol.send(group, job))
        frames += [self._target_frame(link) for link in new_targets if not link.has_work]
        if told.clean:
            frames.append(self._protocol.send(group, self._frames.tip(told.sent)))
        return frames

    def _job_frames(self, link: DeviceChannel, told: ToldJob) -> list[bytes]:
        channel_id = link.channel_id
        assert channel_id is not None, "jobs follow the answer to the request"
        # SV2 5.3.15: a job is the first that a new channel hears of; while it is a future one, a target still counts for it.
        frames = []
        if told.new_target and link.has_work:
            frames.append(self._target_frame(link))
        if link.wanted.is_extended:
            job = self._frames.extended(told.sent, clean=told.clean, rolls_all=link.rolls_all)
        else:
            job = standard(told.sent, link.channel.prefix + self._standard_extranonce, clean=told.clean)
        if told.clean and link.has_work:
            frames.append(self._protocol.send_activated(channel_id, job, self._frames.tip(told.sent)))
            return frames
        frames.append(self._protocol.send(channel_id, job))
        if told.new_target and not link.has_work:
            frames.append(self._target_frame(link))
        if told.clean:
            frames.append(self._protocol.send(channel_id, self._frames.tip(told.sent)))
        return frames

    def _target_frame(self, link: DeviceChannel) -> bytes:
        channel_id = link.channel_id
        assert channel_id is not None, "jobs follow the answer to the request"
        # The device may have asked for a harder one while the job waited.
        return self._protocol.set_target(channel_id, min(link.told_target, self._protocol.max_target(channel_id)))
