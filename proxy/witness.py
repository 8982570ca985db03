"""The one who knows both: counts what each unit's shares prove and puts it, as power, where heat control finds it.

Every few seconds one look at all units, in slices. Counting is `work.evidence`'s, watts are `heat.proof`'s, and what follows is
heat control's business. A unit that cannot prove anything now (not connected, no pool, work withheld, shares refused because the
ledger cannot write) has no evidence at all, and begins anew when it can.
"""

from collections.abc import Callable, Sequence
from typing import Final

import trio

from proxy.heat import proof
from proxy.heat.settling import Settling
from proxy.ledger.ledger import Ledger
from proxy.units.fleet import Fleet
from proxy.units.unit import ProvenPower, UnitImage
from proxy.views import ProvenNowView
from proxy.work import evidence
from proxy.work.channel import Channel
from proxy.work.router import Router

LOOK_S: Final = 10.0
# Units looked at before others on the event loop have their turn.
SLICE: Final = 128


class ShareWitness:
    """Of one site. `look` may be called by hand; `run` does it until cancelled."""

    def __init__(self, router: Router, fleet: Fleet, settling: Settling, ledger: Ledger, clock: Callable[[], float]) -> None:
        self._router = router
        self._fleet = fleet
        self._settling = settling
        self._ledger = ledger
        self._clock = clock
        self._windows: dict[str, evidence.Window] = {}
        self.now: ProvenNowView | None = None

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self.look()
            await trio.sleep(LOOK_S)

    async def look(self) -> None:
        """One look at every unit."""
        proven: dict[str, ProvenPower] = {}
        for count, unit_id in enumerate(self._fleet.ids, start=1):
            now_s = self._clock()
            found = self._count(unit_id, now_s)
            power = None if found is None else self._settling.proven_power(unit_id, found)
            if power is not None:
                proven[unit_id] = power
            if count % SLICE == 0:
                await trio.lowlevel.checkpoint()
        now_s = self._clock()
        self._fleet.take_proof(proven, now_s)
        self.now = now_of(self._fleet.image(now_s))

    def _count(self, unit_id: str, now_s: float) -> evidence.Counted | None:
        channel = self._router.by_unit.get(unit_id)
        work = self._router.memory.known(unit_id)
        if channel is None or channel.current is None or work is None or not self._can_prove(channel):
            self._windows.pop(unit_id, None)
            return None
        key = (channel.opened_s, channel.current.difficulty, work.expected_hps)
        # A unit on its way to a level proves neither the old one nor the new.
        settled_s = max(now_s, channel.vardiff.settled_s)
        window = evidence.follow(self._windows.get(unit_id), key, settled_s, work.valid_work, now_s)
        self._windows[unit_id] = window
        return evidence.look(window, work.valid_work, now_s)

    def _can_prove(self, channel: Channel) -> bool:
        """Whether its shares would count, if it found any."""
        session = channel.session
        is_served = session is not None and session.is_alive and session.current is not None
        return is_served and not self._ledger.is_degraded and not self._router.is_withheld(channel.unit)


def now_of(images: Sequence[UnitImage]) -> ProvenNowView | None:
    """Shares and telemetry of the units that have both, side by side; None where none has."""
    known = [(image.proven, image.power_w) for image in images if image.proven is not None and image.power_w is not None]
    if not known:
        return None
    power = proof.together([proven for proven, _ in known])
    return ProvenNowView(power.power_w, power.low_w, power.high_w, sum(power_w for _, power_w in known), len(known), len(images))
