import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.events import EventLog
from proxy.heat.mbap import ExcCodes
from proxy.heat.signals.modbus_desk import Desk, Refused
from proxy.heat.signals.modbus_map import ENTRIES, REPORTED, Alarm, Refusal, decode
from proxy.heat.signals.status import SignalStatus
from tests.support.signal_port import RecordingPort

NOW = 1_768_435_200.0
PLC = "10.0.0.5"
OTHER = "10.0.0.6"
ALIVE, MODE, POWER, SUPPLY, STOP, RAMP, OUTDOOR = 0, 1, 2, 4, 6, 7, 8


def f32(value: float) -> list[int]:
    return list(struct.unpack(">HH", struct.pack(">f", value)))


class Site:
    """A desk on a clock of its own, and the port behind it."""

    def __init__(self, timeout_s: float = 60.0) -> None:
        self.now_s = 0.0
        self.port = RecordingPort()
        self.events = EventLog(lambda: NOW + self.now_s)
        self.status = SignalStatus("modbus", "masters", self.events, lambda: self.now_s)
        self.desk = Desk(self.port, self.events, self.status, alive_timeout_s=timeout_s, word_order="big", epoch=int(NOW))
        self.beat = 0

    def write(self, address: int, *words: int, host: str = PLC) -> Refused | None:
        return self.desk.write(host, address, words, self.now_s, NOW + self.now_s)

    def block(
        self, mode: int = 1, power_kw: float = 0.0, supply_c: float = 0.0, stop: int = 0, ramp: int = 0, host: str = PLC
    ) -> Refused | None:
        """What a PLC writes in each of its cycles."""
        self.beat += 1
        return self.write(ALIVE, self.beat, mode, *f32(power_kw), *f32(supply_c), stop, ramp, host=host)

    def after(self, seconds: float) -> None:
        self.now_s += seconds
        self.desk.watch(self.now_s)

    def read(self, address: int, count: int) -> list[int]:
        words = self.desk.read(address, count, self.now_s, NOW + self.now_s)
        assert isinstance(words, list)
        return words

    def value(self, name: str) -> float:
        entry = next(entry for entry in REPORTED if entry.name == name)
        return decode(entry.kind, self.read(entry.address, len(entry.addresses)), "big")

    def names(self) -> list[str]:
        return [event.name for event in self.events.since(0)]


def alive_site() -> Site:
    site = Site()
    site.block(mode=0)
    site.block(mode=0)
    return site


def test_a_set_point_written_with_a_moving_alive_counter_is_followed() -> None:
    site = Site()
    assert site.block(power_kw=1_500.0) is None
    assert site.port.accepted == []  # the first beat is no movement
    assert site.block(power_kw=1_500.0) is None
    (demand,) = site.port.accepted
    assert demand.power_w == 1_500_000.0
    assert demand.valid_until_unix_s == pytest.approx(NOW + 60)
    assert site.value("power_followed") == 1_500.0


def test_the_demand_is_renewed_by_the_beat_but_not_with_every_beat() -> None:
    site = Site()
    for _ in range(120):
        assert site.block(power_kw=1_500.0) is None
        site.after(1)
    assert 3 <= len(site.port.accepted) <= 6
    assert site.port.accepted[-1].valid_until_unix_s > NOW + site.now_s + 28


def test_a_counter_that_stands_still_lets_the_set_point_expire() -> None:
    site = alive_site()
    site.write(MODE, 1, *f32(1_000.0))
    assert len(site.port.accepted) == 1
    for _ in range(100):
        site.after(1)
        assert site.write(ALIVE, site.beat, 1, *f32(1_200.0)) is None
    last = site.port.accepted[-1]
    assert last.valid_until_unix_s <= NOW + 60
    assert "modbus.alive_lost" in site.names()
    assert int(site.value("alarms")) & Alarm.ALIVE_LOST
    site.block(power_kw=1_200.0)
    assert site.port.accepted[-1].power_w == 1_200_000.0
    site.after(0)
    assert site.names()[-1] == "modbus.alive_moves"


def test_a_supply_temperature_is_asked_for_by_the_mode() -> None:
    site = alive_site()
    assert site.block(mode=2, power_kw=900.0, supply_c=78.0) is None
    assert site.port.accepted[-1].supply_c == 78.0
    assert site.port.accepted[-1].power_w is None


def test_mode_0_asks_for_nothing_and_ends_the_renewal() -> None:
    site = alive_site()
    site.block(power_kw=900.0)
    for _ in range(90):
        site.after(1)
        site.block(mode=0, power_kw=900.0)
    assert len(site.port.accepted) == 1


def test_the_ramp_goes_with_the_demand() -> None:
    site = alive_site()
    site.block(power_kw=900.0, ramp=250)
    assert site.port.accepted[-1].ramp_w_per_min == 250_000.0


def test_an_oscillating_set_point_is_slowed_down_and_told() -> None:
    site = alive_site()
    refused = [site.block(power_kw=900.0 + k % 2) for k in range(40)]
    assert refused[:10] == [None] * 10
    assert {each.refusal for each in refused[10:] if each} == {Refusal.TOO_FAST}
    assert len(site.port.accepted) == 10
    site.after(1)
    assert site.block(power_kw=1_000.0) is None
    assert site.port.accepted[-1].power_w == 1_000_000.0


