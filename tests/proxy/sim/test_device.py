"""The simulated machine is believable: it takes time, keeps its energy, and obeys as the real ones do."""

import json
import random

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from proxy import config
from proxy.sim import device_api
from proxy.sim.device import CLOCK_BASE_UNIX_S, SimDevice, SimDeviceSpec

LEVELS = [
    config.Level(name="low", power_w=4_000, hashrate_hps=270e12, setting=0),
    config.Level(name="high", power_w=8_000, hashrate_hps=480e12, setting=1),
]


def spec(**fields):
    return SimDeviceSpec.from_model(config.Model(levels=LEVELS, **fields))


def machine(level=None, **fields):
    return SimDevice(spec(**fields), random.Random(7), level=level)


def ask(device, command, parameter=""):
    request = json.dumps({"command": command, "parameter": parameter}).encode()
    reply = device_api.answer(device, request)
    assert reply.endswith(b"\0")
    return json.loads(reply[:-1])


def ascset(device, rest):
    return ask(device, "ascset", f"0,{rest}")["STATUS"][0]


def test_it_starts_settled_on_its_level():
    device = machine()
    before = (device.power_w, device.hashrate_hps, device.outlet_c)
    device.advance(600)
    assert (device.power_w, device.hashrate_hps) == before[:2]
    assert device.outlet_c == pytest.approx(before[2])
    assert device.hashrate_hps == pytest.approx(480e12, rel=0.1)
    assert device.outlet_c - device.inlet_c == pytest.approx(13.7, abs=1)  # 8 kW into 8 l/min


def test_a_lower_level_is_shown_at_once_and_felt_after_a_while():
    device = machine()
    assert ascset(device, "worklevel,set,0")["STATUS"] == "S"
    assert "WORKLEVEL[0]" in device.telemetry()
    assert device.power_w > 7_000
    device.advance(45)
    assert device.power_w == pytest.approx(4_000, rel=0.1)
    assert device.hashrate_hps == pytest.approx(270e12, rel=0.1)


def test_power_climbs_slowly():
    device = machine(level=1)
    ascset(device, "worklevel,set,1")
    device.advance(30)
    assert device.power_w < 5_500
    device.advance(240)
    assert device.power_w == pytest.approx(8_000, rel=0.1)


def test_softoff_waits_for_its_moment_and_a_past_one_does_nothing():
    device = machine()
    ascset(device, f"softoff,1:{device.clock_unix_s - 1}")
    device.advance(60)
    assert device.power_w > 7_000
    reply = ascset(device, f"softoff,1:{device.clock_unix_s + 5}")
    assert (reply["STATUS"], reply["Code"]) == ("I", 118)
    assert "success softoff" in reply["Msg"]
    device.advance(64)
    assert "SoftOFF[0]" in device.telemetry()
    device.advance(66)
    assert "SoftOFF[5]" in device.telemetry()
    device.advance(100)
    assert device.power_w == 15.0
    assert device.hashrate_hps == 0.0
    assert "In Idle" in device.telemetry()
    assert "PS[0 1209 0 0 0 1188 15]" in device.telemetry()


def test_it_wakes_after_a_while_on_the_level_it_was_told_asleep():
    device = machine(level=0)
    ascset(device, "worklevel,set,0")
    ascset(device, f"softon,1:{device.clock_unix_s + 5}")
    device.advance(60)
    assert "In Init" in device.telemetry()
    assert device.hashrate_hps == 0.0
    device.advance(600)
    assert device.hashrate_hps == pytest.approx(270e12, rel=0.1)


def test_a_reboot_takes_its_api_away_counts_from_nothing_and_applies_the_old_workmode():
    device = machine(setting_command="workmode", change_reboots=True, wake="reboot")
    assert ascset(device, "workmode,0")["STATUS"] == "S"
    device.advance(100)
    assert "WORKMODE[1]" in device.telemetry()  # not before the reboot
    ascset(device, "reboot,0")
    assert device.is_silent
    device.advance(131)
    assert not device.is_silent
    assert device.elapsed_s == 31
    assert "SoftOFF[6]" in device.telemetry()
    device.advance(900)
    assert "WORKMODE[0]" in device.telemetry()
    assert device.power_w == pytest.approx(4_000, rel=0.1)


