"""Rules about Modbus and meters in a site file: who may write set-points, and whether each meter can be asked and says enough.

Pure, like `rules`.
"""

import ipaddress

from proxy.checks.net import Endpoint, is_wildcard, parse_endpoint
from proxy.checks.report import Report
from proxy.checks.tank import check_tank
from proxy.config import Meter, SiteConfig

BOUNDARY = "boundary"
# A network of more addresses than this is no list of controllers.
LARGEST_NETWORK = 65_536
# Batteries of M-Bus meters are made for this.
MBUS_PERIOD_S = 10.0
_LAST_REGISTER = 65_535
_LENGTHS = {"uint16": 1, "int16": 1, "float32": 2, "uint32": 2, "int32": 2, "uint64": 4}
_PROFILES = {"multical": frozenset({"heat_w", "flow_l_per_h", "supply_c", "return_c"}), "custom": frozenset[str]()}


def check_modbus(config: SiteConfig, report: Report) -> None:
    """[signals.modbus] and [[meters]]. Mistakes and warnings end in `report`."""
    _server(config, report)
    meters = config.meters
    report.unique(((f"meters[{i}].name", meter.name) for i, meter in enumerate(meters)), "give each meter its own name")
    asked = ((f"meters[{i}].address", f"{m.protocol} {m.address} device {m.device_id}") for i, m in enumerate(meters))
    report.unique(asked, "two meters of one address and device_id are one meter")
    for index, meter in enumerate(meters):
        _meter(meter, f"meters[{index}]", config, report)
    check_tank(config, report)
    _coverage(config, report)


def measured_by(meter: Meter) -> frozenset[str]:
    """The quantities a meter can be expected to give."""
    if meter.protocol == "mbus":
        return _PROFILES["multical"]  # it says itself what its values are; a heat meter has these
    return _PROFILES[meter.profile] | {register.quantity for register in meter.registers}


def _server(config: SiteConfig, report: Report) -> None:
    modbus = config.signals.modbus
    path = "signals.modbus"
    if modbus.listen is None:
        if modbus.allow:
            report.warn(f"{path}.allow", "has no effect: listen is not set")
        return
    endpoint = parse_endpoint(modbus.listen)
    if endpoint is None:
        report.mistake(f"{path}.listen", f'"{modbus.listen}" is no address to listen on; allowed: host:port, such as 10.20.0.5:502')
    else:
        _server_address(endpoint, path, config, report)
    if not modbus.allow:
        report.mistake(f"{path}.allow", 'is empty, so nobody may connect; name the controllers, such as allow = ["10.20.0.17/32"]')
    for index, text in enumerate(modbus.allow):
        _network(f"{path}.allow[{index}]", text, report)
    if modbus.idle_timeout_s < modbus.alive_timeout_s:
        report.warn(
            f"{path}.idle_timeout_s",
            f"{modbus.idle_timeout_s:g} is below alive_timeout_s ({modbus.alive_timeout_s:g}): "
            "a master that is slow, but in time, is cut off",
        )


def _server_address(endpoint: Endpoint, path: str, config: SiteConfig, report: Report) -> None:
    listen = config.listen
    others = (
        ("listen.v1", listen.v1),
        ("listen.v1_tls", listen.v1_tls),
        ("listen.v2", listen.v2),
        ("api.listen", config.api.listen),
    )
    for other, text in others:
        taken = parse_endpoint(text) if text is not None else None
        if taken is not None and endpoint.overlaps(taken):
            report.mistake(f"{path}.listen", f"{config.signals.modbus.listen} clashes with {other}; give each its own port")
    if endpoint.port == 0:
        report.warn(f"{path}.listen", "port 0 is any free port: nobody will know where to connect")
    elif endpoint.port < 1_024:
        report.warn(
            f"{path}.listen",
            f"port {endpoint.port} needs the capability CAP_NET_BIND_SERVICE, see docs/how-to/connect-a-plc.md",
        )
    if is_wildcard(endpoint.host):
        report.warn(f"{path}.listen", "Modbus is neither encrypted nor signed: listen on the address of the plant's network only")


