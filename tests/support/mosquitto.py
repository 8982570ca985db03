"""Debian's MQTT broker, run by a test on loopback; it can be killed, and started again with what it had stored."""

import shutil
import socket
from pathlib import Path

import pytest
import trio

from tests.support.patience import PATIENCE_S

MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
needs_mosquitto = pytest.mark.skipif(
    MOSQUITTO is None, reason="mosquitto is not installed: as root, apt-get install mosquitto (or deploy/ci/broker.sh)"
)


def free_port() -> int:
    """A TCP port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Broker:
    """One broker with its own directory. `lines` are added to its configuration."""

    def __init__(self, directory: Path, *lines: str) -> None:
        self.port = free_port()
        self._config = directory / "mosquitto.conf"
        self._process: trio.Process | None = None
        text = [
            "user root",
            f"listener {self.port} 127.0.0.1",
            "allow_anonymous true",
            "persistence true",
            f"persistence_location {directory}/",
            "autosave_on_changes true",
            "autosave_interval 1",
            "log_dest stderr",
            "log_type error",
            "log_type notice",
            "log_type information",
        ]
        if "allow_anonymous false" in lines:
            text.remove("allow_anonymous true")
        self._config.write_text("\n".join([*text, *lines, ""]))

    async def start(self, nursery: trio.Nursery) -> None:
        """Returns when it listens."""
        assert MOSQUITTO is not None
        process = self._process = await trio.lowlevel.open_process(
            [MOSQUITTO, "-c", str(self._config)], stdin=None, stderr=-1, stdout=-3
        )
        assert process.stderr is not None
        said = b""
        with trio.fail_after(PATIENCE_S):
            while b" running" not in said:
                chunk = await process.stderr.receive_some()
                assert chunk, f"mosquitto ended: {said.decode()}"
                said += bytes(chunk)
        nursery.start_soon(self._drain, process)

    async def kill(self) -> None:
        """As a power cut does."""
        assert self._process is not None
        self._process.kill()
        await self._process.wait()

    @staticmethod
    async def _drain(process: trio.Process) -> None:
        """Read what it says, so that it never waits for us; it does not outlive the test."""
        assert process.stderr is not None
        try:
            async for _ in process.stderr:
                pass
        finally:
            process.kill()
