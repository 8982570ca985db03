"""The whole site on one machine: `run_demo` sets up pools, machines, plant and utility, and runs the product between them.

The proxy is the installed one, a process of its own with an ordinary site file; this module only surrounds it and looks at it from
outside, through its public API. It has no simulation of its own (see floor, pool, utility) and judges nothing (see demo_summary).
"""

import os
import random
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections import deque
from pathlib import Path

import msgspec
import structlog
import trio

from protocol.v2.keys import decode_authority_key
from proxy.checks.load import load_site
from proxy.key_file import write_keys
from proxy.sim.demo_host import (
    DemoError,
    browser_url,
    check_page_port,
    first_failure,
    free_port,
    http_endpoint,
    raise_descriptor_limit,
)
from proxy.sim.demo_picture import RateMeter, show_plant, show_site
from proxy.sim.demo_script import Script
from proxy.sim.demo_site import MODEL, DemoPlan, Endpoints, pool_specs, write_site
from proxy.sim.demo_summary import Counted, HeatRecord, HeatSample, Summary, summarise
from proxy.sim.floor import Floor, Stratum
from proxy.sim.pool import SimPool
from proxy.sim.pool_v2 import SimPoolV2
from proxy.sim.progress import Display, Picture
from proxy.sim.proxy_process import ProxyProcess
from proxy.sim.site_client import SiteClient
from proxy.sim.utility import LoadCurve, Utility, UtilitySpec
from proxy.views import SiteView

LOOPBACK = "127.0.0.1"
# Below the ports that the system hands out by itself, so that nobody takes it between our look and the proxy's bind.
STRATUM_PORTS = range(3333, 3353)
# A unit's API is on 4028 in life; two demos on one machine must not meet.
API_PORTS = range(4028, 4048)
START_TIMEOUT_S = 60.0
DRAIN_TIMEOUT_S = 6.0
WATCH_PERIOD_S = 0.5
SAMPLE_S = 0.25
RATE_WINDOW_S = 10.0
METER_S = 1.0
MINER_SPREAD_S = 2.0
_TOLD_LINES = 5


def run_demo(*, seconds: float | None = None, listen: str = "127.0.0.1:8080", keep: Path | None = None) -> None:
    """Run the demo until Ctrl-C, or for `seconds` from when shares flow; the last line on standard output is then JSON.

    listen: host:port of page and API. keep: a directory for site file, ledger and logs that stays; default is a temporary one that
    goes when all went well. Raises DemoError; OSError when the machine refuses something.
    """
    folder = Path(tempfile.mkdtemp(prefix="thermostratum-demo-")) if keep is None else keep
    folder.mkdir(parents=True, exist_ok=True)
    folder = folder.resolve()
    raise_descriptor_limit()
    with (folder / "simulation.log").open("w", encoding="utf-8") as log_file:
        # Standard output is for the JSON line alone.
        structlog.configure(logger_factory=structlog.PrintLoggerFactory(log_file))
        demo = Demo(DemoPlan(), folder, listen, seconds)
        try:
            trio.run(demo.run)
        except BaseExceptionGroup as group:
            failure = first_failure(group)
            if failure is None:
                raise
            raise DemoError(f"{failure}\nfiles of this run: {folder}") from group
    if demo.summary is not None:
        sys.stdout.write(msgspec.json.encode(demo.summary).decode() + "\n")
        sys.stdout.flush()
        if not demo.summary.ok:
            raise DemoError("; ".join(demo.summary.problems) + f"\nlogs: {folder / 'proxy.log'} and simulation.log beside it")
    if keep is None:
        shutil.rmtree(folder, ignore_errors=True)


class Stage(msgspec.Struct):
    """What stands when everything is set up. `client` speaks with the utility's key."""

    floor: Floor
    utility: Utility
    client: SiteClient


