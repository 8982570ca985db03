"""Shares of the twin's machines: counts drawn from what each really hashes, and what the product's own counting makes of them.

No jobs, no headers, no network: a share is a number here. Every machine has the difficulty that its level asks for.
"""

import random

import numpy as np

from protocol.bitcoin.target import HASHES_PER_DIFFICULTY
from proxy import config
from proxy.heat import proof
from proxy.sim.twin.fleet import TwinFleet
from proxy.sim.twin.machines import Machines
from proxy.units.unit import ProvenPower
from proxy.witness import LOOK_S
from proxy.work import evidence, vardiff


class Mining:
    """All machines mine; what heat control is told of it is as old as it is in the product."""

    def __init__(self, site: config.SiteConfig, machines: Machines, rng: random.Random) -> None:
        self._policy = vardiff.policy_of(site)
        self._machines = machines
        self._rng = np.random.default_rng(rng.getrandbits(64))
        self._curves = [proof.curve_of(site.models[unit.model]) for unit in site.units]
        self._windows: list[evidence.Window | None] = [None] * len(site.units)
        self._expected_hps = np.array([machines.levels_hps[k, machines.tops[k]] for k in range(len(site.units))])
        self._work = np.zeros(len(site.units))
        self._next_look_s = 0.0

    def step(self, fleet: TwinFleet, now_s: float, dt_s: float) -> None:
        """Find shares, and now and then count them."""
        hashes = self._policy.ideal(1.0) * HASHES_PER_DIFFICULTY * self._expected_hps  # of a share, each machine
        self._work += self._rng.poisson(self._machines.hashrate_hps * dt_s / hashes) * hashes
        if now_s >= self._next_look_s:
            self._next_look_s = now_s + LOOK_S
            fleet.proven = [self._look(fleet, k, now_s) for k in range(len(self._windows))]

    def _look(self, fleet: TwinFleet, k: int, now_s: float) -> ProvenPower | None:
        life = fleet.lives[k]
        told = life.level_commanded
        expected_hps = None if told is None else life.levels[told].hashrate_hps
        if expected_hps:
            self._expected_hps[k] = expected_hps
        key = (0.0, self._policy.ideal(float(self._expected_hps[k])), expected_hps)
        window, work = self._windows[k], float(self._work[k])
        settled_s = now_s if window is None else now_s + self._policy.settle_s
        window = self._windows[k] = evidence.follow(window, key, settled_s, work, now_s)
        counted = evidence.look(window, work, now_s)
        return None if counted is None else proof.proven_power(self._curves[k], 1.0, counted, False)
