"""A running site with a Stratum V2 port, and devices of the test's own on it."""

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from protocol.v2.keys import decode_authority_key
from proxy.config import Listen
from proxy.key_file import write_keys
from proxy.sim.pool import PoolSpec
from tests.support.rig import EASY, Rig, running
from tests.support.v2 import Device
from tests.support.v2_rules import check_conversation


class RigV2:
    """A rig, and where its V2 port is."""

    def __init__(self, rig: Rig, authority_x: bytes | None) -> None:
        self.rig = rig
        self.app = rig.app
        self.pools = rig.pools
        self.authority_x = authority_x
        self.address = rig.app.reactor.addresses()[-1]
        self.devices: list[Device] = []

    async def device(self) -> Device:
        """A new connection; nothing was said yet."""
        self.devices.append(Device(await trio.open_tcp_stream(*self.address), self.authority_x))
        return self.devices[-1]

    async def ready(self, flags: int = 0) -> Device:
        """A connection that is set up."""
        device = await self.device()
        await device.hello(flags)
        return device


@asynccontextmanager
async def running_v2(
    tmp_path: Path,
    specs: Sequence[PoolSpec] = (PoolSpec(difficulty=EASY),),
    *,
    plaintext: bool = False,
    listen: dict[str, object] | None = None,
    **tables: object,
) -> AsyncIterator[RigV2]:
    """A site that listens for V1 and V2. `listen`: keys of its table to change.

    What every device heard is checked at the end against what holds for any conversation (v2_rules.py).
    """
    tmp_path.mkdir(parents=True, exist_ok=True)
    authority_x = None
    keys: dict[str, object] = {"v2_plaintext": True}
    if not plaintext:
        authority_x = decode_authority_key(write_keys(tmp_path / "keys.toml", os.urandom))
        keys = {"v2_identity": str(tmp_path / "keys.toml")}
    table = {"v1": "127.0.0.1:0", "v2": "127.0.0.1:0", "max_connections": 2_000, "max_connections_per_address": 2_000}
    config = Listen(**{**table, **keys, **(listen or {})})  # type: ignore[arg-type]  # the test names the keys
    async with running(tmp_path, specs, listen=config, **tables) as rig:
        found = RigV2(rig, authority_x)
        yield found
        for device in found.devices:
            check_conversation(device)