class Demo:
    """One run. `summary` is there after it, when shares had begun to flow."""

    def __init__(self, plan: DemoPlan, folder: Path, listen: str, seconds: float | None) -> None:
        self.summary: Summary | None = None
        self._plan = plan
        self._folder = folder
        self._seconds = seconds
        self._http = http_endpoint(listen)
        self._listen = listen
        self._url = browser_url(self._http)
        self._rng = random.Random(plan.seed)
        self._keys = {name: secrets.token_urlsafe(24) for name in ("utility", "operator")}
        self._picture = Picture(seconds=seconds, units_total=len(plan.units), url=self._url, operator_key=self._keys["operator"])
        self._told: deque[str] = deque(maxlen=_TOLD_LINES)
        self._heat = HeatRecord(settle_s=plan.real_s(plan.setpoint_s))
        north, south = pool_specs()
        self._north = SimPool(north, random.Random(self._rng.getrandbits(64)), time.time)
        self._south = SimPoolV2(south, random.Random(self._rng.getrandbits(64)), time.time)
        self._pools = (self._north, self._south)
        self._playing = trio.CancelScope()
        self._watching = trio.CancelScope()
        self._began_s = 0.0
        self._flow_s: float | None = None
        self._stage: Stage | None = None
        self._obstacle = ""
        self._proxy = ProxyProcess(folder / "site.toml", folder / "proxy.log")

    async def run(self) -> None:
        """Set up, play, count, and end everything that was started. Raises groups that hold DemoError or ProxyDiedError."""
        self._began_s = trio.current_time()
        display = Display()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._obey_signals, nursery)
            nursery.start_soon(display.run, self._look)
            try:
                with self._playing:
                    self._stage = await self._set_up(nursery)
                    await self._play(self._stage)
                if self._stage is not None:
                    self.summary = await self._compare_books(self._stage)
            finally:
                self._watching.cancel()  # what is seen from here on is only everybody leaving
                self._phase("ending")
                await self._proxy.stop()
            nursery.cancel_scope.cancel()

    # --- setting up

    async def _set_up(self, nursery: trio.Nursery) -> Stage:
        with trio.move_on_after(START_TIMEOUT_S):
            return await self._start_all(nursery)
        raise DemoError(
            f"no share flowed within {START_TIMEOUT_S:.0f} s; it was still {self._picture.phase}"
            f" ({self._obstacle or 'the proxy is ready'})\nlast words of the proxy:\n{self._proxy.last_words()}"
        )

    async def _start_all(self, nursery: trio.Nursery) -> Stage:
        """From pools to the first accepted share, in the order in which each needs the one before."""
        check_page_port(self._http)
        plan = self._plan = msgspec.structs.replace(self._plan, api_port=free_port(self._plan.units[0].address, API_PORTS))
        self._phase("starting pools")
        for pool in self._pools:
            await nursery.start(pool.serve, LOOPBACK)
            nursery.start_soon(pool.run)
        stratum, endpoints = self._endpoints()
        site_file = write_site(self._folder, plan, endpoints, self._keys["utility"], self._keys["operator"])
        model = load_site(site_file).config.models[MODEL]
        floor = Floor(plan, model, stratum, self._rng)
        self._phase("starting machines")
        await nursery.start(floor.serve_devices)
        nursery.start_soon(floor.run_plant)
        self._phase("starting the proxy")
        await self._proxy.start()
        client = await nursery.start(SiteClient(self._url, self._keys["utility"]).hold_open)
        await self._await_ready(client)
        self._phase("connecting units")
        nursery.start_soon(floor.run_miners, MINER_SPREAD_S)
        stage = Stage(floor, self._utility(client, floor), client)
        nursery.start_soon(stage.utility.run_meter)
        nursery.start_soon(stage.utility.run_demand)
        nursery.start_soon(self._watch, stage)
        async with trio.open_nursery() as waiting:
            for pool in self._pools:
                waiting.start_soon(_await_share, pool, waiting.cancel_scope)
        return stage

    def _endpoints(self) -> tuple[Stratum, Endpoints]:
        """Two free ports for the units and the keys of the second, which are made anew for each run."""
        v1_port = free_port(LOOPBACK, STRATUM_PORTS)
        v2_port = free_port(LOOPBACK, range(v1_port + 1, STRATUM_PORTS.stop + 1))
        key_file = self._folder / "stratum-v2.keys"
        key_file.unlink(missing_ok=True)
        authority_x = decode_authority_key(write_keys(key_file, os.urandom))
        endpoints = Endpoints(
            listen_v1=f"{LOOPBACK}:{v1_port}",
            listen_v2=f"{LOOPBACK}:{v2_port}",
            v2_identity=str(key_file),
            listen_http=self._listen,
            north=f"stratum+tcp://{LOOPBACK}:{self._north.port}",
            south=self._south.url,
        )
        return Stratum((LOOPBACK, v1_port), (LOOPBACK, v2_port), authority_x), endpoints

    async def _await_ready(self, client: SiteClient) -> None:
        while not (answer := await client.is_ready()).is_ok:
            self._obstacle = answer.reason
            self._proxy.check()
            await trio.sleep(0.1)
        self._obstacle = ""

    def _utility(self, client: SiteClient, floor: Floor) -> Utility:
        plan = self._plan
        spec = UtilitySpec(
            start_hour=plan.start_hour,
            time_scale=plan.time_scale,
            setpoint_s=plan.real_s(plan.setpoint_s),
            meter_s=METER_S,
            validity_s=4.0 * plan.real_s(plan.setpoint_s),
        )
        curve = LoadCurve(capacity_w=plan.heat_capacity_w)
        return Utility(spec, client, curve, floor.read_meter, random.Random(self._rng.getrandbits(64)), time.time)

    # --- while it runs

    async def _play(self, stage: Stage) -> None:
        """Until the time is up, or until cancelled."""
        self._flow_s = trio.current_time()
        self._phase("running")
        async with trio.open_nursery() as nursery:
            operator = await nursery.start(SiteClient(self._url, self._keys["operator"]).hold_open)
            script = Script(stage.floor, self._north, operator, random.Random(self._rng.getrandbits(64)), self._tell)
            nursery.start_soon(script.run)
            nursery.start_soon(self._record_heat, stage)
            await trio.sleep(float("inf") if self._seconds is None else self._seconds)
            nursery.cancel_scope.cancel()

    async def _record_heat(self, stage: Stage) -> None:
        last_s = trio.current_time()
        while True:
            await trio.sleep(SAMPLE_S)
            now_s = trio.current_time()
            if stage.utility.demand_w is not None:
                self._heat.add(HeatSample(now_s - last_s, stage.utility.demand_w, stage.floor.plant.delivered_w))
            last_s = now_s

    async def _watch(self, stage: Stage) -> None:
        """Keep the picture true, and notice when the proxy dies."""
        rate = RateMeter(RATE_WINDOW_S)
        with self._watching:
            while True:
                self._proxy.check()
                view = await stage.client.status()
                if view is not None:
                    show_site(self._picture, view)
                for refusal in stage.utility.refusals:
                    self._tell(f"demand refused: {refusal}", once=True)
                self._picture.shares_per_s = rate.add(trio.current_time(), stage.floor.count(lambda miner: miner.totals.submitted))
                show_plant(self._picture, stage.floor, stage.utility)
                await trio.sleep(WATCH_PERIOD_S)

    # --- the end

    async def _compare_books(self, stage: Stage) -> Summary:
        """Stop hashing, let every answer arrive, and join what units, proxy and pools counted."""
        flow_s = trio.current_time() - (self._flow_s or 0.0)
        self._phase("comparing the books")
        floor = stage.floor
        connected, connected_v2 = floor.connected, floor.connected_v2
        floor.hasher.is_paused = True
        view = await self._drained(stage)
        if view is None:
            raise DemoError(f"the proxy does not answer any more; its last words:\n{self._proxy.last_words()}")
        usage = self._proxy.usage()
        counted = Counted(
            units_connected=connected,
            units_connected_v2=connected_v2,
            units_total=len(floor.units),
            accepted_by_pool={pool.name: pool.totals.accepted for pool in self._pools},
            accepted_by_units=floor.count(lambda miner: miner.totals.accepted),
            unanswered_at_units=floor.count(lambda miner: miner.totals.lost + miner.unanswered),
            methods_seen=floor.methods_seen(),
            demands_refused=stage.utility.refused,
            seconds=flow_s,
            simulated_hours=flow_s * self._plan.time_scale / 3_600.0,
            cpu_s=None if usage is None else usage.cpu_s,
            rss_mb=None if usage is None else usage.rss_mb,
        )
        return summarise(view, self._heat, counted)

    async def _drained(self, stage: Stage) -> SiteView | None:
        """The proxy's books once nothing is under way any more, or after DRAIN_TIMEOUT_S as they are."""
        view = None
        with trio.move_on_after(DRAIN_TIMEOUT_S):
            while True:
                view = await stage.client.status() or view
                if view is not None and not view.shares.pending and not stage.floor.count(lambda miner: miner.unanswered):
                    return view
                await trio.sleep(0.2)
        return view

    # --- small things

    async def _obey_signals(self, nursery: trio.Nursery) -> None:
        """The first Ctrl-C ends the play, so that the books are still compared; the second one ends everything."""
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for _ in signals:
                if self._playing.cancel_called:
                    nursery.cancel_scope.cancel()
                self._playing.cancel()

    def _look(self) -> Picture:
        self._picture.elapsed_s = trio.current_time() - (self._flow_s or self._began_s)
        self._picture.told = tuple(self._told)
        return self._picture

    def _phase(self, phase: str) -> None:
        self._picture.phase = phase

    def _tell(self, text: str, once: bool = False) -> None:
        if not once or text not in self._told:
            self._told.append(text)


async def _await_share(pool: SimPool | SimPoolV2, then: trio.CancelScope) -> None:
    await pool.first_share.wait()
    then.cancel()
