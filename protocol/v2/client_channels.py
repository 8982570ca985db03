"""The channels of one connection in the client role: asked for, open, and closed by us a short time ago.

It finds whom a message is for, one channel or all members of a group, and checks what a server opens. It does NOT know how far the
connection is, nor what a message means: that each channel does (client_channel.py).
"""

from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.v2.client_channel import ClientChannel
from protocol.v2.client_events import ClientEvent, Refused
from protocol.v2.constants import MAX_EXTRANONCE_BYTES
from protocol.v2.messages import mining

# A server that never answers must not grow the table for ever; a site has fewer units.
MAX_OPENING: Final = 65_536
# Channels that we closed, of which messages may still be on their way.
MAX_CLOSED: Final = 4_096


class Opening(msgspec.Struct, frozen=True, gc=False):
    """A request for a channel that waits for its answer."""

    is_extended: bool
    min_extranonce_size: int


class ClientChannels:
    """Channels by id, requests by theirs. first_sequence: the number of each channel's first share."""

    __slots__ = ("_closed", "_first_sequence", "_opening", "by_id")

    def __init__(self, first_sequence: int) -> None:
        self.by_id: dict[int, ClientChannel] = {}
        self._first_sequence = first_sequence
        self._opening: dict[int, Opening] = {}
        self._closed: dict[int, None] = {}

    def ask(self, request_id: int, opening: Opening) -> None:
        """A channel is asked for."""
        if len(self._opening) >= MAX_OPENING:
            del self._opening[next(iter(self._opening))]
        self._opening[request_id] = opening

    def refuse(self, request_id: int) -> bool:
        """The server does not open it. False: nobody asked."""
        return self._opening.pop(request_id, None) is not None

    def add(
        self, message: mining.OpenExtendedMiningChannelSuccess | mining.OpenStandardMiningChannelSuccess
    ) -> ClientChannel | None:
        """The server opened a channel; None: nobody asked. Raises RemoteProtocolError for one that no server may open."""
        name = type(message).__name__
        is_extended = isinstance(message, mining.OpenExtendedMiningChannelSuccess)
        size = message.extranonce_size if isinstance(message, mining.OpenExtendedMiningChannelSuccess) else 0
        opening = self._opening.pop(message.request_id, None)
        if opening is None or opening.is_extended is not is_extended:
            return None
        if message.channel_id in self.by_id:
            raise RemoteProtocolError(f"{name}: channel {message.channel_id} is open already")
        if message.target == 0:
            raise RemoteProtocolError(f"{name}: target 0 can never be met")
        if len(message.extranonce_prefix) + size > MAX_EXTRANONCE_BYTES or size < opening.min_extranonce_size:
            raise RemoteProtocolError(
                f"{name}: a prefix of {len(message.extranonce_prefix)} and an extranonce of {size} bytes, where at least "
                f"{opening.min_extranonce_size} of ours and at most {MAX_EXTRANONCE_BYTES} together were wanted"
            )
        self._closed.pop(message.channel_id, None)
        channel = self.by_id[message.channel_id] = ClientChannel(
            message.channel_id,
            is_extended=is_extended,
            target=message.target,
            prefix=message.extranonce_prefix,
            extranonce_size=size,
            group_id=message.group_channel_id,
            first_sequence=self._first_sequence,
        )
        return channel

    def open(self, channel_id: int) -> ClientChannel:
        """The channel of this id. Raises LocalProtocolError when it is not open."""
        channel = self.by_id.get(channel_id)
        if channel is None:
            raise LocalProtocolError(f"channel {channel_id} is not open")
        return channel

    def remove(self, channel_id: int) -> None:
        """An open channel is closed; what still comes for it is no surprise."""
        del self.by_id[channel_id]
        self._closed[channel_id] = None
        if len(self._closed) > MAX_CLOSED:
            del self._closed[next(iter(self._closed))]

    def regroup(self, channel_ids: Iterable[int], group_id: int) -> None:
        """Those of the channels that are open belong to another group now."""
        for channel_id in channel_ids:
            channel = self.by_id.get(channel_id)
            if channel is not None:
                channel.group_id = group_id

    def members(self, group_id: int) -> list[ClientChannel]:
        """The open channels of a group."""
        return [channel for channel in self.by_id.values() if channel.group_id == group_id]

    def each(self, name: str, channel_id: int, take: Callable[[ClientChannel], ClientEvent | None]) -> list[ClientEvent]:
        """Let the channel, or all of the group, of this id take the message `name`; a ValueError refuses it for that one alone."""
        channel = self.by_id.get(channel_id)
        receivers = [channel] if channel is not None else self.members(channel_id)
        if not receivers:
            return [] if channel_id in self._closed else [Refused(None, name, f"for channel {channel_id}, which is not open")]
        found: list[ClientEvent] = []
        for receiver in receivers:
            try:
                event = take(receiver)
            except ValueError as error:
                event = Refused(receiver.channel_id, name, str(error))
            if event is not None:
                found.append(event)
        return found
