"""What a unit's shares prove of its hashrate over the last minutes, with the interval that counting leaves.

Pure. Shares are counted over a window in which nothing about them changed: same connection, same difficulty, same commanded
level, a pool that takes work. Then their number is Poisson's, and its exact interval is that of the hashrate. Whatever changes
begins a new window: nothing is averaged over two truths. It is not the estimate that difficulty follows (vardiff): that one
bridges gaps.
"""

import math

import msgspec

from protocol.bitcoin.target import HASHES_PER_DIFFICULTY

# A window forgets its older half at this length: long enough to be narrow, short enough to see what changed by itself.
LONGEST_S = 1_200.0
# Fewer seconds prove nothing: shares may have waited in a socket.
LEAST_S = 60.0
# A silence of so many intervals comes by chance once in a million: whatever was before it is over, and counting begins there.
SILENCE_INTERVALS = 14.0
# Two-sided 95 %.
Z = 1.96


# Connection, difficulty, hashrate of the commanded level (0 asleep, None never commanded).
Key = tuple[float, float, float | None]


class Counted(msgspec.Struct, frozen=True, gc=False):
    """The mean hashrate of the last `seconds`, with its 95 % interval. `quiet_s`: since the last share was noted."""

    hashrate_hps: float
    low_hps: float
    high_hps: float
    shares: float
    seconds: float
    quiet_s: float


class Window(msgspec.Struct, gc=False):
    """Where counting began, for one unit; only `look` writes it. `key`: what must stay the same."""

    key: Key
    start_s: float
    start_work: float
    half_s: float
    half_work: float
    work: float
    found_s: float  # when work rose last


def begin(key: Key, start_s: float, work: float) -> Window:
    """Count from `start_s` on; it may lie ahead, while a unit is on its way to its level."""
    return Window(key, start_s, work, start_s, work, work, start_s)


def follow(known: Window | None, key: Key, start_s: float, work: float, now_s: float) -> Window:
    """The window to count in from now on, where something about the shares may have changed: `start_s` as in `begin`.

    A unit that finds nothing on any level goes on finding nothing: only then a new level, or difficulty, begins no new window.
    """
    if known is None or known.key[0] != key[0]:
        return begin(key, start_s, work)
    if known.key == key:
        return known
    is_silent = known.work == work and _found_nothing(known, now_s)
    if not (is_silent and key[2]):
        return begin(key, start_s, work)
    known.key = (key[0], max(known.key[1], key[1]), key[2])
    return known


def look(known: Window, work: float, now_s: float) -> Counted | None:
    """Note a unit's work so far (expected hashes) and say what it proves; None while that is nothing."""
    if now_s < known.start_s:
        known.start_work = known.half_work = known.work = work
        return None
    hashes = known.key[1] * HASHES_PER_DIFFICULTY
    if work > known.work:
        if _found_nothing(known, now_s):
            _restart(known, now_s, work)  # it began again after nothing: that is not an average of both
        known.work, known.found_s = work, now_s
    elif _is_over(known, hashes, now_s):
        _restart(known, known.found_s, work)
    if now_s - known.start_s >= LONGEST_S:
        known.start_s, known.start_work = known.half_s, known.half_work
        known.half_s, known.half_work = now_s, work
    elif known.half_s - known.start_s < LONGEST_S / 2 <= now_s - known.start_s:
        known.half_s, known.half_work = now_s, work
    seconds = now_s - known.start_s
    if seconds < LEAST_S:
        return None
    shares = max(0.0, work - known.start_work) / hashes
    low, high = interval(shares)
    per_share_hps = hashes / seconds
    return Counted(shares * per_share_hps, low * per_share_hps, high * per_share_hps, shares, seconds, now_s - known.found_s)


def _found_nothing(known: Window, now_s: float) -> bool:
    """Whether there was no share at all in the window, for far longer than chance allows on the commanded level."""
    expected_hps = known.key[2]
    if not expected_hps or known.work != known.start_work:
        return False
    return (now_s - known.start_s) * expected_hps > SILENCE_INTERVALS * known.key[1] * HASHES_PER_DIFFICULTY


def _is_over(known: Window, hashes: float, now_s: float) -> bool:
    """Whether nothing was found for far longer than chance allows at the rate of the window; `hashes`: of one share."""
    if known.found_s <= known.start_s:
        return False
    rate_per_s = (known.work - known.start_work) / hashes / (known.found_s - known.start_s)
    return (now_s - known.found_s) * rate_per_s > SILENCE_INTERVALS


def _restart(known: Window, start_s: float, work: float) -> None:
    known.start_s = known.half_s = start_s
    known.start_work = known.half_work = work


def interval(count: float) -> tuple[float, float]:
    """The 95 % interval of the mean of a Poisson count (Wilson and Hilferty's form of Garwood's, within 1 % from 1 on)."""
    above = count + 1.0
    high = above * (1.0 - 1.0 / (9.0 * above) + Z / (3.0 * math.sqrt(above))) ** 3
    if count < 1.0:
        return 0.0, high
    return count * (1.0 - 1.0 / (9.0 * count) - Z / (3.0 * math.sqrt(count))) ** 3, high
