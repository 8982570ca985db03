"""What the HTTP side needs of the site: one protocol that the composition root implements. No HTTP and no code in it."""

from typing import Protocol

import msgspec

from proxy import config
from proxy.events import EventLog
from proxy.heat.totals import SettlementDocument
from proxy.views import PlanBlocks, SiteView, UnitView


class Site(Protocol):
    """All of it runs on the event loop's thread. Reads are cheap and never block; every action is audited with its `actor`."""

    @property
    def api(self) -> config.Api:
        """The [api] table that is valid now; keys may change with a reload."""
        ...

    @property
    def events(self) -> EventLog:
        """Recent events of the process."""
        ...

    def view(self) -> SiteView:
        """The whole site as it is now."""
        ...

    def units(self) -> list[UnitView]:
        """Every configured unit, in the order of the configuration (loop, row, slot)."""
        ...

    def unit(self, unit_id: str) -> UnitView | None:
        """One unit, or None when it is not configured."""
        ...

    def submit_demand(self, body: bytes, actor: str) -> tuple[int, msgspec.Struct]:
        """Judge and maybe take a heat demand. HTTP status and the answer; from 400 up, the answer has `reason` and `remedy`."""
        ...

    def put_schedule(self, body: bytes, actor: str) -> tuple[int, msgspec.Struct]:
        """Judge and maybe take a schedule of demands, all of it or nothing; answers like `submit_demand`."""
        ...

    def set_outdoor(self, outdoor_c: float, actor: str) -> str | None:
        """Take an outdoor temperature for the heat curve. None when believed, else why not."""
        ...

    def set_stop(self, stop: bool, actor: str) -> None:
        """Put everything to sleep, or take this actor's stop back; others' stops stay."""
        ...

    def release_stop(self, source: str, name: str, reason: str, actor: str) -> str | None:
        """Take back the stop of another sender, in the name of a person and for a reason. None when done, else why not."""
        ...

    def acknowledge_alarms(self, actor: str) -> list[str]:
        """Forget latched alarms that are over and let locked loops come back. The names of what was acknowledged."""
        ...

    def push_meter(self, body: bytes, actor: str) -> tuple[int, msgspec.Struct]:
        """Judge and maybe take a reading of the heat meter; answers like `submit_demand`."""
        ...

    def put_prices(self, body: bytes, actor: str) -> tuple[int, msgspec.Struct]:
        """Judge and maybe take prices of electricity and work ahead; answers like `submit_demand`."""
        ...

    def put_forecast(self, body: bytes, actor: str) -> tuple[int, msgspec.Struct]:
        """Judge and maybe take a demand schedule or an outdoor forecast; answers like `submit_demand`."""
        ...

    def put_tank(self, body: bytes, actor: str) -> tuple[int, msgspec.Struct]:
        """Judge and maybe take what the storage tank holds; answers like `submit_demand`."""
        ...

    def plan_blocks(self) -> PlanBlocks | None:
        """The blocks of the plan in force (its other facts are in `view`); None when the site does not plan."""
        ...

    def set_manual_limit(self, power_w: float | None, actor: str) -> None:
        """Cap the site's electrical power by hand; None takes the cap away."""
        ...

    def set_service(self, unit_id: str, in_service: bool, note: str, actor: str) -> str | None:
        """Take a unit out of (or back into) automatic control. None when done, else why not."""
        ...

    def withhold_work(self, unit_id: str, for_s: float | None, actor: str) -> str | None:
        """Give a unit in service no work for so long, on trial; None: give it back. None when done, else why not."""
        ...

    def command_unit(self, unit_id: str, level: int, actor: str) -> str | None:
        """Command one power level by hand. None when the command was taken, else why not."""
        ...

    def accept_serial(self, unit_id: str, actor: str) -> str | None:
        """Accept that another machine now stands where this unit was. None when done, else why not."""
        ...

    def clear_fault(self, unit_id: str, actor: str) -> str | None:
        """Somebody has dealt with a unit's fault: it is taken as it is found next. None when done, else why not."""
        ...

    def health(self) -> list[str]:
        """What keeps the site from being ready, one line each with the remedy; empty when ready."""
        ...

    async def reload(self, actor: str) -> list[str]:
        """Read the configuration again and apply it. Problems, one a line; when there are any, nothing was changed."""
        ...

    async def settlement(self, start_unix_s: int, end_unix_s: int) -> SettlementDocument:
        """Settled periods that begin in [start, end). StoreError when the ledger cannot be read."""
        ...
