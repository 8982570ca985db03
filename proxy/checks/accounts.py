"""What a site file says of the accounts of machines' APIs: which families need a password, and whether its file can be used.

Two looks, as everywhere: `check_accounts` at the configuration alone, `check_account_files` at this machine. No password is kept or
shown; what a driver does with it is the driver's affair.
"""

from collections.abc import Iterator
from pathlib import Path

from proxy.checks.report import Report
from proxy.config import SiteConfig
from proxy.errors import ConfigError
from proxy.units.credentials import NEEDS_PASSWORD, read_password


def check_accounts(config: SiteConfig, report: Report) -> None:
    """Pure: a family that wants a password must have one for each unit; others ignore it. Ends in `report`."""
    bare: dict[str, list[int]] = {}
    for index, unit in enumerate(config.units):
        model = config.models.get(unit.model)
        if model is None:
            continue
        if model.driver in NEEDS_PASSWORD:
            if unit.api_password_file is None and model.api_password_file is None:
                bare.setdefault(unit.model, []).append(index)
        elif unit.api_password_file is not None:
            report.warn(f"units[{index}].api_password_file", f"has no effect: {model.driver} machines ask for no password")
    for name, model in config.models.items():
        path = f"models.{name}.api_password_file"
        if name in bare:
            report.mistake(
                path,
                f"is missing: {model.driver} machines take no command without a password ({len(bare[name])} units have none); write"
                " it into a file of mode 0600 and name that file here or at each unit",
            )
        elif model.api_password_file is not None and model.driver not in NEEDS_PASSWORD:
            report.warn(path, f"has no effect: {model.driver} machines ask for no password")


def check_account_files(config: SiteConfig, report: Report) -> None:
    """Try to read each password file that will be read, once, by its first mention. Mistakes end in `report`."""
    seen: set[str] = set()
    for key, name in _files_in_use(config):
        if name in seen:
            continue
        seen.add(name)
        try:
            read_password(Path(name))
        except ConfigError as error:
            report.mistake(key, "; ".join(error.problems))


def _files_in_use(config: SiteConfig) -> Iterator[tuple[str, str]]:
    """Key path and file name, of the families that want one."""
    wanting = {name: model for name, model in config.models.items() if model.driver in NEEDS_PASSWORD}
    for name, model in wanting.items():
        if model.api_password_file is not None:
            yield f"models.{name}.api_password_file", model.api_password_file
    for index, unit in enumerate(config.units):
        if unit.model in wanting and unit.api_password_file is not None:
            yield f"units[{index}].api_password_file", unit.api_password_file
