"""An OPC UA server for a utility whose control system speaks that: demand, outdoor temperature, limit and stop in, report out.

This half lives on our event loop and judges; the server itself (opcua_server) lives in a thread of its own, because building its
address space takes two seconds, and no miner shall wait for that. It needs requirements-opcua.txt; without it, `serve` says so.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
import trio

from proxy.config import SiteConfig
from proxy.errors import ConfigError
from proxy.heat.demand import DemandRefused, HeatDemand
from proxy.heat.signals import bodies
from proxy.heat.signals.port import SignalPort
from proxy.heat.signals.status import SignalStatus

if TYPE_CHECKING:
    from proxy.heat.signals.opcua_server import UaServer

SOURCE = "opcua"
MISSING = "signals.opcua needs more libraries: pip install --require-hashes -r requirements-opcua.txt"
REPORT_PERIOD_S = 1.0
RETRY_S = 10.0
# A server that takes longer to close its sessions is left to the end of the process.
STOP_TIMEOUT_S = 5.0


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """What became of a call or a written demand: `code` as in HTTP, and why it was refused with what to do."""

    code: int
    reason: str


async def serve(
    config: SiteConfig,
    port: SignalPort,
    status: SignalStatus,
    wall_clock: Callable[[], float],
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled. Raises ConfigError when the libraries are missing; tries again when the address cannot be had."""
    try:
        from proxy.heat.signals.opcua_server import UaServer
    except ImportError as error:
        raise ConfigError([MISSING]) from error
    task_status.started()
    while True:
        judge = Judge(port, status, wall_clock)
        server = UaServer(config.signals.opcua, config.site.name, judge, trio.lowlevel.current_trio_token())
        try:
            await _live(server, port, status, wall_clock)
        except* OSError as group:
            status.lost(f"{config.signals.opcua.listen}: {group.exceptions[0]}")
        await trio.sleep(RETRY_S)


async def _live(server: "UaServer", port: SignalPort, status: SignalStatus, wall_clock: Callable[[], float]) -> None:
    """One server from start to end. Raises OSError in a group when it cannot listen."""
    async with trio.open_nursery() as nursery:
        scope = trio.CancelScope(shield=True)

        async def run() -> None:
            with scope:
                await trio.to_thread.run_sync(server.run, abandon_on_cancel=True)
            nursery.cancel_scope.cancel()

        nursery.start_soon(run)
        try:
            while True:
                server.publish(port.report(wall_clock()))
                status.reported()
                await trio.sleep(REPORT_PERIOD_S)
        finally:
            scope.deadline = trio.current_time() + STOP_TIMEOUT_S
            server.stop()


class Judge:
    """What a call means for the plant. Plain calls, on the trio thread."""

    def __init__(self, port: SignalPort, status: SignalStatus, wall_clock: Callable[[], float]) -> None:
        self._port = port
        self._status = status
        self._wall_clock = wall_clock

    def listening(self) -> None:
        """The server can be reached."""
        self._status.connected()

    def intruder(self, account: str) -> None:
        """Somebody came with a wrong password."""
        self._status.refused(f"wrong account or password: {account[:64]}")

    def demand(self, epoch: int, sequence: int, power_kw: float, supply_c: float, validity_s: float) -> Verdict:
        """Heat, a supply temperature, or both (NaN: not asked), for so long from now on."""
        self._status.heard()
        now_unix_s = self._wall_clock()
        is_supply_only = math.isnan(power_kw) and not math.isnan(supply_c)
        demand = HeatDemand(
            source=SOURCE,
            epoch=epoch,
            sequence=sequence,
            issued_unix_s=now_unix_s,
            valid_from_unix_s=now_unix_s,
            valid_until_unix_s=now_unix_s + validity_s,
            power_w=None if is_supply_only else power_kw * 1000,
            supply_c=None if math.isnan(supply_c) else supply_c,
            content=f"{power_kw!r} {supply_c!r} {validity_s!r}",
        )
        answer = self._port.submit_demand(demand, now_unix_s)
        self._status.asked(answer)
        if isinstance(answer, DemandRefused):
            self._status.refused(answer.reason, is_told=True)
            return Verdict(answer.code, f"{answer.reason}; {answer.remedy}")
        self._status.accepted()
        return Verdict(200, "")

    def outdoor(self, outdoor_c: float) -> Verdict:
        """The outdoor temperature now."""
        return self._verdict("outdoor", self._port.set_outdoor(outdoor_c, SOURCE, self._wall_clock()))

    def limit(self, power_kw: float, validity_s: float) -> Verdict:
        """A cap on electrical power for so long from now on; NaN takes it away."""
        now_unix_s = self._wall_clock()
        sent = bodies.Limit(None if math.isnan(power_kw) else power_kw, now_unix_s + validity_s)
        try:
            until_unix_s = bodies.limit_until(sent, now_unix_s)
        except bodies.Refusal as error:
            return self._verdict("limit", str(error))
        power_w = None if sent.power_kw is None else sent.power_kw * 1000
        return self._verdict("limit", self._port.set_import_limit(power_w, until_unix_s, SOURCE))

    def stop(self, stop: bool) -> Verdict:
        """Everything asleep, or not any more because of us."""
        self._port.set_emergency_stop(stop, SOURCE)
        return self._verdict("stop", None)

    def _verdict(self, name: str, refusal: str | None) -> Verdict:
        self._status.heard()
        if refusal is None:
            self._status.accepted()
            return Verdict(200, "")
        self._status.refused(f"{name}: {refusal}")
        return Verdict(422, refusal)
