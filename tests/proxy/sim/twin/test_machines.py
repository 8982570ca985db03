"""Machines as vectors do what one simulated machine does, and say so with all the faults of real ones."""

import random

import numpy as np
import pytest

from proxy import config
from proxy.sim.twin.machines import FIRMWARE_TRIP_C, Machines, MachineSpec, Phase
from proxy.units.drivers.base import Answer

LEVELS = [
    config.Level(name="eco", power_w=4_435, hashrate_hps=297.6e12, setting=-2),
    config.Level(name="full", power_w=8_064, hashrate_hps=480e12, setting=1),
]


def hall(count: int = 4, *, reboots: bool = False, **spec: float) -> Machines:
    model = config.Model(levels=LEVELS, sleep_power_w=48.0, change_reboots=reboots)
    units = [config.Unit(id=f"u{k}", address="10.0.0.1", model="m", loop="L1") for k in range(count)]
    exact = {"spread": 0.0, "power_per_k": 0.0} | spec
    machines = Machines(units, {"m": model}, MachineSpec(**exact), 0.94, random.Random(1))
    machines.settle([1] * count, 0.0, [50.0] * count)
    return machines


def live(machines: Machines, from_s: float, seconds: float, flow: float = 1.0) -> float:
    now_s = from_s
    for _ in range(round(seconds / 5.0)):
        now_s += 5.0
        machines.advance(now_s, 5.0, np.full(len(machines), 50.0), np.full(len(machines), flow))
    return now_s


def test_a_change_is_shown_at_once_and_felt_after_its_delay_and_ramp():
    machines = hall()
    assert machines.command(0, 2, 0.0).answer is Answer.TAKEN
    (shown,) = machines.readings(np.array([0]), 0.0)
    assert shown is not None
    assert shown.level_observed == 2
    assert machines.power_w[0] == pytest.approx(4_435.0)
    live(machines, 0.0, 25.0 + 240.0)
    assert machines.power_w[0] == pytest.approx(8_064.0)
    assert machines.power_w[1] == pytest.approx(4_435.0)


def test_down_is_fast_and_up_is_slow():
    machines = hall(change_least_s=0.0, change_most_s=0.0)
    machines.command(0, 2, 0.0)
    now_s = live(machines, 0.0, 60.0)
    assert machines.power_w[0] == pytest.approx(4_435.0 + 8_064.0 * 60.0 / 240.0)
    now_s = live(machines, now_s, 240.0)
    machines.command(0, 1, now_s)
    live(machines, now_s, 15.0)
    assert machines.power_w[0] == pytest.approx(4_435.0)


def test_asleep_is_proven_only_once_the_boards_are_dark_and_waking_takes_minutes():
    machines = hall()
    machines.command(0, 0, 0.0)
    now_s = live(machines, 0.0, 10.0)
    (soon,) = machines.readings(np.array([0]), now_s)
    assert soon is not None
    assert soon.stopping
    assert soon.asleep is None
    now_s = live(machines, now_s, 60.0)
    (later,) = machines.readings(np.array([0]), now_s)
    assert later is not None
    assert later.asleep is True
    assert later.level_observed == 0
    assert machines.sleeps.tolist() == [1, 0, 0, 0]
    machines.command(0, 1, now_s)
    live(machines, now_s, 100.0)
    assert machines.phase[0] == Phase.STARTING
    live(machines, now_s + 100.0, 205.0)
    assert machines.phase[0] == Phase.RUNNING


def test_firmware_that_reboots_on_a_change_is_silent_and_dark_for_minutes():
    machines = hall(reboots=True)
    machines.command(0, 2, 0.0)
    assert machines.readings(np.array([0]), 10.0) == [None]
    now_s = live(machines, 0.0, 60.0)
    assert machines.power_w[0] < 500.0
    live(machines, now_s, 600.0)
    assert machines.power_w[0] == pytest.approx(8_064.0)


def test_a_part_of_commands_is_lost_and_half_of_those_were_carried_out():
    machines = hall(2_000, lost_commands=0.2)
    answers = [machines.command(k, 2, 0.0).answer for k in range(2_000)]
    lost = [k for k, answer in enumerate(answers) if answer is Answer.LOST]
    assert 300 < len(lost) < 500
    done = sum(machines.shown[k] == 2 for k in lost)
    assert 0.4 < done / len(lost) < 0.6
    assert all(machines.shown[k] == 2 for k, answer in enumerate(answers) if answer is Answer.TAKEN)


def test_a_machine_that_says_ok_and_does_nothing_shows_its_old_level():
    machines = hall()
    machines.ignores[0] = True
    assert machines.command(0, 2, 0.0).answer is Answer.TAKEN
    live(machines, 0.0, 300.0)
    assert machines.power_w[0] == pytest.approx(4_435.0)


def test_the_dead_give_no_answer_and_no_heat_and_boot_when_repaired():
    machines = hall()
    machines.die(0)
    now_s = live(machines, 0.0, 10.0)
    assert machines.power_w[0] == 0.0
    assert machines.command(0, 2, now_s).answer is Answer.UNSENT
    assert machines.readings(np.array([0]), now_s) == [None]
    machines.repair(0, now_s)
    live(machines, now_s, 600.0)
    assert machines.power_w[0] == pytest.approx(4_435.0)


def test_telemetry_is_biased_while_the_water_is_not():
    machines = hall(telemetry_bias=1.05, nameplate_bias=1.05)
    assert machines.power_w[0] == pytest.approx(4_435.0 / 1.05)
    (told,) = machines.readings(np.array([0]), 0.0)
    assert told is not None
    assert told.power_w == pytest.approx(4_435.0, rel=0.02)


def test_without_flow_the_outlet_climbs_until_the_firmware_saves_the_machine():
    machines = hall()
    for k in range(4):
        machines.command(k, 2, 0.0)
    now_s = live(machines, 0.0, 300.0)
    assert machines.outlet_c.max() < 70.0
    live(machines, now_s, 300.0, flow=0.0)
    assert machines.firmware_trips == 4
    assert machines.power_w.max() < 100.0
    assert machines.outlet_c.max() < FIRMWARE_TRIP_C + 5.0


def test_warmer_water_means_more_power():
    machines = hall(power_per_k=0.003)
    for now_s in (400.0, 800.0):
        machines.advance(now_s, 400.0, np.full(4, 60.0), np.ones(4))
    assert machines.power_w[0] == pytest.approx(4_435.0 * 1.03)
