"""A ledger in a temporary directory, shares to put into it, and a wall clock that stands still until told."""

import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import trio

from proxy import config
from proxy.ledger.ledger import Ledger
from proxy.ledger.records import ShareRecord
from tests.support.patience import PATIENCE_S

START_UNIX_S = 1_700_000_100.0


class WallClock:
    """Says `now_unix_s` to whoever calls it."""

    def __init__(self) -> None:
        self.now_unix_s = START_UNIX_S

    def __call__(self) -> float:
        return self.now_unix_s


@pytest.fixture
def clock() -> WallClock:
    return WallClock()


class Site:
    """Opens and runs ledgers in one directory, one after the other."""

    def __init__(self, directory: Path, clock: WallClock) -> None:
        self.directory = directory
        self.clock = clock
        self.settings = config.Ledger(group_commit_s=0.001)
        self.durable: list[object] = []
        self.batches: list[list[object]] = []
        self.failed: list[object] = []
        self.states: list[str | None] = []
        self._changed = trio.Event()

    @property
    def url(self) -> str:
        return self.settings.url or f"sqlite:///{self.path}"

    @property
    def path(self) -> Path:
        return self.directory / "ledger.sqlite3"

    def open(self, recovery_s: float = 10.0) -> Ledger:
        """A ledger whose answers are collected here."""
        ledger = Ledger.open(self.settings, self.directory, self.clock, recovery_s=recovery_s)
        ledger.on_durable = self._on_durable
        ledger.on_failed = self._on_failed
        ledger.on_state = self._on_state
        return ledger

    @contextlib.asynccontextmanager
    async def running(self, recovery_s: float = 10.0) -> AsyncIterator[Ledger]:
        """An open ledger that runs, ended cleanly afterwards."""
        ledger = self.open(recovery_s)
        async with trio.open_nursery() as nursery:
            await nursery.start(ledger.run)
            yield ledger
            nursery.cancel_scope.cancel()

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait for a callback after which `is_so`."""
        with trio.fail_after(PATIENCE_S):
            while not is_so():
                await self._changed.wait()

    def _note(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    def _on_durable(self, tokens: list[object]) -> None:
        self.durable += tokens
        self.batches.append(tokens)
        self._note()

    def _on_failed(self, tokens: list[object]) -> None:
        self.failed += tokens
        self._note()

    def _on_state(self, reason: str | None) -> None:
        self.states.append(reason)
        self._note()


@pytest.fixture
def site(tmp_path: Path, clock: WallClock) -> Site:
    return Site(tmp_path, clock)


MakeShare = Callable[..., ShareRecord]


@pytest.fixture
def make_share(clock: WallClock) -> MakeShare:
    def make(ledger: Ledger, **changes: object) -> ShareRecord:
        share_id = ledger.next_share_id()
        fields: dict[str, object] = {
            "share_id": share_id,
            "at_unix_s": clock(),
            "unit": "unit-1",
            "worker": "unit-1",
            "pool": "main",
            "session": 1,
            "upstream_job": "6a2f",
            "difficulty": 1024.0,
            "pool_difficulty": 2048.0,
            "key": hashlib.sha256(share_id.to_bytes(8, "big")).digest()[:16],
            "forwarded": True,
            "block": False,
        }
        return ShareRecord(**{**fields, **changes})

    return make