def test_it_lists_its_options_and_refuses_what_it_has_not():
    device = machine(wake="reboot")
    options = ascset(device, "help")["Msg"]
    assert options.startswith("ASC 0 set info: help|")
    assert "softon" not in options
    assert "Unknown option" in ascset(device, "softon,1:5")["Msg"]
    assert "unknown argument" in ascset(device, "worklevel,set,9")["Msg"]
    assert "unknown argument" in ascset(device, "worklevel,set,x")["Msg"]
    assert ask(device, "nosuch")["STATUS"][0]["Code"] == 14
    assert json.loads(device_api.answer(device, b"{bad json")[:-1])["STATUS"][0]["Code"] == 23


def test_text_requests_get_text():
    device = machine()
    reply = device_api.answer(device, b"estats|").decode()
    assert reply.startswith("STATUS=S,When=")
    assert "MM ID0:Summary=" in reply
    assert reply.endswith("|\0")
    assert device_api.answer(device, b"version").decode().count("VERSION,") == 1


def test_its_clock_is_its_own():
    device = machine()
    device.clock_skew_s = 3_600.0
    device.advance(10)
    assert ask(device, "version")["STATUS"][0]["When"] == CLOCK_BASE_UNIX_S + 3_610


def test_frozen_telemetry_stands_still_while_the_machine_lives():
    device = machine()
    device.faults.frozen = True
    first = device.telemetry()
    ascset(device, "worklevel,set,0")
    device.advance(300)
    assert device.telemetry() == first
    assert device.power_w == pytest.approx(4_000, rel=0.1)
    device.faults.frozen = False
    assert device.telemetry() != first


def test_a_tiny_machine_shows_its_hashrate():
    level = config.Level(name="on", power_w=100, hashrate_hps=321.0, setting=0)
    device = SimDevice(SimDeviceSpec.from_model(config.Model(levels=[level])), random.Random(1))
    assert "GHSspd[0.000000" in device.telemetry()
    assert "GHSspd[0.000000000000]" not in device.telemetry()


def test_machines_of_one_kind_differ_a_little_and_by_their_seed():
    powers = [SimDevice(spec(), random.Random(seed)).power_w for seed in range(50)]
    assert len({round(power_w) for power_w in powers}) > 30
    assert all(abs(power_w - 8_000) <= 0.061 * 8_000 for power_w in powers)
    assert SimDevice(spec(), random.Random(3)).power_w == powers[3]


@given(
    st.lists(
        st.tuples(st.floats(0, 500), st.sampled_from(["worklevel,set,0", "worklevel,set,1", "softoff", "softon", "reboot,0"])),
        max_size=12,
    )
)
def test_whatever_it_is_told_power_and_hashrate_stay_possible(story):
    device = machine()
    now_s = 0.0
    for wait_s, command in story:
        now_s += wait_s
        device.advance(now_s)
        ascset(device, command)
        assert 0 <= device.hashrate_hps <= 480e12
        assert 15.0 <= device.power_w <= 8_600
        assert device.inlet_c <= device.outlet_c + 1e-9


@given(st.lists(st.floats(0.01, 60), min_size=1, max_size=20))
def test_the_size_of_its_steps_does_not_matter(steps):
    fine, coarse = machine(), machine()
    for device in (fine, coarse):
        ascset(device, "worklevel,set,0")
    now_s = 0.0
    for step_s in steps:
        now_s += step_s
        fine.advance(now_s)
    coarse.advance(now_s)
    assert fine.power_w == pytest.approx(coarse.power_w)


async def test_it_serves_one_request_a_connection(nursery):
    device = machine()
    port = await nursery.start(device.serve, "127.0.0.1", 0)
    for _ in range(2):
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        await stream.send_all(b'{"command":"version"}')
        reply = b""
        async for chunk in stream:
            reply += chunk
        assert b"1566HA" in reply
    nursery.cancel_scope.cancel()
