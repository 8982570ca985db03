"""Every vendor's driver against its simulated machine: over real loopback sockets, fault by fault.

The same sentences hold for all families; what only one of them does is in its own file.
"""

import random

import pytest
import trio
import trio.testing

from proxy.errors import UnitError
from proxy.units.drivers.base import Answer
from proxy.units.drivers.link import CONNECT_TIMEOUT_S, REPLY_TIMEOUT_S, NoAnswer, NotSent, connect_tcp
from tests.support.machines import FAMILIES, OTHERS, by_memory

all_families = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
other_families = pytest.mark.parametrize("family", OTHERS, ids=lambda family: family.name)
# The clock of a machine that has run for a while: nothing of its start is left to happen.
LATER_S = 5_000.0


async def on_tcp(family, nursery, **more):
    """A machine on a real port, and its driver."""
    machine = family.make_device(**more)
    machine.advance(LATER_S)
    port = await nursery.start(machine.serve, "127.0.0.1", 0)
    return machine, family.make_driver(connect_tcp, port=port)


@all_families
async def test_a_machine_is_read(family, nursery):
    machine, driver = await on_tcp(family, nursery)
    reading = await driver.read()
    assert reading.serial
    assert (reading.level_observed, reading.asleep, reading.hashing) == (3, False, True)
    assert reading.power_w == pytest.approx(machine.power_w, abs=1)
    assert reading.hashrate_hps == pytest.approx(machine.hashrate_hps, rel=1e-3)
    assert (reading.stopping, reading.calibrating) == (False, False)
    nursery.cancel_scope.cancel()


@all_families
async def test_levels_sleep_and_waking_show_in_the_readings(family, nursery):
    machine, driver = await on_tcp(family, nursery)
    await driver.read()
    assert (await driver.set_level(2)).answer is Answer.TAKEN
    machine.advance(LATER_S + 1_000)
    middle = await driver.read()
    assert middle.level_observed == 2
    assert middle.power_w == pytest.approx(family.model.levels[1].power_w, rel=0.1)
    assert (await driver.set_level(0)).answer is Answer.TAKEN
    machine.advance(LATER_S + 1_001)
    machine.advance(LATER_S + 2_000)
    asleep = await driver.read()
    assert (asleep.level_observed, asleep.asleep, asleep.hashing) == (0, True, False)
    assert (await driver.set_level(2)).answer is Answer.TAKEN
    machine.advance(LATER_S + 4_000)
    awake = await driver.read()
    assert (awake.asleep, awake.hashing) == (False, True)
    said = " | ".join(machine.writes)
    assert all(word in said for word in family.set_words)
    nursery.cancel_scope.cancel()


@all_families
async def test_a_machine_on_its_way_to_sleep_is_stopping_and_not_yet_asleep(family, nursery):
    machine, driver = await on_tcp(family, nursery)
    await driver.read()
    await driver.set_level(0)
    machine.advance(LATER_S + 8)  # past the moment that an Avalon is told, with most of the power still there
    reading = await driver.read()
    assert (reading.asleep, reading.stopping, reading.level_observed) == (None, True, None)
    nursery.cancel_scope.cancel()


@all_families
async def test_a_write_whose_answer_is_lost_was_sent_once_and_is_read_back(family, nursery):
    machine, driver = await on_tcp(family, nursery)
    await driver.read()
    machine.faults.lost_answers = 1
    assert (await driver.set_level(2)).answer is Answer.LOST
    assert len(machine.writes) == 1
    assert (await driver.read()).level_observed == 2
    nursery.cancel_scope.cancel()


@all_families
async def test_a_write_that_is_lost_on_the_way_is_not_repeated(family, nursery):
    machine, driver = await on_tcp(family, nursery)
    await driver.read()
    machine.faults.lost_requests = 1
    assert (await driver.set_level(2)).answer is Answer.LOST
    assert not machine.writes
    assert (await driver.read()).level_observed == 3
    nursery.cancel_scope.cancel()


@all_families
async def test_a_lost_answer_to_the_first_of_two_writes_stops_the_second(family, nursery):
    machine, driver = await on_tcp(family, nursery, level=0)
    await driver.read()
    machine.faults.lost_answers = 1
    outcome = await driver.set_level(2)
    # An Avalon's level before softon is a courtesy, and a Whatsminer wakes by one write.
    assert outcome.answer is (Answer.TAKEN if family.name == "avalon" else Answer.LOST)
    assert len(machine.writes) == (2 if family.name == "avalon" else 1)
    nursery.cancel_scope.cancel()


@all_families
async def test_ok_without_effect_is_taken_and_the_reading_tells_the_truth(family, nursery):
    machine, driver = await on_tcp(family, nursery)
    await driver.read()
    machine.faults.no_effect = True
    assert (await driver.set_level(1)).answer is Answer.TAKEN
    assert (await driver.set_level(0)).answer is Answer.TAKEN
    machine.advance(LATER_S + 1_000)
    reading = await driver.read()
    assert (reading.level_observed, reading.asleep) == (3, False)
    nursery.cancel_scope.cancel()


