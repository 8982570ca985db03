"""The last watts of a plan: close the gap that the price leaves with one, two, or four small moves of single units.

Pure arithmetic on candidate moves; it knows no units, prices or limits. The candidates do not depend on the gap and the total
nearest to the target wins, so a larger target never gets a smaller total. That is why the nearest and not the cheapest is taken.
"""

import msgspec
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

# All pairs of so many moves are tried: 160,000 sums, below a millisecond.
MAX_MOVES = 400
# All fours of so many moves are tried as pairs of pairs: 280,000 sums. They are taken from all sizes of steps, cheapest first:
# four moves help where many units are alike and two of them never give the sum that is wanted.
MAX_IN_FOURS = 32
SIZES = 24
MOST_MOVES = 4


class Candidates(msgspec.Struct):
    """Possible moves as arrays: the unit each is of, the power it adds, and what it costs against the price.

    `room` is how many moves at a time may contain it without breaking a limit of its loop. `reach_w` are the lowest and highest
    total change allowed.
    """

    unit: Ints
    delta_w: Floats
    loss: Floats
    room: Ints
    reach_w: tuple[float, float]


class _Best:
    """The nearest choice so far. `moves` are positions in the candidates."""

    def __init__(self, gap_w: float, tolerance_w: float) -> None:
        self.gap_w = gap_w
        self.tolerance_w = tolerance_w
        self.error_w = abs(gap_w)
        self.moves: tuple[int, ...] = ()

    def offer(self, error_w: float, moves: tuple[int, ...]) -> None:
        if error_w < self.error_w:
            self.error_w = error_w
            self.moves = moves

    def is_enough(self) -> bool:
        return self.error_w <= self.tolerance_w


def close_gap(candidates: Candidates, gap_w: float, tolerance_w: float) -> tuple[tuple[int, ...], float]:
    """The moves (positions in `candidates`) whose power together is nearest to `gap_w`, and the error they leave.

    More moves are only tried while the error is above `tolerance_w`; no move at all is an answer too.
    """
    best = _Best(gap_w, tolerance_w)
    if not best.is_enough():
        _try_single(candidates, best)
    cheap = np.argsort(candidates.loss, kind="stable")
    if not best.is_enough():
        _try_pairs(candidates, cheap[candidates.room[cheap] >= 2][:MAX_MOVES], best)
    if not best.is_enough():
        _try_fours(candidates, cheap[candidates.room[cheap] >= MOST_MOVES], best)
    return best.moves, best.error_w


def _error(candidates: Candidates, total_w: Floats, gap_w: float) -> Floats:
    lowest_w, highest_w = candidates.reach_w
    return np.where((total_w >= lowest_w) & (total_w <= highest_w), np.abs(total_w - gap_w), np.inf)


def _try_single(candidates: Candidates, best: _Best) -> None:
    usable = np.flatnonzero(candidates.room >= 1)
    if len(usable) == 0:
        return
    error_w = _error(candidates, candidates.delta_w[usable], best.gap_w)
    k = int(error_w.argmin())
    best.offer(float(error_w[k]), (int(usable[k]),))


def _try_pairs(candidates: Candidates, pool: Ints, best: _Best) -> None:
    if len(pool) < 2:
        return
    delta_w = candidates.delta_w[pool]
    unit = candidates.unit[pool]
    error_w = _error(candidates, delta_w[:, None] + delta_w, best.gap_w)
    error_w[unit[:, None] == unit] = np.inf
    first, second = divmod(int(error_w.argmin()), len(pool))
    best.offer(float(error_w[first, second]), (int(pool[first]), int(pool[second])))


def _try_fours(candidates: Candidates, pool: Ints, best: _Best) -> None:
    picked = _of_all_sizes(candidates, pool)
    if len(picked) < 2:
        return
    # A move of nothing makes threes of fours.
    delta_w = np.append(candidates.delta_w[picked], 0.0)
    unit = np.append(candidates.unit[picked], -1)
    one, two = np.triu_indices(len(delta_w), 1)
    differ = unit[one] != unit[two]
    one, two = one[differ], two[differ]
    pair_w = delta_w[one] + delta_w[two]
    error_w = _error(candidates, pair_w[:, None] + pair_w, best.gap_w)
    first, second = unit[one], unit[two]
    shared = (first[:, None] == first) | (first[:, None] == second) | (second[:, None] == first) | (second[:, None] == second)
    error_w[shared] = np.inf
    left, right = divmod(int(error_w.argmin()), len(pair_w))
    moves = (one[left], two[left], one[right], two[right])
    best.offer(float(error_w[left, right]), tuple(int(picked[m]) for m in moves if m < len(picked)))


def _of_all_sizes(candidates: Candidates, pool: Ints) -> Ints:
    """A few of the pool's moves: the cheapest of every size of step, then the second of every size, until there are enough."""
    if len(pool) == 0:
        return pool
    delta_w = candidates.delta_w[pool]
    bucket = np.round(delta_w / max(float(np.abs(delta_w).max()), 1e-9) * (SIZES // 2)).astype(np.int64)
    order = np.lexsort((np.arange(len(pool)), bucket))
    starts = np.searchsorted(bucket[order], bucket[order])
    rank = np.empty(len(pool), np.int64)
    rank[order] = np.arange(len(pool)) - starts
    picked: Ints = pool[np.lexsort((np.arange(len(pool)), rank))[:MAX_IN_FOURS]]
    return picked
