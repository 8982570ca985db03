"""A machine that gives us few file descriptors: miners wait or are refused, and everything else goes on."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import trio

from tests.support.process import ROOT, free_port, started
from tests.support.rig import Miner
from tests.support.site_file import pool, write_site

pytestmark = pytest.mark.slow

ROOM, CALLERS = 8, 30


async def heard(stream: trio.SocketStream) -> bytes:
    return bytes(await stream.receive_some(10))


async def test_miners_wait_in_the_backlog_while_the_table_is_full_and_are_served_when_it_is_not() -> None:
    child = await trio.lowlevel.open_process(
        [sys.executable, Path(__file__).with_name("full_table_child.py"), str(ROOM)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
    )
    said = b""

    async def says(word: bytes) -> None:
        nonlocal said
        while word not in said:
            assert child.stdout is not None
            data = await child.stdout.receive_some()
            assert data, said.decode()
            said += data

    try:
        await says(b"\n")
        port = int(said.split()[1])
        callers = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(CALLERS)]
        for caller in callers:
            await caller.send_all(b"x")
        await says(b"listener.exhausted")
        for caller in callers[:ROOM]:
            assert await heard(caller) == b"x"
        # Each one that goes makes room for one that waits.
        for gone, waiting in zip(callers, callers[ROOM:], strict=False):
            await gone.aclose()
            assert await heard(waiting) == b"x"
        # Said when it began, not at every try.
        assert said.count(b"listener.exhausted") <= said.count(b"listener.recovered") + 1
    finally:
        child.kill()
        await child.wait()


async def test_a_full_hall_leaves_descriptors_for_the_api(tmp_path: Path) -> None:
    address, api = ("127.0.0.1", free_port()), free_port()
    site_file = write_site(
        tmp_path / "site.toml",
        [pool("nowhere", 9)],
        listen={"v1": f"{address[0]}:{address[1]}", "max_connections": 500, "max_connections_per_address": 500},
        api={"listen": f"127.0.0.1:{api}"},
    )
    async with started(site_file, descriptors=300) as run:
        miners = [Miner(await trio.open_tcp_stream(*address)) for _ in range(290)]
        served = 0
        async with trio.open_nursery() as nursery:

            async def ask(miner: Miner) -> None:
                nonlocal served
                try:
                    answer = await miner.answer(await miner.send("mining.ping"))
                except (trio.EndOfChannel, trio.BrokenResourceError):
                    return
                served += answer["result"] == "pong"

            for miner in miners:
                nursery.start_soon(ask, miner)
        assert served == 150
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{api}", trust_env=False) as client:
            assert (await client.get("/healthz")).status_code == 200
            status = (await client.get("/api/v1/status")).json()
            assert status["ledger_state"] == "ok"
        assert not run.named("listener.exhausted")
