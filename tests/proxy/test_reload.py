"""A changed site file on a running site: all of it or nothing, and no unit notices."""

import logging
import random
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import structlog
import trio

from proxy.app import App
from proxy.checks.load import load_site
from proxy.sim.pool import PoolSpec, SimPool
from proxy.telemetry.log import configure
from tests.support.mine import solve
from tests.support.rig import EASY, Miner, until
from tests.support.site_file import api_key, pool, write_site

RELOADS = 20
UNITS = 30
OPERATOR = api_key("operator", "operator", "old-key")


class Site:
    """A whole site in this process, from a file that tests rewrite."""

    def __init__(self, app: App, path: Path, pools: Mapping[str, SimPool], url: str, nursery: trio.Nursery) -> None:
        self.app = app
        self.path = path
        self.pools = pools
        self.url = url
        self.nursery = nursery

    def rows(self, **changes: Mapping[str, object]) -> list[dict[str, object]]:
        """The [[pools]] as they were written at first, with changes by name."""
        return [pool(name, sim.port or 0, **changes.get(name, {})) for name, sim in self.pools.items()]

    async def miner(self, worker: str) -> tuple[Miner, dict[str, object]]:
        """A miner at work."""
        miner = Miner(await trio.open_tcp_stream(*self.app.reactor.addresses()[0]))
        hello = await miner.hello(worker)
        await miner.expect("mining.notify")
        return miner, hello

    async def mines(self, miner: Miner, hello: dict[str, object], first: int = 0) -> object:
        """The answer to a share of the newest job."""
        await miner.answer(await miner.send("mining.ping"))
        params = solve(hello, miner.of("mining.notify")[-1], EASY, first=first)
        answer = await miner.answer(await miner.send("mining.submit", "account.any", *params))
        return answer["result"] or answer["error"]


