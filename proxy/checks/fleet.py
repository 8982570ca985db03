"""Rules about the plant of a site file: models, loops, units, and the bytes that every unit's coordinates take.

Pure, like `rules`, whose other half this is.
"""

import ipaddress
import math
from collections.abc import Sequence

from proxy.checks.report import Report
from proxy.config import Level, Loop, Model, SiteConfig, Unit, api_port, starving_is_unsafe
from proxy.work.geometry import Geometry, seconds_to_exhaust

# The smallest extranonce2 that pools are known to give. What a pool really gives is only known once it is connected.
SMALLEST_POOL_EXTRANONCE2 = 4


def check_fleet(config: SiteConfig, report: Report) -> None:
    """Run every rule about the plant. Mistakes and warnings end in `report`."""
    for rule in (_models, _loops_and_units, _unit_addresses, _worker_names, _geometry):
        rule(config, report)


def offered_version_mask(config: SiteConfig) -> int:
    """The version bits that every unit may roll whatever pool it works for: what all pools and the listener have in common."""
    mask = _hex(config.listen.version_mask)
    for pool in config.pools:
        mask &= _hex(pool.version_mask)
    return mask


def rated_power_w(config: SiteConfig, unit: Unit) -> float:
    """What a unit draws on its highest level; 0 for an unknown model."""
    model = config.models.get(unit.model)
    return max((level.power_w for level in model.levels), default=0.0) if model else 0.0


def _hex(mask: str) -> int:
    try:
        return int(mask, 16)
    except ValueError:
        return 0


def _models(config: SiteConfig, report: Report) -> None:
    used = {unit.model for unit in config.units}
    for name, model in config.models.items():
        path = f"models.{name}"
        if name not in used:
            report.warn(path, "no unit is of this model")
        _levels(model, path, report)
        unsafe = starving_is_unsafe(model)
        if model.may_starve and unsafe is not None:
            report.mistake(
                f"{path}.may_starve",
                f"{unsafe}: record it on one machine (`thermostratum profile-unit`, with --unit), or take may_starve away",
            )
        report.unique(((f"{path}.levels[{i}].name", level.name) for i, level in enumerate(model.levels)), "name each level once")
        report.unique(
            ((f"{path}.levels[{i}].setting", str(level.setting)) for i, level in enumerate(model.levels)),
            "each level needs its own setting, or the driver cannot tell them apart",
        )


def _levels(model: Model, path: str, report: Report) -> None:
    """Power rises from level to level, and more power never means less work: dispatch counts on both."""
    before_w, before_hps = model.sleep_power_w, 0.0
    for index, level in enumerate(model.levels):
        if level.power_w <= before_w:
            below = f"levels[{index - 1}]" if index else "sleep_power_w"
            report.mistake(
                f"{path}.levels[{index}].power_w",
                f"{level.power_w:g} is not above {below} ({before_w:g}); list levels by rising power",
            )
        if level.hashrate_hps < before_hps:
            report.mistake(
                f"{path}.levels[{index}].hashrate_hps", f"{level.hashrate_hps:g} is below levels[{index - 1}] ({before_hps:g})"
            )
        before_w, before_hps = level.power_w, level.hashrate_hps


def _loops_and_units(config: SiteConfig, report: Report) -> None:
    units = list(enumerate(config.units))
    report.unique(((f"loops[{i}].name", loop.name) for i, loop in enumerate(config.loops)), "give each loop its own name")
    report.unique(((f"units[{i}].id", unit.id) for i, unit in units), "give each unit its own id")
    report.unique(((f"units[{i}].serial", unit.serial) for i, unit in units), "a serial number is one machine's")
    loops = [loop.name for loop in config.loops]
    models = list(config.models)
    pools = [pool.name for pool in config.pools]
    for index, unit in units:
        report.exists(f"units[{index}].loop", unit.loop, loops, "[[loops]] called")
        report.exists(f"units[{index}].model", unit.model, models, "[models.NAME] called")
        if unit.pool is not None:
            report.exists(f"units[{index}].pool", unit.pool, pools, "[[pools]] called")
    used = {unit.loop for unit in config.units}
    for index, loop in enumerate(config.loops):
        if loop.name not in used:
            report.warn(f"loops[{index}]", f'no unit is in loop "{loop.name}"')
        _loop_cap(config, loop, f"loops[{index}].max_power_w", report)


