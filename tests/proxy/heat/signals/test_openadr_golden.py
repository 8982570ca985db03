"""What a server that many run told our end node, replayed: it must take the same demands from it and say nothing that is not known
to have been accepted."""

from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from pathlib import Path

import pytest
import trio

from proxy import config
from proxy.config import SiteConfig
from proxy.events import EventLog
from proxy.heat.signals import openadr, openadr_client
from proxy.heat.signals.status import SignalStatus
from tests.support.patience import PATIENCE_S
from tests.support.signal_port import RecordingPort
from tests.support.vtn_replayed import ReplayedVtn, Row, key_of, rows_of, shape

ROWS = rows_of("openleadr-rs-0.2.4.jsonl")
STEPS = list(dict.fromkeys(row["step"] for row in ROWS))
# How far the clock of the replay may be from the recording's, seconds: until when a demand holds may depend on when it was seen.
NEAR_S = 30.0
# Where the end node was started, and where no token given before was good any more.
STARTED = ("enrol", "restarted", "expired")
REVOKED = ("back", "expired")
# What the server took, by request and by what its body is made of.
ACCEPTED = {
    (key_of(row["request"], row["body"]), str(shape(row["body"])))
    for row in ROWS
    if row["from"] == "ven" and row["status"] in (200, 201)
}


def cap_after(step: str) -> float | None:
    """The import limit that the recording had when this step was over."""
    caps = [row["limit"]["power_w"] for name in STEPS[: STEPS.index(step) + 1] for row in plant_rows(name) if "limit" in row]
    return caps[-1] if caps else None


def plant_rows(step: str) -> list[Row]:
    return [row for row in ROWS if row["step"] == step and row["from"] == "plant"]


class Rig:
    """The end node, started as often as the recording did, with the clock of the recording."""

    def __init__(self, nursery: trio.Nursery, secret: Path) -> None:
        self._nursery = nursery
        self._secret = secret
        self._scope, self._server_scope = trio.CancelScope(), trio.CancelScope()
        self.vtn = ReplayedVtn(ROWS)
        self.port = RecordingPort()
        self.now = ROWS[0]["t"]
        self.status = SignalStatus("openadr", "vtn", EventLog(lambda: self.now), trio.current_time)

    async def serve(self) -> None:
        """Let the server serve, where it was before."""
        self._server_scope = trio.CancelScope()
        await self._nursery.start(self._run_server, self._server_scope, self.vtn.url.removeprefix("http://") or "127.0.0.1:0")

    async def _run_server(self, scope: trio.CancelScope, bind: str, *, task_status: trio.TaskStatus[None]) -> None:
        with scope:
            await self.vtn.run(task_status=task_status, bind=bind)

    def kill_server(self) -> None:
        self._server_scope.cancel()

    def configure(self) -> None:
        self._secret.write_text("ven-client\n")
        signal = config.OpenAdrSignal(
            url=self.vtn.url,
            client_id="ven-client-client-id",
            client_secret_file=str(self._secret),
            program="district-heat",
            poll_period_s=0.02,
            report_period_s=0.03,
        )
        self._site = SiteConfig(
            site=config.Site(name="hall"),
            pools=[config.Pool(name="p", url="stratum+tcp://127.0.0.1:1", user="u")],
            signals=config.Signals(openadr=signal),
        )

    def start(self) -> None:
        self._scope.cancel()
        self._scope = trio.CancelScope()
        self._nursery.start_soon(self._serve, self._scope)

    async def _serve(self, scope: trio.CancelScope) -> None:
        with scope:
            await openadr.serve(self._site, self.port, self.status, lambda: self.now)

    @property
    def limit_w(self) -> float | None:
        """The import limit that the plant was told last."""
        return self.port.limits[-1][0] if self.port.limits else None

    async def until(self, condition: Callable[[], bool]) -> None:
        with trio.fail_after(PATIENCE_S):
            while not condition():
                await trio.sleep(0.005)


@pytest.fixture
async def rig(nursery: trio.Nursery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    monkeypatch.setattr(openadr_client, "DOUBTED_S", 0.0)  # the recording waited
    rig = Rig(nursery, tmp_path / "secret")
    await rig.serve()
    rig.configure()
    yield rig
    nursery.cancel_scope.cancel()


async def replay(rig: Rig, step: str) -> None:
    """Go through one step as it was recorded: what the plant is asked must be the same, and so must be what the server is told."""
    rows = plant_rows(step)
    heat = [row["asked"] for row in rows if "asked" in row]
    asked, tokens, sent = len(rig.port.accepted), rig.vtn.tokens_given, len(rig.vtn.sent)
    rig.now = rows[0]["t"] if rows else next(row["t"] for row in ROWS if row["step"] == step)
    rig.vtn.enter(step)
    if step in REVOKED:
        rig.vtn.revoke()
    if step in STARTED:
        rig.start()
    await rig.until(lambda: len(rig.port.accepted) == asked + len(heat) and rig.limit_w == cap_after(step))
    taken = rig.port.accepted[asked:]
    assert [(each.power_w, each.supply_c) for each in taken] == [(row["power_w"], row["supply_c"]) for row in heat]
    assert all(abs(each.valid_until_unix_s - row["until_s"]) < NEAR_S for each, row in zip(taken, heat, strict=True))
    if step in REVOKED:
        await rig.until(lambda: rig.vtn.tokens_given > tokens and rig.status.view().connected)
    if any(
        row["from"] == "ven" and row["body"] is not None and "/reports" in row["request"] for row in ROWS if row["step"] == step
    ):
        await rig.until(lambda: len(rig.vtn.sent) > sent)


async def test_a_real_server_is_followed_through_changes_restarts_and_expired_tokens(rig: Rig) -> None:
    for step in STEPS:
        if step == "killed":
            rig.kill_server()
            await rig.until(lambda: not rig.status.view().connected)
            continue
        if step == "back":
            await rig.serve()
        await replay(rig, step)
    assert rig.vtn.strange == []
    assert {(key, str(body)) for key, body in rig.vtn.sent} <= ACCEPTED


def test_every_step_of_the_recording_is_replayed_in_its_order() -> None:
    assert (STEPS[0], STEPS[-1]) == ("enrol", "expired")
    assert len(STEPS) == 12
    assert all(before["t"] <= after["t"] for before, after in pairwise(ROWS))
