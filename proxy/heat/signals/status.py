"""What is known of one signal adapter: whether its peer is there, when it last said something, and what became of that.

Every adapter keeps one; the page, the API and the metrics read it. It decides nothing: whether a demand is too old to follow is
arbitrate's business, not a matter of connections.
"""

from collections.abc import Callable

from proxy.events import EventLog
from proxy.heat.demand import DemandAccepted, DemandRefused
from proxy.views import SignalView

# The same complaint again is counted, and told only after this time: a faulty sender must not push all else out of the events.
TELL_AGAIN_S = 60.0


class SignalStatus:
    """State of one adapter. `clock` is monotonic. All calls are plain."""

    def __init__(self, name: str, peer: str, events: EventLog, clock: Callable[[], float]) -> None:
        """`name`: rest, mqtt, openadr, opcua or modbus; `peer`: whom it talks to, for people, without secrets."""
        self.name = name
        self._peer = peer
        self._events = events
        self._clock = clock
        self._is_connected = False
        self._since_s = clock()
        self._reason: str | None = "starting"
        self._message_s: float | None = None
        self._report_s: float | None = None
        self._accepted = 0
        self._refused = 0
        self._connects = 0
        self._last_refusal: str | None = None
        self._told_s: float | None = None
        self._asked: DemandAccepted | None = None
        self._is_alive: bool | None = None

    def connected(self) -> None:
        """The peer is there and has let us in."""
        if not self._is_connected:
            self._connects += 1
            self._since_s = self._clock()
            self._events.publish("signal.connected", signal=self.name, peer=self._peer)
        self._is_connected, self._reason = True, None

    def lost(self, reason: str) -> None:
        """The peer is gone, or is not to be had. Said once for each reason."""
        if self._is_connected:
            self._since_s = self._clock()
        if self._is_connected or reason != self._reason:
            self._events.publish("signal.lost", "warning", signal=self.name, peer=self._peer, reason=reason)
        self._is_connected, self._reason = False, reason

    def heard(self) -> None:
        """The peer said something that means something to us, right or wrong."""
        self._message_s = self._clock()

    def accepted(self) -> None:
        """A message was taken."""
        self._accepted += 1

    def asked(self, answer: DemandAccepted | DemandRefused) -> None:
        """What heat control answered to a demand; one that was taken is what this adapter asks for now."""
        if isinstance(answer, DemandAccepted):
            self._asked = answer

    def alive(self, is_alive: bool) -> None:
        """Whether the peer's alive counter moves."""
        self._is_alive = is_alive

    def refused(self, reason: str, *, is_told: bool = False) -> None:
        """A message was not taken. `is_told`: heat control has already published why."""
        self._refused += 1
        now_s = self._clock()
        is_due = self._told_s is None or now_s - self._told_s >= TELL_AGAIN_S or reason != self._last_refusal
        self._last_refusal = reason
        if is_due and not is_told:
            self._told_s = now_s
            self._events.publish("signal.refused", "warning", signal=self.name, reason=reason)

    def reported(self) -> None:
        """The peer has the plant's report."""
        self._report_s = self._clock()

    def view(self) -> SignalView:
        """The adapter as it is now."""
        now_s = self._clock()
        asked = self._asked
        return SignalView(
            name=self.name,
            peer=self._peer,
            connected=self._is_connected,
            reason=self._reason,
            since_s=now_s - self._since_s,
            message_age_s=None if self._message_s is None else now_s - self._message_s,
            report_age_s=None if self._report_s is None else now_s - self._report_s,
            accepted=self._accepted,
            refused=self._refused,
            reconnects=max(0, self._connects - 1),
            last_refusal=self._last_refusal,
            source=None if asked is None else asked.source,
            sequence=None if asked is None else asked.sequence,
            asked_w=None if asked is None else asked.power_w,
            asked_supply_c=None if asked is None else asked.supply_c,
            asked_from_unix_s=None if asked is None else asked.valid_from_unix_s,
            asked_until_unix_s=None if asked is None else asked.valid_until_unix_s,
            is_alive=self._is_alive,
        )
