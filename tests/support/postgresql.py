"""A PostgreSQL server of a test's own: on loopback, with a cluster of its own, under a user without rights.

It can be killed and come back with what it had committed; a power cut is not played, so it need not wait for the disk.
"""

import contextlib
import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

# Debian keeps the server's programs off the path.
BINARIES = [
    *(Path(found) for found in [shutil.which("initdb")] if found),
    *sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")),
]
needs_postgresql = [
    pytest.mark.skipif(not BINARIES, reason="no PostgreSQL server: as root, apt-get install postgresql (no cluster is needed)"),
    pytest.mark.skipif(importlib.util.find_spec("psycopg") is None, reason="no driver: pip install -r requirements-postgres.txt"),
]


def free_port() -> int:
    """A TCP port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """One cluster. Blocks while it starts and stops: a second or less each."""

    def __init__(self, home: Path, user: int | None) -> None:
        self.port = free_port()
        self._binaries = BINARIES[-1].resolve().parent
        self._home = home
        self._user = user
        self._run("initdb", "-D", home / "data", "-U", "proxy", "-A", "trust", "--no-sync", "-E", "UTF8")
        self.start()

    def start(self) -> None:
        """Returns when it takes connections."""
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self._home} -c fsync=off"
        self._run("pg_ctl", "-D", self._home / "data", "-l", self._home / "log", "-o", options, "-w", "start")

    def stop(self, mode: str = "fast") -> None:
        """`immediate` is as a crash: what was not committed is gone."""
        self._run("pg_ctl", "-D", self._home / "data", "-m", mode, "-w", "stop")

    def url(self, database: str) -> str:
        """The ledger's URL of a new database."""
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "proxy", database)
        return self.url_by(self.port, database)

    @staticmethod
    def url_by(port: int, database: str) -> str:
        """The same by another door."""
        return f"postgresql+psycopg://proxy@127.0.0.1:{port}/{database}"

    def _run(self, command: str, *arguments: str | Path) -> None:
        subprocess.run(
            [self._binaries / command, *arguments],
            check=True,
            user=self._user,
            cwd=self._home,
            stdout=subprocess.DEVNULL,
            timeout=60,
        )


@contextlib.contextmanager
def running() -> Iterator[Server]:
    """A server, gone with its files afterwards."""
    user = None
    if os.geteuid() == 0:  # it refuses to run as root
        names = {entry.pw_name: entry.pw_uid for entry in pwd.getpwall()}
        user = names.get("postgres", names.get("nobody"))
    # pytest's own directories are closed to that user.
    home = Path(tempfile.mkdtemp(prefix="ledger-pg-"))
    if user is not None:
        os.chown(home, user, -1)
    try:
        server = Server(home, user)
        try:
            yield server
        finally:
            with contextlib.suppress(subprocess.CalledProcessError):  # a test may have stopped it
                server.stop("immediate")
    finally:
        shutil.rmtree(home)