@all_families
async def test_a_refusal_is_passed_on_with_the_machines_words(family, nursery):
    machine, driver = await on_tcp(family, nursery)
    await driver.read()
    machine.faults.refuses = "fan 3 is broken"
    for level in (0, 1):
        outcome = await driver.set_level(level)
        assert outcome.answer is Answer.REFUSED
        assert "fan 3 is broken" in outcome.text
    nursery.cancel_scope.cancel()


@all_families
async def test_a_machine_that_tunes_itself_takes_no_level_now_but_may_sleep(family, nursery):
    machine, driver = await on_tcp(family, nursery)
    await driver.read()
    machine.faults.calibrating = True
    assert (await driver.set_level(1)).answer is Answer.CALIBRATING
    assert (await driver.set_level(0)).answer is Answer.TAKEN
    nursery.cancel_scope.cancel()


@other_families
@pytest.mark.parametrize(
    "nonsense", ["not_json", "huge", "half", "no_nul", "empty", "wrong_code", "negative", "nan", "absurd"], ids=str
)
async def test_nonsense_is_a_unit_error_and_never_anything_else(family, nonsense, nursery):
    machine, driver = await on_tcp(family, nursery)
    await driver.read()
    machine.faults.nonsense = nonsense
    if (family.name, nonsense) != ("luxos", "no_nul"):  # there a missing NUL is a matter of taste
        with pytest.raises(UnitError):
            await driver.read()
    await driver.set_level(1)
    await driver.set_level(0)
    machine.faults.nonsense = None
    machine.advance(LATER_S + 1_000)
    await driver.read()
    nursery.cancel_scope.cancel()


@other_families
async def test_an_answer_that_makes_no_sense_leaves_a_write_unknown(family, nursery):
    machine, driver = await on_tcp(family, nursery)
    await driver.read()
    machine.faults.nonsense = "half" if family.name != "luxos" else "not_json"
    outcome = await driver.set_level(0)
    # HTTP machines answer writes by their status; LuxOS had to be asked for a session first, which made no sense already.
    expected = {"whatsminer": Answer.LOST, "braiins": Answer.TAKEN, "luxos": Answer.UNSENT, "axeos": Answer.TAKEN}
    assert outcome.answer is expected[family.name]
    nursery.cancel_scope.cancel()


@other_families
async def test_sensors_that_are_not_there_are_unknown(family, nursery):
    machine, driver = await on_tcp(family, nursery)
    machine.faults.no_sensors = True
    reading = await driver.read()
    assert (reading.inlet_c, reading.outlet_c, reading.chip_c) == (None, None, None)
    nursery.cancel_scope.cancel()


@all_families
async def test_nobody_there_means_nothing_was_sent(family, nursery):
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    driver = family.make_driver(connect_tcp, port=port)
    with pytest.raises(NotSent, match="is it powered"):
        await driver.read()
    assert (await driver.set_level(0)).answer is Answer.UNSENT


@all_families
async def test_a_silent_machine_costs_no_more_than_the_deadlines(family, autojump_clock):
    machine = family.make_device()
    machine.faults.is_dead = True
    driver = family.make_driver(by_memory(machine))
    start_s = trio.current_time()
    with pytest.raises(UnitError, match="silent"):
        await driver.read()
    assert trio.current_time() - start_s <= CONNECT_TIMEOUT_S + REPLY_TIMEOUT_S
    start_s = trio.current_time()
    assert (await driver.set_level(0)).answer in (Answer.LOST, Answer.UNSENT)
    assert trio.current_time() - start_s <= 3 * (CONNECT_TIMEOUT_S + REPLY_TIMEOUT_S)


@other_families
async def test_a_slow_machine_is_waited_for_up_to_the_deadline(family, autojump_clock):
    machine = family.make_device()
    driver = family.make_driver(by_memory(machine))
    machine.slow_s = REPLY_TIMEOUT_S / 2
    assert (await driver.read()).level_observed == 3
    machine.slow_s = REPLY_TIMEOUT_S * 2
    with pytest.raises(NoAnswer):
        await driver.read()


@all_families
async def test_any_bytes_at_all_give_a_unit_error_and_an_outcome(family, autojump_clock):
    rng = random.Random(family.name)
    heads = [b"", b"{", b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", b"\x10\0\0\0", b'{"STATUS":[']

    async def babble(stream):
        async with stream:
            await stream.receive_some(65_536)
            await stream.send_all(rng.choice(heads) + rng.randbytes(rng.randrange(0, 200)))

    async def connect(_address, _port):
        ours, theirs = trio.testing.memory_stream_pair()
        trio.lowlevel.spawn_system_task(babble, theirs)
        return ours

    for _ in range(40):
        driver = family.make_driver(connect)
        with pytest.raises(UnitError):
            await driver.read()
        for level in (0, 1):
            assert (await driver.set_level(level)).answer is not Answer.CALIBRATING
