"""Which unit runs at which level so that the whole site draws a target power at the least cost: a multiple-choice knapsack.

Every unit picks the level with the best `value + price * power`; one price for the whole site is found by bisection, a lower one
for each loop at its cap. Total power never falls when the price rises, whatever the limits, so more demand never means less power.
What is left after the price is closed by a few single moves (repair). The price found is the site's marginal price of power.

Pure. Not here: why a unit may not move (control says so), ramps (tracker), temperatures and last-line limits (safety).
"""

from collections.abc import Sequence
from typing import overload

import msgspec
import numpy as np
import numpy.typing as npt

from proxy.heat.repair import Candidates, close_gap
from proxy.units.unit import LevelFact

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

# The price is searched on a scale that is fine near 0 and ends where nothing but power counts (EUR/h for one watt).
_PRICE_LIMIT = 1e6
_PRICE_EXPONENT = 5
_PRICE_STEPS = 44
# EUR/h for one watt between the least and the most worn unit: orders equal units, far below any real difference.
_TILT = 1e-7
# Far below the difference that the tilt makes between two units.
_NUDGE = 1e-13
# The error that is worth a further level change, as a part of the target.
_TOLERANCE = 0.0004


class UnitChoice(msgspec.Struct, frozen=True, gc=False):
    """What one unit may do now. Level 0 is asleep.

    `locked`: cannot be commanded; `dwells`: may not change yet, but will. Both stay at `current`. `ceiling` is the highest level
    allowed; when it is below `current` the unit comes down whatever that costs. `rests`: may come down, but not go up yet. `floor`
    1 keeps a running unit awake, and wakes a sleeping one that `may_wake`. `drawn_w` is what a staying unit really draws (None: by
    its level). The more `wear`, the later a unit is chosen among equals.
    """

    loop: int
    levels: tuple[LevelFact, ...]
    current: int
    ceiling: int
    locked: bool = False
    dwells: bool = False
    rests: bool = False
    floor: int = 0
    may_wake: bool = True
    drawn_w: float | None = None
    wear: float = 0.0


class Limits(msgspec.Struct, frozen=True, gc=False):
    """Caps in watts (electrical) and the level changes allowed in this cycle, one entry a loop."""

    loop_names: tuple[str, ...]
    loop_caps_w: tuple[float | None, ...]
    loop_changes: tuple[int, ...]
    site_cap_w: float | None = None


class Prices(msgspec.Struct, frozen=True, gc=False):
    """What weighs against what, in the site's currency.

    `revenue_per_kwh` is what a kWh earns at the fleet's nameplate efficiency, so that better J/TH is worth more. `change` and
    `start` are the wear of one level change, and of one sleep or wake, spread over `hold_h`.
    """

    revenue_per_kwh: float = 0.129
    power_per_kwh: float = 0.045
    change: float = 0.02
    start: float = 0.06
    hold_h: float = 1.0


class Plan(msgspec.Struct, frozen=True, gc=False):
    """A level for every unit. `limiter` names what keeps `power_w` from the target, None when nothing does.

    `marginal_price_per_kwh` is what one more kWh (electrical) costs the site, negative when it earns; None at either end of the
    range. Head-room is what the same units could do within their caps after dwell times.
    """

    levels: tuple[int, ...]
    power_w: float
    changes: int
    marginal_price_per_kwh: float | None
    headroom_up_w: float
    headroom_down_w: float
    limiter: str | None


