"""Turns what OpenADR events ask into calls on the plant: one demand and one import limit at a time, changed only when they change.

Plain calls, no I/O. Each demand opens an epoch of its own: an event may be cut short, and then nothing may be left of what was
planned before. A demand cannot be taken back, so an event that is cancelled ends by a demand for the same heat that is over at
once; what then happens is the ladder's business.
"""

import hashlib
import math
from collections.abc import Sequence

import msgspec

from proxy.heat.demand import DemandAccepted, DemandRefused, HeatDemand
from proxy.heat.signals.openadr_events import Ask, Window, next_change, ruling
from proxy.heat.signals.port import SignalPort
from proxy.heat.signals.status import SignalStatus

SOURCE = "openadr"
# An event is believed for so long after the server was last heard. Then its demand ends, although the event may not.
TRUST_S = 3_600.0
# What is left of a demand when it is renewed.
RENEW_S = TRUST_S / 2
# A demand that was refused, perhaps because another source ruled, is sent again after this time.
RETRY_S = 60.0
# A cancelled demand ends this soon.
LAST_S = 1.0


class _Asked(msgspec.Struct, frozen=True, gc=False):
    key: str  # what is asked, and by which interval of which event
    power_w: float | None
    supply_c: float | None


class _Sent(msgspec.Struct, frozen=True, gc=False):
    asked: _Asked
    at_unix_s: float
    until_unix_s: float
    is_taken: bool


class Follower:
    """Keeps the plant at what the events say."""

    def __init__(self, port: SignalPort, status: SignalStatus) -> None:
        self._port = port
        self._status = status
        self._heard_unix_s = -math.inf
        self._sent: _Sent | None = None
        self._limit: tuple[float, float] | None = None
        # A limit of an earlier process may stand; its event may have been cancelled since.
        self._is_limit_known = False
        self._order = (0, 0)

    def heard(self, now_unix_s: float) -> None:
        """The server has just told all its events; one that is not among them any more was cancelled."""
        self._heard_unix_s = now_unix_s

    def next_change(self, windows: Sequence[Window], now_unix_s: float) -> float:
        """When to `follow` again at the latest, in unix seconds."""
        renewal = math.inf if self._sent is None else max(self._sent.until_unix_s - RENEW_S, now_unix_s + LAST_S)
        return min(next_change(windows, now_unix_s), renewal)

    def follow(self, windows: Sequence[Window], now_unix_s: float) -> None:
        """Ask the plant for what these windows ask now, as far as that is news to it."""
        self._follow_heat(windows, now_unix_s)
        self._follow_limit(windows, now_unix_s)

    def _follow_heat(self, windows: Sequence[Window], now_unix_s: float) -> None:
        asked, until_unix_s = self._asked(windows, now_unix_s)
        sent = self._sent
        if asked is None:
            if sent is not None and sent.is_taken and sent.until_unix_s > now_unix_s + LAST_S:
                self._submit(msgspec.structs.replace(sent.asked, key="cancelled"), now_unix_s, now_unix_s + LAST_S)
            self._sent = None
            return
        if sent is not None and sent.asked == asked:
            is_long_enough = sent.until_unix_s >= min(until_unix_s, now_unix_s + RENEW_S)
            if is_long_enough if sent.is_taken else now_unix_s < sent.at_unix_s + RETRY_S:
                return
        self._sent = _Sent(asked, now_unix_s, until_unix_s, self._submit(asked, now_unix_s, until_unix_s))

    def _asked(self, windows: Sequence[Window], now_unix_s: float) -> tuple[_Asked | None, float]:
        heat, supply = (ruling(windows, ask, now_unix_s) for ask in (Ask.HEAT, Ask.SUPPLY))
        trusted_until_s = self._heard_unix_s + TRUST_S
        found = [window for window in (heat, supply) if window is not None]
        if not found or trusted_until_s <= now_unix_s:
            return None, now_unix_s
        key = "/".join(f"{each.event_id}:{each.interval_id}:{each.modified_unix_s}:{each.start_unix_s}" for each in found)
        power_w = None if heat is None else heat.asks[Ask.HEAT] * 1000
        supply_c = None if supply is None else supply.asks[Ask.SUPPLY]
        return _Asked(key, power_w, supply_c), min(trusted_until_s, *(each.end_unix_s for each in found))

    def _submit(self, asked: _Asked, now_unix_s: float, until_unix_s: float) -> bool:
        """Whether the plant took it. After a restart of ours the plant may know a higher number: count on from there."""
        answer = self._send(asked, now_unix_s, until_unix_s)
        if isinstance(answer, DemandRefused) and answer.last_sequence is not None:
            known = (answer.last_epoch or 0, answer.last_sequence)
            if known >= self._order:
                self._order = known
                answer = self._send(asked, now_unix_s, until_unix_s)
        self._status.asked(answer)
        if isinstance(answer, DemandRefused):
            self._status.refused(answer.reason, is_told=True)
            return False
        self._status.accepted()
        return True

    def _send(self, asked: _Asked, now_unix_s: float, until_unix_s: float) -> DemandAccepted | DemandRefused:
        epoch, last = self._order
        epoch, sequence = self._order = (epoch + 1, max(last + 1, int(now_unix_s)))
        demand = HeatDemand(
            source=SOURCE,
            epoch=epoch,
            sequence=sequence,
            issued_unix_s=now_unix_s,
            valid_from_unix_s=now_unix_s,
            valid_until_unix_s=until_unix_s,
            power_w=asked.power_w,
            supply_c=asked.supply_c,
            content=hashlib.sha256(f"{asked}{until_unix_s}".encode()).hexdigest()[:32],
        )
        return self._port.submit_demand(demand, now_unix_s)

    def _follow_limit(self, windows: Sequence[Window], now_unix_s: float) -> None:
        window = ruling(windows, Ask.LIMIT, now_unix_s)
        # A limit protects somebody: it stays until its end, whether the server is heard or not.
        wanted = None if window is None else (window.asks[Ask.LIMIT] * 1000, min(window.end_unix_s, now_unix_s + 24 * TRUST_S))
        known = self._limit
        if wanted is None:
            if known is not None or (not self._is_limit_known and math.isfinite(self._heard_unix_s)):
                self._is_limit_known = True
                self._port.set_import_limit(None, now_unix_s, SOURCE)
            self._limit = None
            return
        is_new = known is None or known[0] != wanted[0] or wanted[1] < known[1]
        if not is_new and known is not None and (wanted[1] == known[1] or known[1] - now_unix_s > TRUST_S):
            return
        refusal = self._port.set_import_limit(wanted[0], wanted[1], SOURCE)
        if refusal is None:
            self._limit = wanted
            self._status.accepted()
        else:
            self._status.refused(f"import limit: {refusal}")
