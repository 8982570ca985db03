"""Targets, difficulties and compact bits: known values, monotony, and what is refused."""

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.bitcoin.target import (
    DIFFICULTY_1_TARGET,
    MAX_TARGET,
    difficulty_for,
    difficulty_from_target,
    floor_power_of_two,
    target_from_difficulty,
    target_from_nbits,
)

DIFFICULTIES = st.floats(min_value=1e-12, max_value=1e60, allow_nan=False)
ROUNDING = json.loads((Path(__file__).parents[2] / "vectors" / "sri_translation_notify.json").read_text())["vectors"][2]


@pytest.mark.parametrize("difficulty", [0, -1, math.nan, math.inf, -math.inf])
def test_a_difficulty_that_is_not_finite_and_positive_has_no_target(difficulty: float) -> None:
    with pytest.raises(ValueError, match="finite and above 0"):
        target_from_difficulty(difficulty)
    with pytest.raises(ValueError, match="finite and above 0"):
        floor_power_of_two(difficulty)


def test_difficulty_one_is_the_target_of_every_pool() -> None:
    assert target_from_difficulty(1) == DIFFICULTY_1_TARGET == 0xFFFF << 208
    assert difficulty_from_target(DIFFICULTY_1_TARGET) == 1.0
    assert difficulty_from_target(0) == math.inf


def test_case_48_pdiff_and_bdiff_of_the_genesis_bits_are_the_same_target() -> None:
    assert target_from_nbits(0x1D00FFFF) == DIFFICULTY_1_TARGET


def test_case_45_tiny_difficulties_stop_at_the_largest_target_and_huge_ones_near_zero() -> None:
    assert target_from_difficulty(1e-300) == MAX_TARGET
    assert target_from_difficulty(2.0**-30) == DIFFICULTY_1_TARGET << 30
    assert target_from_difficulty(2.0**63) == DIFFICULTY_1_TARGET >> 63
    assert target_from_difficulty(1e300) == 0
    assert target_from_difficulty(16383.75) == DIFFICULTY_1_TARGET * 4 // 65535


@given(DIFFICULTIES, DIFFICULTIES)
def test_more_difficulty_never_means_a_larger_target(a: float, b: float) -> None:
    low, high = sorted((a, b))
    assert target_from_difficulty(high) <= target_from_difficulty(low)


@given(st.integers(1, MAX_TARGET), st.integers(1, MAX_TARGET))
def test_a_larger_target_never_means_more_difficulty(a: int, b: int) -> None:
    low, high = sorted((a, b))
    assert difficulty_from_target(high) <= difficulty_from_target(low)


@given(st.floats(min_value=1e-6, max_value=1e30))
def test_a_difficulty_survives_the_way_over_its_target(difficulty: float) -> None:
    assert difficulty_from_target(target_from_difficulty(difficulty)) == pytest.approx(difficulty, rel=1e-9)


@given(DIFFICULTIES)
def test_rounding_to_a_power_of_two_goes_down_and_by_less_than_half(difficulty: float) -> None:
    rounded = floor_power_of_two(difficulty)
    assert rounded <= difficulty < 2 * rounded
    assert math.frexp(rounded)[0] == 0.5


@pytest.mark.parametrize(("difficulty", "expected"), ROUNDING["power_of_two_rounding"])
def test_rounding_agrees_with_the_sv2_reference(difficulty: float, expected: float) -> None:
    assert floor_power_of_two(difficulty) == expected


@pytest.mark.parametrize(
    ("nbits", "target"),
    [
        (0x207FFFFF, 0x7FFFFF << 232),  # regtest
        (0x1D00FFFF, 0xFFFF << 208),
        (0x170331DB, 0x0331DB << 160),
        (0x03123456, 0x123456),
        (0x02123456, 0x1234),
        (0x01120000, 0x12),
    ],
)
def test_compact_bits_expand(nbits: int, target: int) -> None:
    assert target_from_nbits(nbits) == target


@pytest.mark.parametrize("nbits", [0, 0x1D000000, 0x1D800001, 0x01001234, 0x23000001 | 0x7FFF00, 0xFF7FFFFF, 0x217FFFFF])
def test_case_36_negative_zero_and_overlong_bits_are_refused(nbits: int) -> None:
    with pytest.raises(ValueError, match="nbits"):
        target_from_nbits(nbits)


def test_a_terahash_at_six_shares_a_minute_needs_this_difficulty() -> None:
    assert difficulty_for(1e12, 6) == pytest.approx(1e13 / 2**32)
    assert difficulty_for(100e12, 6) == pytest.approx(100 * difficulty_for(1e12, 6))
