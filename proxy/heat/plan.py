"""A plan of the time ahead and what it is made from: records of planner, horizon and outlook.

Powers are watts, electrical where they are called power, heat where they are called heat, demand, charge or backup. A block is one
stretch of time; unknown is None.
"""

import msgspec


class Segment(msgspec.Struct, frozen=True, gc=False):
    """A piece of the fleet's power and the hashrate it adds, both in full. The best hashrate for a watt comes first."""

    power_w: float
    hashrate_hps: float


class Fleet(msgspec.Struct, frozen=True, gc=False):
    """What the units can do: `asleep_w` they draw whatever is planned; `step_w` is one level of one unit, on average."""

    asleep_w: float
    segments: tuple[Segment, ...]
    step_w: float | None = None

    @property
    def most_w(self) -> float:
        """Power of all segments together."""
        return self.asleep_w + sum(segment.power_w for segment in self.segments)


class Learned(msgspec.Struct, frozen=True):
    """What heat control has found out about the plant: what a plan should count with instead of the site file's numbers.

    `heat_w`: the heat the units give once they are where they were told to be, None before the first look at the fleet.
    `power_scale`: real to nameplate power of the levels. `loop_caps_w`: each loop's cap now, that of its interlocks included.
    """

    efficiency: float
    power_scale: float
    heat_w: float | None
    loop_caps_w: dict[str, float | None]


class Tank(msgspec.Struct, frozen=True, gc=False):
    """A storage tank. `content_wh` None is unknown: then nothing is planned in or out of it."""

    capacity_wh: float
    max_charge_w: float
    loss_per_day: float
    content_wh: float | None


class Boiler(msgspec.Struct, frozen=True, gc=False):
    """The back-up boiler. `is_last`: it covers what nothing else can, whatever its price is."""

    max_w: float
    per_kwh: float
    is_last: bool = True


class Block(msgspec.Struct, frozen=True, gc=False):
    """One stretch of time and what is known of it. `demand_w` is heat at the boundary, prices are of that stretch."""

    start_unix_s: float
    length_s: float
    demand_w: float
    electricity_per_kwh: float
    work_per_th_day: float


class Problem(msgspec.Struct, frozen=True):
    """All that a plan is made from. `power_now_w` None: no ramp into the plan.

    `change_per_kw`: the wear of moving a kW of power. `reserve`: head-room kept for lost units, as part of what is planned.
    """

    blocks: tuple[Block, ...]
    fleet: Fleet
    thermal_efficiency: float
    min_power_w: float
    max_power_w: float | None
    ramp_w_per_min: float
    power_now_w: float | None
    tank: Tank | None
    boiler: Boiler | None
    change_per_kw: float = 0.0
    reserve: float = 0.0


class PlannedBlock(msgspec.Struct, frozen=True, gc=False):
    """One block of a plan: means over the block; `tank_wh` at its end, None while its content is unknown.

    units_heat_w + backup_w + short_w = demand_w + tank_charge_w + surplus_w. A negative charge empties the tank.
    `price_of_heat_per_kwh` is what one more kWh at the boundary would cost; None where no amount of money gets it.
    `cost` is electricity and boiler less the worth of work.
    """

    start_unix_s: float
    length_s: float
    demand_w: float
    units_heat_w: float
    power_w: float
    tank_charge_w: float
    tank_wh: float | None
    backup_w: float
    short_w: float
    surplus_w: float
    electricity_per_kwh: float
    work_per_th_day: float
    price_of_heat_per_kwh: float | None
    cost: float


class Shortfall(msgspec.Struct, frozen=True, gc=False):
    """A stretch where the heat asked for cannot be had, or (`is_surplus`) where too much would be made. `text` says why."""

    start_unix_s: float
    end_unix_s: float
    most_w: float
    energy_wh: float
    is_surplus: bool
    text: str


class Plan(msgspec.Struct, frozen=True):
    """A plan. Without `shortfalls` all is well."""

    blocks: tuple[PlannedBlock, ...]
    electricity_cost: float
    work_revenue: float
    backup_cost: float
    shortfalls: tuple[Shortfall, ...]

    @property
    def heat_kwh(self) -> float:
        """Heat the utility gets in all blocks together."""
        return sum((block.demand_w - block.short_w) * block.length_s for block in self.blocks) / 3.6e6

    @property
    def end_unix_s(self) -> float:
        """When the last block ends."""
        return self.blocks[-1].start_unix_s + self.blocks[-1].length_s

    def block_at(self, unix_s: float) -> PlannedBlock | None:
        """The block that holds this moment."""
        return next((block for block in self.blocks if 0 <= unix_s - block.start_unix_s < block.length_s), None)


class NoPlan(msgspec.Struct, frozen=True):
    """Why there is no plan, one line a reason, each with what to do."""

    reasons: tuple[str, ...]


def limits_w(problem: Problem) -> tuple[float, float]:
    """Least and most electrical power. A cap wins over the minimum stable power, and so does what the fleet has."""
    most_w = problem.fleet.most_w if problem.max_power_w is None else min(problem.fleet.most_w, problem.max_power_w)
    return min(max(problem.min_power_w, problem.fleet.asleep_w), most_w), most_w


def clock_text(unix_s: float) -> str:
    """Hours and minutes of a time, UTC."""
    minutes = int(unix_s // 60) % 1_440
    return f"{minutes // 60:02}:{minutes % 60:02}"


def power_text(power_w: float) -> str:
    """A power for people."""
    return f"{power_w / 1000:,.1f} kW"
