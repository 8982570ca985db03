import math

import pytest

from proxy.heat.demand import MeterAccepted, MeterReading, MeterRefused
from proxy.heat.meters.guard import MeterMemory, judge_reading

NOW = 1_768_435_200.0
CAPACITY_W = 1_000_000.0


def reading(after_s: float = 0.0, heat_w: float = 500_000.0, **fields: float | None) -> MeterReading:
    return MeterReading(at_unix_s=NOW + after_s, heat_w=heat_w, **fields)


def judge(memory: MeterMemory, one: MeterReading, now_s: float | None = None) -> MeterAccepted | MeterRefused:
    return judge_reading(memory, one, CAPACITY_W, 60.0, one.at_unix_s if now_s is None else NOW + now_s)


def reason(memory: MeterMemory, one: MeterReading, now_s: float | None = None) -> str:
    answer = judge(memory, one, now_s)
    assert isinstance(answer, MeterRefused)
    assert answer.remedy
    return answer.reason


def test_a_good_reading_is_believed_and_kept() -> None:
    memory = MeterMemory()
    one = reading(supply_c=75.0, return_c=45.0, flow_kg_s=4.0, energy_wh=10.0)
    assert isinstance(judge(memory, one), MeterAccepted)
    assert memory.good is one


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"heat_w": math.nan}, "NaN"),
        ({"supply_c": math.inf}, "NaN"),
        ({"heat_w": -1.0}, "negative"),
        ({"flow_kg_s": -1.0}, "negative"),
        ({"supply_c": 167.0}, "out of range"),  # degrees Fahrenheit
        ({"heat_w": 5_000_000.0}, "installed"),
        ({"supply_c": 75.0, "return_c": 45.0, "flow_kg_s": 40.0}, "disagrees"),
        ({"supply_c": 45.0, "return_c": 75.0, "flow_kg_s": 4.0}, "disagrees"),
    ],
)
def test_a_reading_that_cannot_be_is_refused(fields: dict[str, float], word: str) -> None:
    memory = MeterMemory()
    assert word in reason(memory, reading(**fields))
    assert memory.good is None


def test_old_future_and_repeated_readings_are_refused() -> None:
    memory = MeterMemory()
    assert "old" in reason(memory, reading(), 60.0)
    assert "future" in reason(memory, reading(10.0), 0.0)
    judge(memory, reading())
    assert "not newer" in reason(memory, reading())
    assert "not newer" in reason(memory, reading(-5.0), 0.0)


def test_a_jump_is_refused_until_three_readings_agree() -> None:
    memory = MeterMemory()
    judge(memory, reading(0))
    assert "jumps" in reason(memory, reading(10, 100_000.0))
    assert "jumps" in reason(memory, reading(20, 101_000.0))
    assert isinstance(judge(memory, reading(30, 99_000.0)), MeterAccepted)


def test_three_jumps_to_different_places_are_noise() -> None:
    memory = MeterMemory()
    judge(memory, reading(0))
    for k, heat_w in enumerate((100_000.0, 900_000.0, 50_000.0, 1_000_000.0)):
        assert "jumps" in reason(memory, reading(10.0 * (k + 1), heat_w))


def test_after_a_gap_any_plausible_reading_is_a_new_start() -> None:
    memory = MeterMemory()
    judge(memory, reading(0))
    assert isinstance(judge(memory, reading(61, 50_000.0)), MeterAccepted)


def test_a_frozen_meter_is_found_and_a_resting_plant_is_not() -> None:
    memory = MeterMemory()
    answers = [judge(memory, reading(30.0 * k)) for k in range(40)]
    assert all(isinstance(answer, MeterAccepted) for answer in answers[:29])
    assert isinstance(answers[-1], MeterRefused)
    assert isinstance(judge(memory, reading(1230.0, 500_001.0)), MeterAccepted)
    resting = MeterMemory()
    assert all(isinstance(judge(resting, reading(30.0 * k, 0.0)), MeterAccepted) for k in range(100))


def test_a_coarse_meter_that_counts_energy_is_not_frozen() -> None:
    memory = MeterMemory()
    answers = [judge(memory, reading(30.0 * k, energy_wh=1000.0 + k)) for k in range(100)]
    assert all(isinstance(answer, MeterAccepted) for answer in answers)


def test_a_counter_that_went_back_is_said_once_and_then_counted_from() -> None:
    memory = MeterMemory()
    judge(memory, reading(0, energy_wh=1000.0))
    assert "counter" in reason(memory, reading(10, 500_001.0, energy_wh=3.0))
    assert isinstance(judge(memory, reading(20, 500_002.0, energy_wh=4.0)), MeterAccepted)
