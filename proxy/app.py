"""The composition root: makes every part of a site from its configuration and lets them run. The only file that knows everyone."""

import os
import secrets
import signal
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import structlog
import trio

from proxy.config import Pool as PoolConfig
from proxy.config import SiteConfig
from proxy.descriptors import admit_at_most
from proxy.downstream.connection import Session
from proxy.downstream.guard import Guard
from proxy.downstream.quirks import Quirks
from proxy.downstream.reactor import Reactor
from proxy.downstream.reception import Identity, Reception
from proxy.downstream.v1 import MinerServer, MinerSession
from proxy.downstream.v2 import DeviceServer, DeviceSession, device_mask
from proxy.events import Event, EventLog
from proxy.heat.control import HeatControl
from proxy.heat.meters.poll import MeterPoller
from proxy.heat.outlook import Outlook
from proxy.heat.settling import Settling
from proxy.heat.signals.board import SignalBoard
from proxy.ledger.ledger import Ledger
from proxy.ports import identity_of, ports_of
from proxy.reload import Reloader
from proxy.site import LiveSite
from proxy.supervise import supervised
from proxy.telemetry.lag import LoopLag
from proxy.telemetry.log import configure
from proxy.units.drivers.base import Connect
from proxy.units.drivers.link import connect_tcp
from proxy.units.fleet import Fleet
from proxy.units.inventory import spread_over_loops
from proxy.upstream.pool import Pool, make_tls_context
from proxy.web import server as web
from proxy.witness import ShareWitness
from proxy.work import vardiff
from proxy.work.assign import Assigner
from proxy.work.extranonce import PrefixAllocator
from proxy.work.geometry import Geometry
from proxy.work.router import Router
from proxy.work.shares import ShareDesk

log = structlog.get_logger()

ASSIGN_PERIOD_S = 0.5
# A certificate lives for days; a clock that is set right after the start is what this is for.
CERTIFICATE_PERIOD_S = 60.0


