"""What the tables of a site file mean to each other: names that must exist, numbers that must be in order, ports that clash.

Pure: it looks at the configuration only, never at the machine (`host` does). Each rule reports every place it finds broken.
A rule may be given stand-in values for keys that were already wrong; the report drops what follows from those.
"""

import ipaddress
import itertools

from proxy.checks.accounts import check_accounts
from proxy.checks.curve import check_curve
from proxy.checks.fleet import check_fleet, rated_power_w
from proxy.checks.modbus import check_modbus
from proxy.checks.net import Endpoint, is_loopback, parse_endpoint
from proxy.checks.planner import check_planner
from proxy.checks.pools_v2 import check_v2_pool
from proxy.checks.report import Report
from proxy.checks.settlement import check_settlement
from proxy.checks.signals import check_signals
from proxy.checks.wear import check_wear
from proxy.config import Pool, SiteConfig

_EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
_LEDGER_URLS = ("sqlite:///", "postgresql+psycopg://")


def check_rules(config: SiteConfig, report: Report) -> None:
    """Run every rule over a site. Mistakes and warnings end in `report`."""
    for rule in (
        _listen,
        _pools,
        _vardiff,
        _heat,
        check_curve,
        check_planner,
        _api,
        _ledger,
        check_fleet,
        check_accounts,
        check_modbus,
        check_settlement,
        check_signals,
        check_wear,
    ):
        rule(config, report)


def _listen(config: SiteConfig, report: Report) -> None:
    listen = config.listen
    seen: dict[str, Endpoint] = {}
    places = (
        ("listen.v1", listen.v1),
        ("listen.v1_tls", listen.v1_tls),
        ("listen.v2", listen.v2),
        ("api.listen", config.api.listen),
    )
    for path, text in places:
        if text is None:
            continue
        endpoint = parse_endpoint(text)
        if endpoint is None:
            report.mistake(path, f'"{text}" is no address to listen on; allowed: host:port, such as 0.0.0.0:3333 or [::]:3333')
            continue
        if endpoint.port == 0:
            report.warn(path, "port 0 is any free port: nobody will know where to connect")
        for other, taken in seen.items():
            if endpoint.overlaps(taken):
                report.mistake(path, f"{text} clashes with {other}; give each its own port")
        seen[path] = endpoint
    if listen.v1 is None and listen.v1_tls is None and listen.v2 is None:
        report.mistake("listen", "nobody could connect; set v1, v1_tls or v2")
    _listen_v2(config, report)
    if listen.proxy_protocol == "required" and not listen.proxy_protocol_from:
        report.mistake(
            "listen.proxy_protocol_from",
            "is empty, so nobody may send the required header; list the networks of your load balancer",
        )
    for index, network in enumerate(listen.proxy_protocol_from):
        _network(report, f"listen.proxy_protocol_from[{index}]", network)


def _listen_v2(config: SiteConfig, report: Report) -> None:
    listen = config.listen
    if listen.v2 is None:
        for key in ("v2_identity", "v2_plaintext"):
            if getattr(listen, key):
                report.warn(f"listen.{key}", "has no effect: v2 is not set")
        return
    if listen.v2_plaintext and listen.v2_identity is not None:
        report.mistake("listen.v2_plaintext", "and v2_identity exclude each other: a port is either encrypted or not; remove one")
    elif listen.v2_plaintext:
        endpoint = parse_endpoint(listen.v2)
        if endpoint is not None and not is_loopback(endpoint.host):
            report.warn("listen.v2_plaintext", "whoever is on the way can read the accounts and take the work; better v2_identity")
    elif listen.v2_identity is None:
        report.mistake("listen.v2_identity", "is missing; make a key file with `thermostratum keygen FILE`")


def _network(report: Report, path: str, text: str) -> None:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        try:
            meant = f'; did you mean "{ipaddress.ip_network(text, strict=False)}"?'
        except ValueError:
            meant = "; allowed: address/bits, such as 10.20.0.0/16"
        report.mistake(path, f'"{text}" is no network{meant}')


def _pools(config: SiteConfig, report: Report) -> None:
    report.unique(((f"pools[{i}].name", pool.name) for i, pool in enumerate(config.pools)), "give each pool its own name")
    for index, pool in enumerate(config.pools):
        path = f"pools[{index}]"
        _pool_url(pool, path, report)
        for key in ("tls_ca", "tls_server_name"):
            if getattr(pool, key) is not None and not pool.url.startswith(("stratum+ssl", "stratum+tls")):
                scheme = pool.url.partition("://")[0]
                report.warn(f"{path}.{key}", f"has no effect: the url is {scheme}; TLS is stratum+ssl")
        for position, allowed in enumerate(pool.reconnect_allow):
            endpoint = parse_endpoint(allowed)
            if endpoint is None or endpoint.port == 0:
                report.mistake(f"{path}.reconnect_allow[{position}]", f'"{allowed}" is no host:port')


