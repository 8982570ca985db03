"""Reads a site file and either gives a configuration that can be used, or every mistake in it at once.

The steps: TOML syntax, shape (`shape`), units file (`units`), rules between tables (`rules`), this machine
(`host`). Nothing is opened, created or connected.
"""

import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from proxy.checks.host import check_host
from proxy.checks.report import Report
from proxy.checks.rules import check_rules
from proxy.checks.shape import walk
from proxy.checks.units import read_units
from proxy.config import Model, SiteConfig, Unit
from proxy.errors import ConfigError

_Account = TypeVar("_Account", Model, Unit)
_POSITION = re.compile(r"\(at line (\d+), column (\d+)\)$")


class LoadedConfig(msgspec.Struct, frozen=True):
    """A usable site: `config` has absolute paths and the units of its units file; `warnings` are lines for the operator."""

    config: SiteConfig
    warnings: list[str]


def load_site(path: Path) -> LoadedConfig:
    """Read and check the site file `path`.

    Raises ConfigError with one line for each mistake: file, line, key path, what is wrong and what is allowed.
    """
    document, text = _parse(path)
    report = Report(path, text)
    _add_units_file(document, path.parent, report)
    draft = _absolute(walk(document, SiteConfig, report), path.parent)
    check_rules(draft, report)
    check_host(draft, report)
    if report.problems:
        raise ConfigError(report.problems)
    try:
        config = msgspec.convert(document, SiteConfig)
    except msgspec.ValidationError as error:
        raise ConfigError([f"{path.name}: {error}"]) from error
    return LoadedConfig(_absolute(config, path.parent), report.warnings)


def _parse(path: Path) -> tuple[dict[str, object], str]:
    """The decoded document and its text. Raises ConfigError."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path.name}: is not UTF-8 (byte {error.start}); save it as UTF-8"]) from error
    try:
        return tomllib.loads(text), text
    except tomllib.TOMLDecodeError as error:
        reason = str(error)
        position = _POSITION.search(reason)
        place = f"{path.name}:{position[1]}:{position[2]}" if position else path.name
        raise ConfigError([f"{place}: is not TOML: {_POSITION.sub('', reason).strip()}"]) from error


def _add_units_file(document: dict[str, object], folder: Path, report: Report) -> None:
    """Append the rows of units_file to [[units]], so that one check sees all units."""
    name = document.get("units_file")
    units = document.get("units", [])
    if isinstance(name, str) and isinstance(units, list):
        document["units"] = units + read_units(folder / name, report, len(units))


def _absolute(config: SiteConfig, folder: Path) -> SiteConfig:
    """The same site with every path absolute: they are relative to the file, wherever the process was started."""

    def resolved(name: str | None) -> str | None:
        return None if name is None else str((folder / name).absolute())

    listen = msgspec.structs.replace(
        config.listen,
        tls_certificate=resolved(config.listen.tls_certificate),
        tls_key=resolved(config.listen.tls_key),
        v2_identity=resolved(config.listen.v2_identity),
    )
    models = {name: _with_file(model, resolved) for name, model in config.models.items()}
    units = [_with_file(unit, resolved) for unit in config.units]
    pools = [msgspec.structs.replace(pool, tls_ca=resolved(pool.tls_ca)) for pool in config.pools]
    site = msgspec.structs.replace(config.site, data_dir=resolved(config.site.data_dir))
    mqtt, openadr, opcua = config.signals.mqtt, config.signals.openadr, config.signals.opcua
    signals = msgspec.structs.replace(
        config.signals,
        mqtt=msgspec.structs.replace(mqtt, password_file=resolved(mqtt.password_file), tls_ca=resolved(mqtt.tls_ca)),
        openadr=msgspec.structs.replace(
            openadr, client_secret_file=resolved(openadr.client_secret_file), tls_ca=resolved(openadr.tls_ca)
        ),
        opcua=msgspec.structs.replace(opcua, certificate=resolved(opcua.certificate), key=resolved(opcua.key)),
    )
    return msgspec.structs.replace(
        config,
        site=site,
        listen=listen,
        pools=pools,
        signals=signals,
        models=models,
        units=units,
        units_file=resolved(config.units_file),
    )


def _with_file(table: _Account, resolved: Callable[[str | None], str | None]) -> _Account:
    """The same model or unit, with its password file resolved where it has one: most of thousands have none."""
    if table.api_password_file is None:
        return table
    return msgspec.structs.replace(table, api_password_file=resolved(table.api_password_file))
