"""The fleet of the twin: the real life of every unit (`units.lifecycle`) over vectorised machines, in virtual time.

It stands where `units.fleet.Fleet` stands for heat control. What the actors do with sockets (sweep, pace, read-back) is done here
step by step. No serials and no tasks.
"""

import random
from collections import deque
from collections.abc import Mapping, Sequence

import numpy as np

from proxy import config
from proxy.events import EventLog, Fact
from proxy.sim.twin.machines import Machines
from proxy.units.image import image_of
from proxy.units.lifecycle import UnitLife
from proxy.units.unit import ProvenPower, UnitImage
from proxy.units.wear import Wear


class TwinFleet:
    """All calls are plain. `step` moves telemetry and commands; heat control calls the rest."""

    def __init__(self, site: config.SiteConfig, machines: Machines, events: EventLog, rng: random.Random) -> None:
        """Units are known only once they were read: the first sweep takes one telemetry period."""
        self._heat = site.heat
        self._events = events
        self._machines = machines
        self.lives = [UnitLife(unit, site.models[unit.model], site.heat, self._publish, self._announce) for unit in site.units]
        self._index = {unit.id: k for k, unit in enumerate(site.units)}
        self._next_read_s = np.array([rng.uniform(0.0, site.heat.telemetry_period_s) for _ in site.units])
        self._unswept = len(site.units)
        self._was_read = np.zeros(len(site.units), np.bool_)
        self._queue: deque[int] = deque()  # ordinary commands, at the fleet's pace
        self._waiting: set[int] = set()
        self.sent = 0
        self.messages: dict[str, int] = {}
        self.proven: Sequence[ProvenPower | None] = [None] * len(self.lives)  # by their shares; see mining

    @property
    def swept_all(self) -> bool:
        """Every unit was asked at least once."""
        return self._unswept == 0

    def image(self, now_s: float) -> tuple[UnitImage, ...]:
        """All units as known now."""
        is_open = self.swept_all and self._heat.enabled
        return tuple([image_of(life, now_s, is_open, proven) for life, proven in zip(self.lives, self.proven, strict=True)])

    def command(self, unit_id: str, level: int, reason: str, now_s: float, *, urgent: bool = False) -> str | None:
        """As Fleet.command: None when taken, else why not."""
        k = self._index.get(unit_id)
        if k is None:
            return f"no unit {unit_id}"
        if not urgent and not self.swept_all:
            return "the first sweep is not done"
        life = self.lives[k]
        life.expire(now_s)
        refusal = life.command(level, reason, now_s, is_urgent=urgent)
        if refusal is None and life.wanted is not None:
            self._waiting.add(k)
            if urgent:
                self._send(k, now_s)
        return refusal

    def worn(self) -> Mapping[str, Wear]:
        """Dwell times and starts of every unit."""
        return {life.unit.id: life.wear for life in self.lives}

    def set_service(self, unit_id: str, in_service: bool, note: str, now_s: float) -> None:
        """Take a unit out, or put it back."""
        life = self.lives[self._index[unit_id]]
        if in_service:
            life.take_out(note, now_s)
        else:
            life.put_back(now_s)

    def step(self, now_s: float, dt_s: float) -> None:
        """Read what is due, then send what is due, no faster than the site file allows."""
        self._read(now_s)
        budget = self._heat.commands_per_s * dt_s
        for k in sorted(self._waiting):
            if budget < 1:
                break
            if self.lives[k].wanted is None:
                self._waiting.discard(k)
            elif self.lives[k].due_level(now_s) is not None:
                self._send(k, now_s)
                budget -= 1

    def _read(self, now_s: float) -> None:
        due = np.flatnonzero(self._next_read_s <= now_s)
        if len(due) == 0:
            return
        period_s = self._heat.telemetry_period_s
        for k, reading in zip(due.tolist(), self._machines.readings(due, now_s), strict=True):
            life = self.lives[k]
            if reading is None:
                life.lost("no answer", now_s)
            else:
                life.saw(reading, now_s)
            if life.wanted is not None:
                self._waiting.add(k)
            proof = life.proof
            # Until it shows that it took a command the real actor looks every 2 s: here with every step.
            if proof is not None and not proof.is_obeyed:
                self._next_read_s[k] = now_s
            else:
                self._next_read_s[k] += period_s * max(1.0, np.ceil((now_s - self._next_read_s[k] + 1e-9) / period_s))
        if self._unswept:
            self._was_read[due] = True
            self._unswept = int((~self._was_read).sum())

    def _send(self, k: int, now_s: float) -> None:
        life = self.lives[k]
        level, wanted = life.due_level(now_s), life.wanted
        if level is None or wanted is None:
            return
        self._waiting.discard(k)
        life.sent(now_s)
        self.sent += 1
        life.answered(wanted, self._machines.command(k, level, now_s), now_s)
        if life.wanted is not None:
            self._waiting.add(k)
        self._next_read_s[k] = now_s

    def _publish(self, name: str, level: str, **facts: Fact) -> None:
        self.messages[name] = self.messages.get(name, 0) + 1
        if level != "debug":
            self._events.publish(name, level, **facts)

    def _announce(self, _unit_id: str, _hashrate_hps: float) -> None:
        """Nobody mines here."""