def _pool_url(pool: Pool, path: str, report: Report) -> None:
    if pool.url.startswith("stratum2+"):
        check_v2_pool(pool, path, report)
        return
    endpoint = parse_endpoint(pool.url.rpartition("//")[2])
    if endpoint is None or endpoint.port == 0:
        report.mistake(
            f"{path}.url", f'"{pool.url}" has no usable host and port; allowed: stratum+tcp://host:port, port 1 to 65535'
        )
    elif pool.url.startswith("stratum+tcp") and not is_loopback(endpoint.host):
        report.warn(
            f"{path}.url",
            "is not encrypted: whoever is on the way can read the account and take the work; use stratum+ssl if the pool has it",
        )


def _vardiff(config: SiteConfig, report: Report) -> None:
    vardiff = config.vardiff
    lowest = ("vardiff.min_difficulty", vardiff.min_difficulty)
    start = ("vardiff.start_difficulty", vardiff.start_difficulty)
    highest = ("vardiff.max_difficulty", vardiff.max_difficulty)
    for lower, upper in ((lowest, highest), (lowest, start), (start, highest)):
        report.ordered(lower, upper)


def _heat(config: SiteConfig, report: Report) -> None:
    heat = config.heat
    ages = [(f"heat.{key}", getattr(heat, key)) for key in ("hold_after_s", "fallback_after_s", "limit_after_s")]
    for lower, upper in itertools.pairwise(ages):
        report.ordered(lower, upper, is_strict=True)
    report.ordered(
        ("heat.telemetry_period_s", heat.telemetry_period_s), ("heat.telemetry_stale_s", heat.telemetry_stale_s), is_strict=True
    )
    lowest, highest = ("heat.min_power_w", heat.min_power_w), ("heat.max_power_w", heat.max_power_w)
    report.ordered(lowest, highest)
    for held in (("heat.limit_power_w", heat.limit_power_w), ("heat.fallback_power_w", heat.fallback_power_w)):
        report.ordered(lowest, held)
        report.ordered(held, highest)
    capacity_w = sum(rated_power_w(config, unit) for unit in config.units)
    if not config.units:
        report.warn("units", "there are none: every miner that connects hashes, but no heat is controlled")
    elif not heat.enabled:
        report.warn("heat.enabled", "is false: no unit is ever commanded")
    elif heat.min_power_w > capacity_w:
        report.mistake("heat.min_power_w", f"{heat.min_power_w:,g} is above what all units together can draw ({capacity_w:,g} W)")


def _api(config: SiteConfig, report: Report) -> None:
    keys = config.api.keys
    report.unique(((f"api.keys[{i}].name", key.name) for i, key in enumerate(keys)), "the audit tells callers apart by it")
    report.unique(
        ((f"api.keys[{i}].sha256", key.sha256) for i, key in enumerate(keys)),
        "give each its own key: `thermostratum apikey`",
    )
    for index, key in enumerate(keys):
        if key.sha256 == _EMPTY_SHA256:
            report.mistake(f"api.keys[{index}].sha256", "is the hash of an empty key; make one: `thermostratum apikey NAME ROLE`")
    endpoint = parse_endpoint(config.api.listen)
    if endpoint is None or is_loopback(endpoint.host):
        return
    if not keys:
        report.warn(
            "api.listen",
            f"{config.api.listen} can be reached from the network, but there is no [[api.keys]]: anybody may read, nobody may send"
            " a demand; make a key (`thermostratum apikey NAME ROLE`) or listen on 127.0.0.1",
        )
    else:
        report.warn("api.listen", "keys travel unencrypted over plain HTTP: put a TLS proxy in front, or listen on 127.0.0.1")


def _ledger(config: SiteConfig, report: Report) -> None:
    url = config.ledger.url
    if url is not None and not url.startswith(_LEDGER_URLS):
        scheme = url.partition("://")[0]
        report.mistake("ledger.url", f'"{scheme}" is no database it can use; allowed: {" or ".join(_LEDGER_URLS)}...')
    report.ordered(
        ("ledger.keep_shares_days", config.ledger.keep_shares_days), ("ledger.keep_rollups_days", config.ledger.keep_rollups_days)
    )
