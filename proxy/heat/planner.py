"""Two days ahead in one linear program: what heat comes from units, storage tank and back-up boiler, and at what price.

Pure: what is known of the next blocks goes in (horizon makes it), a plan comes out. The fleet is segments of power whose worth of
work falls from one to the next, which is what dispatch would choose anyway. Where a tank leaves a choice, moving the fleet's power
costs what the level changes wear, else one of many equally cheap plans would be taken: one that jumps. Heat that cannot be had is
planned as missing, at a price above everything else, so that a plan for a hard day still is the best one; and it says in words what
is short. Not here: clocks, threads (outlook), which unit does it (dispatch), safety.
"""

from collections.abc import Sequence

import highspy
import numpy as np
import numpy.typing as npt

from proxy.heat.plan import Block, Boiler, NoPlan, Plan, PlannedBlock, Problem, Segment, limits_w, power_text
from proxy.heat.shortage import shortfalls

Floats = npt.NDArray[np.float64]

# Heat moved into and out of the tank costs this much, so that nothing is moved for nothing when prices are flat (pumps cost more).
MOVE_PER_KWH = 1e-4
# Missing heat, heat nobody wants, and a tank emptier than at the start cost so many times the highest real price.
SHORT_FACTOR = 100.0
END_FACTOR = 10.0
# A boiler that is the last resort comes after everything else and before those, whatever its fuel costs.
LAST_FACTOR = 2.0
# Power that leaves less than the reserve costs this part of the highest real price more: a tank is used first, but no boiler.
RESERVE_FACTOR = 0.1
# A price of heat beyond so many times the highest real price is one of those penalties, and no price.
REAL_FACTOR = 4.0
# A plan that takes longer than this is no plan: the next one is due.
TIME_LIMIT_S = 30.0
# Bounds below a milliwatt (in the LP's kilowatts) are rounding dust.
DUST = 1e-6


class _Layout:
    """Where each variable of each block stands. Powers in kW, energies in kWh: numbers near 1 keep the solver exact."""

    def __init__(self, problem: Problem) -> None:
        self.count = len(problem.blocks)
        self.segments = len(problem.fleet.segments)
        tank = problem.tank
        self.content_kwh = None
        if tank is not None and tank.content_wh is not None and tank.capacity_wh > 0:
            self.content_kwh = min(max(tank.content_wh, 0.0), tank.capacity_wh) / 1000
        names = ["power", "charge", "discharge", "content", "boiler", "short", "surplus", "rise", "fall", "reserve"]
        self.offset = {name: self.segments + position for position, name in enumerate(names)}
        self.width = self.segments + len(names)
        # The last column of all: how much emptier the tank ends than it began.
        self.end_short = self.count * self.width
        self.columns = self.end_short + 1

    def at(self, name: str, block: int) -> int:
        """Column of a variable of a block."""
        return block * self.width + self.offset[name]

    def all(self, name: str) -> npt.NDArray[np.int64]:
        """Columns of a variable over all blocks."""
        return np.arange(self.count) * self.width + self.offset[name]


class _Rows:
    """Constraints as they are added: lower <= sum of coefficient x column <= upper."""

    def __init__(self) -> None:
        self.lower: list[float] = []
        self.upper: list[float] = []
        self.starts: list[int] = []
        self.index: list[int] = []
        self.value: list[float] = []

    def add(self, lower: float, upper: float, terms: Sequence[tuple[int, float]]) -> int:
        """One more; its number."""
        self.starts.append(len(self.index))
        for column, coefficient in terms:
            self.index.append(column)
            self.value.append(coefficient)
        self.lower.append(lower)
        self.upper.append(upper)
        return len(self.lower) - 1


