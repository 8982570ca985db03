"""The driver against simulated machines over real loopback TCP, and against scripted ones over memory streams."""

import json
import random

import msgspec
import pytest
import trio
import trio.testing

from proxy import config
from proxy.errors import UnitError
from proxy.sim.device import SimDevice, SimDeviceSpec, WithoutWork
from proxy.units.drivers.avalon import AvalonDriver
from proxy.units.drivers.base import Answer
from proxy.units.drivers.cgminer import exchange
from proxy.units.drivers.link import REPLY_TIMEOUT_S, NoAnswer, NotSent, connect_tcp

LEVELS = [
    config.Level(name="low", power_w=4_000, hashrate_hps=270e12, setting=0),
    config.Level(name="high", power_w=8_064, hashrate_hps=480e12, setting=1),
]
MODEL = config.Model(levels=LEVELS)
UNIX_S = 1_800_000_000.0


def unit(port=4028, address="127.0.0.1"):
    return config.Unit(id="u1", address=address, model="m", loop="north", api_port=port)


def driver_of(device, model=MODEL):
    """A driver that reaches `device` through memory streams; needs a nursery for its other end."""

    async def connect(_address, _port):
        ours, theirs = trio.testing.memory_stream_pair()
        trio.lowlevel.spawn_system_task(device.handle, theirs)
        return ours

    return AvalonDriver(unit(), model, connect, lambda: UNIX_S)


def scripted(*replies, model=MODEL):
    """A driver and the requests it makes; each answered by the next reply (None: close without a word)."""
    requests, script = [], list(replies)

    async def serve(stream):
        async with stream:
            requests.append((await stream.receive_some(4_096)).decode())
            reply = script.pop(0)
            if reply is not None:
                await stream.send_all(reply if isinstance(reply, bytes) else reply.encode() + b"\0")

    async def connect(_address, _port):
        ours, theirs = trio.testing.memory_stream_pair()
        trio.lowlevel.spawn_system_task(serve, theirs)
        return ours

    return AvalonDriver(unit(), model, connect, lambda: UNIX_S), requests


def device(**more):
    spec = SimDeviceSpec.from_model(MODEL)
    return SimDevice(spec, random.Random(1), **more)


async def test_a_machine_on_real_tcp_is_read_and_commanded(nursery):
    machine = device(serial="020100000000aaaa")
    port = await nursery.start(machine.serve, "127.0.0.1", 0)
    driver = AvalonDriver(unit(port), MODEL, connect_tcp, lambda: UNIX_S)
    reading = await driver.read()
    assert (reading.serial, reading.model_name) == ("020100000000aaaa", "AvalonMiner 1566HA")
    assert (reading.level_observed, reading.asleep, reading.hashing) == (2, False, True)
    assert reading.power_w == pytest.approx(machine.power_w, abs=1)
    assert reading.hashrate_hps == pytest.approx(machine.hashrate_hps, rel=1e-3)
    assert (await driver.set_level(1)).answer is Answer.TAKEN
    assert (await driver.read()).level_observed == 1
    assert (await driver.set_level(0)).answer is Answer.TAKEN
    assert [write.split(":")[0] for write in machine.writes] == ["worklevel,set,0", "softoff,1"]
    nursery.cancel_scope.cancel()


async def test_nobody_there_is_not_sent(nursery):
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    driver = AvalonDriver(unit(port), MODEL, connect_tcp, lambda: UNIX_S)
    with pytest.raises(NotSent, match="is it powered"):
        await driver.read()
    assert (await driver.set_level(1)).answer is Answer.UNSENT


async def test_first_contact_asks_who_it_is_and_later_readings_cost_one_connection(autojump_clock):
    machine = device()
    served = []
    handle = machine.handle

    async def counting(stream, clock=None):
        served.append(1)
        await handle(stream, clock)

    machine.handle = counting
    driver = driver_of(machine)
    await driver.read()
    assert len(served) == 3  # estats, version, help
    await driver.read()
    assert len(served) == 4
    machine.serial = "another"
    assert (await driver.read()).serial == "another"
    assert len(served) == 7


async def test_a_silent_machine_costs_no_more_than_the_deadline(autojump_clock):
    machine = device()
    machine.faults.is_dead = True
    start_s = trio.current_time()
    with pytest.raises(NoAnswer, match="silent"):
        await driver_of(machine).read()
    assert trio.current_time() - start_s == pytest.approx(REPLY_TIMEOUT_S, abs=0.1)


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ('{"STATUS":[{"STATUS":"S","When":5,"Code":119,"Msg":"ASC 0 set OK"}],"id":1}', Answer.TAKEN),
        ('{"STATUS":[{"STATUS":"I","When":5,"Code":118,"Msg":"ASC 0 set info: success softoff:1:10"}],"id":1}', Answer.TAKEN),
        ('{"STATUS":[{"STATUS":"E","Code":120,"Msg":"ASC 0 set failed: Unknown option: softoff"}]}', Answer.REFUSED),
        (
            '{"STATUS":[{"STATUS":"E","Code":120,"Msg":"current level 0 is caling,Don\'t permit switch level"}]}',
            Answer.CALIBRATING,
        ),
        ('{"STATUS":[{"STATUS":"S","Code":7,"Msg":"1 Pool(s)"}]}', Answer.LOST),
        ("<html>", Answer.LOST),
        (b'{"STATUS":[{"STATUS":"S"', Answer.LOST),
        (None, Answer.LOST),
    ],
)
async def test_every_answer_to_a_write_has_its_name_and_is_sent_once(autojump_clock, reply, answer):
    driver, requests = scripted(reply)
    assert (await driver.set_level(0)).answer is answer
    assert len(requests) == 1