class _Table:
    """All units as arrays: rows are levels, columns units."""

    def __init__(self, units: Sequence[UnitChoice], limits: Limits, prices: Prices, scale: float) -> None:
        count = len(units)
        self.columns = np.arange(count)
        self.loop = np.fromiter((u.loop for u in units), np.int64, count)
        self.current = np.fromiter((u.current for u in units), np.int64, count)
        self.power, hashrate, self.reachable = _levels_of(units, scale)
        self.names = limits.loop_names
        self.loop_caps = np.array([np.inf if cap is None else cap for cap in limits.loop_caps_w], np.float64)
        self.loop_changes = np.array(limits.loop_changes, np.int64)
        self.site_cap = np.inf if limits.site_cap_w is None else limits.site_cap_w
        level = np.arange(len(self.power))[:, None]
        locked = np.fromiter((u.locked for u in units), np.bool_, count)
        # A ceiling below the present level does not wait for a dwell time.
        stays = np.fromiter((u.locked or (u.dwells and u.current <= u.ceiling) for u in units), np.bool_, count)
        drawn = np.fromiter((np.nan if u.drawn_w is None else u.drawn_w for u in units), np.float64, count)
        known = stays & ~np.isnan(drawn)
        self.power[self.current[known], self.columns[known]] = drawn[known]
        wakes = [u.may_wake and not u.rests for u in units]
        floor = np.fromiter(
            (min(u.floor, u.ceiling) if u.current > 0 or may else 0 for u, may in zip(units, wakes, strict=True)), np.int64, count
        )
        barred = np.fromiter((u.current == 0 and not may for u, may in zip(units, wakes, strict=True)), np.bool_, count)
        self.rests = np.fromiter((u.rests for u in units), np.bool_, count)
        menu = self.reachable & (level >= floor) & ((level == 0) | ~barred) & ((level <= self.current) | ~self.rests)
        self.allowed = np.where(stays, level == self.current, menu)
        self.reachable = np.where(locked, level == self.current, self.reachable)
        self.value = self._value(units, hashrate, prices)
        # A unit whose present level is not allowed any more must move: its move is free of the limit on changes.
        self.optional = self.allowed[self.current, self.columns]
        self._free_where_over_cap()

    def _free_where_over_cap(self) -> None:
        """Coming back under a cap does not wait for the pace of level changes."""
        now_w = self.loop_power(self.current)
        over = now_w > self.loop_caps
        if float(now_w.sum()) > self.site_cap:
            over[:] = True
        self.loop_changes[over] = len(self.columns)

    def _value(self, units: Sequence[UnitChoice], hashrate: Floats, prices: Prices) -> Floats:
        """What each level is worth in an hour, less what a change to it costs."""
        nameplate_w = self.power.max(axis=0, initial=0.0)
        total_hps = hashrate.max(axis=0, initial=0.0).sum()
        earned_per_hps = prices.revenue_per_kwh / 1000 * nameplate_w.sum() / total_hps if total_hps > 0 else 0.0
        value = hashrate * earned_per_hps - self.power * (prices.power_per_kwh / 1000)
        level = np.arange(len(self.power))[:, None]
        value -= (level != self.current) * (prices.change / prices.hold_h)
        value -= ((level == 0) != (self.current == 0)) * (prices.start / prices.hold_h)
        wear = np.fromiter((u.wear for u in units), np.float64, len(units))
        rank = np.empty(len(units))
        rank[np.argsort(-wear, kind="stable")] = np.arange(len(units))
        value += self.power * (rank * (_TILT / max(1, len(units))))
        return np.where(self.allowed, value, -np.inf)

    def choose(self, loop_price: Floats, paced: bool) -> Ints:
        """The best level of every unit at a price for each loop; `paced`: with at most the allowed changes in each loop."""
        score = self.value + self.power * loop_price[self.loop]
        choice: Ints = score.argmax(axis=0)
        changed = self.optional & (choice != self.current)
        if paced and self.is_too_many(choice):
            gain = score[choice, self.columns] - np.where(self.optional, score[self.current, self.columns], 0.0)
            order = np.lexsort((-gain, ~changed, self.loop))
            first = np.searchsorted(self.loop[order], np.arange(len(self.loop_changes)))
            rank = np.empty(len(order), np.int64)
            rank[order] = np.arange(len(order)) - first[self.loop[order]]
            stays = changed & (rank >= self.loop_changes[self.loop])
            choice[stays] = self.current[stays]
        return choice

    def changes_of(self, choice: Ints) -> Ints:
        """Level changes that count against the limit, by loop."""
        changed = self.optional & (choice != self.current)
        return np.bincount(self.loop[changed], minlength=len(self.loop_changes))

    def is_too_many(self, choice: Ints) -> bool:
        """Whether some loop would change more levels than it may in one cycle."""
        return bool((self.changes_of(choice) > self.loop_changes).any())

    def drawn(self, choice: Ints) -> Floats:
        """Power of every unit at its chosen level."""
        return self.power[choice, self.columns]

    def free_range(self) -> tuple[float, float]:
        """Prices between which no running unit wants to sleep and no sleeping one to wake."""
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = (self.value[0] - self.value[1:]) / (self.power[1:] - self.power[0])
        slope = np.where(self.allowed[0] & self.allowed[1:] & (self.power[1:] > self.power[0]), slope, np.nan)
        turning = np.min(slope, axis=0, initial=np.inf, where=~np.isnan(slope))
        known = np.isfinite(turning)
        sleeps = turning[known & (self.current > 0)]
        wakes = turning[known & (self.current == 0)]
        # At the turning price itself both are worth the same: stay clear of it.
        return float(sleeps.max(initial=-_PRICE_LIMIT)) + _NUDGE, float(wakes.min(initial=_PRICE_LIMIT)) - _NUDGE

    def loop_power(self, choice: Ints) -> Floats:
        """Power of every loop."""
        return np.bincount(self.loop, self.drawn(choice), minlength=len(self.loop_caps)).astype(np.float64)


