"""Keeps work from the machine that `profile-unit` records, through the API of the proxy that gives it its work.

It does not look at the machine (`units.profile_work` does) and decides nothing: the proxy does so for units in service only.
"""

from pathlib import Path
from urllib.parse import quote

import msgspec
import trio

from proxy.commands.http import call
from proxy.commands.say import CliError
from proxy.units.profile import ProfileError


class WorkFrom(msgspec.Struct, frozen=True, kw_only=True):
    """The running proxy that gives the machine its work, and can keep it from it."""

    unit: str
    url: str
    key_file: Path | None


class _Known(msgspec.Struct, frozen=True):
    """What must be so before work is kept from a unit."""

    address: str
    in_service: bool
    connected: bool


class ProxyGate:
    """Keeps work from one unit through the proxy's API. Implements profile_work.WorkGate."""

    def __init__(self, work: WorkFrom) -> None:
        self._work = work
        self._path = f"/api/v1/units/{quote(work.unit, safe='')}"

    def check(self, address: str) -> None:
        """Make sure that this is the machine, that nobody commands it, and that it works for this proxy. Raises CliError."""
        answer = call("GET", self._work.url, self._path, key_file=self._work.key_file)
        try:
            known = msgspec.json.decode(answer, type=_Known)
        except msgspec.DecodeError as error:
            raise CliError(f"{self._work.url} does not speak as this version does ({error})") from error
        name = self._work.unit
        if known.address != address:
            raise CliError(f"unit {name} of the proxy is at {known.address}, not at {address}; give the --unit that is")
        if not known.in_service:
            raise CliError(f"unit {name} is in heat control; take it out first: `thermostratum service {name} on`")
        if not known.connected:
            raise CliError(f"unit {name} does not work for this proxy now, so it cannot be kept from work; look at its pools")

    async def withhold(self, for_s: float) -> None:
        """See WorkGate."""
        await self._put(for_s)

    async def give_back(self) -> None:
        """See WorkGate."""
        await self._put(None)

    async def _put(self, for_s: float | None) -> None:
        def put() -> None:
            call("PUT", self._work.url, f"{self._path}/work", body={"withheld_s": for_s}, key_file=self._work.key_file)

        try:
            await trio.to_thread.run_sync(put)
        except CliError as problem:
            raise ProfileError(str(problem)) from problem
