"""Sending one new job to many channels without keeping anybody waiting.

A fan-out is a plain iterator that its owner advances in slices between socket events. A newer job of the same session replaces it:
nobody is ever sent a job that is already old. Channels with the highest hashrate come first, because they lose the most.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain

from proxy.work.channel import Channel
from proxy.work.jobs import UpstreamSession, WireJob


class FanOut:
    """The fan-outs under way, one a session."""

    def __init__(self, send: Callable[[Channel, WireJob], None]) -> None:
        self._send = send
        self._running: dict[UpstreamSession, tuple[WireJob, Iterator[Channel]]] = {}

    @property
    def is_pending(self) -> bool:
        """Somebody still waits for a job."""
        return bool(self._running)

    def start(self, session: UpstreamSession, wire: WireJob, channels: Iterable[Channel]) -> None:
        """Send `wire` to `channels` (already in the order of sending) by the coming steps; replaces what ran for this session."""
        self._running[session] = (wire, iter(channels))

    def stop(self, session: UpstreamSession) -> None:
        """Nobody of this session waits for a job any more."""
        self._running.pop(session, None)

    def join(self, session: UpstreamSession, wire: WireJob, channels: Iterable[Channel]) -> None:
        """`channels` have come to this session: they and whoever still waits for its job get `wire`."""
        _, rest = self._running.get(session, (None, iter(())))
        self._running[session] = (wire, chain(channels, rest))

    def step(self, count: int) -> None:
        """Send to at most `count` channels."""
        while self._running and count > 0:
            session, (wire, channels) = next(iter(self._running.items()))
            for channel in channels:
                # A channel may have left, or moved to another session, since the order was made.
                if channel.session is session and channel.is_open:
                    self._send(channel, wire)
                    count -= 1
                    if count <= 0:
                        return
            if self._running.get(session, (None,))[0] is wire:
                del self._running[session]