@pytest.fixture(autouse=True)
def log_levels(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The levels that were applied; the log of the tests themselves stays as it is."""
    applied: list[str] = []
    monkeypatch.setattr("proxy.reload.configure", applied.append)
    return applied


@asynccontextmanager
async def site(tmp_path: Path, names: Sequence[str] = ("north", "south"), **tables: object) -> AsyncIterator[Site]:
    async with trio.open_nursery() as nursery:
        pools = {name: SimPool(PoolSpec(name=name, difficulty=EASY), random.Random(name), time.time) for name in names}
        rows = []
        for name, sim in pools.items():
            rows.append(pool(name, await nursery.start(sim.serve)))
            nursery.start_soon(sim.run)
        path = write_site(tmp_path / "site.toml", rows, keys=[OPERATOR], **tables)  # type: ignore[arg-type]
        app = App(load_site(path).config, path)
        app.reactor.listen()
        url = await nursery.start(app.serve)
        await until(lambda: all(each.is_ready for each in app.pools))
        yield Site(app, path, pools, url, nursery)
        app.stopping.set()
        nursery.cancel_scope.cancel()


async def test_twenty_reloads_under_load_drop_no_connection_and_refuse_no_share(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        miners = [await it.miner("account.any") for _ in range(UNITS)]
        answers: list[object] = []
        enough = trio.Event()

        async def keep_mining(miner: Miner, hello: dict[str, object], number: int) -> None:
            first = 0
            while not enough.is_set():
                answers.append(await it.mines(miner, hello, first))
                first += 1_000

        async with trio.open_nursery() as nursery:
            for number, (miner, hello) in enumerate(miners):
                nursery.start_soon(keep_mining, miner, hello, number)
            for number in range(RELOADS):
                before = len(answers)
                changes = {"north": {"weight": 1.0 + number}, "south": {"priority": number % 3, "return_after_s": 5 + number}}
                write_site(it.path, it.rows(**changes), keys=[OPERATOR])
                assert await it.app.site.reload("test") == []
                await until(lambda before=before: len(answers) >= before + UNITS)
            enough.set()
        assert set(map(str, answers)) == {"True"}
        assert it.app.reactor.connection_count == UNITS
        assert [sim.totals.connections for sim in it.pools.values()] == [1, 1]
        assert it.app.ledger.totals().conservation_delta == 0


async def test_new_weights_apply_without_a_new_connection(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        before = list(it.app.pools)
        write_site(it.path, it.rows(north={"weight": 9.0}, south={"weight": 1.0}), keys=[OPERATOR])
        assert await it.app.site.reload("test") == []
        assert it.app.pools == before
        assert [(view.name, view.weight) for view in it.app.site.view().pools] == [("north", 9.0), ("south", 1.0)]
        decision = it.app.assigner.decision
        await until(lambda: it.app.assigner.decision is not decision)
        assert it.app.assigner.decision is not None
        assert {rung.name: rung.weight for rung in it.app.assigner.decision.usable} == {"north": 9.0, "south": 1.0}


async def test_another_account_is_another_connection_and_the_units_stay(tmp_path: Path) -> None:
    async with site(tmp_path, ["north"]) as it:
        miner, hello = await it.miner("account.any")
        write_site(it.path, it.rows(north={"user": "another"}), keys=[OPERATOR])
        assert await it.app.site.reload("test") == []
        await miner.expect("mining.notify", 2)
        assert await it.mines(miner, hello) is True
        await until(lambda: it.pools["north"].totals.work_by_user.get("another"))
        await until(lambda: len(it.pools["north"].sessions) == 1)


async def test_a_pool_may_come_and_another_go(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        miner, hello = await it.miner("account.any")
        write_site(it.path, it.rows()[1:], keys=[OPERATOR])
        assert await it.app.site.reload("test") == []
        await until(lambda: not it.pools["north"].sessions)
        await until(lambda: all(channel.session is not None for channel in it.app.router.channels))
        assert await it.mines(miner, hello) is True
        assert [each.name for each in it.app.pools] == ["south"]
        write_site(it.path, it.rows(), keys=[OPERATOR])
        assert await it.app.site.reload("test") == []
        await until(lambda: all(each.is_ready for each in it.app.pools))
        assert await it.mines(miner, hello, first=100_000) is True
        assert it.app.reactor.connection_count == 1


async def test_a_broken_file_keeps_everything_and_names_every_mistake(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        before, api = it.app.config, it.app.site.api
        write_site(
            it.path,
            it.rows(north={"weight": -1, "urll": "x"}, south={"priority": "high"}),
            tables={"vardiff": {"shares_per_minute": 0}},
        )
        problems = "\n".join(await it.app.site.reload("test"))
        for word in ("pools[0].weight", "urll", "pools[1].priority", "vardiff.shares_per_minute"):
            assert word in problems
        it.path.write_text("[[pools")
        assert "not TOML" in (await it.app.site.reload("test"))[0]
        it.path.unlink()
        assert "cannot be read" in (await it.app.site.reload("test"))[0]
        assert it.app.config is before
        assert it.app.site.api is api


async def test_what_needs_a_restart_is_refused_as_a_whole_and_named(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        before = it.app.config
        write_site(
            it.path,
            it.rows(north={"weight": 5.0}),
            listen={"max_connections": 5, "idle_timeout_s": 90.0},
            api={"listen": "127.0.0.1:9"},
            keys=[OPERATOR],
            tables={"heat": {"dead_band": 0.1}},
        )
        problems = await it.app.site.reload("test")
        assert [line.partition(" cannot change")[0] for line in problems] == [
            "heat.dead_band",
            "listen.idle_timeout_s, listen.max_connections",
            "api.listen",
        ]
        assert all("restart" in line for line in problems)
        assert it.app.config is before
        assert [each.config.weight for each in it.app.pools] == [1.0, 1.0]


async def test_a_ca_file_that_goes_away_in_the_last_moment_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with site(tmp_path) as it:
        before, pools = it.app.config, list(it.app.pools)

        def make_pool(table: object) -> object:
            raise FileNotFoundError(2, "No such file or directory", "ca.pem")

        monkeypatch.setattr(it.app, "make_pool", make_pool)
        write_site(it.path, it.rows(north={"user": "another"}), keys=[OPERATOR])
        (problem,) = await it.app.site.reload("test")
        assert "ca.pem" in problem
        assert it.app.config is before
        assert it.app.pools == pools


async def test_two_reloads_at_once_make_one_new_connection(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        write_site(it.path, it.rows(north={"user": "another"}), keys=[OPERATOR])
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(it.app.site.reload, "test")
        await until(lambda: all(each.is_ready for each in it.app.pools))
        assert it.pools["north"].totals.connections == 2
        await until(lambda: len(it.pools["north"].sessions) == 1)


async def test_api_keys_change_and_the_change_is_in_the_audit(tmp_path: Path) -> None:
    async with site(tmp_path) as it, httpx.AsyncClient(base_url=it.url, trust_env=False) as client:

        async def reload(key: str) -> int:
            response = await client.post("/api/v1/reload", headers={"Authorization": f"Bearer {key}"})
            return response.status_code

        assert await reload("old-key") == 200
        write_site(it.path, it.rows(), keys=[api_key("operator", "operator", "new-key")])
        assert await reload("old-key") == 200
        assert await reload("old-key") == 401
        assert await reload("new-key") == 200
        it.path.write_text("nonsense")
        response = await client.post("/api/v1/reload", headers={"X-API-Key": "new-key"})
        assert response.status_code == 409
        assert response.json()["problems"]
        assert await it.app.ledger.flush()
        rows = (await it.app.ledger.reports.audit_tail())[::-1]
        assert [(row.actor, row.action) for row in rows if row.action.startswith(("site", "api"))] == [
            ("operator", "site.reload"),
            ("operator", "site.reload"),
            ("stranger at 127.0.0.1", "api.refused"),
            ("operator", "site.reload"),
            ("operator", "site.reload"),
        ]
        assert "not TOML" in rows[-1].result


async def test_the_log_level_changes(tmp_path: Path, log_levels: list[str]) -> None:
    async with site(tmp_path, ["north"]) as it:
        write_site(it.path, it.rows(), keys=[OPERATOR], tables={"log": {"level": "debug"}})
        assert await it.app.site.reload("test") == []
        assert log_levels == ["debug"]


def test_a_level_set_again_counts_for_loggers_that_were_used_before(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    handlers = logging.getLogger().handlers
    logger = structlog.get_logger()
    try:
        configure("error")
        logger.info("too.small")
        configure("info")
        logger.info("large.enough")
    finally:
        structlog.reset_defaults()
        logging.getLogger().handlers = handlers
    (line,) = capsysbinary.readouterr().out.splitlines()
    assert b"large.enough" in line


async def test_difficulty_policy_changes_for_the_next_decision(tmp_path: Path) -> None:
    async with site(tmp_path, ["north"]) as it:
        miner, _ = await it.miner("account.any")
        write_site(it.path, it.rows(), keys=[OPERATOR], tables={"vardiff": {"enabled": False, "min_difficulty": 2.0**-30}})
        assert await it.app.site.reload("test") == []
        it.pools["north"].set_difficulty(EASY / 2)
        it.pools["north"].new_block()
        await miner.expect("mining.notify", 2)
        # No vardiff and no difficulty of our own: the pool's is passed on.
        assert miner.of("mining.set_difficulty")[-1]["params"] == [EASY / 2]