def test_a_changed_set_point_counts_at_once() -> None:
    site = alive_site()
    site.block(power_kw=900.0)
    assert site.write(POWER, *f32(950.0)) is None
    assert site.port.accepted[-1].power_w == 950_000.0


@pytest.mark.parametrize(
    ("power_kw", "refusal"),
    [
        (math.nan, Refusal.NOT_A_NUMBER),
        (math.inf, Refusal.NOT_A_NUMBER),
        (-1.0, Refusal.NEGATIVE),
        (1e10, Refusal.OUT_OF_RANGE),
        (1.4e-40, Refusal.OUT_OF_RANGE),
        (50_000.0, Refusal.NOT_FOLLOWED),  # more than the plant can be: heat control knows it
    ],
)
def test_a_power_that_is_none_is_refused_with_exception_3_and_a_reason(power_kw: float, refusal: Refusal) -> None:
    site = alive_site()
    site.block(power_kw=900.0)
    refused = site.block(power_kw=power_kw)
    assert refused is not None
    assert refused.code == ExcCodes.ILLEGAL_VALUE
    assert refused.refusal is refusal
    assert site.status.view().last_refusal is not None
    assert len(site.port.accepted) == 1
    assert decode("f32", site.read(POWER, 2), "big") == 900.0
    assert int(site.value("alarms")) & Alarm.WRITE_REFUSED
    assert site.value("last_refusal") == refusal
    assert site.value("refusals") == 1


def test_swapped_words_are_recognised() -> None:
    site = alive_site()
    refused = site.write(POWER, *reversed(f32(1_500.0)))
    assert refused is not None
    assert "swapped" in refused.reason


@pytest.mark.parametrize("address", [POWER, POWER + 1, SUPPLY, SUPPLY + 1, OUTDOOR])
def test_half_a_float_is_refused(address: int) -> None:
    refused = alive_site().write(address, 0x44BB)
    assert refused is not None
    assert refused.code == ExcCodes.ILLEGAL_ADDRESS
    assert refused.refusal is Refusal.HALF_A_VALUE
    assert "function 16" in refused.reason


def test_a_write_that_ends_within_a_float_changes_nothing() -> None:
    site = alive_site()
    site.block(power_kw=900.0)
    refused = site.write(ALIVE, 99, 1, 0x1234)
    assert refused is not None
    assert site.read(ALIVE, 4) == [site.beat, 1, *f32(900.0)]


@pytest.mark.parametrize(("address", "count"), [(10, 1), (99, 1), (126, 1), (8, 3), (65_535, 1)])
def test_registers_outside_the_map_are_refused(address: int, count: int) -> None:
    site = alive_site()
    refused = site.write(address, *[0] * count)
    assert refused is not None
    assert refused.code == ExcCodes.ILLEGAL_ADDRESS
    assert isinstance(site.desk.read(address, count, 0.0, NOW), Refused)


def test_the_report_cannot_be_written() -> None:
    refused = alive_site().write(100, 1)
    assert refused is not None
    assert refused.refusal is Refusal.NOT_WRITABLE


@pytest.mark.parametrize("mode", [3, 0xFFFF])
def test_an_unknown_mode_is_refused(mode: int) -> None:
    refused = alive_site().write(MODE, mode)
    assert refused is not None
    assert "mode" in refused.reason


def test_the_supply_temperature_is_judged_when_it_is_meant() -> None:
    site = alive_site()
    assert site.block(mode=1, power_kw=10.0, supply_c=0.0) is None
    refused = site.write(MODE, 2)
    assert refused is not None
    assert "supply temperature 0 C" in refused.reason
    assert site.block(mode=1, power_kw=10.0, supply_c=200.0) is not None


def test_of_two_masters_the_first_rules_until_it_falls_silent() -> None:
    site = alive_site()
    site.block(power_kw=900.0)
    refused = site.block(power_kw=100.0, host=OTHER)
    assert refused is not None
    assert refused.code == ExcCodes.DEVICE_BUSY
    assert PLC in refused.reason
    assert int(site.value("alarms")) & Alarm.SECOND_MASTER
    site.after(61)
    assert site.block(power_kw=100.0, host=OTHER) is None
    assert len(site.port.accepted) == 1  # its own beat must move first
    assert site.block(power_kw=100.0, host=OTHER) is None
    assert site.port.accepted[-1].power_w == 100_000.0
    assert site.block(power_kw=900.0) is not None
    assert site.names().count("modbus.master_changed") == 2


def test_a_new_master_does_not_inherit_set_points() -> None:
    site = alive_site()
    site.block(power_kw=900.0)
    site.after(61)
    for beat in (1, 2, 3):
        assert site.write(ALIVE, beat, 1, host=OTHER) is None
    assert len(site.port.accepted) == 1