class _Cell(msgspec.Struct, frozen=True):
    """The two plans next to an aim and the prices they have; `high` None: `low` is the end of what can be had."""

    low: Ints
    high: Ints | None
    left: float
    right: float


class _Curve:
    """Plans by price: the higher the price, the more power, loop by loop, and never beyond a loop's cap."""

    def __init__(self, table: _Table, paced: bool) -> None:
        self.table = table
        self.paced = paced
        self.caps = np.full(len(table.loop_caps), np.inf)
        self.caps = self._cap_prices()

    def at(self, price: float) -> Ints:
        """The plan at one price for the site."""
        return self.table.choose(np.minimum(price, self.caps), self.paced)

    def cell(self, aim_w: float) -> _Cell:
        """Bisect for the plans just below and just above the aim, always to the same fineness: equal aims share a cell."""
        low, high = self.at(-_PRICE_LIMIT), self.at(_PRICE_LIMIT)
        if float(self.table.drawn(low).sum()) >= aim_w:
            return _Cell(low, None, -_PRICE_LIMIT, -_PRICE_LIMIT)
        if float(self.table.drawn(high).sum()) <= aim_w:
            return _Cell(high, None, _PRICE_LIMIT, _PRICE_LIMIT)
        left, right = -1.0, 1.0
        for _ in range(_PRICE_STEPS):
            middle = (left + right) / 2
            choice = self.at(_price_at(middle))
            if float(self.table.drawn(choice).sum()) <= aim_w:
                left, low = middle, choice
            else:
                right, high = middle, choice
        return _Cell(low, high, _price_at(left), _price_at(right))

    def _cap_prices(self) -> Floats:
        """For every loop the highest price (found) at which it stays within its cap; infinite where the cap never binds."""
        table = self.table
        bound = table.loop_power(self.at(_PRICE_LIMIT)) > table.loop_caps
        if not bound.any():
            return self.caps
        low, high = -np.ones(len(self.caps)), np.ones(len(self.caps))
        for _ in range(_PRICE_STEPS):
            middle = (low + high) / 2
            over = table.loop_power(table.choose(_price_at(middle), self.paced)) > table.loop_caps
            high = np.where(over, middle, high)
            low = np.where(over, low, middle)
        return np.where(bound, _price_at(low), np.inf)