class _SilentSolver(highspy.Highs):
    """The solver without its banner: the constructor prints it when it enables callbacks, among the log's lines of JSON."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # it alone has no annotations

    def enableCallbacks(self) -> None:  # noqa: N802  # the solver's name
        self.setOptionValue("output_flag", False)
        super().enableCallbacks()  # type: ignore[no-untyped-call]  # as above


def solve(problem: Problem) -> Plan | NoPlan:
    """The cheapest plan, or why there is none. Takes tens of milliseconds; lets other threads run while the solver works.

    Never raises for a problem whose numbers are finite.
    """
    reasons = _contradictions(problem)
    if reasons:
        return NoPlan(reasons)
    layout = _Layout(problem)
    hours = np.array([block.length_s for block in problem.blocks]) / 3600
    top = _highest_price(problem)
    lower, upper = _bounds(problem, layout)
    cost = _costs(problem, layout, hours, top)
    rows = _Rows()
    balance = _constrain(problem, layout, hours, rows)
    solved = _run(layout.columns, cost, lower, upper, rows)
    if isinstance(solved, NoPlan):
        return solved
    values, duals = solved
    return _plan_of(problem, layout, hours, values, duals[balance] / hours, top)


def _contradictions(problem: Problem) -> tuple[str, ...]:
    """What no plan could keep."""
    reasons = []
    if not problem.blocks:
        reasons.append("nothing is known of the time ahead: send a demand or a demand schedule")
    if problem.max_power_w is not None and problem.max_power_w < problem.fleet.asleep_w:
        reasons.append(
            f"the cap of {power_text(problem.max_power_w)} is below the {power_text(problem.fleet.asleep_w)} that the units draw "
            "asleep: raise the cap"
        )
    return tuple(reasons)


def _highest_price(problem: Problem) -> float:
    """What a kWh of heat can cost at most in earnest: more than any price and any worth of work per kWh in the problem."""
    worth = [abs(_worth_per_kwh(segment, block)) for segment in problem.fleet.segments for block in problem.blocks]
    power = [abs(block.electricity_per_kwh) for block in problem.blocks]
    boiler = [] if problem.boiler is None else [problem.boiler.per_kwh]
    return (max(worth, default=0.0) + max(power)) / problem.thermal_efficiency + max(boiler, default=0.0) + 0.01


def _worth_per_kwh(segment: Segment, block: Block) -> float:
    """What the work of a kWh (electrical) in this segment earns."""
    return segment.hashrate_hps / 1e12 / (segment.power_w / 1000) * block.work_per_th_day / 24


def _bounds(problem: Problem, layout: _Layout) -> tuple[Floats, Floats]:
    lower, upper = np.zeros(layout.columns), np.zeros(layout.columns)
    least_w, most_w = limits_w(problem)
    for position, segment in enumerate(problem.fleet.segments):
        upper[position : layout.end_short : layout.width] = segment.power_w / 1000
    lower[layout.all("power")] = least_w / 1000
    upper[layout.all("power")] = most_w / 1000
    tank, boiler = problem.tank, problem.boiler
    if tank is not None and layout.content_kwh is not None:
        upper[layout.all("charge")] = upper[layout.all("discharge")] = tank.max_charge_w / 1000
        upper[layout.all("content")] = tank.capacity_wh / 1000
        upper[layout.end_short] = layout.content_kwh
    if boiler is not None:
        upper[layout.all("boiler")] = boiler.max_w / 1000
    upper[layout.all("reserve")] = most_w * problem.reserve / (1 + problem.reserve) / 1000
    for name in ("short", "surplus", "rise", "fall"):
        upper[layout.all(name)] = highspy.kHighsInf
    return lower, upper


def _costs(problem: Problem, layout: _Layout, hours: Floats, top: float) -> Floats:
    cost = np.zeros(layout.columns)
    electricity = np.array([block.electricity_per_kwh for block in problem.blocks])
    cost[layout.all("power")] = electricity * hours
    for position, segment in enumerate(problem.fleet.segments):
        worth = np.array([_worth_per_kwh(segment, block) for block in problem.blocks])
        cost[position : layout.end_short : layout.width] = -worth * hours
    cost[layout.all("charge")] = cost[layout.all("discharge")] = MOVE_PER_KWH * hours
    if problem.boiler is not None:
        cost[layout.all("boiler")] = (LAST_FACTOR * top if problem.boiler.is_last else problem.boiler.per_kwh) * hours
    if layout.content_kwh is not None or (problem.boiler is not None and not problem.boiler.is_last):
        # Only where there is a choice: what the demand alone decides must not show in the price of heat.
        cost[layout.all("rise")] = cost[layout.all("fall")] = problem.change_per_kw
        cost[layout.all("reserve")] = RESERVE_FACTOR * top * hours
    cost[layout.all("short")] = cost[layout.all("surplus")] = SHORT_FACTOR * top * hours
    cost[layout.end_short] = END_FACTOR * top
    return cost


def _constrain(problem: Problem, layout: _Layout, hours: Floats, rows: _Rows) -> list[int]:
    """Add every constraint; the rows that balance the heat of each block."""
    balance = []
    tank = problem.tank
    steady_kw = limits_w(problem)[1] / (1 + problem.reserve) / 1000
    for k, block in enumerate(problem.blocks):
        drawn = [(layout.width * k + position, -1.0) for position in range(layout.segments)]
        asleep_kw = problem.fleet.asleep_w / 1000
        rows.add(asleep_kw, asleep_kw, [(layout.at("power", k), 1.0), *drawn])
        heat = [("power", problem.thermal_efficiency), ("discharge", 1.0), ("boiler", 1.0), ("short", 1.0)]
        terms = [(layout.at(name, k), part) for name, part in [*heat, ("charge", -1.0), ("surplus", -1.0)]]
        demand_kw = block.demand_w / 1000
        balance.append(rows.add(demand_kw, demand_kw, terms))
        rows.add(-highspy.kHighsInf, steady_kw, [(layout.at("power", k), 1.0), (layout.at("reserve", k), -1.0)])
        _limit_ramp(problem, layout, k, rows)
        _follow_changes(problem, layout, k, rows)
        if tank is None or layout.content_kwh is None:
            continue
        kept = (1 - tank.loss_per_day) ** (block.length_s / 86_400)
        moved = [(layout.at("content", k), 1.0), (layout.at("charge", k), -hours[k]), (layout.at("discharge", k), hours[k])]
        if k == 0:
            rows.add(layout.content_kwh * kept, layout.content_kwh * kept, moved)
        else:
            rows.add(0.0, 0.0, [*moved, (layout.at("content", k - 1), -kept)])
    if layout.content_kwh is not None:
        last = layout.at("content", layout.count - 1)
        rows.add(layout.content_kwh, highspy.kHighsInf, [(last, 1.0), (layout.end_short, 1.0)])
    return balance


def _limit_ramp(problem: Problem, layout: _Layout, k: int, rows: _Rows) -> None:
    """Means of neighbouring blocks differ by what the ramp does in the time between their middles."""
    block = problem.blocks[k]
    kw_per_s = problem.ramp_w_per_min / 60_000
    now = (layout.at("power", k), 1.0)
    if k == 0:
        if problem.power_now_w is not None:
            least_w, most_w = limits_w(problem)
            # A fleet outside its own limits comes back into them at once: safety does not wait for a ramp.
            start_kw = min(max(problem.power_now_w, least_w), most_w) / 1000
            step_kw = kw_per_s * block.length_s / 2
            rows.add(start_kw - step_kw, start_kw + step_kw, [now])
        return
    step_kw = kw_per_s * (problem.blocks[k - 1].length_s + block.length_s) / 2
    rows.add(-step_kw, step_kw, [now, (layout.at("power", k - 1), -1.0)])


def _follow_changes(problem: Problem, layout: _Layout, k: int, rows: _Rows) -> None:
    """Rise and fall of a block: power = power before + rise - fall. A fleet whose power is unknown may begin anywhere."""
    terms = [(layout.at("power", k), 1.0), (layout.at("rise", k), -1.0), (layout.at("fall", k), 1.0)]
    if k > 0:
        rows.add(0.0, 0.0, [*terms, (layout.at("power", k - 1), -1.0)])
    elif problem.power_now_w is not None:
        start_kw = problem.power_now_w / 1000
        rows.add(start_kw, start_kw, terms)


def _without_dust(values: Floats) -> Floats:
    """The solver fails on numbers that are almost nothing."""
    return np.where(np.abs(values) < DUST, 0.0, values)


def _run(columns: int, cost: Floats, lower: Floats, upper: Floats, rows: _Rows) -> tuple[Floats, Floats] | NoPlan:
    """Values of the columns and duals of the rows."""
    program = highspy.HighsLp()
    program.num_col_ = columns
    program.num_row_ = len(rows.lower)
    program.col_cost_ = cost
    program.col_lower_ = _without_dust(lower)
    program.col_upper_ = _without_dust(upper)
    program.row_lower_ = _without_dust(np.array(rows.lower))
    program.row_upper_ = _without_dust(np.array(rows.upper))
    program.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    program.a_matrix_.start_ = np.array([*rows.starts, len(rows.index)], np.int32)
    program.a_matrix_.index_ = np.array(rows.index, np.int32)
    program.a_matrix_.value_ = np.array(rows.value)
    solver = _SilentSolver()
    # One thread: the others are needed for shares. Interior point with crossover: a tank makes the simplex methods stall on a week
    # of short blocks, for minutes where this takes a second.
    for option, value in (("solver", "ipm"), ("threads", 1), ("time_limit", TIME_LIMIT_S)):
        solver.setOptionValue(option, value)
    solver.passModel(program)
    solver.run()
    status = solver.getModelStatus()
    if status != highspy.HighsModelStatus.kOptimal:
        return NoPlan((f"the solver found no plan: {solver.modelStatusToString(status).lower()}",))
    found = solver.getSolution()
    return np.array(found.col_value), np.array(found.row_dual)


def _price(dual: float, boiler: Boiler | None, top: float) -> float | None:
    """What a kWh really costs where the balance has this dual. The boiler of last resort counts with its own price again."""
    if abs(dual) > REAL_FACTOR * top:
        return None
    if boiler is not None and boiler.is_last and dual > top:
        return dual / (LAST_FACTOR * top) * boiler.per_kwh
    return dual


def _plan_of(problem: Problem, layout: _Layout, hours: Floats, values: Floats, prices: Floats, top: float) -> Plan:
    def watts(name: str) -> Floats:
        found: Floats = values[layout.all(name)] * 1000
        return found

    power_w, charge_w = watts("power"), watts("charge") - watts("discharge")
    backup_w, short_w, surplus_w, content_wh = watts("boiler"), watts("short"), watts("surplus"), watts("content")
    per_kwh = 0.0 if problem.boiler is None else problem.boiler.per_kwh
    electricity = np.array([block.electricity_per_kwh for block in problem.blocks]) * power_w / 1000 * hours
    backup = per_kwh * backup_w / 1000 * hours
    work = np.zeros(layout.count)
    for position, segment in enumerate(problem.fleet.segments):
        worth = np.array([_worth_per_kwh(segment, block) for block in problem.blocks])
        work += worth * values[position : layout.end_short : layout.width] * hours
    blocks = tuple(
        PlannedBlock(
            start_unix_s=block.start_unix_s,
            length_s=block.length_s,
            demand_w=block.demand_w,
            units_heat_w=float(power_w[k]) * problem.thermal_efficiency,
            power_w=float(power_w[k]),
            tank_charge_w=float(charge_w[k]),
            tank_wh=None if layout.content_kwh is None else float(content_wh[k]),
            backup_w=float(backup_w[k]),
            short_w=float(short_w[k]),
            surplus_w=float(surplus_w[k]),
            electricity_per_kwh=block.electricity_per_kwh,
            work_per_th_day=block.work_per_th_day,
            price_of_heat_per_kwh=_price(float(prices[k]), problem.boiler, top),
            cost=float(electricity[k] + backup[k] - work[k]),
        )
        for k, block in enumerate(problem.blocks)
    )
    return Plan(
        blocks=blocks,
        electricity_cost=float(electricity.sum()),
        work_revenue=float(work.sum()),
        backup_cost=float(backup.sum()),
        shortfalls=shortfalls(problem, blocks),
    )
