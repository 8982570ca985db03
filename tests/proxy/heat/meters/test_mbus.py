import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from proxy.config import Meter
from proxy.heat.meters.line import Line, LineError
from proxy.heat.meters.mbus import MbusReader, decode, has_more, take_acknowledge, take_telegram
from tests.support.mbus_gateway import MULTICAL_601, Gateway, heat_records, telegram

NOW = 1_768_435_200.0


def reader(port: int, device_id: int, timeout_s: float = 1.0) -> MbusReader:
    meter = Meter(name="m", protocol="mbus", address=f"127.0.0.1:{port}", device_id=device_id, timeout_s=timeout_s)
    return MbusReader(meter, Line("127.0.0.1", port))


def test_a_captured_telegram_of_a_heat_meter_is_read() -> None:
    sample = decode([MULTICAL_601], 17, NOW)
    assert sample.energy_wh == 37_351_000
    assert sample.power_w == 34_700
    assert sample.flow_l_per_h == pytest.approx(543)
    assert sample.supply_c == pytest.approx(101.69)
    assert sample.return_c == pytest.approx(46.16)


def test_units_become_ours() -> None:
    records = b"\x04\x0e\x10\x00\x00\x00" + b"\x04\x35\x40\x0d\x03\x00" + b"\x04\x43\x10\x00\x00\x00"
    sample = decode([telegram(1, records)], 1, NOW)
    assert sample.energy_wh == pytest.approx(16e6 / 3_600)
    assert sample.power_w == pytest.approx(200_000 * 1e5 / 3_600)
    assert sample.flow_l_per_h == pytest.approx(16 * 1e-4 * 60_000)
    assert sample.supply_c is None


def test_history_tariffs_and_maxima_are_not_taken_for_the_present() -> None:
    storage = b"\x44\x06\x05\x00\x00\x00"
    tariff = b"\x84\x10\x06\x06\x00\x00\x00"
    maximum = b"\x14\x2b\x07\x00\x00\x00"
    sample = decode([telegram(1, storage + tariff + maximum + b"\x04\x06\x09\x00\x00\x00")], 1, NOW)
    assert sample.energy_wh == 9_000
    assert sample.power_w is None


@pytest.mark.parametrize(
    ("status", "is_good"), [(0x00, True), (0x04, True), (0x20, True), (0x08, False), (0x10, False), (0x02, False)]
)
def test_a_meter_that_reports_its_own_fault_gives_no_values(status: int, is_good: bool) -> None:
    one = telegram(1, heat_records(1_000, 30, 70.0, 40.0, 5), status=status)
    if is_good:
        assert decode([one], 1, NOW).power_w == 1_000
    else:
        with pytest.raises(ValueError, match="fault of its own"):
            decode([one], 1, NOW)


def test_an_answer_of_another_meter_is_not_taken() -> None:
    with pytest.raises(ValueError, match="meter 2 answers instead of meter 1"):
        decode([telegram(2, heat_records(1_000, 30, 70.0, 40.0, 5))], 1, NOW)


@pytest.mark.parametrize(
    ("received", "word"),
    [(b"\x10\x5b", "begins no telegram"), (b"\x68\x05\x06\x68", "lengths"), (b"\x68\x03\x03\x68\x01\x02\x03\x06\x99", "no end")],
)
def test_bytes_that_cannot_become_a_telegram_are_refused_at_once(received: bytes, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        take_telegram()(received)
    with pytest.raises(ValueError, match="reset"):
        take_acknowledge()(received)


def test_a_telegram_is_collected_whatever_its_pieces() -> None:
    take = take_telegram()
    for k in range(len(MULTICAL_601) - 1):
        assert take(MULTICAL_601[k : k + 1]) is None
    assert take(MULTICAL_601[-1:]) == MULTICAL_601


@given(st.integers(0, len(MULTICAL_601) - 1), st.integers(1, 255))
def test_a_flipped_byte_is_never_taken_for_a_value(position: int, change: int) -> None:
    broken = bytearray(MULTICAL_601)
    broken[position] ^= change
    if position in (0, 1, 2, 3, len(broken) - 1):
        return  # the frame itself: other tests
    with pytest.raises(ValueError):
        decode([bytes(broken)], 17, NOW)


def test_a_record_that_nobody_can_read_does_not_cost_the_others() -> None:
    unreadable = b"\x02\xfd\x7e\x00\x00"
    sample = decode([telegram(1, b"\x04\x2b\x10\x27\x00\x00" + unreadable)], 1, NOW)
    assert sample.power_w == 10_000


@given(st.binary(max_size=60))
def test_any_records_give_values_or_a_value_error(records: bytes) -> None:
    try:
        decode([telegram(1, records)], 1, NOW)
        has_more(telegram(1, records))
    except ValueError:
        pass


async def test_a_meter_is_reset_and_asked_through_a_gateway() -> None:
    gateway = Gateway({5: [telegram(5, heat_records(400_000, 11_700, 75.0, 45.0, 1_234))]})
    async with trio.open_nursery() as nursery:
        port = await nursery.start(gateway.serve)
        sample = await reader(port, 5).read(NOW)
        assert (sample.power_w, sample.energy_wh, sample.supply_c) == (400_000, 1_234_000, 75.0)
        assert gateway.asked == [(0x40, 5), (0x7B, 5)]
        nursery.cancel_scope.cancel()


async def test_an_answer_in_two_telegrams_is_read_whole() -> None:
    first = telegram(5, b"\x04\x2b\x10\x27\x00\x00", more=True)
    second = telegram(5, b"\x04\x06\x07\x00\x00\x00")
    gateway = Gateway({5: [first, second]})
    async with trio.open_nursery() as nursery:
        port = await nursery.start(gateway.serve)
        sample = await reader(port, 5).read(NOW)
        assert (sample.power_w, sample.energy_wh) == (10_000, 7_000)
        nursery.cancel_scope.cancel()


async def test_a_meter_that_is_not_there_is_said_to_give_no_answer() -> None:
    gateway = Gateway({})
    async with trio.open_nursery() as nursery:
        port = await nursery.start(gateway.serve)
        with pytest.raises(LineError, match="no answer"):
            await reader(port, 9, timeout_s=0.1).read(NOW)
        nursery.cancel_scope.cancel()


async def test_disturbance_on_the_bus_is_said_and_the_next_question_is_clean() -> None:
    gateway = Gateway({5: [telegram(5, heat_records(1_000, 30, 70.0, 40.0, 5))]})
    gateway.noise = b"\xff\x00"
    async with trio.open_nursery() as nursery:
        port = await nursery.start(gateway.serve)
        asked = reader(port, 5)
        with pytest.raises(LineError, match="begins no telegram"):
            await asked.read(NOW)
        gateway.noise = b""
        assert (await asked.read(NOW)).power_w == 1_000
        assert gateway.connections == 2
        nursery.cancel_scope.cancel()