def test_another_source_that_rules_makes_the_registers_busy_and_the_beat_goes_on() -> None:
    site = alive_site()
    site.block(power_kw=900.0)
    rival = site.port.accepted[-1]
    site.port.accepted.append(type(rival)("rest", 1, 1, NOW, NOW, NOW + 500, 1e6))
    refused = site.block(power_kw=950.0)
    assert refused is not None
    assert (refused.code, refused.refusal) == (ExcCodes.DEVICE_BUSY, Refusal.ANOTHER_SOURCE)
    assert site.write(ALIVE, 777) is None


def test_an_emergency_stop_counts_from_any_allowed_host_and_in_any_request() -> None:
    site = alive_site()
    assert site.write(STOP, 1, host=OTHER) is None
    assert site.port.stops == {f"modbus {OTHER}": True}
    assert site.block(power_kw=math.nan, stop=0xFF00) is not None
    assert site.port.stops[f"modbus {PLC}"] is True
    assert int(site.value("alarms")) & Alarm.STOPPED
    assert "modbus.stop_set" in site.names()


def test_a_stop_outlives_its_master_and_ends_only_by_its_own_hand() -> None:
    site = alive_site()
    site.block(power_kw=900.0)
    site.write(STOP, 1, host=OTHER)
    site.block(power_kw=900.0, stop=0)
    site.after(3_600)
    assert site.port.stops[f"modbus {OTHER}"] is True
    site.write(STOP, 0, host=OTHER)
    assert site.port.stops[f"modbus {OTHER}"] is False


def test_the_master_can_end_the_stop_of_a_host_that_is_gone() -> None:
    site = alive_site()
    site.write(STOP, 1, host=OTHER)
    site.block(stop=1, mode=0)
    site.block(stop=0, mode=0)
    assert set(site.port.stops.values()) == {False}


def test_a_stop_of_an_earlier_process_ends_by_its_own_hand_and_by_no_other() -> None:
    site = alive_site()
    site.port.stops[f"modbus {PLC}"] = True
    site.port.stops["opcua"] = True
    assert int(site.value("alarms")) & Alarm.STOPPED
    site.write(STOP, 0, host=OTHER)
    assert site.port.stops[f"modbus {PLC}"] is True
    site.block(power_kw=900.0, stop=0)
    assert site.port.stops == {f"modbus {PLC}": False, "opcua": True}


def test_a_stop_that_was_released_by_hand_is_held_again_by_the_next_write_of_a_register_that_still_says_stop() -> None:
    site = alive_site()
    site.block(stop=1)
    site.port.stops[f"modbus {PLC}"] = False
    site.block(stop=1)
    assert site.port.stops[f"modbus {PLC}"] is True
    assert site.names().count("modbus.stop_set") == 2


def test_an_outdoor_temperature_goes_to_the_curve() -> None:
    site = alive_site()
    assert site.write(OUTDOOR, *f32(-7.5)) is None
    assert site.port.outdoor[-1][:2] == (-7.5, "modbus")
    assert site.write(OUTDOOR, *f32(90.0)) is not None
    assert len(site.port.outdoor) == 1


def test_an_epoch_that_fell_behind_is_caught_up() -> None:
    first = alive_site()
    first.block(power_kw=900.0)
    later = Site()
    later.port = first.port
    later.desk = Desk(first.port, later.events, later.status, alive_timeout_s=60.0, word_order="big", epoch=5)
    later.block(power_kw=800.0)
    assert later.block(power_kw=800.0) is None
    assert first.port.accepted[-1].power_w == 800_000.0


def test_unknown_is_not_a_number_and_never_zero() -> None:
    site = Site()
    site.port.heat_w = None
    site.port.energy_wh = None
    assert math.isnan(site.value("heat"))
    assert math.isnan(site.value("flow"))
    assert site.value("energy") == 0xFFFF_FFFF
    assert site.value("quality") == 0
    assert math.isnan(decode("f32", site.read(POWER, 2), "big"))
    assert int(site.value("alarms")) & Alarm.NOT_METERED


def test_the_report_reads_as_one_block_and_by_single_values() -> None:
    site = Site()
    whole = site.read(100, 26)
    assert decode("f32", whole[2:4], "big") == 1_480.0
    assert site.value("supply") == 78.5
    assert site.value("energy") == 1_000
    assert site.value("state") == 1


def test_no_two_values_share_a_register() -> None:
    taken = [register for entry in ENTRIES for register in entry.addresses]
    assert len(taken) == len(set(taken))
    assert len({(entry.is_writable, entry.name) for entry in ENTRIES}) == len(ENTRIES)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([PLC, OTHER]),
            st.integers(0, 130),
            st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=12),
            st.floats(0, 100),
        ),
        max_size=25,
    )
)
def test_no_write_raises_or_asks_for_what_cannot_be(writes: list[tuple[str, int, list[int], float]]) -> None:
    site = Site()
    for host, address, words, later_s in writes:
        site.after(later_s)
        before = site.read(0, 10)
        if site.write(address, *words, host=host) is not None:
            assert site.read(0, 10) == before
    for demand in site.port.accepted:
        assert demand.power_w is None or 0 <= demand.power_w <= 4e6
        assert demand.valid_until_unix_s - demand.issued_unix_s <= 60.0