async def test_commands_are_json_with_one_parameter_string(autojump_clock):
    driver, requests = scripted('{"STATUS":[{"STATUS":"S","When":5,"Code":119,"Msg":"ASC 0 set OK"}]}')
    await driver.set_level(2)
    assert json.loads(requests[0]) == {"command": "ascset", "parameter": "0,worklevel,set,1"}


async def test_old_firmware_that_knows_no_json_is_spoken_to_in_text(autojump_clock):
    head = "STATUS=S,When=6397,Code={},Msg=x,Description=cgminer 4.11.1|"
    words = ("Ver[1066] DNA[02ab] SYSTEMSTATU[Work: In Work, Hash Board: 3 ] Elapsed[6355]", "PS[0 1217 1279 221 2834 1280]")
    summary = " ".join((*words, "GHSspd[51062.40]"))
    driver, requests = scripted(
        "STATUS=E,When=6397,Code=14,Msg=Invalid command,Description=cgminer 4.11.1|",
        head.format(70) + f"STATS=0,ID=AVA100,Elapsed=6354,MM ID0={summary},MM Count=1|",
        head.format(22) + "VERSION,CGMiner=4.11.1,PROD=AvalonMiner 1066,DNA=02AB|",
        "STATUS=E,When=6397,Code=120,Msg=ASC 0 set failed: Unknown option: help,Description=cgminer 4.11.1|",
        "STATUS=S,When=6397,Code=119,Msg=ASC 0 set OK,Description=cgminer 4.11.1|",
    )
    reading = await driver.read()
    assert (reading.serial, reading.model_name, reading.power_w, reading.power_is_dc) == ("02ab", "AvalonMiner 1066", 2834, True)
    assert (await driver.set_level(2)).answer is Answer.TAKEN
    assert requests[1:] == ["estats", "version", "ascset|0,help", "ascset|0,worklevel,set,1"]


async def test_sleep_is_asked_for_by_the_units_clock(autojump_clock):
    machine = device()
    machine.clock_skew_s = -1e9
    driver = driver_of(machine)
    await driver.read()
    await driver.set_level(0)
    moment = int(machine.writes[-1].rpartition(":")[2])
    assert moment == pytest.approx(machine.clock_unix_s + 5, abs=1)


async def test_a_calibrating_machine_still_wakes(autojump_clock):
    machine = device(level=0)
    driver = driver_of(machine)
    await driver.read()
    machine.faults.calibrating = True
    assert (await driver.set_level(1)).answer is Answer.TAKEN
    assert [write.split(":")[0] for write in machine.writes] == ["worklevel,set,0", "softon,1"]


async def test_a_change_that_needs_a_reboot_is_not_rebooted_when_it_was_refused(autojump_clock):
    model = config.Model(levels=LEVELS, setting_command="workmode", change_reboots=True)
    machine = SimDevice(SimDeviceSpec.from_model(model), random.Random(1))
    driver = driver_of(machine, model)
    await driver.read()
    machine.faults.calibrating = True
    assert (await driver.set_level(1)).answer is Answer.CALIBRATING
    assert list(machine.writes) == ["workmode,0"]


async def test_without_hashes_its_pools_are_asked(autojump_clock):
    machine = device()
    machine.spec = msgspec.structs.replace(machine.spec, without_work=WithoutWork())
    machine.faults.no_work = True
    reading = await driver_of(machine).read()
    assert (reading.hashing, reading.asleep, reading.pools_alive) == (False, False, 0)


@pytest.mark.parametrize("code", [69, 71, 999])
async def test_a_reply_to_another_question_is_no_reading(autojump_clock, code):
    driver, _ = scripted(json.dumps({"STATUS": [{"STATUS": "S", "Code": code, "Msg": ""}], "STATS": [{"MM ID0": "GHSspd[1]"}]}))
    with pytest.raises(UnitError, match=f"code {code}"):
        await driver.read()


async def test_a_machine_without_a_mining_block_is_no_avalon(autojump_clock):
    driver, _ = scripted('{"STATUS":[{"STATUS":"S","Code":70,"Msg":"CGMiner stats"}],"STATS":[]}')
    with pytest.raises(UnitError, match="no MM ID0 block"):
        await driver.read()


async def test_an_endless_answer_is_cut(autojump_clock):
    async def flood(stream):
        try:
            while True:
                await stream.send_all(b"x" * 65_536)
        except trio.BrokenResourceError:
            return

    async def connect(_address, _port):
        ours, theirs = trio.testing.memory_stream_pair()
        trio.lowlevel.spawn_system_task(flood, theirs)
        return ours

    with pytest.raises(NoAnswer, match="more than 262144 bytes"):
        await exchange(connect, "10.0.0.1", 4028, b"version")


@pytest.mark.parametrize("address", ["127.0.0.1", "localhost"])
async def test_addresses_and_names_are_reached(nursery, address):
    port = await nursery.start(device().serve, address, 0)
    stream = await connect_tcp(address, port)
    await stream.aclose()
    nursery.cancel_scope.cancel()


async def test_a_refused_connection_leaves_nothing_open():
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    with pytest.raises(OSError):
        await connect_tcp("127.0.0.1", port)
