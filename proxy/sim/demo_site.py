"""The demo's site as numbers, and the site file written from them.

One record holds every figure of the demo, so that the configuration of the proxy, the simulated machines and the plant cannot
disagree. It starts nothing. The file itself is demo_site.toml beside this module, written to be read.
"""

import hashlib
import string
from pathlib import Path

import msgspec

from proxy.sim.pool import PoolSpec
from proxy.sim.pool_v2 import PoolSpecV2

_TEMPLATE = Path(__file__).with_name("demo_site.toml")
MODEL = "A1566HA"
# Part of rated power and of rated hashrate of each level: less power is better efficiency, as silicon is.
LEVEL_PARTS = ((0.55, 0.62), (0.70, 0.765), (0.85, 0.885), (1.00, 1.00), (1.08, 1.05))


class DemoUnit(msgspec.Struct, frozen=True):
    """One simulated machine. Its API and its Stratum client have the same address, as on a real floor."""

    id: str
    loop: str
    address: str
    is_v2: bool

    @property
    def worker(self) -> str:
        """The name it mines with."""
        return f"demo.{self.id}"


class DemoPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of the demo. The plant lives `time_scale` times faster than life: its day takes 24 h / time_scale."""

    loop_count: int = 4
    units_per_loop: int = 57
    unit_power_w: float = 8_064.0
    unit_hashrate_hps: float = 300.0
    true_efficiency: float = 0.94
    # Commissioning measured it nearly right. The proxy corrects the rest from the meter, but at the pace of real water: in hours.
    believed_efficiency: float = 0.942
    time_scale: float = 60.0
    start_hour: float = 7.5  # just after the morning peak: demand falls at once, in the afternoon units sleep
    setpoint_s: float = 900.0  # in the plant's time, like all that follow
    seed: int = 1566
    api_port: int = 4028
    control_period_s: float = 30.0
    telemetry_period_s: float = 60.0

    @property
    def loops(self) -> tuple[str, ...]:
        """Names of the hydraulic loops."""
        return tuple(f"loop-{number}" for number in range(1, self.loop_count + 1))

    @property
    def units(self) -> tuple[DemoUnit, ...]:
        """Every machine, loop by loop; every other one speaks Stratum V2."""
        return tuple(
            DemoUnit(f"L{loop}-{slot:02d}", f"loop-{loop}", f"127.0.{loop}.{slot}", is_v2=(loop + slot) % 2 == 1)
            for loop in range(1, self.loop_count + 1)
            for slot in range(1, self.units_per_loop + 1)
        )

    @property
    def rated_power_w(self) -> float:
        """Electrical, all units on the 100 % level."""
        return self.loop_count * self.units_per_loop * self.unit_power_w

    @property
    def heat_capacity_w(self) -> float:
        """Thermal, all units on the 100 % level."""
        return self.rated_power_w * self.true_efficiency

    def real_s(self, plant_s: float) -> float:
        """How long a time of the plant's life takes on the clock of this machine."""
        return plant_s / self.time_scale


# One hash in 2**23 meets this network target: this fleet finds a block every two minutes or so.
BLOCK_NBITS = 0x1E020000


def pool_specs() -> tuple[PoolSpec, PoolSpecV2]:
    """The two pools. They differ in all that pools differ in: protocol version, sizes of extranonce, branches, difficulty."""
    north = PoolSpec(
        name="north",
        extranonce1_bytes=4,
        extranonce2_bytes=8,
        first_job="subscribe",
        difficulty=2.0**-22,
        block_interval_s=120.0,
        refresh_s=7.0,
        nbits=BLOCK_NBITS,
        job_prefix="n",
    )
    south = PoolSpecV2(
        name="south",
        prefix_bytes=10,
        extranonce_bytes=6,
        difficulty=2.0**-21,
        block_interval_s=150.0,
        refresh_s=9.0,
        nbits=BLOCK_NBITS,
        merkle_branches=9,
        job_prefix="s",
    )
    return north, south


class Endpoints(msgspec.Struct, frozen=True):
    """Where things listen in this run: host:port of ours, urls of the pools; v2_identity is the key file of our V2 port."""

    listen_v1: str
    listen_v2: str
    v2_identity: str
    listen_http: str
    north: str
    south: str


def write_site(folder: Path, plan: DemoPlan, endpoints: Endpoints, utility_key: str, operator_key: str) -> Path:
    """Write site.toml and units.csv into `folder`; gives the path of the first. Only hashes of the keys are written."""
    site_file = folder / "site.toml"
    site_file.write_text(render_site(plan, endpoints, utility_key, operator_key), encoding="utf-8")
    rows = [f"{unit.id},{unit.address},{MODEL},{unit.loop},{unit.worker},{plan.api_port}" for unit in plan.units]
    (folder / "units.csv").write_text("\n".join(["id,address,model,loop,worker,api_port", *rows, ""]), encoding="utf-8")
    return site_file


def render_site(plan: DemoPlan, endpoints: Endpoints, utility_key: str, operator_key: str) -> str:
    """The text of the site file."""
    levels = [
        f'    {{ name = "{power:.0%}", power_w = {power * plan.unit_power_w:.0f}, '
        f"hashrate_hps = {rate * plan.unit_hashrate_hps:g}, setting = {setting} }},"
        for setting, (power, rate) in enumerate(LEVEL_PARTS)
    ]
    seconds = {
        "settle_s": 240.0,
        "wake_s": 300.0,
        "min_dwell_s": 300.0,
        "min_off_s": 900.0,
        "min_on_s": 1_800.0,
        "correction_tau_s": 240.0,
        "reference_tau_s": 150.0,
        "plant_tau_s": 120.0,
        "disturbance_tau_s": 240.0,
        "hold_after_s": 1_800.0,
        "fallback_after_s": 3_600.0,
        "limit_after_s": 7_200.0,
        "control_period_s": plan.control_period_s,
        "telemetry_period_s": plan.telemetry_period_s,
    }
    return string.Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(
        msgspec.structs.asdict(endpoints),
        top_hashrate_hps=f"{plan.unit_hashrate_hps:g}",
        time_scale=f"{plan.time_scale:g}",
        efficiency=f"{plan.believed_efficiency:g}",
        loops="".join(f'[[loops]]\nname = "{name}"\n\n' for name in plan.loops),
        levels="\n".join(levels),
        wakes_per_min=f"{20 * plan.time_scale:.0f}",
        # A day of this plant is over in minutes.
        max_changes_per_day=f"{min(48 * plan.time_scale, 10_000):.0f}",
        max_swings_per_h=f"{min(6 * plan.time_scale, 3_600):.0f}",
        ramp_w_per_min=f"{1_000_000 * plan.time_scale:.0f}",
        utility_sha256=_sha256(utility_key),
        operator_sha256=_sha256(operator_key),
        **{name: f"{plan.real_s(plant_s):g}" for name, plant_s in seconds.items()},
    )


def _sha256(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