def dispatch(
    units: Sequence[UnitChoice], target_w: float, limits: Limits, prices: Prices | None = None, scale: float = 1.0
) -> Plan:
    """Choose a level for every unit: total power as near to `target_w` as can be, at the least cost, within all limits.

    `scale` corrects the levels' nameplate power. Same arguments, same plan. A cap that locked units alone exceed cannot be met:
    then everything else goes as low as it may, and the limiter says so. A target that is not a number counts as 0.
    """
    target_w = max(0.0, target_w) if target_w == target_w else 0.0
    if not units:
        return Plan((), 0.0, 0, None, 0.0, 0.0, "capacity" if target_w > 0 else None)
    table = _Table(units, limits, prices or Prices(), scale)
    aim_w = min(target_w, table.site_cap)
    curve = _Curve(table, paced=False)
    free = cell = curve.cell(aim_w)
    if table.is_too_many(free.low) or (free.high is not None and table.is_too_many(free.high)):
        curve = _Curve(table, paced=True)
        cell = _paced_cell(curve, free, aim_w)
    choice = cell.low if cell.high is None else _close(curve, cell, cell.high, aim_w)
    drawn_w = float(table.drawn(choice).sum())
    headroom_up_w, headroom_down_w = _headroom(table, choice, drawn_w)
    return Plan(
        levels=tuple(choice.tolist()),
        power_w=drawn_w,
        changes=int((choice != table.current).sum()),
        marginal_price_per_kwh=None if free.high is None else free.left * 1000,
        headroom_up_w=headroom_up_w,
        headroom_down_w=headroom_down_w,
        limiter=_limiter(table, choice, drawn_w, target_w, within=cell.high is not None),
    )


def _paced_cell(paced: _Curve, free: _Cell, aim_w: float) -> _Cell:
    """The plan with few changes, at a price that moves units further than the final plan would, but never to sleep or awake.

    Left to itself, a far aim would drive the price to its end and send the few units that may change to sleep, only to wake them
    again when the others have followed. The bounds all rise with the aim, so power does.
    """
    table = paced.table
    now_w = float(table.power[table.current, table.columns].sum())
    own, here = paced.cell(aim_w), paced.cell(now_w)
    sleep_price, wake_price = table.free_range()
    if aim_w < now_w:
        bound = min(here.left, free.left, sleep_price)
        reached = own.left >= bound
    else:
        bound = max(here.right, free.right, wake_price)
        reached = own.right <= bound
    return own if reached else _Cell(paced.at(bound), None, bound, bound)


def _levels_of(units: Sequence[UnitChoice], scale: float) -> tuple[Floats, Floats, Bools]:
    """Power, hashrate and permission by level and unit. Units of a model share their levels: each set is read once."""
    menus: dict[int, int] = {}
    facts: list[tuple[LevelFact, ...]] = []
    for unit in units:
        if id(unit.levels) not in menus:
            menus[id(unit.levels)] = len(facts)
            facts.append(unit.levels)
    height = max(len(levels) for levels in facts)
    menu_power = np.zeros((height, len(facts)))
    menu_hashrate = np.zeros((height, len(facts)))
    for k, levels in enumerate(facts):
        menu_power[: len(levels), k] = [fact.power_w for fact in levels]
        menu_hashrate[: len(levels), k] = [fact.hashrate_hps for fact in levels]
    menu = np.fromiter((menus[id(unit.levels)] for unit in units), np.int64, len(units))
    top = np.fromiter((min(unit.ceiling, len(unit.levels) - 1) for unit in units), np.int64, len(units))
    return menu_power[:, menu] * scale, menu_hashrate[:, menu], np.arange(height)[:, None] <= np.maximum(top, 0)


@overload
def _price_at(position: float) -> float: ...
@overload
def _price_at(position: Floats) -> Floats: ...
def _price_at(position: float | Floats) -> float | Floats:
    """The price at a position of the scale, -1 to 1."""
    return _PRICE_LIMIT * position**_PRICE_EXPONENT