class App:
    """One site. Build it inside a running trio loop; `serve` runs it until cancelled or told to stop."""

    def __init__(
        self,
        config: SiteConfig,
        path: Path,
        *,
        connect: Connect = connect_tcp,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """`connect`: how machines are reached. Opens the ledger; raises StoreError."""
        self.config = config
        self.wall_clock = wall_clock
        self.stopping = trio.Event()
        self.nursery: trio.Nursery
        clock = trio.current_time
        self.events = EventLog(wall_clock)
        self.events.listen(_log_event)
        self.ledger = Ledger.open(config.ledger, Path(config.site.data_dir), wall_clock)
        self.geometry = Geometry(config.listen.unit_id_bytes, config.listen.extranonce2_bytes)
        self.router = Router(
            geometry=self.geometry,
            policy=vardiff.policy_of(config),
            events=self.events,
            clock=clock,
            first_job_id=secrets.randbits(31),
            passes_difficulty_through=vardiff.passes_through(config.vardiff),
            holds_work=config.listen.hold_work,
        )
        self.shares = ShareDesk(self.router, ledger=self.ledger, events=self.events, clock=clock, wall_clock=wall_clock)
        self._make_heat(connect)
        self.pools = [self.make_pool(pool) for pool in config.pools]
        self.assigner = Assigner(
            self.router,
            self.pools,
            order=spread_over_loops(config.units),
            preferred={unit.id: unit.pool for unit in config.units if unit.pool is not None},
            events=self.events,
            clock=clock,
        )
        self._make_miners_side()
        self._typical_hps = {unit.id: config.models[unit.model].levels[-1].hashrate_hps for unit in config.units}
        self.lag = LoopLag()
        self.reloader = Reloader(self, path)
        self._make_site()
        self._wire()

    def _make_heat(self, connect: Connect) -> None:
        """Machines, heat control, and whoever feeds it or lives on it."""
        config, wall_clock, data_dir = self.config, self.wall_clock, Path(self.config.site.data_dir)
        self.fleet = Fleet(
            config.units,
            config.models,
            config.heat,
            self.events,
            connect=connect,
            wall_clock=wall_clock,
            serials_path=data_dir / "serials.json",
        )
        self.heat = HeatControl(config, self.fleet, self.ledger, self.events, wall_clock)
        self.signals = SignalBoard(config, self.heat, self.events, clock=trio.current_time, wall_clock=wall_clock)
        self.outlook: Outlook | None = None
        if config.heat.planner.enabled and config.heat.enabled and config.units:
            kept = data_dir / "forecasts.json"
            self.outlook = Outlook(config, self.fleet, self.heat, self.events, wall_clock, path=kept)
            self.heat.add_alarm_source(self.outlook.alarms)
            if self.heat.bank.tank is not None:
                self.heat.bank.tank.listen(self.outlook.take_tank)
        self.settling = Settling(
            config,
            heat=self.heat,
            meters=self.heat.bank,
            fleet=self.fleet,
            ledger=self.ledger,
            events=self.events,
            wall_clock=wall_clock,
        )
        self.heat.add_alarm_source(self.settling.alarms)
        self.meters = MeterPoller(config.meters, self.heat.bank, self.events, wall_clock)
        self.witness = ShareWitness(self.router, self.fleet, self.settling, self.ledger, trio.current_time)

    def _make_miners_side(self) -> None:
        """Sessions of both versions, and the reactor that serves them."""
        config = self.config
        self.guard = Guard(admit_at_most(config), config.listen.max_connections_per_address, config.listen.proxy_protocol_from)
        self.allocator = PrefixAllocator(config.listen.unit_id_bytes, os.urandom)
        reception = Reception(
            config=config.listen,
            router=self.router,
            shares=self.shares,
            allocator=self.allocator,
            guard=self.guard,
            identify=self._identify,
            clock=trio.current_time,
        )
        mask = int(config.listen.version_mask, 16)
        self.miners = MinerServer(reception, offered_mask=self.assigner.offered_mask(mask), rng=os.urandom)
        self.devices = DeviceServer(reception, offered_mask=self.assigner.offered_mask(device_mask(mask)))
        self.identity = identity_of(config.listen, self.wall_clock())
        self.reactor = Reactor(
            config.listen,
            self.guard,
            ports=ports_of(config.listen, self.miners.session, self.devices.session, self.identity),
            fan_out_pending=lambda: self.router.is_fan_out_pending or self.devices.is_flush_pending,
            fan_out_step=self._fan_out_step,
            upkeep=self._upkeep,
        )

    def _make_site(self) -> None:
        """What API, page and metrics see."""
        config = self.config
        self.site = LiveSite(
            name=config.site.name,
            version=version("thermostratum"),
            api=config.api,
            rest=config.signals.rest,
            events=self.events,
            ledger=self.ledger,
            router=self.router,
            pools=self.pools,
            fleet=self.fleet,
            heat=self.heat,
            outlook=self.outlook,
            signals=self.signals,
            settling=self.settling,
            witness=self.witness,
            lag=self.lag,
            certificate=self.identity,
            reload=self.reloader.reload,
            clock=trio.current_time,
            wall_clock=self.wall_clock,
        )

    def _wire(self) -> None:
        """The few calls that go from one part to another; everything else is reached by import."""
        self.router.on_work = self.devices.on_work = self.reactor.wake
        self.router.choose_session = self.assigner.choose
        self.shares.on_credited = self.assigner.account
        self.router.on_left = self.assigner.leave
        self.ledger.on_durable = self.shares.on_durable
        self.ledger.on_failed = self.shares.on_failed
        self.ledger.on_state = self._on_ledger_state
        self.fleet.on_commanded = self._on_commanded

    def make_pool(self, config: PoolConfig) -> Pool:
        """A pool wired to this site; it connects when it is run."""
        return Pool(
            config,
            geometry=self.geometry,
            settle=self.ledger.settle,
            answered=self.shares.answered,
            publish=self.router.publish,
            changed=lambda: self.assigner.poke(),
            session_gone=self.router.forget_session,
            events=self.events,
            clock=trio.current_time,
            wall_clock=self.wall_clock,
            tls_context=make_tls_context(config),
            loads=self.router.loads,
        )

    async def serve(self, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED) -> None:
        """Run until cancelled or `stopping` is set. The ledger is last to go: every share ends in it."""
        async with trio.open_nursery() as outer:
            await outer.start(self.ledger.run)
            async with trio.open_nursery() as nursery:
                url: str = await nursery.start(web.serve, self.site, self.config.api.listen)
                nursery.start_soon(supervised, "loop lag", self.lag.run)
                if self.config.units:
                    nursery.start_soon(supervised, "fleet", self.fleet.run)
                    nursery.start_soon(supervised, "heat", self.heat.run)
                    nursery.start_soon(supervised, "meters", self.meters.run)
                    nursery.start_soon(supervised, "settling", self.settling.run)
                    nursery.start_soon(supervised, "share witness", self.witness.run)
                    for name, task in self.signals.tasks():
                        nursery.start_soon(supervised, name, task)
                if self.outlook is not None:
                    nursery.start_soon(supervised, "outlook", self.outlook.run)
                self.start_work(nursery)
                log.info("site.running", site=self.config.site.name, page=url, miners=self.config.listen.v1)
                task_status.started(url)
                await self.stopping.wait()
                log.info("site.stopping")
                nursery.cancel_scope.cancel()
            outer.cancel_scope.cancel()

    def start_work(self, nursery: trio.Nursery) -> None:
        """Pools, their choice, and the miners' side."""
        self.nursery = nursery
        for pool in self.pools:
            self.start_pool(pool)
        nursery.start_soon(supervised, "assign", self._assign)
        if self.identity is not None:
            nursery.start_soon(supervised, "certificate", self._renew_certificate)
        nursery.start_soon(self.reactor.run, name="reactor")

    def start_pool(self, pool: Pool) -> None:
        """Let a pool run; `pool.stop` ends it."""
        self.nursery.start_soon(supervised, f"pool {pool.name}", pool.run)

    async def _assign(self) -> None:
        while True:
            self.router.withhold(self.fleet.starved())
            self.assigner.tick()
            await self.assigner.wait(ASSIGN_PERIOD_S)

    def _on_ledger_state(self, reason: str | None) -> None:
        if reason is None:
            self.events.publish("ledger.recovered")
        else:
            self.events.publish("ledger.degraded", "error", reason=reason)

    def _on_commanded(self, unit: str, hashrate_hps: float) -> None:
        self.router.expect_hashrate(unit, hashrate_hps)
        self.assigner.power_changed(unit)

    def _fan_out_step(self, count: int) -> None:
        self.router.fan_out_step(count)
        self.devices.flush()

    def _upkeep(self, session: Session) -> None:
        if isinstance(session, MinerSession) and session.channel is not None:
            self.router.upkeep((session.channel,), self.config.listen.keepalive_job_s)
        elif isinstance(session, DeviceSession):
            session.tick()
            self.router.upkeep(session.channels, self.config.listen.keepalive_job_s)

    async def _renew_certificate(self) -> None:
        while (identity := self.identity) is not None:
            if identity.refresh(self.wall_clock()):
                log.info("certificate.renewed", valid_for_s=round(identity.seconds_to_expiry(self.wall_clock())))
            await trio.sleep(CERTIFICATE_PERIOD_S)

    def _identify(self, worker: str, address: str, quirks: Quirks) -> Identity | None:
        """A configured unit by its worker name and address; others only where the site lets anybody mine."""
        unit = self.fleet.inventory.match(worker, address)
        if unit is not None:
            return Identity(unit, self._typical_hps[unit])
        return Identity(worker) if self.config.listen.workers == "any" else None


def run(config: SiteConfig, path: Path) -> None:
    """Run a site until SIGTERM or SIGINT. Raises ConfigError, or OSError when an address cannot be had."""
    configure(config.log.level)
    trio.run(_main, config, path)


async def _main(config: SiteConfig, path: Path) -> None:
    app = App(config, path)
    try:
        app.reactor.listen()
    except OSError:
        app.ledger.close()
        raise
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_obey_signals, app)
        await app.serve()
        nursery.cancel_scope.cancel()


async def _obey_signals(app: App) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async for number in signals:
            if number == signal.SIGHUP:
                await app.site.reload("signal")
            else:
                app.stopping.set()


def _log_event(event: Event) -> None:
    getattr(log, event.level)(event.name, **event.facts)
