"""The utility of the twin: asks for heat in blocks, repeats itself, and misbehaves on command.

It speaks to heat control as a signal adapter does, after decoding. What the load is comes from the weather or the room.
"""

import math
import random
from collections.abc import Callable

from proxy.heat.demand import DemandRefused, HeatDemand
from proxy.sim.twin.scenario import DemandSpec
from proxy.sim.twin.weather import Weather

SOURCE = "utility"
# An oscillating sender swings this much each time it sends.
SWING = 0.15

Submit = Callable[[HeatDemand, float], object]


class Utility:
    """Call `step` each step. `asked_w` is what it really wants now (what the plant is scored against)."""

    def __init__(self, spec: DemandSpec, weather: Weather, start_unix_s: float, rng: random.Random) -> None:
        """Sends its first block at once."""
        self.spec = spec
        self._weather = weather
        self._start_unix_s = start_unix_s
        self._rng = rng
        self._sequence = 0
        self._next_alive_s = 0.0
        self._sent_block: int | None = None
        self._first_sent: HeatDemand | None = None
        self.thermostat: Callable[[float], float] | None = None
        self.refused = 0
        self.last_refusal: str | None = None
        # Faults.
        self.is_lost = False
        self.nonsense: float | None = None  # sent instead of the power
        self.replays = False
        self.oscillates = False
        self.has_rival = False
        self.factor = 1.0

    def wanted_w(self, now_s: float) -> float:
        """The demand of the block that contains `now_s`."""
        spec = self.spec
        if self.thermostat is not None:
            return self.thermostat(now_s)
        block_s = math.floor(now_s / spec.block_s + 1e-9) * spec.block_s
        # A block asks for what its middle needs.
        power_w = spec.peak_w * (1.0 if spec.kind == "constant" else self._weather.load(block_s + spec.block_s / 2))
        return min(power_w * self.factor, math.inf if spec.most_w is None else spec.most_w)

    def step(self, now_s: float, submit: Submit) -> None:
        """Send what is due."""
        if self.is_lost:
            return
        spec = self.spec
        block = math.floor((now_s + spec.notice_s) / spec.block_s + 1e-9)
        if block != self._sent_block or now_s >= self._next_alive_s or self.thermostat is not None:
            self._send(now_s, block, submit)

    def announce(self, now_s: float, submit: Submit) -> None:
        """Send the block in force again at once, for a demand that changed inside a block."""
        if not self.is_lost:
            self._send(now_s, math.floor(now_s / self.spec.block_s + 1e-9), submit)

    def _send(self, now_s: float, block: int, submit: Submit) -> None:
        spec = self.spec
        if self.thermostat is not None and now_s < self._next_alive_s:
            return
        is_repeat = block == self._sent_block
        self._sent_block = block
        self._next_alive_s = now_s + spec.alive_s
        begins_s = now_s if is_repeat and block * spec.block_s <= now_s else max(now_s, block * spec.block_s)
        power_w = self.wanted_w(begins_s)
        if self.oscillates:
            power_w *= 1.0 + SWING * (-1) ** self._sequence
        if self.nonsense is not None:
            power_w = self.nonsense
        self._sequence += 1
        demand = self._demand(SOURCE, self._sequence, now_s, begins_s, power_w)
        if self._first_sent is None:
            self._first_sent = demand
        if self.replays:
            demand = self._first_sent
        self._submit(demand, now_s, submit)
        if self.has_rival:
            self._submit(self._demand("rival", self._sequence, now_s, now_s, 0.3 * spec.peak_w), now_s, submit)

    def _demand(self, source: str, sequence: int, now_s: float, begins_s: float, power_w: float) -> HeatDemand:
        return HeatDemand(
            source=source,
            epoch=0,
            sequence=sequence,
            issued_unix_s=self._start_unix_s + now_s,
            valid_from_unix_s=self._start_unix_s + begins_s,
            valid_until_unix_s=self._start_unix_s + begins_s + self.spec.valid_s,
            power_w=None if self.spec.kind == "supply" else power_w,
            supply_c=self.spec.supply_c if self.spec.kind == "supply" else None,
        )

    def _submit(self, demand: HeatDemand, now_s: float, submit: Submit) -> None:
        answer = submit(demand, self._start_unix_s + now_s)
        if isinstance(answer, DemandRefused):
            self.refused += 1
            self.last_refusal = answer.reason
