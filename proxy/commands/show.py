"""Tables for a terminal: what a site file means (`check`) and what a running proxy does (`status`). It only formats."""

import math
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from proxy.checks.fleet import offered_version_mask, rated_power_w
from proxy.config import Loop, SiteConfig
from proxy.views import PoolView, SiteView
from proxy.work.geometry import Geometry, seconds_to_exhaust, smallest_pool_extranonce2

_UNKNOWN = "-"
_PREFIXES = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def show_site(path: Path, config: SiteConfig) -> None:
    """What the site file says, computed: geometry, search space, pools, loops, capacity."""
    console = _console()
    listen = config.listen
    geometry = Geometry(listen.unit_id_bytes, listen.extranonce2_bytes)
    capacity_w = sum(rated_power_w(config, unit) for unit in config.units)
    places = [text for text in (listen.v1, f"{listen.v1_tls} (TLS)" if listen.v1_tls else None) if text]
    cap = f", capped at {_kilowatts(config.heat.max_power_w)}" if config.heat.max_power_w else ""
    _facts(
        console,
        {
            "site": f"{config.site.name} ({path})",
            "miners": f"Stratum V1 at {' and '.join(places)}, at most {listen.max_connections:,} connections",
            "page and API": f"http://{config.api.listen}, {len(config.api.keys)} keys",
            "data": config.site.data_dir,
            "geometry": f"{geometry.unit_id_bytes} bytes unit id ({256**geometry.unit_id_bytes:,} units)"
            f" + {geometry.extranonce2_bytes} bytes rolled: every pool must give {smallest_pool_extranonce2(geometry)}",
            "version mask": f"{offered_version_mask(config):08x}, what all pools have in common",
            "heat": f"{len(config.units)} units, {_kilowatts(capacity_w)} electrical on the highest level{cap};"
            f" {_kilowatts(capacity_w * config.heat.thermal_efficiency)} into the water",
        },
    )
    console.print(_pool_plan(config))
    if config.loops:
        console.print(_loop_plan(config))
    if config.models:
        console.print(_model_plan(config, geometry))


def _pool_plan(config: SiteConfig) -> Table:
    table = _table("pool", "address", "account", "priority", "weight", "connections")
    for pool in sorted(config.pools, key=lambda each: each.priority):
        one_for = {"aggregated": "one", "grouped": f"one for {pool.group_size} units", "per_unit": "one a unit"}
        table.add_row(pool.name, pool.url, pool.user, str(pool.priority), f"{pool.weight:g}", one_for[pool.mode])
    return table


def _loop_plan(config: SiteConfig) -> Table:
    table = _table("loop", "units", "out for service", "highest", "cap")
    known = {loop.name for loop in config.loops}
    loops = [*config.loops, *(Loop(name=name) for name in sorted({unit.loop for unit in config.units} - known))]
    for loop in loops:
        units = [unit for unit in config.units if unit.loop == loop.name]
        table.add_row(
            loop.name,
            str(len(units)),
            str(sum(unit.in_service for unit in units)),
            _kilowatts(sum(rated_power_w(config, unit) for unit in units)),
            _kilowatts(loop.max_power_w),
        )
    return table


def _model_plan(config: SiteConfig, geometry: Geometry) -> Table:
    table = _table("model", "units", "levels", "highest", "one job lasts", "without version rolling")
    mask = offered_version_mask(config)
    for name, model in config.models.items():
        top = model.levels[-1]
        table.add_row(
            name,
            str(sum(unit.model == name for unit in config.units)),
            f"asleep, {', '.join(level.name for level in model.levels)}",
            f"{top.power_w:,.0f} W, {scaled(top.hashrate_hps, 'H/s')}",
            _duration(seconds_to_exhaust(geometry, mask, top.hashrate_hps)),
            _duration(seconds_to_exhaust(geometry, 0, top.hashrate_hps)),
        )
    return table


def show_status(view: SiteView) -> None:
    """One screen of a running site."""
    console = _console()
    heat, shares = view.heat, view.shares
    states = ", ".join(f"{count} {state}" for state, count in sorted(view.unit_states.items())) or "none"
    error = f", {heat.tracking_error:+.1%} from demand" if heat.tracking_error is not None else ""
    _facts(
        console,
        {
            "site": f"{view.name}, version {view.version}, up {_duration(view.uptime_s)}",
            "heat": f"{heat.ladder}: {_kilowatts(heat.heat_w)} ({heat.heat_quality}) of {_kilowatts(heat.demand_w)} asked{error}",
            "demand": f"from {heat.source}, {_duration(heat.demand_age_s)} old, valid {_duration(heat.demand_valid_for_s)} more"
            if heat.source
            else "nobody asks for heat",
            "power": f"{_kilowatts(heat.measured_power_w)} measured, {_kilowatts(heat.commanded_power_w)} commanded,"
            f" set-point {_kilowatts(heat.setpoint_power_w)}" + (f", limited by {heat.limiter}" if heat.limiter else ""),
            "units": f"{states}; {view.miners_connected} connected, {scaled(view.hashrate_hps, 'H/s')}",
            "shares": f"{shares.received:,} received, {shares.accepted:,} accepted by pools,"
            f" {shares.below_pool_target:,} below their target,"
            f" {sum(shares.rejected.values()):,} rejected here, {sum(shares.refused.values()):,} refused there,"
            f" {sum(shares.unknown.values()):,} unanswered, {shares.pending:,} under way",
            "ledger": view.ledger_state
            + ("" if shares.conservation_delta == 0 else f"; {shares.conservation_delta:+} shares unaccounted"),
        },
    )
    table = _table("pool", "state", "units", "difficulty", "last job", "accepted", "refused", "answers in")
    for pool in view.pools:
        table.add_row(*_pool_row(pool))
    console.print(table)


def _pool_row(pool: PoolView) -> list[str]:
    reason = f" ({pool.reason})" if pool.reason else ""
    return [
        f"{pool.name} *" if pool.active else pool.name,
        f"{pool.state}{reason}",
        str(pool.units),
        scaled(pool.difficulty, ""),
        _duration(pool.last_job_age_s),
        f"{pool.accepted:,}",
        f"{sum(pool.refused.values()):,}",
        _UNKNOWN if pool.submit_latency_s is None else f"{pool.submit_latency_s * 1_000:.0f} ms",
    ]


def _console() -> Console:
    # A pipe has no width: lines stay whole for grep instead of being folded at 80.
    console = Console(highlight=False, soft_wrap=False)
    return console if console.is_terminal else Console(highlight=False, width=200)


def _facts(console: Console, facts: dict[str, str]) -> None:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for name, text in facts.items():
        table.add_row(Text(name), Text(text))
    console.print(table)


def _table(*columns: str) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _kilowatts(power_w: float | None) -> str:
    return _UNKNOWN if power_w is None else f"{power_w / 1_000:,.1f} kW"


def scaled(value: float | None, unit: str) -> str:
    """`480 TH/s`: three figures with a decimal prefix; `-` for unknown."""
    if value is None:
        return _UNKNOWN
    for factor, prefix in _PREFIXES:
        if abs(value) >= factor:
            return f"{value / factor:.3g} {prefix}{unit}"
    return f"{value:.3g} {unit}".rstrip()


def _duration(seconds: float | None) -> str:
    """The largest fitting unit, for people."""
    if seconds is None:
        return _UNKNOWN
    if math.isinf(seconds):
        return "for ever"
    for size, name in ((31_557_600.0, "years"), (86_400.0, "days"), (3_600.0, "h"), (60.0, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:,.1f} {name}"
    return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
