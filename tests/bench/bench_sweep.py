"""How long a sweep over the fleet takes: real loopback TCP, simulated machines in a process of their own.

    python tests/bench/bench_sweep.py [units]

Prints figures, asserts nothing: run it by hand. The aim is 1,000 units in 1 s.
"""

import random
import statistics
import subprocess
import sys
import time
from pathlib import Path

import trio

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from proxy import config
from proxy.events import EventLog
from proxy.sim.device import SimDevice, SimDeviceSpec
from proxy.units.fleet import Fleet

ROUNDS = 5
MODEL = config.Model(
    levels=[
        config.Level(name="eco", power_w=4_435, hashrate_hps=297.6e12, setting=-1),
        config.Level(name="full", power_w=8_064, hashrate_hps=480e12, setting=0),
    ]
)


async def serve(count: int) -> None:
    """Be the machines: print their ports, then answer until killed."""
    async with trio.open_nursery() as nursery:
        spec = SimDeviceSpec.from_model(MODEL)
        devices = [SimDevice(spec, random.Random(index)) for index in range(count)]
        ports = [await nursery.start(lambda d=d, **kw: d.serve("127.0.0.1", 0, clock=trio.current_time, **kw)) for d in devices]
        sys.stdout.write(" ".join(str(port) for port in ports) + "\n")
        sys.stdout.flush()


async def sweep(ports: list[int]) -> list[float]:
    """Seconds of each sweep; the first one also identifies every unit (three connections instead of one)."""
    units = [
        config.Unit(id=f"u{index}", address="127.0.0.1", model="m", loop="l", api_port=port) for index, port in enumerate(ports)
    ]
    fleet = Fleet(units, {"m": MODEL}, config.Heat(telemetry_period_s=300), EventLog(time.time))
    took: list[float] = []
    async with trio.open_nursery() as nursery:
        started_s = trio.current_time()
        await nursery.start(fleet.run)
        for _ in range(ROUNDS):
            while any(life.reading is None or life.reading.at_s < started_s for life in fleet._lives.values()):
                await trio.sleep(0.002)
            took.append(trio.current_time() - started_s)
            await trio.sleep(0.5)
            started_s = trio.current_time()
            for actor in fleet._actors.values():
                actor.read_soon()
        nursery.cancel_scope.cancel()
    return took


def main() -> None:
    """Start the machines, sweep them, print."""
    if sys.argv[1:2] == ["--serve"]:
        trio.run(serve, int(sys.argv[2]))
        return
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000
    with subprocess.Popen([sys.executable, __file__, "--serve", str(count)], stdout=subprocess.PIPE, text=True) as machines:
        assert machines.stdout is not None
        ports = [int(port) for port in machines.stdout.readline().split()]
        cpu_s = time.process_time()
        first, *later = trio.run(sweep, ports)
        cpu_s = time.process_time() - cpu_s
        machines.kill()
    print(f"units {count}: first sweep {first:.2f} s, later {statistics.median(later):.2f} s")
    print(f"CPU of the sweeping process: {cpu_s / (ROUNDS + 2):.2f} s a sweep")


if __name__ == "__main__":
    main()
