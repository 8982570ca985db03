"""Targets and difficulties. A target is an int of 256 bits and is what is compared; a difficulty is for people and the SV1 wire."""

import math

# pdiff 1, the share difficulty of every pool: 0x00000000ffff0000... (bdiff, the block explorers' one, has the same value here).
DIFFICULTY_1_TARGET = 0xFFFF << 208
MAX_TARGET = (1 << 256) - 1
# Expected hashes for one share of difficulty 1: 2**256 / (target + 1), rounded to the field's customary constant.
HASHES_PER_DIFFICULTY = float(1 << 32)


def target_from_difficulty(difficulty: float) -> int:
    """The largest hash that still meets `difficulty`. Raises ValueError unless it is finite and above 0."""
    if not math.isfinite(difficulty) or difficulty <= 0:
        raise ValueError(f"difficulty must be finite and above 0, not {difficulty!r}")
    numerator, denominator = difficulty.as_integer_ratio()
    return min(DIFFICULTY_1_TARGET * denominator // numerator, MAX_TARGET)


def difficulty_from_target(target: int) -> float:
    """The difficulty whose target this is; inf for target 0."""
    return DIFFICULTY_1_TARGET / target if target > 0 else math.inf


def target_from_nbits(nbits: int) -> int:
    """Expand the compact form of a header. Raises ValueError for negative, zero or over-long targets (consensus refuses them)."""
    exponent, mantissa = nbits >> 24, nbits & 0x007FFFFF
    if nbits & 0x00800000 or mantissa == 0:
        raise ValueError(f"nbits {nbits:08x} is not a positive target")
    target = mantissa >> (8 * (3 - exponent)) if exponent <= 3 else mantissa << (8 * (exponent - 3))
    if not 0 < target <= MAX_TARGET:
        raise ValueError(f"nbits {nbits:08x} is out of range")
    return target


def floor_power_of_two(difficulty: float) -> float:
    """The largest power of two that is not above `difficulty` (fractions included).

    Some firmware misreads floats that are no power of two, and rounding up loses hashrate, so down is the only way.
    """
    if not math.isfinite(difficulty) or difficulty <= 0:
        raise ValueError(f"difficulty must be finite and above 0, not {difficulty!r}")
    _, exponent = math.frexp(difficulty)
    return math.ldexp(0.5, exponent)


def difficulty_for(hashrate_hps: float, shares_per_minute: float) -> float:
    """The difficulty at which `hashrate_hps` makes `shares_per_minute` on average."""
    return hashrate_hps * 60.0 / shares_per_minute / HASHES_PER_DIFFICULTY