def _network(path: str, text: str, report: Report) -> None:
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        try:
            meant = f'; did you mean "{ipaddress.ip_network(text, strict=False)}"?'
        except ValueError:
            meant = "; allowed: address/bits, such as 10.20.0.17/32"
        report.mistake(path, f'"{text}" is no network{meant}')
        return
    if network.num_addresses > LARGEST_NETWORK:
        report.warn(path, f"{text} lets {network.num_addresses:,} addresses write set-points; name the controllers")


def _meter(meter: Meter, path: str, config: SiteConfig, report: Report) -> None:
    if meter.name == BOUNDARY:
        report.mistake(f"{path}.name", '"boundary" is the meter that sends by PUT /api/v1/heat/meter; take another name')
    if meter.place != BOUNDARY:
        report.exists(f"{path}.place", meter.place, [BOUNDARY, *(loop.name for loop in config.loops)], "place (a loop)")
    endpoint = parse_endpoint(meter.address)
    if endpoint is None or endpoint.port == 0:
        report.mistake(f"{path}.address", f'"{meter.address}" is no host:port, such as 10.20.0.31:502')
    if meter.period_s >= config.heat.meter.stale_s:
        report.mistake(
            f"{path}.period_s",
            f"{meter.period_s:g} must be below heat.meter.stale_s ({config.heat.meter.stale_s:g}), "
            "or every reading is stale before the next one",
        )
    if meter.timeout_s > meter.period_s:
        report.warn(
            f"{path}.timeout_s", f"{meter.timeout_s:g} is above period_s ({meter.period_s:g}): one lost answer delays the next"
        )
    if meter.protocol == "mbus":
        _mbus(meter, path, report)
    else:
        _registers(meter, path, report)


def _mbus(meter: Meter, path: str, report: Report) -> None:
    if meter.registers:
        report.warn(f"{path}.registers", "have no effect: an M-Bus meter says itself what its values are")
    if meter.period_s < MBUS_PERIOD_S:
        report.warn(f"{path}.period_s", f"{meter.period_s:g} s wears the battery of an M-Bus meter; 10 or more does not")


def _registers(meter: Meter, path: str, report: Report) -> None:
    where = f"{path}.registers"
    single = ((f"{where}[{i}].quantity", each.quantity) for i, each in enumerate(meter.registers) if each.quantity != "tank_c")
    report.unique(single, "read each quantity once")
    if meter.profile == "custom" and not meter.registers:
        report.mistake(where, 'are missing: profile "custom" has none of its own; name each quantity with its address')
    elif meter.measures != "tank":
        _quantities(meter, path, report)
    for index, register in enumerate(meter.registers):
        if register.scale == 0:
            report.mistake(f"{where}[{index}].scale", "0 makes every reading 0")
        if register.address + _LENGTHS[register.kind] - 1 > _LAST_REGISTER:
            report.mistake(
                f"{where}[{index}].address", f"{register.address} leaves no room for {register.kind}: 65,535 is the last"
            )


def _quantities(meter: Meter, path: str, report: Report) -> None:
    """Whether a meter of heat or electricity says what it is for, and nothing else."""
    where, known = f"{path}.registers", measured_by(meter)
    if "tank_c" in known:
        report.mistake(where, 'give tank_c: that is for a meter with measures = "tank"')
    elif meter.measures == "electricity":
        if meter.profile != "custom":
            report.mistake(f"{path}.profile", f'"{meter.profile}" is a heat meter; an electricity meter needs profile = "custom"')
        elif "power_w" not in known:
            report.mistake(where, "lack power_w: what an electricity meter is for")
    elif not known & {"heat_w", "power_w"} and not {"flow_l_per_h", "supply_c", "return_c"} <= known:
        report.mistake(where, "say no heat: give heat_w, or flow_l_per_h with supply_c and return_c")
    if {"heat_w", "power_w"} <= known:
        report.mistake(where, "give heat_w and power_w: a meter measures one of them")


def _coverage(config: SiteConfig, report: Report) -> None:
    """Meters of some loops only cannot stand in for the boundary's."""
    metered = {meter.place for meter in config.meters if meter.measures == "heat"}
    loops = [loop.name for loop in config.loops]
    missing = [name for name in loops if name not in metered]
    if metered & set(loops) and missing:
        report.warn(
            "meters",
            f"loop {', '.join(missing[:5])} has no heat meter: the loops together cannot stand in for a lost boundary meter",
        )
