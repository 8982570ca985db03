"""Many strict units on one proxy: each reads all it is sent, hashes when told to, and knows no method but the two plainest."""

from collections.abc import Iterable

import trio

from proxy.sim.miner import PLAIN_METHODS
from tests.support.mine import solve
from tests.support.rig import Miner, Rig, until

ROLLING = [["version-rolling"], {"version-rolling.mask": "ffffffff", "version-rolling.min-bit-count": 2}]
AGENTS = ("cgminer/4.11.1", "cpuminer/2.5.1", "cgminer/4.12.0 A1566HA", "bitaxe/BM1370", "btminer/3.1", "bmminer/2.0.0")


class SwarmUnit:
    """One unit. It rolls version bits where the number is odd."""

    def __init__(self, miner: Miner, number: int, hello: dict[str, object]) -> None:
        self.miner = miner
        self.user = f"account.unit-{number:03}"
        self.hello = hello
        self.version_bits = 0x4000 if number % 2 else None
        self._nonce = 0

    @property
    def jobs(self) -> list[dict[str, object]]:
        """Every job it was sent."""
        return self.miner.of("mining.notify")

    @property
    def prefix(self) -> str:
        """Its extranonce1."""
        return str(self.hello["result"][1])  # type: ignore[index]

    @property
    def difficulty(self) -> float:
        """What it was told last."""
        return float(self.miner.of("mining.set_difficulty")[-1]["params"][0])  # type: ignore[index,arg-type]

    async def read(self) -> None:
        """Take everything that comes, until the end."""
        while not self.miner.closed:
            try:
                await self.miner.read()
            except (trio.EndOfChannel, trio.ClosedResourceError):
                return

    async def find(self, job: int = -1) -> int:
        """A share nobody had before on one of its jobs; the id of its submit."""
        params = solve(self.hello, self.jobs[job], self.difficulty, first=self._nonce, version_bits=self.version_bits)
        self._nonce = int(params[3], 16) + 1
        return await self.miner.send("mining.submit", self.user, *params)


class Swarm:
    """All of them."""

    def __init__(self, rig: Rig, units: list[SwarmUnit]) -> None:
        self.rig = rig
        self.units = units

    def __iter__(self) -> Iterable[SwarmUnit]:  # type: ignore[override]  # only for loops
        return iter(self.units)

    def job_counts(self) -> set[int]:
        """How many jobs the units have had: one number where all had as many."""
        return {len(unit.jobs) for unit in self.units}

    async def have_jobs(self, count: int) -> None:
        """Everybody has had so many jobs, and nobody more."""
        await until(lambda: min(self.job_counts()) >= count)
        assert self.job_counts() == {count}

    def are_on_newest_jobs(self) -> bool:
        """Everybody has read the job that the proxy believes it is on."""
        current = {channel.prefix.hex(): channel.current for channel in self.rig.app.router.channels}
        return all(
            (sent := current.get(unit.prefix)) is not None and unit.jobs[-1]["params"][0] == sent.wire.wire_id  # type: ignore[index]
            for unit in self.units
        )

    async def all_find(self, job: int = -1) -> None:
        """A share of everybody, each answered true."""
        if job == -1:
            await until(self.are_on_newest_jobs)
        asked = [(unit, await unit.find(job)) for unit in self.units]
        for unit, request in asked:
            await until(lambda unit=unit, request=request: self.answer(unit, request) is not None)
            assert self.answer(unit, request)["result"] is True, self.answer(unit, request)  # type: ignore[index]

    @staticmethod
    def answer(unit: SwarmUnit, request: int) -> dict[str, object] | None:
        """The answer to a submit, once it is here."""
        return next((line for line in reversed(unit.miner.lines) if line.get("id") == request and "method" not in line), None)

    def is_plain(self) -> bool:
        """Nobody was ever sent anything but difficulties and jobs, and nobody was hung up on."""
        return all(unit.miner.methods <= PLAIN_METHODS and not unit.miner.closed for unit in self.units)


async def swarm(rig: Rig, count: int) -> Swarm:
    """So many units, each with its answers and its first job."""
    await until(lambda: all(pool.is_ready for pool in rig.app.pools))
    units = []
    for number in range(count):
        miner = await rig.miner()
        if number % 2:
            await miner.send("mining.configure", *ROLLING)
        unit = SwarmUnit(miner, number, await miner.hello(f"account.unit-{number:03}", agent=AGENTS[number % len(AGENTS)]))
        rig.nursery.start_soon(unit.read)
        units.append(unit)
    made = Swarm(rig, units)
    await until(lambda: min(made.job_counts()) >= 1)
    return made
