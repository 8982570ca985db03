"""The product as a process of its own: started with a site file, asked whether it is ready, watched, and ended.

It is the installed command, unchanged, in the environment of the running interpreter. What it serves is not looked at here.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import trio

from proxy.errors import ThermostratumError

# After a polite request to end; then it is killed.
END_TIMEOUT_S = 10.0
_TAIL_LINES = 12


class ProxyDiedError(ThermostratumError):
    """The proxy ended by itself. The text has its last words and where the rest is."""


class Usage(msgspec.Struct, frozen=True):
    """What a process has used up: processor seconds, and resident memory now."""

    cpu_s: float
    rss_mb: float


class ProxyProcess:
    """One run of `proxy.cli run`. Its output goes to `log_path`."""

    def __init__(self, site_file: Path, log_path: Path, command: Sequence[str] = ("-m", "proxy.cli", "run")) -> None:
        """`command` is what our interpreter runs, with the site file as its last argument."""
        self._site_file = site_file
        self._command = command
        self.log_path = log_path
        self._process: trio.Process | None = None
        self._last_usage: Usage | None = None
        self._is_stopping = False

    async def start(self) -> None:
        """Start it, in a session of its own so that Ctrl-C in the terminal reaches only us. Raises OSError."""
        command = [sys.executable, *self._command, str(self._site_file)]
        with self.log_path.open("wb") as log_file:
            self._process = await trio.lowlevel.open_process(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log_file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=self._site_file.parent,
                env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": os.pathsep.join(_import_path())},
            )

    @property
    def is_running(self) -> bool:
        """It was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def check(self) -> None:
        """Raises ProxyDiedError when it has ended without being asked to."""
        if self._process is None or self._is_stopping or (code := self._process.poll()) is None:
            return
        raise ProxyDiedError(f"the proxy ended by itself with exit code {code}:\n{self.last_words()}\nwhole log: {self.log_path}")

    def last_words(self) -> str:
        """The end of its log."""
        try:
            lines = self.log_path.read_text(errors="replace").splitlines()
        except OSError as error:
            return f"(no log: {error.strerror})"
        return "\n".join(lines[-_TAIL_LINES:])

    def usage(self) -> Usage | None:
        """What it uses; after its end the last that was seen, None when it never was."""
        if self._process is not None and self.is_running:
            self._last_usage = read_usage(self._process.pid) or self._last_usage
        return self._last_usage

    async def stop(self) -> int | None:
        """Ask it to end, after END_TIMEOUT_S make it; gives the exit code. Works under cancellation, for at most that long."""
        process = self._process
        if process is None:
            return None
        self.usage()
        self._is_stopping = True
        with trio.CancelScope(shield=True):
            if process.poll() is None:
                process.terminate()
            with trio.move_on_after(END_TIMEOUT_S):
                await process.wait()
            if process.poll() is None:
                process.kill()
            await process.wait()
        return process.returncode


def read_usage(pid: int) -> Usage | None:
    """From /proc; None where there is no such process (or no /proc)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    # The name in field 2 may hold spaces and brackets; what follows its last bracket is plain.
    fields = stat.rpartition(")")[2].split()
    cpu_s = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    for line in status.splitlines():
        if line.startswith("VmRSS:"):
            return Usage(cpu_s, int(line.split()[1]) / 1024.0)
    return None


def _import_path() -> list[str]:
    """Where this `proxy` package is, so that the child runs the same product wherever it is started."""
    here = str(Path(__file__).resolve().parents[2])
    before = os.environ.get("PYTHONPATH")
    return [here, before] if before else [here]
