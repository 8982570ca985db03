"""What goes wrong in the demo, and when: always the same for the same seed, so that two people see the same demo.

Each act is done through a door that exists in life: the public API, a unit's mains, a pool that stops answering. Seconds are real
ones, counted from when shares flow.
"""

import random
from collections.abc import Callable

import trio

from proxy.sim.floor import Floor, FloorUnit
from proxy.sim.pool import SimPool
from proxy.sim.site_client import SiteClient

# Seconds from the start of a round. The first minute shows most of it. The frozen pool comes much later: a pool that came back is
# not left again for mere slowness before five minutes are over, so that nobody is moved to and fro.
SERVICE_AT_S = 8.0
MAINS_AT_S = 14.0
CRASH_AT_S = 20.0
RESTART_AT_S = 27.0
REPAIRED_AT_S = 36.0
FREEZE_AT_S = 400.0
THAW_AT_S = 430.0
ROUND_S = 600.0
SERVICE_UNITS = 2


class Script:
    """Plays rounds until cancelled; `told` says what was done."""

    def __init__(self, floor: Floor, pool: SimPool, operator: SiteClient, rng: random.Random, tell: Callable[[str], None]) -> None:
        self._floor = floor
        self._pool = pool
        self._operator = operator
        self._rng = rng
        self._tell = tell

    async def run(self) -> None:
        """Round after round, other units each time."""
        try:
            while True:
                await self._round()
        finally:
            # The books are compared at the end: the pool has to be there.
            self._pool.thaw()
            self._pool.listen_again()

    async def _round(self) -> None:
        began_s = trio.current_time()
        *serviced, unlucky = self._rng.sample(self._floor.units, SERVICE_UNITS + 1)
        await trio.sleep_until(began_s + SERVICE_AT_S)
        await self._set_service(serviced, True)
        await trio.sleep_until(began_s + MAINS_AT_S)
        unlucky.cut_mains()
        self._tell(f"mains of {unlucky.unit.id} cut: the others take over its heat")
        await trio.sleep_until(began_s + CRASH_AT_S)
        self._pool.stop_listening()
        self._pool.reset_connections()
        self._tell(f"pool {self._pool.spec.name} crashes: units move to the next pool")
        await trio.sleep_until(began_s + RESTART_AT_S)
        self._pool.listen_again()
        self._tell(f"pool {self._pool.spec.name} is up again: units come back once it is steady")
        await trio.sleep_until(began_s + REPAIRED_AT_S)
        unlucky.restore_mains()
        self._tell(f"mains of {unlucky.unit.id} restored")
        await self._set_service(serviced, False)
        await self._freeze(began_s)
        await trio.sleep_until(began_s + ROUND_S)

    async def _freeze(self, began_s: float) -> None:
        await trio.sleep_until(began_s + FREEZE_AT_S)
        self._pool.freeze()
        self._tell(f"pool {self._pool.spec.name} freezes: connected, but it answers nothing; units leave it")
        await trio.sleep_until(began_s + THAW_AT_S)
        self._pool.thaw()
        self._tell(f"pool {self._pool.spec.name} answers again")

    async def _set_service(self, units: list[FloorUnit], in_service: bool) -> None:
        for unit in units:
            note = "demo: hose inspected" if in_service else "demo: hose is fine"
            answer = await self._operator.set_service(unit.unit.id, in_service, note)
            done = "taken out for service" if in_service else "back from service"
            self._tell(f"{unit.unit.id} {done}" if answer.is_ok else f"{unit.unit.id} not {done}: {answer.reason}")