def _loop_cap(config: SiteConfig, loop: Loop, path: str, report: Report) -> None:
    """A cap below the smallest step of every unit can never be used."""
    lowest = [level.power_w for unit in config.units if unit.loop == loop.name for level in _levels_of(config, unit)]
    if loop.max_power_w is not None and lowest and loop.max_power_w < min(lowest):
        report.warn(
            path, f"{loop.max_power_w:g} W is below the lowest level of every unit in the loop ({min(lowest):g} W): it stays asleep"
        )


def _levels_of(config: SiteConfig, unit: Unit) -> Sequence[Level]:
    model = config.models.get(unit.model)
    return model.levels if model else []


def _unit_addresses(config: SiteConfig, report: Report) -> None:
    places: list[tuple[str, str | None]] = []
    for index, unit in enumerate(config.units):
        path = f"units[{index}].address"
        try:
            address = ipaddress.ip_address(unit.address)
        except ValueError:
            report.mistake(path, f'"{unit.address}" is no IP address; a unit is found by its address, not by a name')
            continue
        if address.is_unspecified or address.is_multicast:
            report.mistake(path, f'"{unit.address}" is no address of one machine')
        model = config.models.get(unit.model)
        places.append((path, f"{address} port {api_port(unit, model) if model else unit.api_port}"))
    report.unique(places, "two units cannot be one machine")


def _worker_names(config: SiteConfig, report: Report) -> None:
    units = list(enumerate(config.units))
    report.unique(
        ((f"units[{i}].worker", unit.worker or unit.id) for i, unit in units),
        "shares are booked to a unit by its worker name",
    )
    longest_user = max((len(pool.user) for pool in config.pools), default=0)
    cut: dict[str, list[int]] = {}
    for index, unit in units:
        model = config.models.get(unit.model)
        if model is None:
            continue
        name = unit.worker or unit.id
        if len(name) > model.worker_name_limit:
            report.mistake(
                f"units[{index}].worker",
                f"has {len(name)} characters; {unit.model} cuts it after {model.worker_name_limit} (worker_name_limit)",
            )
        elif longest_user + 1 + len(name) > model.worker_name_limit:
            cut.setdefault(unit.model, []).append(index)
    for name, indexes in cut.items():
        limit = config.models[name].worker_name_limit
        report.warn(
            f"units[{indexes[0]}].worker",
            f"pool account and worker name together exceed the {limit} characters that {name} keeps ({len(indexes)} units):"
            " set on the machine as account.worker it would be cut",
        )


def _geometry(config: SiteConfig, report: Report) -> None:
    listen = config.listen
    geometry = Geometry(listen.unit_id_bytes, listen.extranonce2_bytes)
    ids = 256**listen.unit_id_bytes
    if len(config.units) > ids:
        report.mistake(
            "listen.unit_id_bytes", f"{listen.unit_id_bytes} bytes are {ids:,} units, but there are {len(config.units):,}; raise it"
        )
    elif len(config.units) * 1.25 > ids:
        # A unit that reconnects takes a new id while the old one rests.
        report.warn(
            "listen.unit_id_bytes", f"{len(config.units):,} units leave less than a quarter of {ids:,} ids for reconnecting"
        )
    if listen.max_connections > ids and listen.unit_id_bytes < 3:
        report.warn("listen.max_connections", f"only {ids:,} units can have an id (unit_id_bytes = {listen.unit_id_bytes})")
    total = listen.unit_id_bytes + listen.extranonce2_bytes
    if total > SMALLEST_POOL_EXTRANONCE2:
        report.warn(
            "listen.extranonce2_bytes",
            f"{total} bytes with unit_id_bytes: a pool that gives {SMALLEST_POOL_EXTRANONCE2} bytes of extranonce2 cannot be used",
        )
    mask = offered_version_mask(config)
    for name, model in config.models.items():
        top_hps = max((level.hashrate_hps for level in model.levels), default=0.0)
        seconds = seconds_to_exhaust(geometry, mask, top_hps) if top_hps > 0 else math.inf
        if seconds < listen.keepalive_job_s:
            report.warn(
                f"models.{name}",
                f"searches a whole job in {seconds:.3g} s (version mask {mask:08x}), before the next one comes: raise"
                " listen.extranonce2_bytes or let every pool roll more version bits",
            )
