"""Simulated Avalons on loopback sockets in a process of their own, so that their work is not on the account of whoever asks them.

For benchmarks. The other process answers until its standard input ends. Moments are `time.monotonic()`, one clock for all processes
of a machine. Who asks, what is asked and what comes out of it is the benchmark's.
"""

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import trio

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from proxy import config
from proxy.sim.device import SimDevice, SimDeviceSpec

MODEL = config.Model(
    levels=[
        config.Level(name="eco", power_w=4_435, hashrate_hps=297.6e12, setting=-1),
        config.Level(name="full", power_w=8_064, hashrate_hps=480e12, setting=0),
    ]
)


class Told(msgspec.Struct, frozen=True):
    """When machines were first told to go lower, in the order of time."""

    at_s: list[float]


class _Listener(SimDevice):
    """Remembers when it was first told to sleep or to change its level."""

    told_s: float | None = None

    def fall_asleep(self, at_unix_s: int | None) -> None:
        """As the machine does."""
        self._note()
        super().fall_asleep(at_unix_s)

    def change_setting(self, setting: int) -> None:
        """As the machine does."""
        self._note()
        super().change_setting(setting)

    def _note(self) -> None:
        if self.told_s is None:
            self.told_s = time.monotonic()


class Farm:
    """The process, seen from outside. `ports` has one entry a machine."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.ports: list[int] = msgspec.json.decode(self._line(), type=list[int])

    def silence(self, count: int) -> None:
        """Let the first `count` machines take connections and say nothing."""
        self._ask(f"silence {count}")

    def told(self) -> Told:
        """Who was told what until now."""
        return msgspec.json.decode(self._ask("told"), type=Told)

    def _ask(self, word: str) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()
        return self._line()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


@contextmanager
def farm(count: int) -> Iterator[Farm]:
    """So many machines on their highest level, gone at the end."""
    with subprocess.Popen(
        [sys.executable, __file__, str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Farm(process)
        finally:
            process.kill()


async def _be(count: int) -> None:
    spec = SimDeviceSpec.from_model(MODEL)
    devices = [_Listener(spec, random.Random(index)) for index in range(count)]
    async with trio.open_nursery() as nursery:
        ports = [await nursery.start(lambda d=d, **kw: d.serve("127.0.0.1", 0, clock=trio.current_time, **kw)) for d in devices]
        _say(ports)
        while line := await trio.to_thread.run_sync(sys.stdin.readline):
            match line.split():
                case ["silence", number]:
                    for device in devices[: int(number)]:
                        device.faults.is_dead = True
                    _say(None)
                case ["told"]:
                    _say(Told(sorted(device.told_s for device in devices if device.told_s is not None)))
        nursery.cancel_scope.cancel()


def _say(what: object) -> None:
    sys.stdout.write(msgspec.json.encode(what).decode() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    trio.run(_be, int(sys.argv[1]))
