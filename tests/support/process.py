"""The product as a process of its own, as an operator starts it; what it logs is an event to wait for, never a time."""

import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import trio

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    """A port of loopback that nobody has now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


class Run:
    """One run of `thermostratum run`. `events`: its log so far, by line."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self.events: list[dict[str, object]] = []
        self.other_lines: list[str] = []
        self._news = trio.Event()
        self.ended = trio.Event()

    async def read(self) -> None:
        """Take its log until it ends."""
        buffer = b""
        assert self.process.stdout is not None
        while data := await self.process.stdout.receive_some(65_536):
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                if line.startswith(b"{"):
                    self.events.append(orjson.loads(line))
                else:
                    self.other_lines.append(line.decode())
            self._tell()
        await self.process.wait()
        self.ended.set()
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()

    def named(self, name: str) -> list[dict[str, object]]:
        """Its events of this name."""
        return [event for event in self.events if event["event"] == name]

    async def says(self, name: str, count: int = 1) -> dict[str, object]:
        """Wait for the `count`th event of this name."""
        while len(self.named(name)) < count:
            assert not self.ended.is_set(), f"it ended with {self.process.returncode}: {self.events[-3:]} {self.other_lines[-30:]}"
            await self._news.wait()
        return self.named(name)[count - 1]

    def send(self, number: signal.Signals) -> None:
        """A signal."""
        self.process.send_signal(number)

    async def end(self, number: signal.Signals) -> int:
        """A signal, and the exit code that follows."""
        self.process.send_signal(number)
        await self.ended.wait()
        assert self.process.returncode is not None
        return self.process.returncode


@asynccontextmanager
async def started(site_file: Path, *, descriptors: int | None = None) -> AsyncIterator[Run]:
    """A run that serves; whatever happens, it does not outlive the block. `descriptors`: its hard limit of open files."""
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "proxy.cli", "run", str(site_file)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        preexec_fn=None if descriptors is None else _limited(descriptors),
    )
    run = Run(process)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run.read)
        try:
            await run.says("site.running")
            yield run
        finally:
            if process.poll() is None:
                process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
            nursery.cancel_scope.cancel()


def _limited(descriptors: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))