def _close(curve: _Curve, cell: _Cell, high: Ints, aim_w: float) -> Ints:
    """From the plan below the aim towards the one above it, as near to the aim as a few moves get."""
    table = curve.table
    low_w = float(table.drawn(cell.low).sum())
    high_w = float(table.drawn(high).sum())
    loop_price = np.minimum(cell.left, curve.caps)
    moves, levels = _moves(table, loop_price, cell.low, min(high_w, table.site_cap) - low_w)
    picked, error_w = close_gap(moves, aim_w - low_w, _TOLERANCE * aim_w)
    if high_w <= table.site_cap and abs(high_w - aim_w) < error_w:
        return high
    choice = cell.low.copy()
    for position in picked:
        choice[moves.unit[position]] = levels[position]
    return choice


def _moves(table: _Table, loop_price: Floats, base: Ints, reach_w: float) -> tuple[Candidates, Ints]:
    """Every other level of every running unit as a candidate move away from `base`; nothing is woken or put to sleep for it."""
    level, unit = np.nonzero(table.allowed)
    usable = (level > 0) & (base[unit] > 0) & (level != base[unit])
    level, unit = level[usable], unit[usable]
    loop = table.loop[unit]
    score = table.value + table.power * loop_price[table.loop]
    delta_w = table.power[level, unit] - table.power[base[unit], unit]
    # Limits are shared between the moves of one closing: each takes at most its part.
    spare = (table.loop_changes - table.changes_of(base))[loop]
    adds = table.optional[unit] & (base[unit] == table.current[unit])
    by_changes = np.where(adds, spare, len(base))
    spare_w = np.maximum(0.0, (table.loop_caps - table.loop_power(base))[loop])
    by_cap = np.where(delta_w > 0, np.minimum(spare_w / np.maximum(delta_w, 1e-9), len(base)), len(base))
    return (
        Candidates(
            unit=unit,
            delta_w=delta_w,
            loss=score[base[unit], unit] - score[level, unit],
            room=np.minimum(by_changes, by_cap).astype(np.int64),
            reach_w=(0.0, reach_w),
        ),
        level,
    )


def _headroom(table: _Table, choice: Ints, drawn_w: float) -> tuple[float, float]:
    """How far the site's power could rise and fall from the plan once dwell times are over, within all caps."""
    highest = np.where(table.reachable, table.power, -np.inf).max(axis=0)
    lowest = np.where(table.reachable, table.power, np.inf).min(axis=0)
    planned = table.drawn(choice)
    by_loop = np.bincount(table.loop, np.maximum(highest, planned), minlength=len(table.loop_caps))
    top_w = min(float(np.minimum(by_loop, table.loop_caps).sum()), table.site_cap)
    return max(0.0, top_w - drawn_w), max(0.0, drawn_w - float(np.minimum(lowest, planned).sum()))


def _limiter(table: _Table, choice: Ints, drawn_w: float, target_w: float, within: bool) -> str | None:
    """Name what keeps the plan from the target; None when it is met as nearly as the levels allow."""
    over = np.flatnonzero(table.loop_power(choice) > table.loop_caps * (1 + 1e-9))
    if len(over):
        return f"loop {table.names[int(over[0])]} is over its cap with units that cannot move"
    if target_w > table.site_cap:
        return "site cap"
    if within or abs(drawn_w - target_w) <= _TOLERANCE * target_w:
        return None
    if drawn_w > target_w:
        lowest = np.where(table.reachable, table.power, np.inf).min(axis=0)
        return "units that cannot move" if float(lowest.sum()) >= drawn_w - 1e-6 else _pace(table, choice)
    full = np.flatnonzero(
        table.loop_power(table.choose(np.full(len(table.loop_caps), _PRICE_LIMIT), paced=False)) > table.loop_caps
    )
    if len(full):
        return f"loop {table.names[int(full[0])]} cap"
    highest = np.where(table.reachable, table.power, -np.inf).max(axis=0)
    return "capacity" if float(highest.sum()) <= drawn_w + 1e-6 else _pace(table, choice)


def _pace(table: _Table, choice: Ints) -> str:
    """Why units that could go further do not do so now."""
    if (table.changes_of(choice) >= table.loop_changes).any():
        return "level changes per cycle"
    return "units that rest" if table.rests.any() else "dwell times"
